"""Green ``_thread``: what the standard ``threading`` stands on (as ``gevent.thread``).

A thread started here is a greenlet, placed as ``spawn`` places one: round-robin over the pool when the main
function of ``run`` starts it, on its own hub when a greenlet does.  It runs in an empty context, as an OS
thread does, not in a copy of its starter's.

The standard ``threading`` needs of ``_thread``, by version: up to CPython 3.12 ``_set_sentinel`` (a lock
that is released when the thread has ended); from 3.13 on ``_ThreadHandle``, ``start_joinable_thread`` and
``_shutdown``.  Both are here; tests/test_threading.py fails where a later version asks for more.
"""

from __future__ import annotations

import _thread
import sys
from _thread import TIMEOUT_MAX, error, exit, interrupt_main, stack_size
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any

from greenlet import GreenletExit

from ._core.carrier import Carrier
from ._core.current import BUDGET, current_owner, finalizing_greenlet, getcurrent
from ._core.fork import at_fork
from ._core.native import RLock as _NativeRLock
from ._core.native import get_ident as _native_ident
from ._core.native import original_threading as _original_threading
from ._core.native import start_new_thread as _start_native_thread
from ._core.spawning import call_spawn_callbacks, spawn_callbacks
from ._core.speedups import replace_twins, speedups
from ._core.state import GreenThread
from ._core.task import Task
from ._core.timeout import Timeout as _Timeout
from ._core.waiter import yield_now
from ._signal_masks import inherit as inherit_mask
from ._sync.arguments import lock_timeout as _lock_timeout
from .event import Event
from .local import local as _local  # noqa: F401 - part of _thread
from .lock import Lock as _Lock
from .lock import RLock as _RLock

__all__ = [
    "LockType",
    "RLock",
    "TIMEOUT_MAX",
    "allocate",
    "allocate_lock",
    "error",
    "exit",
    "exit_thread",
    "get_ident",
    "interrupt_main",
    "stack_size",
    "start_joinable_thread",
    "start_new",
    "start_new_thread",
]

exit_thread = exit

# Locks.  Threads may poll: ``while q.empty(): pass`` does not keep OS threads from running, and nearly each
# such loop goes through a lock.  So in these locks, other than in those of greenpool.lock, an acquire counts
# as an operation that did not have to wait, as those of sockets do, and yields when the budget is used up.
#
# An exception that is pending (a kill, a Timeout) would be raised there: out of an ``event.set()`` in some
# ``finally``, or before a thread has said that it has started.  So only who goes on and on, as a loop that
# polls does, gets it there, after as many operations again.
#
# Nor does a greenlet that forks yield: until the hub's own hook has run in the child, those that only the
# parent has are ready there, too, and ``threading`` takes its locks before.

# The greenlets that fork.
_forking: set[object] = set()


def _spend() -> None:
    try:
        greenlet = getcurrent()
        budget = greenlet.budget = greenlet.budget - 1
    except AttributeError:
        return  # a hub's loop, or a thread that has never waited
    except RuntimeError:
        finalizing_greenlet()
        return
    if budget < 0 and (not greenlet.interrupts or budget < -BUDGET) and greenlet not in _forking:
        yield_now()


def _before_fork() -> None:
    _forking.add(_current())


def _after_fork_in_parent() -> None:
    _forking.discard(_current())


# From CPython 3.13 on, threading.Lock is this type and can be called.
_CALLABLE = sys.version_info >= (3, 13)


class LockType(_Lock):
    """The type of ``threading.Lock()``."""

    __slots__ = ()

    if not _CALLABLE:

        def __new__(cls, *args: object, **kwargs: object) -> LockType:
            raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    def __init_subclass__(cls, **kwargs: object) -> None:
        name = f"{LockType.__module__}.{LockType.__qualname__}"
        raise TypeError(f"type '{name}' is not an acceptable base type")

    def acquire(self, blocking: bool = True, timeout: float | _Timeout | None = -1) -> bool:
        """As ``threading.Lock.acquire``."""
        _spend()
        return _Lock.acquire(self, blocking, timeout)

    acquire_lock = __enter__ = acquire


def allocate_lock() -> LockType:
    """As ``_thread.allocate_lock``."""
    lock = object.__new__(LockType)
    _Lock.__init__(lock)
    return lock


def make_held_lock() -> LockType:
    """A lock that its maker has acquired."""
    lock = allocate_lock()
    _Lock.acquire(lock)
    return lock


lock = LockType


class RLock(_RLock):
    """As ``threading.RLock``, which ignores arguments."""

    __slots__ = ("__dict__",)

    def __init__(self, *args: object, **kwargs: object) -> None:
        _RLock.__init__(self)

    def acquire(self, blocking: bool = True, timeout: float | _Timeout | None = -1) -> bool:
        """As ``threading.RLock.acquire``."""
        _spend()
        return _RLock.acquire(self, blocking, timeout)

    __enter__ = acquire


# Guards what follows, never for long; reentrant, because a signal handler or a finalizer may start
# a thread between any two bytecodes.
_threads_lock = _NativeRLock()
# False in the child of a fork that a green thread has made: no end comes there before that of a daemon.
_has_daemons = True
# Green threads that are alive, for _count.
_alive = 0
# The live green threads that have a handle, by which they are joined.
_running: set[_ThreadHandle] = set()


class _GreenThread(Task):
    """The greenlet of one thread."""

    __slots__ = ("counted", "daemon", "sentinel", "handle")

    is_thread = True

    def __init__(self, run: Callable[..., object], *args: object) -> None:
        # The function is an argument, because the task's own function would run in the place of _run.
        Task.__init__(self, None, run, *args, context=Context())
        self.counted = False
        # Only a holder of its sentinel waits for a thread that was started with start_new_thread.
        self.daemon = True
        self.sentinel: Sentinel | None = None
        self.handle: _ThreadHandle | None = None

    def _label(self) -> str:
        function = self.args[0] if self.args else None
        name = getattr(_thread_of(function), "name", None) if callable(function) else None
        return self.name if name is None else f'{self.name} "{name}"'

    def _run(self, function: Callable[..., object], /, *args: object, **kwargs: object) -> None:
        hub: Any = self.hub
        if self.daemon:
            hub.daemon_started()
        try:
            function(*args, **kwargs)
        except (SystemExit, GreenletExit):
            pass  # the thread exits silently, as in _thread
        except BaseException as exception:
            _report(function, exception)
        finally:
            if self.daemon:
                hub.daemon_ended()

    def _finish(self) -> None:
        # _run cannot do this: a green thread that ends with its OS thread may never leave it, or never have
        # entered it.
        Task._finish(self)
        self._uncount()
        if self.sentinel is not None:
            self.sentinel.release()
        if self.handle is not None:
            self.handle._done.set()

    def _count(self) -> None:
        global _alive
        with _threads_lock:
            self.counted = True
            _alive += 1
            if self.handle is not None:
                _running.add(self.handle)

    def _uncount(self) -> None:
        global _alive
        with _threads_lock:
            # A green thread that ended with its OS thread may end once more when its carrier is let go.
            if self.counted:
                self.counted = False
                _alive -= 1
                if self.handle is not None:
                    _running.discard(self.handle)


def _after_fork_in_child() -> None:
    global _alive, _has_daemons
    _threads_lock._at_fork_reinit()  # type: ignore[attr-defined]  # private
    survivor = getattr(getcurrent(), "task", None)
    _alive = 1 if isinstance(survivor, _GreenThread) else 0
    if type(getcurrent()) is Carrier:
        # Its end is the end of the process, which waits for daemons, too (see _core/fork.py).
        _has_daemons = False
        if isinstance(survivor, _GreenThread):
            survivor.daemon = False
    for handle in list(_running):
        handle._done._at_fork_reinit()
        if handle.ident != get_ident():
            _running.discard(handle)
            handle._done.set()
    # The hub's own hook has run before this one (see _core/fork.py).
    _forking.clear()


at_fork("green threads", before=_before_fork, in_parent=_after_fork_in_parent, in_child=_after_fork_in_child)


# The one type that sys.__unraisablehook__ accepts; no module has it.
_UnraisableHookArgs: Any = next(
    kind for kind in tuple.__subclasses__() if kind.__name__ == "UnraisableHookArgs"
)


def _report(function: object, exception: BaseException) -> None:
    message = "Exception ignored in thread started by"
    if sys.version_info >= (3, 13):
        message, function = f"{message} {function!r}", None
    # The traceback begins with the thread's function.
    traceback = exception.__traceback__ and exception.__traceback__.tb_next
    sys.unraisablehook(_UnraisableHookArgs((type(exception), exception, traceback, message, function)))


def _thread_of(function: Callable[..., object]) -> Any:
    """The ``threading.Thread`` that starts itself with *function*; None where somebody else starts one."""
    if getattr(function, "__name__", "") == "_bootstrap":
        return getattr(function, "__self__", None)
    return None


class _Starts:
    """Where threads run that a plain thread starts: on its hub, or each in an OS thread of its own."""

    os_threads = False


def start_os_threads_from_plain_threads() -> None:
    """From now on each thread that a plain thread starts is an OS thread of its own, with a hub.

    Called where a library has native threads.  Those call functions of the program, such as ``submit`` of an
    executor, and then wait in C, where a green thread on their hub would never have a turn.
    """
    _Starts.os_threads = True


def _in_plain_thread() -> bool:
    """Whether the caller is the main program of an OS thread that is neither the main thread nor a pool's."""
    if current_owner() is not None or type(_current()) is Carrier:
        return False
    main: int | None = _original_threading().main_thread().ident
    return _native_ident() != main


def _run_in_os_thread(thread: _GreenThread) -> None:
    thread.start()
    thread.join()


def _start(
    function: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object] | None,
    owner: Any,
    daemon: bool,
    handle: _ThreadHandle | None = None,
) -> _GreenThread:
    thread = _GreenThread(function, *args)
    if kwargs:
        thread._kwargs = dict(kwargs)
    thread.daemon = daemon and _has_daemons
    if owner is not None:
        # This takes the place of threading's Event, which takes a lock to be set.  A thread whose hub is told
        # to stop could be ended while it waits for that lock, and its starter would wait for ever.
        owner._started = Event()
    if handle is not None:
        handle.ident = id(thread)
        thread.handle = handle
    inherit_mask(thread)
    thread._count()
    try:
        if _Starts.os_threads and _in_plain_thread():
            _start_native_thread(_run_in_os_thread, (thread,))
        else:
            if spawn_callbacks:
                call_spawn_callbacks(thread)
            thread.start_unshared()
    except BaseException:
        thread._uncount()
        raise
    return thread


def start_new_thread(
    function: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object] | None = None,
    /,
) -> int:
    """Start a green thread and return its identifier; errors as ``_thread.start_new_thread``."""
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")
    sys.audit("_thread.start_new_thread", function, args, kwargs)
    # A thread of threading.Thread is a daemon or not; others are never waited for.
    owner = _thread_of(function)
    daemon = getattr(owner, "daemon", True)
    return id(_start(function, args, kwargs, owner, bool(daemon)))


start_new = start_new_thread


def _current() -> GreenThread:
    try:
        return getcurrent()
    except RuntimeError:
        return finalizing_greenlet()


def get_ident() -> int:
    """The identifier of the calling green thread; an OS thread's own outside of any."""
    greenlet = _current()
    if type(greenlet) is Carrier:
        return id(greenlet.task)
    if greenlet.parent is None or not hasattr(greenlet, "hub") or hasattr(greenlet, "signalnum"):
        # The last is that of a signal handler, which runs as the main program.
        return _native_ident()
    return id(greenlet)


if speedups is not None:
    _lock_methods, _rlock_methods, get_ident, allocate_lock, _spend = speedups.connect_thread(
        LockType, RLock, get_ident, allocate_lock, _spend
    )
    replace_twins(LockType, _lock_methods)
    replace_twins(RLock, _rlock_methods)

allocate = allocate_lock


def _count() -> int:
    """The green threads that are alive; the OS threads that run hubs and blocking calls are nobody's."""
    return _alive


# Up to CPython 3.12.


class Sentinel(Event):
    """What ``threading.Thread`` takes for a lock that is held as long as its thread lives.

    No lock, which goes from one waiter to the next and is held again each time: a latch.  The thread itself
    *acquires* it first; every other acquire waits for the release at the thread's end, and all wait at once.
    """

    __slots__ = ("_armed", "held")

    def __init__(self) -> None:
        Event.__init__(self)
        self._armed = False
        # Another caller acquired it after the end, and ``is_alive`` is still true for that caller.
        self.held = False

    def wait_for_end(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Wait at most *timeout* seconds (-1 or None: for ever) for the thread to end; True once it has."""
        _spend()
        if self._flag and timeout == -1:
            return True
        limit = _lock_timeout(blocking, timeout)
        return self.wait(limit) if blocking else self.is_set()

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        if not self._armed:
            self._armed = True
            return True
        self.held = self.wait_for_end(blocking, timeout)
        return self.held

    def release(self) -> None:
        self.held = False
        self.set()

    def locked(self) -> bool:
        """True while the thread lives."""
        return self._armed and not self._flag

    def _at_fork_reinit(self) -> None:
        Event._at_fork_reinit(self)
        self.clear()
        self._armed = self.held = False


def _set_sentinel() -> Sentinel:
    """What is released when the calling green thread has ended."""
    sentinel = Sentinel()
    task = getattr(getcurrent(), "task", None)
    if isinstance(task, _GreenThread):
        task.sentinel = sentinel
    return sentinel


# CPython has this from 3.13 on.


_NativeHandle: Any = getattr(_thread, "_ThreadHandle", None)


class _ThreadHandle:
    """What ``threading.Thread`` knows of its running thread."""

    def __init__(self) -> None:
        self.ident = 0
        self._started = False
        self._daemon = True
        self._done = Event()

    def __repr__(self) -> str:
        return f"<_ThreadHandle object: ident={self.ident}>"

    def is_done(self) -> bool:
        # ``while thread.is_alive(): pass`` goes through no lock.
        _spend()
        return self._done.is_set()

    def _set_done(self) -> None:
        if not self._started:
            raise RuntimeError("thread not started")
        self._done.set()

    def join(self, timeout: float | None = None) -> None:
        if timeout is not None and timeout < 0:
            timeout = None
        if not self._started:
            raise RuntimeError("thread not started")
        if not self._done.is_set() and self.ident == get_ident():
            raise RuntimeError("Cannot join current thread")
        self._done.wait(timeout)


def _make_thread_handle(ident: int) -> _ThreadHandle:
    handle = _ThreadHandle()
    handle.ident = ident
    handle._started = True
    return handle


def start_joinable_thread(
    function: Callable[[], object], handle: _ThreadHandle | None = None, daemon: bool = True
) -> _ThreadHandle:
    """Start a green thread; errors as ``_thread.start_joinable_thread``."""
    if not callable(function):
        raise TypeError("thread function must be callable")
    if _NativeHandle is not None and isinstance(handle, _NativeHandle):
        # This is the lock of a threading.Thread that was made before patching.
        owner = _thread_of(function)
        if owner is not None and owner._handle is handle:
            owner._handle = handle = _ThreadHandle()
    if handle is None:
        handle = _ThreadHandle()
    elif not isinstance(handle, _ThreadHandle):
        raise TypeError("'handle' must be a _ThreadHandle")
    if handle._started:
        raise RuntimeError("thread already started")
    sys.audit("_thread.start_joinable_thread", function, int(daemon), handle)
    handle._started = True
    handle._daemon = daemon
    try:
        _start(function, (), None, _thread_of(function), daemon, handle)
    except BaseException:
        handle._started = False
        handle.ident = 0
        raise
    return handle


def _shutdown() -> None:
    """Wait for every thread that is not a daemon; the end of the main thread."""
    while True:
        with _threads_lock:
            # Oneself is not waited for.
            handles = [handle for handle in _running if not handle._daemon and handle.ident != get_ident()]
        if not handles:
            return
        for handle in handles:
            handle._done.wait()


def __getattr__(name: str) -> Any:
    # Whatever else a version of Python has there needs no green version.
    return getattr(_thread, name)


__all__ += [name for name in vars(_thread) if not name.startswith("_") and name not in __all__]
