"""The command line: `python -m tests.cpython`."""

import argparse
import json
import platform
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from . import __doc__ as description
from . import baseline, watch
from .count import MODULES, Count, Selection, count, is_present, too_many_exceptions

PATCH = "from greenpool import monkey; monkey.patch_all()"
ROW = "{:24} {:>9} {:>6} {:>5} {:>8} {:>5} {:>8}"
MATCH = "only tests whose name, module.Class.test, contains one of these (* and ? as in a shell)"
RUN = "not --patch, but `python -m LAUNCHER` (default: greenpool) with the tests as its program"
BASELINE_ROW = "{:24} {:>6} {:>6} {:>9} {:>6} {:>8}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cpython",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--modules", nargs="+", metavar="MODULE", choices=MODULES, default=MODULES)
    add("--match", nargs="+", metavar="PATTERN", default=(), help=MATCH)
    add("--reduced", action="store_true", help="leave out the slow tests: under 10 minutes")
    add("--patch", metavar="CODE", default=PATCH, help=f"what patches (default: {PATCH})")
    add("--run", nargs="?", const="greenpool", dest="launcher", metavar="LAUNCHER", help=RUN)
    add("--limit", type=float, default=20.0, metavar="SECONDS", help="for one test (default: 20)")
    add("--jobs", type=int, default=1, metavar="N", help="modules at the same time (default: 1)")
    add("--json", type=Path, metavar="FILE", help="write all that is printed, and more, to FILE")
    add("--refresh", action="store_true", help="measure the unpatched baseline anew")
    add("--baseline", action="store_true", help="only measure and print the unpatched baseline")
    add("--record-slow", action="store_true", help="with --baseline: add its slow ones to slow.txt")
    add("-v", "--verbose", action="store_true", help="print tracebacks and stacks of lost tests")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    modules = [module for module in options.modules if is_present(module)]
    for module in options.modules:
        if module not in modules:
            print(f"{module}: not on this interpreter")
    if not modules:
        print("CPython's tests are not installed")
        return 2
    selection = Selection(options.reduced, tuple(options.match))
    print(f"CPython {platform.python_version()}{sys.abiflags}", flush=True)
    if options.baseline:
        return print_baseline(modules, selection, options)

    patch = "" if options.launcher else options.patch
    setting = watch.Setting(patch, options.launcher, options.limit)
    with watchers(options.jobs) as threads:
        results = [threads.submit(count, module, selection, setting, options.refresh) for module in modules]
        counts = list(print_table(result.result() for result in as_completed(results)))
    faults = [fault for one in counts for fault in one.faults()]
    # The bound applies to a part of all tests, so a few modules can neither keep nor break it.
    if len(options.modules) == len(MODULES) and not options.match:
        if too_many := too_many_exceptions(counts):
            faults.append(too_many)
    print_details(counts, faults, options.verbose)
    if options.json:
        write_json(options.json, counts, faults, options)
    return 1 if faults else 0


@contextmanager
def watchers(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads, each for one module at a time. No worker outlives an error, Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ThreadPoolExecutor(jobs) as threads:
        try:
            yield threads
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            watch.STOP.set()
            raise


def print_table(results: Iterator[Count]) -> Iterator[Count]:
    """Pass the counts on, print each one as it comes, and print the total last."""
    counts = []
    print(ROW.format("module", "unpatched", "kept", "lost", "excepted", "hung", "seconds"))
    for one in results:
        counts.append(one)
        print(row(one.module, [one]), flush=True)
        yield one
    print(row("total", counts))
    passes, kept = sum(c.passes for c in counts), sum(c.kept for c in counts)
    print(f"{kept:,} of {passes:,} kept" + (f": {kept / passes:.2%}" if passes else ""), flush=True)


def row(name: str, counts: list[Count]) -> str:
    return ROW.format(
        name,
        sum(c.passes for c in counts),
        sum(c.kept for c in counts),
        sum(len(c.lost) for c in counts),
        sum(len(c.excepted) for c in counts),
        sum(len(c.hung) for c in counts),
        f"{sum(c.seconds for c in counts):.1f}",
    )


def print_details(counts: list[Count], faults: list[str], verbose: bool) -> None:
    for one in counts:
        for test, outcome in one.excepted.items():
            print(f"excepted ({outcome.outcome}): {test}: {one.exceptions[test]}")
        for test in one.needless:
            print(f"excepted, but kept: {test}")
    for fault in faults:
        print(fault)
    if verbose:
        for one in counts:
            print(one.details(), end="")


def print_baseline(modules: list[str], selection: Selection, options: argparse.Namespace) -> int:
    """Print what the tests do unpatched: how many there are, how many pass, and how long one run takes."""

    def measure(module: str) -> baseline.Baseline:
        return baseline.measure(module, selection, options.limit, options.refresh)

    print(BASELINE_ROW.format("module", "tests", "run", "pass once", "twice", "seconds"))
    measured = []
    totals = [0.0] * 5
    with watchers(options.jobs) as threads:
        for module, one in zip(modules, threads.map(measure, modules), strict=True):
            measured.append(one)
            run = selection(one.tests)
            first = one.runs[0].outcomes
            figures = (
                len(one.tests),
                len(run),
                sum(first[test].passed for test in run),
                sum(one.passes(test) for test in run),
                sum(first[test].seconds for test in run),
            )
            print(BASELINE_ROW.format(module, *figures[:4], f"{figures[4]:.1f}"), flush=True)
            totals = [total + figure for total, figure in zip(totals, figures, strict=True)]
    print(BASELINE_ROW.format("total", *map(int, totals[:4]), f"{totals[4]:.1f}"))
    for module, one in zip(modules, measured, strict=True):
        for where, outcome in (one.runs[0].outside | one.runs[1].outside).items():
            print(f"{module}: {outcome.outcome}: {where}")
        if options.verbose:
            for test in selection(one.tests):
                if not one.passes(test):
                    last = [run.outcomes[test] for run in one.runs if test in run.outcomes][-1]
                    print(f"{last.outcome}: {test}: {last.detail.strip()}")
    if options.record_slow:
        for test in baseline.record_slow(measured):
            print(f"slow: {test}")
    return 0


def write_json(file: Path, counts: list[Count], faults: list[str], options: argparse.Namespace) -> None:
    data = {
        "python": sys.version,
        "patch": options.launcher or options.patch,
        "reduced": options.reduced,
        "unpatched": sum(c.passes for c in counts),
        "kept": sum(c.kept for c in counts),
        "faults": faults,
        "modules": {
            c.module: {
                "unpatched": c.passes,
                "kept": c.kept,
                "lost": {test: asdict(outcome) for test, outcome in c.lost.items()},
                "excepted": {test: asdict(outcome) for test, outcome in c.excepted.items()},
                "outside": {where: asdict(outcome) for where, outcome in c.patched.outside.items()},
                "hung": list(c.hung),
                "seconds": {test: o.seconds for test, o in c.patched.outcomes.items()},
            }
            for c in counts
        },
    }
    file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
