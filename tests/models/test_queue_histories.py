"""Queues and Channel on two hubs under schedules, against models that know no concurrency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import testing
from greenpool.queue import Channel, Empty, Full, LifoQueue, PriorityQueue, Queue, SimpleQueue

from .programs import HUBS, KILLS, LONG, PAUSES, SCHEDULES, STEP, Program, Subject, drawn, explored
from .sequential import QueueModel

OPERATIONS = {
    "put": lambda queue, item: queue.put(item),
    "try_put": lambda queue, item, steps: queue.put(item, steps is not None, (steps or 0) * STEP),
    "get": lambda queue: queue.get(),
    "try_get": lambda queue, steps: queue.get(steps is not None, (steps or 0) * STEP),
    "qsize": lambda queue: queue.qsize(),
    "task_done": lambda queue: queue.task_done(),
    "join": lambda queue: queue.join(),
    "shutdown": lambda queue: queue.shutdown(),
}
ITEMS = st.integers(0, 9)
LIMITS = st.none() | st.integers(0, 2)
SIMPLE = st.one_of(
    st.tuples(st.just("put"), ITEMS),
    st.tuples(st.just("get")),
    st.tuples(st.just("try_put"), ITEMS, LIMITS),
    st.tuples(st.just("try_get"), LIMITS),
    st.tuples(st.just("qsize")),
    PAUSES,
    KILLS,
)
ALL = st.one_of(
    SIMPLE,
    SIMPLE,
    st.tuples(st.just("task_done")),
    st.tuples(st.just("join")),
    st.tuples(st.just("shutdown")),
)
LAST = [[("try_get", None), ("try_get", None), ("try_put", 7, None), ("try_get", None), ("qsize",)]]

SUBJECTS = {
    "SimpleQueue": Subject(SimpleQueue, QueueModel(0), OPERATIONS, SIMPLE, LAST),
    "Queue": Subject(Queue, QueueModel(0), OPERATIONS, ALL, LAST),
    "Queue of one": Subject(lambda: Queue(1), QueueModel(1), OPERATIONS, ALL, LAST),
    "Queue of two": Subject(lambda: Queue(2), QueueModel(2), OPERATIONS, ALL, LAST),
    "LifoQueue": Subject(lambda: LifoQueue(2), QueueModel(2, "last in"), OPERATIONS, ALL, LAST),
    "PriorityQueue": Subject(lambda: PriorityQueue(2), QueueModel(2, "least"), OPERATIONS, ALL, LAST),
}
of_each_kind = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)

# Producers and consumers that wait for each other, one that gives up, and one that kills a waiter.
MEETINGS: Program = [
    [("put", 1), ("put", 2), ("put", 3), ("get",)],
    [("get",), ("get",), ("try_put", 4, 1)],
    [("try_get", 1), ("get",), ("qsize",), ("put", 5)],
    [("sleep", 1), ("kill", 2), ("put", 6), ("try_get", None)],
]
JOINED: Program = [
    [("put", 1), ("put", 2), ("join",)],
    [("get",), ("task_done",), ("get",), ("task_done",), ("get",)],
    [("join",), ("put", 3)],
    [("sleep", 1), ("shutdown",), ("try_get", 1), ("task_done",)],
]


@of_each_kind
def test_a_program_of_meetings(subject: Subject) -> None:
    explored(subject, MEETINGS)


@pytest.mark.parametrize("kind", [kind for kind in SUBJECTS if kind != "SimpleQueue"])
def test_a_program_that_joins_and_shuts_down(kind: str) -> None:
    explored(SUBJECTS[kind], JOINED)


@of_each_kind
def test_drawn_programs(subject: Subject) -> None:
    drawn(subject)


@pytest.mark.parametrize("make", [SimpleQueue, Queue, lambda: Queue(1), lambda: Queue(3), Channel])
@settings(deadline=None, max_examples=2 * SCHEDULES)
@given(
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    getters=st.integers(1, 3),
    killed=st.lists(st.integers(0, 5), max_size=2),
    schedule=testing.schedules(),
)
def test_nothing_is_lost_or_twice_and_each_producer_keeps_its_order(
    make: Any, counts: list[int], getters: int, killed: list[int], schedule: str
) -> None:
    """Some of them are killed: what a dead producer has put is got, and nothing that a dead getter has."""

    def main() -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        queue = make()
        done: list[tuple[int, int]] = []
        got: list[list[tuple[int, int]]] = [[] for _ in range(getters + 1)]

        def produce(number: int, count: int) -> None:
            for item in range(count):
                queue.put((number, item))
                done.append((number, item))

        def consume(number: int) -> None:
            while True:
                got[number].append(queue.get())

        greenlets = [handle.spawn_on(number % HUBS, consume, number) for number in range(getters)]
        greenlets += [
            handle.spawn_on(number % HUBS, produce, number, count) for number, count in enumerate(counts)
        ]
        for number in killed:
            greenlets[number % len(greenlets)].kill(block=False)
        greenlets.append(handle.spawn_on(1, consume, getters))
        greenpool.sleep(STEP)
        greenpool.killall(greenlets)
        everything = [item for items in got for item in items]
        # The put of a producer that was killed may have been over without its knowledge.
        assert set(done) <= set(everything)
        assert len(set(everything)) == len(everything)
        for number, count in enumerate(counts):
            if not killed:
                assert [item for item in sorted(everything) if item[0] == number] == [
                    (number, item) for item in range(count)
                ]
            for items in got:
                mine = [item for item in items if item[0] == number]
                assert mine == sorted(mine)

    testing.replay(main, schedule, hubs=HUBS)


def test_a_channel_hands_over_while_both_are_there() -> None:
    """A put ends with the get that takes its item. Those that give up before leave nothing behind."""

    def main() -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        channel: Channel[int] = Channel()
        moment = 0
        puts: dict[int, list[int]] = {}
        gets: dict[int, list[int]] = {}

        def now() -> int:
            nonlocal moment
            moment += 1
            return moment

        def put(item: int, timeout: float | None) -> None:
            begun = now()
            try:
                channel.put(item, timeout=timeout)
            except Full:
                return
            puts[item] = [begun, now()]

        def get(timeout: float | None) -> None:
            begun = now()
            try:
                item = channel.get(timeout=timeout)
            except Empty:
                return
            assert item not in gets
            gets[item] = [begun, now()]

        greenlets = []
        for number in range(8):
            timeout = STEP if number % 4 == 1 else None
            greenlets.append(handle.spawn_on(number % HUBS, put, number, timeout))
            greenlets.append(handle.spawn_on(number // 2 % HUBS, get, timeout))
        greenlets[4].kill(block=False)
        greenlets[7].kill(block=False)
        greenpool.sleep(LONG)
        # Those that live are paired.
        left = len([greenlet for greenlet in greenlets if not greenlet.dead])
        assert left == abs(channel.balance)
        assert set(puts) == set(gets)
        for item, (begun, ended) in puts.items():
            assert begun < gets[item][1] and gets[item][0] < ended
        greenpool.killall(greenlets)
        assert channel.balance == 0

    testing.explore(main, schedules=SCHEDULES, hubs=HUBS)
