"""Checks of arguments that are numbers of seconds."""

from __future__ import annotations

from _operator import index

from .typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import SupportsFloat, SupportsIndex

# The interpreter's own clock type holds 64 bits of nanoseconds.
LONGEST = 2**63 / 1e9


def check_seconds(name: str, seconds: float | None) -> None:
    """Refuse a negative number and anything that is no number of seconds; None means for ever."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"{name} must not be negative, not {seconds!r}")


# The shortest limit of the stall watch, in seconds.
SHORTEST_STALL = 0.001


def check_stall_limit(name: str, seconds: float) -> None:
    """Refuse what is no limit for the stall watch."""
    check_seconds(name, seconds)
    if not SHORTEST_STALL <= seconds < LONGEST:
        raise ValueError(f"{name} must be a number of seconds, at least {SHORTEST_STALL}, not {seconds!r}")


def seconds_of(value: SupportsFloat | SupportsIndex) -> float:
    """*value* as a number of seconds, refused as the standard library's C functions refuse it."""
    seconds = value if isinstance(value, float) else index(value)  # type: ignore[arg-type]  # it says so itself
    if seconds != seconds:
        raise ValueError("Invalid value NaN (not a number)")
    if not -LONGEST < seconds < LONGEST:
        raise OverflowError("timestamp out of range for platform time_t")
    return seconds
