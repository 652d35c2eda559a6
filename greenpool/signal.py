"""Cooperative ``signal`` (as ``gevent.signal``): every name of the standard module; what waits parks.

*Handlers* run as the main program, as Python promises, not as the green thread that they happen to interrupt:
``get_ident`` is that of the main thread, and what they raise is raised in the main program, where it waits or
when it waits next.  A handler may wait.  The main program stands still until it has returned, and all other
greenlets go on, the interrupted one too (see _core/signal_handler.py).

*pause* learns of a signal by way of ``set_wakeup_fd``, which it takes for as long as it waits; what comes in
is passed on to the descriptor that was set before, that of another pause maybe.

*sigwait and its like* are for signals that are blocked, which pend for the process or for one thread.  Only
that thread can see the latter, so no other can wait in its stead, and nothing wakes the hub.  So they ask
again and again, after a few milliseconds each time.

*Masks*: each green thread has one of its own (see _signal_masks.py).

*Threads*: any, as the standard functions; ``pause`` outside of the main thread waits in a thread of its own,
and returns when a signal is delivered to that one.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef, misc"

from __future__ import annotations

import errno as _errno
import os as _os
import signal as _standard
from collections.abc import Callable as _Callable
from collections.abc import Iterable as _Iterable
from operator import index as _index
from time import monotonic as _monotonic
from types import FrameType as _FrameType
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import TypeVar as _TypeVar
from typing import overload as _overload

from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from signal import *  # noqa: F403

_take_names(_standard, globals())

from . import _signal_masks as _masks  # noqa: E402
from ._core import PACKAGE as _PACKAGE  # noqa: E402
from ._core import native as _native  # noqa: E402
from ._core.descriptor import wait_descriptor as _wait_descriptor  # noqa: E402
from ._core.fork import at_fork as _at_fork  # noqa: E402
from ._core.pollers.events import IN as _IN  # noqa: E402
from ._core.seconds import seconds_of as _seconds  # noqa: E402
from ._core.signal_handler import run_handler as _run_handler  # noqa: E402
from ._core.signal_waker import in_main_thread as _in_main_thread  # noqa: E402
from ._core.signal_waker import pass_on as _pass_on  # noqa: E402
from ._core.waiter import Waiter as _Waiter  # noqa: E402
from ._core.waiter import sleep as _sleep  # noqa: E402
from ._core.waiter import spend as _spend  # noqa: E402
from ._fd.workers import blocking as _blocking  # noqa: E402

__all__ = [name for name in vars(_standard) if not name.startswith("_")]

# Seconds between two looks for a pending signal, at first and at most.
_FIRST_LOOK = 0.001
_LONGEST_LOOK = 0.02

_native_getsignal = _standard.getsignal
_native_raise_signal = _standard.raise_signal
_native_signal = _standard.signal


# A function, SIG_DFL or SIG_IGN; None where C code has installed the handler.
_AnyHandler = _Callable[[int, _FrameType | None], object] | int | None

_T = _TypeVar("_T")


class _Handler:
    """Runs a program's handler as the main program; only the main thread calls it."""

    __slots__ = ("handler",)

    def __init__(self, handler: _Callable[[int, _FrameType | None], object]) -> None:
        self.handler = handler

    def __call__(self, signalnum: int, frame: _FrameType | None) -> None:
        _run_handler(self.handler, signalnum, frame, not _is_ours(frame))


def _is_ours(frame: _FrameType | None) -> bool:
    if frame is None or frame.f_code is raise_signal.__code__:
        return False
    return frame.f_code.co_filename.startswith(_PACKAGE)


def _unwrapped(handler: _AnyHandler) -> _AnyHandler:
    return handler.handler if isinstance(handler, _Handler) else handler


def signal(signalnum: int, handler: _AnyHandler) -> _AnyHandler:
    """As ``signal.signal``; what *handler* raises is raised in the main program."""
    program = _unwrapped(handler)
    if callable(program):
        handler = _Handler(program)
    return _unwrapped(_native_signal(signalnum, handler))


def getsignal(signalnum: int) -> _AnyHandler:
    """As ``signal.getsignal``."""
    return _unwrapped(_native_getsignal(signalnum))


def raise_signal(signalnum: int, /) -> None:
    """As ``signal.raise_signal``; a caller in a loop lets the other greenlets run at times."""
    _native_raise_signal(signalnum)
    _spend()


if hasattr(_standard, "pause"):
    _native_pause = _standard.pause

    class _Pause:
        """One call of pause: its pipe, and the descriptor that was set before."""

        __slots__ = ("reading", "writing", "previous")

        def __init__(self) -> None:
            self.reading, self.writing = _native.pipe()
            self.previous = -1

    # The calls of pause that wait now, on the main thread.  The last one has set its descriptor.
    _pauses: list[_Pause] = []

    def pause() -> None:
        """Park the calling greenlet until a signal comes in and its handler, if any, has run."""
        if not _in_main_thread():
            _blocking(_native_pause)
            return
        own = _Pause()
        try:
            _os.set_blocking(own.writing, False)
            own.previous = _standard.set_wakeup_fd(own.writing)
            _pauses.append(own)
            try:
                _wait_descriptor(own.reading, _IN, None)
                # An exception of the handler comes through the inbox, before this.
                waiter = _Waiter()
                waiter.hub.post(waiter.wake)
                waiter.park()
            finally:
                if own in _pauses:
                    _pauses.remove(own)
                    _restore(own)
        finally:
            _native.close(own.reading)
            _native.close(own.writing)

    def _after_fork_in_child() -> None:
        """The greenlets that paused are the parent's, and so is what is written to their pipes.

        But for the main program's, if it is a handler that has forked: that pause is over.
        """
        if _pauses:
            always_ready = _os.open(_os.devnull, _os.O_RDWR)
            for pause in _pauses:
                _os.dup2(always_ready, pause.reading, inheritable=False)
                _os.dup2(always_ready, pause.writing, inheritable=False)
            _os.close(always_ready)
            current = _standard.set_wakeup_fd(_pauses[0].previous)
            if current != _pauses[-1].writing:
                _standard.set_wakeup_fd(current)
            _pauses.clear()

    _at_fork("signals", in_child=_after_fork_in_child)

    def _restore(ended: _Pause) -> None:
        current = _standard.set_wakeup_fd(ended.previous)
        if current != ended.writing:
            # Somebody has set one of his own meanwhile.
            _standard.set_wakeup_fd(current)
            for pause in _pauses:
                if pause.previous == ended.writing:
                    pause.previous = ended.previous
        if ended.previous != -1:
            _os.set_blocking(ended.reading, False)
            _pass_on(ended.reading, ended.previous)


if hasattr(_standard, "pthread_sigmask"):
    _native_pthread_kill = _standard.pthread_kill
    _native_pthread_sigmask = _standard.pthread_sigmask
    _native_sigpending = _standard.sigpending

    def pthread_sigmask(how: int, mask: _Iterable[int], /) -> set[int]:
        """As ``signal.pthread_sigmask``; in a green thread for that one, not for its OS thread.

        What a green thread blocks is still handled, because handlers run as the main program.
        """
        task = _masks.own_task()
        if task is None:
            return set(_native_pthread_sigmask(how, mask))
        if how not in (_standard.SIG_BLOCK, _standard.SIG_UNBLOCK, _standard.SIG_SETMASK):
            raise OSError(_errno.EINVAL, _os.strerror(_errno.EINVAL))
        changed = frozenset(map(_checked, mask))
        before = _masks.mask_of(task)
        if how == _standard.SIG_SETMASK:
            _masks.set_mask(task, changed)
        elif changed or how == _standard.SIG_UNBLOCK:
            _masks.set_mask(task, before | changed if how == _standard.SIG_BLOCK else before - changed)
        return {_named(number) for number in before}

    def sigpending() -> set[int]:
        """As ``signal.sigpending``, with the signals that were sent to the calling green thread alone."""
        task = _masks.own_task()
        pending = set(_native_sigpending())
        return pending if task is None else pending | {_named(n) for n in _masks.pending_of(task)}

    def pthread_kill(thread_id: int, signalnum: int, /) -> None:
        """As ``signal.pthread_kill``; *thread_id* may be that of a green thread.

        If the green thread blocks the signal, it pends for that thread.  Otherwise it goes to the OS thread
        of its hub.  Raises ProcessLookupError if there is no such thread.
        """
        number = _checked(signalnum) if signalnum else 0
        if _masks.kill(thread_id, number):
            return
        if thread_id not in _native.current_frames():
            # The C function would read memory that no thread has.
            raise ProcessLookupError(_errno.ESRCH, _os.strerror(_errno.ESRCH))
        _native_pthread_kill(thread_id, number)

    def _checked(number: int) -> int:
        number = _index(number)
        if not 0 < number < _standard.NSIG:
            raise ValueError(f"signal number {number} out of range [1; {_standard.NSIG - 1}]")
        return number

    def _named(number: int) -> int:
        try:
            return _standard.Signals(number)
        except ValueError:
            return number


if hasattr(_standard, "sigtimedwait"):
    _native_sigtimedwait = _standard.sigtimedwait

    # The code of a signal that was sent to one thread.
    _SI_TKILL = -6

    def sigtimedwait(sigset: _Iterable[int], timeout: float, /) -> _standard.struct_siginfo | None:
        """As ``signal.sigtimedwait``, parking the greenlet; *timeout* in seconds."""
        seconds = _seconds(timeout)
        if seconds < 0:
            raise ValueError("timeout must be non-negative")
        return _wait_for(_pending_information(sigset), seconds)

    def sigwaitinfo(sigset: _Iterable[int], /) -> _standard.struct_siginfo:
        """As ``signal.sigwaitinfo``, parking the greenlet."""
        return _wait_for(_pending_information(sigset), None)

    def sigwait(sigset: _Iterable[int], /) -> int:
        """As ``signal.sigwait``, parking the greenlet."""
        number = sigwaitinfo(sigset).si_signo
        try:
            return _standard.Signals(number)
        except ValueError:
            return number  # a real-time signal without a name

    def _pending_information(sigset: _Iterable[int]) -> _Callable[[], _standard.struct_siginfo | None]:
        signals = frozenset(sigset)
        task = _masks.own_task()

        def information() -> _standard.struct_siginfo | None:
            found = _native_sigtimedwait(signals, 0)
            if found is None and task is not None:
                sent = _masks.take_one(task, signals)
                if sent is not None:
                    return _standard.struct_siginfo((sent, 0, _SI_TKILL, _os.getpid(), _os.getuid(), 0, 0))
            return found

        return information

elif hasattr(_standard, "sigwait"):
    # macOS has no call that only looks; but there one signal can be asked for once it is pending.
    _native_sigwait = _standard.sigwait

    def sigwait(sigset: _Iterable[int], /) -> int:
        """As ``signal.sigwait``, parking the greenlet."""
        signals = frozenset(sigset)

        def pending() -> int | None:
            found = signals & _standard.sigpending()
            return _native_sigwait(found) if found else None

        return _wait_for(pending, None)


@_overload
def _wait_for(look: _Callable[[], _T | None], timeout: None) -> _T: ...
@_overload
def _wait_for(look: _Callable[[], _T | None], timeout: float | None) -> _T | None: ...
def _wait_for(look: _Callable[[], _T | None], timeout: float | None) -> _T | None:
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
