"""The one way to wait.

A greenlet makes a waiter, puts it where those who may wake it will find it, and parks.  Anyone may then
wake it, exactly once, with a value or an exception; a second wake is a no-op that says so by returning
False.  Locks, queues, timers, joins and descriptors all use it.

*The claim.*  A waiter is claimed once, by the wake that wins.  Its ``guard`` decides what makes the claim
atomic:

- With a guard (a lock, usually that of the event or queue it waits in), every claim is made while holding
  the guard.  ``claim`` is for callers that hold it already; ``wake``, ``fail``, a kill and a timeout take it.
- Without one, only the hub's own thread may wake it (timers, I/O, joins on the same hub).

*What follows a claim.*  The claimer schedules the greenlet: directly into its hub's ready queue on that
hub's thread, through the hub's inbox from any other.  So each claim makes one resume, and each park takes
one.  A primitive may therefore hand over an item with the claim: it cannot be lost, because a kill or a
timeout that comes later finds the waiter claimed.  Such a kill stays pending and is delivered when the
greenlet parks next.

*Spurious resumes are harmless.*  In the main thread KeyboardInterrupt can come between putting the
waiter somewhere and parking, and leave a stray resume behind.  A park therefore goes on waiting until
its own waiter is claimed.

*A signal handler* may run on the main program's stack while that is parked (see handler_call.py).

*Where greenlets switch away.*  ``Waiter.park`` is the one function that gives the hub to the next greenlet
until a waiter is claimed.  Four copies of its loop exist, each for a measured figure that stands beside it:
``yield_now`` below, which needs no waiter; ``Registration.wait_read``; ``QuickWaiter.receive``; and
``park`` in csrc/waiter.c for the socket calls in C.
"""

from __future__ import annotations

from time import monotonic

from .current import BUDGET, adopt, current_greenlet, getcurrent
from .handler_call import HandlerCall
from .interrupts import add_interrupt, put_back_interrupt, raise_interrupt, take_interrupt
from .native import HAS_GIL, get_ident
from .seconds import check_seconds
from .sections import without_sections
from .state import GreenThread, HubState
from .typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from .timers import Timer, Timers

    Guard = AbstractContextManager[object]

# Claimed as well: its greenlet exists only in the parent of a fork (see fork.py).  A park goes on for ever.
ABANDONED = -1
WAITING = 0
WOKEN = 1
FAILED = 2
EXPIRED = 3


class Claimable(Protocol):
    """What stands in a line of waiters: a Waiter, or something that is called in the place of one."""

    state: int

    def claim(self, value: object = None, state: int = 1) -> bool: ...

    def resume(self) -> None: ...


class Waiter:
    __slots__ = ("greenlet", "hub", "guard", "state", "value")

    def __init__(self, guard: Guard | None = None) -> None:
        greenlet = getcurrent()
        try:
            hub = greenlet.hub
        except AttributeError:
            hub = adopt(greenlet).hub
        self.greenlet: GreenThread = greenlet
        self.hub: HubState = hub
        self.guard = guard
        self.state = WAITING
        self.value: Any = None

    def __repr__(self) -> str:
        state = ("waiting", "woken", "failed", "expired", "abandoned")[self.state]
        return f"<Waiter of {self.greenlet.task!r}: {state}>"

    # Anyone, under the guard.

    def claim(self, value: object = None, state: int = WOKEN) -> bool:
        """Take the one right to wake; the caller holds the guard and calls ``resume`` afterwards."""
        if self.state:
            return False
        # In this order, because park reads the state without the guard.
        self.value = value
        self.state = state
        return True

    def resume(self) -> None:
        """Schedule the greenlet of a waiter that the caller has claimed; any thread, no lock needed."""
        hub = self.hub
        # On its own thread a hub is asleep only while a signal handler runs inside its poll.
        if get_ident() == hub.thread_id and not hub.inbox.asleep:
            hub.ready.append(self.greenlet)
        else:
            hub.inbox.post(self.greenlet)

    def resume_behind_posts(self) -> None:
        """Do what ``resume`` does, behind all that was posted to the hub; any thread, no lock needed."""
        self.hub.inbox.post(self.greenlet)

    def wake(self, value: object = None) -> bool:
        """Claim and resume; False if somebody else did.  Any thread, if there is a guard."""
        return self._finish(value, WOKEN)

    def fail(self, exception: BaseException) -> bool:
        """As wake, but park raises *exception*."""
        return self._finish(exception, FAILED)

    def _finish(self, value: object, state: int) -> bool:
        guard = self.guard
        if guard is None:
            claimed = self.claim(value, state)
        else:
            with guard:
                claimed = self.claim(value, state)
        if claimed:
            self.resume()
        return claimed

    # The hub's own thread.

    def throw(self, exception: BaseException) -> bool:
        """End the wait with a kill's or a timeout's *exception*; False if it has ended already."""
        return self._finish(exception, FAILED)

    def _expire(self) -> None:
        if self.guard is not None:
            self._finish(None, EXPIRED)
        elif not self.state:
            # Claim and resume without their calls: the hub's own thread is here, and awake.
            self.state = EXPIRED
            self.hub.ready.append(self.greenlet)

    # The greenlet itself.

    @without_sections
    def park(self, timeout: float | None = None) -> bool:
        """Wait until woken: True (``value`` holds what came), or False when *timeout* seconds passed.

        Raises what ``fail``, a kill or a ``Timeout`` brought.
        """
        greenlet = self.greenlet
        timer = self._prepare(timeout) if timeout is not None or greenlet.interrupts else None
        ready = self.hub.ready
        greenlet.parked_at = monotonic()
        greenlet.waiter = self
        try:
            while True:
                try:
                    ready.popleft().switch()
                    while self.state < WOKEN:
                        ready.popleft().switch()
                    break
                except HandlerCall as handler_call:
                    call = handler_call
                call.make(greenlet, self)
        finally:
            greenlet.waiter = None
            if timer is not None:
                timer.cancel()
        return self.state == WOKEN or self.outcome()

    def _prepare(self, timeout: float | None) -> Timer | None:
        """Before parking: raise what is pending, and set the timer."""
        greenlet = self.greenlet
        interrupt = take_interrupt(greenlet)
        if interrupt is not None:
            if not self.throw(interrupt):
                # Claimed already, so this park ends soon; the interrupt waits for the next one.
                put_back_interrupt(greenlet, interrupt)
        elif timeout is not None and timeout <= 0:
            self._expire()
        if timeout is None or self.state:
            return None
        return self.hub.timers.call_later(timeout, self._expire)

    def outcome(self) -> bool:
        """What ``park`` returns or raises, once the waiter is claimed."""
        if self.state == FAILED:
            try:
                raise self.value
            finally:
                self.value = None  # breaks the cycle through the traceback's frame
        return self.state == WOKEN


class QuickWaiter(Waiter):
    """A waiter for queues.  Making one calls no Python code: its maker fills all fields.

    An item that goes to a parked getter and back by another queue takes 28,600 instructions in pure Python.
    With ``Waiter.park`` in the place of ``receive`` it takes 5 % more.
    """

    __slots__ = ()

    __init__ = object.__init__

    def receive(self) -> Any:
        """Park without a timeout and return the value that came."""
        greenlet = self.greenlet
        if greenlet.interrupts or not HAS_GIL:
            # Without a GIL ``park`` also leaves the critical sections.
            self.park()
            return self.value
        ready = self.hub.ready
        greenlet.parked_at = monotonic()
        greenlet.waiter = self
        try:
            while True:
                try:
                    ready.popleft().switch()
                    while self.state < WOKEN:
                        ready.popleft().switch()
                    break
                except HandlerCall as handler_call:
                    call = handler_call
                call.make(greenlet, self)
        finally:
            greenlet.waiter = None
        if self.state != WOKEN:
            self.outcome()
        return self.value


class Sleep(Waiter):
    """A waiter that only time and an interrupt wake: it is itself the entry in the heap of timers."""

    __slots__ = ("timers", "pending")
    timers: Timers | None
    pending: bool

    @property
    def owner(self) -> object:
        return self

    def expire(self, _call: object) -> None:
        self.pending = False
        self._expire()

    def cancel(self) -> None:
        if self.pending:
            self.pending = False
            if self.timers is not None:
                self.timers.cancelled()

    def park_for(self, seconds: float) -> None:
        """Wait for *seconds*; raises what a kill or a ``Timeout`` brought."""
        self.pending = True
        self.hub.timers.enter(monotonic() + seconds, self)
        try:
            self.park()
        finally:
            self.cancel()


def interrupt(greenlet: GreenThread, exception: BaseException) -> None:
    """Raise *exception* in *greenlet* where it is parked, else when it parks next; its hub's thread only."""
    waiter = greenlet.waiter
    if waiter is None or not waiter.throw(exception):
        add_interrupt(greenlet, exception)


def abandon(greenlet: object) -> None:
    """In the child of a fork: *greenlet* does not exist here; no lock may hand anything to it."""
    waiter = getattr(greenlet, "waiter", None)
    if isinstance(waiter, Waiter):
        waiter.state = ABANDONED


@without_sections
def yield_now() -> None:
    """Let every other ready greenlet of this hub run before the calling one goes on."""
    # Without a waiter, which would take half as long again as the whole of this.
    greenlet = current_greenlet()
    if greenlet.interrupts:
        raise_interrupt(greenlet)
    greenlet.budget = BUDGET
    ready = greenlet.hub.ready
    ready.append(greenlet)
    while True:
        try:
            ready.popleft().switch()
            return
        except HandlerCall as handler_call:
            call = handler_call
        call.make(greenlet, None)


def spend() -> None:
    """Count one operation, which may not have to wait, before it is carried out; raises what is pending."""
    greenlet = getcurrent()
    try:
        greenlet.budget -= 1
    except AttributeError:
        # A thread that has never waited has nobody to yield to.
        return
    if greenlet.budget < 0:
        yield_now()


def sleep(seconds: float = 0) -> None:
    """Park the calling greenlet for *seconds*; with 0, only let the others run first (as in gevent)."""
    if seconds == 0:
        yield_now()
        return
    if seconds is None:
        raise TypeError("seconds must be a number, not None")
    check_seconds("seconds", seconds)
    Sleep().park_for(seconds)
