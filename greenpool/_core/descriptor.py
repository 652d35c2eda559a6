"""Descriptors of green code, on however many hubs they are used, and waits for bare numbers.

registration.py says what one hub knows of a descriptor.  Here is what all hubs share: the table of a
descriptor's registrations, the question whether it is closed, and the number of owners of each registration.
The lock of the number guards the three, so no hub can register a number that is being closed.
"""

from __future__ import annotations

import errno
import os
import select as _select
from _weakref import ref
from collections.abc import Iterable
from time import monotonic

from .current import current_greenlet, thread_hub
from .native import RLock, poll, select
from .pollers.events import IN
from .registration import Registration
from .state import HubState, Registered
from .typing import TYPE_CHECKING
from .waiter import Waiter

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

# Locks by number.  A lock in each Descriptor would be out of reach for the child of a fork, which has to
# replace those that its parent's other threads hold.  Reentrant, because a signal handler or a finalizer may
# close something between any two bytecodes.
_locks: list[AbstractContextManager[object]] = []


def renew_descriptor_locks() -> None:
    """At the start, and in the child of a fork, where a thread that is gone may hold one."""
    _locks[:] = [RLock() for _ in range(64)]


renew_descriptor_locks()


class Descriptor:
    """A descriptor that green code owns, on however many hubs it is used."""

    __slots__ = ("fd", "registrations", "closed")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.registrations: list[Registered] = []
        self.closed = False

    def registration(self) -> Registered:
        """This descriptor on the calling greenlet's hub, registered there now if it was not.

        Raises OSError(EBADF) once it is closed, and what the poller raises (EPERM: always ready).
        """
        hub: HubState = current_greenlet().hub
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
                    # The number may have been closed behind our back and used anew, and then the kernel has
                    # forgotten it.  (A level-triggered poller is armed at each wait; this would disarm it.)
                    hub.poller.register(self.fd)
                registration.readable = True
                registration.owners += 1
            else:
                registration = _register(hub, self.fd, owners=1)
            live.append(registration)
            self.registrations = live
            return registration

    def close(self) -> None:
        """Unregister everywhere and wake every waiter, with EBADF; any thread, before the real close.

        A number that has another owner stays registered, and the greenlets that wait for it try again.

        The pollers forget the number here and now, because the kernel may give it out again as soon as it
        is closed; each other hub wakes its own waiters.
        """
        with _locks[self.fd % 64]:
            self.closed = True
            registrations, self.registrations = self.registrations, []
            for registration in registrations:
                registration.owners -= 1
                if registration.owners > 0:
                    continue
                # Set now, not when the hub gets to it: the number may already belong to another file.
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
                    other.post(wake)

    def wake_readers(self) -> None:
        """Have the greenlets that wait for input try again, on all hubs; any thread.

        For bytes that the kernel has no longer.
        """
        with _locks[self.fd % 64]:
            registrations = self.registrations
        own = thread_hub()
        for registration in registrations:
            hub = registration.hub
            if hub is not own:
                if hub is not None:
                    hub.post(registration.wake_all)
            elif registration.waiters():
                registration.wake_all()


def _register(hub: HubState, fd: int, owners: int) -> Registration:
    # Known to the hub first: if a signal handler forks before the poller knows it, the child forgets it.
    registration = hub.registrations[fd] = Registration(hub, fd, owners)
    try:
        hub.poller.register(fd)
    except BaseException:
        hub.registrations.pop(fd, None)
        raise
    return registration


def _still_used(hub: HubState, fd: int) -> Registered | None:
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

    For a bare number.  Nobody reports its close and the reuse of its number, so it is registered for the
    time of the wait only, unless a Descriptor has it.
    """
    if ready_now(fd, bits):
        return True
    greenlet = current_greenlet()
    hub: HubState = greenlet.hub
    deadline = None if timeout is None else monotonic() + timeout
    while True:
        # Anew each time: another greenlet, woken together with this one, may have let the registration go.
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


def _registration_of_number(hub: HubState, fd: int) -> Registered:
    """The registration of a bare number on the calling thread's *hub*; ``_let_go`` ends it."""
    registration = hub.registrations.get(fd)
    if registration is None or registration.closed:
        registration = _register(hub, fd, owners=0)
    elif registration.arm is None:
        # Registered anew for the reason in Descriptor.registration; it may be that of a socket which was
        # dropped, not closed.
        hub.poller.register(fd)
    return registration


def wait_any(wanted: Iterable[tuple[int, int]], timeout: float | None) -> bool:
    """Park the calling greenlet until one of several descriptors may be ready; False after *timeout* seconds.

    *wanted*: pairs of a bare number and the bits to wait for, READ, WRITE or both.  The caller has just
    asked the kernel, found none of them ready, and asks again afterwards.
    """
    waiter = Waiter()
    hub = waiter.hub
    registrations = []
    try:
        for fd, bits in wanted:
            try:
                registration = _registration_of_number(hub, fd)
            except PermissionError:
                continue  # a regular file, say: what it is not ready for now it never will be
            registration.join_crowd(bits, waiter)
            registrations.append(registration)
            if registration.arm is not None:
                registration.arm(fd, bits)
        return waiter.park(timeout)
    finally:
        for registration in registrations:
            registration.leave_crowd(waiter)
            _let_go(registration)


def _let_go(registration: Registered) -> None:
    """Unregister a bare number whose last wait has ended."""
    hub = registration.hub
    if (
        hub is not None
        and not registration.owners
        and not registration.waiters()
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
