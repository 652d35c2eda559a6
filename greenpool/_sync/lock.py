"""Lock: one permit, which any greenlet or thread may give back.  line.py says why it is right."""

from __future__ import annotations

from .._core.native import RLock as Guard
from .._core.speedups import replace_twins, speedups
from .._core.timeout import Timeout, ends_in_time
from .._core.waits import awaited_lock
from .arguments import lock_timeout
from .line import Line


class Lock(Line):
    """A lock that any greenlet or thread may release (as ``threading.Lock``).

    A context manager.  Every method may be called from any thread.  Those that do not wait may also be called
    from a hub's callbacks and from signal handlers.
    """

    __slots__ = ("_free",)

    def __init__(self) -> None:
        Line.__init__(self)
        # A set, so that two releases at the same time still make one permit.
        self._free = {None}

    def __repr__(self) -> str:
        return self._described(self.locked())

    def acquire(self, blocking: bool = True, timeout: float | Timeout | None = -1) -> bool:
        """Take the lock, waiting at most *timeout* seconds for it (-1 or None: for ever); True if taken.

        With *blocking* false it does not wait.  Raises ValueError for any other negative timeout or for a
        timeout when not blocking, OverflowError for a timeout beyond ``threading.TIMEOUT_MAX``, and TypeError
        for a timeout that is no number.
        """
        if timeout == -1:
            if self._free and not self._line:
                try:
                    self._free.pop()
                    return True
                except KeyError:
                    pass  # another thread was quicker
            if blocking:
                return self._wait_in_line(True, None)
            # A permit that another thread is handing to the line counts as held.  That thread has not
            # returned from its release or acquire yet, so this attempt may have come first.
            if not self._free:
                return False
        if isinstance(timeout, Timeout):
            return ends_in_time(timeout, self.acquire, blocking)
        limit = lock_timeout(blocking, timeout)
        return self._try_to_take(True) or (blocking and self._wait_in_line(True, limit))

    def release(self) -> None:
        """Free the lock, or hand it to the longest waiter; RuntimeError if it is not locked."""
        if self._free:
            raise RuntimeError("release unlocked lock")
        self._free.add(None)
        if self._line:
            self._serve_and_resume()

    def locked(self) -> bool:
        """True while it is held."""
        return not self._free

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _take(self, taker: object) -> bool:
        try:
            self._free.pop()
        except KeyError:
            return False
        return True

    def _give_back(self) -> None:
        self._free.add(None)

    def _at_fork_reinit(self) -> None:
        """Free the lock: in the child of a fork its owner may not exist."""
        Line._at_fork_reinit(self)
        self._free.add(None)


# A lock does not record its holder (see _core/holds.py).
awaited_lock(Lock)

if speedups is not None:
    replace_twins(Lock, speedups.connect_lock(Lock, Guard))
