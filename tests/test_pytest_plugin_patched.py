"""Patched tests: in a process of their own within a session that is not patched, or in a patched session."""

from __future__ import annotations

import sys

import pytest

from inner_pytest import run, without_options_of_this_run

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.slow, pytest.mark.time_limit(180)]


BOTH = """
import asyncio
import os
import threading
import time

import pytest
from greenpool import monkey

made = []

@pytest.fixture(scope="session")
def service():
    made.append(os.getpid())
    return made

@pytest.fixture
def ended():
    yield os.getpid()
    made.append("ended")

def test_not_patched(service):
    assert not monkey.is_module_patched("threading")

@pytest.mark.greenpool(patch=True)
@pytest.mark.parametrize("hours", [1, 2])
def test_patched(service, ended, hours, tmp_path, capsys, caplog):
    assert monkey.is_module_patched("threading")
    assert made[0] == os.getppid() and ended == os.getppid()
    begun = time.monotonic()
    assert not threading.Event().wait(hours * 3600)
    assert time.monotonic() - begun == hours * 3600
    print("seen")
    assert capsys.readouterr().out == "seen\\n"
    made.append("only in the child")

@pytest.mark.greenpool(patch=True)
async def test_async():
    await asyncio.sleep(3600)

@pytest.mark.greenpool(patch=True, schedule=False)
def test_without_a_schedule():
    begun = time.monotonic()
    threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun < 3600
    assert threading.current_thread() is threading.main_thread()

@pytest.mark.greenpool(patch=True)
def test_that_skips():
    pytest.skip("not here")

@pytest.mark.greenpool(patch=True)
@pytest.mark.xfail(strict=True, raises=KeyError)
def test_that_fails_as_expected():
    raise KeyError

def test_after_them(service):
    assert not monkey.is_module_patched("threading")
    assert made == [os.getpid(), "ended", "ended"]
"""


def test_patched_tests_and_others_in_one_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(BOTH)
    run(pytester, "-W", "error").assert_outcomes(passed=6, skipped=1, xfailed=1)
    run(pytester, "-n", "1").assert_outcomes(passed=6, skipped=1, xfailed=1)


FAILURES = """
import logging
import os
import sys
import threading
import warnings
import pytest

def work(one, other):
    with one, other:
        pass

@pytest.mark.greenpool(patch=True, explore=300)
def test_locks_in_opposite_order():
    first, second = threading.Lock(), threading.Lock()
    threads = [threading.Thread(target=work, args=order) for order in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

@pytest.mark.greenpool(patch=True)
def test_that_says_much(record_property):
    record_property("key", "value")
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"to the descriptor\\n")
    logging.getLogger("it").warning("to the log")
    warnings.warn("to the warnings")
    assert [1, 2] == [1, 3]

@pytest.mark.greenpool(patch=True)
@pytest.mark.xfail(strict=True)
def test_that_passes_unexpectedly():
    pass
"""


def test_a_failure_is_reported_as_that_of_any_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILURES)
    result = run(pytester)
    result.assert_outcomes(failed=3, warnings=1)
    result.stdout.fnmatch_lines(
        [
            ">*thread.join()",
            "*LoopExit: every greenlet of the run waits*",
            "*greenpool: the schedule*",
            "failed under schedule * of 300, that of seed *",
            "replay it: *test_locks_in_opposite_order --greenpool-seed=*",
            ">*assert*1, 2* == *1, 3*",
            "*Captured stdout call*",
            "to stdout",
            "to the descriptor",
            "*Captured stderr call*",
            "to stderr",
            "*Captured log call*",
            "WARNING *it:*.py:* to the log",
            "*XPASS(strict)*",
            "*UserWarning: to the warnings",
        ]
    )


DEATHS = """
import os
import signal
import subprocess
import threading
import greenpool
import pytest

@pytest.mark.greenpool(patch=True)
def test_that_crashes():
    print("before")
    os.kill(os.getpid(), signal.SIGSEGV)

@pytest.mark.greenpool(patch=True)
def test_that_exits():
    os._exit(3)

@pytest.mark.greenpool(patch=True, schedule=False)
@pytest.mark.time_limit(0.5)
def test_that_hangs():
    def wait_for_ever():
        threading.Event().wait()

    greenpool.spawn(wait_for_ever)
    os.read(os.pipe()[0], 1)

@pytest.mark.greenpool(patch=True)
@pytest.mark.xfail(strict=True)
def test_whose_end_is_expected():
    os._exit(0)

@pytest.mark.greenpool(patch=True)
def test_of_an_object_that_cannot_be_sent(record_property):
    record_property("lock", threading.Lock())

def test_the_session_goes_on():
    pass
"""


def test_a_child_that_dies_is_a_test_that_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(DEATHS)
    result = run(pytester)
    result.assert_outcomes(failed=4, xfailed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "the process of this patched test was ended by SIGSEGV",
            "*stacks of the process*",
            "Fatal Python error: Segmentation fault",
            "*Captured stdout call*",
            "before",
            "the process of this patched test ended with status 3, without a report",
            "Time limit exceeded: *::test_that_hangs",
            "Parked greenlets with this stack: 1",
            "*in wait_for_ever*",
            "the report of the test cannot be sent: *",
        ]
    )


def test_the_debugger_runs_in_the_child(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.greenpool(patch=True)
        def test_it():
            number = 41
            assert number == 42
        """
    )
    process = pytester.popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pdb"], stdin=b"p number + 1\nq\n"
    )
    output, _ = process.communicate(timeout=80)
    assert b"(Pdb) 42" in output
    assert b"Quitting debugger" in output


# A program that takes its names when it is imported, as programs for gevent do.
SERVICE = """
import socket
from threading import Thread
from time import sleep

class Service:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection:
            for line in connection.makefile("rb"):
                sleep(0.01)
                connection.sendall(line.upper())
"""

CONFTEST = """
import pytest
from service import Service

@pytest.fixture(scope="session")
def service():
    service = Service()
    yield service
    service.listener.close()
"""

TESTS = """
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import greenpool
import pytest
from greenpool import monkey

def ask(address):
    with socket.create_connection(address) as connection:
        connection.sendall(b"hello\\n")
        return connection.recv(100)

def test_fifty_clients(service):
    address = service.listener.getsockname()
    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(ask, [address] * 50)) == {b"HELLO\\n"}

def test_its_threads_are_green(service):
    assert monkey.is_module_patched("threading")
    # The hub's, those of the runner, of the time limit and of the resolver: not one for each client.
    assert len(os.listdir("/proc/self/task")) < 20

@pytest.mark.greenpool(patch=True)
def test_that_needs_no_other_process():
    pid = os.environ.setdefault("PID_OF_THE_TESTS", str(os.getpid()))
    assert pid == str(os.getpid())
    greenpool.sleep(3600)

@pytest.mark.time_limit(30)
def test_a_pool(greenpool_runtime):
    assert greenpool_runtime.block_on(threading.get_ident)
"""


@pytest.mark.parametrize(
    "command",
    [
        ("pytest", "--greenpool-patch"),
        ("greenpool", "-m", "pytest"),
        ("pytest", "--greenpool-patch", "-n", "1"),
    ],
    ids=" ".join,
)
def test_a_patched_session(pytester: pytest.Pytester, command: tuple[str, ...]) -> None:
    pytester.makepyfile(service=SERVICE, test_service=TESTS)
    pytester.makeconftest(CONFTEST)
    with without_options_of_this_run():
        result = pytester.run(sys.executable, "-m", *command, "-p", "no:cacheprovider", timeout=80)
    result.assert_outcomes(passed=4)


def test_the_time_limit_of_a_patched_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading
        import pytest

        @pytest.mark.time_limit(0.2)
        def test_that_hangs():
            threading.Event().wait()
        """
    )
    result = run(pytester, "--greenpool-patch")
    assert result.ret == 1
    assert "Time limit exceeded: " in result.stderr.str()
    assert "Parked greenlets with this stack: 1" in result.stderr.str()
