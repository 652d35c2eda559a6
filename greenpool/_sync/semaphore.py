"""Semaphores: a number of permits.  line.py says why they are right."""

from __future__ import annotations

from collections.abc import Callable

from .._core.speedups import replace_twins, speedups
from .._core.timeout import Timeout, ends_in_time
from .._core.waits import awaited_lock
from .arguments import check_int, seconds
from .line import Line
from .waitable import Link, find_link, unlink_due

# Permits beyond this many are only counted, so that Semaphore(10**9) makes no list of 10**9 elements.
MAX_LISTED = 256


class Semaphore(Line):
    """*value* permits to take and give back (as ``gevent.lock.Semaphore`` and ``threading.Semaphore``).

    A context manager.  Every method may be called from any thread.  Those that do not wait may also be called
    from a hub's callbacks and from signal handlers.
    """

    __slots__ = ("_permits", "_unlisted", "_due", "__dict__")

    def __init__(self, value: int = 1) -> None:
        check_int("value", value)
        if value < 0:
            raise ValueError(f"value must not be negative, not {value!r}")
        Line.__init__(self)
        # Links that were claimed and not yet called; under the guard.
        self._due: list[Link] = []
        # The free permits that are not in ``_permits``; under the guard.
        self._unlisted = max(value - MAX_LISTED, 0)
        self._permits = [None] * (value - self._unlisted)

    def __repr__(self) -> str:
        name = f"{type(self).__module__.partition('.')[0]}.{type(self).__qualname__}"
        return f"<{name} at {id(self):#x}: value={self._described_value()}>"

    def _described_value(self) -> str:
        return str(self.counter)

    @property
    def counter(self) -> int:
        """The permits that are free."""
        # With the guard, because moving permits into the list takes two steps.
        with self._guard:
            return len(self._permits) + self._unlisted

    def acquire(self, blocking: bool = True, timeout: float | Timeout | None = None) -> bool:
        """Take a permit, waiting at most *timeout* seconds for one (None: for ever); True if taken.

        With *blocking* false it does not wait.  Raises ValueError for a timeout when not blocking, and
        TypeError for a timeout that is no number.
        """
        if timeout is None:
            if self._permits and not self._line:
                try:
                    self._permits.pop()
                    return True
                except IndexError:
                    pass  # another thread was quicker
        return self._acquire_slowly(blocking, timeout)

    def _acquire_slowly(self, blocking: bool, timeout: float | Timeout | None) -> bool:
        if timeout is None:
            if blocking and not self._unlisted:
                return self._wait_in_line(True, None)
        elif not blocking:
            raise ValueError("can't specify timeout for non-blocking acquire")
        elif isinstance(timeout, Timeout):
            return ends_in_time(timeout, self.acquire)
        else:
            timeout = seconds(timeout)
        return self._try_to_take(True) or (blocking and self._wait_in_line(True, timeout))

    def release(self, n: int = 1) -> None:
        """Give *n* permits back; each goes to the longest waiter.

        Raises ValueError unless n >= 1, TypeError for what is no int.
        """
        if n == 1:
            self._permits.append(None)
            if self._line:
                self._serve_and_resume()
        else:
            self._release_many(n)

    def _release_many(self, n: int) -> None:
        check_int("n", n)
        if n < 1:
            raise ValueError(f"n must be one or more, not {n!r}")
        with self._guard:
            self._unlisted += n
            woken = self._serve()
        for waiter in woken:
            waiter.resume()

    def locked(self) -> bool:
        """True while there is no permit to take."""
        return self.counter == 0

    def ready(self) -> bool:
        """True while there is a permit to take."""
        return self.counter > 0

    def wait(self, timeout: float | Timeout | None = None) -> int:
        """Wait at most *timeout* seconds for a permit without taking it; returns the number of free ones.

        That can be 0: another thread may have been quicker (as in gevent).
        """
        if isinstance(timeout, Timeout):
            ends_in_time(timeout, self.wait)
            return self.counter
        timeout = seconds(timeout)
        if not self.counter:
            self._wait_in_line(None, timeout)
        return self.counter

    def rawlink(self, callback: Callable[[Semaphore], object]) -> None:
        """Have the calling thread's hub call *callback(self)*, once, when a permit is free and it is the
        callback's turn in line, at once if a permit is free now.

        The callback runs in the hub's loop and must not wait.
        """
        link = Link(callback, self, self._guard, self._due)
        with self._guard:
            self._get_in_line(link, None)
            woken = self._serve()
        for waiter in woken:
            waiter.resume()

    def unlink(self, callback: Callable[[Semaphore], object]) -> None:
        """Take back a ``rawlink`` whose callback has not been called yet, even if it is due."""
        with self._guard:
            if not unlink_due(self._due, callback) and self._line:
                link = find_link(self._line, callback)
                if link is not None:
                    del self._line[link]

    def linkcount(self) -> int:
        """The number of greenlets and threads that wait and of links that were not called; a hint."""
        with self._guard:
            return len(self._line) + len(self._due)

    def __enter__(self) -> bool:
        # Only what the class has counts, as for all special methods.
        return type(self).acquire(self)

    def __exit__(self, *exc_info: object) -> None:
        type(self).release(self)

    def _take(self, taker: object) -> bool:
        try:
            self._permits.pop()
        except IndexError:
            # No call lies between reading and writing it, so no signal handler can take the same permits.
            unlisted = self._unlisted
            if not unlisted:
                return False
            rest = unlisted - MAX_LISTED if unlisted > MAX_LISTED else 0
            self._unlisted = rest
            self._permits.extend([None] * (unlisted - rest - 1))
        return True

    def _give_back(self) -> None:
        self._permits.append(None)


class BoundedSemaphore(Semaphore):
    """A Semaphore that refuses more releases than there were acquires."""

    # ``_taken`` has one element for each permit that is taken.  Taking an element out is a single step, so of
    # two releases of one permit only one succeeds.
    __slots__ = ("_taken", "_initial_value")

    def __init__(self, value: int = 1) -> None:
        Semaphore.__init__(self, value)
        self._taken: list[None] = []
        self._initial_value = value

    def _described_value(self) -> str:
        return f"{self.counter}/{self._initial_value}"

    def acquire(self, blocking: bool = True, timeout: float | Timeout | None = None) -> bool:
        """The same as ``Semaphore.acquire``."""
        if timeout is None and self._permits and not self._line:
            try:
                self._permits.pop()
                self._taken.append(None)
                return True
            except IndexError:
                pass  # another thread was quicker
        return self._acquire_slowly(blocking, timeout)

    def release(self, n: int = 1) -> None:
        """The same as ``Semaphore.release``; ValueError if there would be more permits than at first."""
        if n == 1:
            try:
                self._taken.pop()
            except IndexError:
                raise ValueError("Semaphore released too many times") from None
            self._permits.append(None)
            if self._line:
                self._serve_and_resume()
        else:
            self._release_many(n)

    def _release_many(self, n: int) -> None:
        check_int("n", n)
        if n > len(self._taken):
            # This is checked here and not below, where another release, a rightful one, would miss what was
            # popped.
            raise ValueError("Semaphore released too many times")
        taken = 0
        try:
            for _ in range(n):
                self._taken.pop()
                taken += 1
        except IndexError:
            self._taken.extend([None] * taken)
            raise ValueError("Semaphore released too many times") from None
        Semaphore._release_many(self, n)

    def _take(self, taker: object) -> bool:
        if not Semaphore._take(self, taker):
            return False
        self._taken.append(None)
        return True

    def _give_back(self) -> None:
        self._taken.pop()
        self._permits.append(None)


class DummySemaphore:
    """A Semaphore that never runs out of permits: no method waits (as ``gevent.lock.DummySemaphore``)."""

    __slots__ = ("__weakref__",)

    def __init__(self, value: int | None = None) -> None:
        pass

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def acquire(self, blocking: bool = True, timeout: float | Timeout | None = None) -> bool:
        return True

    def release(self, n: int = 1) -> None:
        pass

    def locked(self) -> bool:
        return False

    def ready(self) -> bool:
        return True

    def wait(self, timeout: float | Timeout | None = None) -> int:
        return 1

    def rawlink(self, callback: Callable[[DummySemaphore], object]) -> None:
        pass

    def unlink(self, callback: Callable[[DummySemaphore], object]) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *exc_info: object) -> None:
        pass


awaited_lock(Semaphore, most=None)

if speedups is not None:
    _methods, _bounded_methods = speedups.connect_semaphore(Semaphore, BoundedSemaphore)
    replace_twins(Semaphore, _methods)
    replace_twins(BoundedSemaphore, _bounded_methods)
