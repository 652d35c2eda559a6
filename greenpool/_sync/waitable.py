"""Waitable: the common part of Event and AsyncResult.

*What guards what.*  The flag (or the outcome) is written under ``_guard``, in one step with claiming all
waiters.  A waiter gets in line without the guard, by one ``deque.append``, and *then* looks at the flag.  The
order has to be the reverse of that in ``set``, which writes the flag and *then* looks at the line:

    wait:  get in line; if the flag is set by now, go on; if not, park
    set:   write the flag, touch the line (``rotate(0)``), claim all waiters in it

*No wake-up is lost.*  An operation on a deque is one step for all other threads, without the GIL too,
because it holds the deque's own mutex throughout.  If the append comes before the rotate, ``set`` finds the
waiter.  If the append comes after it, then the flag was written before, and the look that follows the
append sees it: the mutex orders the two threads.  (Without the rotate, on processors that reorder memory
accesses, both looks may miss the other thread's write.)

*The guard is reentrant*, because a signal handler or a finalizer may call ``set`` between any two steps
below, on the same thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .._core.current import current_hub
from .._core.native import RLock
from .._core.waiter import EXPIRED, WOKEN, Claimable, Waiter
from .arguments import seconds


class Link:
    """A rawlink: stands among the waiters, and being woken means that its hub calls *callback(source)*.

    The hub is that of the thread that made the link.
    """

    __slots__ = ("callback", "source", "hub", "state")

    def __init__(self, callback: Callable[..., object], source: object) -> None:
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        self.callback = callback
        self.source = source
        self.hub = current_hub()
        self.state = 0

    def claim(self, value: object = None, state: int = WOKEN) -> bool:
        if self.state:
            return False
        self.state = state
        return True

    def resume(self) -> None:
        self.hub.post(self.callback, self.source)


def find_link(waiting: Iterable[Claimable], callback: Callable[..., object]) -> Link | None:
    """The link of *callback* among *waiting*, other than those that have left."""
    for entry in waiting:
        if type(entry) is Link and not entry.state and entry.callback == callback:
            return entry
    return None


class WaitLine(deque[Any]):
    """The waiters, in order of arrival.  Any thread appends; all else is done under the guard of its owner.

    To take a waiter out of the middle would take time in proportion to the length.  So those that were killed
    or timed out stay, claimed, until they come to the head, or until they may be more than half of all.

    A look at the head and a ``popleft`` that follows it at once are one step, for signal handlers and
    finalizers, too: those run between two calls, and there is none between the two.
    """

    # How many have left since the last clearing; some of them may be out of the line already.
    left = 0

    def entries(self) -> Iterator[Claimable]:
        """All of them.  By index: an iterator, or a copy, fails when somebody comes meanwhile."""
        for index in range(len(self)):
            try:
                entry = self[index]
            except IndexError:
                return  # a signal handler has served the line
            yield entry

    def leave(self, waiter: Claimable) -> None:
        """*waiter* gives up; nobody will claim it any more."""
        waiter.claim(None, EXPIRED)
        while self and self[0].state:
            self.popleft()
        self.left += 1
        if self.left > 16 and self.left * 2 > len(self):
            self._clear_out()

    def _clear_out(self) -> None:
        """Take out the waiters that nobody will claim.

        Who still waits stays in the line throughout, where a signal handler's ``set`` or ``release`` finds
        it.  From the right: those that come meanwhile shift no index, and where a handler has taken some from
        the left, what is looked at twice or not at all does no harm.
        """
        self.left = 0
        for index in range(len(self) - 1, -1, -1):
            try:
                if self[index].state:
                    del self[index]
            except IndexError:
                continue  # a signal handler has served the line


class Waitable:
    """The common part of Event and AsyncResult: all waiters are woken together."""

    __slots__ = ("_guard", "_waiting", "__dict__", "__weakref__")

    def __init__(self) -> None:
        self._guard = RLock()
        # None until the first wait.
        self._waiting: WaitLine | None = None

    def ready(self) -> bool:
        raise NotImplementedError

    def _claim_all(self) -> list[Claimable]:
        """Claim every waiter; the guard is held, and the caller resumes them when it has let go of it."""
        waiting = self._waiting
        if waiting is None:
            return []
        waiting.rotate(0)
        woken = []
        while waiting:
            waiter = waiting.popleft()
            if waiter.claim(True):
                woken.append(waiter)
        return woken

    def _line(self) -> WaitLine:
        with self._guard:
            if self._waiting is None:
                self._waiting = WaitLine()
            return self._waiting

    def _wait(self, timeout: float | None) -> bool:
        timeout = seconds(timeout)
        waiting = self._waiting
        if waiting is None:
            waiting = self._line()
        waiter = Waiter(self._guard)
        try:
            waiting.append(waiter)
            if self.ready():
                with self._guard:
                    if waiter.claim(True):
                        waiting.leave(waiter)
                        return True
            return waiter.park(timeout)
        finally:
            if waiter.state != WOKEN:
                with self._guard:
                    waiting.leave(waiter)

    def rawlink(self, callback: Callable[..., object]) -> None:
        """Have the calling thread's hub call *callback(self)*, once, when this is ready, at once if it is.

        The callback runs in the hub's loop and must not wait.
        """
        link = Link(callback, self)
        waiting = self._line()
        waiting.append(link)
        if self.ready():
            with self._guard:
                claimed = link.claim(True)
                waiting.leave(link)
            if claimed:
                link.resume()

    def unlink(self, callback: Callable[..., object]) -> None:
        """Take back a ``rawlink`` whose callback has not been called yet."""
        waiting = self._line()
        with self._guard:
            link = find_link(waiting.entries(), callback)
            if link is not None:
                waiting.leave(link)

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: the waiters, and the holder of the guard, exist only in the parent."""
        self._guard = RLock()
        self._waiting = None
