"""``greenpool.threading``: the standard module's code over green threads, without patching that module."""

from __future__ import annotations

import ast
import contextlib
import contextvars
import gc
import inspect
import threading as standard
from collections.abc import Callable
from typing import Any

import pytest

import greenpool
from greenpool import threading
from greenpool._core.current import BUDGET

pytestmark = pytest.mark.usefixtures("leak_check")


def test_every_public_name_of_the_standard_module_is_there() -> None:
    for name in vars(standard):
        if not name.startswith("_"):
            assert hasattr(threading, name), name


def test_what_the_standard_module_takes_of_thread_is_known() -> None:
    """Fail if a new version of Python takes a name that nobody has checked: should it be green?"""
    looked_at = {
        # These are replaced, see threading.replacements.
        *("allocate_lock", "start_new_thread", "start_joinable_thread", "get_ident", "_set_sentinel"),
        *("LockType", "RLock", "_ThreadHandle", "_make_thread_handle", "_shutdown", "_local", "lock"),
        # These are right as they are.
        *("daemon_threads_allowed", "_daemon_threads_allowed", "error", "TIMEOUT_MAX", "get_native_id"),
        *("stack_size", "_is_main_interpreter", "_get_main_thread_ident", "_excepthook", "_ExceptHookArgs"),
        *("set_name",),
    }
    taken = set()
    for node in ast.walk(ast.parse(inspect.getsource(standard))):
        if isinstance(node, ast.ImportFrom) and node.module == "_thread":
            taken |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "_thread":
                taken.add(node.attr)
    assert taken <= looked_at


def test_threads_are_greenlets_of_one_os_thread() -> None:
    seen: list[Any] = []
    all_are_there = threading.Barrier(10)

    def work() -> None:
        all_are_there.wait()
        seen.append((threading.current_thread(), standard.get_ident(), threading.get_ident()))

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {thread for thread, _, _ in seen} == set(threads)
    assert {native for _, native, _ in seen} == {standard.get_ident()}
    assert len({ident for _, _, ident in seen}) == 10
    assert not any(thread.is_alive() for thread in threads)


def test_join_waits_and_gives_up() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    thread.join(0.001)
    assert thread.is_alive() and thread in threading.enumerate()
    go.set()
    thread.join()
    assert not thread.is_alive() and thread not in threading.enumerate()


def test_who_polls_whether_a_thread_is_alive_lets_it_run() -> None:
    thread = threading.Thread(target=greenpool.sleep)
    thread.start()
    while thread.is_alive():
        pass


def test_several_wait_for_one_thread() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()

    def join() -> bool:
        thread.join()
        return thread.is_alive()

    joiners = [greenpool.spawn(join) for _ in range(3)]
    greenpool.sleep(0)
    go.set()
    assert [joiner.get() for joiner in joiners] == [False] * 3


def test_several_hubs_wait_for_one_thread() -> None:
    def join(thread: threading.Thread) -> bool:
        thread.join()
        return thread.is_alive()

    def main() -> None:
        for _ in range(20):
            go = threading.Event()
            thread = threading.Thread(target=go.wait)
            thread.start()
            joiners = [greenpool.spawn(join, thread) for _ in range(4)]
            go.set()
            assert [joiner.get() for joiner in joiners] == [False] * 4

    with greenpool.Runtime(pool_size=2) as runtime:
        runtime.block_on(main)


def test_a_timeout_or_a_kill_of_who_joins_does_not_end_the_thread() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    with greenpool.Timeout(0.001, False):
        thread.join()
    joiner = greenpool.spawn(thread.join)
    greenpool.sleep(0)
    joiner.kill()
    assert thread.is_alive() and thread in threading.enumerate()
    go.set()
    thread.join()
    assert not thread.is_alive() and thread not in threading.enumerate()


def test_a_thread_has_ended_once_its_os_thread_has(on_new_thread: Callable[..., Any]) -> None:
    """A thread that would have gone on waiting has ended, too."""

    def wait() -> None:
        try:
            threading.Event().wait()
        finally:
            threading.Event().wait()

    def start() -> threading.Thread:
        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    thread = on_new_thread(start)
    thread.join()
    assert not thread.is_alive()


@pytest.mark.usefixtures("fast_switching")
def test_who_starts_a_thread_as_the_pool_ends_goes_on() -> None:
    """The new thread may be ended before it begins with its own function."""

    started = standard.Semaphore(0)

    def start_many() -> None:
        with contextlib.suppress(greenpool.SpawnError):
            while True:
                threading.Thread(target=int).start()
                started.release()

    for _ in range(40):
        runtime = greenpool.Runtime(pool_size=2)
        starter = standard.Thread(target=runtime.block_on, args=(start_many,))
        starter.start()
        for _ in range(5):
            started.acquire()
        runtime.shutdown()
        starter.join()


def test_timer_and_cancel() -> None:
    fired: list[str] = []
    first = threading.Timer(0.001, fired.append, ["first"])
    second = threading.Timer(60, fired.append, ["second"])
    for timer in (first, second):
        timer.start()
    first.join()
    second.cancel()
    second.join()
    assert fired == ["first"]


def test_the_wait_for_an_event_that_is_set_takes_no_lock_and_counts_as_an_operation() -> None:
    event: Any = threading.Event()
    event.set()
    others: list[int] = []
    with event._cond:
        greenpool.spawn(others.append, 1)
        rounds = 0
        while not others:
            assert event.wait() is True
            assert event.wait(1) is True
            assert event.wait(timeout=None) is True
            rounds += 1
    assert 1 < rounds < BUDGET
    event.clear()
    assert event.wait(0) is False
    with pytest.raises(TypeError):
        event.wait(1, 2)


def test_a_subclass_of_event_can_wait() -> None:
    class Noted(threading.Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            return super().wait(timeout)

    event = Noted()
    waiting = greenpool.spawn(event.wait)
    greenpool.sleep(0)
    event.set()
    assert waiting.get() is True
    assert event.wait(5) is True
    assert event.waits == 2


def test_primitives_of_python_code_park() -> None:
    barrier = threading.Barrier(3)
    semaphore = threading.BoundedSemaphore(1)
    condition = threading.Condition()
    passed: list[int] = []

    def work(number: int) -> None:
        barrier.wait()
        with semaphore:
            greenpool.sleep(0)
            passed.append(number)
        with condition:
            condition.notify()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    with condition:
        for thread in threads:
            thread.start()
        condition.wait_for(lambda: len(passed) == 3)
    for thread in threads:
        thread.join()
    assert sorted(passed) == [0, 1, 2]


def test_a_notify_is_not_lost_on_one_who_is_killed() -> None:
    condition = threading.Condition()
    notified: list[str] = []

    def wait(name: str) -> None:
        with condition:
            condition.wait()
            notified.append(name)

    first = greenpool.spawn(wait, "first")
    second = greenpool.spawn(wait, "second")
    greenpool.sleep(0)
    first.kill(block=False)
    with condition:
        condition.notify()
    second.join()
    assert first.dead and notified == ["second"]


def test_who_leaves_a_condition_holds_its_lock_whatever_strikes_meanwhile() -> None:
    condition = threading.Condition()
    struck: list[str] = []

    def wait() -> None:
        try:
            with condition:
                condition.wait()
        except ValueError as error:
            struck.append(str(error))

    waiter = greenpool.spawn(wait)
    greenpool.sleep(0)
    with condition:
        waiter.kill(ValueError("while it waits"), block=False)
        greenpool.sleep(0)
        waiter.kill(ValueError("while it takes the lock again"), block=False)
        greenpool.sleep(0)
    waiter.join()
    assert struck == ["while it takes the lock again"]
    assert condition.acquire(blocking=False)


def test_a_thread_has_locals_and_a_context_of_its_own() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("main")
    values = threading.local()
    values.number = 1
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append((variable.get(), hasattr(values, "number"))))
    thread.start()
    thread.join()
    assert seen == [("default", False)]


def test_an_exception_goes_to_the_hook_and_being_killed_does_not() -> None:
    seen: list[Any] = []
    hook, threading._module.excepthook = threading._module.excepthook, seen.append
    try:
        failing = threading.Thread(target=lambda: 1 // 0)
        failing.start()
        failing.join()
    finally:
        threading._module.excepthook = hook
    assert seen[0].exc_type is ZeroDivisionError and seen[0].thread is failing
    seen.clear()


def test_a_greenlet_is_a_dummy_thread_and_forgotten_with_it() -> None:
    seen: list[Any] = []

    def work() -> None:
        seen.append((threading.current_thread().name, len(threading.enumerate())))

    before = len(threading.enumerate())
    greenpool.spawn(work).join()
    greenpool.sleep(0)
    gc.collect()
    assert seen[0][0].startswith("Dummy-")
    assert len(threading.enumerate()) == before


def test_threads_of_run_go_over_the_pool_in_turn() -> None:
    hubs: list[int] = []

    def main() -> None:
        threads = [threading.Thread(target=lambda: hubs.append(standard.get_ident())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with greenpool.Runtime(pool_size=2) as runtime:
        runtime.block_on(main)
    assert len(set(hubs)) == 2 and len(hubs) == 4


def test_the_end_of_a_pool_ends_its_daemons_silently(capfd: pytest.CaptureFixture[str]) -> None:
    ended: list[bool] = []

    def daemon() -> None:
        try:
            greenpool.sleep(3600)
        finally:
            ended.append(True)

    def main() -> None:
        threading.Thread(target=daemon, daemon=True).start()

    with greenpool.Runtime(pool_size=1) as runtime:
        runtime.block_on(main)
    assert ended == [True]
    assert capfd.readouterr() == ("", "")
