"""Timeouts (as ``gevent.timeout``)."""

from __future__ import annotations

from collections.abc import Callable

from ._core.timeout import Timeout
from ._core.typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    D = TypeVar("D")

__all__ = ["Timeout", "with_timeout"]


_RAISE = object()


# The first overload has no P, because nothing may stand between *args: P.args and **kwargs: P.kwargs.
@overload
def with_timeout(
    seconds: float | None,
    function: Callable[..., T],
    *args: object,
    timeout_value: D,
    **kwargs: object,
) -> T | D: ...
@overload
def with_timeout(seconds: float | None, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
def with_timeout(
    seconds: float | None,
    function: Callable[..., T],
    *args: object,
    timeout_value: object = _RAISE,
    **kwargs: object,
) -> object:
    """Call *function* and return its value, or *timeout_value* where it takes longer than *seconds*.

    Without a *timeout_value* the Timeout is raised.  A Timeout of somebody else passes through.
    """
    if not callable(function):
        raise TypeError(f"function must be callable, not {function!r}")
    timeout = Timeout.start_new(seconds)
    try:
        return function(*args, **kwargs)
    except Timeout as raised:
        if raised is timeout and timeout_value is not _RAISE:
            return timeout_value
        raise
    finally:
        timeout.close()
