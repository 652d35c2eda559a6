"""Cooperative ``time`` (as ``gevent.time``): every name of the standard module; ``sleep`` parks."""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef"

from __future__ import annotations

import time as _standard
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from time import *  # noqa: F403
    from typing import SupportsFloat as _SupportsFloat
    from typing import SupportsIndex as _SupportsIndex

_take_names(_standard, globals())

from ._core.current import cannot_park as _cannot_park  # noqa: E402
from ._core.seconds import seconds_of as _seconds  # noqa: E402
from ._core.waiter import sleep as _sleep  # noqa: E402

__all__ = [name for name in vars(_standard) if not name.startswith("_")]

_native_sleep = _standard.sleep


def sleep(seconds: _SupportsFloat | _SupportsIndex, /) -> None:
    """Park the calling greenlet for *seconds*; with 0, only let the others run first.

    Raises ValueError for a negative number and TypeError for what is no number, as ``time.sleep``.
    """
    duration = _seconds(seconds)
    if duration < 0:
        raise ValueError("sleep length must be non-negative")
    if _cannot_park():
        # Nothing else can run meanwhile anyway.
        _native_sleep(duration)
    else:
        _sleep(duration)
