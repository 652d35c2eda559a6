"""Which tests count, which of them are kept under gevent's name, and why the others are not."""

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..cpython import watch

HERE = Path(__file__).parent
PASSING = HERE / "passing.txt"
INTERNALS = HERE / "internals.txt"
EXCEPTIONS = HERE / "exceptions.txt"
# What gives the workers, and all that they start, greenpool under gevent's name.
SITE = HERE / "site"
VERSION = "26.9"
# Run first in each worker: a sitecustomize that fails would leave the real gevent in place.
CHECK = "import gevent; assert gevent.__name__ == 'greenpool._gevent', 'this is gevent itself'"


def installed_version() -> str | None:
    """Return the version of the gevent whose test files are here, or None."""
    try:
        return importlib.metadata.version("gevent")
    except importlib.metadata.PackageNotFoundError:
        return None


def files() -> list[str]:
    """Return the names of gevent's test files, without ".py"."""
    # By its metadata: under pytest, `gevent` may also be the name of this package.
    folder = Path(str(importlib.metadata.distribution("gevent").locate_file("gevent/tests")))
    return sorted(path.stem for path in folder.glob("test_*.py"))


def green(limit: float) -> watch.Setting:
    """The setting in which `gevent` is greenpool."""
    return watch.Setting(CHECK, limit=limit, path=(str(SITE), str(watch.ROOT)))


def passing() -> dict[str, list[str]]:
    """Return the tests that pass with gevent itself, by file, in the files' order."""
    found: dict[str, list[str]] = {}
    for test in PASSING.read_text(encoding="utf-8").split():
        found.setdefault(test.partition(".")[0], []).append(test)
    return found


def record(limit: float, names: Iterable[str]) -> Iterable[str]:
    """Run the files with gevent itself, twice; yield the tests that pass in both runs, in their order."""
    setting = watch.Setting(limit=limit)
    for name in names:
        module = f"gevent.tests.{name}"
        try:
            tests = watch.collect(module, setting)
        except RuntimeError:
            continue  # a script, which runs and ends when it is imported
        for _ in range(2):
            run = watch.run(module, tests, setting)
            tests = [test for test in tests if run.outcomes[test].passed]
        yield from tests


@dataclass
class Reasons:
    """The patterns of a list with their reasons; `module.Class.test`, with * and ? as in a shell."""

    reasons: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "Reasons":
        reasons = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                pattern, colon, reason = line.partition(": ")
                if not colon or not reason.strip() or not pattern.startswith("test__"):
                    raise ValueError(f"{path.name}, line {number}: not `test: reason`: {line!r}")
                reasons[pattern] = reason.strip()
        return cls(reasons)

    def find(self, test: str) -> str | None:
        """Return the reason for which the test is listed, or None."""
        exact = self.reasons.get(test)
        if exact is not None:
            return exact
        return next((why for pattern, why in self.reasons.items() if fnmatchcase(test, pattern)), None)


@dataclass
class Count:
    """The outcomes of those tests of one file that count."""

    file: str
    run: watch.Run
    exceptions: Reasons

    @property
    def passes(self) -> int:
        """The number of tests that pass with gevent."""
        return len(self.run.outcomes)

    @property
    def kept(self) -> int:
        return sum(outcome.passed for outcome in self.run.outcomes.values())

    @property
    def lost(self) -> dict[str, watch.Outcome]:
        """The tests that neither pass nor are listed in exceptions.txt."""
        return {test: one for test, one in self._not_kept() if self.exceptions.find(test) is None}

    @property
    def excepted(self) -> dict[str, watch.Outcome]:
        return {test: one for test, one in self._not_kept() if self.exceptions.find(test) is not None}

    def _not_kept(self) -> list[tuple[str, watch.Outcome]]:
        return [(test, one) for test, one in self.run.outcomes.items() if not one.passed]

    def details(self) -> str:
        """Return the tracebacks and stacks of the tests that are not kept."""
        return "".join(
            f"\n{'=' * 70}\n{test}: {one.outcome}, {one.seconds:.1f} s\n{'-' * 70}\n{one.detail}\n"
            for test, one in (self.lost | self.excepted | self.run.outside).items()
        )


def count(file: str, tests: list[str], limit: float) -> Count:
    """Run these tests of a file on greenpool, each file in a process of its own."""
    return Count(file, watch.run(f"gevent.tests.{file}", tests, green(limit)), Reasons.read(EXCEPTIONS))
