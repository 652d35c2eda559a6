"""The tests on the interpreter alone: two cached runs of each, and the list of slow tests."""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import watch

# Increase this when a change here or in worker.py makes older files mean something else.
FORMAT = 1
CACHE = watch.ROOT / "build" / "cpython"
SLOW = Path(__file__).with_name("slow.txt")
# A test that takes more seconds than this is slow. The tests of multiprocessing start processes, and so keep
# the cores busy. The others mostly wait.
SLOW_ABOVE = 1.0
SLOW_ABOVE_WITH_PROCESSES = 0.15
RUNS = 2

# Takes all tests of a module and returns those that are to run.
Choose = Callable[[list[str]], list[str]]


@dataclass
class Baseline:
    """The unpatched outcomes of one module: its tests in order, and up to two runs of each."""

    tests: list[str] = field(default_factory=list)
    runs: list[watch.Run] = field(default_factory=lambda: [watch.Run() for _ in range(RUNS)])

    def passes(self, test: str) -> bool:
        return all(test in run.outcomes and run.outcomes[test].passed for run in self.runs)

    def seconds(self, test: str) -> float:
        """Return how long the test took in its quicker run. The machine's load slowed the other one."""
        return min(run.outcomes[test].seconds for run in self.runs if test in run.outcomes)


def cache_file(module: str) -> Path:
    """Return the file that holds a module's baseline for this interpreter on this kind of machine."""
    told = (FORMAT, sys.version, sys.base_prefix, platform.platform(), os.geteuid())
    digest = hashlib.sha256(repr(told).encode()).hexdigest()[:8]
    name = f"{platform.python_version()}{sys.abiflags}-{digest}"
    return CACHE / name / f"{module}.json"


def load(module: str) -> Baseline | None:
    """Return the cached baseline of a module, as far as it was measured."""
    try:
        data = json.loads(cache_file(module).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Baseline(data["tests"], [as_run(run) for run in data["runs"]])


def as_run(data: dict[str, dict[str, Any]]) -> watch.Run:
    outcomes, outside = (
        {name: watch.Outcome(**outcome) for name, outcome in data[part].items()}
        for part in ("outcomes", "outside")
    )
    return watch.Run(outcomes, outside)


def save(module: str, baseline: Baseline) -> None:
    file = cache_file(module)
    file.parent.mkdir(parents=True, exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    # Write a second file and rename it, so that a run beside this one never reads half a file.
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(baseline), indent=1), encoding="utf-8")
    part.replace(file)


def measure(module: str, choose: Choose, limit: float, refresh: bool = False) -> Baseline:
    """Return the baseline of a module for the chosen tests. Only tests that the cache lacks are run."""
    setting = watch.Setting(limit=limit)
    baseline = None if refresh else load(module)
    if baseline is None:
        baseline = Baseline(watch.collect(f"test.{module}", setting))
        save(module, baseline)
    wanted = choose(baseline.tests)
    for run in baseline.runs:
        missing = [test for test in wanted if test not in run.outcomes]
        if missing:
            new = watch.run(f"test.{module}", missing, setting)
            run.outcomes.update(new.outcomes)
            run.outside.update(new.outside)
            save(module, baseline)
        # A test that failed once does not count, no matter how it ends the next time.
        wanted = [test for test in wanted if run.outcomes[test].passed]
    return baseline


def read_slow() -> frozenset[str]:
    """Return the tests that the reduced run leaves out."""
    return frozenset(SLOW.read_text(encoding="utf-8").split()) if SLOW.exists() else frozenset()


def slow_above(test: str) -> float:
    return SLOW_ABOVE_WITH_PROCESSES if test.startswith("test_multiprocessing_") else SLOW_ABOVE


def record_slow(baselines: Iterable[Baseline]) -> list[str]:
    """Add the slow tests of these baselines to the list, and return the new ones."""
    slow = {
        test
        for baseline in baselines
        for test in baseline.runs[0].outcomes
        if baseline.seconds(test) > slow_above(test)
    }
    known = read_slow()
    SLOW.write_text("".join(f"{test}\n" for test in sorted(slow | known)), encoding="utf-8")
    return sorted(slow - known)
