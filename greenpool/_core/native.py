"""The originals of what ``greenpool.monkey`` replaces, taken before it can.

The runtime itself stands on real locks, real threads and real system calls, also in a patched program.
So nothing in this package may look such a name up in its module at call time (``threading.Lock()``,
``select.epoll()``, ``os.read()``): it takes the name from here.  ``greenpool.monkey`` imports this module
before it patches anything.
"""

from __future__ import annotations

import _thread
import importlib
import os
import select as _select
import sys
import threading
import time
from _queue import SimpleQueue
from _thread import RLock, get_ident, start_new_thread
from _thread import _local as local
from _thread import allocate_lock as Lock
from types import ModuleType

from .typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "HAS_GIL",
    "Lock",
    "RLock",
    "SimpleQueue",
    "close",
    "current_frames",
    "eventfd_read",
    "eventfd_write",
    "fresh_copy",
    "get_ident",
    "local",
    "open_descriptor",
    "original_threading",
    "pipe",
    "read",
    "sleep",
    "start_new_thread",
    "thread_count",
    "write",
]

# Python 3.13 and later can be without.
HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()

_copying = Lock()

# The C part of signal.  The Python part makes enums, which take a twentieth of the time of importing
# greenpool.
signal: Any = importlib.import_module("_signal")

# Of OS threads only.
current_frames = sys._current_frames
thread_count = _thread._count

close = os.close
eventfd_read: Any = getattr(os, "eventfd_read", None)
eventfd_write: Any = getattr(os, "eventfd_write", None)
open_descriptor = os.open
pipe = os.pipe
read = os.read
sleep = time.sleep
write = os.write
select = _select.select
poll: Any = getattr(_select, "poll", None)
epoll: Any = getattr(_select, "epoll", None)
kqueue: Any = getattr(_select, "kqueue", None)


def fresh_copy(name: str) -> ModuleType:
    """A second instance of the standard module *name*, which nobody else knows.

    It is made of the original parts only if it is made before patching.
    """
    import importlib.util  # imported here, because only patching and copies need it

    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)
    if threading.current_thread() is threading.main_thread() or not hasattr(_thread, "_set_sentinel"):
        spec.loader.exec_module(module)
        return module
    # Up to Python 3.12 a copy of threading takes the thread that makes it for the main one, and would take
    # away the lock at which that thread is joined.
    with _copying:
        original = _thread._set_sentinel
        _thread._set_sentinel = Lock
        try:
            spec.loader.exec_module(module)
        finally:
            _thread._set_sentinel = original
        if hasattr(module, "_set_sentinel"):
            vars(module)["_set_sentinel"] = original
    return module


class _Threading:
    """What real threads are made with: the threading module itself until it is patched."""

    module: ModuleType = threading


def original_threading() -> ModuleType:
    """A ``threading`` module whose Thread is an OS thread, whatever is patched."""
    return _Threading.module


def keep_original_threading() -> None:
    """Called before ``threading`` is patched: from now on real threads come from a copy of it."""
    if _Threading.module is threading:
        _Threading.module = fresh_copy("threading")
