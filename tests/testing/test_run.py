"""run: the clock jumps, the same seed repeats, and a deadlock is reported at once."""

from __future__ import annotations

import asyncio
import datetime
import queue
import random
import select
import threading
import time

import pytest

import greenpool
from greenpool import socket, testing
from greenpool.event import Event
from greenpool.lock import Lock
from greenpool.queue import Empty, Queue


def test_the_clock_jumps_over_a_sleep() -> None:
    def main() -> tuple[float, float, float, datetime.timedelta]:
        begun = time.monotonic(), time.time(), time.perf_counter(), datetime.datetime.now()
        greenpool.sleep(1800)
        time.sleep(1800)
        return (
            time.monotonic() - begun[0],
            time.time() - begun[1],
            time.perf_counter() - begun[2],
            datetime.datetime.now() - begun[3],
        )

    assert testing.run(main, seed=1) == (3600, 3600, 3600, datetime.timedelta(hours=1))


def test_time_stands_still_while_anything_is_ready() -> None:
    def main() -> float:
        begun = time.monotonic()
        for _ in range(100):
            greenpool.sleep(0)
        return time.monotonic() - begun

    assert testing.run(main, seed=1) == 0


def test_timeouts_agree_with_the_clock() -> None:
    def main() -> list[float]:
        at = []
        begun = time.monotonic()
        lock = Lock()
        lock.acquire()
        assert not lock.acquire(timeout=10)
        at.append(time.monotonic() - begun)
        with pytest.raises(Empty):
            Queue[int]().get(timeout=10)
        at.append(time.monotonic() - begun)
        assert not Event().wait(10)
        at.append(time.monotonic() - begun)
        one, other = socket.socketpair()
        with one, other:
            one.settimeout(10)
            with pytest.raises(TimeoutError):
                one.recv(1)
        at.append(time.monotonic() - begun)
        with greenpool.Timeout(10, False):
            greenpool.sleep(20)
        at.append(time.monotonic() - begun)
        return at

    assert testing.run(main, seed=1) == [10, 20, 30, 40, 50]


def test_timeouts_of_a_patched_program_agree_with_the_clock() -> None:
    def main() -> list[float]:
        at = []
        begun = time.monotonic()
        assert not threading.Event().wait(10)
        at.append(time.monotonic() - begun)
        with pytest.raises(queue.Empty):
            queue.Queue[int]().get(timeout=10)
        at.append(time.monotonic() - begun)
        select.select([], [], [], 10)
        at.append(time.monotonic() - begun)
        asyncio.run(asyncio.sleep(10))
        at.append(time.monotonic() - begun)
        return [round(seconds) for seconds in at]

    assert testing.run(main, seed=1, patch=True) == [10, 20, 30, 40]


def test_a_thousand_greenlets_wait_for_a_day() -> None:
    def wait(seconds: int) -> None:
        greenpool.sleep(seconds)
        Event().wait(86_400 - seconds)

    def main() -> float:
        begun = time.monotonic()
        for greenlet in [greenpool.spawn(wait, seconds) for seconds in range(1000)]:
            greenlet.join()
        return time.monotonic() - begun

    assert testing.run(main, seed=1) == 86_400


def test_the_same_seed_gives_the_same_run() -> None:
    def main() -> list[object]:
        seen: list[object] = []
        lock = Lock()

        def work(name: int) -> None:
            for _ in range(3):
                with lock:
                    seen.append((name, random.random(), time.time()))
                greenpool.sleep(1)

        for name in range(4):
            greenpool.spawn(work, name)
        greenpool.sleep(10)
        return seen

    runs = [testing.run(main, seed=seed) for seed in (1, 1, 2, 2)]
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert runs[0] != runs[2]


def test_a_deadlock_is_reported_with_what_each_waits_for() -> None:
    def main() -> None:
        lock = Lock()
        lock.acquire()
        lock.acquire()

    with pytest.raises(greenpool.LoopExit, match=r"Lock\.acquire"):
        testing.run(main, seed=1)


def test_an_exception_of_a_greenlet_fails_the_run() -> None:
    def main() -> None:
        greenpool.spawn(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError) as caught:
        testing.run(main, seed=5)
    assert "seed=5" in caught.value.__notes__[-1]


def test_an_exception_that_was_asked_for_does_not_fail_the_run() -> None:
    def main() -> str:
        try:
            greenpool.spawn(lambda: 1 / 0).get()
        except ZeroDivisionError:
            return "handled"
        return "not raised"

    assert testing.run(main, seed=1) == "handled"


def test_the_real_clock_can_be_kept() -> None:
    def main() -> float:
        begun = time.monotonic()
        greenpool.sleep(0.01)
        return time.monotonic() - begun

    assert testing.run(main, seed=1, clock="real") >= 0.01


def test_outside_of_a_run_the_clock_is_real() -> None:
    monotonic, date = time.monotonic, datetime.datetime
    testing.run(lambda: None, seed=1)
    assert time.monotonic is monotonic
    assert datetime.datetime is date


@pytest.mark.parametrize("hubs", [-1, True, "two"])
def test_a_bad_number_of_hubs_is_refused(hubs: int) -> None:
    with pytest.raises((TypeError, ValueError), match="hubs must be"):
        testing.run(lambda: None, hubs=hubs)


def test_without_a_pool_all_greenlets_share_the_hub_of_the_main_function() -> None:
    left = []

    def wait() -> None:
        try:
            Event().wait()
        finally:
            left.append("ended")

    def main() -> tuple[bool, float]:
        begun = time.monotonic()
        seen: list[object] = []
        greenpool.spawn(lambda: seen.append(greenpool.get_hub()))
        greenpool.spawn(wait)
        greenpool.sleep(60)
        return seen == [greenpool.get_hub()], time.monotonic() - begun

    assert testing.run(main, hubs=0, seed=2) == (True, 60)
    assert left == ["ended"]
