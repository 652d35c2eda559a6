"""Timeouts (as ``gevent.timeout``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._core.timeout import Timeout

__all__ = ["Timeout", "with_timeout"]

_RAISE = object()


def with_timeout(
    seconds: float | None,
    function: Callable[..., Any],
    *args: Any,
    timeout_value: Any = _RAISE,
    **kwargs: Any,
) -> Any:
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
