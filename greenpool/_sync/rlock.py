"""RLock: a lock that its owner may take again."""

from __future__ import annotations

from .._core.carrier import Carrier
from .._core.current import finalizing_greenlet, getcurrent
from .._core.speedups import replace_twins, speedups
from .._core.state import HubTask
from .._core.task import Task
from .._core.timeout import Timeout, ends_in_time
from .._core.waits import awaited_lock
from .arguments import lock_timeout
from .line import Line


def me() -> object:
    """The caller's identity: its task, because carriers pass from one to the next, or the greenlet itself."""
    try:
        greenlet = getcurrent()
    except RuntimeError:
        greenlet = finalizing_greenlet()
    # A carrier between two tasks has none: it runs finalizers of objects that the last task has left.
    if type(greenlet) is Carrier and greenlet.task is not None:
        return greenlet.task
    return greenlet


class RLock(Line):
    """A lock that its owner, a greenlet or a plain thread, may take again (as ``threading.RLock``).

    A context manager.  Every method may be called from any thread.  Those that do not wait may also be called
    from a hub's callbacks.  A signal handler or finalizer that interrupts the owner may take the lock, too.
    """

    # The permit is the *absence* of the one key of ``_owner``.  So taking the lock and becoming its owner are
    # one step, and no signal handler can come in between and wait for a lock that has no owner yet.  For the
    # same reason ``_again`` counts only the acquires after the first.
    __slots__ = ("_owner", "_again")

    def __init__(self) -> None:
        Line.__init__(self)
        self._owner: dict[None, object] = {}
        self._again = 0

    def __repr__(self) -> str:
        owner = self._owner.get(None)
        # Once a thread has a hub, its main greenlet has a task too, and that task has a name.
        name = getattr(owner, "task", None)
        if name is None:
            name = owner
        details = f" owner={name!r} count={self._again + 1 if owner is not None else 0}"
        return self._described(owner is not None, details)

    def acquire(self, blocking: bool = True, timeout: float | Timeout | None = -1) -> bool:
        """Take the lock, even if it is the caller's already; arguments and result are those of Lock."""
        try:
            greenlet = getcurrent()
        except RuntimeError:
            greenlet = finalizing_greenlet()
        me = greenlet.task if type(greenlet) is Carrier and greenlet.task is not None else greenlet
        owner = self._owner
        if timeout == -1:
            if owner.get(None) is me:
                self._again += 1
                return True
            if not self._line and owner.setdefault(None, me) is me:
                return True
            if blocking:
                return self._wait_in_line(me, None)
        if isinstance(timeout, Timeout):
            return ends_in_time(timeout, self.acquire, blocking)
        limit = lock_timeout(blocking, timeout)
        if owner.get(None) is me:
            self._again += 1
            return True
        return self._try_to_take(me) or (blocking and self._wait_in_line(me, limit))

    def release(self) -> None:
        """Undo one acquire; the last release frees the lock.  RuntimeError if it is not the caller's."""
        try:
            greenlet = getcurrent()
        except RuntimeError:
            greenlet = finalizing_greenlet()
        me = greenlet.task if type(greenlet) is Carrier and greenlet.task is not None else greenlet
        if self._owner.get(None) is not me:
            raise RuntimeError("cannot release un-acquired lock")
        if self._again:
            self._again -= 1
            return
        del self._owner[None]
        if self._line:
            self._serve_and_resume()

    def locked(self) -> bool:
        """True while it is held."""
        return bool(self._owner)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        # The class decides, because subclasses of this one can have attributes in their objects.
        type(self).release(self)

    # A Condition needs these.

    def _is_owned(self) -> bool:
        return self._owner.get(None) is me()

    def _recursion_count(self) -> int:
        return self._again + 1 if self._is_owned() else 0

    def _release_save(self) -> int:
        """Free it, however often it was taken; returns the argument for ``_acquire_restore``."""
        if not self._is_owned():
            raise RuntimeError("cannot release un-acquired lock")
        again, self._again = self._again, 0
        self.release()
        return again

    def _acquire_restore(self, again: int) -> None:
        self.acquire()
        self._again = again

    def _take(self, taker: object) -> bool:
        if taker is None:
            taker = object()  # stands for the owner until _handed_to names it
        return self._owner.setdefault(None, taker) is taker

    def _handed_to(self, taker: object) -> None:
        self._owner[None] = taker

    def _give_back(self) -> None:
        del self._owner[None]

    def _at_fork_reinit(self) -> None:
        """Free the lock: in the child of a fork its owner may not exist."""
        Line._at_fork_reinit(self)
        self._owner = {}
        self._again = 0


def _owners_of(lock: RLock) -> list[HubTask]:
    owner = lock._owner.get(None)
    task = owner if isinstance(owner, Task) else getattr(owner, "task", None)
    return [] if task is None else [task]


awaited_lock(RLock, _owners_of)

if speedups is not None:
    replace_twins(RLock, speedups.connect_rlock(RLock))
