"""Condition: wait until another greenlet or thread says that something has changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, TypeVar
from warnings import warn

from .._core.native import RLock as Guard
from .._core.timeout import Timeout, ends_in_time
from .._core.waiter import WOKEN, Waiter
from .._core.waits import awaited_as
from .arguments import check_int, seconds
from .rlock import RLock

T = TypeVar("T")


class AnyLock(Protocol):
    """A lock that a Condition can use: Lock, RLock, and those of ``threading``."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...

    def release(self) -> None: ...


class Condition:
    """A lock, and a way to wait until the state that it guards changes (as ``threading.Condition``).

    A context manager, which takes and frees the lock.  Every method may be called from any thread.
    """

    # ``_waiting`` is touched under ``_guard`` only.  The lock itself would not do, because kills and timeouts
    # claim waiters without it.
    __slots__ = ("_lock", "_guard", "_waiting", "acquire", "release", "__dict__", "__weakref__")

    def __init__(self, lock: AnyLock | None = None) -> None:
        if lock is not None and not (hasattr(lock, "acquire") and hasattr(lock, "release")):
            raise TypeError(f"lock must be a lock or None, not {lock!r}")
        self._lock: Any = RLock() if lock is None else lock
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        self._guard = Guard()
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Condition({self._lock!r}, {len(self._waiting)})>"

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.__exit__(kind, value, traceback)

    def _is_owned(self) -> bool:
        lock = self._lock
        if hasattr(lock, "_is_owned"):
            return bool(lock._is_owned())
        if lock.acquire(False):
            lock.release()
            return False
        return True

    def _release_save(self) -> object:
        if hasattr(self._lock, "_release_save"):
            return self._lock._release_save()
        self._lock.release()
        return None

    def _acquire_restore(self, state: object) -> None:
        """Take the lock again, whatever happens: a caller that leaves ``wait`` holds it."""
        try:
            if hasattr(self._lock, "_acquire_restore"):
                self._lock._acquire_restore(state)
            else:
                self._lock.acquire()
        except BaseException:
            # A kill or a cancelled scope.  The scope does not interrupt a greenlet that is handling it.
            self._acquire_restore(state)
            raise

    def wait(self, timeout: float | Timeout | None = None) -> bool:
        """Free the lock, wait for a ``notify``, and take the lock again; False if *timeout* seconds passed.

        RuntimeError if the caller does not hold the lock.
        """
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        if isinstance(timeout, Timeout):
            return ends_in_time(timeout, self.wait)
        timeout = seconds(timeout)
        waiter = Waiter(self._guard)
        try:
            with self._guard:
                self._waiting[waiter] = None
            state = self._release_save()
            try:
                return waiter.park(timeout)
            finally:
                self._acquire_restore(state)
        except BaseException:
            if waiter.state == WOKEN:
                # This waiter was notified, but its caller will not know it.  So notify another one.
                self.notify()
            raise
        finally:
            if waiter.state != WOKEN:
                with self._guard:
                    self._waiting.pop(waiter, None)

    def wait_for(self, predicate: Callable[[], T], timeout: float | Timeout | None = None) -> T:
        """Wait at most *timeout* seconds until *predicate()* is true; returns its last result."""
        if not callable(predicate):
            raise TypeError(f"predicate must be callable, not {predicate!r}")
        if isinstance(timeout, Timeout):
            ends_in_time(timeout, self.wait_for, predicate)
            return predicate()
        timeout = seconds(timeout)
        deadline = None if timeout is None else monotonic() + timeout
        result = predicate()
        while not result:
            remaining = None if deadline is None else deadline - monotonic()
            if remaining is not None and remaining <= 0:
                break
            self.wait(remaining)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake the *n* longest waiters; RuntimeError if the caller does not hold the lock."""
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        check_int("n", n)
        woken: list[Waiter] = []
        with self._guard:
            while self._waiting and len(woken) < n:
                try:
                    waiter, _ = self._waiting.popitem(last=False)
                except KeyError:
                    break  # a signal handler has notified the last ones
                if waiter.claim():
                    woken.append(waiter)
        for waiter in woken:
            waiter.resume()

    def notify_all(self) -> None:
        """Wake every waiter; RuntimeError if the caller does not hold the lock."""
        self.notify(len(self._waiting))

    def notifyAll(self) -> None:
        """Deprecated: the same as ``notify_all``."""
        warn("notifyAll() is deprecated, use notify_all() instead", DeprecationWarning, stacklevel=2)
        self.notify_all()

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._guard = Guard()
        self._waiting = OrderedDict()


awaited_as(Condition, "to be notified")
