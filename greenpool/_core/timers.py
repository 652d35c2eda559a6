"""A hub's timers: a heap of deadlines on the monotonic clock.

Only the hub's own thread touches them.  Most timers are cancelled (a timeout that did not fire), so
cancelling only marks the timer; the heap drops marked ones when they reach its top, or all at once when
they outnumber the live ones.  That keeps both the price of a cancel and the memory bounded.
"""

from __future__ import annotations

from _heapq import heapify, heappop, heappush
from collections.abc import Callable
from time import monotonic

from .typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import TypeVarTuple

    Ts = TypeVarTuple("Ts")


# Below this many cancelled timers a sweep costs more than it gives back.
SWEEP_FLOOR = 64


Call = Callable[[Callable[..., object], tuple[object, ...]], None]


class Entry(Protocol):
    """What the heap holds: a Timer, or a sleeping greenlet's waiter, which saves the Timer."""

    timers: Timers | None
    """None once it is out of the heap: cancelling it then is nothing that the heap has to count."""
    pending: bool
    """False once it has expired or was cancelled."""

    @property
    def owner(self) -> object:
        """Whom it concerns."""

    def expire(self, call: Call) -> None:
        """Do what is due, and leave to *call* what may fail; nothing if it is not pending any more."""

    def cancel(self) -> None:
        """Do nothing when it is due; without effect if it is not pending any more."""


class Timer:
    """One pending call."""

    __slots__ = ("timers", "pending", "callback", "args")

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self.timers: Timers | None = None
        self.pending = True
        self.callback: Callable[..., object] | None = callback
        self.args = args

    @property
    def owner(self) -> object:
        """The object whose method it calls."""
        return getattr(self.callback, "__self__", None)

    def expire(self, call: Call) -> None:
        callback = self.callback
        if callback is not None:
            self.pending = False
            self.callback = None
            call(callback, self.args)

    def cancel(self) -> None:
        """Forget the call; a timer that has run or was cancelled stays as it is."""
        if self.pending:
            self.pending = False
            self.callback = None
            self.args = ()
            if self.timers is not None:
                self.timers.cancelled()


class Timers:
    __slots__ = ("heap", "has_weak", "_sequence", "_cancelled")

    def __init__(self) -> None:
        # The sequence number keeps equal deadlines in the order of their making, and keeps the heap from
        # ever comparing two entries.
        self.heap: list[tuple[float, int, Entry]] = []
        # Whether the heap may have timers whose owners do not count as something that can wake a greenlet: a
        # Timeout whose ``ref`` is False.
        self.has_weak = False
        self._sequence = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self.heap) - self._cancelled

    def call_at(self, deadline: float, callback: Callable[[*Ts], object], *args: *Ts) -> Timer:
        timer = Timer(callback, args)
        self.enter(deadline, timer)
        return timer

    def call_later(self, seconds: float, callback: Callable[[*Ts], object], *args: *Ts) -> Timer:
        timer = Timer(callback, args)
        self.enter(monotonic() + seconds, timer)
        return timer

    def enter(self, deadline: float, entry: Entry) -> None:
        """Take in a pending entry, a new one or that of another heap."""
        entry.timers = self
        self._sequence += 1
        heappush(self.heap, (deadline, self._sequence, entry))

    def cancelled(self) -> None:
        """An entry that is in the heap is not pending any more."""
        self._cancelled += 1
        if self._cancelled > SWEEP_FLOOR and self._cancelled * 2 > len(self.heap):
            self.heap[:] = [item for item in self.heap if item[2].pending]
            heapify(self.heap)
            self._cancelled = 0

    def next_deadline(self) -> float | None:
        heap = self.heap
        while heap:
            deadline, _, entry = heap[0]
            if entry.pending:
                return deadline
            heappop(heap)
            self._cancelled -= 1
        return None

    def can_wake(self) -> bool:
        """Whether there is a pending entry that counts as something that can wake a greenlet."""
        if not self.has_weak:
            return self.next_deadline() is not None
        pending = [getattr(entry.owner, "ref", True) for _, _, entry in self.heap if entry.pending]
        self.has_weak = not all(pending)
        return any(pending)

    def expire_due(self, now: float, call: Call) -> None:
        """Take out what is due at *now* and have it expire; what that adds is for the next pass."""
        heap = self.heap
        due = []
        try:
            while heap and heap[0][0] <= now:
                entry = heap[0][2]
                if entry.pending:
                    due.append(entry)
                    entry.timers = None
                else:
                    self._cancelled -= 1
                heappop(heap)
            for entry in due:
                entry.expire(call)
        except BaseException:
            # A signal handler has raised in between.  What it kept from expiring is due in the next pass.
            kept = {id(entry) for _, _, entry in heap}
            for entry in due:
                if entry.pending and id(entry) not in kept:
                    self.enter(now, entry)
            raise

    def keep(self, wanted: Callable[[Entry], bool]) -> None:
        """Drop every entry but those that are *wanted*."""
        for _, _, entry in self.heap:
            if not wanted(entry):
                entry.timers = None
        # The list is a new one, because a method that a signal handler has interrupted may be about to pop
        # from the old one.
        self.heap = [item for item in self.heap if item[2].timers is not None]
        heapify(self.heap)
        self._cancelled = sum(not entry.pending for _, _, entry in self.heap)

    def clear(self) -> None:
        self.heap.clear()
        self._cancelled = 0
