"""Event and AsyncResult: waiting for something to happen, or for a value (as ``gevent.event``).

They may be made before there is any hub, and used from every greenlet of every hub and every plain thread.

*What guards what.*  The flag (or the outcome) is written under ``_guard``, in one step with claiming all who
wait.  Whoever waits gets in line without the guard, by one ``deque.append``, and *then* looks at the flag; it
has to be the other way round than in ``set``, which writes the flag and *then* looks at the line:

    wait:  get in line; if the flag is set meanwhile, go on; else park
    set:   write the flag, touch the line (``rotate(0)``), claim whom the line holds

*No wake-up is lost.*  An operation on a deque is one step for all other threads, without the GIL too, as it
holds the deque's own mutex throughout.  If the append comes before the rotate, ``set`` finds the waiter.  If
it comes after it, then the flag was written before, and the look that follows the append sees it: the mutex
orders the two threads.  (Without the rotate, processors that reorder may let both looks miss the other's
write.)

*The guard is reentrant*, because a signal handler or a finalizer may call ``set`` in the midst of any call
below, on the same thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._core.current import current_hub
from ._core.native import HAS_GIL, RLock
from ._core.timeout import Timeout
from ._core.waiter import EXPIRED, WOKEN, Waiter

__all__ = ["AsyncResult", "Event"]

T = TypeVar("T")
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

# What float() would read, too.
_TEXTS: Any = (str, bytes, bytearray)


def seconds(timeout: float | None) -> float | None:
    """*timeout* as a number of seconds; None is for ever."""
    if timeout is None:
        return None
    try:
        number = float("nan") if isinstance(timeout, _TEXTS) else float(timeout)
    except (TypeError, ValueError):
        number = float("nan")
    if number != number:
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}")
    return number


class Link:
    """A rawlink: stands among the waiters, and being woken means that its hub calls *callback(source)*.

    The hub is that of the thread that made the link.
    """

    __slots__ = ("callback", "source", "hub", "state")

    def __init__(self, callback: Callable[[Any], object], source: object) -> None:
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


def find_link(waiting: Iterable[Any], callback: Callable[[Any], object]) -> Link | None:
    """The link of *callback* among *waiting*, other than those that have left."""
    for entry in waiting:
        if type(entry) is Link and not entry.state and entry.callback == callback:
            return entry
    return None


class WaitLine(deque[Any]):
    """Who waits, in order of arrival.  Any thread appends; all else is done under the guard of its owner.

    To take a waiter out of the middle would take time in proportion to the length.  So those that were killed
    or timed out stay, claimed, until they come to the head, or until they may be more than half of all.

    A look at the head and a ``popleft`` that follows it at once are one step, for signal handlers and
    finalizers, too: those run between two calls, and there is none between the two.
    """

    # How many have left since the last clearing; some of them may be out of the line already.
    left = 0

    def entries(self) -> Iterator[Any]:
        """All of them.  By index: an iterator, or a copy, fails when somebody comes meanwhile."""
        for index in range(len(self)):
            try:
                entry = self[index]
            except IndexError:
                return  # a signal handler has served the line
            yield entry

    def leave(self, waiter: Any) -> None:
        """*waiter* gives up; nobody will claim it any more."""
        waiter.claim(None, EXPIRED)
        while self and self[0].state:
            self.popleft()
        self.left += 1
        if self.left > 16 and self.left * 2 > len(self):
            self._clear_out()

    def _clear_out(self) -> None:
        """Take out those that nobody will claim.

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
    """What Event and AsyncResult share: all who wait are woken together."""

    __slots__ = ("_guard", "_waiting", "__dict__", "__weakref__")

    def __init__(self) -> None:
        self._guard = RLock()
        # None until somebody waits.
        self._waiting: WaitLine | None = None

    def ready(self) -> bool:
        raise NotImplementedError

    def _claim_all(self) -> list[Any]:
        """Claim all who wait; the guard is held, and the caller resumes them when it has let go of it."""
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

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        """Have the calling thread's hub call *callback(self)*, once, when this is ready (at once if it is).

        It runs in the hub's loop and must not wait.
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

    def unlink(self, callback: Callable[[Any], object]) -> None:
        """Take back a ``rawlink`` whose callback has not been called yet."""
        waiting = self._line()
        with self._guard:
            link = find_link(waiting.entries(), callback)
            if link is not None:
                waiting.leave(link)

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: whoever waited, or held the guard, exists only in the parent."""
        self._guard = RLock()
        self._waiting = None


class Event(Waitable):
    """A flag that greenlets and threads wait for (as ``gevent.event.Event`` and ``threading.Event``).

    Those who wait are woken in the order in which they came.  Every method may be called from any thread,
    and all but ``wait`` from a hub's callbacks and from signal handlers.
    """

    __slots__ = ("_flag",)

    def __init__(self) -> None:
        Waitable.__init__(self)
        self._flag = False

    def __repr__(self) -> str:
        name = f"{type(self).__module__.partition('.')[0]}.{type(self).__qualname__}"
        return f"<{name} at {id(self):#x}: {'set' if self._flag else 'unset'}>"

    def is_set(self) -> bool:
        """True while the flag is set."""
        return self._flag

    def isSet(self) -> bool:
        """As ``is_set``."""
        return self._flag

    def ready(self) -> bool:
        """As ``is_set``."""
        return self._flag

    def set(self) -> None:
        """Set the flag and wake all who wait."""
        with self._guard:
            self._flag = True
            woken = self._claim_all()
        for waiter in woken:
            waiter.resume()

    def clear(self) -> None:
        """Take the flag down; those whom a ``set`` before has woken are not affected."""
        with self._guard:  # not in the midst of a set
            self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set; False when *timeout* seconds passed before.

        True means that the flag was set while the caller waited, even if it is down again.
        """
        return self._flag or self._wait(timeout)


class _Unset:
    """Stands for the value of an AsyncResult that has none."""

    __slots__ = ()


_UNSET = _Unset()


class AsyncResult(Waitable, Generic[T]):
    """A value or an exception that is still to come (as ``gevent.event.AsyncResult``).

    Callable, as a target for ``Greenlet.link``: it takes over the greenlet's outcome.  Every method may be
    called from any thread, and all that do not wait also from a hub's callbacks and from signal handlers.
    """

    __slots__ = ("_value", "_exc_info")

    def __init__(self) -> None:
        Waitable.__init__(self)
        self._value: T | _Unset = _UNSET
        self._exc_info: ExcInfo | tuple[()] = ()

    def __repr__(self) -> str:
        if self.successful():
            outcome = f"value={self._value!r}"
        elif self._exc_info:
            outcome = f"exception={self._exc_info[1]!r}"
        else:
            outcome = "unset"
        return f"<{type(self).__name__} at {id(self):#x}: {outcome}>"

    def ready(self) -> bool:
        """True once it holds a value or an exception."""
        return self._value is not _UNSET or bool(self._exc_info)

    def successful(self) -> bool:
        """True once it holds a value."""
        return self._value is not _UNSET

    @property
    def value(self) -> T | None:
        """The value, or None while there is none."""
        return None if isinstance(self._value, _Unset) else self._value

    @property
    def exception(self) -> BaseException | None:
        """The exception, or None."""
        return self._exc_info[1] if self._exc_info else None

    @property
    def exc_info(self) -> ExcInfo | tuple[()]:
        """The exception as ``sys.exc_info()`` gives it; an empty tuple while there is none."""
        return self._exc_info

    def set(self, value: T | None = None) -> None:
        """Store *value* and wake all who wait."""
        with self._guard:
            self._value = value  # type: ignore[assignment]
            woken = self._claim_all()
        for waiter in woken:
            waiter.resume()

    def set_exception(
        self,
        exception: BaseException | type[BaseException] | None,
        exc_info: tuple[Any, Any, TracebackType | None] | tuple[()] | None = None,
    ) -> None:
        """Store *exception*, or that of *exc_info* with its traceback, and wake all who wait."""
        traceback = None
        if exc_info:
            exception, traceback = exc_info[1], exc_info[2]
        if isinstance(exception, type) and issubclass(exception, BaseException):
            exception = exception()
        if not isinstance(exception, BaseException):
            raise TypeError(f"exception must be an exception, not {exception!r}")
        with self._guard:
            self._exc_info = (type(exception), exception, traceback or exception.__traceback__)
            woken = self._claim_all()
        for waiter in woken:
            waiter.resume()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Wait for the value and return it, or raise the exception.

        Raises ``Timeout`` when there is none after *timeout* seconds or, with *block* false, at once.
        """
        value = self._value
        if not isinstance(value, _Unset):
            return value
        if not self._exc_info:
            if not block:
                raise Timeout()
            if not self._wait(timeout):
                raise Timeout(timeout if timeout is None or timeout > 0 else 0)
            value = self._value
            if not isinstance(value, _Unset):
                return value
        _, exception, traceback = self._exc_info  # type: ignore[misc]
        if HAS_GIL:
            # Each raise would add to the traceback that the last one left on the exception.
            exception = exception.with_traceback(traceback)
        # Else it does: to change the traceback while other threads raise the exception is not safe.
        raise exception

    def get_nowait(self) -> T:
        """As ``get(block=False)``."""
        return self.get(block=False)

    def wait(self, timeout: float | None = None) -> T | None:
        """Wait at most *timeout* seconds for an outcome; returns the value, or None (it raises nothing)."""
        if not self.ready():
            self._wait(timeout)
        return self.value

    def __call__(self, source: Any) -> None:
        """Take over the outcome of *source*, a greenlet or another AsyncResult."""
        if source.successful():
            self.set(source.value)
        else:
            self.set_exception(source.exception, getattr(source, "exc_info", None))

    # As concurrent.futures.Future has them.

    def result(self, timeout: float | None = None) -> T:
        """As ``get(timeout=timeout)``."""
        return self.get(timeout=timeout)

    set_result = set

    def done(self) -> bool:
        """As ``ready``."""
        return self.ready()

    def cancel(self) -> bool:
        """False: it cannot be cancelled."""
        return False

    def cancelled(self) -> bool:
        """False: it cannot be cancelled."""
        return False
