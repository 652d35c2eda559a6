"""AsyncResult: a value, or an exception, that greenlets and threads wait for."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, TypeVar

from .._core.native import HAS_GIL
from .._core.timeout import Timeout, call_within
from .._core.waits import awaited_as
from .waitable import Waitable, resume_in_order

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class _Unset:
    """Stands for the value of an AsyncResult that has none."""

    __slots__ = ()


_UNSET = _Unset()


class Outcome(Protocol[T_co]):
    """A greenlet or another AsyncResult, as one takes over its outcome."""

    @property
    def value(self) -> T_co | None: ...

    @property
    def exception(self) -> BaseException | None: ...

    def successful(self) -> bool: ...


class AsyncResult(Waitable, Generic[T]):
    """A value or an exception that is still to come (as ``gevent.event.AsyncResult``).

    It can be called, so it serves as a target for ``Greenlet.link``: it takes over the greenlet's outcome.
    Every method may be called from any thread.  Those that do not wait may also be called from a hub's
    callbacks and from signal handlers.
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
        """The exception in the form of ``sys.exc_info()``; an empty tuple while there is none."""
        return self._exc_info

    def set(self, value: T | None = None) -> None:
        """Store *value* and wake every waiter."""
        with self._guard:
            self._value = value  # type: ignore[assignment]  # None is a T where set() is called bare
            woken = self._claim_all()
        if self._due is not None:
            resume_in_order(woken)
            return
        for waiter in woken:
            waiter.resume()

    def set_exception(
        self,
        exception: BaseException | type[BaseException] | None,
        exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
        | tuple[()]
        | None = None,
    ) -> None:
        """Store *exception*, or that of *exc_info* with its traceback, and wake every waiter."""
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
        if self._due is not None:
            resume_in_order(woken)
            return
        for waiter in woken:
            waiter.resume()

    def get(self, block: bool = True, timeout: float | Timeout | None = None) -> T:
        """Wait for the value and return it, or raise the exception.

        Raises ``Timeout`` when there is none after *timeout* seconds or, with *block* false, at once.
        """
        value = self._value
        if not isinstance(value, _Unset):
            if self._due is not None and block:
                self._let_links_run(timeout)
            return value
        if self._exc_info:
            if self._due is not None and block:
                self._let_links_run(timeout)
        else:
            if not block:
                raise Timeout()
            if isinstance(timeout, Timeout):
                return call_within(timeout, self.get)
            if not self._wait(timeout):
                raise Timeout(timeout if timeout is None or timeout > 0 else 0)
            value = self._value
            if not isinstance(value, _Unset):
                return value
        _, exception, traceback = self._exc_info  # type: ignore[misc]  # not empty here
        if HAS_GIL:
            # Each raise would add to the traceback that the last raise left on the exception.
            exception = exception.with_traceback(traceback)
        # Without the GIL the traceback stays, because changing it is not safe while other threads raise the
        # exception.
        raise exception

    def get_nowait(self) -> T:
        """The same as ``get(block=False)``."""
        return self.get(block=False)

    def wait(self, timeout: float | Timeout | None = None) -> T | None:
        """Wait at most *timeout* seconds for an outcome; returns the value or None, and raises nothing."""
        if not self.ready():
            self._wait(timeout)
        elif self._due is not None:
            self._let_links_run(timeout)
        return self.value

    def __call__(self, source: Outcome[T]) -> None:
        """Take over the outcome of *source*, a greenlet or another AsyncResult."""
        if source.successful():
            self.set(source.value)
        else:
            self.set_exception(source.exception, getattr(source, "exc_info", None))

    # concurrent.futures.Future has these names.

    def result(self, timeout: float | Timeout | None = None) -> T:
        """The same as ``get(timeout=timeout)``."""
        return self.get(timeout=timeout)

    set_result = set

    def done(self) -> bool:
        """The same as ``ready``."""
        return self.ready()

    def cancel(self) -> bool:
        """False: it cannot be cancelled."""
        return False

    def cancelled(self) -> bool:
        """False: it cannot be cancelled."""
        return False


awaited_as(AsyncResult, "to be set")
