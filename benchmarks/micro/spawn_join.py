"""Spawn empty functions, a thousand at a time, and join them."""

from collections.abc import Callable
from threading import Thread
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop

BATCH = 1000


def nothing() -> None:
    pass


async def nothing_async() -> None:
    pass


def spawn_and_join(
    spawn: Callable[[Callable[[], None]], Any], join: Callable[[Any], Any], count: int
) -> float:
    started = perf_counter()
    for _ in range(count // BATCH):
        for greenlet in [spawn(nothing) for _ in range(BATCH)]:
            join(greenlet)
    return perf_counter() - started


def greenpool(count: int) -> float:
    import greenpool

    return spawn_and_join(greenpool.spawn, greenpool.Greenlet.join, count)


def gevent(count: int) -> float:
    import gevent

    return spawn_and_join(gevent.spawn, gevent.Greenlet.join, count)


def eventlet(count: int) -> float:
    import eventlet

    return spawn_and_join(eventlet.spawn, lambda thread: thread.wait(), count)


async def tasks(count: int) -> float:
    import asyncio

    started = perf_counter()
    for _ in range(count // BATCH):
        for task in [asyncio.create_task(nothing_async()) for _ in range(BATCH)]:
            await task
    return perf_counter() - started


async def trio_tasks(count: int) -> float:
    import trio

    started = perf_counter()
    for _ in range(count // BATCH):
        async with trio.open_nursery() as nursery:
            for _ in range(BATCH):
                nursery.start_soon(nothing_async)
    return perf_counter() - started


def threads(count: int) -> float:
    def spawn(function: Callable[[], None]) -> Thread:
        thread = Thread(target=function)
        thread.start()
        return thread

    return spawn_and_join(spawn, Thread.join, count)


SUBJECT = Subject(
    title="Spawn and join empty functions, 1,000 at a time",
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
