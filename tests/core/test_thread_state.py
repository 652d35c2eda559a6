"""What CPython keeps for each OS thread, kept apart for each greenlet of a hub."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import greenlet
import pytest

import greenpool
from greenpool._asyncio import replacements
from greenpool._core.speedups import speedups
from greenpool._core.thread_state import keep_apart
from greenpool.event import Event
from greenpool.lock import Lock
from greenpool.sys import getprofile, gettrace, setprofile, settrace

OnNewThread = Callable[..., Any]

with_extension = pytest.mark.skipif(speedups is None, reason="only C can")


@pytest.fixture(autouse=True)
def no_tracer_of_the_test_run() -> Any:
    trace, profile = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    yield
    sys.settrace(trace)
    sys.setprofile(profile)


def recorder(seen: list[str]) -> Any:
    def trace(frame: FrameType, event: str, argument: object) -> Any:
        seen.append(frame.f_code.co_name)
        return trace

    return trace


def first_place() -> None:
    greenpool.sleep(0)


def second_place() -> None:
    greenpool.sleep(0)


# Trace and profile functions.


@pytest.mark.parametrize("install", [settrace, setprofile])
def test_tracer_sees_its_own_greenlet_only(install: Any, on_new_thread: OnNewThread) -> None:
    def run(place: Callable[[], None]) -> list[str]:
        seen: list[str] = []
        install(recorder(seen))
        for _ in range(5):
            place()
        install(None)
        return seen

    def main() -> list[list[str]]:
        greenlets = [greenpool.spawn(run, first_place), greenpool.spawn(run, second_place)]
        first_place()
        return [each.get() for each in greenlets]

    first, second = on_new_thread(main)
    assert set(first) == {"first_place"}
    assert set(second) == {"second_place"}


def test_get_returns_the_function_that_was_set(on_new_thread: OnNewThread) -> None:
    def main() -> None:
        trace, profile = recorder([]), recorder([])
        settrace(trace)
        setprofile(profile)
        greenpool.spawn(greenpool.sleep, 0).join()
        found = gettrace(), getprofile()
        settrace(None)
        setprofile(None)
        assert found == (trace, profile)
        assert (gettrace(), getprofile()) == (None, None)

    on_new_thread(main)


def test_tracer_ends_with_its_greenlet(on_new_thread: OnNewThread) -> None:
    def main() -> list[object]:
        # The carrier of the first is that of the second.
        greenpool.spawn(settrace, recorder([])).join()
        return [greenpool.spawn(gettrace).get(), gettrace(), sys.gettrace()]

    assert on_new_thread(main) == [None, None, None]


def test_greenlet_is_traced_like_the_main_program_of_its_thread(on_new_thread: OnNewThread) -> None:
    def main() -> list[str]:
        seen: list[str] = []
        settrace(recorder(seen))
        greenpool.spawn(second_place).join()
        settrace(None)
        return seen

    assert "second_place" in on_new_thread(main)


def test_thread_hooks_reach_the_greenlets_of_a_pool() -> None:
    seen: list[str] = []
    threading.settrace(recorder(seen))
    try:
        with greenpool.Runtime(pool_size=1) as runtime:
            runtime.spawn(first_place).join()
            runtime.spawn(second_place).join()
    finally:
        threading.settrace(None)  # type: ignore[arg-type]  # as the documentation has it
    assert {"first_place", "second_place"} <= set(seen)


def test_tracer_never_sees_the_runtime_itself(on_new_thread: OnNewThread) -> None:
    files: set[str] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        files.add(frame.f_code.co_filename)
        return trace

    def work(lock: Lock) -> None:
        for _ in range(3):
            with lock:
                first_place()
        greenpool.sleep(0.001)

    def main() -> None:
        lock = Lock()
        greenpool.get_hub()  # which calls code of the standard library when it is made
        settrace(trace)
        greenpool.joinall([greenpool.spawn(work, lock) for _ in range(3)])
        settrace(None)

    on_new_thread(main)
    assert files == {__file__}


def test_trace_function_may_wait_for_a_lock(on_new_thread: OnNewThread) -> None:
    seen: list[str] = []
    lock = Lock()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        with lock:
            seen.append(frame.f_code.co_name)
        return trace

    def hold() -> None:
        for _ in range(10):
            with lock:
                greenpool.sleep(0.001)
            greenpool.sleep(0)

    def work() -> None:
        settrace(trace)
        for _ in range(5):
            second_place()
        settrace(None)

    def main() -> None:
        greenpool.joinall([greenpool.spawn(hold), greenpool.spawn(work)])

    on_new_thread(main)
    assert seen.count("second_place") > 5


@with_extension
def test_greenlet_that_waits_in_its_tracer_keeps_no_other_from_being_traced(
    on_new_thread: OnNewThread,
) -> None:
    seen: list[str] = []
    go_on = Event()

    def waits(frame: FrameType, event: str, argument: object) -> Any:
        go_on.wait()

    def first() -> None:
        settrace(waits)
        first_place()
        settrace(None)

    def second() -> None:
        settrace(recorder(seen))
        second_place()
        settrace(None)
        go_on.set()

    def main() -> None:
        greenpool.joinall([greenpool.spawn(first), greenpool.spawn(second)])

    on_new_thread(main)
    assert "second_place" in seen


# The price.


def test_hub_swaps_only_while_there_is_something_to_swap(on_new_thread: OnNewThread) -> None:
    def main() -> list[object]:
        found: list[object] = []

        def work() -> None:
            settrace(recorder([]))
            greenpool.sleep(0)
            found.append(greenlet.gettrace())
            settrace(None)

        greenpool.spawn(work).join()
        greenpool.spawn(greenpool.sleep, 0).join()
        found.append(greenlet.gettrace())
        return found

    during, after = on_new_thread(main)
    assert during is not None
    assert after is None


def test_programs_own_function_of_greenlet_settrace_goes_on(on_new_thread: OnNewThread) -> None:
    def main() -> list[str]:
        events: list[str] = []

        def count(event: str, switch: object) -> None:
            events.append(event)

        def work() -> None:
            keep_apart()
            settrace(recorder([]))
            events.clear()
            greenpool.sleep(0)
            assert events
            settrace(None)

        greenlet.settrace(count)
        greenpool.spawn(work).join()
        greenpool.spawn(greenpool.sleep, 0).join()
        events.clear()
        greenpool.sleep(0.001)
        assert greenlet.gettrace() is count
        greenlet.settrace(None)
        return events

    assert on_new_thread(main)


# asyncio's running loop.


@pytest.fixture
def asyncio_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in replacements(asyncio.events).items():
        monkeypatch.setattr(asyncio.events, name, value)


@pytest.mark.usefixtures("asyncio_says_so")
def test_callback_of_a_loop_parks_and_no_other_greenlet_sees_the_loop(on_new_thread: OnNewThread) -> None:
    async def coroutine() -> bool:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        greenpool.sleep(0.001)
        await asyncio.sleep(0)
        return asyncio.get_running_loop() is loop and asyncio.current_task() is task

    def main() -> tuple[bool, list[object]]:
        running = greenpool.spawn(asyncio.run, coroutine())
        seen = []
        while not running.dead:
            greenpool.sleep(0)
            seen.append(asyncio._get_running_loop())
        return running.get(), seen

    same, seen = on_new_thread(main)
    assert same
    assert set(seen) == {None}


@pytest.mark.usefixtures("asyncio_says_so")
def test_hooks_of_asyncio_stay_with_its_greenlet(on_new_thread: OnNewThread) -> None:
    async def coroutine() -> None:
        greenpool.sleep(0.001)

    def main() -> list[object]:
        runs = [greenpool.spawn(asyncio.run, coroutine(), debug=True) for _ in range(2)]
        seen: list[object] = []
        while not all(run.dead for run in runs):
            greenpool.sleep(0)
            seen += [*sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth()]
        return seen

    assert set(on_new_thread(main)) == {None, 0}
