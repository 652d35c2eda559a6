"""Locks, semaphores, conditions and barriers (as ``gevent.lock`` and ``threading``).

They may be made before there is any hub, and used from every greenlet of every hub and every plain thread.

**Lock, RLock and Semaphore** are one thing: *permits*, and a *line* of those who wait for one, served first
come, first served.  A released permit goes to the head of the line, with the claim of its waiter (see
_core/waiter.py); so nobody overtakes the line, and a waiter that a kill or a timeout has claimed is passed
over and takes no permit with it.

*The uncontended way takes no lock.*  A permit is an element of a list or a set (or a missing one of a dict),
and taking it or putting it back is a single method call.  Each of these calls is one step for all other
threads: with the GIL because it is C that never lets go of it, without the GIL because it holds the
container's own mutex throughout.  All else, the line above all, is touched under ``_guard``.  The rules:

    acquire:  if the line is empty, take a permit; else, or if there is none, under the guard:
              get in line, *then* hand the permits there are to the line
    release:  put the permit back, *then*, if the line is not empty, under the guard:
              hand the permits there are to the line

*No wake-up is lost.*  Let W get in line while R releases.  Both do a step of the kind above: W when it tries
to take a permit for the line, R when it puts its permit back.  These two steps have an order.  If R's is
first, W finds the permit.  If W's is first, then all that W did before it, getting in line included, happens
before R's step, hence before R looks at the line and finds it not empty.  This holds on processors that
reorder, too: R's look needs no barrier of its own, as the mutex that W let go of and R then took orders the
two threads.  (If W only *looked* whether there is a permit, it would be wrong: such processors may let both
looks miss the other's write.)

*Nobody is overtaken.*  Who finds the line empty came before all who get in line after that look.  Who finds
somebody in line gets in line behind.

*The guard is reentrant*, because a signal handler or a finalizer may release something in the midst of any
call below, on the same thread.  All of its call then comes between two steps, and each pair of steps is right
then, too.  No foreign code runs under the guard.
"""

from __future__ import annotations

from _thread import TIMEOUT_MAX
from collections import OrderedDict
from collections.abc import Callable
from threading import BrokenBarrierError
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, TypeVar
from warnings import warn

from ._core.carrier import Carrier
from ._core.current import finalizing_greenlet, getcurrent
from ._core.native import RLock as Guard
from ._core.waiter import EXPIRED, FAILED, WOKEN, Waiter
from .event import Link, find_link, seconds

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "DummySemaphore",
    "Lock",
    "RLock",
    "Semaphore",
]

T = TypeVar("T")

# Permits beyond this many are a mere number, so that Semaphore(10**9) is no list of 10**9 elements.
MAX_LISTED = 256


class Line:
    """The permits' common part: the line, and the way of those who have to wait."""

    __slots__ = ("_guard", "_line", "__weakref__")

    def __init__(self) -> None:
        self._guard = Guard()
        # Who waits, in order, each with what ``_take`` is to be told; None means: takes no permit, only
        # wants to know that there is one.  A dict once somebody has had to wait.
        self._line: Any = ()

    # The permits: each a single step (see above); ``_take`` under the guard only.

    def _take(self, taker: object) -> bool:
        raise NotImplementedError

    def _give_back(self) -> None:
        raise NotImplementedError

    def _handed_to(self, taker: object) -> None:
        """The permit that was taken without a name goes to *taker*."""

    # The line.

    def _serve(self) -> list[Any]:
        """Hand out permits; the guard is held, and the caller resumes the waiters returned afterwards."""
        line = self._line
        woken: list[Any] = []
        while line and self._take(None):
            try:
                while True:
                    waiter, taker = line.popitem(last=False)
                    if waiter.claim(True):
                        woken.append(waiter)
                        if taker is not None:
                            self._handed_to(taker)
                            break
            except KeyError:
                # Nobody was left who wants it.
                self._give_back()
        return woken

    def _serve_and_resume(self) -> None:
        with self._guard:
            woken = self._serve()
        for waiter in woken:
            waiter.resume()

    def _get_in_line(self, waiter: object, taker: object) -> None:
        """The guard is held."""
        if not isinstance(self._line, OrderedDict):
            self._line = OrderedDict()
        self._line[waiter] = taker

    def _try_to_take(self, taker: object) -> bool:
        with self._guard:
            woken = self._serve()
            taken = not self._line and self._take(taker)
        for waiter in woken:
            waiter.resume()
        return taken

    def _wait_in_line(self, taker: object, timeout: float | None) -> bool:
        """Wait for a permit; False when *timeout* seconds passed before."""
        waiter = Waiter(self._guard)
        with self._guard:
            self._get_in_line(waiter, taker)
            woken = self._serve()
        for other in woken:
            other.resume()
        try:
            if waiter.park(timeout):
                return True
        except BaseException:
            self._leave(waiter, taker)
            raise
        self._leave(waiter, taker)
        return False

    def _leave(self, waiter: Waiter, taker: object) -> None:
        """Take *waiter* out of the line."""
        with self._guard:
            if self._line:
                self._line.pop(waiter, None)
            # KeyboardInterrupt can strike when a permit has been handed over but not yet taken up.
            if waiter.state == WOKEN and taker is not None:
                self._give_back()
            woken = self._serve()
        for other in woken:
            other.resume()

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: whoever waited, or held the guard, exists only in the parent."""
        self._guard = Guard()
        self._line = ()

    def _described(self, locked: bool, details: str = "") -> str:
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{'locked' if locked else 'unlocked'} {kind} object{details} at {id(self):#x}>"


def _check_int(name: str, value: object) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")


def _lock_timeout(blocking: bool, timeout: float | None) -> float | None:
    """Check the arguments of a lock's ``acquire``; None is for ever."""
    limit = seconds(timeout)
    if limit is None or limit == -1:
        return None
    if not blocking:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if limit < 0:
        raise ValueError(f"timeout must be a non-negative number of seconds or -1, not {timeout!r}")
    if limit > TIMEOUT_MAX:
        raise OverflowError(f"timeout must be at most {TIMEOUT_MAX} seconds, not {timeout!r}")
    return limit


class Lock(Line):
    """A lock that any greenlet or thread may release (as ``threading.Lock``).

    A context manager.  Every method may be called from any thread, and all that do not wait also from a
    hub's callbacks and from signal handlers.
    """

    __slots__ = ("_free",)

    def __init__(self) -> None:
        Line.__init__(self)
        # A set, because to put the permit back twice then still makes one.
        self._free = {None}

    def __repr__(self) -> str:
        return self._described(self.locked())

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock, waiting at most *timeout* seconds for it (-1 or None: for ever); True if taken.

        With *blocking* false it does not wait.  Raises ValueError for any other negative timeout, or for
        a timeout when not blocking, OverflowError for one beyond ``threading.TIMEOUT_MAX``, and TypeError
        for what is no number.
        """
        if timeout == -1:
            if self._free and not self._line:
                try:
                    self._free.pop()
                    return True
                except KeyError:
                    pass  # somebody else was quicker
            if blocking:
                return self._wait_in_line(True, None)
        limit = _lock_timeout(blocking, timeout)
        return self._try_to_take(True) or (blocking and self._wait_in_line(True, limit))

    def release(self) -> None:
        """Free the lock, or hand it to whoever has waited longest; RuntimeError if it is not locked."""
        if self._free:
            raise RuntimeError("release unlocked lock")
        self._free.add(None)
        if self._line:
            self._serve_and_resume()

    def locked(self) -> bool:
        """True while somebody holds it."""
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
        """In the child of a fork: free it, as its owner may exist only in the parent."""
        Line._at_fork_reinit(self)
        self._free.add(None)


def _me() -> object:
    """Who is calling: the task, as carriers pass from one to the next; else the greenlet itself."""
    try:
        greenlet = getcurrent()
    except RuntimeError:
        greenlet = finalizing_greenlet()
    # A carrier between two tasks has none: it runs the finalizer of what the last one has left.
    if type(greenlet) is Carrier and greenlet.task is not None:
        return greenlet.task
    return greenlet


class RLock(Line):
    """A lock that its owner, a greenlet or a plain thread, may take again (as ``threading.RLock``).

    A context manager.  Every method may be called from any thread, and all that do not wait also from a
    hub's callbacks; a signal handler or finalizer that interrupts the owner may take it, too.
    """

    # The permit is the *absence* of the one key of ``_owner``, so that taking the lock and becoming its owner
    # are one step, and a signal handler in between cannot wait for a lock that nobody owns yet.  For
    # the same reason ``_again`` counts only the acquires after the first.
    __slots__ = ("_owner", "_again")

    def __init__(self) -> None:
        Line.__init__(self)
        self._owner: dict[None, object] = {}
        self._again = 0

    def __repr__(self) -> str:
        owner = self._owner.get(None)
        # A thread's main greenlet has a task, too, once it has a hub, and that one has a name.
        name = getattr(owner, "task", None)
        if name is None:
            name = owner
        details = f" owner={name!r} count={self._again + 1 if owner is not None else 0}"
        return self._described(owner is not None, details)

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock, once more if it is the caller's; arguments and result as those of Lock."""
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
        limit = _lock_timeout(blocking, timeout)
        if owner.get(None) is me:
            self._again += 1
            return True
        return self._try_to_take(me) or (blocking and self._wait_in_line(me, limit))

    def release(self) -> None:
        """Undo one acquire; the last one frees the lock.  RuntimeError if it is not the caller's."""
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
        """True while somebody holds it."""
        return bool(self._owner)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    # What a Condition needs.

    def _is_owned(self) -> bool:
        return self._owner.get(None) is _me()

    def _recursion_count(self) -> int:
        return self._again + 1 if self._is_owned() else 0

    def _release_save(self) -> int:
        """Free it, however often it was taken; returns what ``_acquire_restore`` needs."""
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
            taker = object()  # nobody, until it is known who
        return self._owner.setdefault(None, taker) is taker

    def _handed_to(self, taker: object) -> None:
        self._owner[None] = taker

    def _give_back(self) -> None:
        del self._owner[None]

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: free it, as its owner may exist only in the parent."""
        Line._at_fork_reinit(self)
        self._owner = {}
        self._again = 0


class Semaphore(Line):
    """*value* permits to take and give back (as ``gevent.lock.Semaphore`` and ``threading.Semaphore``).

    A context manager.  Every method may be called from any thread, and all that do not wait also from a
    hub's callbacks and from signal handlers.
    """

    __slots__ = ("_permits", "_unlisted", "__dict__")

    def __init__(self, value: int = 1) -> None:
        _check_int("value", value)
        if value < 0:
            raise ValueError(f"value must not be negative, not {value!r}")
        Line.__init__(self)
        # How many more there are than ``_permits`` has; under the guard.
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
        # Permits are listed in two steps.
        with self._guard:
            return len(self._permits) + self._unlisted

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit, waiting at most *timeout* seconds for one (None: for ever); True if taken.

        With *blocking* false it does not wait.  Raises ValueError for a timeout when not blocking, and
        TypeError for what is no number.
        """
        if timeout is None:
            if self._permits and not self._line:
                try:
                    self._permits.pop()
                    return True
                except IndexError:
                    pass  # somebody else was quicker
        return self._acquire_slowly(blocking, timeout)

    def _acquire_slowly(self, blocking: bool, timeout: float | None) -> bool:
        if timeout is None:
            if blocking and not self._unlisted:
                return self._wait_in_line(True, None)
        elif not blocking:
            raise ValueError("can't specify timeout for non-blocking acquire")
        else:
            timeout = seconds(timeout)
        return self._try_to_take(True) or (blocking and self._wait_in_line(True, timeout))

    def release(self, n: int = 1) -> None:
        """Give *n* permits back; each goes to whoever has waited longest.

        Raises ValueError unless n >= 1, TypeError for what is no int.
        """
        if n == 1:
            self._permits.append(None)
            if self._line:
                self._serve_and_resume()
        else:
            self._release_many(n)

    def _release_many(self, n: int) -> None:
        _check_int("n", n)
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

    def wait(self, timeout: float | None = None) -> int:
        """Wait at most *timeout* seconds for a permit without taking it; returns the number of free ones.

        That can be 0: somebody else may have been quicker (as in gevent).
        """
        timeout = seconds(timeout)
        if not self.counter:
            self._wait_in_line(None, timeout)
        return self.counter

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        """Have the calling thread's hub call *callback(self)*, once, when a permit is free and it is the
        callback's turn in line (at once if there is one).

        It runs in the hub's loop and must not wait.
        """
        link = Link(callback, self)
        with self._guard:
            self._get_in_line(link, None)
            woken = self._serve()
        for waiter in woken:
            waiter.resume()

    def unlink(self, callback: Callable[[Any], object]) -> None:
        """Take back a ``rawlink`` whose callback has not been called yet."""
        with self._guard:
            if self._line:
                link = find_link(self._line, callback)
                if link is not None:
                    del self._line[link]

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _take(self, taker: object) -> bool:
        try:
            self._permits.pop()
        except IndexError:
            # No call between reading and writing it, for a signal handler to come in and take the same.
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

    # A list of the permits that are taken, with one element each.  To take one out is again a single step, so
    # that of two releases of one permit only one succeeds.
    __slots__ = ("_taken", "_initial_value")

    def __init__(self, value: int = 1) -> None:
        Semaphore.__init__(self, value)
        self._taken: list[None] = []
        self._initial_value = value

    def _described_value(self) -> str:
        return f"{self.counter}/{self._initial_value}"

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """As that of Semaphore."""
        if timeout is None and self._permits and not self._line:
            try:
                self._permits.pop()
                self._taken.append(None)
                return True
            except IndexError:
                pass  # somebody else was quicker
        return self._acquire_slowly(blocking, timeout)

    def release(self, n: int = 1) -> None:
        """As that of Semaphore; ValueError where it would make more permits than there were at first."""
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
        _check_int("n", n)
        if n > len(self._taken):
            # Not found out below, where another release, a rightful one, would miss what was popped.
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
    """A Semaphore with permits without end: no method ever waits (as ``gevent.lock.DummySemaphore``)."""

    __slots__ = ("__weakref__",)

    def __init__(self, value: int | None = None) -> None:
        pass

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        return True

    def release(self, n: int = 1) -> None:
        pass

    def locked(self) -> bool:
        return False

    def ready(self) -> bool:
        return True

    def wait(self, timeout: float | None = None) -> int:
        return 1

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        pass

    def unlink(self, callback: Callable[[Any], object]) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *exc_info: object) -> None:
        pass


class AnyLock(Protocol):
    """What a Condition can be made over: Lock, RLock, and those of ``threading``."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...

    def release(self) -> None: ...


class Condition:
    """A lock, and a way to wait for whatever it guards to change (as ``threading.Condition``).

    A context manager, which takes and frees the lock.  Any thread.
    """

    # ``_waiting`` is touched under ``_guard`` only.  That the lock is held would not do: kills and timeouts
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

    def _release_save(self) -> Any:
        if hasattr(self._lock, "_release_save"):
            return self._lock._release_save()
        self._lock.release()
        return None

    def _acquire_restore(self, state: Any) -> None:
        """Take the lock again, whatever happens: who leaves ``wait``, by an exception too, holds it."""
        try:
            if hasattr(self._lock, "_acquire_restore"):
                self._lock._acquire_restore(state)
            else:
                self._lock.acquire()
        except BaseException:
            # A kill, or a cancelled scope; the latter leaves a greenlet alone that is handling it.
            self._acquire_restore(state)
            raise

    def wait(self, timeout: float | None = None) -> bool:
        """Free the lock, wait to be notified, and take the lock again; False if *timeout* seconds passed.

        RuntimeError if the caller does not hold the lock.
        """
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
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
                # It was notified, but its caller will not know: so somebody else is.
                self.notify()
            raise
        finally:
            if waiter.state != WOKEN:
                with self._guard:
                    self._waiting.pop(waiter, None)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until *predicate()* is true, at most *timeout* seconds; returns its last result."""
        if not callable(predicate):
            raise TypeError(f"predicate must be callable, not {predicate!r}")
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
        """Wake the *n* that have waited longest; RuntimeError if the caller does not hold the lock."""
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        _check_int("n", n)
        woken: list[Waiter] = []
        with self._guard:
            while self._waiting and len(woken) < n:
                waiter, _ = self._waiting.popitem(last=False)
                if waiter.claim():
                    woken.append(waiter)
        for waiter in woken:
            waiter.resume()

    def notify_all(self) -> None:
        """Wake all who wait; RuntimeError if the caller does not hold the lock."""
        self.notify(len(self._waiting))

    def notifyAll(self) -> None:
        """Deprecated: as ``notify_all``."""
        warn("notifyAll() is deprecated, use notify_all() instead", DeprecationWarning, stacklevel=2)
        self.notify_all()

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._guard = Guard()
        self._waiting = OrderedDict()


class Barrier:
    """Lets its callers pass when there are *parties* of them (as ``threading.Barrier``).

    *action* is called by the last one that comes, before anyone passes.  *timeout*, in seconds, is the
    default for ``wait``.  A greenlet that is killed while it waits leaves, and does not count.  Any thread.
    """

    # Whoever completes a round, or ends it by reset or abort, claims all its waiters in one step under the
    # guard and leaves an empty round for those who come next.  So nobody can time out during the action.
    __slots__ = (
        "_parties",
        "_action",
        "_timeout",
        "_guard",
        "_round",
        "_broken",
        "__dict__",
        "__weakref__",
    )

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        _check_int("parties", parties)
        if parties < 1:
            raise ValueError(f"parties must be at least 1, not {parties!r}")
        if action is not None and not callable(action):
            raise TypeError(f"action must be callable, not {action!r}")
        self._parties = parties
        self._action = action
        self._timeout = seconds(timeout)
        self._guard = Guard()
        self._round: dict[Waiter, None] = {}
        self._broken = False

    def __repr__(self) -> str:
        name = f"{type(self).__module__.partition('.')[0]}.{type(self).__qualname__}"
        state = "broken" if self._broken else f"waiters={self.n_waiting}/{self._parties}"
        return f"<{name} at {id(self):#x}: {state}>"

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others; returns a number from 0 to parties - 1, another one for each of a round.

        Raises BrokenBarrierError where the barrier is broken or reset meanwhile.  When *timeout* seconds
        have passed, or *action* raises, the barrier breaks.
        """
        timeout = self._timeout if timeout is None else seconds(timeout)
        with self._guard:
            if self._broken:
                raise BrokenBarrierError
            complete = len(self._round) + 1 >= self._parties
            if complete:
                # Those who were killed may not have left yet.  Who timed out stays, and will break it.
                self._round = {waiter: None for waiter in self._round if waiter.state != FAILED}
                timed_out = any(waiter.state for waiter in self._round)
                complete = not timed_out and len(self._round) + 1 >= self._parties
            if complete:
                claimed = self._claim_round()
            else:
                waiter = Waiter(self._guard)
                self._round[waiter] = None
        if complete:
            self._pass(claimed)
            return self._parties - 1
        try:
            if waiter.park(timeout) and waiter.value is not None:
                return int(waiter.value)
        finally:
            if waiter.state != WOKEN:
                self._leave(waiter)
        raise BrokenBarrierError

    def _leave(self, waiter: Waiter) -> None:
        """*waiter* was killed or, and that breaks the barrier, timed out."""
        claimed: list[Waiter] = []
        with self._guard:
            if waiter in self._round:
                del self._round[waiter]
                if waiter.state == EXPIRED:
                    self._broken = True
                    claimed = self._claim_round()
            # Else its round was ended by reset or abort; it is not to break the next one.
        self._fail(claimed)

    def _claim_round(self) -> list[Waiter]:
        """Claim all who wait, numbered; the guard is held, and the caller resumes them."""
        waiters, self._round = self._round, {}
        return [waiter for number, waiter in enumerate(waiters) if waiter.claim(number)]

    def _pass(self, claimed: list[Waiter]) -> None:
        """All are here."""
        try:
            if self._action is not None:
                self._action()
        except BaseException:
            # First broken: whoever learns of it may look, or reset it, at once.
            self.abort()
            self._fail(claimed)
            raise
        for waiter in claimed:
            waiter.resume()

    def _fail(self, claimed: list[Waiter]) -> None:
        for waiter in claimed:
            waiter.value = None
            waiter.resume()

    def _end_round(self, broken: bool) -> None:
        with self._guard:
            self._broken = broken
            claimed = self._claim_round()
        self._fail(claimed)

    def reset(self) -> None:
        """Make it as new; whoever waits gets BrokenBarrierError."""
        self._end_round(False)

    def abort(self) -> None:
        """Break it: whoever waits or comes gets BrokenBarrierError, until ``reset``."""
        self._end_round(True)

    @property
    def parties(self) -> int:
        """How many it takes to pass."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many wait now."""
        return len(self._round)

    @property
    def broken(self) -> bool:
        """True while it is broken."""
        return self._broken
