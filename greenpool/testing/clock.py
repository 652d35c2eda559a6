"""The clock of a run, which jumps.

While ``installed``, the clock functions of ``time``, ``time.sleep`` and the classes of ``datetime`` are
replaced: in their modules, and in every module that has taken the name.  On a thread of a run they tell the
run's time; on any other thread they are the originals.  A name that was taken into a local variable or a
default argument is not found.

*Threads*: install and undo it while no run is on; the functions may be called from any thread.
"""

from __future__ import annotations

import datetime
import sys
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
        return _real_date.__new__(_real_date if cls is _Date else cls, *args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        return _real_date.fromtimestamp(_now())


class _Datetime(_real_datetime, metaclass=_Likeness):
    original = _real_datetime

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real_datetime.__new__(_real_datetime if cls is _Datetime else cls, *args, **kwargs)

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


def _of_now(original: Callable[..., Any], arguments: int) -> Callable[..., Any]:
    """A function of ``time`` that means the present time if it gets no more than so many arguments."""
    as_struct = original in (_strftime, _asctime)

    def of_now(*args: Any) -> Any:
        if _run_here() is None or len(args) > arguments or (args and args[-1] is not None and not as_struct):
            return original(*args)
        return original(*args[:arguments], _localtime(_now()) if as_struct else _now())

    of_now.__name__ = of_now.__qualname__ = original.__name__
    return of_now


_localtime, _strftime, _asctime = time.localtime, time.strftime, time.asctime
_clock_gettime = time.clock_gettime
_CLOCKS_OF_RUN = {
    getattr(time, name, None)
    for name in ("CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME")
}


def _read_clock(number: int, /) -> float:
    """As ``time.clock_gettime``."""
    scheduler = _run_here()
    if scheduler is None or number not in _CLOCKS_OF_RUN:
        return _clock_gettime(number)
    return _now() if number == time.CLOCK_REALTIME else scheduler.now


def _nanoseconds_of_clock(original: Callable[[int], int]) -> Callable[[int], int]:
    def clock_gettime_ns(number: int, /) -> int:
        if _run_here() is None or number not in _CLOCKS_OF_RUN:
            return original(number)
        return _nanoseconds(_read_clock(number))

    return clock_gettime_ns


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
    pairs += [
        (function, _of_now(function, 0)) for function in (time.gmtime, _localtime, time.ctime, _asctime)
    ]
    pairs.append((_strftime, _of_now(_strftime, 1)))
    pairs.append((_clock_gettime, _read_clock))
    nanoseconds = time.clock_gettime_ns
    pairs.append((nanoseconds, _nanoseconds_of_clock(nanoseconds)))
    return pairs


@contextmanager
def _standard_library() -> Iterator[None]:
    """Have modules that keep a clock in another way see that of the run, too."""
    undo: list[tuple[Any, str, object]] = []

    def put(owner: Any, name: str, value: object) -> None:
        if hasattr(owner, name):
            undo.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)

    modules = sys.modules
    if "sched" in modules:
        # Its clock and its sleep are default arguments.
        put(modules["sched"].scheduler.__init__, "__defaults__", (time.monotonic, _sleep))
    if "uuid" in modules:
        # It asks C code for the time, unless there is none.
        put(modules["uuid"], "_generate_time_safe", None)
        put(modules["uuid"], "_last_timestamp", None)
    if "logging" in modules:
        start = getattr(modules["logging"], "_startTime", 0.0)
        put(modules["logging"], "_startTime", EPOCH if isinstance(start, float) else _nanoseconds(EPOCH))
    try:
        yield
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


_names = Names(lambda module: module in _REAL or module == __name__)


@contextmanager
def installed() -> Iterator[None]:
    """Have every module see the clock of the run that is on."""
    with _names.replaced(_replacements()), _standard_library():
        yield
