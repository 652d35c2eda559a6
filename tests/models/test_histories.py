"""The check of histories itself: it accepts what a model can explain, and nothing else."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import strategies as st

import greenpool
from greenpool import testing
from greenpool.queue import Empty, Queue

from .histories import KILLED, History, Model, Operation, check, explain
from .programs import Subject, explored
from .sequential import QueueModel, SemaphoreModel

Call = tuple[Hashable, str, tuple[object, ...], int, int | None, object]


def history(*calls: Call) -> History:
    found = History()
    for actor, name, arguments, began, returned, result in calls:
        operation = Operation(actor, name, arguments, began)
        operation.returned, operation.result = returned, result
        found.operations.append(operation)
    return found


LOCK = SemaphoreModel(1, RuntimeError)
QUEUE = QueueModel(0)


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        (
            LOCK,
            [(0, "acquire", (), 1, 2, True), (1, "acquire", (), 3, 6, True), (0, "release", (), 4, 5, None)],
        ),
        # The second one waits for good.
        (LOCK, [(0, "acquire", (), 1, 2, True), (1, "acquire", (), 3, None, None)]),
        # The second one was killed and has taken nothing.
        (LOCK, [(0, "acquire", (), 1, 2, KILLED), (1, "acquire", (), 3, 4, True)]),
        # The two that put overlap, so either may be the first.
        (QUEUE, [(0, "put", (0,), 1, 3, None), (1, "put", (1,), 2, 4, None), (2, "get", (), 5, 6, 1)]),
    ],
)
def test_an_order_is_found(model: Model, calls: list[Call]) -> None:
    check(model, history(*calls))


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        # Two have the lock at once.
        (LOCK, [(0, "acquire", (), 1, 2, True), (1, "acquire", (), 3, 4, True)]),
        # A wake-up was lost.
        (LOCK, [(0, "acquire", (), 1, None, None)]),
        (LOCK, [(0, "try", (None,), 1, 2, False)]),
        # An item comes twice, out of order, or not at all.
        (QUEUE, [(0, "put", (0,), 1, 2, None), (1, "get", (), 3, 4, 0), (2, "get", (), 5, 6, 0)]),
        (QUEUE, [(0, "put", (0,), 1, 2, None), (0, "put", (1,), 3, 4, None), (2, "get", (), 5, 6, 1)]),
        (QUEUE, [(0, "put", (0,), 1, 2, None), (1, "try_get", (None,), 3, 4, Empty)]),
    ],
)
def test_no_order_is_found(model: Model, calls: list[Call]) -> None:
    assert explain(model, history(*calls)) is None
    with pytest.raises(AssertionError, match="no order explains"):
        check(model, history(*calls))


class Hasty(Queue[int]):
    """A queue with a fault: it looks at an item, lets others go on, and then drops the first item."""

    def get_nowait(self) -> int:
        item = self.peek(block=False)
        greenpool.sleep(0)
        super().get()
        return item


def test_a_faulty_queue_is_found() -> None:
    operations = {"put": lambda queue, item: queue.put(item), "try_get": lambda queue: queue.get_nowait()}
    subject = Subject(Hasty, QueueModel(0), operations, st.nothing())
    with pytest.raises(testing.ScheduleFailed, match="no order explains"):
        explored(subject, [[("put", 1), ("put", 2)], [("try_get",)], [("try_get",)]])
