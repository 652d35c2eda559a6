"""A Timeout that is entered and left without firing, as happens around nearly every operation."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop

SECONDS = 10


def enter_and_leave(timeout: Callable[[float], AbstractContextManager[Any]], count: int) -> float:
    started = perf_counter()
    for _ in range(count):
        with timeout(SECONDS):
            pass
    return perf_counter() - started


def greenpool(count: int) -> float:
    import greenpool

    return float(greenpool.spawn(enter_and_leave, greenpool.Timeout, count).get())


def gevent(count: int) -> float:
    import gevent

    return float(gevent.spawn(enter_and_leave, gevent.Timeout, count).get())


def eventlet(count: int) -> float:
    import eventlet

    return float(eventlet.spawn(enter_and_leave, eventlet.Timeout, count).wait())


async def tasks(count: int) -> float:
    import asyncio

    started = perf_counter()
    for _ in range(count):
        async with asyncio.timeout(SECONDS):
            pass
    return perf_counter() - started


async def trio_tasks(count: int) -> float:
    import trio

    return enter_and_leave(trio.move_on_after, count)


SUBJECT = Subject(
    title="A Timeout that does not fire",
    kind=Kind.RATE,
    count=50_000,
    peers={
        "greenpool": greenpool,
        "gevent": gevent,
        "eventlet": eventlet,
        "asyncio": on_asyncio(tasks),
        "uvloop": on_uvloop(tasks),
        "trio": on_trio(trio_tasks),
    },
)
