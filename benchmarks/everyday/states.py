"""Looks at what a thread has: a set event, an attribute of a ``threading.local``, its own identity."""

from time import process_time
from typing import Any

from benchmarks.everyday.subjects import everyday, in_gevent, in_greenpool, in_thread

COUNT = 50_000


def look_at_event(event: Any, count: int) -> float:
    event.set()
    is_set, wait = event.is_set, event.wait
    started = process_time()
    for _ in range(count):
        is_set()
        wait()
    return process_time() - started


def event(count: int) -> float:
    from threading import Event

    return look_at_event(Event(), count)


def greenpool_event(count: int) -> float:
    from greenpool.event import Event

    return look_at_event(Event(), count)


def gevent_event(count: int) -> float:
    from gevent.event import Event

    return look_at_event(Event(), count)


def look_at_local(values: Any, count: int) -> float:
    values.x = 1
    started = process_time()
    for _ in range(count):
        values.x  # noqa: B018 - the look is what is measured
    return process_time() - started


def local(count: int) -> float:
    import threading

    return look_at_local(threading.local(), count)


def greenpool_local(count: int) -> float:
    import greenpool.local

    return look_at_local(greenpool.local.local(), count)


def gevent_local(count: int) -> float:
    import gevent.local

    return look_at_local(gevent.local.local(), count)


def get_ident(count: int) -> float:
    from threading import get_ident

    started = process_time()
    for _ in range(count):
        get_ident()
    return process_time() - started


def current_thread(count: int) -> float:
    from threading import current_thread

    started = process_time()
    for _ in range(count):
        current_thread()
    return process_time() - started


SUBJECTS = {
    "event": everyday(
        "Event.is_set() and Event.wait() of a set event",
        COUNT,
        in_thread(event),
        {
            "greenpool, native": in_greenpool(greenpool_event),
            "gevent, native": in_gevent(gevent_event),
        },
    ),
    "local": everyday(
        "An attribute of a threading.local",
        COUNT,
        in_thread(local),
        {
            "greenpool, native": in_greenpool(greenpool_local),
            "gevent, native": in_gevent(gevent_local),
        },
    ),
    "get-ident": everyday("threading.get_ident()", COUNT, in_thread(get_ident)),
    "current-thread": everyday("threading.current_thread()", COUNT, in_thread(current_thread)),
}
