"""``with`` on the locks of ``threading``, none of which any other thread wants."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import process_time
from typing import Any

from benchmarks.everyday.subjects import Body, everyday, in_gevent, in_greenpool, in_thread
from benchmarks.micro.subject import Subject

Make = Callable[[], AbstractContextManager[Any]]
COUNT = 50_000


def enter(make: Make) -> Body:
    def body(count: int) -> float:
        lock = make()
        started = process_time()
        for _ in range(count):
            with lock:
                pass
        return process_time() - started

    return body


def enter_nested(make: Make) -> Body:
    def body(count: int) -> float:
        lock = make()
        with lock:
            started = process_time()
            for _ in range(count):
                with lock:
                    pass
            return process_time() - started

    return body


def lock() -> AbstractContextManager[Any]:
    from threading import Lock

    return Lock()


def rlock() -> AbstractContextManager[Any]:
    from threading import RLock

    return RLock()


def semaphore() -> AbstractContextManager[Any]:
    from threading import Semaphore

    return Semaphore(1)


def condition() -> AbstractContextManager[Any]:
    from threading import Condition

    return Condition()


def greenpool_rlock() -> AbstractContextManager[Any]:
    from greenpool.lock import RLock

    return RLock()


def gevent_rlock() -> AbstractContextManager[Any]:
    from gevent.lock import RLock

    return RLock()  # type: ignore[no-any-return]


def greenpool_semaphore() -> AbstractContextManager[Any]:
    from greenpool.lock import Semaphore

    return Semaphore(1)


def gevent_semaphore() -> AbstractContextManager[Any]:
    from gevent.lock import Semaphore

    return Semaphore(1)  # type: ignore[no-any-return]


def subject(title: str, body: Callable[[Make], Body], unchanged: Make, *native: Make) -> Subject:
    rows = {}
    if native:
        for_greenpool, for_gevent = native
        rows = {
            "greenpool, native": in_greenpool(body(for_greenpool)),
            "gevent, native": in_gevent(body(for_gevent)),
        }
    return everyday(title, COUNT, in_thread(body(unchanged)), rows)


SUBJECTS = {
    "lock": subject("with threading.Lock()", enter, lock),
    "rlock": subject("with threading.RLock(), free", enter, rlock, greenpool_rlock, gevent_rlock),
    "rlock-nested": subject(
        "with threading.RLock(), held by the same thread", enter_nested, rlock, greenpool_rlock, gevent_rlock
    ),
    "semaphore": subject(
        "with threading.Semaphore(1)", enter, semaphore, greenpool_semaphore, gevent_semaphore
    ),
    "condition": subject("with threading.Condition()", enter, condition),
}
