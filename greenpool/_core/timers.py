"""A hub's timers: a heap of deadlines on the monotonic clock.

Only the hub's own thread touches them.  Most timers are cancelled (a timeout that did not fire), so
cancelling only marks the timer; the heap drops marked ones when they reach its top, or all at once when
they outnumber the live ones.  That keeps both the price of a cancel and the memory bounded.

A signal handler may run between any two bytecodes of these methods.  What it enters may then lie at the top
when a method pops what it has found there, so each pop looks at what it took.  The sweep is one bytecode
that calls no Python code.
"""

from __future__ import annotations

from _heapq import heappop, heappush
from collections.abc import Callable
from itertools import chain, compress, count
from operator import attrgetter, itemgetter
from time import monotonic

from .typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import TypeVarTuple

    Ts = TypeVarTuple("Ts")


# Below this many cancelled timers a sweep costs more than it gives back.
SWEEP_FLOOR = 64

_entry_of = itemgetter(2)
_is_pending = attrgetter("pending")

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
        # First, because a signal handler that cancels it then does nothing.
        self.pending = False
        callback = self.callback
        if callback is not None:
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
    __slots__ = ("heap", "has_weak", "_numbers", "_cancelled")

    def __init__(self) -> None:
        # The number keeps equal deadlines in the order of their making, and keeps the heap from
        # ever comparing two entries.
        self.heap: list[tuple[float, int, Entry]] = []
        # Whether the heap may have timers whose owners do not count as something that can wake a greenlet: a
        # Timeout whose ``ref`` is False.
        self.has_weak = False
        self._numbers = count()
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
        heappush(self.heap, (deadline, next(self._numbers), entry))

    def cancelled(self) -> None:
        """An entry that is in the heap is not pending any more."""
        self._cancelled += 1
        if self._cancelled > SWEEP_FLOOR and self._cancelled * 2 > len(self.heap):
            self._sweep()

    def _sweep(self) -> None:
        # The iterators do all of it while the slice is stored, so no handler runs in between.  A sorted list
        # is a heap.  ``heapify`` would be another call, before which a handler that waits could have the loop
        # look at the list.
        heap = self.heap
        pending = compress(heap, map(_is_pending, map(_entry_of, heap)))
        heap[:] = chain.from_iterable(map(sorted, (pending,)))
        self._cancelled = 0

    def next_deadline(self) -> float | None:
        heap = self.heap
        try:
            while heap:
                item = heap[0]
                if item[2].pending:
                    return item[0]
                taken = heappop(heap)
                if taken is item:
                    self._cancelled -= 1
                else:
                    # A signal handler has entered an earlier one, or swept this one out.
                    heappush(heap, taken)
        except IndexError:
            pass  # a signal handler has swept the last ones out
        return None

    def can_wake(self) -> bool:
        """Whether there is a pending entry that counts as something that can wake a greenlet."""
        if not self.has_weak:
            return self.next_deadline() is not None
        pending = [getattr(entry.owner, "ref", True) for _, _, entry in self.heap.copy() if entry.pending]
        self.has_weak = not all(pending)
        return any(pending)

    def expire_due(self, now: float, call: Call) -> None:
        """Take out what is due at *now* and have it expire; what that adds is for the next pass."""
        due: list[Entry] = []
        try:
            self._take_due(now, due)
            for entry in due:
                entry.expire(call)
        except BaseException:
            # A signal handler has raised in between.  What it kept from expiring is due in the next pass.
            kept = {id(entry) for _, _, entry in self.heap.copy()}
            for entry in due:
                if entry.pending:
                    if id(entry) in kept:
                        entry.timers = self
                    else:
                        self.enter(now, entry)
            raise

    def _take_due(self, now: float, due: list[Entry]) -> None:
        heap = self.heap
        try:
            while heap:
                item = heap[0]
                if item[0] > now:
                    return
                entry = item[2]
                if entry.timers is not None:
                    if entry.pending:
                        due.append(entry)
                    else:
                        self._cancelled -= 1
                    entry.timers = None
                taken = heappop(heap)
                if taken is not item:
                    # A signal handler has entered an earlier one, or swept this one out.
                    heappush(heap, taken)
        except IndexError:
            pass  # a signal handler has swept the last ones out

    def keep(self, wanted: Callable[[Entry], bool]) -> None:
        """Drop every entry but those that are *wanted*."""
        for _, _, entry in self.heap.copy():
            if not wanted(entry):
                entry.pending = False
                entry.timers = None
        self._sweep()

    def clear(self) -> None:
        self.heap.clear()
        self._cancelled = 0
