"""Green ``sys``: trace and profile functions of one green thread, and the frames of all of them.

CPython keeps the functions of ``settrace`` and ``setprofile`` for each OS thread.  Here each green thread
has its own.  They never see the code of greenpool itself, as those of plain Python never see the inside of
a lock.  So a trace function may wait for a lock, too.

*Threads*: each function is for the calling green thread, or for all.
"""

from __future__ import annotations

import sys as _sys
from collections.abc import Callable as _Callable
from types import BuiltinFunctionType as _BuiltinFunctionType
from types import FrameType as _FrameType
from types import FunctionType as _FunctionType
from types import MethodType as _MethodType
from typing import Any as _Any

from ._core import PACKAGE as _PACKAGE
from ._core.frames import frames_of_greenlets as _frames_of_greenlets
from ._core.native import current_frames as _os_threads_frames
from ._core.native import get_ident as _native_ident
from ._core.speedups import speedups as _speedups
from ._core.thread_state import keep_apart as _keep_apart
from ._core.thread_state import keep_apart_everywhere as _keep_apart_everywhere
from ._core.thread_state import settrace as _settrace

__all__ = ["getprofile", "gettrace", "setprofile", "settrace"]

_setprofile = _sys.setprofile
_gettrace = _sys.gettrace
_getprofile = _sys.getprofile

Function = _Callable[[_FrameType, str, _Any], _Any]

# Py_TPFLAGS_HEAPTYPE: classes of Python code have it.
_HEAP_TYPE = 1 << 9


class CodeFilter:
    """Calls a trace function, a profile function or a callback of ``sys.monitoring``, but not for the code
    of one directory.

    For that code it returns *otherwise*.
    """

    __slots__ = ("directory", "function", "otherwise")

    def __init__(self, function: _Any, directory: str, otherwise: object, /) -> None:
        self.function = function
        self.directory = directory
        self.otherwise = otherwise

    def __call__(self, place: _Any, *arguments: object) -> object:
        code = getattr(place, "f_code", place)
        if code.co_filename.startswith(self.directory):
            return self.otherwise
        return self.function(place, *arguments)


# The class in Python has a frame of its own, which the function finds if it looks for the one that has
# called it.
_HAS_FRAME = _speedups is None
if _speedups is not None:
    globals()["CodeFilter"] = _speedups.make_code_filter()


def settrace(function: Function | None, /) -> None:
    """As ``sys.settrace``, for the calling green thread."""
    _keep_apart()
    _settrace(_wrap(function))


def setprofile(function: Function | None, /) -> None:
    """As ``sys.setprofile``, for the calling green thread."""
    _keep_apart()
    _setprofile(_wrap(function))


def gettrace() -> _Any:
    """As ``sys.gettrace``, for the calling green thread."""
    return _unwrap(_gettrace())


def getprofile() -> _Any:
    """As ``sys.getprofile``, for the calling green thread."""
    return _unwrap(_getprofile())


def _wrap(function: _Any) -> _Any:
    # A tracer that is written in C, such as coverage's, goes on in C when it is called; it chooses the
    # files itself.
    return (
        CodeFilter(function, _PACKAGE, None) if callable(function) and not _is_native(function) else function
    )


def _is_native(function: object) -> bool:
    return (
        not isinstance(function, (_FunctionType, _MethodType)) and not type(function).__flags__ & _HEAP_TYPE
    )


def _unwrap(function: _Any) -> _Any:
    return function.function if type(function) is CodeFilter else function


def keep_profilers_apart() -> None:
    """Make ``cProfile`` profile one green thread up to CPython 3.11.

    Its profiler is written in C and does not call ``setprofile``.  Later ones profile all threads.
    """
    standard: _Any = vars(_sys.modules["cProfile"])["Profile"]

    def enable(self: _Any, *args: _Any, **kwargs: _Any) -> None:
        _keep_apart()
        super(standard, self).enable(*args, **kwargs)

    standard.enable = enable


# sys.monitoring, from CPython 3.12 on.


def register_callback(tool_id: int, event: int, function: _Any) -> _Any:
    """As ``sys.monitoring.register_callback``; *function* is not called for the code of greenpool.

    Without the C extension it is.
    """
    wrapped = function
    if callable(function) and not isinstance(function, _BuiltinFunctionType) and not _HAS_FRAME:
        # An event of a place in the code, which can be switched off there, or one of an exception.
        otherwise = _monitoring.DISABLE if event < _monitoring.events.RAISE else None
        wrapped = CodeFilter(function, _PACKAGE, otherwise)
        _keep_apart_everywhere()
    return _unwrap(_register_callback(tool_id, event, wrapped))


def wrap_callbacks() -> None:
    """Do what ``register_callback`` does for the callbacks that were registered before."""
    events = [value for name, value in vars(_monitoring.events).items() if name.isupper() and value]
    for tool_id in range(6):
        for event in events:
            try:
                function = _register_callback(tool_id, event, None)
            except ValueError:
                continue  # it has no callback of its own
            if function is not None:
                register_callback(tool_id, event, function)


_monitoring: _Any = getattr(_sys, "monitoring", None)
_register_callback: _Any = getattr(_monitoring, "register_callback", None)


# The frames.


def _current_frames() -> dict[int, _FrameType]:
    """As ``sys._current_frames``: the frame of each thread by its identifier, green threads included.

    A greenlet that is no thread has a frame here if ``threading.current_thread()`` has been called in it.
    Without the GIL a hub is asked for those of its greenlets, and a hub that has not answered after a tenth
    of a second, because one of its greenlets computes, has only that one's.
    """
    frames = _os_threads_frames()
    # The standard function has no frame itself.
    frames[_native_ident()] = _sys._getframe(1)
    active = getattr(_sys.modules.get("threading"), "_active", ())
    for ident, frame, is_thread in _frames_of_greenlets(frames):
        if is_thread or ident in active:
            frames[ident] = frame
    return frames
