"""Many events, each with one greenlet parked on it: from the first ``set()`` to the last greenlet's end.

The greenlets are parked before the clock starts, so the figure has the wakes and not the spawns.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop


def wake_all(spawn: Callable[..., Any], sleep: Callable[[float], Any], event_class: Any, count: int) -> float:
    events = [event_class() for _ in range(count)]
    greenlets = [spawn(event.wait) for event in events]
    sleep(0)
    started = perf_counter()
    for event in events:
        event.set()
    for greenlet in greenlets:
        greenlet.join()
    return perf_counter() - started


def greenpool(count: int) -> float:
    import greenpool
    from greenpool.event import Event

    return wake_all(greenpool.spawn, greenpool.sleep, Event, count)


def gevent(count: int) -> float:
    import gevent
    from gevent.event import Event

    return wake_all(gevent.spawn, gevent.sleep, Event, count)


def eventlet(count: int) -> float:
    # eventlet's Event is sent once, and wait() is how its greenlets are joined.
    import eventlet
    from eventlet.event import Event

    events = [Event() for _ in range(count)]
    greenlets = [eventlet.spawn(event.wait) for event in events]
    eventlet.sleep(0)
    started = perf_counter()
    for event in events:
        event.send()
    for greenlet in greenlets:
        greenlet.wait()
    return perf_counter() - started


async def tasks(count: int) -> float:
    import asyncio

    events = [asyncio.Event() for _ in range(count)]
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.sleep(0)
    started = perf_counter()
    for event in events:
        event.set()
    await asyncio.gather(*waiting)
    return perf_counter() - started


async def trio_tasks(count: int) -> float:
    import trio
    from trio.testing import wait_all_tasks_blocked

    events = [trio.Event() for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(event.wait)
        await wait_all_tasks_blocked()
        started = perf_counter()
        for event in events:
            event.set()
    return perf_counter() - started


SUBJECT = Subject(
    title="20,000 events, each waking one parked greenlet",
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
