"""The Python frames of greenlets: with the C extension they begin in a small chunk and go on in CPython's.

The tests run without the extension too, because a program sees the same with and without it.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

import greenpool
from greenpool import config
from greenpool.event import Event

pytestmark = pytest.mark.usefixtures("leak_check")

# These depths go from the first call that does not fit into the small chunk to several of CPython's chunks.
DEPTHS = [*range(1, 30), 100, 300]


def nested(depth: int, at_the_bottom: Callable[[], Any]) -> Any:
    """Return the result of *at_the_bottom*, called *depth* calls below this one."""
    local = object()
    result = nested(depth - 1, at_the_bottom) if depth else at_the_bottom()
    assert type(local) is object
    return result


def make_wide(locals_count: int) -> Callable[[], int]:
    """Make a function whose frame has *locals_count* places."""
    names = [f"v{i}" for i in range(locals_count)]
    namespace: dict[str, Any] = {}
    exec(f"def wide():\n    {' = '.join(names)} = 7\n    return {' + '.join(names)}", namespace)
    return namespace["wide"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("depth", DEPTHS)
def test_parked_at_any_depth(depth: int) -> None:
    event = Event()
    greenlets = [greenpool.spawn(nested, depth, event.wait) for _ in range(3)]
    greenpool.sleep(0)
    event.set()
    assert [parked.get(timeout=5) for parked in greenlets] == [True] * 3


@pytest.mark.parametrize("places", [1, 50, 150, 200, 2_500])
def test_a_frame_of_any_size(places: int) -> None:
    wide = make_wide(places)

    def work() -> list[int]:
        return [nested(depth, wide) for depth in DEPTHS]

    assert greenpool.spawn(work).get(timeout=5) == [7 * places] * len(DEPTHS)


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_exception_from_any_depth(depth: int) -> None:
    def fail() -> None:
        greenpool.sleep(0)
        raise ValueError(depth)

    failing = greenpool.Greenlet(nested, depth, fail)
    failing.quiet = True
    failing.start()
    with pytest.raises(ValueError, match=f"^{depth}$"):
        failing.get(timeout=5)


@pytest.mark.parametrize("depth", DEPTHS)
def test_killed_at_any_depth(depth: int) -> None:
    killed = greenpool.spawn(nested, depth, Event().wait)
    greenpool.sleep(0)
    killed.kill(timeout=5)
    assert isinstance(killed.value, greenpool.GreenletExit)


def test_the_next_task_of_a_carrier_begins_afresh() -> None:
    for depth in [300, *DEPTHS, 300, 0]:
        assert greenpool.spawn(nested, depth, lambda: "there").get(timeout=5) == "there"


def test_a_recursion_without_end_is_an_error_in_its_greenlet_only() -> None:
    def recur() -> None:
        recur()

    endless = greenpool.Greenlet(recur)
    endless.quiet = True
    endless.start()
    with pytest.raises(RecursionError):
        endless.get(timeout=20)
    assert greenpool.spawn(nested, 100, lambda: "there").get(timeout=5) == "there"


def test_a_generator_that_is_resumed_elsewhere() -> None:
    def count() -> Any:
        for number in range(100):
            yield nested(number % 20, lambda: number)  # noqa: B023 - called at once

    numbers = count()

    def take(depth: int) -> int:
        return nested(depth, lambda: next(numbers))  # type: ignore[no-any-return]

    assert [greenpool.spawn(take, depth % 12).get(timeout=5) for depth in range(100)] == [*range(100)]


def test_a_thread_that_ends_with_deeply_parked_greenlets(on_new_thread: Callable[..., Any]) -> None:
    def start() -> list[greenpool.Greenlet]:
        started = [greenpool.spawn(nested, depth, Event().wait) for depth in DEPTHS]
        greenpool.sleep(0)
        return started

    for ended in on_new_thread(start):
        assert isinstance(ended.get(timeout=5), greenpool.GreenletExit)
    gc.collect()


def test_one_that_its_thread_leaves_parked_for_ever(on_new_thread: Callable[..., Any]) -> None:
    def stubborn(depth: int) -> None:
        try:
            nested(depth, Event().wait)
        finally:
            # The thread has ended, so this wait never returns. The greenlet is freed as it is.
            Event().wait()

    def start() -> list[greenpool.Greenlet]:
        started = [greenpool.spawn(stubborn, depth) for depth in DEPTHS]
        greenpool.sleep(0)
        return started

    for ended in on_new_thread(start):
        assert isinstance(ended.get(timeout=5), greenpool.GreenletExit)
    gc.collect()


def test_hammered_by_threads_at_once(fast_switching: None) -> None:
    """Each greenlet crosses the ends of its chunks again and again, and the chunks move between greenlets."""
    wides = [make_wide(places) for places in (10, 100, 1_000)]
    results: list[int] = []

    def work(number: int) -> int:
        total = 0
        for round in range(60):
            total += nested((number + round) % 25, wides[round % 3])
            if round % 10 == 0:
                greenpool.sleep(0)
        return total

    def on_a_thread() -> None:
        greenlets = [greenpool.spawn(work, number) for number in range(10)]
        results.extend(started.get(timeout=50) for started in greenlets)

    threads = [threading.Thread(target=on_a_thread) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [20 * 7 * (10 + 100 + 1_000)] * 80


@pytest.mark.skipif(not config.speedups, reason="without the C extension there are only CPython's chunks")
@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident memory from /proc")
def test_a_parked_greenlet_touches_no_page_of_its_own(run_script: Callable[[str], str]) -> None:
    """CPython's first chunk alone takes a page. Here the whole greenlet takes less than one and a half."""
    code = """
        import gc, os
        import greenpool
        from greenpool.event import Event

        def resident():
            gc.collect()
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        wait = Event().wait
        parked = [greenpool.spawn(wait) for _ in range(100)]
        greenpool.sleep(0)
        before = resident()
        parked += [greenpool.spawn(wait) for _ in range(10_000)]
        greenpool.sleep(0)
        print((resident() - before) // 10_000)
        os._exit(0)
    """
    assert int(run_script(dedent(code))) < 6_144
