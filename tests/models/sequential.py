"""What locks, queues and events do, one operation after the other.

Each is a model for ``histories.explain``. Its states are plain values: numbers and tuples.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from greenpool.queue import Empty, Full, ShutDown
from greenpool.timeout import Timeout

from .histories import WAITS, Operation


class SemaphoreModel:
    """The number of free permits. A Lock is a semaphore of one, and so is a BoundedSemaphore."""

    def __init__(self, value: int, too_many: type[Exception] | None = None) -> None:
        self.value = value
        # What a release raises if all permits are free.
        self.too_many = too_many

    def start(self) -> int:
        return self.value

    def apply(self, state: int, operation: Operation) -> tuple[object, Hashable]:
        match operation.name:
            case "acquire":
                return (True, state - 1) if state else (WAITS, state)
            case "try":
                return (True, state - 1) if state else (False, state)
            case "release":
                if self.too_many is not None and state == self.value:
                    return self.too_many, state
                return None, state + 1
            case "locked":
                return not state, state
        raise NotImplementedError(operation.name)


class RLockModel:
    """The owner and how often it has the lock."""

    def start(self) -> tuple[Hashable, int]:
        return None, 0

    def apply(self, state: tuple[Hashable, int], operation: Operation) -> tuple[object, Hashable]:
        owner, count = state
        actor = operation.actor
        match operation.name:
            case "acquire" | "try":
                if owner is None or owner == actor:
                    return True, (actor, count + 1)
                return WAITS if operation.name == "acquire" else False, state
            case "release":
                if owner != actor:
                    return RuntimeError, state
                return None, ((actor, count - 1) if count > 1 else (None, 0))
            case "locked":
                return count > 0, state
        raise NotImplementedError(operation.name)


class EventModel:
    """The flag."""

    def start(self) -> bool:
        return False

    def apply(self, state: bool, operation: Operation) -> tuple[object, Hashable]:
        match operation.name:
            case "wait":
                return (True if state else WAITS), state
            case "try" | "is_set":
                return state, state
            case "set":
                return None, True
            case "clear":
                return None, False
        raise NotImplementedError(operation.name)


class ResultModel:
    """What ``get`` of an AsyncResult gives: the value, or the class of the exception while there is none."""

    def start(self) -> Any:
        return None

    def apply(self, state: Any, operation: Operation) -> tuple[object, Hashable]:
        match operation.name:
            case "get":
                return (WAITS if state is None else state), state
            case "try":
                return (Timeout if state is None else state), state
            case "set":
                return None, operation.args[0]
            case "set_exception":
                # As in gevent, a value goes first.
                return None, state if isinstance(state, int) else operation.args[0]
            case "ready":
                return state is not None, state
        raise NotImplementedError(operation.name)


class QueueModel:
    """The items in order, the unfinished tasks, and whether the queue is shut down."""

    def __init__(self, bound: int, order: str = "first in") -> None:
        self.bound = bound
        self.order = order

    def start(self) -> tuple[tuple[Any, ...], int, bool]:
        return (), 0, False

    def apply(
        self, state: tuple[tuple[Any, ...], int, bool], operation: Operation
    ) -> tuple[object, Hashable]:
        items, unfinished, shut = state
        match operation.name:
            case "put" | "try_put":
                if shut:
                    return ShutDown, state
                if self.bound and len(items) >= self.bound:
                    return WAITS if operation.name == "put" else Full, state
                return None, ((*items, operation.args[0]), unfinished + 1, shut)
            case "get" | "try_get":
                if not items:
                    return ShutDown if shut else WAITS if operation.name == "get" else Empty, state
                index = self._next(items)
                return items[index], (items[:index] + items[index + 1 :], unfinished, shut)
            case "qsize":
                return len(items), state
            case "task_done":
                return (None, (items, unfinished - 1, shut)) if unfinished else (ValueError, state)
            case "join":
                return (WAITS if unfinished else True), state
            case "shutdown":
                return None, (items, unfinished, True)
        raise NotImplementedError(operation.name)

    def _next(self, items: tuple[Any, ...]) -> int:
        if self.order == "last in":
            return len(items) - 1
        return items.index(min(items)) if self.order == "least" else 0
