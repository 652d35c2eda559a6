"""Cancel scopes: deadlines, nesting, shields, and the things that cancelled code may still do."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

import greenpool
from greenpool import GreenletExit, Timeout, socket
from greenpool._core.current import current_greenlet
from greenpool._core.interrupts import Interrupts
from greenpool._core.waiter import Waiter
from greenpool.cancel import (
    Cancelled,
    CancelScope,
    TooSlowError,
    current_time,
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
)
from greenpool.event import Event
from greenpool.lock import Semaphore

pytestmark = pytest.mark.usefixtures("leak_check")

SOON = 0.005


def never() -> None:
    Event().wait()


def is_interrupted(wait: Callable[[], object]) -> bool:
    try:
        wait()
    except Cancelled:
        return True
    return False


def wait_once() -> None:
    greenpool.sleep(0)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Any:
    """No test leaves a cancellation that interrupts the code that comes after it."""
    yield
    greenlet = current_greenlet()
    assert not greenlet.interrupts
    assert type(greenlet.interrupts) in (tuple, Interrupts)  # no scope is cancelled
    assert getattr(greenlet.task, "cancel_scope", None) is None
    assert len(greenlet.hub.timers) == 0
    greenpool.sleep(0)


# Deadlines.


def test_move_on_after() -> None:
    with move_on_after(SOON) as scope:
        never()
    assert scope.cancelled_caught
    assert scope.cancel_called


def test_a_block_that_is_in_time() -> None:
    with move_on_after(60) as scope:
        wait_once()
    assert not scope.cancelled_caught
    assert not scope.cancel_called


def test_move_on_at_and_the_clock() -> None:
    before = current_time()
    with move_on_at(before + SOON) as scope:
        assert scope.deadline == before + SOON
        never()
    assert scope.cancelled_caught
    assert current_time() >= before + SOON


def test_a_deadline_in_the_past_cancels_the_first_wait() -> None:
    for deadline in (current_time(), -inf):
        with move_on_at(deadline) as scope:
            assert scope.cancel_called
            wait_once()
            raise AssertionError("not reached")
        assert scope.cancelled_caught


def test_fail_after_and_fail_at() -> None:
    with pytest.raises(TooSlowError, match="longer than 0.005 seconds"):
        with fail_after(SOON):
            never()
    with pytest.raises(TimeoutError):
        with fail_at(current_time() + SOON):
            never()
    with fail_after(60) as scope:
        wait_once()
    assert not scope.cancel_called


def test_fail_after_lets_other_exceptions_pass() -> None:
    with pytest.raises(KeyError):
        with fail_after(60):
            raise KeyError


def test_cancelling_a_fail_after_counts_as_too_slow() -> None:
    # trio does the same: the scope ended by being cancelled.
    with pytest.raises(TooSlowError):
        with fail_after(60) as scope:
            scope.cancel()
            never()


def test_relative_deadline_counts_from_the_entry() -> None:
    scope = move_on_after(60)
    with pytest.raises(RuntimeError, match="before it is entered"):
        _ = scope.deadline
    with pytest.raises(RuntimeError, match="before it is entered"):
        scope.deadline = 1
    before = current_time()
    with scope:
        assert before + 60 <= scope.deadline <= current_time() + 60


def test_the_deadline_can_be_moved() -> None:
    with move_on_after(60) as scope:
        scope.deadline = current_time() + SOON
        never()
    assert scope.cancelled_caught

    with move_on_after(SOON) as scope:
        scope.deadline = inf
        greenpool.sleep(3 * SOON)
    assert not scope.cancel_called

    with CancelScope() as scope:
        scope.deadline = current_time() - 1
        assert scope.cancel_called
        assert is_interrupted(wait_once)
    assert not scope.cancelled_caught


def test_cancel_called_looks_at_the_clock() -> None:
    scope = CancelScope(deadline=current_time())
    assert scope.cancel_called
    with CancelScope(deadline=current_time() + SOON) as scope:
        while current_time() < scope.deadline:
            pass  # this computes and does not wait, so no timer can fire
        assert scope.cancel_called
    with CancelScope(deadline=current_time() + SOON) as scope:
        pass
    while current_time() < scope.deadline:
        pass
    assert not scope.cancel_called  # the block ended in time


# Cancelling.


def test_cancel_by_another_greenlet() -> None:
    with CancelScope() as scope:
        greenpool.spawn(scope.cancel)
        never()
    assert scope.cancelled_caught


def test_cancel_before_entering() -> None:
    scope = CancelScope()
    scope.cancel()
    with scope:
        assert is_interrupted(wait_once)
        never()
    assert scope.cancelled_caught


def test_cancel_without_a_wait_after_it() -> None:
    with CancelScope() as scope:
        scope.cancel()
        scope.cancel()
    assert scope.cancel_called
    assert not scope.cancelled_caught
    wait_once()


def test_cancel_after_leaving_strikes_nobody() -> None:
    with CancelScope() as scope:
        pass
    scope.cancel()
    wait_once()
    assert not scope.cancelled_caught


def test_cancel_from_threads_and_other_hubs() -> None:
    def cancelled_by(cancel: Callable[[CancelScope], object]) -> bool:
        with CancelScope() as scope:
            cancel(scope)
            never()
        return scope.cancelled_caught

    def by_thread(scope: CancelScope) -> None:
        threads.append(threading.Thread(target=scope.cancel))
        threads[-1].start()

    threads: list[threading.Thread] = []
    with greenpool.Runtime(pool_size=3) as runtime:
        handle = runtime.handle()
        greenlets = []
        for _ in range(20):
            greenlets.append(runtime.spawn(cancelled_by, by_thread))
            for index in range(3):
                greenlets.append(
                    runtime.spawn(cancelled_by, lambda scope, i=index: handle.spawn_on(i, scope.cancel))
                )
        assert all(greenlet.get() for greenlet in greenlets)
        assert cancelled_by(by_thread)
    for thread in threads:
        thread.join()


def test_a_cancellation_that_crosses_the_exit_strikes_nobody() -> None:
    """Another thread cancels at any moment of a scope's life, over and over."""
    current: list[CancelScope] = []
    stop = threading.Event()

    def cancel_all() -> None:
        while not stop.is_set():
            while current:
                current.pop().cancel()

    def work() -> tuple[int, int]:
        struck = missed = 0
        for _ in range(300):
            with CancelScope() as scope:
                current.append(scope)
                wait_once()
                wait_once()
            if scope.cancelled_caught:
                struck += 1
            else:
                missed += 1
            wait_once()  # would raise a cancellation that had leaked
        return struck, missed

    canceller = threading.Thread(target=cancel_all)
    canceller.start()
    with greenpool.Runtime(pool_size=2) as runtime:
        counts = [greenlet.get() for greenlet in [runtime.spawn(work) for _ in range(4)]]
        # All of them wait, which gives the other thread the time to come in between.
    stop.set()
    canceller.join()
    assert all(struck + missed == 300 for struck, missed in counts)


def test_a_wait_that_was_over_before_it_began_leaves_no_cancellation_behind() -> None:
    with CancelScope() as scope:
        scope.cancel()
        waiter = Waiter()
        waiter.wake()
        assert waiter.park()
    wait_once()
    assert not scope.cancelled_caught


def test_every_kind_of_wait_is_interrupted() -> None:
    left, right = socket.socketpair()
    semaphore = Semaphore(0)
    parked = greenpool.spawn(never)
    waits: list[Callable[[], object]] = [
        lambda: greenpool.sleep(60),
        lambda: greenpool.sleep(0),
        never,
        semaphore.acquire,
        lambda: left.recv(1),
        parked.join,
    ]
    with left, right:
        for wait in waits:
            with move_on_after(SOON) as scope:
                while True:
                    wait()  # most of these waits are parked when the deadline passes
            assert scope.cancelled_caught
            with CancelScope() as scope:
                scope.cancel()
                wait()
            assert scope.cancelled_caught
    parked.kill()
    semaphore.release()
    assert semaphore.acquire(blocking=False)  # no cancelled greenlet has taken it


# Interruption at every wait.


def test_a_cancelled_block_is_interrupted_at_every_wait() -> None:
    interrupted = 0
    with CancelScope() as scope:
        scope.cancel()
        for _ in range(3):
            interrupted += is_interrupted(wait_once)
            interrupted += is_interrupted(never)
        never()
    assert scope.cancelled_caught
    assert interrupted == 6
    assert not is_interrupted(wait_once)


def test_kill_and_timeout_are_raised_once() -> None:
    def survivor() -> str:
        try:
            never()
        except GreenletExit:
            wait_once()
        wait_once()
        return "alive"

    greenlet = greenpool.spawn(survivor)
    wait_once()
    greenlet.kill()
    assert greenlet.value == "alive"


def test_cleaning_up_may_wait() -> None:
    log = []

    class Resource:
        def __enter__(self) -> None: ...

        def __exit__(self, *exc_info: object) -> None:
            greenpool.sleep(SOON)
            log.append("closed")

    with move_on_after(SOON) as scope:
        try:
            with Resource():
                never()
        except Cancelled:
            greenpool.sleep(SOON)
            log.append("handled")
            raise
        finally:
            greenpool.sleep(SOON)
            log.append("finally")
    assert scope.cancelled_caught
    assert log == ["closed", "handled", "finally"]


def test_cleaning_up_may_fail_and_go_on_waiting() -> None:
    log = []
    with pytest.raises(KeyError):
        with move_on_after(SOON) as scope:
            try:
                never()
            finally:
                try:
                    raise ValueError
                except ValueError:
                    wait_once()  # the Cancelled is still being handled
                    log.append("inner")
                    raise KeyError from None
    assert log == ["inner"]
    assert not scope.cancelled_caught


def test_going_on_after_the_clean_up_is_interrupted() -> None:
    log = []
    with CancelScope() as scope:
        scope.cancel()
        try:
            never()
        except Cancelled:
            log.append(is_interrupted(wait_once))
        log.append(is_interrupted(wait_once))
    assert log == [False, True]


def test_cleaning_up_can_be_limited() -> None:
    log = []
    with move_on_after(SOON) as outer:
        try:
            never()
        finally:
            with move_on_after(SOON) as inner:
                never()
            log.append("inner over")
            wait_once()
            log.append("outer over")
    assert inner.cancelled_caught
    assert outer.cancelled_caught
    assert log == ["inner over", "outer over"]


def test_cleaning_up_is_interrupted_by_a_scope_further_out() -> None:
    log = []
    with CancelScope() as outer:
        with move_on_after(SOON) as inner:
            try:
                never()
            finally:
                greenpool.spawn(outer.cancel)
                try:
                    never()
                finally:
                    wait_once()
                    log.append("cleaned up")
    assert log == ["cleaned up"]
    assert outer.cancelled_caught
    assert not inner.cancelled_caught


def test_a_scope_inside_that_is_cancelled_later_does_not_disturb_the_clean_up() -> None:
    log = []
    with CancelScope() as outer:
        with CancelScope() as inner:
            outer.cancel()
            try:
                never()
            finally:
                inner.cancel()
                wait_once()
                log.append("cleaned up")
    assert log == ["cleaned up"]
    assert outer.cancelled_caught
    assert not inner.cancelled_caught


# Nesting.


def test_only_the_scope_that_was_cancelled_catches() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            outer.cancel()
            never()
        raise AssertionError("not reached")
    assert outer.cancelled_caught
    assert not inner.cancelled_caught

    with CancelScope() as outer:
        with CancelScope() as inner:
            inner.cancel()
            never()
        wait_once()
    assert inner.cancelled_caught
    assert not outer.cancelled_caught


def test_the_outermost_cancelled_scope_catches() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            inner.cancel()
            outer.cancel()
            never()
        raise AssertionError("not reached")
    assert (outer.cancelled_caught, inner.cancelled_caught) == (True, False)


def test_an_outer_scope_that_is_cancelled_while_the_inner_unwinds() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            inner.cancel()
            try:
                never()
            finally:
                outer.cancel()
        raise AssertionError("not reached")
    assert (outer.cancelled_caught, inner.cancelled_caught) == (True, False)


def test_an_exception_of_the_block_wins() -> None:
    with pytest.raises(ValueError):
        with CancelScope() as scope:
            scope.cancel()
            try:
                never()
            except Cancelled:
                raise ValueError from None
    assert not scope.cancelled_caught


def test_cancelled_in_a_group() -> None:
    """``except*`` puts an exception that its handler raises into a group."""

    def fail_twice() -> None:
        try:
            raise ExceptionGroup("", [ValueError(), KeyError()])
        except* ValueError:
            never()

    with pytest.raises(ExceptionGroup) as caught:
        with move_on_after(SOON) as scope:
            fail_twice()
    assert scope.cancelled_caught
    assert caught.group_contains(KeyError)
    assert not caught.group_contains(Cancelled)
    assert not isinstance(caught.value.__context__, BaseExceptionGroup)

    with move_on_after(SOON) as scope:
        try:
            raise ExceptionGroup("", [ValueError()])
        except* ValueError:
            never()
    assert scope.cancelled_caught

    with move_on_after(SOON) as outer, move_on_after(2 * SOON) as inner:
        try:
            raise ExceptionGroup("", [ValueError()])
        except* ValueError:
            never()
    assert (outer.cancelled_caught, inner.cancelled_caught) == (True, False)


def test_a_scope_is_for_its_greenlet_only() -> None:
    with CancelScope() as scope:
        child = greenpool.spawn(greenpool.sleep, SOON)
        scope.cancel()
        never()
    assert child.get() is None


# Shields.


def test_a_shield_keeps_the_scopes_around_out() -> None:
    log = []
    with CancelScope() as outer:
        with CancelScope(shield=True) as inner:
            outer.cancel()
            wait_once()
            greenpool.sleep(SOON)
            log.append("whole")
        never()
    assert log == ["whole"]
    assert not inner.cancelled_caught
    assert outer.cancelled_caught


def test_a_shield_around_a_parked_greenlet() -> None:
    log = []
    with move_on_after(SOON) as outer:
        with CancelScope(shield=True):
            greenpool.sleep(3 * SOON)
            log.append("whole")
        never()
    assert log == ["whole"]
    assert outer.cancelled_caught


def test_a_shield_does_not_keep_its_own_scope_or_an_inner_one_out() -> None:
    log = []
    with CancelScope() as outer:
        outer.cancel()
        with move_on_after(SOON, shield=True) as shield:
            never()
        log.append(shield.cancelled_caught)
        with CancelScope(shield=True):
            with move_on_after(SOON) as inner:
                never()
            log.append(inner.cancelled_caught)
            wait_once()
        log.append(is_interrupted(wait_once))
    assert log == [True, True, True]


def test_a_shield_can_be_taken_away_and_put_up() -> None:
    log = []
    with CancelScope() as outer:
        outer.cancel()
        with CancelScope(shield=True) as shield:
            log.append(is_interrupted(wait_once))
            shield.shield = False
            log.append(is_interrupted(wait_once))
            shield.shield = True
            log.append(is_interrupted(wait_once))
            greenpool.spawn(setattr, shield, "shield", False)
            log.append(is_interrupted(never))
    assert log == [False, True, False, True]


def test_a_shield_taken_away_by_a_thread() -> None:
    with CancelScope() as outer:
        outer.cancel()
        with CancelScope(shield=True) as shield:
            thread = threading.Thread(target=setattr, args=(shield, "shield", False))
            thread.start()
            never()
    thread.join()
    assert outer.cancelled_caught


def test_a_shield_does_not_keep_kills_and_timeouts_out() -> None:
    with CancelScope(shield=True):
        with pytest.raises(Timeout):
            with Timeout(SOON):
                never()

    def shielded() -> None:
        with CancelScope(shield=True):
            never()

    greenlet = greenpool.spawn(shielded)
    wait_once()
    greenlet.kill()
    assert isinstance(greenlet.value, GreenletExit)


# Together with kills and timeouts.


def test_a_kill_passes_through_a_scope() -> None:
    caught = []

    def scoped() -> None:
        with CancelScope() as scope:
            try:
                never()
            finally:
                caught.append(scope)

    greenlet = greenpool.spawn(scoped)
    wait_once()
    greenlet.kill()
    assert type(greenlet.value) is GreenletExit
    assert not caught[0].cancelled_caught


def test_a_kill_that_waits_behind_a_cancellation_is_not_lost() -> None:
    def scoped() -> str:
        with CancelScope() as scope:
            greenpool.getcurrent().kill_me = scope
            never()
        wait_once()
        return "survived"

    greenlet = greenpool.spawn(scoped)
    wait_once()
    greenlet.kill_me.cancel()  # the cancellation claims the wait first
    greenlet.kill()
    assert type(greenlet.value) is GreenletExit


def test_a_silent_timeout_around_and_inside() -> None:
    with Timeout(SOON, False), CancelScope() as scope:
        never()
    assert not scope.cancelled_caught
    with move_on_after(SOON) as scope, Timeout(60, False):
        never()
    assert scope.cancelled_caught


def test_cancelled_is_no_exception_but_a_greenlet_exit() -> None:
    assert not issubclass(Cancelled, Exception)
    assert issubclass(Cancelled, GreenletExit)
    with CancelScope() as scope:
        scope.cancel()
        with pytest.raises(Cancelled, match="by <CancelScope at .*: open, cancelled>"):
            wait_once()


# Misuse and bad input.


def test_a_scope_is_used_once() -> None:
    scope = CancelScope()
    with scope:
        with pytest.raises(RuntimeError, match="only one 'with'"):
            scope.__enter__()
    with pytest.raises(RuntimeError, match="only one 'with'"):
        scope.__enter__()


def test_leaving_scopes_in_the_wrong_order() -> None:
    outer, inner = CancelScope(), CancelScope()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="was left before"):
        outer.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="not open in this greenlet"):
        inner.__exit__(None, None, None)
    inner.cancel()
    outer.cancel()
    wait_once()


def test_leaving_a_scope_in_another_greenlet() -> None:
    with CancelScope() as scope:
        other = greenpool.spawn(pytest.raises, RuntimeError, scope.__exit__, None, None, None)
        other.get()
        scope.cancel()
        never()
    assert scope.cancelled_caught


def test_a_scope_that_was_never_left_ends_with_its_greenlet() -> None:
    def forgetful() -> weakref.ref[CancelScope]:
        scope = CancelScope()
        scope.__enter__()
        scope.cancel()
        assert is_interrupted(wait_once)
        return weakref.ref(scope)

    for _ in range(3):
        reference = greenpool.spawn(forgetful).get()
        gc.collect()
        assert reference() is None
        # The carrier that the greenlet ran on serves the next one.
        assert greenpool.spawn(is_interrupted, wait_once).get() is False


def test_the_deadline_of_a_scope_that_was_never_left_strikes_nobody() -> None:
    def forgetful() -> object:
        move_on_after(SOON).__enter__()
        return current_greenlet()

    def on_the_same_carrier() -> object:
        greenpool.sleep(3 * SOON)
        return current_greenlet()

    assert greenpool.spawn(forgetful).get() is greenpool.spawn(on_the_same_carrier).get()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CancelScope(deadline=nan), ValueError, "deadline must be a time, not nan"),
        (lambda: CancelScope(deadline="1"), TypeError, "deadline must be a number, not '1'"),
        (lambda: CancelScope(shield=1), TypeError, "shield must be a bool, not 1"),
        (lambda: CancelScope(deadline=1, relative_deadline=2), ValueError, "not both 1 and 2"),
        (lambda: move_on_after(-1), ValueError, "seconds must not be negative, not -1"),
        (lambda: move_on_after(None), TypeError, "seconds must be a number, not None"),
        (lambda: move_on_at(True), TypeError, "deadline must be a number, not True"),
        (lambda: fail_after(-1).__enter__(), ValueError, "seconds must not be negative"),
        (lambda: setattr(CancelScope(), "deadline", nan), ValueError, "deadline must be a time"),
        (lambda: setattr(CancelScope(), "shield", None), TypeError, "shield must be a bool"),
    ],
)
def test_bad_input(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_repr() -> None:
    scope = CancelScope()
    assert repr(scope).endswith(": unused>")
    with scope:
        assert repr(scope).endswith(": open>")
    assert repr(scope).endswith(": left>")
    assert "deadline 5.00 seconds after" in repr(move_on_after(5))
    assert "deadline in " in repr(move_on_at(current_time() + 5))


def test_no_cyclic_garbage() -> None:
    gc.collect()
    gc.disable()
    try:
        with move_on_after(SOON) as scope:
            never()
        reference = weakref.ref(scope)
        del scope
        assert reference() is None
    finally:
        gc.enable()


def test_a_deadline_that_another_thread_moves_while_the_hub_is_busy(
    on_new_thread: Callable[..., Any],
) -> None:
    """The timer is found due before the move has arrived, but it then reads the new deadline."""
    scope = CancelScope(relative_deadline=60)

    def busy() -> None:
        # This runs in the loop, and the timer is the next entry of the same batch.
        def move() -> None:
            scope.deadline = current_time() + 60

        on_new_thread(move)

    with scope:
        timers = current_greenlet().hub.timers
        scope.deadline = current_time() + 0.001
        timers.call_later(0.0005, busy)
        while current_time() < scope.deadline:
            pass
        greenpool.sleep(0.001)
    assert not scope.cancelled_caught
