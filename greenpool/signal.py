"""Cooperative ``signal`` (as ``gevent.signal``): every name of the standard module; what waits parks.

*Handlers.*  ``signal.signal`` is the standard one, and a handler runs in the main thread, in whatever
greenlet runs there; while the hub of that thread waits, in the hub itself, where it must not wait for
anything (it may set an event).  What it raises is then raised where the main program waits.

*pause* learns of a signal by way of ``set_wakeup_fd``, which it takes for as long as it waits; what comes in
is passed on to a descriptor that was set before.

*sigwait and its like* are for signals that are blocked, which pend for the process or for one thread.  Only
that thread can see the latter, so no other can wait in its stead, and nothing wakes the hub.  So they ask
again and again, after a few milliseconds each time.

*Threads*: any, as the standard functions; ``pause`` outside of the main thread waits in a thread of its own,
and returns when a signal is delivered to that one.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef, misc"

from __future__ import annotations

import os as _os
import signal as _standard
import threading as _threading
from collections.abc import Callable as _Callable
from collections.abc import Iterable as _Iterable
from time import monotonic as _monotonic
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from signal import *  # noqa: F403

for _name, _value in list(vars(_standard).items()):
    if not _name.startswith("__"):
        globals()[_name] = _value

from ._core import native as _native  # noqa: E402
from ._core.descriptor import IN as _IN  # noqa: E402
from ._core.descriptor import wait_descriptor as _wait_descriptor  # noqa: E402
from ._core.hub import sleep as _sleep  # noqa: E402
from .socket import _spend  # noqa: E402
from .time import _seconds  # noqa: E402

__all__ = [name for name in vars(_standard) if not name.startswith("_")]

# Seconds between two looks for a pending signal, at first and at most.
_FIRST_LOOK = 0.001
_LONGEST_LOOK = 0.02

_native_raise_signal = _standard.raise_signal


def raise_signal(signalnum: int, /) -> None:
    """As ``signal.raise_signal``; who does so in a loop lets the others run at times."""
    _native_raise_signal(signalnum)
    _spend()


if hasattr(_standard, "pause"):
    _native_pause = _standard.pause

    def pause() -> None:
        """Park the calling greenlet until a signal comes in and its handler, if any, has run."""
        if _native.get_ident() != _threading.main_thread().ident:
            from .threadpool import blocking

            blocking(_native_pause)
            return
        reading, writing = _native.pipe()
        try:
            _os.set_blocking(writing, False)
            previous = _standard.set_wakeup_fd(writing)
            try:
                _wait_descriptor(reading, _IN, None)
            finally:
                current = _standard.set_wakeup_fd(previous)
                if current != writing:
                    # Somebody has set one of his own meanwhile.
                    _standard.set_wakeup_fd(current)
                elif previous != -1:
                    _pass_on(reading, previous)
        finally:
            _native.close(reading)
            _native.close(writing)

    def _pass_on(reading: int, wakeup_fd: int) -> None:
        _os.set_blocking(reading, False)
        try:
            _native.write(wakeup_fd, _native.read(reading, 4096))
        except OSError:
            pass  # none came in, or the other end is full, and knows thereby


if hasattr(_standard, "sigtimedwait"):
    _native_sigtimedwait = _standard.sigtimedwait

    def sigtimedwait(sigset: _Iterable[int], timeout: float, /) -> _Any:
        """As ``signal.sigtimedwait``, parking the greenlet; *timeout* in seconds."""
        seconds = _seconds(timeout)
        if seconds < 0:
            raise ValueError("timeout must be non-negative")
        return _wait_for(_pending_information(sigset), seconds)

    def sigwaitinfo(sigset: _Iterable[int], /) -> _Any:
        """As ``signal.sigwaitinfo``, parking the greenlet."""
        return _wait_for(_pending_information(sigset), None)

    def sigwait(sigset: _Iterable[int], /) -> _Any:
        """As ``signal.sigwait``, parking the greenlet."""
        number = sigwaitinfo(sigset).si_signo
        try:
            return _standard.Signals(number)
        except ValueError:
            return number  # a real-time signal without a name

    def _pending_information(sigset: _Iterable[int]) -> _Callable[[], _Any]:
        signals = frozenset(sigset)
        return lambda: _native_sigtimedwait(signals, 0)

elif hasattr(_standard, "sigwait"):
    # macOS has no call that only looks; but there one signal can be asked for once it is pending.
    _native_sigwait = _standard.sigwait

    def sigwait(sigset: _Iterable[int], /) -> _Any:
        """As ``signal.sigwait``, parking the greenlet."""
        signals = frozenset(sigset)

        def pending() -> _Any:
            found = signals & _standard.sigpending()
            return _native_sigwait(found) if found else None

        return _wait_for(pending, None)


def _wait_for(look: _Callable[[], _Any], timeout: float | None) -> _Any:
    deadline = None if timeout is None else _monotonic() + timeout
    pause = _FIRST_LOOK
    while (found := look()) is None:
        if deadline is not None:
            remaining = deadline - _monotonic()
            if remaining <= 0:
                return None
            pause = min(pause, remaining)
        _sleep(pause)
        pause = min(pause * 2, _LONGEST_LOOK)
    return found


# The standard module's functions, which are Python code over those of _signal, name it as their module.
for _name in __all__:
    _value = globals()[_name]
    if getattr(_value, "__module__", None) == __name__:
        _value.__module__ = "signal"
