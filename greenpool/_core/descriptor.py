"""Descriptors, and what one hub knows of one of them.

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
they share a Registration, as the poller knows numbers only.  When one of them is closed, maybe together with
the file, and maybe not, everyone who waits is woken and tries again; the last one unregisters the number.

*Who guards what.*  A Registration belongs to its hub's thread.  How many own it, the table of a Descriptor's
registrations, and the question whether that is closed, are guarded by the lock of the number: so no hub can
register a number that is being closed.

*Signal handlers and finalizers* may close and throw between any two bytecodes of the hub's thread.  So who is
woken is first taken out, in one step, and nobody can be woken twice.
"""

from __future__ import annotations

import errno
import os
import select as _select
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import ref

from .current import CREDIT, current_greenlet, thread_hub
from .inbox import Call
from .native import RLock, poll, select
from .sections import without_sections
from .waiter import Waiter, greenlet_of

if TYPE_CHECKING:
    from .hub import Hub

# The event bits, with the values of Linux's epoll; the other pollers translate into them.
IN = 0x001
PRI = 0x002
OUT = 0x004
ERR = 0x008
HUP = 0x010
RDHUP = 0x2000

# An error or a hang-up ends every wait.
READ = IN | PRI | ERR | HUP | RDHUP
WRITE = OUT | ERR | HUP
RARE = PRI | ERR | HUP | RDHUP


class Registration:
    """One descriptor on one hub.  It is also what a greenlet that waits for I/O is parked on."""

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

    def __init__(self, hub: Hub, fd: int, owners: int) -> None:
        self.hub: Hub | None = hub
        self.fd = fd
        # Unknown yet: true means "ask the kernel".
        self.readable = True
        self.hung_up = False
        self.closed = False
        self.reader: Any = None
        self.writer: Any = None
        # The second and further greenlets that wait for the same direction.
        self.crowd: list[tuple[int, Any]] | None = None
        # Level-triggered pollers report only what they were armed for; edge-triggered ones need no arming.
        self.arm = hub.poller.arm
        # The Descriptors that use it.  Without any it is that of a bare number, of which nobody tells us the
        # end, and unregistered when its last wait ends.
        self.owners = owners

    def __repr__(self) -> str:
        return f"<Registration of descriptor {self.fd}>"

    @without_sections
    def wait_read(self, greenlet: Any, timeout: float | None = None) -> bool:
        """Park *greenlet*, the calling one, until the descriptor may be readable.

        False when *timeout* seconds have passed.  Raises OSError(EBADF) when it is closed meanwhile; where it
        was closed before, who tries again is told so.
        """
        if greenlet.interrupts:
            raise greenlet.interrupts.popleft()
        if self.reader is None:
            self.reader = greenlet
            hub = self.hub
            if timeout is None and self.arm is None and hub is not None:
                # As _park; each request that a server answers comes through here.
                greenlet.waiter = self
                greenlet.credit = CREDIT
                hub.ready.popleft().switch()
                greenlet.waiter = None
                if greenlet.thrown is None and not self.closed:
                    return True
                self._raise_outcome(greenlet)
        else:
            self._join_crowd(READ, greenlet)
        return self._park(greenlet, IN, timeout)

    @without_sections
    def wait_write(self, greenlet: Any, timeout: float | None = None) -> bool:
        """As ``wait_read``, until it may be writable."""
        if greenlet.interrupts:
            raise greenlet.interrupts.popleft()
        if self.writer is None:
            self.writer = greenlet
        else:
            self._join_crowd(WRITE, greenlet)
        return self._park(greenlet, OUT, timeout)

    def _join_crowd(self, bits: int, greenlet: Any) -> None:
        crowd = self.crowd
        if crowd is None:
            crowd = self.crowd = []
        crowd.append((bits, greenlet))

    def _park(self, greenlet: Any, bits: int, timeout: float | None) -> bool:
        hub = self.hub
        if hub is None:
            # Since the caller has got hold of this, it was closed or, in the child of a fork, forgotten: who
            # tries again will see.
            self._leave(greenlet)
            return True
        if self.arm is not None:
            self.arm(self.fd, bits)
        greenlet.waiter = self
        greenlet.credit = CREDIT
        if timeout is None:
            hub.ready.popleft().switch()
        else:
            expiry = _Expired()
            timer = hub.timers.call_later(max(0.0, timeout), self.throw, greenlet, expiry)
            try:
                hub.ready.popleft().switch()
            finally:
                timer.cancel()
        greenlet.waiter = None
        if timeout is not None and greenlet.thrown is expiry:
            greenlet.thrown = None
            return False
        if greenlet.thrown is not None or self.closed:
            self._raise_outcome(greenlet)
        return True

    def _raise_outcome(self, greenlet: Any) -> NoReturn:
        """Raise what has ended the wait of *greenlet*: what was thrown, or that the descriptor is closed."""
        thrown = greenlet.thrown
        if thrown is not None:
            greenlet.thrown = None
            raise thrown
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _leave(self, greenlet: Any) -> bool:
        """Stop waking *greenlet*; False if it has been woken already."""
        if self.reader is greenlet:
            self.reader = None
        elif self.writer is greenlet:
            self.writer = None
        else:
            crowd = self.crowd or []
            for entry in crowd[:]:
                if entry[1] is greenlet:
                    return _taken_out(entry, crowd)
            return False
        return True

    def throw(self, greenlet: Any, exception: BaseException) -> bool:
        """End *greenlet*'s wait with *exception*; False if it has ended already."""
        hub = self.hub
        if hub is None or not self._leave(greenlet):
            return False
        greenlet.thrown = exception
        hub.ready.append(greenlet)
        hub.look_again()
        return True

    def wake_crowd(self, mask: int) -> None:
        """Wake all who wait for what *mask* reports; each tries its call again, and most may park again."""
        hub = self.hub
        crowd = self.crowd
        if hub is None or crowd is None:
            return  # closed by a signal handler since the event was looked at
        reported = [entry for entry in crowd if entry[0] & mask]
        for entry in reported:
            if _taken_out(entry, crowd):
                hub.ready.append(entry[1])
        if reported and not crowd:
            self.crowd = None

    def wake_all(self) -> None:
        """Have everyone who waits try again; on the hub's thread."""
        hub = self.hub
        if hub is None:
            return
        self.readable = True
        reader, self.reader = self.reader, None
        if reader is not None:
            hub.ready.append(reader)
        writer, self.writer = self.writer, None
        if writer is not None:
            hub.ready.append(writer)
        self.wake_crowd(READ | WRITE)
        hub.look_again()

    def close(self) -> None:
        """Wake everyone with EBADF; on the hub's thread, after the poller has forgotten the number."""
        hub = self.hub
        if hub is None:
            return
        self.closed = True
        if hub.registrations.get(self.fd) is self:
            # A signal handler that has forked in between has taken it out in the child.
            hub.registrations.pop(self.fd, None)
        self.wake_all()
        self.forget()

    def forget(self) -> None:
        """The hub has ended, or nobody waits in the child of a fork: who uses it next registers anew."""
        self.hub = None
        self.closed = True
        self.reader = self.writer = self.crowd = None

    def after_fork(self, survivors: list[Any]) -> None:
        """In the child: of those who wait here only *survivors* are left, and try again."""
        hub = self.hub
        if hub is None:
            return
        if self.reader not in survivors:
            self.reader = None
        if self.writer not in survivors:
            self.writer = None
        self.crowd = [entry for entry in self.crowd or () if greenlet_of(entry[1]) in survivors] or None
        # Who was woken before the fork has not gone on yet.
        woken = any(getattr(survivor, "waiter", None) is self for survivor in survivors)
        if not (woken or self.reader or self.writer or self.crowd):
            del hub.registrations[self.fd]
            self.forget()
            return
        try:
            hub.poller.register(self.fd)
        except OSError:
            self.close()  # its number was closed behind our back
            return
        self.hung_up = False
        self.wake_all()


def _taken_out(entry: tuple[int, Any], crowd: list[tuple[int, Any]]) -> bool:
    try:
        crowd.remove(entry)
    except ValueError:
        return False  # by a signal handler, just now
    return True


class _Expired(BaseException):
    """Tells the end of a wait's own timeout from what others throw; never leaves this module."""


# Not one in each Descriptor: the child of a fork has to find those that are held by threads it does not have.
# Reentrant, because a signal handler or a finalizer may close something between any two bytecodes.
_locks: list[Any] = []


def _make_locks() -> None:
    _locks[:] = [RLock() for _ in range(64)]


_make_locks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_locks)


class Descriptor:
    """A descriptor that green code owns, on however many hubs it is used."""

    __slots__ = ("fd", "registrations", "closed")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.registrations: list[Registration] = []
        self.closed = False

    def registration(self) -> Registration:
        """This descriptor on the calling greenlet's hub, registered there now if it was not.

        Raises OSError(EBADF) once it is closed, and what the poller raises (EPERM: always ready).
        """
        hub: Hub = current_greenlet().hub
        with _locks[self.fd % 64]:
            if self.closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            live = [registration for registration in self.registrations if registration.hub is not None]
            for registration in live:
                if registration.hub is hub:
                    return registration
            existing = _still_used(hub, self.fd)
            if existing is not None:
                registration = existing
                if registration.arm is None:
                    # The number may have been closed behind our back and used anew; the kernel has
                    # then forgotten it.  (Others are armed at each wait; this would disarm them.)
                    hub.poller.register(self.fd)
                registration.readable = True
                registration.owners += 1
            else:
                registration = _register(hub, self.fd, owners=1)
            live.append(registration)
            self.registrations = live
            return registration

    def close(self) -> None:
        """Unregister everywhere and wake all who wait, with EBADF; any thread, before the real close.

        Where somebody else uses the number, too, it stays registered, and those who wait try again.

        The pollers forget the number here and now, because the kernel may give it out again as soon as it
        is closed; the waiters of other hubs are woken by those hubs.
        """
        with _locks[self.fd % 64]:
            self.closed = True
            registrations, self.registrations = self.registrations, []
            for registration in registrations:
                registration.owners -= 1
                if registration.owners > 0:
                    continue
                # Also for who asks before its hub has carried this out, and maybe for another file.
                registration.closed = True
                hub = registration.hub
                if hub is not None and not hub.inbox.closed:
                    hub.poller.unregister(self.fd)
        if registrations:
            own = thread_hub()
            for registration in registrations:
                other = registration.hub
                wake = registration.close if registration.closed else registration.wake_all
                if other is own:
                    wake()
                elif other is not None:
                    other.inbox.post(Call(wake))


def _register(hub: Hub, fd: int, owners: int) -> Registration:
    # Known to the hub first: if a signal handler forks before the poller knows it, the child forgets it.
    registration = hub.registrations[fd] = Registration(hub, fd, owners)
    try:
        hub.poller.register(fd)
    except BaseException:
        hub.registrations.pop(fd, None)
        raise
    return registration


def _still_used(hub: Hub, fd: int) -> Registration | None:
    """The registration of *fd* on the calling thread's *hub*, unless its owners were dropped, not closed."""
    table = hub.registrations
    registration = table.get(fd)
    if registration is None or registration.closed:
        return None
    if registration.owners:
        # Nothing but the table refers to one whose owners were dropped.
        used = ref(registration)
        del registration, table[fd]
        registration = used()
        if registration is not None:
            table[fd] = registration
    return registration


def wait_descriptor(fd: int, bits: int, timeout: float | None) -> bool:
    """Park the calling greenlet until *fd* is ready for *bits*, IN or OUT; False after *timeout* seconds.

    For a bare number.  Nobody tells us when it is closed and its number used anew, so it is registered
    for the time of the wait only, unless a Descriptor has it.
    """
    if ready_now(fd, bits):
        return True
    greenlet = current_greenlet()
    hub: Hub = greenlet.hub
    deadline = None if timeout is None else monotonic() + timeout
    while True:
        # Anew each time: whoever was woken together with us may have let the registration go.
        registration = _registration_of_number(hub, fd)
        wait = registration.wait_read if bits & IN else registration.wait_write
        try:
            if not wait(greenlet, None if deadline is None else deadline - monotonic()):
                # Maybe it came in time, and the hub was too busy to look.
                return ready_now(fd, bits)
        finally:
            _let_go(registration)
        if ready_now(fd, bits):
            return True


def _registration_of_number(hub: Hub, fd: int) -> Registration:
    """The registration of a bare number on the calling thread's *hub*; ``_let_go`` ends it."""
    registration = hub.registrations.get(fd)
    if registration is None or registration.closed:
        registration = _register(hub, fd, owners=0)
    elif registration.arm is None:
        # As in Descriptor.registration; also where it is that of a socket which was dropped, not closed.
        hub.poller.register(fd)
    return registration


class _AnyReady(Waiter):
    """Parked on several registrations, each of which holds it among its crowd as if it were a greenlet.

    The first of its turns in the ready queue claims it; further ones pass the turn on.
    """

    __slots__ = ()

    def switch(self) -> Any:
        # In a loop: there may be as many turns in a row as there are descriptors.
        entry: Any = self
        while type(entry) is _AnyReady:
            entry = entry.greenlet if entry.claim() else entry.hub.ready.popleft()
        return entry.switch()


def wait_any(wanted: Iterable[tuple[int, int]], timeout: float | None) -> bool:
    """Park the calling greenlet until one of several descriptors may be ready; False after *timeout* seconds.

    *wanted*: pairs of a bare number and the bits to wait for, READ, WRITE or both.  The caller has just
    asked the kernel, found none of them ready, and asks again afterwards.
    """
    waiter = _AnyReady()
    hub = waiter.hub
    registrations = []
    try:
        for fd, bits in wanted:
            try:
                registration = _registration_of_number(hub, fd)
            except PermissionError:
                continue  # a regular file, say: what it is not ready for now it never will be
            registration._join_crowd(bits, waiter)
            registrations.append(registration)
            if registration.arm is not None:
                registration.arm(fd, bits)
        return waiter.park(timeout)
    finally:
        for registration in registrations:
            registration._leave(waiter)
            _let_go(registration)


def _let_go(registration: Registration) -> None:
    """Unregister a bare number whose last wait has ended."""
    hub = registration.hub
    if (
        hub is not None
        and not registration.owners
        and registration.reader is registration.writer is None
        and not registration.crowd
        and hub.registrations.get(registration.fd) is registration
    ):
        hub.registrations.pop(registration.fd, None)  # as in Registration.close
        hub.poller.unregister(registration.fd)


def ready_now(fd: int, bits: int) -> bool:
    """Ask the kernel whether *fd* is ready for *bits*, without waiting."""
    if poll is not None:
        asked = poll()
        asked.register(fd, (_select.POLLIN | _select.POLLPRI) if bits & IN else _select.POLLOUT)
        for _, events in asked.poll(0):
            if events & _select.POLLNVAL:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return True
        return False
    readers, writers = ([fd], []) if bits & IN else ([], [fd])
    return any(select(readers, writers, [], 0))
