"""Checks of arguments that are numbers of seconds."""

from __future__ import annotations


def check_seconds(name: str, seconds: float | None) -> None:
    """Refuse a negative number and anything that is no number of seconds; None means for ever."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"{name} must not be negative, not {seconds!r}")
