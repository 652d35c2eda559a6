"""Runs the tests of one module in worker processes, to the last one, no matter what the tests do.

This side is never patched. It reads the worker's report as it grows. If nothing new comes for longer than the
limit, the running test has hung. The worker then has to dump its stacks, it is killed with its whole process
group, and a new worker goes on with the remaining tests. A worker that dies costs the running test in the
same way.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[2]

# unittest calls a run with these outcomes successful. A test that fails as expected behaves as it does on the
# interpreter alone, and that is what counts here.
PASSED = ("passed", "expected failure")
# Outcomes that end the worker process.
FATAL = ("hung", "crashed")

# Seconds to wait for new lines of a report, and for a hung worker to write its stacks.
POLL = 0.02
DUMP = 2.0

# Set to give up the run: every worker is then killed, and its watch() raises Stopped.
STOP = threading.Event()


class Stopped(Exception):
    """The run was given up before this module came to its end."""


@dataclass(frozen=True)
class Setting:
    """How the worker processes run: with the code that patches, or with the launcher that does it."""

    patch: str = ""
    launcher: str | None = None
    limit: float = 20.0
    # Where the tests and all that they start find modules, before everything else.
    path: tuple[str, ...] = ()

    def command(self, job: Path) -> list[str]:
        launch = ["-m", self.launcher] if self.launcher else []
        return [sys.executable, *launch, str(WORKER), self.patch, str(job)]


@dataclass
class Outcome:
    """The outcome of one test. `detail` holds the traceback, the stacks or the reason."""

    outcome: str
    seconds: float = 0.0
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome in PASSED


@dataclass
class Run:
    """The outcomes of the tests of one module, and the faults outside any test."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    outside: dict[str, Outcome] = field(default_factory=dict)


def collect(module: str, setting: Setting) -> list[str]:
    """Return the names of all tests of a module, or nothing if the module as a whole skips itself."""
    with Worker(module, None, setting) as worker:
        worker.watch()
        bad = worker.fatal or worker.no_tests
        if bad and bad.outcome != "skipped":
            raise RuntimeError(f"{module} could not be loaded:\n{bad.detail}")
        return worker.collected


def run(module: str, tests: list[str], setting: Setting) -> Run:
    """Run these tests of a module, given in the module's order. Every one gets an outcome."""
    done = Run()
    left = tests
    while left:
        with Worker(module, left, setting) as worker:
            worker.watch()
        done.outcomes.update(worker.outcomes)
        left = [test for test in left if test not in worker.outcomes]
        for where, outcome in worker.fixtures.items():
            if not where.startswith("setUp"):  # a failed setUp shows in its tests
                done.outside[where] = outcome
        if worker.ended:
            for test in left:
                done.outcomes[test] = Outcome("not run", 0.0, worker.why_not_run(test))
            if worker.fatal:
                done.outside["exit of the process"] = worker.fatal
            break
        assert worker.fatal is not None
        if worker.test is not None:
            done.outcomes[worker.test] = worker.fatal
        elif worker.phase.startswith("tearDown") and worker.outcomes:
            done.outside[f"{worker.phase} after {list(worker.outcomes)[-1]}"] = worker.fatal
        else:
            # Charge one hang or crash to the first of the tests that it keeps from running.
            scope = left[0].rpartition(".")[0] + "." if worker.phase == "setUpClass" else ""
            why = Outcome("not run", 0.0, f"{worker.phase}: {worker.fatal.outcome}")
            done.outcomes.update({test: why for test in left if test.startswith(scope)})
            done.outcomes[left[0]] = worker.fatal
        left = [test for test in left if test not in done.outcomes]
    return done


class Worker:
    """One worker process, from its start to its end, and its report."""

    def __init__(self, module: str, tests: list[str] | None, setting: Setting) -> None:
        self.limit = setting.limit
        self.collected: list[str] = []
        self.no_tests: Outcome | None = None
        self.outcomes: dict[str, Outcome] = {}
        self.fixtures: dict[str, Outcome] = {}
        self.fatal: Outcome | None = None
        self.test: str | None = None  # the running test
        self.phase = "import"  # the phase while no test runs
        self.ended = False  # every test was gone through
        self._log_start = 0

        self._directory = tempfile.TemporaryDirectory(prefix="cpython-", ignore_cleanup_errors=True)
        directory = Path(self._directory.name)
        self._log = directory / "log"
        self._report = directory / "report"
        self._stacks = directory / "stacks"
        for path in (self._report, self._stacks):
            path.touch()
        # The names are short, because a test may bind a Unix socket in here, with 108 bytes at most.
        cwd, tmp = directory / "cwd", directory / "tmp"
        cwd.mkdir()
        tmp.mkdir()
        job = directory / "job"
        paths = {"report": self._report, "stacks": self._stacks, "log": self._log}
        told = {"module": module, "tests": tests, "path": setting.path} | {
            k: str(v) for k, v in paths.items()
        }
        job.write_text(json.dumps(told))
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                setting.command(job),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env=environment(tmp, setting.path),
                start_new_session=True,
            )
        self._lines = open(self._report, encoding="utf-8")  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._lines.close()
        self._directory.cleanup()

    def watch(self) -> None:
        """Follow the report until the process has ended or is killed for a hang."""
        heard = time.monotonic()
        partial = ""
        while True:
            running = self._process.poll() is None  # asked before reading, so that nothing is missed
            if text := self._lines.read():
                heard = time.monotonic()
                *lines, partial = (partial + text).split("\n")
                for line in lines:
                    self._take(json.loads(line))
            elif not running:
                break
            elif time.monotonic() - heard > self.limit:
                self.fatal = Outcome("hung", self.limit, self._dump_stacks())
                return
            elif STOP.wait(POLL):
                raise Stopped
        status = self._process.returncode
        if not self.ended or status:
            what = f"signal {-status}" if status < 0 else f"exit status {status}"
            self.fatal = Outcome("crashed", 0.0, f"{what}\n{self._output(self._log_start, None)}")

    def why_not_run(self, test: str) -> str:
        if self.no_tests:
            return f"{self.no_tests.outcome}\n{self.no_tests.detail}"
        of_class = test.rpartition(".")[0]
        for where, outcome in self.fixtures.items():
            if where.startswith("setUpModule") or f"{of_class})" in where:
                return f"{where}: {outcome.outcome}\n{outcome.detail}"
        return "no such test in the module when patched"

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "start":
            self.test = event["test"]
            self._log_start = event["log"]
        elif kind == "stop":
            outcome = Outcome(event["outcome"], event["seconds"], event["detail"])
            if not outcome.passed and (output := self._output(*event["log"])):
                outcome.detail += f"\noutput of the test:\n{output}"
            self.outcomes[event["test"]] = outcome
            self.test = None
            self.phase = "tearDown"
        elif kind == "phase":
            self.phase = event["phase"]
        elif kind == "fixture":
            self.fixtures[event["where"]] = Outcome(event["outcome"], 0.0, event["detail"])
        elif kind == "collected":
            self.collected = event["tests"]
        elif kind == "no tests":
            self.no_tests = Outcome(event["outcome"], 0.0, event["detail"])
            self.ended = True
        elif kind == "end":
            self.phase = "exit"
            self.ended = True

    def _output(self, start: int, end: int | None, at_most: int = 8000) -> str:
        with open(self._log, "rb") as log:
            log.seek(start)
            text = log.read() if end is None else log.read(end - start)
        return text[-at_most:].decode(errors="replace")

    def _dump_stacks(self) -> str:
        """Return the stacks of the worker's greenlets and threads, as far as it still writes them."""
        for number, last in ((signal.SIGTTIN, "(end of greenlets)\n"), (signal.SIGTTOU, None)):
            before = self._stacks.stat().st_size
            self._process.send_signal(number)
            deadline = time.monotonic() + DUMP
            while time.monotonic() < deadline and self._process.poll() is None:
                time.sleep(POLL)
                text = self._stacks.read_text(errors="replace")
                if last is None and len(text) > before:
                    time.sleep(0.2)  # the dump has no end mark
                    break
                if last is not None and text.endswith(last):
                    break
        stacks = self._stacks.read_text(errors="replace")
        output = self._output(self._log_start, None)
        return f"{stacks}\noutput of the test:\n{output}" if output else stacks

    def _kill(self) -> None:
        """Kill the process and all that its tests left behind in its process group."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of them are gone already
        self._process.wait()


def environment(tmp: Path, path: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the caller's environment without the variables that would change how tests behave."""
    kept = ("PYTHON_GIL", "PYTHONHOME")
    dropped = ("PYTHON", "PYTEST", "COV_")
    env = {
        name: value
        for name, value in os.environ.items()
        if name in kept or not (name.startswith(dropped) or name.lower().endswith("_proxy"))
    }
    env["TMPDIR"] = str(tmp)
    # ROOT is for importing greenpool; the worker removes it again.
    env["PYTHONPATH"] = os.pathsep.join([*path, str(ROOT)])
    return env
