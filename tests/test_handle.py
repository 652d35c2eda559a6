"""Handles: spawning onto a pool from any thread, and the pool as a concurrent.futures.Executor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import Greenlet, Handle, Runtime, SpawnError, StreamSpawnError
from greenpool._core.current import thread_hub
from greenpool.event import Event
from greenpool.lock import Barrier

pytestmark = pytest.mark.usefixtures("leak_check")


@pytest.fixture
def runtime(leak_check: None) -> Iterator[Runtime]:
    with Runtime(pool_size=2) as runtime:
        yield runtime


def hub_index() -> int | None:
    return greenpool.get_hub().index


def in_threads(count: int, function: Callable[[], object]) -> None:
    """Call *function* in *count* OS threads at once, and return when all of them have ended."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(count)

    def target() -> None:
        try:
            barrier.wait()
            function()
        except BaseException as exception:
            failures.append(exception)

    threads = [threading.Thread(target=target) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_one_handle_in_many_threads(runtime: Runtime) -> None:
    handle = runtime.handle()
    results: list[int] = []
    lock = threading.Lock()

    def spawner() -> None:
        greenlets = [handle.spawn(lambda number: 2 * number, number) for number in range(100)]
        mine = [greenlet.get() for greenlet in greenlets]
        with lock:
            results.extend(mine)

    in_threads(8, spawner)
    assert sorted(results) == sorted([2 * number for number in range(100)] * 8)


def test_spawn_needs_no_hub_in_the_calling_thread(runtime: Runtime) -> None:
    """A thread that only spawns does not get a hub with its descriptors."""
    handle = runtime.handle()
    found: list[object] = []

    def spawner() -> None:
        handle.spawn(int)
        handle.spawn_on(1, int)
        handle.submit(int)
        found.append(thread_hub())

    in_threads(2, spawner)
    assert found == [None, None]


def test_copies_spawn_onto_the_same_pool(runtime: Runtime) -> None:
    handle = runtime.handle()
    copies = [handle, copy.copy(handle), runtime.handle(), copy.copy(copy.copy(handle))]
    assert all(isinstance(each, Handle) for each in copies)
    assert [each.spawn(hub_index).get() for each in copies] == [0, 1, 0, 1]


def test_a_handle_travels_into_the_pool(runtime: Runtime) -> None:
    """In a greenlet, the handle's spawns take turns over the hubs. Only the plain spawn stays on its hub."""

    def parent(handle: Handle) -> tuple[set[int | None], int | None]:
        return {handle.spawn(hub_index).get() for _ in range(2)}, greenpool.spawn(hub_index).get()

    everywhere, own = runtime.handle().spawn_on(1, parent, runtime.handle()).get()
    assert everywhere == {0, 1}
    assert own == 1


def test_arguments_and_outcomes(runtime: Runtime) -> None:
    for spawn in (runtime.spawn, runtime.handle().spawn):
        greenlet = spawn(lambda *args, **kwargs: (args, kwargs), 1, two=2)
        assert isinstance(greenlet, Greenlet)
        assert greenlet.get() == ((1,), {"two": 2})


def test_spawn_on_picks_the_hub(runtime: Runtime) -> None:
    handle = runtime.handle()
    assert [handle.spawn_on(index, hub_index).get() for index in (1, 1, 0, 1)] == [1, 1, 0, 1]
    assert handle.spawn_on(1, lambda *args, **kwargs: (args, kwargs), 1, two=2).get() == ((1,), {"two": 2})


def test_place_starts_a_greenlet_once(runtime: Runtime) -> None:
    calls: list[int] = []
    greenlet = Greenlet(calls.append, 1)
    handle = runtime.handle()
    handle.place(greenlet, 1)
    handle.place(greenlet, 0)
    greenlet.join()
    handle.place(greenlet)
    handle.spawn_on(0, int).join()
    handle.spawn_on(1, int).join()
    assert calls == [1]
    assert greenlet.hub is not None
    assert greenlet.hub.index == 1


def test_spawn_all_of_a_handle_in_a_plain_thread(runtime: Runtime) -> None:
    ran: list[int] = []

    def items() -> Iterator[tuple[Callable[[int], None], int]]:
        for number in range(4):
            gate = Event()
            yield lambda number, gate=gate: (ran.append(number), gate.set()), number  # type: ignore[misc]
            gate.wait()

    in_threads(1, lambda: runtime.handle().spawn_all(items()))
    assert ran == [0, 1, 2, 3]


def test_everything_is_refused_after_the_shutdown() -> None:
    runtime = Runtime(pool_size=2)
    handle = runtime.handle()
    runtime.shutdown()
    greenlet = Greenlet(int)
    for refused in (
        lambda: handle.spawn(int),
        lambda: handle.spawn_on(0, int),
        lambda: handle.submit(int),
        lambda: handle.place(greenlet),
        lambda: runtime.spawn(int),
        lambda: runtime.block_on(greenpool.spawn, int),
        lambda: runtime.block_on(greenpool.spawn_later, 0, int),
        lambda: runtime.block_on(Greenlet.spawn, int),
    ):
        with pytest.raises(SpawnError, match="shut down"):
            refused()
    with pytest.raises(StreamSpawnError.Spawn):
        handle.spawn_all([int])
    assert not greenlet.started
    assert greenlet.hub is None


def test_a_refused_greenlet_may_be_started_elsewhere(runtime: Runtime) -> None:
    other = Runtime(pool_size=1)
    other.shutdown()
    greenlet = Greenlet(hub_index)
    with pytest.raises(SpawnError):
        other.handle().place(greenlet)
    runtime.handle().place(greenlet, 1)
    assert greenlet.get() == 1


# The handle as an Executor.


def test_submit_and_result_from_a_plain_thread(runtime: Runtime) -> None:
    def target() -> None:
        handle = runtime.handle()
        future = handle.submit(pow, 2, 10)
        assert isinstance(future, concurrent.futures.Future)
        assert future.result(timeout=30) == 1024
        failed = handle.submit(lambda: 1 / 0)
        assert isinstance(failed.exception(), ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            failed.result()
        assert handle.submit(dict, a=1).result() == {"a": 1}

    in_threads(3, target)


def test_submit_goes_in_turn(runtime: Runtime) -> None:
    assert [runtime.handle().submit(hub_index).result() for _ in range(4)] == [0, 1, 0, 1]


def test_map_keeps_the_order(runtime: Runtime) -> None:
    def slower_first(number: int) -> int:
        greenpool.sleep((3 - number) / 1000)
        return number * number

    assert list(runtime.handle().map(slower_first, range(4))) == [0, 1, 4, 9]
    assert list(runtime.handle().map(pow, [2, 3], [5, 2])) == [32, 9]


def test_map_with_a_timeout_cancels_the_rest(runtime: Runtime) -> None:
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def forever(number: int) -> None:
        try:
            Event().wait()
        finally:
            ended.put(number)

    with pytest.raises(concurrent.futures.TimeoutError):
        list(runtime.handle().map(forever, range(2), timeout=0.05))
    assert {ended.get(timeout=10), ended.get(timeout=10)} == {0, 1}


def test_cancel_kills_the_greenlet_wherever_it_waits(runtime: Runtime) -> None:
    parked = threading.Event()
    ended = threading.Event()

    def forever() -> None:
        parked.set()
        try:
            Event().wait()
        finally:
            ended.set()

    future = runtime.handle().submit(forever)
    assert parked.wait(10)
    assert future.cancel()
    assert future.cancelled()
    assert ended.wait(10)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


def test_standard_functions_take_the_futures(runtime: Runtime) -> None:
    handle = runtime.handle()
    futures = [handle.submit(pow, 2, number) for number in range(5)]
    done, pending = concurrent.futures.wait(futures)
    assert not pending
    assert {future.result() for future in done} == {1, 2, 4, 8, 16}
    completed = concurrent.futures.as_completed([handle.submit(int, "3"), handle.submit(int, "4")])
    assert {future.result() for future in completed} == {3, 4}


def test_executor_as_a_context_manager_waits_and_leaves_the_runtime_open(runtime: Runtime) -> None:
    ended: list[str] = []

    def work() -> None:
        greenpool.sleep(0.005)
        ended.append("work")

    with runtime.handle() as executor:
        executor.submit(work)
        executor.submit(work)
    assert ended == ["work", "work"]
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(work)
    assert runtime.handle().submit(int).result() == 0


def test_executor_shutdown_can_cancel_what_is_left(runtime: Runtime) -> None:
    executor = runtime.handle()
    futures = [executor.submit(Event().wait) for _ in range(4)]
    executor.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)


def test_run_in_executor(runtime: Runtime) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        handle = runtime.handle()
        calls = [loop.run_in_executor(handle, pow, 2, number) for number in range(4)]
        results: list[Any] = list(await asyncio.gather(*calls))
        try:
            await loop.run_in_executor(handle, lambda: 1 / 0)
        except ZeroDivisionError as exception:
            results.append(type(exception))
        return results

    assert asyncio.run(main()) == [1, 2, 4, 8, ZeroDivisionError]


def test_to_thread_runs_in_greenlets_of_the_pool(runtime: Runtime) -> None:
    handle = runtime.handle()

    def meet(barrier: Barrier) -> int | None:
        barrier.wait(30)
        return hub_index()

    async def main() -> set[int | None]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(handle.executor())
        # More than a ThreadPoolExecutor would have threads.
        barrier = Barrier(50)
        hubs = await asyncio.gather(*[asyncio.to_thread(meet, barrier) for _ in range(50)])
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 / 0)
        return set(hubs)

    for _ in range(2):
        assert len(asyncio.run(main())) == runtime.pool_size
    # asyncio has shut its executor down, and the handle goes on.
    assert handle.submit(pow, 2, 3).result() == 8


def test_an_executor_of_a_handle(runtime: Runtime) -> None:
    handle = runtime.handle()
    executor = handle.executor()
    assert isinstance(executor, concurrent.futures.ThreadPoolExecutor)
    assert repr(executor) == f"<HandleExecutor of {handle!r}>"
    assert list(executor.map(pow, [2, 3], [3, 2])) == [8, 9]
    waiting = executor.submit(Event().wait)
    executor.shutdown(cancel_futures=True)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="after its shutdown"):
        executor.submit(int)
    assert handle.submit(int).result() == 0


def test_the_number_of_workers_is_that_of_the_hubs(runtime: Runtime) -> None:
    """As dask and distributed look for it."""
    handle = runtime.handle()
    assert handle._max_workers == handle.executor()._max_workers == runtime.pool_size


def test_cancelling_run_in_executor_kills_the_greenlet(runtime: Runtime) -> None:
    ended = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        parked = asyncio.Event()

        def forever() -> None:
            loop.call_soon_threadsafe(parked.set)
            try:
                Event().wait()
            finally:
                ended.set()

        call = loop.run_in_executor(runtime.handle(), forever)
        await parked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    assert ended.wait(10)


def test_a_handle_does_not_keep_the_runtime_open() -> None:
    runtime = Runtime(pool_size=1)
    handle = runtime.handle()
    thread = handle.spawn(threading.current_thread).get()
    with pytest.warns(ResourceWarning, match="never shut down"):
        del runtime
    with pytest.raises(SpawnError):
        handle.spawn(int)
    # Dropping the runtime does not wait for the threads.
    thread.join()
