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

*Order.*  Links are called, and waiters woken, in the order in which they came, as far as they belong to one
hub.  So a waiter that came after a link of its own hub takes the way that the link's call takes, through the
inbox.  A link that was claimed is *due*, and ``unlink`` still finds it, until its hub calls it.  Hubs do not
wait for each other here, because a link may belong to a plain thread that never waits again.

*The guard is reentrant*, because a signal handler or a finalizer may call ``set`` between any two steps
below, on the same thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .._core.current import cannot_park, current_hub, thread_hub
from .._core.error_report import call_reported
from .._core.native import RLock
from .._core.state import HubState
from .._core.timeout import Timeout, ends_in_time
from .._core.waiter import EXPIRED, WOKEN, Claimable, Waiter
from .arguments import seconds

if TYPE_CHECKING:
    from .._core.waiter import Guard


class Link:
    """A rawlink: stands among the waiters, and being woken means that its hub calls *callback(source)*.

    The hub is that of the thread that made the link.
    """

    __slots__ = ("callback", "source", "hub", "state", "guard", "due", "posted")

    def __init__(
        self, callback: Callable[..., object], source: object, guard: Guard, due: list[Link]
    ) -> None:
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        self.callback = callback
        self.source = source
        self.hub = current_hub()
        self.state = 0
        # The guard of *source* and, under it, those of its links that were claimed and not yet called.
        self.guard = guard
        self.due = due
        # Written after the post; before that a second post does no harm, because only the first calls it.
        self.posted = False

    def claim(self, value: object = None, state: int = WOKEN) -> bool:
        if self.state:
            return False
        self.state = state
        if state == WOKEN:
            self.due.append(self)
        return True

    def resume(self) -> None:
        if self.posted:
            return
        if not self.hub.post(self._call):
            self._leave()  # its hub is closed
        self.posted = True

    def _call(self) -> None:
        if self._leave():
            call_reported(self.hub, self.callback, (self.source,))

    def _leave(self) -> bool:
        """It is not due any more; False if it was unlinked."""
        with self.guard:
            for index, link in enumerate(self.due):
                if link is self:
                    del self.due[index]
                    return True
        return False


def resume_in_order(woken: list[Claimable]) -> None:
    """Resume all that have been claimed, so that those of one hub go on in this order; without the guard."""
    linked: set[HubState] = set()
    for entry in woken:
        if isinstance(entry, Link):
            linked.add(entry.hub)
            entry.resume()
        elif linked and isinstance(entry, Waiter) and entry.hub in linked:
            entry.resume_behind_posts()
        else:
            entry.resume()


def find_link(waiting: Iterable[Claimable], callback: Callable[..., object]) -> Link | None:
    """The link of *callback* among *waiting*, other than those that have left."""
    for entry in waiting:
        if type(entry) is Link and not entry.state and entry.callback == callback:
            return entry
    return None


def unlink_due(due: list[Link] | None, callback: Callable[..., object]) -> bool:
    """Take the first link of *callback* out of *due*, under the guard; False if there is none."""
    for index, link in enumerate(due or ()):
        if link.callback == callback:
            del due[index]  # type: ignore[union-attr]  # it has an entry
            return True
    return False


class WaitLine(deque[Any]):
    """The waiters, in order of arrival.  Any thread appends; all else is done under the guard of its owner.

    To take a waiter out of the middle would take time in proportion to the length.  So those that were killed
    or timed out stay, claimed, until they come to the head, or until they may be more than half of all.

    A look at the head and a ``popleft`` that follows it at once are one step, for signal handlers and
    finalizers, too: those run behind a call or a jump backwards, and there is none between the two.  (The
    condition of a ``while`` has such a jump behind it.)
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
        try:
            while self:
                if not self[0].state:
                    break
                self.popleft()
        except IndexError:
            pass  # a signal handler has served the line
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

    __slots__ = ("_guard", "_waiting", "_due", "__dict__", "__weakref__")

    def __init__(self) -> None:
        self._guard = RLock()
        # None until the first wait.
        self._waiting: WaitLine | None = None
        # Links that were claimed and not yet called; None until the first link.  Without the guard it says no
        # more than that: the thread that has made this ready may not have claimed them yet.
        self._due: list[Link] | None = None

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
            try:
                waiter = waiting.popleft()
            except IndexError:
                break  # a signal handler has served the line
            if waiter.claim(True):
                woken.append(waiter)
        return woken

    def _line(self) -> WaitLine:
        with self._guard:
            if self._waiting is None:
                self._waiting = WaitLine()
            return self._waiting

    def _post_due_links(self) -> bool:
        """Post the links that are due on the calling thread's hub; False if there are none.

        The thread that has claimed them may not have come to that yet.
        """
        hub = thread_hub()
        with self._guard:
            links = [link for link in self._due or () if link.hub is hub]
        for link in links:
            link.resume()
        return bool(links)

    def _let_links_run(self, timeout: float | Timeout | None = None) -> None:
        """It is ready: have the links that are due on the caller's hub called before the caller goes on."""
        if isinstance(timeout, Timeout):
            ends_in_time(timeout, self._let_links_run)
            return
        if not self._post_due_links() or cannot_park():
            return
        waiter = Waiter()
        waiter.hub.call_soon(waiter.wake)
        waiter.park(timeout)

    def _wait(self, timeout: float | Timeout | None) -> bool:
        if isinstance(timeout, Timeout):
            return ends_in_time(timeout, self._wait, None)
        timeout = seconds(timeout)
        waiting = self._waiting
        if waiting is None:
            waiting = self._line()
        waiter = Waiter(self._guard)
        try:
            waiting.append(waiter)
            if self.ready():
                with self._guard:
                    claimed = waiter.claim(True)
                    if claimed:
                        waiting.leave(waiter)
                if claimed:
                    self._let_links_run(timeout)
                    return True
            return waiter.park(timeout)
        finally:
            if waiter.state != WOKEN:
                with self._guard:
                    waiting.leave(waiter)

    def rawlink(self, callback: Callable[..., object]) -> None:
        """Have the calling thread's hub call *callback(self)*, once, when this is ready, soon if it is.

        The callback runs in the hub's loop and must not wait.  The links of one hub are called in the order
        in which they were added, before a greenlet of that hub that came to wait later goes on.
        """
        with self._guard:
            if self._due is None:
                self._due = []
        link = Link(callback, self, self._guard, self._due)
        waiting = self._line()
        waiting.append(link)
        if self.ready():
            with self._guard:
                claimed = link.claim(True)
                waiting.leave(link)
            if claimed:
                self._post_due_links()

    def unlink(self, callback: Callable[..., object]) -> None:
        """Take back a ``rawlink`` whose callback has not been called yet, even if it is due already."""
        waiting = self._line()
        with self._guard:
            if unlink_due(self._due, callback):
                return
            link = find_link(waiting.entries(), callback)
            if link is not None:
                waiting.leave(link)

    def linkcount(self) -> int:
        """The number of greenlets and threads that wait and of links that were not called; a hint."""
        waiting = 0 if self._waiting is None else sum(not entry.state for entry in self._waiting.entries())
        return waiting + len(self._due or ())

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: the waiters, and the holder of the guard, exist only in the parent."""
        self._guard = RLock()
        self._waiting = None
        self._due = None
