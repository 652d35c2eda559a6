"""Dask: its threaded scheduler over a Handle, and workers of distributed with greenpool.dask."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import greenpool
from greenpool import Runtime

from .program import run_patched

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow


# The threaded scheduler.


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=3) as runtime:
        yield runtime


def where(_: int) -> int | None:
    # Longer than a hub takes to begin with it, so that no hub gets all of them.
    greenpool.sleep(0.01)
    return greenpool.get_hub().index


@pytest.mark.parametrize("way", ["pool", "scheduler"])
def test_a_handle_runs_the_tasks_of_a_graph(runtime: Runtime, way: str) -> None:
    handle = runtime.handle()
    settings = {"pool": handle, "scheduler": "threads"} if way == "pool" else {"scheduler": handle}
    with dask.config.set(settings):
        squares = [dask.delayed(pow)(number, 2) for number in range(30)]
        assert dask.compute(dask.delayed(sum)(squares)) == (sum(number**2 for number in range(30)),)
        hubs = dask.compute(*[dask.delayed(where)(number) for number in range(12)])
        assert set(hubs) == {0, 1, 2}
        with pytest.raises(ZeroDivisionError):
            dask.compute(dask.delayed(lambda: 1 / 0)())


# Workers. These functions run in them.

MANY = 2000
SECONDS = 40


def meet(number: int, name: str, parties: int) -> int:
    """Wait until *parties* tasks of this worker wait."""
    barrier = globals().setdefault(name, threading.Barrier(parties))
    barrier.wait(SECONDS)
    return number


def threads() -> tuple[int, int, int]:
    """The OS thread of the task, that of the worker's loop, and how many the process has."""
    main = threading.main_thread().native_id
    assert main is not None
    return threading.get_native_id(), main, len(os.listdir("/proc/self/task"))


def total_by_worker_client(numbers: list[int]) -> int:
    with distributed.worker_client() as client:
        return sum(client.gather(client.map(abs, numbers)))


def total_by_get_client(numbers: list[int]) -> int:
    return sum(distributed.get_client().gather(distributed.get_client().map(abs, numbers)))


def leave_and_come_back() -> str:
    for _ in range(2):
        distributed.secede()
        distributed.rejoin()
    return str(distributed.get_worker().get_current_task())


def die_once(path: str) -> str:
    if not os.path.exists(path):
        Path(path).touch()
        os._exit(1)
    return "done"


class Counter:
    count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two worker processes of a program that is not patched."""
    options = {"n_workers": 2, "threads_per_worker": MANY, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(preload="greenpool.dask", silence_logs=50, **options) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: object) -> Iterator[object]:
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=SECONDS)
        yield client


def test_thousands_of_tasks_wait_at_a_time_on_one_worker(client: distributed.Client) -> None:
    worker, *_ = client.scheduler_info()["workers"]
    tasks = client.map(meet, range(MANY), name="everybody", parties=MANY, workers=[worker])
    assert client.gather(tasks) == list(range(MANY))
    task_thread, loop_thread, count = client.submit(threads, workers=[worker]).result(SECONDS)
    assert task_thread != loop_thread
    assert count < 20
    # What waits does not count as running.
    assert not client.profile(workers=[worker]).get("children")


def test_both_workers_take_part(client: distributed.Client) -> None:
    seen = client.gather(client.map(lambda _: (time.sleep(0.2), os.getpid())[1], range(40)))
    assert len(set(seen)) == 2


@pytest.mark.parametrize("total", [total_by_worker_client, total_by_get_client])
def test_a_task_submits_tasks(client: distributed.Client, total: Callable[[list[int]], int]) -> None:
    assert client.submit(total, [-1, -2, -3]).result(SECONDS) == 6


def test_a_task_secedes_and_rejoins(client: distributed.Client) -> None:
    assert client.submit(leave_and_come_back, key="leaves").result(SECONDS) == "leaves"


def test_an_actor(client: distributed.Client) -> None:
    counter = client.submit(Counter, actor=True).result(SECONDS)
    assert [counter.add().result(SECONDS) for _ in range(3)] == [1, 2, 3]


def test_the_stack_of_a_task_that_waits(client: distributed.Client) -> None:
    worker, *_ = client.scheduler_info()["workers"]
    first = client.submit(meet, 1, "two", 2, key="first", workers=[worker])
    while not (stacks := client.call_stack().get(worker)):
        pass
    assert any("in meet" in line for line in stacks["first"])
    second = client.submit(meet, 2, "two", 2, key="second", workers=[worker])
    assert client.gather([first, second]) == [1, 2]


def test_no_task_is_lost_when_a_worker_dies(client: distributed.Client, tmp_path: Path) -> None:
    others = client.map(lambda number: (time.sleep(1), number)[1], range(100))
    assert client.submit(die_once, str(tmp_path / "died")).result(SECONDS) == "done"
    assert client.gather(others) == list(range(100))
    client.wait_for_workers(2, timeout=SECONDS)
    task_thread, loop_thread, _ = client.submit(threads).result(SECONDS)
    assert task_thread != loop_thread


def test_no_task_is_lost_when_a_worker_retires(client: distributed.Client) -> None:
    tasks = client.map(lambda number: (time.sleep(0.5), number)[1], range(100), pure=False)
    client.retire_workers([next(iter(client.scheduler_info()["workers"]))])
    assert client.gather(tasks) == list(range(100))
    client.restart()


# A program that makes its worker itself.

OWN_WORKER = """
import asyncio
import os
from distributed import Client, Scheduler, Worker
from greenpool.dask import GreenThreadPoolExecutor

def where(_):
    threading.current_thread()
    time.sleep(0.1)
    return threading.get_native_id()

async def main():
    options = {"dashboard_address": ":0", "host": "127.0.0.1", "port": 0}
    async with Scheduler(**options) as scheduler:
        executor = GreenThreadPoolExecutor()
        async with Worker(scheduler.address, nthreads=100, executor=executor, silence_logs=50) as worker:
            async with Client(scheduler.address, asynchronous=True) as client:
                seen = await client.gather(client.map(where, range(100)))
                assert len(set(seen)) <= (os.cpu_count() or 1) and threading.get_native_id() not in seen, seen

import logging
logging.disable()
asyncio.run(main())
"""


def test_the_executor_of_a_worker_in_a_patched_program(tmp_path: Path) -> None:
    run_patched(OWN_WORKER, directory=tmp_path)
