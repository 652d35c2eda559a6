"""Many greenlets that sleep up to 10 ms each, in random order: from the first spawn to the last end."""

import random
from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop

LONGEST = 0.01


def delays(count: int) -> list[float]:
    generator = random.Random(1)
    return [generator.uniform(0.0001, LONGEST) for _ in range(count)]


def sleep_all(
    spawn: Callable[..., Any], sleep: Callable[[float], Any], join: Callable[[Any], Any], count: int
) -> float:
    wanted = delays(count)
    started = perf_counter()
    for greenlet in [spawn(sleep, delay) for delay in wanted]:
        join(greenlet)
    return perf_counter() - started


def greenpool(count: int) -> float:
    import greenpool

    return sleep_all(greenpool.spawn, greenpool.sleep, greenpool.Greenlet.join, count)


def gevent(count: int) -> float:
    import gevent

    return sleep_all(gevent.spawn, gevent.sleep, gevent.Greenlet.join, count)


def eventlet(count: int) -> float:
    import eventlet

    return sleep_all(eventlet.spawn, eventlet.sleep, lambda thread: thread.wait(), count)


async def tasks(count: int) -> float:
    import asyncio

    wanted = delays(count)
    started = perf_counter()
    await asyncio.gather(*[asyncio.sleep(delay) for delay in wanted])
    return perf_counter() - started


async def trio_tasks(count: int) -> float:
    import trio

    wanted = delays(count)
    started = perf_counter()
    async with trio.open_nursery() as nursery:
        for delay in wanted:
            nursery.start_soon(trio.sleep, delay)
    return perf_counter() - started


SUBJECT = Subject(
    title="20,000 timers: greenlets that sleep up to 10 ms",
    kind=Kind.RATE,
    count=20_000,
    peers={
        "greenpool": greenpool,
        "gevent": gevent,
        "eventlet": eventlet,
        "asyncio": on_asyncio(tasks),
        "uvloop": on_uvloop(tasks),
        "trio": on_trio(trio_tasks),
    },
)
