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

*Signal handlers and finalizers* may close a descriptor or interrupt a greenlet between any two bytecodes of
the hub's thread.  A waiter is therefore taken out of its place in one step before it is woken, and its claim
decides.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from .current import CREDIT
from .interrupts import raise_interrupt
from .pollers.events import IN, OUT, READ, WRITE
from .state import HubState
from .waiter import Waiter


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
        self.crowd: list[tuple[int, Waiter]] | None = None
        # Level-triggered pollers report only what they were armed for; edge-triggered ones need no arming.
        self.arm: Callable[[int, int], None] | None = hub.poller.arm
        # The Descriptors that use it.  0 means a bare number: nobody reports its close, so it is unregistered
        # after its last wait.
        self.owners = owners

    def __repr__(self) -> str:
        return f"<Registration of descriptor {self.fd}>"

    # The greenlet that waits.

    def wait_read(self, timeout: float | None = None) -> bool:
        """Park the calling greenlet until the descriptor may be readable.

        False when *timeout* seconds have passed.  Raises OSError(EBADF) when it is closed meanwhile; if it
        was closed before, the caller's next try says so.
        """
        waiter = Waiter()
        greenlet = waiter.greenlet
        if greenlet.interrupts:
            raise_interrupt(greenlet)
        if self.reader is None:
            self.reader = waiter
        else:
            self.join_crowd(READ, waiter)
        return self._park(waiter, IN, timeout)

    def wait_write(self, timeout: float | None = None) -> bool:
        """As ``wait_read``, until it may be writable."""
        waiter = Waiter()
        greenlet = waiter.greenlet
        if greenlet.interrupts:
            raise_interrupt(greenlet)
        if self.writer is None:
            self.writer = waiter
        else:
            self.join_crowd(WRITE, waiter)
        return self._park(waiter, OUT, timeout)

    def _park(self, waiter: Waiter, bits: int, timeout: float | None) -> bool:
        if self.hub is None:
            # Since the caller has looked it up it was closed or, in the child of a fork, forgotten.  The
            # caller's next try will see.
            self.leave(waiter)
            return True
        if self.arm is not None:
            self.arm(self.fd, bits)
        waiter.greenlet.credit = CREDIT
        try:
            in_time = waiter.park(timeout)
        except BaseException:
            self.leave(waiter)
            raise
        if not in_time:
            self.leave(waiter)
        elif self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return in_time

    def join_crowd(self, bits: int, waiter: Waiter) -> None:
        """Wake *waiter*, one of several, when one of *bits* is reported."""
        crowd = self.crowd
        if crowd is None:
            crowd = self.crowd = []
        crowd.append((bits, waiter))

    def leave(self, waiter: Waiter) -> None:
        """Forget *waiter*, if it has not been taken out yet."""
        if self.reader is waiter:
            self.reader = None
        elif self.writer is waiter:
            self.writer = None
        else:
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
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.wake()
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.wake()
        self.wake_crowd(READ | WRITE)

    def close(self) -> None:
        """Wake every greenlet that waits, with EBADF; after the poller has forgotten the number."""
        hub = self.hub
        if hub is None:
            return
        self.closed = True
        if hub.registrations.get(self.fd) is self:
            # With a default: a signal handler that has forked in between has taken it out in the child.
            hub.registrations.pop(self.fd, None)
        self.wake_all()
        self.forget()

    def forget(self) -> None:
        """The hub has ended, or no greenlet waits in the child of a fork: its next user registers anew."""
        self.hub = None
        self.reader = self.writer = self.crowd = None

    def waiters(self) -> list[Waiter]:
        """All that wait here."""
        crowd = self.crowd or ()
        return [
            waiter
            for waiter in (self.reader, self.writer, *(entry[1] for entry in crowd))
            if waiter is not None
        ]


def _take_out(entry: tuple[int, Waiter], crowd: list[tuple[int, Waiter]]) -> bool:
    try:
        crowd.remove(entry)
    except ValueError:
        return False  # a signal handler has taken it out just now
    return True
