"""What all tests share.

The time limit of each test and ``leak_check`` are those of greenpool's plugin, greenpool/pytest_plugin.py.
A library about waiting fails most often by waiting for ever, so every test has a limit.

With ``-n`` of pytest-xdist each of its processes watches its own tests.  A test that exceeds its limit ends
its process.  No other process takes its place (``--max-worker-restart=0``), and the run fails.
"""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A shell without job control makes background jobs ignore Ctrl-C, and their children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline is a timed assert. On a machine that other work shares, it says nothing about the code.
hypothesis.settings.register_profile(
    "greenpool", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("greenpool")


_process_died = pytest.StashKey[bool]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if error:
        node.config.stash[_process_died] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run fails when one of its processes dies: xdist ignores a death after the last test."""
    if _process_died in session.config.stash:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
