"""Two greenlets hand a value to and fro over two queues, and each get has to wait."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop


def ping_pong(spawn: Callable[..., Any], queue: Callable[[], Any], count: int) -> float:
    there, back = queue(), queue()

    def pong() -> None:
        for _ in range(count):
            back.put(there.get())

    started = perf_counter()
    spawn(pong)
    for i in range(count):
        there.put(i)
        back.get()
    return perf_counter() - started


def greenpool(count: int) -> float:
    import greenpool
    from greenpool.queue import Queue

    return float(greenpool.spawn(ping_pong, greenpool.spawn, Queue, count).get())


def gevent(count: int) -> float:
    import gevent
    from gevent.queue import Queue

    return float(gevent.spawn(ping_pong, gevent.spawn, Queue, count).get())


def eventlet(count: int) -> float:
    import eventlet
    from eventlet.queue import Queue

    return float(eventlet.spawn(ping_pong, eventlet.spawn, Queue, count).wait())


def threads(count: int) -> float:
    from queue import Queue
    from threading import Thread

    return ping_pong(lambda function: Thread(target=function).start(), Queue, count)


async def tasks(count: int) -> float:
    import asyncio

    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def pong() -> None:
        for _ in range(count):
            await back.put(await there.get())

    started = perf_counter()
    task = asyncio.create_task(pong())
    for i in range(count):
        await there.put(i)
        await back.get()
    await task
    return perf_counter() - started


async def trio_tasks(count: int) -> float:
    import trio

    there_in, there_out = trio.open_memory_channel[int](1)
    back_in, back_out = trio.open_memory_channel[int](1)

    async def pong() -> None:
        for _ in range(count):
            await back_in.send(await there_out.receive())

    started = perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pong)
        for i in range(count):
            await there_in.send(i)
            await back_out.receive()
    return perf_counter() - started


SUBJECT = Subject(
    title="Queue ping-pong between two greenlets, round trips",
    kind=Kind.RATE,
    count=20_000,
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
