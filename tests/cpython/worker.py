"""One process that runs tests of one of CPython's own test modules and reports on each.

watch.py starts it as `worker.py PATCH JOB`. PATCH is Python code, which runs before anything else is
imported, like the lines at the top of a user's program. JOB is a JSON file that watch.py writes.

- Nothing above the patch may import a module that patching touches.
- multiprocessing runs this file in every child that it spawns, under the name `__mp_main__`. The child is
  then patched as well, like that of a program that patches at its top.
- Every event is one line of JSON in the report file, which is opened, appended to and closed each time. Tests
  that count, close or inherit descriptors would see a descriptor that is held open.
- SIGTTIN and SIGTTOU request the stack dumps. No test uses these two signals, because the worker has no
  terminal. A Python handler dumps the greenlets, which works only if the interpreter still runs. faulthandler
  dumps the threads, which always works.
"""

# ruff: noqa: E402

import sys

if __name__ in ("__main__", "__mp_main__"):
    exec(sys.argv[1], {})

import _io
import _signal  # type: ignore[import-not-found]
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import traceback
import unittest
from collections.abc import Iterator
from time import perf_counter
from typing import Any

# The resources that `python -m test -u cpu,walltime` enables. Tests for "network" need the internet.
RESOURCES = ["cpu", "walltime"]
# This module asks for "network" as a whole, but uses only loopback.
NEEDS_NETWORK = "test.test_socketserver"
# The attribute of a test that holds its name.
NAME = "_name_in_module"
# Test modules of CPython that some versions do not install. An installed one goes first.
UNINSTALLED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "uninstalled")


class Report:
    """The events of this process, as lines of JSON in a file. A child that a test forks writes none."""

    def __init__(self, path: str, log: str) -> None:
        self.path = path
        self.log = log
        self.pid = os.getpid()

    def write(self, **event: object) -> None:
        if os.getpid() == self.pid:
            with _io.FileIO(self.path, "ab") as file:
                file.write(json.dumps(event).encode() + b"\n")

    def log_size(self) -> int:
        return os.stat(self.log).st_size


class Result(unittest.TestResult):
    """Writes the start and the outcome of every test into the report."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report
        self._reset()

    def _reset(self) -> None:
        self.outcome = "not run"
        self.details: list[str] = []
        self.started: float | None = None
        self.log_start = self.report.log_size()

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.report.write(event="start", test=vars(test)[NAME], log=self.log_start)
        self.started = perf_counter()

    def stopTest(self, test: unittest.TestCase) -> None:
        # CPython 3.12.1 stops skipped tests that it never started.
        seconds = 0.0 if self.started is None else perf_counter() - self.started
        super().stopTest(test)
        self.report.write(
            event="stop",
            test=vars(test)[NAME],
            outcome=self.outcome,
            seconds=round(seconds, 4),
            detail="\n".join(self.details),
            log=[self.log_start, self.report.log_size()],
        )
        self._reset()

    def _settle(self, test: Any, outcome: str, detail: str) -> None:
        if not isinstance(test, unittest.TestCase):
            # This is unittest's stand-in for setUpClass, setUpModule and their counterparts.
            self.report.write(event="fixture", where=test.id(), outcome=outcome, detail=detail)
            return
        # One test can fail several times: in its subtests, its body, its tearDown, its cleanups.
        if self.outcome not in ("failed", "error"):
            self.outcome = outcome
        if detail:
            self.details.append(detail)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._settle(test, "passed", "")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._settle(test, "error", self._text(test, err))

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._settle(test, "failed", self._text(test, err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._settle(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._settle(test, "expected failure", "")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._settle(test, "unexpected success", "")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._settle(test, "failed", f"{subtest}\n{self._text(test, err)}")

    def _text(self, test: unittest.TestCase, err: Any) -> str:
        # Return the traceback without unittest's own frames.
        return str(self._exc_info_to_string(err, test))  # type: ignore[attr-defined]


class Suite(unittest.TestSuite):
    """Reports when a fixture of a class or module begins, so that a hanging fixture can be named."""

    def __init__(self, tests: list[unittest.TestCase], report: Report) -> None:
        super().__init__(tests)
        self.report = report

    def _handleModuleFixture(self, test: unittest.TestCase, result: unittest.TestResult) -> None:
        self.report.write(event="phase", phase="setUpModule")
        super()._handleModuleFixture(test, result)  # type: ignore[misc]

    def _handleClassSetUp(self, test: unittest.TestCase, result: unittest.TestResult) -> None:
        self.report.write(event="phase", phase="setUpClass")
        super()._handleClassSetUp(test, result)  # type: ignore[misc]

    def _tearDownPreviousClass(self, test: Any, result: unittest.TestResult) -> None:
        self.report.write(event="phase", phase="tearDownClass")
        super()._tearDownPreviousClass(test, result)  # type: ignore[misc]

    def _handleModuleTearDown(self, result: unittest.TestResult) -> None:
        self.report.write(event="phase", phase="tearDownModule")
        super()._handleModuleTearDown(result)  # type: ignore[misc]


def flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def load(module_name: str) -> list[unittest.TestCase]:
    """Return the tests of a module in unittest's order, each with its name, `module.Class.test`.

    The name is kept on the test itself. unittest drops each test once it has run, with everything that it
    holds, so nothing here may keep the test alive.
    """
    module = importlib.import_module(module_name)
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromModule(module)
    if loader.errors:
        raise ImportError("\n".join(map(str, loader.errors)))
    package, _, short = module_name.rpartition(".")
    tests = list(flatten(suite))
    taken: set[str] = set()
    for test in tests:
        name = test.id().removeprefix(package + ".")
        if type(test).__module__.startswith(module_name + "."):  # the module is a package on this version
            name = test.id().replace(type(test).__module__, short)
        if not name.startswith(short + "."):
            name = f"{short}.{name}"  # a doctest of another module, added by load_tests
        base, count = name, 1
        while name in taken:
            count += 1
            name = f"{base}#{count}"
        taken.add(name)
        vars(test)[NAME] = name
    return tests


def dump_greenlets(path: str) -> None:
    """Append the stacks of all greenlets that are not running to a file."""
    lines = []
    if "greenlet" in sys.modules:
        greenlet = sys.modules["greenlet"].greenlet
        for thing in gc.get_objects():
            # isinstance() would ask a proxy or a mock for its __class__.
            if issubclass(type(thing), greenlet) and thing.gr_frame is not None:
                lines += [f"{thing!r}\n", *traceback.format_stack(thing.gr_frame), "\n"]
    with _io.FileIO(path, "ab") as file:
        file.write(("".join(lines) + "(end of greenlets)\n").encode(errors="replace"))


def prepare(job: dict[str, Any]) -> None:
    """Set what regrtest sets for the tests that it runs, in the same way on all versions."""
    stacks = open(job["stacks"], "ab")  # noqa: SIM115 - faulthandler needs it for good
    faulthandler.enable()
    faulthandler.register(_signal.SIGTTOU, file=stacks, all_threads=True)
    if job["path"]:
        # gevent's tests expect LoopExit, which does not come while a handler could wake the main program.
        _signal.signal(_signal.SIGTTIN, _signal.SIG_IGN)
    else:
        _signal.signal(_signal.SIGTTIN, lambda *_: dump_greenlets(job["stacks"]))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.umask(0o022)
    if sys.platform == "linux":
        # PR_SET_PDEATHSIG: a hung worker must not outlive its parent, no matter how that ends.
        ctypes.CDLL(None).prctl(1, int(_signal.SIGKILL))
    support: Any = importlib.import_module("test.support")
    support.verbose = 0
    support.use_resources = [*RESOURCES, *["network"][: job["module"] == NEEDS_NETWORK]]
    support.record_original_stdout(sys.stdout)


def main() -> None:
    with open(sys.argv[2], encoding="utf-8") as file:
        job = json.load(file)
    # The tests must see neither this directory nor the variable by which the job found greenpool.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]
    os.environ.pop("PYTHONPATH", None)
    if job["path"]:
        os.environ["PYTHONPATH"] = os.pathsep.join(job["path"])
    del sys.argv[2:]  # a spawned child gets the rest

    report = Report(job["report"], job["log"])
    prepare(job)
    try:
        tests = load(job["module"])
    except unittest.SkipTest as skip:
        report.write(event="no tests", outcome="skipped", detail=str(skip))
        return
    except Exception:
        report.write(event="no tests", outcome="error", detail=traceback.format_exc())
        return
    if job["tests"] is None:
        report.write(event="collected", tests=[vars(test)[NAME] for test in tests])
    else:
        wanted = set(job["tests"])
        suite = Suite([test for test in tests if vars(test)[NAME] in wanted], report)
        tests.clear()
        suite.run(Result(report))
    report.write(event="end")


if __name__ in ("__main__", "__mp_main__"):
    importlib.import_module("test").__path__.append(UNINSTALLED)
if __name__ == "__main__":
    main()
