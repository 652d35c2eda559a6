"""The command line: `python -m tests.gevent`."""

import argparse
import json
import sys
from concurrent.futures import as_completed
from fnmatch import fnmatchcase
from pathlib import Path

from ..cpython.__main__ import watchers
from . import __doc__ as description
from .count import (
    INTERNALS,
    PASSING,
    VERSION,
    Count,
    Reasons,
    count,
    files,
    installed_version,
    passing,
    record,
)

ROW = "{:40} {:>6} {:>6} {:>5} {:>8} {:>8}"
MATCH = "only tests whose name, module.Class.test, contains one of these (* and ? as in a shell)"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.gevent",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--files", nargs="+", metavar="FILE", help="only these of gevent's test files, without .py")
    add("--match", nargs="+", metavar="PATTERN", default=(), help=MATCH)
    add("--limit", type=float, default=40.0, metavar="SECONDS", help="for one test (default: 40)")
    add("--jobs", type=int, default=2, metavar="N", help="files at the same time (default: 2)")
    add("--json", type=Path, metavar="FILE", help="write the outcome of every test to FILE")
    add("--internals", action="store_true", help="run the tests of gevent's internals, too")
    add("--record", action="store_true", help="measure with gevent itself what passes, and write passing.txt")
    add("-v", "--verbose", action="store_true", help="print tracebacks and stacks of lost tests")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    version = installed_version()
    if version is None or not version.startswith(VERSION):
        print(f"gevent {VERSION} is not installed, only {version}: its test files come with it")
        return 2
    if options.record:
        return write_passing(options)

    internals = Reasons.read(INTERNALS)
    chosen = {
        file: wanted
        for file, tests in passing().items()
        if (options.files is None or file in options.files)
        and (wanted := [test for test in tests if is_wanted(test, internals, options)])
    }
    counts: list[Count] = []
    print(ROW.format("file", "gevent", "kept", "lost", "excepted", "seconds"))
    with watchers(options.jobs) as threads:
        results = [threads.submit(count, file, tests, options.limit) for file, tests in chosen.items()]
        for result in as_completed(results):
            counts.append(result.result())
            print(row(counts[-1].file, counts[-1:]), flush=True)
    print(row("total", counts))
    print_details(counts, options.verbose)
    if options.json:
        outcomes = {test: [one.outcome, one.detail] for c in counts for test, one in c.run.outcomes.items()}
        options.json.write_text(json.dumps(outcomes, indent=1) + "\n", encoding="utf-8")
    passes, kept = sum(c.passes for c in counts), sum(c.kept for c in counts)
    print(f"{kept:,} of {passes:,} kept" + (f": {kept / passes:.2%}" if passes else ""))
    return 1 if any(c.lost for c in counts) else 0


def is_wanted(test: str, internals: Reasons, options: argparse.Namespace) -> bool:
    if options.match:
        return any(fnmatchcase(test, f"*{pattern}*") for pattern in options.match)
    return options.internals or internals.find(test) is None


def row(name: str, counts: list[Count]) -> str:
    return ROW.format(
        name,
        sum(c.passes for c in counts),
        sum(c.kept for c in counts),
        sum(len(c.lost) for c in counts),
        sum(len(c.excepted) for c in counts),
        f"{sum(o.seconds for c in counts for o in c.run.outcomes.values()):.1f}",
    )


def print_details(counts: list[Count], verbose: bool) -> None:
    for one in counts:
        for test, outcome in one.excepted.items():
            print(f"excepted ({outcome.outcome}): {test}: {one.exceptions.find(test)}")
    for one in counts:
        for test, outcome in one.lost.items():
            last = outcome.detail.strip().splitlines()[-1:] or [""]
            print(f"lost ({outcome.outcome}): {test}: {last[0][:200]}")
        for where, outcome in one.run.outside.items():
            print(f"{outcome.outcome}: {where} of {one.file}")
    if verbose:
        for one in counts:
            print(one.details(), end="")


def write_passing(options: argparse.Namespace) -> int:
    names = options.files or files()
    kept = [test for file, tests in passing().items() if file not in names for test in tests]
    with watchers(options.jobs) as threads:
        runs = threads.map(lambda name: list(record(options.limit, [name])), names)
        found = [test for tests in runs for test in tests]
    # The files by name, and the tests of a file in its own order.
    ordered = sorted([*kept, *found], key=lambda test: test.partition(".")[0])
    PASSING.write_text("".join(f"{test}\n" for test in ordered), encoding="utf-8")
    print(f"{len(ordered):,} tests pass with gevent {installed_version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
