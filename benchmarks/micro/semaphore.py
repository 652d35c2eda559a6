"""Acquire and release a semaphore that nobody else wants."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop


def acquire_and_release(semaphore: Any, count: int) -> float:
    acquire, release = semaphore.acquire, semaphore.release
    started = perf_counter()
    for _ in range(count):
        acquire()
        release()
    return perf_counter() - started


def in_greenlet(spawn: Callable[..., Any], semaphore: Any, count: int) -> float:
    return float(spawn(acquire_and_release, semaphore, count).get())


def greenpool(count: int) -> float:
    import greenpool
    from greenpool.lock import Semaphore

    return in_greenlet(greenpool.spawn, Semaphore(1), count)


def gevent(count: int) -> float:
    import gevent
    from gevent.lock import Semaphore

    return in_greenlet(gevent.spawn, Semaphore(1), count)


def eventlet(count: int) -> float:
    import eventlet
    from eventlet.semaphore import Semaphore

    return float(eventlet.spawn(acquire_and_release, Semaphore(1), count).wait())


def threads(count: int) -> float:
    from threading import Semaphore

    return acquire_and_release(Semaphore(1), count)


async def tasks(count: int) -> float:
    import asyncio

    semaphore = asyncio.Semaphore(1)
    started = perf_counter()
    for _ in range(count):
        await semaphore.acquire()
        semaphore.release()
    return perf_counter() - started


async def trio_tasks(count: int) -> float:
    import trio

    semaphore = trio.Semaphore(1)
    started = perf_counter()
    for _ in range(count):
        await semaphore.acquire()
        semaphore.release()
    return perf_counter() - started


SUBJECT = Subject(
    title="Uncontended semaphore, acquire and release",
    kind=Kind.RATE,
    count=100_000,
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
