"""Locks and queues that greenlets of several hubs and plain threads share, with the GIL and without."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from greenpool import Runtime
from greenpool.lock import BoundedSemaphore, Lock, RLock, Semaphore
from greenpool.queue import Channel, Queue, SimpleQueue

pytestmark = pytest.mark.usefixtures("leak_check")

HUBS = 4
THREADS = 4
INCREMENTS = 80_000

PRODUCERS = 8


class Counter:
    value = 0

    def increment(self) -> None:
        # The increment takes two steps, so that others could come in between.
        value = self.value
        self.value = value + 1


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_increments(kind: Any) -> None:
    """Two greenlets on each of 4 hubs and 4 threads make 80,000 increments under a lock. None is lost."""
    lock = kind()
    counter = Counter()

    def count(times: int) -> None:
        for _ in range(times):
            with lock:
                counter.increment()

    share = INCREMENTS // (2 * HUBS + THREADS)
    with Runtime(pool_size=HUBS) as runtime:
        handle = runtime.handle()
        greenlets = [handle.spawn_on(number % HUBS, count, share) for number in range(2 * HUBS)]
        threads = [threading.Thread(target=count, args=(share,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        # Add the rest of the division, so that the sum is 80,000.
        count(INCREMENTS - share * (2 * HUBS + THREADS))
        for each in [*greenlets, *threads]:
            each.join()
    assert counter.value == INCREMENTS
    assert not lock.locked() and not lock._line


def each_in_order(received: list[list[tuple[int, int]]], items: int) -> None:
    """Check that each item came once, and that each consumer saw a producer's items in order."""
    for taken in received:
        for producer in range(PRODUCERS):
            numbers = [number for who, number in taken if who == producer]
            assert numbers == sorted(numbers)
    everything = sorted(item for taken in received for item in taken)
    assert everything == [(producer, number) for producer in range(PRODUCERS) for number in range(items)]


@pytest.mark.parametrize(
    ("make", "items"),
    [
        pytest.param(Queue, 2000, id="Queue"),
        pytest.param(lambda: Queue(10), 400, id="Queue of 10"),
        pytest.param(SimpleQueue, 2000, id="SimpleQueue"),
        pytest.param(lambda: SimpleQueue(1), 400, id="SimpleQueue of 1"),
        pytest.param(Channel, 400, id="Channel"),
    ],
)
def test_a_producer_and_a_consumer_on_each_of_8_hubs(
    make: Callable[[], Any], items: int, fast_switching: None
) -> None:
    queue = make()

    def produce(producer: int) -> None:
        for number in range(items):
            queue.put((producer, number))

    def consume() -> list[tuple[int, int]]:
        return list(queue)

    with Runtime(pool_size=PRODUCERS) as runtime:
        handle = runtime.handle()
        consumers = [handle.spawn_on(number, consume) for number in range(PRODUCERS)]
        producers = [handle.spawn_on(number, produce, number) for number in range(PRODUCERS)]
        for producer in producers:
            producer.get()
        for _ in consumers:
            queue.put(StopIteration)
        each_in_order([consumer.get() for consumer in consumers], items)
    assert queue.empty() and not queue._putters


@pytest.mark.parametrize("kind", [Queue, SimpleQueue, Channel])
def test_hubs_put_and_threads_get(kind: Any, fast_switching: None) -> None:
    """The other direction runs at the same time, in a queue of its own."""
    forth, back = kind(), kind()
    items = 200
    received: list[list[tuple[int, int]]] = []

    def produce(producer: int) -> None:
        for number in range(items):
            forth.put((producer, number))

    def pass_on() -> None:
        for item in forth:
            back.put(item)

    def consume() -> None:
        received.append(list(back))

    with Runtime(pool_size=4) as runtime:
        handle = runtime.handle()
        producers = [handle.spawn_on(number % 4, produce, number) for number in range(PRODUCERS)]
        consumers = [handle.spawn_on(number, consume) for number in range(4)]
        threads = [threading.Thread(target=pass_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        for producer in producers:
            producer.get()
        for _ in threads:
            forth.put(StopIteration)
        for thread in threads:
            thread.join()
        for _ in consumers:
            back.put(StopIteration)
        for consumer in consumers:
            consumer.get()
    everything = sorted(item for taken in received for item in taken)
    assert everything == [(producer, number) for producer in range(PRODUCERS) for number in range(items)]
    assert forth.empty() and back.empty()


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_one_consumer_gets_each_producer_s_items_in_order(kind: Any, fast_switching: None) -> None:
    """The order holds whether the consumer has to wait for them or not."""
    queue = kind()
    items = 2000

    def produce(producer: int) -> None:
        for number in range(items):
            queue.put((producer, number))

    with Runtime(pool_size=4) as runtime:
        handle = runtime.handle()
        threads = [threading.Thread(target=produce, args=(number,)) for number in range(4, PRODUCERS)]
        for thread in threads:
            thread.start()
        producers = [handle.spawn_on(number, produce, number) for number in range(4)]
        each_in_order([[queue.get() for _ in range(PRODUCERS * items)]], items)
        for each in [*threads, *producers]:
            each.join()
    assert queue.empty()
