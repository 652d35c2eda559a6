"""A hub's inbox: the only way in from another thread.

Any thread posts; the hub's thread takes.  The lock makes three things one step: the question whether the
inbox is still open, the append, and the wake-up of a sleeping hub.  So nothing that was accepted is left
behind, and a write to the waker never goes to a descriptor that the hub has closed meanwhile.

The waker is written at most once per sleep: the hub says that it is asleep *before* it looks at the queue
for the last time, and whoever posts first after that takes the flag down.

The lock is reentrant because a Python signal handler may post (say, set an event) in the main thread
between any two bytecodes, also between those of a post.  Both orders of every pair of steps below are
right when a whole post happens in between.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from .native import RLock, close, pipe, read, write


class Call:
    """A request that the hub itself carries out: ``callback(*args)``, which must not wait."""

    __slots__ = ("callback", "args")

    def __init__(self, callback: Callable[..., object], *args: Any) -> None:
        self.callback = callback
        self.args = args


class EventWaker:
    """An eventfd.  Edge-triggered pollers need no draining read: each write is a new edge."""

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
    """A pipe, where there is no eventfd."""

    __slots__ = ("fd", "_write_fd")

    def __init__(self) -> None:
        self.fd, self._write_fd = pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def wake(self) -> None:
        try:
            write(self._write_fd, b"\0")
        except BlockingIOError:
            # Full, as an edge-triggered poller never drains it; and only a write is an edge.
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


class Inbox:
    __slots__ = ("queue", "lock", "asleep", "closed", "accepting", "waker")

    def __init__(self, waker: Waker) -> None:
        self.queue: deque[Any] = deque()
        self.lock = RLock()
        self.asleep = False
        self.accepting = True
        self.closed = False
        self.waker = waker

    def post(self, item: object) -> bool:
        """Hand *item* (a greenlet to resume, a task to start or a Call) to the hub; any thread.

        False where the hub is closed: then nobody on it waits for anything any more.
        """
        with self.lock:
            if self.closed:
                return False
            self.queue.append(item)
            if self.asleep:
                # In this order: the hub may have woken and lain down again meanwhile, so that the flag is
                # that of its next sleep.
                self.asleep = False
                try:
                    self.waker.wake()
                except BaseException:
                    # KeyboardInterrupt, before it was written.  Without the flag nobody else would do it.
                    self.waker.wake()
                    raise
            return True

    # From here on: the hub's own thread only.

    def may_sleep(self) -> bool:
        """Say that the hub goes to sleep; False where something has come in meanwhile."""
        self.asleep = True
        # Without the lock.  This and a post's append are two steps on one deque, hence in order, without the
        # GIL too (see "No wake-up is lost" in lock.py): so either the item is seen here, or the poster sees
        # that the hub is asleep.
        self.queue.rotate(0)
        if self.queue:
            self.asleep = False
            return False
        return True

    def awake(self) -> None:
        # Without the lock, which whoever has woken the hub may still hold.  At worst a post that comes at
        # this moment writes to the waker in vain.
        self.asleep = False

    def close_if_empty(self) -> bool:
        with self.lock:
            if self.queue:
                return False
            self.closed = True
            self.accepting = False
            return True

    def after_fork(self, waker: Waker) -> None:
        """In the child: the lock may be held by a thread that does not exist here."""
        self.lock = RLock()
        self.queue.clear()
        self.asleep = False
        self.waker = waker
