"""The clock of a run, wherever a program may read it, and every wait that ends by it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import email.utils
import logging
import queue
import sched
import select
import selectors
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from time import sleep as early_sleep

import pytest

import greenpool
from greenpool import testing

NEW_YEAR = 1_704_067_200.0


def test_functions_of_time_and_datetime() -> None:
    def main() -> None:
        greenpool.sleep(90)
        assert time.time() == NEW_YEAR + 90
        assert time.time_ns() == (1_704_067_200 + 90) * 10**9
        assert time.clock_gettime(time.CLOCK_REALTIME) == time.time()
        assert time.clock_gettime(time.CLOCK_MONOTONIC) == time.monotonic()
        assert time.clock_gettime_ns(time.CLOCK_MONOTONIC) == time.monotonic_ns()
        assert time.gmtime() == time.gmtime(time.time())
        assert time.localtime() == time.localtime(time.time())
        assert time.ctime() == time.ctime(time.time())
        assert time.asctime() == time.ctime()
        assert time.strftime("%M:%S", time.gmtime()) == "01:30"
        assert time.strftime("%Y") in ("2023", "2024"), "the local time"
        assert datetime.datetime.now(datetime.UTC).timestamp() == time.time()
        assert datetime.date.today() == datetime.date.fromtimestamp(time.time())

    testing.run(main, seed=1)


def test_a_subclass_of_datetime_makes_its_own_instances() -> None:
    def main() -> None:
        class Moment(datetime.datetime):
            pass

        assert type(Moment(2024, 1, 1)) is Moment

    testing.run(main, seed=1)


def test_modules_of_the_standard_library() -> None:
    def main() -> None:
        greenpool.sleep(90)
        record = logging.LogRecord("name", logging.INFO, "file", 1, "message", (), None)
        assert record.created == time.time()
        assert record.relativeCreated == 90_000
        assert (uuid.uuid1().time - 0x01B21DD213814000) / 1e7 == pytest.approx(time.time(), abs=1e-6)
        assert email.utils.formatdate() == "Mon, 01 Jan 2024 00:01:30 -0000"

    testing.run(main, seed=1)


def _wait_for_timer() -> None:
    event = threading.Event()
    threading.Timer(10, event.set).start()
    event.wait()


def _wait_in_scheduler() -> None:
    scheduler = sched.scheduler()
    scheduler.enter(10, 1, lambda: None)
    scheduler.run()


def _wait_in_selector() -> None:
    one, other = socket.socketpair()
    with one, other, selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ)
        selector.select(10)


def _wait_in_poll() -> None:
    one, other = socket.socketpair()
    with one, other:
        poll = select.poll()
        poll.register(one, select.POLLIN)
        poll.poll(10_000)


def _receive() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(10)
        with pytest.raises(TimeoutError):
            one.recv(1)


def _wait_for_asyncio() -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 4)
        await asyncio.to_thread(time.sleep, 6)

    asyncio.run(main())


def _get_from_queue() -> None:
    with pytest.raises(queue.Empty):
        queue.Queue[int]().get(timeout=10)


def _wait_for_child() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=10)
        child.kill()


WAITS: list[Callable[[], object]] = [
    lambda: early_sleep(10),
    lambda: threading.Semaphore(0).acquire(timeout=10),
    lambda: concurrent.futures.wait([concurrent.futures.Future()], timeout=10),
    lambda: select.select([], [], [], 10),
    _wait_for_timer,
    _wait_in_scheduler,
    _wait_in_selector,
    _wait_in_poll,
    _receive,
    _wait_for_asyncio,
    _get_from_queue,
]


def _times_of(waits: list[Callable[[], object]]) -> list[float]:
    times = []
    for wait in waits:
        begun = time.monotonic()
        wait()
        times.append(round(time.monotonic() - begun, 2))
    return times


def test_waits_of_a_patched_program() -> None:
    assert testing.run(lambda: _times_of(WAITS), seed=1, patch=True) == [10] * len(WAITS)


@pytest.mark.slow  # Seconds of real time pass before the clock jumps over a wait for a child process.
def test_child_processes_have_real_time() -> None:
    def main() -> list[float]:
        def run() -> None:
            output = subprocess.run(["echo", "7"], capture_output=True, timeout=10)
            assert output.stdout == b"7\n"

        return _times_of([run, _wait_for_child])

    assert testing.run(main, seed=1, patch=True) == [0, 10]


def test_a_call_on_a_thread_takes_no_time_of_the_run() -> None:
    def main() -> float:
        begun = time.monotonic()
        # A real sleep, on an OS thread.
        greenpool.Timeout(0.01).start()
        greenpool.blocking(time.sleep, 0.05)
        return time.monotonic() - begun

    assert testing.run(main, seed=1) == 0
