"""The one way to wait.

A greenlet makes a waiter, puts it where those who may wake it will find it, and parks.  Anyone may then
wake it, exactly once, with a value or an exception; a second wake is a no-op that says so by returning
False.

*Who may claim it.*  A waiter is claimed once, by the wake that wins.  Its ``guard`` decides what makes the
claim atomic:

- With a guard (a lock, usually that of the event or queue it waits in), every claim is made while holding
  the guard.  ``claim`` is for those who hold it already; ``wake``, ``fail``, a kill and a timeout take it.
- Without one, only the hub's own thread may wake it (timers, I/O, joins on the same hub).

*What follows a claim.*  The claimer schedules the greenlet: directly into its hub's ready queue on that
hub's thread, through the hub's inbox from any other.  So each claim makes one resume, and each park takes
one.  A primitive may therefore hand over an item with the claim: it cannot be lost, because a kill or a
timeout that comes later finds the waiter claimed.  Such a kill stays pending and is delivered when the
greenlet parks next.

*Spurious resumes are harmless.*  In the main thread KeyboardInterrupt can strike between putting the
waiter somewhere and parking, and leave a stray resume behind.  A park therefore goes on waiting until
its own waiter is claimed.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from time import monotonic
from typing import TYPE_CHECKING, Any

from .current import adopt, getcurrent
from .native import get_ident
from .sections import without_sections

if TYPE_CHECKING:
    from .hub import Hub
    from .timers import Timers

WAITING = 0
WOKEN = 1
FAILED = 2
EXPIRED = 3

Guard = AbstractContextManager[Any]


class Waiter:
    __slots__ = ("greenlet", "hub", "guard", "state", "value")

    def __init__(self, guard: Guard | None = None) -> None:
        greenlet = getcurrent()
        try:
            hub = greenlet.hub
        except AttributeError:
            hub = adopt(greenlet).hub
        self.greenlet = greenlet
        self.hub: Hub = hub
        self.guard = guard
        self.state = WAITING
        self.value: Any = None

    def __repr__(self) -> str:
        state = ("waiting", "woken", "failed", "expired")[self.state]
        return f"<Waiter of {self.greenlet.task!r}: {state}>"

    # Anyone, under the guard.

    def claim(self, value: object = None, state: int = WOKEN) -> bool:
        """Take the one right to wake; the caller holds the guard and calls ``resume`` afterwards."""
        if self.state:
            return False
        # In this order: park reads the state without the guard.
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

    def throw(self, greenlet: object, exception: BaseException) -> bool:
        """What a kill or a timeout does to a parked greenlet (see ``interrupt``)."""
        return self._finish(exception, FAILED)

    def _expire(self) -> None:
        if self.guard is not None:
            self._finish(None, EXPIRED)
        elif not self.state:
            # As claim and resume: the hub's own thread is here, and awake.
            self.state = EXPIRED
            self.hub.ready.append(self.greenlet)

    # The greenlet itself.

    @without_sections
    def park(self, timeout: float | None = None) -> bool:
        """Wait until woken: True (``value`` holds what came), or False when *timeout* seconds passed.

        Raises what ``fail``, a kill or a ``Timeout`` brought.
        """
        greenlet = self.greenlet
        hub = self.hub
        if timeout is None and not greenlet.interrupts:
            # The usual case, without the general one's timer.
            ready = hub.ready
            greenlet.waiter = self
            try:
                ready.popleft().switch()
                while not self.state:
                    ready.popleft().switch()
            finally:
                greenlet.waiter = None
            return self.state == WOKEN or self.outcome()
        if greenlet.interrupts:
            # Nothing is lost if somebody has claimed us already: then we are resumed, and the
            # interrupt waits for the next park.
            if self.throw(greenlet, greenlet.interrupts[0]):
                greenlet.interrupts.popleft()
        elif timeout is not None and timeout <= 0:
            self._expire()
        timer = None
        if timeout is not None and not self.state:
            timer = hub.timers.call_later(timeout, self._expire)
        greenlet.waiter = self
        try:
            hub.ready.popleft().switch()
            while not self.state:
                hub.ready.popleft().switch()
        finally:
            greenlet.waiter = None
            if timer is not None:
                timer.cancel()
        return self.outcome()

    def outcome(self) -> bool:
        """What ``park`` returns or raises, once the waiter is claimed."""
        if self.state == FAILED:
            if self.value is None:
                self._stay_behind()
            try:
                raise self.value
            finally:
                self.value = None  # breaks the cycle through the traceback's frame
        return self.state == WOKEN

    def _stay_behind(self) -> None:
        """The child of a fork in a signal handler, which has struck whoever was to switch to the greenlet."""
        while True:
            self.hub.ready.popleft().switch()


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


def greenlet_of(turn: Any) -> Any:
    """The greenlet that goes on when *turn* is taken from a ready queue, where it may stand for one."""
    return turn.greenlet if isinstance(turn, Waiter) else turn


def interrupt(greenlet: Any, exception: BaseException) -> None:
    """Raise *exception* in *greenlet* where it is parked, else when it parks next; its hub's thread only."""
    waiter = greenlet.waiter
    if waiter is None or not waiter.throw(greenlet, exception):
        if greenlet.interrupts == ():
            greenlet.interrupts = deque()
        greenlet.interrupts.append(exception)
