"""The operations at which a schedule may choose: each of them is wrapped while runs are on.

Two kinds:

- An operation that can park (``acquire``, ``get``, ``wait``, ``recv``).  At its entrance any greenlet may go
on,
  one of the same hub, too.
- An operation that wakes others and never parks (``release``, ``set``, ``notify``, ``kill``).  Before and
after it
  another hub may go on.  The greenlets of one hub do not preempt each other there, because they never do; but
  the threads of a patched program do.

Only calls from outside the package count.  Inside, an operation is part of another one, whose state may be
half done.

*Threads*: installed and undone while no run is on.
"""

from __future__ import annotations

import queue as _queue
import sys
import threading as _threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from .. import event, lock, pool, queue, socket, thread
from .._core.task import Task
from .clock import Current

_PACKAGE = __name__.partition(".")[0] + "."

_ACQUIRE = ("acquire", "acquire_lock", "__enter__")
_RELEASE = ("release", "release_lock", "__exit__")
_SOCKET = ("accept", "connect", "recv", "recv_into", "recvfrom", "send", "sendall", "sendto", "makefile")

# Classes, operations that can park, operations that wake.
_TABLE: tuple[tuple[Any, tuple[str, ...], tuple[str, ...]], ...] = (
    (lock.Lock, _ACQUIRE, _RELEASE),
    (lock.RLock, _ACQUIRE, _RELEASE),
    (lock.Semaphore, (*_ACQUIRE, "wait"), _RELEASE),
    (lock.BoundedSemaphore, _ACQUIRE, _RELEASE),
    (lock.Condition, (*_ACQUIRE, "wait"), (*_RELEASE, "notify", "notify_all")),
    (thread.LockType, _ACQUIRE, _RELEASE),
    (thread.RLock, _ACQUIRE, _RELEASE),
    (event.Event, ("wait",), ("set", "clear")),
    (event.AsyncResult, ("wait", "get"), ("set", "set_exception")),
    (queue.SimpleQueue, ("put", "get"), ("put_nowait", "get_nowait")),
    (queue.Queue, ("join",), ("task_done", "shutdown")),
    (queue.Channel, ("put", "get"), ()),
    (Task, ("join", "get", "kill"), ("start",)),
    (pool.Group, ("join", "kill", "spawn", "apply"), ("add", "discard")),
    (pool.Pool, ("spawn",), ()),
    (socket.socket, _SOCKET, ("close", "shutdown")),
)

# The same for a patched program.
_PATCHED: tuple[tuple[Any, tuple[str, ...], tuple[str, ...]], ...] = (
    (_threading.Condition, ("wait", "notify"), ()),
    (_threading.Event, ("wait", "set", "clear", "is_set"), ()),
    (_threading.Thread, ("join", "start"), ()),
    (_queue.Queue, ("put", "get", "join", "task_done"), ()),
)


def _is_inside(depth: int = 2) -> bool:
    name = sys._getframe(depth).f_globals.get("__name__", "")
    return isinstance(name, str) and name.startswith(_PACKAGE)


def _parking(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    @wraps(function)
    def operation(*args: Any, **kwargs: Any) -> Any:
        scheduler = Current.scheduler
        if scheduler is not None and not _is_inside():
            scheduler.may_park(what)
        return function(*args, **kwargs)

    return operation


def _waking(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    @wraps(function)
    def operation(*args: Any, **kwargs: Any) -> Any:
        scheduler = Current.scheduler
        if scheduler is None or _is_inside():
            return function(*args, **kwargs)
        scheduler.may_preempt(what)
        result = function(*args, **kwargs)
        scheduler.may_preempt(f"{what}, done")
        return result

    return operation


@contextmanager
def installed(patched: bool) -> Iterator[None]:
    """Make the operations points."""
    undo: list[tuple[type, str, object]] = []
    try:
        for kind, parking, waking in (*_TABLE, *(_PATCHED if patched else ())):
            for wrap, names in ((_parking, parking), (_parking if patched else _waking, waking)):
                for name in names:
                    original = vars(kind).get(name)
                    if original is not None:
                        undo.append((kind, name, original))
                        setattr(kind, name, wrap(original, f"{kind.__name__}.{name}"))
        yield
    finally:
        for kind, name, original in reversed(undo):
            setattr(kind, name, original)
