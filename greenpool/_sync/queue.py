"""Queue and its kin: queues with tasks to be done, and those that order their items by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any, TypeVar

from .._core.timeout import Timeout, ends_in_time
from .._core.waiter import WOKEN, Waiter
from .arguments import seconds
from .simple_queue import NOTHING, ShutDown, SimpleQueue, resume_all

T = TypeVar("T")


class Queue(SimpleQueue[T]):
    """A SimpleQueue that counts unfinished tasks and can be shut down.

    It is like ``queue.Queue`` and ``gevent.queue.Queue``.  *unfinished_tasks* is the number of tasks at the
    beginning, if it differs from the number of *items*.
    """

    __slots__ = ("is_shutdown", "_joiners")

    def __init__(
        self,
        maxsize: int | None = 0,
        items: Iterable[T] = (),
        unfinished_tasks: int | None = None,
    ) -> None:
        if unfinished_tasks is not None and not isinstance(unfinished_tasks, int):
            raise TypeError(f"unfinished_tasks must be an int or None, not {unfinished_tasks!r}")
        self.is_shutdown = False
        SimpleQueue.__init__(self, maxsize, items)
        self._counted = self._qsize() if unfinished_tasks is None else unfinished_tasks
        self._uncounted = []
        self._joiners: dict[Waiter, None] = {}

    @property
    def unfinished_tasks(self) -> int:
        """The number of items that were put and for which ``task_done`` has not been called."""
        with self._guard:
            return self._counted - len(self._uncounted)

    def copy(self) -> Queue[T]:
        """Another queue with the same bound, items and number of unfinished tasks.

        An item that another thread is putting at this moment may be missing in the copy and still be counted.
        """
        with self._guard:
            # The gate is shut until both are read, so that no items come in between.
            self._gate = True
            try:
                unfinished = self.unfinished_tasks
                items = self._copy_items()
            finally:
                self._set_gate()
            return type(self)(self._maxsize, items, max(unfinished, len(items)))

    def _settle(self, item: T) -> None:
        """A getter has come to wait, or the queue was shut down, while *item* was put."""
        woken: list[Waiter] = []
        with self._guard:
            recalled = self.is_shutdown and self._recall(item)
            if recalled:
                self._finish_one(woken)
            else:
                self._serve(woken)
        resume_all(woken)
        if recalled:
            raise ShutDown

    def _recall(self, item: T) -> bool:
        """Take out an *item* that came too late; False if a getter has it already."""
        later = []
        try:
            while (last := self.queue.pop()) is not item:
                later.append(last)
            return True
        except IndexError:
            return False
        finally:
            self.queue.extend(reversed(later))

    def task_done(self) -> None:
        """Say that the work on one item is done; ValueError if no task is unfinished."""
        woken: list[Waiter] = []
        with self._guard:
            if self.unfinished_tasks <= 0:
                raise ValueError("task_done() called too many times")
            self._finish_one(woken)
        resume_all(woken)

    def _finish_one(self, woken: list[Waiter]) -> None:
        """Count one task as finished; the caller holds the guard."""
        self._counted -= 1
        if not self.unfinished_tasks:
            joiners, self._joiners = self._joiners, {}
            woken += [joiner for joiner in joiners if joiner.claim()]

    def join(self, timeout: float | Timeout | None = None) -> bool:
        """Wait until no task is unfinished; False when *timeout* seconds have passed first."""
        if isinstance(timeout, Timeout):
            return ends_in_time(timeout, self.join)
        timeout = seconds(timeout)
        if not self.unfinished_tasks:
            return True
        waiter = Waiter(self._guard)
        with self._guard:
            self._joiners[waiter] = None
            # Look once more: a signal handler may have finished the last task meanwhile.
            if not self.unfinished_tasks and waiter.claim():
                self._joiners.pop(waiter, None)
                return True
        try:
            return waiter.park(timeout)
        finally:
            if waiter.state != WOKEN:
                with self._guard:
                    self._joiners.pop(waiter, None)

    def shutdown(self, immediate: bool = False) -> None:
        """Make ``put`` raise ShutDown, and ``get`` once there is no item left; waiters get it, too.

        With *immediate*, the items are dropped, as if the work on each were done (as in Python 3.13).
        """
        woken: list[Waiter] = []
        with self._guard:
            self.is_shutdown = True
            self._set_gate()
            if immediate:
                while self._take(True) is not NOTHING:
                    if self.unfinished_tasks > 0:
                        self._finish_one(woken)
            # A put that takes no guard may have added an item.
            self._serve_getters(woken)
            self._shut_out(woken)
        resume_all(woken)


JoinableQueue = Queue


class LifoQueue(Queue[T]):
    """A Queue whose newest item comes out first."""

    __slots__ = ()

    def _init(self, maxsize: int | None) -> None:
        self.queue: list[T] = []

    def _get(self) -> T:
        return self.queue.pop()

    def _peek(self) -> T:
        return self.queue[-1]


class PriorityQueue(Queue[T]):
    """A Queue whose least item comes out first."""

    __slots__ = ()

    def _init(self, maxsize: int | None) -> None:
        self.queue: list[Any] = []

    def _put(self, item: T) -> None:
        heappush(self.queue, item)

    def _get(self) -> T:
        item: T = heappop(self.queue)
        return item
