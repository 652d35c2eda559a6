"""Wakers: descriptors that a hub's poller watches, to which any thread may write to end its sleep."""

from __future__ import annotations

import os

from .native import close, pipe, read, write


class EventWaker:
    """An eventfd.  Edge-triggered pollers need no draining read, because each write is a new edge."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def wake(self) -> None:
        os.eventfd_write(self.fd, 1)

    def drain(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass  # nobody has written since the last drain

    def close(self) -> None:
        close(self.fd)


class PipeWaker:
    """A pipe, for systems without eventfd."""

    __slots__ = ("fd", "_write_fd")

    def __init__(self) -> None:
        self.fd, self._write_fd = pipe()
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
