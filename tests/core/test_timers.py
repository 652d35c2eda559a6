"""Timers beside a sorted list: cancelled ones cost no memory, and waits may exceed any poller's limit."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import greenpool
from greenpool._core.current import current_hub
from greenpool._core.hub import Hub
from greenpool._core.pollers import Poller, make_poller
from greenpool._core.pollers.selector import SelectorPoller, selectors
from greenpool._core.timers import SWEEP_FLOOR, Timer, Timers
from greenpool._core.waiter import Waiter

pytestmark = pytest.mark.usefixtures("leak_check")


class TimersMachine(RuleBasedStateMachine):
    """Timers beside a list of (deadline, order of making) pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.made: list[Timer] = []
        self.pending: list[tuple[float, int]] = []
        self.fired: list[int] = []

    @rule(deadline=st.floats(0, 100, allow_nan=False) | st.just(math.inf))
    def call_at(self, deadline: float) -> None:
        number = len(self.made)
        self.made.append(self.timers.call_at(deadline, self.fired.append, number))
        self.pending.append((deadline, number))

    @rule(deadlines=st.lists(st.floats(0, 100), max_size=200))
    def call_at_and_cancel_most(self, deadlines: list[float]) -> None:
        for deadline in deadlines:
            self.call_at(deadline)
        for timer in self.made[-len(deadlines) : -2 or None]:
            self._cancel(timer)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a timer, maybe one that has fired or was cancelled before."""
        if self.made:
            self._cancel(data.draw(st.sampled_from(self.made)))

    def _cancel(self, timer: Timer) -> None:
        timer.cancel()
        assert not timer.pending
        number = self.made.index(timer)
        self.pending = [entry for entry in self.pending if entry[1] != number]

    @rule(now=st.floats(0, 100), cancel_the_next=st.booleans())
    def fire(self, now: float, cancel_the_next: bool) -> None:
        expected = sorted(entry for entry in self.pending if entry[0] <= now)
        cancelled = [self.made[number] for _, number in expected[1:2] if cancel_the_next]

        def call(callback: Callable[..., object], args: tuple[Any, ...]) -> None:
            callback(*args)
            while cancelled:
                # The callback of a timer can cancel another timer of the same batch.
                cancelled.pop().cancel()

        self.timers.expire_due(now, call)
        fired = self.fired.copy()
        self.fired.clear()
        skipped = expected[1:2] if cancel_the_next else []
        assert fired == [number for deadline, number in expected if (deadline, number) not in skipped]
        self.pending = [entry for entry in self.pending if entry not in expected]

    @invariant()
    def the_same_are_pending(self) -> None:
        assert len(self.timers) == len(self.pending)
        assert self.timers.next_deadline() == (min(self.pending)[0] if self.pending else None)

    @invariant()
    def memory_is_bounded_by_what_is_pending(self) -> None:
        assert len(self.timers.heap) <= max(2 * len(self.pending) + 1, len(self.pending) + SWEEP_FLOOR)


TestTimers = pytest.mark.slow(TimersMachine.TestCase)


def test_cancelled_timers_are_swept() -> None:
    timers = Timers()
    timers.call_at(50, print)
    for _ in range(10_000):
        timers.call_at(100, print).cancel()
        assert len(timers.heap) <= SWEEP_FLOOR + 2
    assert len(timers) == 1
    assert timers.next_deadline() == 50


def test_a_cancelled_timer_lets_its_arguments_go() -> None:
    timers = Timers()
    timer = timers.call_at(50, print, object())
    timer.cancel()
    assert (timer.callback, timer.args) == (None, ())


def test_an_exception_between_two_timers_keeps_the_rest_of_the_batch() -> None:
    """A signal handler can raise there, mostly KeyboardInterrupt, and the hub goes on after it."""
    timers = Timers()
    fired: list[int] = []

    class Struck(Timer):
        def expire(self, call: Any) -> None:
            super().expire(call)
            raise KeyboardInterrupt

    def call(callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        callback(*args)

    timers.call_at(1, fired.append, 1)
    timers.enter(2, Struck(fired.append, (2,)))
    timers.call_at(3, fired.append, 3)
    timers.call_at(3, fired.append, 4).cancel()
    timers.call_at(9, fired.append, 9)
    with pytest.raises(KeyboardInterrupt):
        timers.expire_due(5, call)
    assert (fired, len(timers), timers.next_deadline()) == ([1, 2], 2, 5)
    timers.expire_due(5, call)
    assert (fired, len(timers), timers.next_deadline()) == ([1, 2, 3], 1, 9)


def test_a_timer_cancels_another_of_the_same_batch() -> None:
    """The cancelled timer does not fire, and the count stays right."""
    timers = current_hub().timers
    before = len(timers)
    fired = []
    second: Timer
    timers.call_later(0, lambda: second.cancel())
    second = timers.call_later(0, fired.append, 2)
    timers.call_later(0, fired.append, 3)
    greenpool.sleep(0.001)
    assert fired == [3]
    assert len(timers) == before


def test_a_sleeper_that_is_killed_leaves_no_timer() -> None:
    timers = current_hub().timers
    before = len(timers)
    sleepers = [greenpool.spawn(greenpool.sleep, 60) for _ in range(SWEEP_FLOOR)]
    greenpool.sleep(0)
    assert len(timers) == before + SWEEP_FLOOR
    greenpool.killall(sleepers)
    assert len(timers) == before


def test_a_timer_interrupts_a_sleeper_of_the_same_batch() -> None:
    """The sleep ends with the exception that was raised in it, and the count of timers stays right."""
    timers = current_hub().timers
    before = len(timers)
    sleeper = greenpool.spawn(greenpool.sleep, 1e-9)
    timers.call_later(0, sleeper.kill, LookupError, False)
    with pytest.raises(LookupError):
        sleeper.get()
    assert len(timers) == before


def test_a_timer_made_by_a_timer_waits_for_the_next_pass() -> None:
    timers = current_hub().timers
    passes = []

    def again() -> None:
        passes.append(current_hub().passes)
        if len(passes) < 3:
            timers.call_later(0, again)

    timers.call_later(0, again)
    while len(passes) < 3:
        greenpool.sleep(0)
    assert len(set(passes)) == 3


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt, ValueError])
def test_an_exception_of_one_timer_does_not_take_the_others_along(
    ending: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    fired = []

    def fail() -> None:
        raise ending("from a timer")

    timers = current_hub().timers
    timers.call_later(0, fail)
    timers.call_later(0, fired.append, "second")
    try:
        greenpool.sleep(0.01)
    except (SystemExit, KeyboardInterrupt) as exception:
        assert type(exception) is ending
        greenpool.sleep(0.01)
    else:
        assert "from a timer" in capsys.readouterr().err
    assert fired == ["second"]


# Waits longer than a poller takes (epoll_wait and poll take at most 2**31 milliseconds).


def pollers() -> list[Any]:
    found: list[Any] = [make_poller]
    for name in ("PollSelector", "SelectSelector"):
        if hasattr(selectors, name):
            selector = getattr(selectors, name)
            found.append(pytest.param(lambda selector=selector: SelectorPoller(selector), id=name))
    return found


@pytest.mark.parametrize("seconds", [2.0**31, threading.TIMEOUT_MAX, 1e300, math.inf])
@pytest.mark.parametrize("poller", pollers())
def test_a_wait_longer_than_the_poller_takes(poller: Callable[[], Poller], seconds: float) -> None:
    """The hub sleeps that long with nothing else to do, and is woken."""
    with greenpool.Runtime(pool_size=1, poller=poller) as runtime:
        (hub,) = runtime._hubs.hubs
        sleeper = runtime.spawn(greenpool.sleep, seconds)
        while not hub.inbox.asleep:
            greenpool.sleep(0.001)
        sleeper.kill()
        assert sleeper.successful()


@pytest.mark.parametrize("seconds", [2.0**31, threading.TIMEOUT_MAX, math.inf])
def test_a_wait_of_a_plain_thread_longer_than_the_poller_takes(
    on_new_thread: Callable[..., Any], seconds: float
) -> None:
    def wait() -> bool:
        guard = threading.RLock()
        waiter = Waiter(guard)
        threading.Timer(0.01, waiter.wake).start()
        return waiter.park(seconds)

    assert on_new_thread(wait) is True


def test_sleep_refuses_what_is_no_time() -> None:
    for seconds in (-1, -0.001, math.nan):
        with pytest.raises(ValueError, match="seconds must not be negative"):
            greenpool.sleep(seconds)


def test_timers_fire_in_the_order_of_their_deadlines(on_new_thread: Callable[..., Any]) -> None:
    def run() -> list[int]:
        woken: list[int] = []

        def sleep(number: int) -> None:
            greenpool.sleep(number / 1000)
            woken.append(number)

        numbers = [5, 1, 4, 2, 3, 0]
        for greenlet in [greenpool.spawn(sleep, number) for number in numbers]:
            greenlet.join()
        return woken

    assert on_new_thread(run) == [0, 1, 2, 3, 4, 5]


def test_a_hub_that_has_ended_has_no_timers(on_new_thread: Callable[..., Any]) -> None:
    def run() -> Hub:
        greenpool.spawn_later(60, print)
        greenpool.spawn(greenpool.sleep, 60)
        greenpool.sleep(0)
        return current_hub()

    hub = on_new_thread(run)
    assert len(hub.timers) == 0
