"""greenpool beside its peers: ``python -m benchmarks``. README.md here says what is measured and how."""

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.contenders import INSTALLABLE, Selection, probe
from benchmarks.measurements import (
    IN_QUICK,
    Measurement,
    Settings,
    measurements,
    missing,
)
from benchmarks.plot import plot
from benchmarks.processes import ROOT, Cores, Failed, choose_cores
from benchmarks.report import as_json, figure, goals_text, measurement_text, merged
from benchmarks.results import Results

PEERS = (*INSTALLABLE, "asyncio", "threads", "epoll", "C")
QUICK_LIMIT = 95
"""Seconds after which ``--quick`` starts no further measurement."""
DEFAULT_JSON = ROOT / "docs" / "benchmarks.json"
DEFAULT_PLOT = ROOT / "docs" / "benchmarks.svg"
EVERYDAY_PLOT = ROOT / "docs" / "everyday.svg"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a short run of most of it, in under two minutes")
    add("--only", nargs="+", metavar="NAME", help="these measurements, e.g. echo-100 or http")
    add(
        "--everyday",
        nargs="*",
        metavar="NAME",
        help="what programs do all day: all of it, or these measurements of it, e.g. lock or server-tls",
    )
    add("--list", action="store_true", help="print the names of the measurements and end")
    add("--rounds", type=int, help="how often each figure is taken (default: 3, or 1 with --quick)")
    add("--peers", nargs="+", metavar="PEER", help=f"greenpool and these only: {', '.join(PEERS)}")
    add(
        "--speedups",
        action=argparse.BooleanOptionalAction,
        help="greenpool only with its C extension, or only without (default: both)",
    )
    add("--free-threaded", metavar="PYTHON", help="a free-threaded interpreter, with greenlet")
    add("--json", type=Path, metavar="FILE", help=f"(default of a whole run: {DEFAULT_JSON})")
    add("--plot", type=Path, metavar="FILE.svg", help=f"(default of a whole run: {DEFAULT_PLOT})")
    options = parser.parse_args()
    if options.rounds is None:
        options.rounds = 1 if options.quick else 3
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {options.rounds}")
    known = {peer.lower(): peer for peer in PEERS}
    for peer in options.peers or ():
        if peer.lower() not in known:
            parser.error(f"--peers knows {', '.join(PEERS)}, and not {peer!r}")
    if options.peers:
        options.peers = frozenset(known[peer.lower()] for peer in options.peers)
    if options.everyday is not None and options.only:
        parser.error("--only and --everyday exclude each other: --everyday takes names, too")
    if not (options.quick or options.only or options.peers or options.everyday):
        options.json = options.json or DEFAULT_JSON
        options.plot = options.plot or (DEFAULT_PLOT if options.everyday is None else EVERYDAY_PLOT)
    if options.everyday:
        options.only = [f"everyday-{name}" for name in options.everyday]
    return options


def select(options: argparse.Namespace) -> Selection:
    """Select the interpreters and peers that take part, and print the names of those that do not."""
    ordinary = probe()
    free_threaded = probe(options.free_threaded) if options.free_threaded else None
    if free_threaded and not free_threaded.free_threaded:
        raise ValueError(f"--free-threaded: {options.free_threaded!r} has a GIL")
    for library in INSTALLABLE:
        if not ordinary.has(library):
            print(f"{library} is left out: it is not installed for {ordinary.path}")
    if free_threaded is None:
        print("The free-threaded rows are left out: --free-threaded PYTHON was not given.")
    for interpreter in filter(None, (ordinary, free_threaded)):
        if interpreter.has("greenpool") and not interpreter.speedups:
            print(f"greenpool._speedups is not built for {interpreter.path}: greenpool (pure) only")
    return Selection(
        ordinary=ordinary,
        free_threaded=free_threaded,
        with_speedups=options.speedups is not False,
        without_speedups=options.speedups is not True,
        peers=options.peers,
    )


def is_meant(name: str, wanted: str) -> bool:
    """Return whether *wanted* means *name*: ``echo-100`` means ``echo-100-64B``, not ``echo-1000-64B``."""
    return f"{name}-".startswith(f"{wanted}-")


def choose(options: argparse.Namespace, everything: list[Measurement]) -> list[Measurement]:
    """Return the measurements that were asked for and that this machine can do.

    Raises ValueError if a name means no measurement.
    """
    for wanted in options.only or ():
        if not any(is_meant(measurement.name, wanted) for measurement in everything):
            raise ValueError(f"no measurement is named {wanted!r} (--list prints them)")
    chosen = []
    for measurement in everything:
        name = measurement.name
        if options.only:
            if not any(is_meant(name, wanted) for wanted in options.only):
                continue
        elif measurement.everyday != (options.everyday is not None):
            continue
        elif options.quick and name.startswith("echo-") and name not in (*IN_QUICK, "echo-hubs"):
            continue
        if reason := missing(measurement):
            print(f"{name} is left out: {reason}")
        elif measurement.contenders:
            chosen.append(measurement)
    return chosen


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe(options: argparse.Namespace, selection: Selection, cores: Cores) -> dict[str, Any]:
    """Describe the machine, the settings and the interpreters of this run."""
    interpreters = {"ordinary": selection.ordinary, "free-threaded": selection.free_threaded}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "cores": {"server": cores.server, "load": cores.load},
        "load_average": os.getloadavg()[0],
        "rounds": options.rounds,
        "quick": options.quick,
        "interpreters": {
            name: {"version": it.version, "libraries": it.libraries, "speedups": it.speedups}
            for name, it in interpreters.items()
            if it
        },
    }


def describe_text(about: dict[str, Any]) -> str:
    lines = [f"{about['date']}, {about['machine']}, rounds: {about['rounds']}"]
    for name, interpreter in about["interpreters"].items():
        libraries = ", ".join(f"{k} {v}" for k, v in interpreter["libraries"].items())
        lines.append(f"{name}: CPython {interpreter['version']}; {libraries}")
    if about["cores"]["server"] is None:
        lines.append("Nothing is pinned: server and load share the cores, and the figures suffer.")
    if about["load_average"] > 0.5:
        lines.append(f"The machine is busy (load {about['load_average']:.1f}): expect noise.")
    return "\n".join(lines)


def run_rounds(measurement: Measurement, rounds: int, results: Results) -> None:
    """Let the contenders take turns (A B C A B C ...): a slow phase of the machine slows all alike."""
    first = measurement.metrics[0]
    for number in range(1, rounds + 1):
        for contender in measurement.contenders:
            if contender.name in results.failures.get(measurement.name, {}):
                continue
            label = f"{measurement.name} {number}/{rounds} {contender.name}"
            try:
                sample = measurement.measure(contender)
            except Failed as exc:
                results.fail(measurement.name, contender.name, str(exc))
                print(f"{label}: failed: {exc}", file=sys.stderr, flush=True)
                continue
            results.add(measurement.name, contender.name, sample)
            shown = figure(sample[first.key], first.unit)
            print(f"{label}: {shown}", file=sys.stderr, flush=True)


def main() -> int:
    """Return the exit status: 1 if a row of greenpool's own failed."""
    options = arguments()
    settings = Settings(quick=options.quick, cores=choose_cores())
    try:
        selection = select(options)
        everything = list(measurements(selection, settings))
        if options.list:
            print("\n".join(f"{m.name:24} {m.title}" for m in everything))
            return 0
        chosen = choose(options, everything)
    except ValueError as exc:
        sys.exit(f"benchmarks: {exc}")
    if not chosen:
        sys.exit("benchmarks: nothing is left to measure")
    about = describe(options, selection, settings.cores)
    print(describe_text(about), end="\n\n", flush=True)
    started = time.monotonic()
    results = Results()
    for measurement in chosen:
        if options.quick and options.rounds == 1 and time.monotonic() - started > QUICK_LIMIT:
            print(f"{measurement.name} is left out: the time of --quick is over\n")
            continue
        run_rounds(measurement, options.rounds, results)
        print(measurement_text(measurement, results), flush=True)
    about["seconds"] = round(time.monotonic() - started)
    print(goals_text(results))
    print(f"{about['seconds']} s")
    if options.json:
        found = as_json(about, chosen, results)
        if options.json.exists():
            found = merged(json.loads(options.json.read_text()), found, options.everyday is not None)
        options.json.write_text(json.dumps(found, indent=1) + "\n")
        print(f"wrote {options.json}")
    if options.plot:
        options.plot.write_text(plot(chosen, results, describe_text(about)))
        print(f"wrote {options.plot}")
    return int(any("greenpool" in row for rows in results.failures.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
