"""Event and AsyncResult: waiting for something to happen, or for a value (as ``gevent.event``).

They may be made before there is any hub, and used from every greenlet of every hub and every plain thread.

*What guards what.*  Who waits stands in ``_waiting``, in order of arrival, and is touched under ``_guard``
only.  The flag (or the outcome) is written under the guard, in one step with claiming all who wait.  It is
read without the guard, by those whom a stale answer does no harm: whoever finds it unset puts itself into
``_waiting`` under the guard and *then* looks again.  So of a ``set`` and a ``wait`` that meet, one sees the
other.

*The guard is reentrant*, because a signal handler or a finalizer may call ``set`` in the midst of any call
below, on the same thread.  Hence the order of the steps: whoever waits is in ``_waiting`` before it looks,
and a waiter that such a ``set`` has claimed between the two parks nevertheless, to take up its resume.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._core.current import current_hub
from ._core.inbox import Call
from ._core.native import RLock
from ._core.timeout import Timeout
from ._core.waiter import WOKEN, Waiter

__all__ = ["AsyncResult", "Event"]

T = TypeVar("T")
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def seconds(timeout: float | None) -> float | None:
    """*timeout* as a number of seconds; None is for ever."""
    if timeout is None:
        return None
    try:
        number = float(timeout)
    except (TypeError, ValueError):
        number = float("nan")
    if number != number:
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}")
    return number


class Link:
    """A rawlink: stands among the waiters, and being woken means that its hub calls *callback(source)*.

    The hub is that of the thread that made the link.
    """

    __slots__ = ("callback", "source", "hub", "claimed")

    def __init__(self, callback: Callable[[Any], object], source: object) -> None:
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        self.callback = callback
        self.source = source
        self.hub = current_hub()
        self.claimed = False

    def claim(self, value: object = None) -> bool:
        if self.claimed:
            return False
        self.claimed = True
        return True

    def resume(self) -> None:
        self.hub.inbox.post(Call(self.callback, self.source))


def find_link(waiting: dict[Any, Any], callback: Callable[[Any], object]) -> Link | None:
    """The link of *callback* among *waiting*; the guard is held."""
    for entry in waiting:
        if type(entry) is Link and entry.callback == callback:
            return entry
    return None


class Waitable:
    """What Event and AsyncResult share: all who wait are woken together."""

    __slots__ = ("_guard", "_waiting", "__dict__", "__weakref__")

    def __init__(self) -> None:
        self._guard = RLock()
        self._waiting: dict[Any, None] = {}

    def ready(self) -> bool:
        raise NotImplementedError

    def _claim_all(self) -> list[Any]:
        """Claim all who wait; the guard is held, and the caller resumes them when it has let go of it."""
        waiting = self._waiting
        if not waiting:
            return []
        self._waiting = {}
        return [entry for entry in waiting if entry.claim(True)]

    def _wait(self, timeout: float | None) -> bool:
        timeout = seconds(timeout)
        waiter = Waiter(self._guard)
        with self._guard:
            self._waiting[waiter] = None
            if self.ready() and waiter.claim(True):
                self._waiting.pop(waiter, None)
                return True
        try:
            return waiter.park(timeout)
        finally:
            if waiter.state != WOKEN:
                with self._guard:
                    self._waiting.pop(waiter, None)

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        """Have the calling thread's hub call *callback(self)*, once, when this is ready (at once if it is).

        It runs in the hub's loop and must not wait.
        """
        link = Link(callback, self)
        with self._guard:
            self._waiting[link] = None
            woken = self._claim_all() if self.ready() else []
        for entry in woken:
            entry.resume()

    def unlink(self, callback: Callable[[Any], object]) -> None:
        """Take back a ``rawlink`` whose callback has not been called yet."""
        with self._guard:
            link = find_link(self._waiting, callback)
            if link is not None:
                del self._waiting[link]

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: whoever waited, or held the guard, exists only in the parent."""
        self._guard = RLock()
        self._waiting = {}


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
        # Each raise would add to the traceback that the last one left on the exception.
        _, exception, traceback = self._exc_info  # type: ignore[misc]
        raise exception.with_traceback(traceback)

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
