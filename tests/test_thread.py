"""``greenpool.thread``: green threads and their locks, without any patching."""

from __future__ import annotations

import _thread as standard
import sys
import threading
from collections.abc import Callable
from typing import Any

import greenlet
import pytest

import greenpool
from greenpool import thread
from greenpool._core.current import BUDGET
from greenpool.event import Event
from greenpool.threadpool import blocking

pytestmark = pytest.mark.usefixtures("leak_check")


def test_every_public_name_of_the_standard_module_is_there() -> None:
    for name in vars(standard):
        assert hasattr(thread, name), name


def test_a_thread_runs_with_its_arguments_and_has_an_identifier() -> None:
    seen: list[Any] = []
    done = Event()

    def work(*args: int, **kwargs: int) -> None:
        seen.append((args, kwargs, thread.get_ident()))
        done.set()

    ident = thread.start_new_thread(work, (1, 2), {"three": 3})
    done.wait()
    assert seen == [((1, 2), {"three": 3}, ident)]
    assert thread.get_ident() == threading.get_ident() != ident


@pytest.mark.parametrize("arguments", [(1, ()), (print, []), (print, (), [])])
def test_bad_arguments(arguments: Any) -> None:
    with pytest.raises(TypeError) as green:
        thread.start_new_thread(*arguments)
    with pytest.raises(TypeError) as native:
        standard.start_new_thread(*arguments)
    assert str(green.value) == str(native.value)


def test_only_green_threads_that_are_alive_count() -> None:
    before = thread._count()
    done = Event()
    thread.start_new_thread(done.wait, ())
    assert blocking(thread._count) == before + 1
    done.set()
    greenpool.sleep(0)
    greenpool.sleep(0)
    assert thread._count() == before


def test_an_exception_is_unraisable(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    def fail() -> None:
        raise ValueError("broken")

    thread.start_new_thread(fail, ())
    thread.start_new_thread(sys.exit, ())
    greenpool.sleep(0)
    greenpool.sleep(0)
    (report,) = seen
    assert str(report.exc_value) == "broken"
    assert report.exc_traceback is not None
    assert repr(fail) in f"{report.err_msg} {report.object!r}"


def test_a_lock_is_what_the_standard_one_is() -> None:
    lock = thread.allocate_lock()
    assert isinstance(lock, thread.LockType)
    with lock:
        assert lock.locked() and not lock.acquire(blocking=False)
        assert "locked" in repr(lock)
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    with pytest.raises(TypeError, match="is not an acceptable base type"):
        type("MyLock", (thread.LockType,), {})


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="from CPython 3.13 on LockType is threading.Lock")
def test_only_allocate_lock_makes_locks() -> None:
    with pytest.raises(TypeError, match="cannot create '.*LockType' instances"):
        thread.LockType()


def test_rlock_ignores_arguments_and_can_be_subclassed() -> None:
    class Named(thread.RLock):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.name = name

    with Named("mine") as taken:
        assert taken


@pytest.mark.parametrize("make", [thread.allocate_lock, thread.RLock])
def test_who_polls_a_lock_lets_others_run(make: Any) -> None:
    lock = make()
    seen: list[int] = []
    greenpool.spawn(seen.append, 1)
    while not seen:
        with lock:
            pass


def rounds_without_a_yield(operation: Callable[[], object]) -> int:
    """How often the calling greenlet can do *operation* before another one has a turn."""
    others: list[int] = []
    greenpool.sleep(0)  # from here on it has its whole budget
    other = greenpool.spawn(others.append, 1)
    rounds = 0
    while not others:
        operation()
        rounds += 1
    other.join()
    return rounds


def enter_and_leave(lock: Any) -> None:
    with lock:
        pass


def take_and_free(lock: Any) -> None:
    lock.acquire()
    lock.release()


@pytest.mark.parametrize("make", [thread.allocate_lock, thread.RLock])
@pytest.mark.parametrize("use", [enter_and_leave, take_and_free])
def test_each_acquire_counts_as_one_operation(make: Any, use: Any) -> None:
    """In a greenlet, and in the main program."""
    lock = make()
    assert rounds_without_a_yield(lambda: use(lock)) == BUDGET + 1
    assert greenpool.spawn(rounds_without_a_yield, lambda: use(lock)).get() == BUDGET + 1
    if isinstance(lock, thread.RLock):
        with lock:
            assert rounds_without_a_yield(lambda: use(lock)) == BUDGET + 1


def test_an_acquire_in_vain_counts_as_one_operation() -> None:
    lock = thread.allocate_lock()
    lock.acquire()
    assert rounds_without_a_yield(lambda: lock.acquire(False)) == BUDGET + 1
    assert rounds_without_a_yield(lambda: lock.acquire(blocking=False)) == BUDGET + 1


def test_with_calls_what_a_subclass_of_rlock_has() -> None:
    calls: list[str] = []

    class Noted(thread.RLock):
        def release(self) -> None:
            calls.append("release")
            super().release()

    with Noted() as taken:
        assert taken
    assert calls == ["release"]


def test_identifiers_of_greenlets_that_are_no_threads() -> None:
    raw: Any = greenlet.greenlet(lambda: (thread.get_ident(), id(greenpool.getcurrent())))
    spawned = greenpool.spawn(thread.get_ident)
    in_loop: list[int] = []
    greenpool.get_hub().call_soon(lambda: in_loop.append(thread.get_ident()))
    greenpool.sleep(0.001)
    assert spawned.get() == id(spawned)
    assert in_loop == [threading.get_ident()]
    found = raw.switch()
    assert found[0] == threading.get_ident()
    assert blocking(thread.get_ident) == blocking(threading.get_ident)


@pytest.mark.parametrize("make", [thread.allocate_lock, thread.RLock])
def test_a_kill_that_is_pending_does_not_strike_who_need_not_wait(make: Any) -> None:
    lock = make()
    passed: list[bool] = []

    def work() -> None:
        greenpool.sleep(0)  # it is killed meanwhile, so its next wait raises
        for _ in range(BUDGET + 1):
            with lock:
                pass
        passed.append(True)
        greenpool.sleep(0)
        passed.append(False)

    worker = greenpool.spawn(work)
    greenpool.sleep(0)
    worker.kill()
    assert passed == [True]


def test_a_kill_that_is_pending_ends_a_loop_that_polls() -> None:
    lock = thread.allocate_lock()

    def poll() -> None:
        greenpool.sleep(0)  # it is killed meanwhile
        while True:
            with lock:
                pass

    poller = greenpool.spawn(poll)
    greenpool.sleep(0)
    poller.kill()
    assert poller.dead


def test_a_thread_has_ended_once_its_os_thread_has(on_new_thread: Callable[..., Any]) -> None:
    """A thread that would have gone on waiting has ended, too."""
    before = thread._count()

    def wait() -> None:
        try:
            Event().wait()
        finally:
            Event().wait()

    def start() -> thread._ThreadHandle:
        handle = thread.start_joinable_thread(wait)
        greenpool.sleep(0)
        return handle

    handle = on_new_thread(start)
    handle.join()
    assert thread._count() == before


def test_a_joinable_thread() -> None:
    go = Event()
    handle = thread.start_joinable_thread(go.wait)
    handle.join(0.001)
    assert not handle.is_done()
    with pytest.raises(RuntimeError, match="thread already started"):
        thread.start_joinable_thread(go.wait, handle)
    go.set()
    handle.join()
    assert handle.is_done()
    with pytest.raises(RuntimeError, match="thread not started"):
        thread._ThreadHandle().join()


def test_a_thread_cannot_join_itself() -> None:
    errors: list[str] = []
    handle = thread._ThreadHandle()

    def join() -> None:
        try:
            handle.join()
        except RuntimeError as error:
            errors.append(str(error))

    thread.start_joinable_thread(join, handle)
    handle.join()
    assert errors == ["Cannot join current thread"]
