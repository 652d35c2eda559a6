"""Which tests count, which of them are kept when patched, and which may be lost."""

import importlib.util
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from . import baseline, watch

# The two longest are first: what runs beside them ends no later.
MODULES = (
    "test_socket",
    "test_subprocess",
    "test_ssl",
    "test_select",
    "test_selectors",
    "test_epoll",
    "test_poll",
    "test_queue",
    "test_thread",
    "test_threading",
    "test_threading_local",
    "test_threadsignals",
    "test_socketserver",
    "test_httplib",
    "test_httpservers",
    "test_urllib",
    "test_urllib2_localnet",
    "test_poplib",
    "test_imaplib",
    "test_asyncore",  # up to CPython 3.11
    "test_xmlrpc",
    "test_wsgiref",
    "test_signal",
    "test_time",
    "test_context",
    "test_logging",
    "test_io",
    "test_os",
    "test_fork1",
    "test_bdb",
    "test_multiprocessing_fork",
    "test_multiprocessing_spawn",
)
UNINSTALLED = Path(__file__).with_name("uninstalled")
EXCEPTIONS = Path(__file__).with_name("exceptions.txt")
# A reason that begins like this says why the test would hang. The test is not run, to save the time.
NEVER_WAITS = "computes without ever waiting"
# The largest part of all tests that may be listed in exceptions.txt.
EXCEPTED_AT_MOST = 0.005


def is_present(module: str) -> bool:
    """Return whether this interpreter has the module, because some distributions package no tests at all."""
    if (UNINSTALLED / f"{module}.py").exists():
        module = "_test_multiprocessing"  # holds the tests of these modules
    return importlib.util.find_spec(f"test.{module}") is not None


@dataclass(frozen=True)
class Selection:
    """Chooses the tests of a module that are to count."""

    reduced: bool = False
    match: tuple[str, ...] = ()

    def __call__(self, tests: list[str]) -> list[str]:
        slow = baseline.read_slow() if self.reduced else frozenset()
        return [
            test
            for test in tests
            if test not in slow
            # The sockets of virtual machines work or fail depending on the machine, not on Python.
            and "VSOCK" not in test
            and (not self.match or any(fnmatchcase(test, f"*{p}*") for p in self.match))
        ]


@dataclass
class Count:
    """The patched outcomes of those tests of one module that pass unpatched."""

    module: str
    patched: watch.Run
    exceptions: dict[str, str] = field(default_factory=dict)

    @property
    def passes(self) -> int:
        """The number of tests that pass unpatched."""
        return len(self.patched.outcomes)

    @property
    def kept(self) -> int:
        return sum(outcome.passed for outcome in self.patched.outcomes.values())

    @property
    def lost(self) -> dict[str, watch.Outcome]:
        """The tests that neither pass nor are listed in exceptions.txt."""
        return {t: o for t, o in self._not_kept().items() if t not in self.exceptions}

    @property
    def excepted(self) -> dict[str, watch.Outcome]:
        """The tests that do not pass and are listed in exceptions.txt."""
        return {t: o for t, o in self._not_kept().items() if t in self.exceptions}

    @property
    def hung(self) -> dict[str, watch.Outcome]:
        """Every hang, in a test or outside."""
        everywhere = self.patched.outcomes | self.patched.outside
        return {t: o for t, o in everywhere.items() if o.outcome == "hung"}

    @property
    def needless(self) -> list[str]:
        """The tests that are listed in exceptions.txt although they pass."""
        return [t for t, o in self.patched.outcomes.items() if t in self.exceptions and o.passed]

    @property
    def seconds(self) -> float:
        return sum(outcome.seconds for outcome in self.patched.outcomes.values())

    def _not_kept(self) -> dict[str, watch.Outcome]:
        return {t: o for t, o in self.patched.outcomes.items() if not o.passed}

    def faults(self) -> list[str]:
        """Return one line for each thing that this module does not keep. The goal is an empty list."""
        return [
            *(f"lost ({outcome.outcome}): {test}" for test, outcome in self.lost.items()),
            *(f"{outcome.outcome}: {where}" for where, outcome in self.patched.outside.items()),
            *(
                f"in {EXCEPTIONS.name} but {outcome.outcome}: {test}"
                for test, outcome in self.excepted.items()
                if outcome.outcome in watch.FATAL
            ),
        ]

    def details(self) -> str:
        """Return the tracebacks and stacks of all tests that are not kept."""
        return "".join(
            f"\n{'=' * 70}\n{name}: {one.outcome}, {one.seconds:.1f} s\n{'-' * 70}\n{one.detail}\n"
            for name, one in (self.lost | self.excepted | self.patched.outside).items()
        )


def count(module: str, selection: Selection, setting: watch.Setting, refresh: bool = False) -> Count:
    """Run a module patched, and unpatched as far as that is not known yet."""
    unpatched = baseline.measure(module, selection, setting.limit, refresh)
    tests = [test for test in selection(unpatched.tests) if unpatched.passes(test)]
    exceptions = read_exceptions()
    hopeless = [test for test in tests if exceptions.get(test, "").startswith(NEVER_WAITS)]
    patched = watch.run(f"test.{module}", [test for test in tests if test not in hopeless], setting)
    patched.outcomes.update({test: watch.Outcome("not run", 0.0, NEVER_WAITS) for test in hopeless})
    for run in unpatched.runs:
        for where in run.outside:
            patched.outside.pop(where, None)
    return Count(module, patched, exceptions)


def read_exceptions() -> dict[str, str]:
    """Return the reasons in exceptions.txt, by test. Lines that start with # are comments."""
    reasons = {}
    for number, line in enumerate(EXCEPTIONS.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            test, colon, reason = line.partition(": ")
            if not colon or not reason.strip() or test.count(".") < 2:
                raise ValueError(
                    f"{EXCEPTIONS.name}, line {number}: not `module.Class.test: reason`: {line!r}"
                )
            reasons[test] = reason.strip()
    return reasons


def too_many_exceptions(counts: list[Count]) -> str | None:
    """Return a message if more of the counted tests are excepted than may be."""
    excepted = sum(len(c.excepted) + len(c.needless) for c in counts)
    total = sum(c.passes for c in counts)
    if excepted <= EXCEPTED_AT_MOST * total:
        return None
    return f"{excepted} of {total} tests stand in {EXCEPTIONS.name}, more than {EXCEPTED_AT_MOST:.1%}"
