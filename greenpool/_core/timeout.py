"""Timeout: an exception that its own timer raises (as in gevent)."""

from __future__ import annotations

from collections.abc import Callable
from types import GenericAlias, TracebackType

from .current import current_greenlet
from .seconds import check_seconds
from .state import GreenThread
from .timers import Timer
from .typing import TYPE_CHECKING, overload
from .waiter import interrupt

if TYPE_CHECKING:
    from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar

    from typing_extensions import TypeVar as DefaultTypeVar

    S_co = DefaultTypeVar("S_co", covariant=True, default=Any)
    P = ParamSpec("P")
    T = TypeVar("T")
else:
    # Only type checkers see a generic class.
    S_co = "S_co"
    Generic = {S_co: object}


class Timeout(BaseException, Generic[S_co]):
    """Raise itself in the greenlet that started it, after *seconds*, unless it is closed before.

    *exception* is raised in its stead: an exception class or instance.  With False, a ``with`` block
    that this timeout ends is left silently.  None or True mean the Timeout itself, and a string means the
    Timeout itself with that message.  Nested timeouts are told apart by identity.  None for *seconds* never
    fires.

    With *ref* false, it does not count as something that can wake the main program (see LoopExit).
    *priority* is accepted for gevent's sake; there is one priority.

    A Timeout may also be the *timeout* of a call that waits: ``event.wait(Timeout(5))``.  The call starts it,
    unless it has been started, and closes it when the wait is over.  If the Timeout ends the wait, a call
    that tells so by its result returns that result, and every other call raises the Timeout.

    It derives from BaseException, so that ``except Exception`` does not swallow it (as in gevent).
    A timeout is started, closed and raised in one greenlet.

    For type checkers it is generic in what its ``__exit__`` returns: a ``Timeout[bool]`` may leave a block
    silently, a ``Timeout[None]`` does not.
    """

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    # Of the class, because most timeouts are started and closed once: each of them would cost a store.
    greenlet: GreenThread = None  # type: ignore[assignment]  # until it is started
    _task: object = None
    _timer: Timer | None = None
    _thrown: BaseException | None = None

    @overload
    def __init__(
        self: Timeout[None],
        seconds: float | None = None,
        exception: BaseException | type[BaseException] | str | Literal[True] | None = None,
        ref: bool = True,
        priority: int = -1,
    ) -> None: ...
    @overload
    def __init__(
        self: Timeout[bool], seconds: float | None, exception: bool, ref: bool = True, priority: int = -1
    ) -> None: ...
    @overload
    def __init__(
        self: Timeout[bool],
        seconds: float | None = None,
        *,
        exception: bool,
        ref: bool = True,
        priority: int = -1,
    ) -> None: ...
    def __init__(
        self,
        seconds: float | None = None,
        exception: BaseException | type[BaseException] | str | bool | None = None,
        ref: bool = True,
        priority: int = -1,
    ) -> None:
        check_seconds("seconds", seconds)
        if not (
            exception is None
            or isinstance(exception, (bool, str, BaseException))
            or (isinstance(exception, type) and issubclass(exception, BaseException))
        ):
            raise TypeError(f"exception must be an exception, a string, a bool or None, not {exception!r}")
        BaseException.__init__(self)
        self.ref = ref
        self.seconds = seconds
        self.exception = exception

    @classmethod
    def start_new(
        cls,
        timeout: float | Timeout | None = None,
        exception: BaseException | type[BaseException] | str | bool | None = None,
        ref: bool = True,
    ) -> Timeout:
        """Make and start a timeout of so many seconds; an existing Timeout is started if it is not."""
        if isinstance(timeout, Timeout):
            if not timeout.pending:
                timeout.start()
            return timeout
        started = cls(timeout, exception, ref)
        started.start()
        return started

    @property
    def pending(self) -> bool:
        """True from the start until it fires or is closed."""
        return self._timer is not None and self._timer.pending

    def start(self) -> None:
        """Start the clock, for the calling greenlet."""
        timer = self._timer
        if timer is not None and timer.pending:
            raise RuntimeError(f"{self!r} is already started; close it before starting it again")
        if self.seconds is None:
            return
        self.greenlet = greenlet = current_greenlet()
        self._task = greenlet.task
        timers = greenlet.hub.timers
        if not self.ref:
            timers.has_weak = True
        self._timer = timers.call_later(self.seconds, self._fire)

    def _fire(self) -> None:
        if self.greenlet.task is not self._task:
            # Never closed, its task has ended, and the carrier may have another one by now.
            return
        exception = self.exception
        if exception is None or isinstance(exception, (bool, str)):
            self._thrown = self
        elif isinstance(exception, type):
            self._thrown = exception()
        else:
            self._thrown = exception
        interrupt(self.greenlet, self._thrown)

    def cancel(self) -> None:
        """Do what ``close`` does (as in gevent)."""
        self.close()

    def close(self) -> None:
        """Stop the clock.  One that has fired but could not be raised yet will not be."""
        timer = self._timer
        if timer is not None:
            timer.cancel()
            self._timer = None
        thrown = self._thrown
        if thrown is None:
            return
        self._thrown = None
        interrupts = self.greenlet.interrupts
        if interrupts:
            for index, pending in enumerate(interrupts):
                if pending is thrown:
                    del interrupts[index]
                    break

    def __enter__(self) -> Self:
        timer = self._timer
        if timer is None or not timer.pending:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> S_co:
        self.close()
        return value is self and self.exception is False  # type: ignore[return-value]  # see the class

    def __str__(self) -> str:
        if self.seconds is None:
            return ""
        unit = "second" if self.seconds == 1 else "seconds"
        suffix = {None: "", True: "", False: " (silent)"}.get(
            self.exception if self.exception is None or isinstance(self.exception, bool) else None, ""
        )
        if self.exception is not None and not isinstance(self.exception, bool):
            suffix = f": {self.exception}"
        return f"{self.seconds} {unit}{suffix}"

    def __lt__(self, other: float | Timeout) -> bool:
        """Compare the seconds, so that code may compare a *timeout* with a number (as in gevent)."""
        seconds = other.seconds if isinstance(other, Timeout) else other
        if self.seconds is None or not isinstance(seconds, (int, float)):
            return NotImplemented
        return self.seconds < seconds

    def __repr__(self) -> str:
        state = "pending" if self.pending else "not pending"
        return f"<Timeout seconds={self.seconds} exception={self.exception!r}: {state}>"


# These take arguments, because a lambda would make cells of its caller's variables, which are slower.


def ends_in_time(timeout: Timeout, wait: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Call *wait* under *timeout*, which is closed afterwards; False if that ended it, or *wait* is false."""
    try:
        with Timeout.start_new(timeout):
            return bool(wait(*args, **kwargs))
    except Timeout as raised:
        if raised is not timeout:
            raise
    return False


def call_within(timeout: Timeout, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call *call* under *timeout*, which is closed afterwards; raises what *timeout* brings."""
    with Timeout.start_new(timeout):
        return call(*args, **kwargs)
