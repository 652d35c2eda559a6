"""A time limit for every test, and a check for everything that a test leaves behind.

A library about waiting fails most often by waiting for ever, so every test has a limit. A test that exceeds
it ends the whole run: the stacks of all OS threads and of all parked greenlets go to the real stderr, past
pytest's capture, and the process exits with status 1. The limit covers set-up, call and tear-down together.

Two watchers enforce it:

- A thread of the test run prints the stacks of the greenlets, which only Python code can find.
- If no Python code can run any more, for example because a C call keeps the GIL, faulthandler's timer fires a
  few seconds later. It needs no Python code.

pytest's own faulthandler plugin is switched off (-p no:faulthandler). It cancels that timer as soon as a test
has failed, and then a hanging tear-down would hang for ever.

With ``-n`` of pytest-xdist each of its processes watches its own tests. A test that exceeds its limit ends
its process. No other process takes its place (``--max-worker-restart=0``), and the run fails.
"""

from __future__ import annotations

import _thread
import collections
import faulthandler
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import greenlet
import hypothesis
import pytest

import greenpool

# A shell without job control makes background jobs ignore Ctrl-C, and their children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DEFAULT_LIMIT = 60.0
GRACE = 5.0

# A deadline is a timed assert. On a machine that other work shares, it says nothing about the code.
hypothesis.settings.register_profile(
    "greenpool", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("greenpool")


class _Watch:
    """The limit of the test that runs now.

    pytest's thread sets it, and the watching thread reads it. Each replaces or reads one reference, so no
    lock is needed.
    """

    def __init__(self) -> None:
        # pytest configures before it captures, so this is the real stderr.
        self.stderr = os.dup(2)
        self.limit: tuple[float, str] | None = None
        # These are originals, taken before a test patches them. A Thread would show in threading.enumerate().
        self._stop = _thread.allocate_lock()
        self._stop.acquire()
        self._monotonic = time.monotonic
        self._exit = os._exit
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        while not self._stop.acquire(timeout=0.5):
            limit = self.limit
            if limit is not None and self._monotonic() > limit[0]:
                self._write(f"\n\nTime limit exceeded: {limit[1]}\n\n")
                faulthandler.dump_traceback(self.stderr, all_threads=True)
                self._write(parked_greenlets())
                self._exit(1)

    def _write(self, text: str) -> None:
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(self.stderr, data) :]

    def begin(self, nodeid: str, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=self.stderr)
        self.limit = (self._monotonic() + seconds, nodeid)

    def end(self) -> None:
        self.limit = None
        faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        self._stop.release()
        os.close(self.stderr)


def parked_greenlets() -> str:
    """Return the stacks of all greenlets that are switched out, with equal stacks counted together."""
    gc.unfreeze()  # without this, those from before fast_collections would be missing
    stacks: collections.Counter[str] = collections.Counter()
    for candidate in gc.get_objects():
        if isinstance(candidate, greenlet.greenlet) and candidate.gr_frame is not None:
            stacks["".join(traceback.format_stack(candidate.gr_frame))] += 1
    return "".join(
        f"\nParked greenlets with this stack: {count}\n{stack}" for stack, count in stacks.most_common()
    )


_watch = pytest.StashKey[_Watch]()
_process_died = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    watch = config.stash[_watch] = _Watch()
    faulthandler.enable(watch.stderr)


def pytest_unconfigure(config: pytest.Config) -> None:
    faulthandler.disable()
    config.stash[_watch].close()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if error:
        node.config.stash[_process_died] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run fails when one of its processes dies: xdist ignores a death after the last test."""
    if _process_died in session.config.stash:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if item.config.getoption("usepdb"):
        return (yield)
    marker = item.get_closest_marker("time_limit")
    watch = item.config.stash[_watch]
    watch.begin(item.nodeid, marker.args[0] if marker else DEFAULT_LIMIT)
    try:
        return (yield)
    finally:
        watch.end()


def open_descriptors() -> dict[int, str]:
    """Return the open descriptors of this process and, on Linux, what each one refers to."""
    found = {}
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        try:
            os.fstat(descriptor)
            found[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}") if sys.platform == "linux" else "?"
        except OSError:
            # This is the one that listed the directory, or a thread of an earlier test has closed it since.
            continue
    return found


@pytest.fixture(scope="module", autouse=True)
def fast_collections() -> Iterator[None]:
    """Spare the collector all objects from before a module's tests (pytest, the collected tests, imports).

    leak_check collects twice for each test. Over everything that was ever imported, a third of the time of
    the whole run went there.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def leak_check() -> Iterator[None]:
    """Fail the test if it leaves an OS thread or a descriptor behind."""
    # The hub of pytest's own thread lives as long as that thread, so make it before the test.
    greenpool.get_hub()
    gc.collect()
    threads = set(threading.enumerate())
    descriptors = open_descriptors()
    yield
    gc.collect()
    left = [f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads] + [
        f"descriptor {number} ({target})"
        for number, target in open_descriptors().items()
        if descriptors.get(number) != target
    ]
    assert not left, f"left behind: {', '.join(left)}"


@pytest.fixture
def handlers_as_before() -> Iterator[None]:
    """Let the test set handlers of SIGALRM and SIGUSR1 and the interval timer, and restore them."""
    numbers = (signal.SIGALRM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Make threads take turns as often as they can. With a GIL, this is what finds races."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def on_new_thread() -> Callable[..., Any]:
    """Call a function on a new thread, and so on a hub of its own, and return its value."""

    def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        outcome: dict[str, Any] = {}

        def run() -> None:
            try:
                outcome["value"] = function(*args, **kwargs)
            except BaseException as exception:
                outcome["exception"] = exception

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if "exception" in outcome:
            raise outcome["exception"]
        return outcome["value"]

    return call


@pytest.fixture
def run_script() -> Callable[[str], str]:
    """Run a program in a process of its own and return its stdout. Fail if its exit status is not 0."""

    def run(script: str) -> str:
        process = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-W", "error", "-c", script],
            cwd=Path(__file__).resolve().parent.parent,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
        return process.stdout

    return run
