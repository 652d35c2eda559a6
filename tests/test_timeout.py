"""Timeout and with_timeout, as gevent documents them.

The clock jumps, so that no test takes the time that it waits for. With ``--greenpool-clock=real`` all do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import Runtime, Timeout, socket, with_timeout
from greenpool.event import AsyncResult, Event
from greenpool.lock import BoundedSemaphore, Condition, Lock, RLock, Semaphore
from greenpool.pool import Group, Pool
from greenpool.queue import Channel, LifoQueue, Queue, SimpleQueue

pytestmark = pytest.mark.greenpool(hubs=0)
# A hub that is busy until some time has passed would be busy for ever: the clock stands still meanwhile.
real_clock = pytest.mark.greenpool(hubs=0, clock="real")

SOON = 0.005
LATE = 60


class Failure(Exception):
    pass


def never() -> None:
    Event().wait()


def test_it_is_raised_in_the_greenlet_that_started_it() -> None:
    timeout = Timeout(SOON)
    timeout.start()
    assert timeout.pending
    with pytest.raises(Timeout) as caught:
        never()
    assert caught.value is timeout
    assert not timeout.pending


def test_it_is_no_exception_so_that_except_exception_lets_it_pass() -> None:
    assert issubclass(Timeout, BaseException)
    assert not issubclass(Timeout, Exception)


def test_with_block_that_takes_too_long() -> None:
    with pytest.raises(Timeout) as caught, Timeout(SOON) as timeout:
        never()
    assert caught.value is timeout


def test_with_block_that_is_quick_enough_leaves_nothing_behind() -> None:
    with Timeout(SOON) as timeout:
        greenpool.sleep(0)
    assert not timeout.pending
    greenpool.sleep(2 * SOON)


def test_silent() -> None:
    steps = []
    with Timeout(SOON, False) as timeout:
        steps.append("in")
        never()
        steps.append("not reached")
    assert steps == ["in"]
    assert not timeout.pending


def test_silent_one_is_raised_where_there_is_no_with_block() -> None:
    timeout = Timeout.start_new(SOON, False)
    with pytest.raises(Timeout) as caught:
        never()
    assert caught.value is timeout


@pytest.mark.parametrize("exception", [Failure, Failure("instance")], ids=["class", "instance"])
def test_another_exception_in_its_stead(exception: Any) -> None:
    with pytest.raises(Failure), Timeout(SOON, exception):
        never()


@pytest.mark.parametrize("exception", [None, True])
def test_none_and_true_mean_the_timeout_itself(exception: bool | None) -> None:
    with pytest.raises(Timeout), Timeout(SOON, exception):
        never()


def test_other_exceptions_pass_through_a_silent_one() -> None:
    with pytest.raises(Failure), Timeout(LATE, False):
        raise Failure


@pytest.mark.parametrize("outer_first", [True, False])
def test_nested_ones_are_told_apart_by_instance(outer_first: bool) -> None:
    outer = Timeout(SOON if outer_first else LATE, False)
    inner = Timeout(LATE if outer_first else SOON, False)
    left: list[str] = []
    with outer:
        with inner:
            never()
        left.append("inner")
    left.append("outer")
    assert left == (["outer"] if outer_first else ["inner", "outer"])


def test_handler_finds_out_which_one_it_was() -> None:
    outer, inner = Timeout.start_new(SOON), Timeout.start_new(LATE)
    try:
        never()
    except Timeout as raised:
        assert raised is outer
        assert raised is not inner
    finally:
        inner.close()
        outer.close()


def test_none_seconds_never_strike() -> None:
    with Timeout(None) as timeout:
        assert not timeout.pending
        greenpool.sleep(SOON)
    assert Timeout.start_new(None).seconds is None


def test_zero_seconds_strike_at_the_first_wait() -> None:
    with pytest.raises(Timeout), Timeout(0):
        never()


def test_close_and_cancel_stop_the_clock() -> None:
    for stop in (Timeout.close, Timeout.cancel):
        timeout = Timeout.start_new(SOON)
        stop(timeout)
        stop(timeout)
        assert not timeout.pending
        greenpool.sleep(2 * SOON)


def test_start_twice_is_refused_and_again_after_close_is_not() -> None:
    timeout = Timeout(LATE)
    timeout.start()
    with pytest.raises(RuntimeError, match="already started"):
        timeout.start()
    timeout.close()
    timeout.start()
    assert timeout.pending
    timeout.close()


def test_it_can_strike_again() -> None:
    timeout = Timeout(SOON)
    for _ in range(2):
        with pytest.raises(Timeout), timeout:
            never()


def test_start_new_starts_what_it_is_given() -> None:
    timeout = Timeout(LATE)
    assert Timeout.start_new(timeout) is timeout
    assert timeout.pending
    assert Timeout.start_new(timeout) is timeout
    timeout.close()


def test_with_statement_takes_one_that_runs_already() -> None:
    timeout = Timeout.start_new(SOON)
    with pytest.raises(Timeout), timeout:
        never()


@pytest.mark.parametrize(
    ("timeout", "text"),
    [
        (Timeout(), ""),
        (Timeout(1), "1 second"),
        (Timeout(2.5), "2.5 seconds"),
        (Timeout(2, False), "2 seconds (silent)"),
        (Timeout(2, Failure("why")), "2 seconds: why"),
    ],
)
def test_str(timeout: Timeout, text: str) -> None:
    assert str(timeout) == text
    assert "not pending" in repr(timeout)


def test_each_greenlet_has_its_own() -> None:
    def victim(seconds: float) -> str:
        with Timeout(seconds, False):
            greenpool.sleep(SOON * 2)
            return "slept"
        return "timed out"

    greenlets = [greenpool.spawn(victim, seconds) for seconds in (SOON, LATE)]
    assert [greenlet.get() for greenlet in greenlets] == ["timed out", "slept"]


def test_in_pool_and_plain_thread() -> None:
    def victim() -> str:
        with Timeout(SOON, False):
            never()
        return "timed out"

    with Runtime(pool_size=1) as runtime:
        assert runtime.spawn(victim).get() == "timed out"
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(victim()))
    thread.start()
    thread.join()
    assert found == ["timed out"]


def expire_while_woken(wait_twice: Callable[[Timeout], object]) -> object:
    """Let a timeout expire for a greenlet that something else woke a moment before."""

    def victim() -> object:
        timeout = Timeout.start_new(SOON + 0.001)
        # The sleep ends first, and both are due when the loop looks at its timers.
        greenpool.sleep(SOON)
        return wait_twice(timeout)

    greenlet = greenpool.spawn(victim)
    greenpool.sleep(0)
    deadline = time.monotonic() + 4 * SOON
    while time.monotonic() < deadline:
        pass
    return greenlet.get()


@real_clock
def test_expiry_exactly_while_woken_comes_with_the_next_wait() -> None:
    def wait_twice(timeout: Timeout) -> object:
        assert not timeout.pending
        with pytest.raises(Timeout) as caught:
            greenpool.sleep(LATE)
        return caught.value is timeout

    assert expire_while_woken(wait_twice) is True


@real_clock
def test_close_takes_back_one_that_has_struck_but_was_not_raised() -> None:
    def wait_twice(timeout: Timeout) -> object:
        timeout.close()
        greenpool.sleep(0.001)
        greenpool.sleep(0)
        return "undisturbed"

    assert expire_while_woken(wait_twice) == "undisturbed"


def test_one_that_was_never_closed_does_not_strike_the_next_task() -> None:
    """Greenlets are recycled: the carrier of the one that started the timeout runs others later."""

    def forgetful() -> None:
        Timeout.start_new(SOON)

    def next_task() -> str:
        greenpool.sleep(4 * SOON)
        return "undisturbed"

    greenpool.spawn(forgetful).join()
    greenlets = [greenpool.spawn(next_task) for _ in range(3)]
    assert [greenlet.get() for greenlet in greenlets] == ["undisturbed"] * 3


# with_timeout


def test_with_timeout_returns_the_value() -> None:
    assert with_timeout(LATE, lambda *args, **kwargs: (args, kwargs), 1, two=2) == ((1,), {"two": 2})
    assert with_timeout(None, int) == 0


def test_with_timeout_raises_or_returns_the_given_value() -> None:
    with pytest.raises(Timeout):
        with_timeout(SOON, never)
    for value in ("instead", None):
        assert with_timeout(SOON, never, timeout_value=value) is value


def test_with_timeout_lets_the_timeout_of_somebody_else_pass() -> None:
    with pytest.raises(Timeout) as caught, Timeout(SOON) as outer:
        with_timeout(LATE, never, timeout_value="instead")
    assert caught.value is outer


def test_with_timeout_lets_other_exceptions_pass_and_stops_the_clock() -> None:
    with pytest.raises(ZeroDivisionError):
        with_timeout(SOON, lambda: 1 / 0, timeout_value="instead")
    greenpool.sleep(2 * SOON)


# A Timeout as the timeout of a call that waits.

WAITS: dict[str, Callable[[Any], object]] = {
    "Event.wait": lambda timeout: Event().wait(timeout),
    "AsyncResult.wait": lambda timeout: AsyncResult().wait(timeout),
    "Semaphore.acquire": lambda timeout: Semaphore(0).acquire(timeout=timeout),
    "Semaphore.wait": lambda timeout: Semaphore(0).wait(timeout),
    "BoundedSemaphore.acquire": lambda timeout: taken(BoundedSemaphore(1)).acquire(timeout=timeout),
    "Lock.acquire": lambda timeout: taken(Lock()).acquire(timeout=timeout),
    "RLock.acquire": lambda timeout: taken(RLock()).acquire(timeout=timeout),
    "Condition.wait": lambda timeout: taken(Condition()).wait(timeout),
    "Condition.wait_for": lambda timeout: taken(Condition()).wait_for(lambda: False, timeout),
    "Queue.join": lambda timeout: Queue(unfinished_tasks=1).join(timeout),
    "Greenlet.join": lambda timeout: started().join(timeout),
    "Greenlet.kill": lambda timeout: started(stubborn).kill(timeout=timeout),
    "Group.join": lambda timeout: Group([started()]).join(timeout),
    "Pool.wait_available": lambda timeout: Pool(0).wait_available(timeout),
}
GETS: dict[str, Callable[[Any], object]] = {
    "AsyncResult.get": lambda timeout: AsyncResult().get(timeout=timeout),
    "AsyncResult.result": lambda timeout: AsyncResult().result(timeout),
    "Queue.get": lambda timeout: Queue().get(timeout=timeout),
    "Queue.peek": lambda timeout: Queue().peek(timeout=timeout),
    "Queue.put": lambda timeout: Queue(1, [0]).put(1, timeout=timeout),
    "SimpleQueue.get": lambda timeout: SimpleQueue().get(timeout=timeout),
    "LifoQueue.get": lambda timeout: LifoQueue().get(timeout=timeout),
    "Channel.get": lambda timeout: Channel().get(timeout=timeout),
    "Channel.put": lambda timeout: Channel().put(1, timeout=timeout),
    "Greenlet.get": lambda timeout: started().get(timeout=timeout),
    "killall": lambda timeout: greenpool.killall([started(stubborn)], timeout=timeout),
    "wait_read": lambda timeout: unreadable(lambda end: socket.wait_read(end, timeout)),
}
running: list[greenpool.Greenlet] = []


@pytest.fixture
def ended() -> Iterator[None]:
    yield
    for greenlet in running:
        greenlet.args[0].set() if greenlet.args else greenlet.kill()
    greenpool.joinall(running)
    running.clear()


def started(function: Callable[..., object] = never) -> greenpool.Greenlet:
    greenlet = greenpool.spawn(function, Event()) if function is stubborn else greenpool.spawn(function)
    running.append(greenlet)
    greenpool.sleep(0)
    return greenlet


def stubborn(end: Event) -> None:
    """Survive a kill."""
    try:
        end.wait()
    except greenpool.GreenletExit:
        end.wait()


def taken(lock: Any) -> Any:
    """A lock of another greenlet, or a condition that the caller holds."""
    if isinstance(lock, Condition):
        lock.acquire()
    else:
        greenpool.spawn(lock.acquire).join()
    return lock


def unreadable(wait: Callable[[socket.socket], object]) -> None:
    one, other = socket.socketpair()
    with one, other:
        wait(one)


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("name", WAITS)
def test_a_wait_that_a_timeout_object_ends_says_so_by_its_result(name: str) -> None:
    timeout = Timeout(SOON)
    assert not WAITS[name](timeout)
    assert not timeout.pending
    with pytest.raises(Failure):
        WAITS[name](Timeout(SOON, Failure))


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("name", GETS)
def test_a_get_raises_the_timeout_object(name: str) -> None:
    timeout = Timeout(SOON)
    with pytest.raises(Timeout) as caught:
        GETS[name](timeout)
    assert caught.value is timeout
    assert not timeout.pending
    with pytest.raises(Failure):
        GETS[name](Timeout(SOON, Failure))


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("name", {**WAITS, **GETS})
def test_a_timeout_around_the_wait_is_not_mistaken_for_its_own(name: str) -> None:
    with pytest.raises(Timeout) as caught, Timeout(SOON) as outer:
        (WAITS | GETS)[name](Timeout(LATE))
    assert caught.value is outer


def test_a_timeout_object_that_was_started_is_not_started_again() -> None:
    timeout = Timeout.start_new(SOON)
    greenpool.sleep(0)
    assert Event().wait(timeout) is False
    assert not timeout.pending


def test_a_string_is_the_message() -> None:
    with pytest.raises(Timeout, match=f"^{SOON} seconds: the answer$") as caught, Timeout(SOON, "the answer"):
        never()
    assert isinstance(caught.value, Timeout)
    assert str(Timeout.start_new(None, "text")) == ""


def test_a_timeout_compares_as_its_seconds() -> None:
    assert Timeout(1) < 2
    assert not Timeout(2) < 2
    assert Timeout(1) < Timeout(2)
    with pytest.raises(TypeError):
        Timeout() < 2  # noqa: B015 - the comparison itself fails
