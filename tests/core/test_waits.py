"""What is said of a parked greenlet: the call, what it waits for, and the place in the program."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import greenpool
from greenpool import Greenlet, TaskGroup, socket
from greenpool._core.current import current_hub
from greenpool._core.holds import held_by
from greenpool._core.waits import waits_of
from greenpool.event import AsyncResult, Event
from greenpool.lock import Barrier, Condition, Lock, RLock, Semaphore
from greenpool.pool import Group, Pool
from greenpool.queue import Channel, Queue

pytestmark = pytest.mark.usefixtures("leak_check")


def line_of(greenlet: Greenlet) -> str:
    greenpool.sleep(0.01)
    (wait,) = (wait for wait in waits_of(current_hub(), held_by) if wait.task is greenlet)
    return wait.line(())


def full(queue: Queue[int]) -> Queue[int]:
    queue.put(0)
    return queue


def full_pool() -> Pool:
    pool = Pool(1)
    pool.add(Greenlet())
    return pool


def held(lock: Lock) -> Lock:
    lock.acquire()
    return lock


@pytest.mark.parametrize(
    ("wait", "call", "ending"),
    [
        (Event().wait, "Event.wait of <greenpool.Event at ", "to be set"),
        (AsyncResult().get, "AsyncResult.get of <AsyncResult", "to be set"),
        (Queue().get, "Queue.get of <Queue at ", "to have an item"),
        (lambda: full(Queue(1)).put(1), "Queue.put of <Queue at ", "to have room"),
        (lambda: full(Queue()).join(), "Queue.join of <Queue at ", "to be done"),
        (Channel().get, "Channel.get of <Channel at ", "to have an item"),
        (lambda: Channel().put(1), "Channel.put of <Channel at ", "to have a getter"),
        (Barrier(2).wait, "Barrier.wait of <", "to be full"),
        (Greenlet().join, "Greenlet.join of <Greenlet ", "to end"),
        (Group([Greenlet()]).join, "Group.join of <Group at ", "to be done"),
        (full_pool().wait_available, "Pool.wait_available of <Pool at ", "to have room"),
    ],
)
def test_what_it_waits_for(wait: Callable[[], object], call: str, ending: str) -> None:
    greenlet = greenpool.spawn(wait)
    line = line_of(greenlet)
    assert line.startswith(f"in {call}")
    assert f", waits for it {ending}" in line
    greenlet.kill()


@pytest.mark.parametrize(
    ("wait", "call", "kind"),
    [
        (lambda: held(Lock()).acquire(), "Lock.acquire", "<locked greenpool.lock.Lock "),
        (lambda: held(Lock()).__enter__(), "Lock.acquire", "<locked greenpool.lock.Lock "),
        (Semaphore(0).acquire, "Semaphore.acquire", "<greenpool.Semaphore "),
    ],
)
def test_what_it_waits_for_is_another_object(wait: Callable[[], object], call: str, kind: str) -> None:
    greenlet = greenpool.spawn(wait)
    assert line_of(greenlet).startswith(f"in {call}, waits for {kind}")
    greenlet.kill()


def test_a_condition() -> None:
    def wait() -> None:
        with condition:
            condition.wait()

    condition = Condition()
    greenlet = greenpool.spawn(wait)
    line = line_of(greenlet)
    assert line.startswith("in Condition.wait of <Condition(") and ", waits for it to be notified, " in line
    greenlet.kill()


def test_the_lock_of_a_condition() -> None:
    def wait() -> None:
        with condition:
            condition.wait()

    lock = RLock()
    condition = Condition(lock)
    greenlet = greenpool.spawn(wait)
    greenpool.sleep(0)
    with condition:
        condition.notify()
        assert "waits for <locked greenpool.lock.RLock " in line_of(greenlet)
    greenlet.get()


def test_a_descriptor() -> None:
    def read() -> None:
        ours.recv(1)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        greenlet = greenpool.spawn(read)
        line = line_of(greenlet)
        assert "waits for " in line and f"{ours.fileno()}" in line
        assert line.endswith(" in read") and f"called at {__file__}:" in line
        theirs.send(b"x")
        greenlet.get()


def test_a_sleep() -> None:
    def snooze() -> None:
        greenpool.sleep(10)

    greenlet = greenpool.spawn(snooze)
    line = line_of(greenlet)
    assert line.startswith("in sleep, called at ") and line.endswith(" in snooze")
    greenlet.kill()


def test_a_function_of_this_package_is_no_part_of_the_program() -> None:
    """The task group wraps what it runs, and the carrier runs that."""
    event = Event()

    def main() -> None:
        with TaskGroup() as group:
            group.spawn(event.wait)

    greenlet = greenpool.spawn(main)
    line = line_of(greenlet)
    assert line.startswith("in TaskGroup.__exit__ of <TaskGroup ") and line.endswith(" in main")
    (other,) = (wait for wait in waits_of(current_hub(), held_by) if wait.task is not greenlet)
    assert other.line(()) == f"in Event.wait of {event!r}, waits for it to be set"
    event.set()
    greenlet.get()
