"""Locks and semaphores on two hubs under schedules, against models that know no concurrency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

import greenpool
from greenpool import testing
from greenpool.lock import Barrier, BoundedSemaphore, BrokenBarrierError, Condition, Lock, RLock, Semaphore

from .programs import HUBS, KILLS, PAUSES, SCHEDULES, STEP, Program, Subject, drawn, explored
from .sequential import RLockModel, SemaphoreModel

OPERATIONS = {
    "acquire": lambda lock: lock.acquire(),
    "try": lambda lock, steps: lock.acquire(False) if steps is None else lock.acquire(timeout=steps * STEP),
    "release": lambda lock: lock.release(),
    "locked": lambda lock: lock.locked(),
}
LIMITS = st.none() | st.integers(0, 2)
# More releases than takes, so that few programs are stuck at once.
STEPS = st.one_of(
    st.tuples(st.just("acquire")),
    st.tuples(st.just("release")),
    st.tuples(st.just("try"), LIMITS),
    st.tuples(st.just("release")),
    st.tuples(st.just("locked")),
    PAUSES,
    KILLS,
)
LAST = [[("locked",), ("try", None), ("try", None), ("release",), ("try", None)]]

SUBJECTS = {
    "Lock": Subject(Lock, SemaphoreModel(1, RuntimeError), OPERATIONS, STEPS, LAST),
    "RLock": Subject(RLock, RLockModel(), OPERATIONS, STEPS, [[("locked",), ("try", None)]]),
    "Semaphore": Subject(lambda: Semaphore(2), SemaphoreModel(2), OPERATIONS, STEPS, LAST),
    "BoundedSemaphore": Subject(
        lambda: BoundedSemaphore(2), SemaphoreModel(2, ValueError), OPERATIONS, STEPS, LAST
    ),
}
of_each_kind = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)

# Two that take turns, one that does not wait for long, and one that kills a waiter when the lock is released.
MEETINGS: Program = [
    [("acquire",), ("sleep", 1), ("release",), ("acquire",), ("release",)],
    [("acquire",), ("release",), ("try", 1), ("release",)],
    [("try", 1), ("locked",), ("sleep", 1), ("acquire",), ("release",)],
    [("sleep", 1), ("kill", 2), ("acquire",), ("release",)],
]


@of_each_kind
def test_a_program_of_meetings(subject: Subject) -> None:
    explored(subject, MEETINGS)


@of_each_kind
def test_drawn_programs(subject: Subject) -> None:
    drawn(subject)


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_first_come_first_served_without_those_that_leave(kind: Any) -> None:
    """No latecomer overtakes a waiter, although one is killed and one gives up while the lock goes round."""

    def main() -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        lock = kind()
        order: list[int] = []

        def use(number: int, timeout: float | None = None) -> None:
            if lock.acquire(timeout=timeout):
                try:
                    order.append(number)
                    greenpool.sleep(5 * STEP)
                finally:
                    lock.release()

        lock.acquire()
        waiting = []
        for number in range(5):
            # Number 2 comes at the time 2 and gives up at 10, when number 0 releases the lock.
            waiting.append(handle.spawn_on(number % HUBS, use, number, 8 * STEP if number == 2 else None))
            greenpool.sleep(STEP)  # now it is in line
        waiting[1].kill(block=False)
        waiting.append(handle.spawn(use, 5))
        lock.release()
        greenpool.joinall(waiting)
        assert not lock.locked()
        # Those two may have had the lock before.
        assert order == sorted(order)
        assert {0, 3, 4, 5} <= set(order)

    testing.explore(main, schedules=SCHEDULES, hubs=HUBS)


@pytest.mark.parametrize("lock", [Lock, RLock])
def test_a_condition_wakes_as_many_as_it_was_told_to(lock: Any) -> None:
    """A notification wakes a waiter that was there before it. One that is killed passes it on."""

    def main() -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        condition = Condition(lock())
        woken: list[int] = []
        inside = 0

        def wait(number: int) -> None:
            nonlocal inside
            with condition:
                condition.wait()
                inside += 1
                assert inside == 1
                woken.append(number)
                try:
                    greenpool.sleep(0)
                finally:
                    inside -= 1

        def notify(count: int) -> None:
            with condition:
                condition.notify(count)

        waiting = [handle.spawn_on(number % HUBS, wait, number) for number in range(5)]
        greenpool.sleep(STEP)
        assert not woken
        handle.spawn_on(0, notify, 1)
        handle.spawn_on(1, notify, 2)
        waiting[0].kill(block=False)
        greenpool.sleep(STEP)
        # The killed one may be among them, if it had the lock before.
        assert len(woken) == 3
        with condition:
            condition.notify_all()
        greenpool.joinall(waiting)
        assert sorted({0, *woken}) == list(range(5))

    testing.explore(main, schedules=SCHEDULES, hubs=HUBS)


def test_each_round_of_a_barrier_is_complete() -> None:
    """All numbers of a round are given, and the action runs once, although a reset breaks a round."""
    parties, waits = 3, 3

    def main() -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        actions: list[None] = []
        barrier = Barrier(parties, lambda: actions.append(None))
        numbers: list[int] = []
        broken = 0

        def work() -> None:
            nonlocal broken
            for _ in range(waits):
                try:
                    numbers.append(barrier.wait())
                except BrokenBarrierError:
                    broken += 1

        workers = [handle.spawn_on(number % HUBS, work) for number in range(parties)]
        handle.spawn_on(1, barrier.reset)
        greenpool.sleep(STEP)
        assert sorted(numbers) == sorted([*range(parties)] * len(actions))
        assert broken < parties
        assert barrier.n_waiting == parties * waits - broken - len(numbers) < parties
        greenpool.killall(workers)

    testing.explore(main, schedules=SCHEDULES, hubs=HUBS)
