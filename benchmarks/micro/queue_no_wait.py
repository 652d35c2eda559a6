"""Put and get on a queue that never runs empty, so that neither ever waits."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop


def put_and_get(queue: Any, count: int) -> float:
    started = perf_counter()
    for i in range(count):
        queue.put(i)
        queue.get()
    return perf_counter() - started


def in_greenlet(spawn: Callable[..., Any], queue: Any, count: int) -> float:
    return float(spawn(put_and_get, queue, count).get())


def greenpool(count: int) -> float:
    import greenpool
    from greenpool.queue import Queue

    return in_greenlet(greenpool.spawn, Queue(), count)


def gevent(count: int) -> float:
    import gevent
    from gevent.queue import Queue

    return in_greenlet(gevent.spawn, Queue(), count)


def eventlet(count: int) -> float:
    import eventlet
    from eventlet.queue import Queue

    return float(eventlet.spawn(put_and_get, Queue(), count).wait())


def threads(count: int) -> float:
    from queue import Queue

    return put_and_get(Queue(), count)


async def tasks(count: int) -> float:
    import asyncio

    queue: asyncio.Queue[int] = asyncio.Queue()
    started = perf_counter()
    for i in range(count):
        await queue.put(i)
        await queue.get()
    return perf_counter() - started


async def trio_tasks(count: int) -> float:
    import trio

    send, receive = trio.open_memory_channel[int](1)
    started = perf_counter()
    for i in range(count):
        await send.send(i)
        await receive.receive()
    return perf_counter() - started


SUBJECT = Subject(
    title="Queue put and get that never wait, pairs",
    kind=Kind.RATE,
    count=50_000,
    peers={
        "greenpool": greenpool,
        "gevent": gevent,
        "eventlet": eventlet,
        "asyncio": on_asyncio(tasks),
        "uvloop": on_uvloop(tasks),
        "trio": on_trio(trio_tasks),
        "threads": threads,
    },
)
