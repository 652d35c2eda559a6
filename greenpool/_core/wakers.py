"""Wakers: descriptors that a hub's poller watches, to which any thread may write to end its sleep.

The descriptors of a hub have numbers from ``OWN_NUMBERS`` on.  The kernel gives the lower ones to the
program, in the order in which it does so without greenpool, because some programs count on that order.
"""

from __future__ import annotations

import os

from .native import close, eventfd_read, eventfd_write, pipe, read, write
from .speedups import speedups

# More than a program has open when its first hub begins, and less than 64, where Linux needs a larger table.
OWN_NUMBERS = 32


def renumbered(fd: int) -> int:
    """Close *fd* and return a duplicate, not inheritable, with a number of ``OWN_NUMBERS`` or more.

    Return *fd* itself if there is no such number to be had.
    """
    if speedups is not None:
        number: int = speedups.renumber(fd, OWN_NUMBERS)
        return number
    passed = []
    try:
        while fd < OWN_NUMBERS:
            number = os.dup(fd)
            passed.append(fd)
            fd = number
    except OSError:
        pass  # the limit leaves no other number, and the last duplicate does as well
    for number in passed:
        close(number)
    return fd


class EventWaker:
    """An eventfd.  Edge-triggered pollers need no draining read, because each write is a new edge."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = renumbered(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def wake(self) -> None:
        eventfd_write(self.fd, 1)

    def drain(self) -> None:
        try:
            eventfd_read(self.fd)
        except BlockingIOError:
            pass  # nobody has written since the last drain

    def close(self) -> None:
        close(self.fd)


class PipeWaker:
    """A pipe, for systems without eventfd."""

    __slots__ = ("fd", "_write_fd")

    def __init__(self) -> None:
        self.fd, self._write_fd = map(renumbered, pipe())
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def wake(self) -> None:
        try:
            write(self._write_fd, b"\0")
        except BlockingIOError:
            # The pipe is full, because an edge-triggered poller never drains it.  Only a write makes an edge.
            self.drain()
            write(self._write_fd, b"\0")

    def drain(self) -> None:
        try:
            while len(read(self.fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass  # empty

    def close(self) -> None:
        close(self.fd)
        close(self._write_fd)


Waker = EventWaker | PipeWaker


def make_waker() -> Waker:
    return EventWaker() if hasattr(os, "eventfd") else PipeWaker()
