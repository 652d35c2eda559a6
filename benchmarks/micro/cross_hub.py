"""A value passed between greenlets on two hubs and back, compared with the same between two OS threads."""

import queue
from threading import Thread
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject


def ping(there: Any, back: Any, count: int) -> float:
    started = perf_counter()
    for i in range(count):
        there.put(i)
        back.get()
    return perf_counter() - started


def pong(there: Any, back: Any, count: int) -> None:
    for _ in range(count):
        back.put(there.get())


def greenpool(count: int) -> float:
    import greenpool
    from greenpool.queue import Queue

    there: Any = Queue()
    back: Any = Queue()
    with greenpool.Runtime(pool_size=2) as runtime:
        handle = runtime.handle()
        handle.spawn_on(1, pong, there, back, count)
        return float(handle.spawn_on(0, ping, there, back, count).get())


def threads(count: int) -> float:
    there: queue.Queue[int] = queue.Queue()
    back: queue.Queue[int] = queue.Queue()
    Thread(target=pong, args=(there, back, count)).start()
    return ping(there, back, count)


def threads_simple_queue(count: int) -> float:
    there: queue.SimpleQueue[int] = queue.SimpleQueue()
    back: queue.SimpleQueue[int] = queue.SimpleQueue()
    Thread(target=pong, args=(there, back, count)).start()
    return ping(there, back, count)


SUBJECT = Subject(
    title="A value to another hub (or thread) and back",
    kind=Kind.LATENCY,
    count=10_000,
    one_core=False,
    peers={
        "greenpool": greenpool,
        "threads": threads,
        "threads, SimpleQueue": threads_simple_queue,
    },
    free_threaded=("greenpool", "threads"),
)
