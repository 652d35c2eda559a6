"""A hub's timers: a heap of deadlines on the monotonic clock.

Only the hub's own thread touches them.  Most timers are cancelled (a timeout that did not fire), so
cancelling only marks the timer; the heap drops marked ones when they reach its top, or all at once when
they outnumber the live ones.  That keeps both the price of a cancel and the memory bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic
from typing import Any

# Below this many cancelled timers a sweep costs more than it gives back.
SWEEP_FLOOR = 64


class Timer:
    """One pending call.  ``callback`` is None once it has run or was cancelled."""

    __slots__ = ("deadline", "callback", "args", "timers")

    def __init__(
        self, timers: Timers, deadline: float, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        # None once it is out of the heap: cancelling it then is nothing that the heap has to count.
        self.timers: Timers | None = timers
        self.deadline = deadline
        self.callback: Callable[..., object] | None = callback
        self.args = args

    @property
    def pending(self) -> bool:
        return self.callback is not None

    def cancel(self) -> None:
        """Forget the call; a timer that has run or was cancelled stays as it is."""
        if self.callback is not None:
            self.callback = None
            self.args = ()
            if self.timers is not None:
                self.timers.cancelled()


class Timers:
    __slots__ = ("heap", "_sequence", "_cancelled")

    def __init__(self) -> None:
        # The sequence number keeps equal deadlines in the order of their making, and keeps the heap from
        # ever comparing two Timer objects.
        self.heap: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self.heap) - self._cancelled

    def call_at(self, deadline: float, callback: Callable[..., object], *args: Any) -> Timer:
        return self._add(deadline, callback, args)

    def adopt(self, timer: Timer) -> None:
        """Take over a pending timer of another heap."""
        timer.timers = self
        self._sequence += 1
        heappush(self.heap, (timer.deadline, self._sequence, timer))

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        return self._add(monotonic() + seconds, callback, args)

    def _add(self, deadline: float, callback: Callable[..., object], args: tuple[Any, ...]) -> Timer:
        timer = Timer(self, deadline, callback, args)
        self._sequence += 1
        heappush(self.heap, (deadline, self._sequence, timer))
        return timer

    def cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled > SWEEP_FLOOR and self._cancelled * 2 > len(self.heap):
            self.heap[:] = [entry for entry in self.heap if entry[2].callback is not None]
            heapify(self.heap)
            self._cancelled = 0

    def next_deadline(self) -> float | None:
        heap = self.heap
        while heap:
            deadline, _, timer = heap[0]
            if timer.callback is not None:
                return deadline
            heappop(heap)
            self._cancelled -= 1
        return None

    def due(self, now: float) -> list[Timer]:
        """Take out the timers that are due at *now*; those they add are for the next pass."""
        heap = self.heap
        expired = []
        while heap and heap[0][0] <= now:
            timer = heappop(heap)[2]
            if timer.callback is None:
                self._cancelled -= 1
            else:
                timer.timers = None
                expired.append(timer)
        return expired

    def clear(self) -> None:
        self.heap.clear()
        self._cancelled = 0
