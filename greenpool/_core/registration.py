"""What one hub knows of one descriptor, and how a greenlet waits for it.

*Readiness is a hint.*  An operation tries its system call first and parks only on EAGAIN; after a wake it
tries again.  ``readable`` only saves system calls that would certainly say EAGAIN.

*Registered once.*  A descriptor is registered with a hub's poller when it first has to wait there, for
reading and writing together, edge-triggered, and stays so until it is closed.  (Not earlier: an
unconnected TCP socket at once reports OUT|HUP.)  Two hubs may have registered the same descriptor; each
gets its own edges.

*The short-read rule.*  On a TCP stream a ``recv`` that returned less than was asked has drained the socket,
so the next one may park without asking the kernel again.  Data and FIN can come as one edge, though, and
an urgent mark splits reads: once the poller has reported RDHUP, HUP, ERR or PRI (``hung_up``), a short
read proves nothing and only EAGAIN does.  An EAGAIN takes the mark back.

*Several owners.*  Two objects may use one number: a reader and a writer of one terminal, say.  On one hub
they share a Registration, because the poller knows numbers only.  When one of them is closed, maybe together
with the file, and maybe not, every greenlet that waits is woken and tries again; the last owner unregisters
the number.

*Threads.*  A Registration belongs to its hub's thread.  The exceptions are ``owners`` and the early
``closed`` (see descriptor.py), which the lock of the number guards.

*The waiters.*  ``reader`` and ``writer`` keep their waiter when its wait has ended: a claimed waiter is
inert, and the next wait of the same greenlet uses it again.  This is safe, because nothing else refers to a
waiter without a guard once its greenlet goes on.  A new one for each wait would take a tenth of an echo in
pure Python.

*Signal handlers and finalizers* may close a descriptor or interrupt a greenlet between any two bytecodes of
the hub's thread.  So the claim of a waiter decides, and one of the crowd is taken out in one step before it
is woken.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from time import monotonic

from .current import BUDGET
from .handler_call import HandlerCall
from .interrupts import raise_interrupt
from .pollers.events import IN, OUT, READ, WRITE
from .sections import without_sections
from .state import GreenThread, HubState, Wait
from .waiter import WAITING, WOKEN, Waiter


class Registration:
    """One descriptor on one hub."""

    __slots__ = (
        "hub",
        "fd",
        "readable",
        "hung_up",
        "closed",
        "reader",
        "writer",
        "crowd",
        "arm",
        "owners",
        "__weakref__",
    )

    def __init__(self, hub: HubState, fd: int, owners: int) -> None:
        self.hub: HubState | None = hub
        self.fd = fd
        # Unknown yet: true means "ask the kernel".
        self.readable = True
        self.hung_up = False
        self.closed = False
        self.reader: Waiter | None = None
        self.writer: Waiter | None = None
        # The second and further waiters for the same direction, each with the bits that it waits for.
        self.crowd: list[tuple[int, Wait]] | None = None
        # Level-triggered pollers report only what they were armed for; edge-triggered ones need no arming.
        self.arm: Callable[[int, int], None] | None = hub.poller.arm
        # The Descriptors that use it.  0 means a bare number: nobody reports its close, so it is unregistered
        # after its last wait.
        self.owners = owners

    def __repr__(self) -> str:
        return f"<Registration of descriptor {self.fd}>"

    # The greenlet that waits.

    @without_sections
    def wait_read(self, greenlet: GreenThread, timeout: float | None = None) -> bool:
        """Park *greenlet*, the calling one, until the descriptor may be readable.

        False when *timeout* seconds have passed.  Raises OSError(EBADF) when it is closed meanwhile; if it
        was closed before, the caller's next try says so.
        """
        if greenlet.interrupts:
            raise_interrupt(greenlet)
        waiter = self.reader
        if waiter is not None and waiter.state and waiter.greenlet is greenlet:
            waiter.state = WAITING
        elif waiter is None or waiter.state:
            waiter = self.reader = Waiter()
        else:
            return self._wait_in_crowd(READ, IN, timeout)
        hub = self.hub
        if timeout is not None or self.arm is not None or hub is None:
            return self._park(waiter, IN, timeout)
        # Waiter.park without its call: every request that a server answers comes through here.  With the call
        # an echo in pure Python takes 2 % more instructions.
        greenlet.parked_at = monotonic()
        greenlet.waiter = waiter
        greenlet.budget = BUDGET
        ready = hub.ready
        while True:
            try:
                ready.popleft().switch()
                while waiter.state < WOKEN:
                    ready.popleft().switch()
                break
            except HandlerCall as handler_call:
                call = handler_call
            call.make(greenlet, waiter)
        greenlet.waiter = None
        return self._outcome(waiter) if self.closed or waiter.state != WOKEN else True

    def wait_write(self, greenlet: GreenThread, timeout: float | None = None) -> bool:
        """As ``wait_read``, until it may be writable."""
        if greenlet.interrupts:
            raise_interrupt(greenlet)
        waiter = self.writer
        if waiter is not None and waiter.state and waiter.greenlet is greenlet:
            waiter.state = WAITING
        elif waiter is None or waiter.state:
            waiter = self.writer = Waiter()
        else:
            return self._wait_in_crowd(WRITE, OUT, timeout)
        return self._park(waiter, OUT, timeout)

    def _wait_in_crowd(self, bits: int, direction: int, timeout: float | None) -> bool:
        waiter = Waiter()
        self.join_crowd(bits, waiter)
        try:
            return self._park(waiter, direction, timeout)
        finally:
            self.leave_crowd(waiter)

    def _park(self, waiter: Waiter, direction: int, timeout: float | None) -> bool:
        if self.hub is None:
            # Since the caller has looked it up it was closed or, in the child of a fork, forgotten.  The
            # caller's next try will see.
            waiter.claim()
            return True
        if self.arm is not None:
            self.arm(self.fd, direction)
        waiter.greenlet.budget = BUDGET
        waiter.park(timeout)
        return self._outcome(waiter)

    def _outcome(self, waiter: Waiter) -> bool:
        """What ``wait_read`` returns or raises, once the waiter is claimed."""
        in_time = waiter.outcome()
        if in_time and self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return in_time

    def join_crowd(self, bits: int, waiter: Wait) -> None:
        """Wake *waiter*, one of several, when one of *bits* is reported."""
        crowd = self.crowd
        if crowd is None:
            crowd = self.crowd = []
        crowd.append((bits, waiter))

    def leave_crowd(self, waiter: Wait) -> None:
        """Forget *waiter*, if it has not been taken out yet."""
        crowd = self.crowd or []
        for entry in crowd[:]:
            if entry[1] is waiter:
                _take_out(entry, crowd)

    # The hub's own thread.

    def wake_crowd(self, mask: int) -> None:
        """Wake all that wait for what *mask* reports; each tries its call again, and most may park again."""
        crowd = self.crowd
        if crowd is None:
            return  # a signal handler has closed it since the event was looked at
        reported = [entry for entry in crowd if entry[0] & mask]
        for entry in reported:
            if _take_out(entry, crowd):
                entry[1].wake()
        if reported and not crowd:
            self.crowd = None

    def wake_all(self) -> None:
        """Have every greenlet that waits try again."""
        if self.hub is None:
            return
        self.readable = True
        for waiter in (self.reader, self.writer):
            if waiter is not None:
                waiter.wake()
        self.wake_crowd(READ | WRITE)

    def close(self) -> None:
        """Wake every greenlet that waits, with EBADF; after the poller has forgotten the number."""
        hub = self.hub
        if hub is None:
            return
        self.closed = True
        if hub.registrations.get(self.fd) is self:
            # The default is for the child of a signal handler that forked in between: it has taken the entry
            # out.
            hub.registrations.pop(self.fd, None)
        self.wake_all()
        self.forget()

    def forget(self) -> None:
        """The hub has ended, or no greenlet waits in the child of a fork: its next user registers anew."""
        self.hub = None
        self.reader = self.writer = self.crowd = None

    def waiters(self) -> list[Wait]:
        """All that wait here."""
        all_of_them = [self.reader, self.writer, *(entry[1] for entry in self.crowd or ())]
        return [waiter for waiter in all_of_them if waiter is not None and not waiter.state]


def _take_out(entry: tuple[int, Wait], crowd: list[tuple[int, Wait]]) -> bool:
    try:
        crowd.remove(entry)
    except ValueError:
        return False  # a signal handler has taken it out just now
    return True
