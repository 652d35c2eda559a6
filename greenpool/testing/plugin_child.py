"""The call of a patched test in a child process, for the plugin of pytest.

Patching cannot be undone, so the tests of a session that is not patched cannot share a process with one that
is.  The child is made by a fork, between the set-up and the call: it has the session's fixtures of every
scope, its parameters and its configuration, and costs some ten milliseconds, where a new ``python -m pytest``
would import and collect everything again and make all fixtures a second time.  What it cannot do is import a
module anew: that needs ``pytest --greenpool-patch``.

The child is patched, calls the test, makes the report and sends it, in pytest's own serialized form.  The
parent logs that report in the place of its own.  If the child sends none, the test fails, with the stacks
that faulthandler or the time limit has written.

*Threads*: pytest's own thread forks and waits.  No other thread exists in the child.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, NoReturn, Protocol

import pytest

from .._core.native import select
from .patched import fork_quietly, patch_here

# Seconds between two looks whether a child that sends nothing still lives.
_LOOK = 0.2
# Seconds that a child gets, after the end of its time limit, to write its stacks.
_LAST = 15.0

_HEAD = struct.Struct("!Q")


class Limit(Protocol):
    """The time limit of the plugin, in the child."""

    def __call__(self, descriptor: int) -> object:
        """Begin to watch the child; the stacks go to *descriptor*."""


class Child:
    """The process of one patched test."""

    def __init__(self, item: pytest.Function, seconds: float | None, limit: Limit) -> None:
        self._item = item
        self._seconds = seconds
        self._begun = time.perf_counter()
        self._start = time.time()
        self._warnings: list[tuple[Warning | str, type[Warning], str, int]] = []
        self._stacks: IO[bytes] = tempfile.TemporaryFile()
        self._reader, self._writer = os.pipe()
        self.pid = fork_quietly()
        if self.pid:
            os.close(self._writer)
            return
        # No line of the session may be written twice, whatever goes wrong here.
        try:
            os.close(self._reader)
            faulthandler.enable(self._stacks.fileno())
            patch_here()
            limit(self._stacks.fileno())
        except BaseException as error:
            self.end(error)

    # In the child.

    @contextmanager
    def call(self) -> Iterator[None]:
        """Surrounds the call of the test, and keeps its warnings for the parent."""
        with warnings.catch_warnings(record=True) as caught:
            try:
                yield
            finally:
                self._warnings = [
                    (each.message, each.category, each.filename, each.lineno) for each in caught
                ]

    def end(self, error: BaseException | None) -> NoReturn:
        """Send the report of a call that has raised *error*, and end the process."""
        status = 1
        try:
            self._send(self._answer(error))
            status = 0
        finally:
            os._exit(status)

    def _answer(self, error: BaseException | None) -> tuple[str, object]:
        item = self._item
        if isinstance(error, KeyboardInterrupt):
            return "interrupt", None
        if isinstance(error, pytest.exit.Exception):
            return "exit", (error.msg, error.returncode)
        call = pytest.CallInfo.from_call(_raising(error), when="call")
        call.start = self._start
        call.stop = time.time()
        call.duration = time.perf_counter() - self._begun
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        if report.failed and call.excinfo is not None and item.config.getoption("usepdb"):
            try:
                item.ihook.pytest_exception_interact(node=item, call=call, report=report)
            except pytest.exit.Exception as exception:
                return "exit", (exception.msg, exception.returncode)
        data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
        return "report", (data, self._warnings)

    def _send(self, answer: tuple[str, object]) -> None:
        try:
            data = pickle.dumps(answer)
            pickle.loads(data)
        except Exception as failure:
            data = pickle.dumps(("unsent", f"the report of the test cannot be sent: {failure!r}"))
        sys.stdout.flush()
        sys.stderr.flush()
        with open(self._writer, "wb") as pipe:
            pipe.write(_HEAD.pack(len(data)) + data)

    # In the parent.

    def report(self) -> pytest.TestReport:
        """Wait for the child and return its report of the call; raises if it has none."""
        try:
            answer = self._receive()
        finally:
            os.close(self._reader)
            status = self._reap()
        if answer is None:
            pytest.fail(self._death(status), pytrace=False)
        kind, content = pickle.loads(answer)
        if kind == "interrupt":
            raise KeyboardInterrupt
        if kind == "exit":
            raise pytest.exit.Exception(*content)
        if kind == "unsent":
            pytest.fail(content, pytrace=False)
        data, caught = content
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # the filters have had their say in the child
            for message, category, file, line in caught:
                warnings.warn_explicit(message, category, file, line)
        config = self._item.config
        report: pytest.TestReport = config.hook.pytest_report_from_serializable(config=config, data=data)
        return report

    def stacks(self) -> str:
        """What the child has written of its threads and greenlets before it died."""
        self._stacks.seek(0)
        return self._stacks.read().decode(errors="replace").strip()

    def close(self) -> None:
        """Let go of what is left of the child."""
        self._stacks.close()

    def _receive(self) -> bytes | None:
        """The child's answer; None if it ends, or its time does, before there is one."""
        data = b""
        wanted = _HEAD.size
        end = None if self._seconds is None else time.monotonic() + self._seconds + _LAST
        while len(data) < wanted:
            if end is not None and time.monotonic() > end:
                return None
            readable, _, _ = select([self._reader], [], [], _LOOK)
            if readable:
                part = os.read(self._reader, 1 << 16)
                if not part:
                    return None
                data += part
                if wanted == _HEAD.size and len(data) >= wanted:
                    wanted += _HEAD.unpack(data[:wanted])[0]
            elif os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                # A process that the test has left holds the pipe open.
                if not select([self._reader], [], [], 0)[0]:
                    return None
        return data[_HEAD.size :]

    def _reap(self) -> int:
        # It has ended or is about to, unless its time is over or the session is.
        end = time.monotonic() + 1
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status
            time.sleep(0.001)
        os.kill(self.pid, signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]

    def _death(self, status: int) -> str:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return f"the process of this patched test was ended by {signal.Signals(number).name}"
        return (
            f"the process of this patched test ended with status {os.WEXITSTATUS(status)}, without a report"
        )


def _raising(error: BaseException | None) -> Callable[[], None]:
    def call() -> None:
        __tracebackhide__ = True
        if error is not None:
            raise error

    return call
