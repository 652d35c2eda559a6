"""The resident memory of a greenlet that is parked on an event, and of its counterparts in the peers."""

import gc
from collections.abc import Callable
from typing import Any

from benchmarks.memory import resident_bytes
from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop

FIRST = 100
"""Started before the first reading, so that objects that are made once are not counted."""


def park_all(
    spawn: Callable[..., Any], sleep: Callable[[float], Any], wait: Callable[[], Any], count: int
) -> float:
    parked = [spawn(wait) for _ in range(FIRST)]
    sleep(0)
    gc.collect()
    before = resident_bytes()
    parked += [spawn(wait) for _ in range(count)]
    sleep(0)
    gc.collect()
    return (resident_bytes() - before) / count


def greenpool(count: int) -> float:
    import greenpool
    from greenpool.event import Event

    return park_all(greenpool.spawn, greenpool.sleep, Event().wait, count)


def gevent(count: int) -> float:
    import gevent
    from gevent.event import Event

    return park_all(gevent.spawn, gevent.sleep, Event().wait, count)


def eventlet(count: int) -> float:
    import eventlet
    from eventlet.event import Event

    return park_all(eventlet.spawn, eventlet.sleep, Event().wait, count)


async def tasks(count: int) -> float:
    import asyncio

    event = asyncio.Event()
    waiting = [asyncio.create_task(event.wait()) for _ in range(FIRST)]
    await asyncio.sleep(0)
    gc.collect()
    before = resident_bytes()
    waiting += [asyncio.create_task(event.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    gc.collect()
    each = (resident_bytes() - before) / count
    event.set()
    await asyncio.gather(*waiting)
    return each


async def trio_tasks(count: int) -> float:
    import trio
    from trio.testing import wait_all_tasks_blocked

    event = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(FIRST):
            nursery.start_soon(event.wait)
        await wait_all_tasks_blocked()
        gc.collect()
        before = resident_bytes()
        for _ in range(count):
            nursery.start_soon(event.wait)
        await wait_all_tasks_blocked()
        gc.collect()
        each = (resident_bytes() - before) / count
        event.set()
    return each


SUBJECT = Subject(
    title="Memory of a parked greenlet",
    kind=Kind.SIZE,
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
