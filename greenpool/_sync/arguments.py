"""Checks of the arguments that locks, events and queues share."""

from __future__ import annotations

from _thread import TIMEOUT_MAX

# float() would read these, too.
_TEXTS: tuple[type, ...] = (str, bytes, bytearray)


def seconds(timeout: float | None) -> float | None:
    """Return *timeout* as a number of seconds; None means for ever."""
    if timeout is None:
        return None
    try:
        number = float("nan") if isinstance(timeout, _TEXTS) else float(timeout)
    except (TypeError, ValueError):
        number = float("nan")
    if number != number:
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}")
    return number


def check_int(name: str, value: object) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")


def lock_timeout(blocking: bool, timeout: float | None) -> float | None:
    """Check the arguments of a lock's ``acquire`` and return the seconds to wait; None means for ever."""
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
