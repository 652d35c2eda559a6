"""The clock of a run, which jumps.

While ``installed``, the clock functions of ``time``, ``time.sleep`` and the classes of ``datetime`` are
replaced: in their modules, and in every module that has taken the name.  On a thread of a run they tell the
run's time; on any other thread they are the originals.  A name that was taken into a local variable or a
default argument is not found.

*Threads*: install and undo it while no run is on; the functions may be called from any thread.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .._core.native import get_ident
from .._core.native import sleep as _real_sleep
from .._core.scheduled import Scheduler
from .._core.waiter import sleep as _green_sleep
from .names import Names

# When the time of each run begins, in seconds since 1970: 2024-01-01, 00:00 UTC.
EPOCH = 1_704_067_200.0
# What its monotonic clock shows then.
BEGIN = 1024.0

# They measure real time: how long a hub sleeps or spins, and what a run does meanwhile.
_REAL = tuple(
    f"greenpool._core.{name}"
    for name in ("inbox", "spin", "memory", "gil", "stall_watch", "turn_times", "scheduled", "native")
)


class Current:
    """The run that is on; there is at most one in a process."""

    scheduler: Scheduler | None = None


def _run_here() -> Scheduler | None:
    scheduler = Current.scheduler
    return scheduler if scheduler is not None and scheduler.jumps and scheduler.is_here() else None


def _reading(original: Callable[[], Any], of_run: Callable[[float], Any]) -> Callable[[], Any]:
    def read() -> Any:
        scheduler = Current.scheduler
        if scheduler is None or not scheduler.jumps or get_ident() not in scheduler.by_thread:
            return original()
        return of_run(scheduler.now)

    read.__name__ = read.__qualname__ = original.__name__
    return read


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e6) * 1000


_real_datetime = datetime.datetime
_real_date = datetime.date
_real_time = time.time


def _sleep(seconds: float, /) -> None:
    """Sleep as ``time.sleep``; a greenlet of a run parks."""
    scheduler = Current.scheduler
    if scheduler is None or not scheduler.is_here():
        _real_sleep(seconds)
    elif seconds < 0:
        raise ValueError("sleep length must be non-negative")
    else:
        _green_sleep(seconds)


class _Likeness(type):
    """The class of a class that stands for another one: it has the same instances."""

    original: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.original)


def _now() -> float:
    scheduler = _run_here()
    return _real_time() if scheduler is None else scheduler.now - BEGIN + EPOCH


class _Date(_real_date, metaclass=_Likeness):
    original = _real_date

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real_date(*args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        return _real_date.fromtimestamp(_now())


class _Datetime(_real_datetime, metaclass=_Likeness):
    original = _real_datetime

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real_datetime(*args, **kwargs)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real_datetime.fromtimestamp(_now(), tz)

    @classmethod
    def today(cls) -> Any:
        return _real_datetime.fromtimestamp(_now())

    @classmethod
    def utcnow(cls) -> Any:
        return _real_datetime.fromtimestamp(_now(), datetime.UTC).replace(tzinfo=None)


_Date.__name__ = _Date.__qualname__ = "date"
_Datetime.__name__ = _Datetime.__qualname__ = "datetime"


def _replacements() -> list[tuple[object, object]]:
    pairs: list[tuple[object, object]] = [
        (_real_datetime, _Datetime),
        (_real_date, _Date),
        (_real_sleep, _sleep),
    ]
    for name in ("monotonic", "perf_counter"):
        pairs.append((getattr(time, name), _reading(getattr(time, name), lambda now: now)))
        nanoseconds = getattr(time, f"{name}_ns")
        pairs.append((nanoseconds, _reading(nanoseconds, _nanoseconds)))
    pairs.append((time.time, _reading(time.time, lambda now: now - BEGIN + EPOCH)))
    pairs.append((time.time_ns, _reading(time.time_ns, lambda now: _nanoseconds(now - BEGIN + EPOCH))))
    return pairs


_names = Names(lambda module: module in _REAL or module == __name__)


@contextmanager
def installed() -> Iterator[None]:
    """Have every module see the clock of the run that is on."""
    with _names.replaced(_replacements()):
        yield
