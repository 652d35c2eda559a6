"""``greenpool.event``: Event and AsyncResult."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from typing import Any

import pytest

import greenpool
from greenpool._core.native import HAS_GIL
from greenpool._core.wakers import EventWaker, PipeWaker
from greenpool.event import AsyncResult, Event

pytestmark = pytest.mark.usefixtures("leak_check")


def test_wait() -> None:
    event = Event()
    assert not event.is_set() and not event.isSet() and not event.ready()
    waiting = greenpool.spawn(event.wait)
    greenpool.sleep(0)
    assert not waiting.ready()
    event.set()
    assert waiting.get() is True
    assert event.wait() is True
    event.clear()
    assert event.wait(0) is False
    assert event.wait(0.001) is False
    assert event.wait(-1) is False


def test_set_and_cleared_at_once() -> None:
    event = Event()
    waiting = [greenpool.spawn(event.wait, 10) for _ in range(3)]
    greenpool.sleep(0)
    event.set()
    event.clear()
    assert [greenlet.get() for greenlet in waiting] == [True] * 3
    assert not event.is_set()


def test_those_who_wait_are_woken_in_order() -> None:
    event = Event()
    order: list[int] = []

    def wait(number: int) -> None:
        event.wait()
        order.append(number)

    waiting = [greenpool.spawn(wait, number) for number in range(10)]
    greenpool.sleep(0)
    event.set()
    greenpool.joinall(waiting)
    assert order == list(range(10))


def test_across_hubs_and_threads() -> None:
    event = Event()
    results = []
    threads = [threading.Thread(target=lambda: results.append(event.wait())) for _ in range(4)]
    with greenpool.Runtime(pool_size=4) as runtime:
        handle = runtime.handle()
        waiting = [handle.spawn_on(number % 4, event.wait) for number in range(100)]
        for thread in threads:
            thread.start()
        handle.spawn(event.set).join()
        assert all(greenlet.get() for greenlet in waiting)
    for thread in threads:
        thread.join()
    assert results == [True] * 4


def test_one_hub_needs_no_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    wakes = []
    for waker in (EventWaker, PipeWaker):
        monkeypatch.setattr(waker, "wake", lambda self: wakes.append(self))
    events = [Event() for _ in range(100)]
    waiting = [greenpool.spawn(event.wait) for event in events]
    greenpool.sleep(0)
    for event in events:
        event.set()
    greenpool.joinall(waiting)
    assert not wakes


def test_those_who_give_up_leave_the_line() -> None:
    event = Event()
    patient = greenpool.spawn(event.wait)
    for _ in range(1000):
        assert event.wait(0) is False
        # The line drops waiters that gave up, although an older one still waits.
        assert event._waiting is not None and len(event._waiting) < 20
    late = greenpool.spawn(event.wait)
    greenpool.sleep(0)
    event.set()
    assert patient.get() and late.get()
    assert not event._waiting


def test_those_who_stay_keep_their_order() -> None:
    event = Event()
    woken: list[int] = []
    waiting = [greenpool.spawn(lambda number: event.wait() and woken.append(number), i) for i in range(200)]
    greenpool.sleep(0)
    for greenlet in waiting[::-3] + waiting[1::3]:
        greenlet.kill()
    staying = [number for number, greenlet in enumerate(waiting) if not greenlet.dead]
    assert event._waiting is not None and len(staying) <= len(event._waiting) < 2 * len(staying) + 20
    event.set()
    greenpool.joinall(waiting)
    assert woken == staying


def test_killed_while_waiting() -> None:
    event = Event()
    waiting = [greenpool.spawn(event.wait) for _ in range(100)]
    greenpool.sleep(0)
    for greenlet in waiting[::2]:
        greenlet.kill()
    event.set()
    assert all(greenlet.get() is True for greenlet in waiting[1::2])
    assert all(isinstance(greenlet.get(), greenpool.GreenletExit) for greenlet in waiting[::2])


def test_rawlink() -> None:
    event = Event()
    called: list[tuple[object, object]] = []

    def callback(source: object) -> None:
        called.append((source, threading.get_ident()))

    event.rawlink(callback)
    event.rawlink(called.append)
    event.unlink(called.append)
    event.unlink(called.append)
    greenpool.sleep(0)
    assert not called
    event.set()
    greenpool.sleep(0.001)
    assert called == [(event, threading.get_ident())]

    # The event calls it once, and at once if the event is set.
    event.set()
    event.rawlink(callback)
    greenpool.sleep(0.001)
    assert len(called) == 2


def test_rawlink_is_called_on_the_hub_that_made_it() -> None:
    event = Event()
    called: list[int] = []
    with greenpool.Runtime(pool_size=2) as runtime:
        handle = runtime.handle()
        idents = [handle.spawn_on(number, threading.get_ident).get() for number in range(2)]
        handle.spawn_on(1, event.rawlink, lambda source: called.append(threading.get_ident())).get()
        handle.spawn_on(0, event.set).get()
        while not called:
            greenpool.sleep(0.001)
    assert called == idents[1:]


def test_several_are_waited_for() -> None:
    events = [Event() for _ in range(3)]
    greenpool.spawn(events[1].set)
    assert greenpool.wait(events, count=1) == [events[1]]


def test_a_callback_must_not_wait(capsys: pytest.CaptureFixture[str]) -> None:
    event, other = Event(), Event()
    event.rawlink(lambda source: other.wait())
    event.set()
    greenpool.sleep(0.001)
    assert "cannot wait in its own loop" in capsys.readouterr().err


def test_set_in_a_signal_handler() -> None:
    """The handler may interrupt anything: it does not deadlock, and nothing is lost."""
    event = Event()
    handled = 0

    def handler(number: int, frame: object) -> None:
        nonlocal handled
        handled += 1
        event.set()

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while handled < 200:
            event.wait()
            event.clear()
            event.set()
            event.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_set_in_a_finalizer() -> None:
    event = Event()

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            event.set()

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(1000):
            Cycle()
            waiting = greenpool.spawn(event.wait)
            Cycle()
            event.clear()
            Cycle()
            event.set()
            assert waiting.get() is True
    finally:
        gc.set_threshold(*threshold)


def test_fork_reinit() -> None:
    event = Event()
    event._at_fork_reinit()
    event.set()
    assert event.wait()


def test_attributes_repr_and_weak_references() -> None:
    event = Event()
    assert repr(event).endswith(": unset>")
    event.set()
    assert repr(event).endswith(": set>")
    event.note = 1  # type: ignore[attr-defined]
    reference = weakref.ref(event)
    assert reference() is event
    del event
    assert reference() is None


def test_bad_input() -> None:
    event = Event()
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not 'soon'"):
        event.wait("soon")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="callback must be callable, not 5"):
        event.rawlink(5)  # type: ignore[arg-type]


# AsyncResult.


def test_value() -> None:
    result: AsyncResult[int] = AsyncResult()
    waiting = greenpool.spawn(result.get)
    polite = greenpool.spawn(result.wait)
    greenpool.sleep(0)
    assert not result.ready() and not result.successful() and result.value is None
    assert result.wait(0) is None
    result.set(100)
    assert waiting.get() == polite.get() == 100
    assert result.get() == result.get_nowait() == result.value == result.wait() == 100
    assert result.ready() and result.successful()
    assert result.exception is None and result.exc_info == ()
    assert "value=100" in repr(result)


def test_exception() -> None:
    result: AsyncResult[int] = AsyncResult()
    polite = greenpool.spawn(result.wait)
    greenpool.sleep(0)
    failure = ValueError("no")
    result.set_exception(failure)
    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            result.get()
        assert caught.value is failure
        # Each raise begins with the traceback that the exception came with.
        assert len(caught.traceback) == 2 or not HAS_GIL
    assert polite.get() is None
    assert result.ready() and not result.successful()
    assert result.exception is failure
    assert result.exc_info == (ValueError, failure, None)


def test_exception_with_its_traceback() -> None:
    def fail() -> None:
        raise KeyError(1)

    result: AsyncResult[int] = AsyncResult()
    try:
        fail()
    except KeyError as exception:
        result.set_exception(exception, (KeyError, exception, exception.__traceback__))
    with pytest.raises(KeyError) as caught:
        result.get()
    assert caught.traceback[-1].name == "fail"


def test_not_in_time() -> None:
    result: AsyncResult[int] = AsyncResult()
    with pytest.raises(greenpool.Timeout):
        result.get_nowait()
    with pytest.raises(greenpool.Timeout):
        result.get(timeout=0.001)
    with pytest.raises(greenpool.Timeout):
        result.get(timeout=-1)


def test_as_the_target_of_a_link() -> None:

    succeeded: AsyncResult[int] = AsyncResult()
    greenpool.spawn(lambda: 5).link(succeeded)
    assert succeeded.get() == 5

    failed: AsyncResult[int] = AsyncResult()
    greenlet = greenpool.Greenlet(lambda: 1 // 0)
    greenlet.quiet = True
    greenlet.link(failed)
    greenlet.start()
    with pytest.raises(ZeroDivisionError):
        failed.get()

    third: AsyncResult[int] = AsyncResult()
    succeeded.rawlink(third)
    assert third.get() == 5


def test_as_a_future() -> None:
    result: AsyncResult[int] = AsyncResult()
    assert not result.done() and not result.cancelled() and not result.cancel()
    result.set_result(1)
    assert result.done() and result.result() == result.result(timeout=1) == 1


def test_value_for_another_hub() -> None:
    with greenpool.Runtime(pool_size=2) as runtime:
        handle = runtime.handle()
        results: list[AsyncResult[int]] = [AsyncResult() for _ in range(100)]
        waiting = [handle.spawn_on(0, result.get) for result in results]
        for number, result in enumerate(results):
            handle.spawn_on(1, result.set, number)
        assert [greenlet.get() for greenlet in waiting] == list(range(100))


@pytest.mark.parametrize("bad", [None, 5, "x"])
def test_bad_exception(bad: Any) -> None:
    with pytest.raises(TypeError, match="exception must be an exception"):
        AsyncResult().set_exception(bad)


def test_unlinked_while_others_come_to_wait(fast_switching: None) -> None:
    event = Event()
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            event.wait(0.00001)

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    called: list[object] = []
    for _ in range(2000):
        event.rawlink(called.append)
        event.unlink(called.append)
    stop.set()
    for thread in threads:
        thread.join()
    event.set()
    greenpool.sleep(0)
    assert called == []


@pytest.mark.parametrize("timeout", ["5", b"5", [1], float("nan")])
def test_a_timeout_that_is_no_number(timeout: object) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not"):
        Event().wait(timeout)  # type: ignore[arg-type]


def test_greenlets_of_several_hubs_take_one_exception() -> None:
    """Without the GIL this once crashed the interpreter, in with_traceback."""
    with greenpool.Runtime(pool_size=4) as runtime:
        handle = runtime.handle()
        for _ in range(200):
            result: AsyncResult[None] = AsyncResult()

            def take(result: AsyncResult[None] = result) -> None:
                for _ in range(10):
                    with pytest.raises(LookupError):
                        result.get()

            takers = [handle.spawn_on(i % 4, take) for i in range(8)]
            result.set_exception(LookupError())
            greenpool.joinall(takers, raise_error=True)
