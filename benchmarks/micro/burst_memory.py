"""The resident memory that a burst of greenlets has left, a second after their end."""

import gc
from collections.abc import Callable
from typing import Any

from benchmarks.memory import resident_bytes
from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_uvloop

REST = 1


def burst(
    spawn: Callable[..., Any],
    join: Callable[[list[Any]], Any],
    sleep: Callable[[float], Any],
    event: Any,
    count: int,
) -> float:
    before = resident_bytes()
    parked = [spawn(event.wait) for _ in range(count)]
    sleep(0)
    event.set()
    join(parked)
    del parked
    gc.collect()
    sleep(REST)
    return (resident_bytes() - before) / count


def greenpool(count: int) -> float:
    import greenpool
    from greenpool.event import Event

    return burst(greenpool.spawn, greenpool.joinall, greenpool.sleep, Event(), count)


def gevent(count: int) -> float:
    import gevent
    from gevent.event import Event

    return burst(gevent.spawn, gevent.joinall, gevent.sleep, Event(), count)


async def tasks(count: int) -> float:
    import asyncio

    event = asyncio.Event()
    before = resident_bytes()
    parked = [asyncio.create_task(event.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    event.set()
    await asyncio.gather(*parked)
    del parked
    gc.collect()
    await asyncio.sleep(REST)
    return (resident_bytes() - before) / count


SUBJECT = Subject(
    title="Memory that 200,000 greenlets have left, for each, a second after their end",
    kind=Kind.SIZE,
    count=200_000,
    peers={
        "greenpool": greenpool,
        "gevent": gevent,
        "asyncio": on_asyncio(tasks),
        "uvloop": on_uvloop(tasks),
    },
    free_threaded=("greenpool",),
)
