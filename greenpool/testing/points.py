"""The operations at which a schedule may choose: each of them is wrapped while runs are on.

Each operation has two points, one at its entrance and one when it has returned, and there are two kinds:

- An operation that can park (``acquire``, ``get``, ``wait``, ``recv``).  At its entrance any greenlet may go
  on, one of the same hub, too.  When it has returned another hub may.
- An operation that never parks (``release``, ``set``, ``notify``, ``spawn``).  At both points another hub may
  go on.  The greenlets of one hub do not preempt each other there, because they never do.

The threads of a patched program preempt each other at all of these points, and at the calls of ``os`` that
touch files.

Only calls from outside the package count.  Inside, an operation is part of another one, whose state may be
half done.  In a patched program the same holds for ``threading``, ``queue`` and ``concurrent.futures``: their
operations are points, and what they do inside is not.  So the points are where the program's own code is.

*Threads*: installed and undone while no run is on.
"""

from __future__ import annotations

import builtins
import concurrent.futures
import io
import os
import queue as _queue
import sys
import threading as _threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from .. import cancel, event, greenlet, lock, pool, queue, runtime, socket, taskgroup, thread
from .._core.ordered_set import OrderedSet
from .._core.scheduled import Scheduler
from .._core.task import Task
from .._fd.workers import Workers, count_unfinished_calls
from .clock import Current
from .names import Names

_PACKAGE = __name__.partition(".")[0] + "."
# In a patched program these do what the package does elsewhere.
_STANDARD = frozenset(("threading", "queue", "concurrent.futures._base", "concurrent.futures.thread"))

_ACQUIRE = ("acquire", "acquire_lock", "__enter__")
_RELEASE = ("release", "release_lock", "__exit__")
_SOCKET = ("accept", "connect", "recv", "recv_into", "recvfrom", "send", "sendall", "sendto", "makefile")

# Classes, operations that can park, operations that never do.
_Rows = tuple[tuple[Any, tuple[str, ...], tuple[str, ...]], ...]
_TABLE: _Rows = (
    (lock.Lock, _ACQUIRE, _RELEASE),
    (lock.RLock, _ACQUIRE, _RELEASE),
    (lock.Semaphore, (*_ACQUIRE, "wait"), _RELEASE),
    (lock.BoundedSemaphore, _ACQUIRE, _RELEASE),
    (lock.Condition, (*_ACQUIRE, "wait"), (*_RELEASE, "notify", "notify_all")),
    (lock.Barrier, ("wait",), ("reset", "abort")),
    (thread.LockType, _ACQUIRE, _RELEASE),
    (thread.RLock, _ACQUIRE, _RELEASE),
    (event.Event, ("wait",), ("set", "clear")),
    (event.AsyncResult, ("wait", "get"), ("set", "set_exception")),
    (queue.SimpleQueue, ("put", "get", "peek"), ("put_nowait", "get_nowait", "qsize", "empty", "full")),
    (queue.Queue, ("join",), ("task_done", "shutdown")),
    (queue.Channel, ("put", "get"), ()),
    (Task, ("join", "get", "kill"), ("start",)),
    (pool.Group, ("join", "kill", "spawn", "apply"), ("add", "discard")),
    (pool.Pool, ("spawn",), ()),
    (taskgroup.TaskGroup, (), ("spawn", "spawn_on")),
    (cancel.CancelScope, (), ("cancel",)),
    (runtime.Handle, (), ("spawn",)),
    (socket.socket, _SOCKET, ("close", "shutdown")),
)

# The same for a patched program, where each can be preempted.
_PATCHED: _Rows = (
    (_threading.Condition, ("__enter__", "__exit__", "wait", "wait_for", "notify", "notify_all"), ()),
    (_threading.Semaphore, (*_ACQUIRE, *_RELEASE), ()),
    (_threading.BoundedSemaphore, _RELEASE, ()),
    (_threading.Event, ("wait", "set", "clear", "is_set"), ()),
    (_threading.Barrier, ("wait", "reset", "abort"), ()),
    (_threading.Thread, ("join", "start", "is_alive"), ()),
    (_threading.Timer, ("cancel",), ()),
    (_queue.Queue, ("put", "get", "put_nowait", "get_nowait", "join", "task_done"), ()),
    (_queue.Queue, ("qsize", "empty", "full"), ()),
    (concurrent.futures.Future, ("result", "exception", "cancel", "done", "running", "cancelled"), ()),
    (concurrent.futures.Future, ("set_result", "set_exception", "add_done_callback"), ()),
    (concurrent.futures.ThreadPoolExecutor, ("submit", "shutdown"), ()),
    (os, ("open", "read", "write", "pread", "pwrite", "close", "truncate", "ftruncate"), ()),
    (os, ("rename", "replace", "unlink", "remove", "mkdir", "rmdir", "link", "symlink"), ()),
    (os, ("stat", "listdir", "scandir", "access"), ()),
    (builtins, ("open",), ()),
    (io, ("open",), ()),
)

# Functions, which a module may have taken by any name.
_PARKING: tuple[Callable[..., Any], ...] = (greenlet.joinall, greenlet.killall, greenlet.wait)
_WAKING: tuple[Callable[..., Any], ...] = (greenlet.spawn, greenlet.spawn_later, greenlet.kill)

# Sets of functions of ``os``: a wrapped one is found in them, too.
_ABILITIES = (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids)


def _calling_module() -> str:
    """The name of the module that calls an operation."""
    name = sys._getframe(3).f_globals.get("__name__", "")
    return name if isinstance(name, str) else ""


def _is_inside() -> bool:
    return _calling_module().startswith(_PACKAGE)


def _is_inside_patched() -> bool:
    name = _calling_module()
    return name.startswith(_PACKAGE) or name in _STANDARD


Point = Callable[[Scheduler, str], None]


def _wrapper(begin: Point, end: Point, is_inside: Callable[[], bool]) -> Callable[[Any, str], Any]:
    """What wraps the operations of one kind, which has these two points."""

    def wrapped(function: Callable[..., Any], what: str) -> Callable[..., Any]:
        @wraps(function)
        def operation(*args: Any, **kwargs: Any) -> Any:
            scheduler = Current.scheduler
            if scheduler is None or is_inside():
                return function(*args, **kwargs)
            begin(scheduler, what)
            result = function(*args, **kwargs)
            end(scheduler, f"{what}, done")
            return result

        return operation

    return wrapped


_parking = _wrapper(Scheduler.may_park, Scheduler.may_preempt, _is_inside)
_waking = _wrapper(Scheduler.may_preempt, Scheduler.may_preempt, _is_inside)
_preemptible = _wrapper(Scheduler.may_park, Scheduler.may_park, _is_inside_patched)


def _submitting(submit: Callable[..., None]) -> Callable[..., None]:
    """Have a run wait for the calls that its greenlets give to OS threads."""

    def operation(*args: Any) -> None:
        submit(*args)
        scheduler = Current.scheduler
        if scheduler is not None and scheduler.is_here():
            scheduler.count_calls = count_unfinished_calls

    return operation


def _ordering(make: Callable[..., None]) -> Callable[..., None]:
    """Have an executor join its threads in the order in which it has started them."""

    @wraps(make)
    def operation(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        if Current.scheduler is not None and self._threads == set():
            self._threads = OrderedSet()

    return operation


_OTHERS: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (Workers, "submit", _submitting),
    (concurrent.futures.ThreadPoolExecutor, "__init__", _ordering),
)
_names = Names(lambda module: module.startswith(_PACKAGE) and module != "greenpool.greenlet")


@contextmanager
def installed(patched: bool) -> Iterator[None]:
    """Make the operations points."""
    undo: list[tuple[Any, str, object]] = []
    in_sets: list[tuple[set[Any], object]] = []
    parking, waking = (_preemptible, _preemptible) if patched else (_parking, _waking)
    functions = [(function, parking(function, function.__name__)) for function in _PARKING]
    functions += [(function, waking(function, function.__name__)) for function in _WAKING]
    methods = [
        (kind, name, wrapper)
        for kind, parks, wakes in (*_TABLE, *(_PATCHED if patched else ()))
        for wrapper, names in ((parking, parks), (waking, wakes))
        for name in names
    ]
    try:
        for kind, name, wrapper in methods:
            original = vars(kind).get(name)
            if original is not None:
                undo.append((kind, name, original))
                wrapped = wrapper(original, f"{kind.__name__}.{name}")
                setattr(kind, name, wrapped)
                for ability in _ABILITIES:
                    if original in ability:
                        ability.add(wrapped)
                        in_sets.append((ability, wrapped))
        for kind, name, replace in _OTHERS:
            original = vars(kind)[name]
            undo.append((kind, name, original))
            setattr(kind, name, replace(original))
        with _names.replaced(functions):
            yield
    finally:
        for kind, name, original in reversed(undo):
            setattr(kind, name, original)
        for ability, wrapped in in_sets:
            ability.discard(wrapped)
