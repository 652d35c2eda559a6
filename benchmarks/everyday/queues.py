"""Items through the queues of ``queue``: a producer and a consumer, or one thread that never waits."""

from collections.abc import Callable
from time import process_time
from typing import Any

from benchmarks.everyday.subjects import Body, everyday, in_gevent, in_greenpool, in_thread
from benchmarks.micro.subject import Subject

BOUND = 100
Make = Callable[[], Any]


def produce(queue: Any, count: int) -> None:
    for item in range(count):
        queue.put(item)


def consume(queue: Any, count: int) -> None:
    for _ in range(count):
        queue.get()


def between_threads(make: Make) -> Body:
    def body(count: int) -> float:
        from threading import Thread

        queue = make()
        started = process_time()
        threads = [Thread(target=f, args=(queue, count)) for f in (produce, consume)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return process_time() - started

    return body


def between_greenlets(count: int) -> float:
    import greenpool
    from greenpool.queue import Queue

    queue: Any = Queue(BOUND)
    started = process_time()
    greenpool.joinall([greenpool.spawn(f, queue, count) for f in (produce, consume)])
    return process_time() - started


def between_gevents(count: int) -> float:
    import gevent
    from gevent.queue import Queue

    queue = Queue(BOUND)
    started = process_time()
    gevent.joinall([gevent.spawn(f, queue, count) for f in (produce, consume)])
    return process_time() - started


def never_waiting(make: Make) -> Body:
    def body(count: int) -> float:
        queue = make()
        put, get = queue.put, queue.get
        started = process_time()
        for item in range(count):
            put(item)
            get()
        return process_time() - started

    return body


def bounded() -> Any:
    from queue import Queue

    return Queue(BOUND)


def unbounded() -> Any:
    from queue import Queue

    return Queue()


def simple() -> Any:
    from queue import SimpleQueue

    return SimpleQueue()


def greenpool_unbounded() -> Any:
    from greenpool.queue import Queue

    return Queue()


def gevent_unbounded() -> Any:
    from gevent.queue import Queue

    return Queue()


def passing(title: str, make: Make) -> Subject:
    return everyday(title, 20_000, in_thread(between_threads(make)))


SUBJECTS = {
    "queue-bounded": everyday(
        "queue.Queue(100), producer and consumer",
        20_000,
        in_thread(between_threads(bounded)),
        {
            "greenpool, native": in_greenpool(between_greenlets),
            "gevent, native": in_gevent(between_gevents),
        },
    ),
    "queue-unbounded": passing("queue.Queue(), producer and consumer", unbounded),
    "queue-no-wait": everyday(
        "queue.Queue(), put and get that never wait",
        20_000,
        in_thread(never_waiting(unbounded)),
        {
            "greenpool, native": in_greenpool(never_waiting(greenpool_unbounded)),
            "gevent, native": in_gevent(never_waiting(gevent_unbounded)),
        },
    ),
    "simple-queue": passing("queue.SimpleQueue, producer and consumer", simple),
}
