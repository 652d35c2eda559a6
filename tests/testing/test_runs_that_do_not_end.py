"""A run whose greenlets do not end, although they were killed, ends all the same, and says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

import greenpool
from greenpool import testing
from greenpool.event import Event
from greenpool.lock import Lock
from greenpool.testing import ScheduleFailed, StepsExceeded


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


def keep_on(wait: Callable[[], object]) -> None:
    while True:
        try:
            wait()
        except BaseException:  # noqa: BLE001  # the fault that these programs have
            pass


def start(count: int, wait: Callable[[], object]) -> None:
    for _ in range(count):
        greenpool.spawn(keep_on, wait)
    greenpool.sleep(0)


def one_waits() -> None:
    start(1, Event().wait)


def many_wait() -> None:
    start(20, Event().wait)


def one_waits_for_another() -> None:
    other = greenpool.spawn(keep_on, Event().wait)
    start(1, other.join)


def many_sleep() -> None:
    start(20, lambda: greenpool.sleep(1))


def many_go_on_by_themselves() -> None:
    start(20, lambda: greenpool.sleep(0))


def many_are_halted_within_operations() -> None:
    event = Event()
    start(20, event.set)


def many_want_a_lock() -> None:
    lock = Lock()

    def use() -> None:
        with lock:
            greenpool.sleep(1)

    start(20, use)


def one_waits_while_it_is_let_go() -> None:
    def wait() -> None:
        try:
            Event().wait()
        finally:
            Event().wait()

    start(1, wait)


WAITING = (one_waits, many_wait, one_waits_for_another, one_waits_while_it_is_let_go)
GOING_ON = (many_sleep, many_go_on_by_themselves, many_are_halted_within_operations, many_want_a_lock)


@pytest.mark.parametrize("program", WAITING)
def test_greenlets_that_wait_for_ever_are_named(program: Callable[[], None]) -> None:
    with pytest.raises(
        greenpool.LoopExit, match="(?s)go on waiting, although they were killed; parked:.*Event.wait"
    ):
        testing.run(program, hubs=3, seed=1)


@pytest.mark.parametrize("program", GOING_ON)
def test_greenlets_that_go_on_for_ever_take_too_many_steps(program: Callable[[], None]) -> None:
    with pytest.raises(StepsExceeded, match="the run has not ended within 2000 steps"):
        testing.run(program, hubs=3, seed=1, steps=2000)


@pytest.mark.parametrize("program", [one_waits, many_want_a_lock])
def test_explore_reports_them(program: Callable[[], None]) -> None:
    with pytest.raises(ScheduleFailed) as failed:
        testing.explore(program, hubs=3, steps=2000)
    with pytest.raises((greenpool.LoopExit, StepsExceeded)):
        testing.replay(program, failed.value.schedule, hubs=3, steps=2000)


@pytest.mark.parametrize("program", [many_wait, many_are_halted_within_operations])
def test_another_run_is_not_disturbed(program: Callable[[], None]) -> None:
    with pytest.raises((greenpool.LoopExit, StepsExceeded)):
        testing.run(program, hubs=3, seed=2, steps=2000)
    assert testing.run(lambda: greenpool.spawn(divmod, 7, 2).get(), seed=2) == (3, 1)


def test_the_exception_of_the_main_program_comes_first() -> None:
    def program() -> None:
        one_waits()
        raise ZeroDivisionError

    with pytest.raises(greenpool.LoopExit) as raised:
        testing.run(program, seed=1)
    assert isinstance(raised.value.__context__, ZeroDivisionError)
