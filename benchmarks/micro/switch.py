"""Ten greenlets that do nothing but ``sleep(0)``: the cost of letting the next greenlet run."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop

GREENLETS = 10


def switch(
    spawn: Callable[..., Any], sleep: Callable[[float], Any], join: Callable[[Any], Any], count: int
) -> float:
    def sleeper() -> None:
        for _ in range(count // GREENLETS):
            sleep(0)

    started = perf_counter()
    for greenlet in [spawn(sleeper) for _ in range(GREENLETS)]:
        join(greenlet)
    return perf_counter() - started


def greenpool(count: int) -> float:
    import greenpool

    return switch(greenpool.spawn, greenpool.sleep, greenpool.Greenlet.get, count)


def gevent(count: int) -> float:
    import gevent

    return switch(gevent.spawn, gevent.sleep, gevent.Greenlet.get, count)


def eventlet(count: int) -> float:
    import eventlet

    return switch(eventlet.spawn, eventlet.sleep, lambda thread: thread.wait(), count)


async def tasks(count: int) -> float:
    import asyncio

    async def sleeper() -> None:
        for _ in range(count // GREENLETS):
            await asyncio.sleep(0)

    started = perf_counter()
    await asyncio.gather(*[sleeper() for _ in range(GREENLETS)])
    return perf_counter() - started


async def trio_tasks(count: int) -> float:
    import trio

    async def sleeper() -> None:
        for _ in range(count // GREENLETS):
            await trio.sleep(0)

    started = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(GREENLETS):
            nursery.start_soon(sleeper)
    return perf_counter() - started


SUBJECT = Subject(
    title="Switch to the next of ten greenlets by sleep(0)",
    kind=Kind.RATE,
    count=100_000,
    peers={
        "greenpool": greenpool,
        "gevent": gevent,
        "eventlet": eventlet,
        "asyncio": on_asyncio(tasks),
        "uvloop": on_uvloop(tasks),
        "trio": on_trio(trio_tasks),
    },
)
