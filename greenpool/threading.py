"""Green ``threading`` (as ``gevent.threading``): the standard module's own code over ``greenpool.thread``.

It is a second instance of the standard module, made green; ``greenpool.monkey`` makes the first one green in
the same way.  See ``make_green`` for what is replaced.
"""

from __future__ import annotations

import sys as _sys
import threading as _standard
from collections.abc import Callable as _Callable
from functools import wraps as _wraps
from types import ModuleType as _ModuleType
from typing import Any as _Any
from weakref import WeakKeyDictionary as _WeakKeyDictionary

from greenlet import GreenletExit as _GreenletExit

from . import thread as _green
from ._core import native as _native
from ._core.current import cannot_park as _cannot_park
from ._core.current import getcurrent as _getcurrent
from ._core.current import thread_hub as _thread_hub
from ._core.speedups import replace_twins as _replace_twins
from ._core.speedups import speedups as _speedups
from ._core.waiter import sleep as _sleep
from ._core.waits import awaited_lock as _awaited_lock
from .event import Event as _Event
from .local import local as _local

# Seconds between two looks at the OS threads that the program's end waits for.
_LOOK = 0.01


def replacements(module: _ModuleType) -> dict[str, object]:
    """What makes *module*, an instance of the standard ``threading``, green: names and values.

    ``threading`` takes these of ``_thread`` at its import, in CPython 3.11 to 3.14; the names that a version
    does not have are left out.  The locks of the module's own tables stay real: they are held for a few
    lines in which nothing waits.

    The methods that have to change are replaced here and now, in the module's classes, as these stay what
    they are: so the objects that were made before have them too.
    """
    _replace_methods(module)
    candidates = {
        "_start_new_thread": _green.start_new_thread,
        "_start_joinable_thread": _green.start_joinable_thread,
        "_allocate_lock": _green.allocate_lock,
        "_LockType": _green.LockType,
        "Lock": _green.LockType if _green._CALLABLE else _green.allocate_lock,
        "_CRLock": _green.RLock,
        "_set_sentinel": _green._set_sentinel,
        "_ThreadHandle": _green._ThreadHandle,
        "_make_thread_handle": _green._make_thread_handle,
        "_thread_shutdown": _green._shutdown,
        "get_ident": _green.get_ident,
        # Asked for in the child of a fork only, by a thread that ``threading`` did not start: it is now the
        # main one.  (At its import ``threading`` has asked already.)
        "_get_main_thread_ident": _green.get_ident,
        "local": _local,
        "excepthook": _excepthook(module),
    }
    if hasattr(module, "_thread_local_info"):
        # Here a dummy thread is forgotten with the local values of its thread, which now is a greenlet.
        candidates["_thread_local_info"] = _local()
    else:
        candidates["_DummyThread"] = _dummy_thread(module)
    if module is _standard:
        candidates["enumerate"] = _enumerate_green(module)
        candidates["active_count"] = _active_count(module)
        candidates["_shutdown"] = _end_of_main(module)
    return {name: value for name, value in candidates.items() if hasattr(module, name)}


def _enumerate_green(module: _ModuleType) -> _Callable[[], list[_Any]]:
    standard: _Any = module.enumerate

    @_wraps(standard)
    def enumerate() -> list[_Any]:
        # The others are the threads of hubs, which tools find by their names (see _core/thread_names.py).
        return [thread for thread in standard() if isinstance(thread, module.Thread)]

    return enumerate


def _active_count(module: _ModuleType) -> _Callable[[], int]:
    @_wraps(module.active_count)
    def active_count() -> int:
        return len(module.enumerate())

    return active_count


def _replace_methods(module: _ModuleType) -> None:
    _awaited_lock(module.Semaphore, most=None)
    module.Condition.wait = _wait
    _replace_wait(module.Event)
    thread: _Any = module.Thread
    thread.join = _parking_join(module)
    if hasattr(thread, "_wait_for_tstate_lock"):
        thread._wait_for_tstate_lock = _wait_for_tstate_lock(thread._wait_for_tstate_lock)
    forgetting: _Any = getattr(module, "_DeleteDummyThreadOnDel", None)
    if forgetting is not None:
        forgetting.__del__ = _unless_finalizing(forgetting.__del__)


class _EventMethods:
    """Stands in for ``threading.Event``: what that class gets."""

    _flag: bool
    _wait_under_lock: _Callable[[float | None], bool]

    def wait(self, timeout: float | None = None) -> bool:
        """As ``threading.Event.wait``; takes no lock if the event is set."""
        if self._flag:
            # Threads may poll, as they do with locks (see thread.py).
            _green._spend()
            return True
        return self._wait_under_lock(timeout)


def _replace_wait(event: _Any) -> None:
    if not hasattr(event, "_wait_under_lock"):
        event._wait_under_lock = event.wait
        event.wait = _EventMethods.wait
        if _speedups is not None:
            _replace_twins(event, _speedups.connect_threading(event))


def _unless_finalizing(standard: _Callable[..., None]) -> _Callable[..., None]:
    def __del__(self: _Any, is_finalizing: _Callable[[], bool] = _sys.is_finalizing) -> None:
        # An OS thread may still wait when the interpreter ends.  Its local values go with its greenlet, after
        # the globals of ``threading``.
        if not is_finalizing():
            standard(self)

    return __del__


def _wait(self: _Any, timeout: float | None = None) -> bool:
    """As ``threading.Condition.wait``; differs where a kill or a Timeout ends it.

    Who was notified, but whose caller will not know, has somebody else notified; and whoever leaves holds the
    lock again, even if that takes another wait in which the next exception strikes.
    """
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    # Held from the beginning.  To acquire it counts as an operation, after which others may run, and all the
    # OS thread would stand still where one of those tries the condition's lock, if that is a real one: as in
    # a Queue or an Event that was made before patching.
    waiter = _green.make_held_lock()
    self._waiters.append(waiter)
    notified = False
    try:
        state = self._release_save()
        try:
            if timeout is None:
                notified = waiter.acquire()
            else:
                notified = waiter.acquire(True, timeout) if timeout > 0 else waiter.acquire(False)
        finally:
            _acquire_restore(self, state)
    except BaseException:
        if notified or not _take_out(self, waiter):
            self.notify()
        raise
    return notified or not _take_out(self, waiter)


def _take_out(condition: _Any, waiter: object) -> bool:
    """False if it is not there any more: it has been notified.  The condition's lock is held."""
    try:
        condition._waiters.remove(waiter)
    except ValueError:
        return False
    return True


def _acquire_restore(condition: _Any, state: object) -> None:
    try:
        condition._acquire_restore(state)
    except BaseException:
        # No loop is needed: a cancelled scope leaves a greenlet alone that is handling its exception.
        _acquire_restore(condition, state)
        raise


def _wait_for_tstate_lock(standard: _Callable[..., None]) -> _Callable[..., None]:
    def _wait_for_tstate_lock(self: _Any, block: bool = True, timeout: float = -1) -> None:
        # If an exception interrupts the wait, the standard one takes a lock that is held for one that it has
        # acquired itself, and has the thread ended.  A Timeout or a kill can come there.
        sentinel = self._tstate_lock
        if type(sentinel) is not _green.Sentinel:
            standard(self, block, timeout)
        elif sentinel.wait_for_end(block, timeout) and (block or not sentinel.held):
            self._stop()

    return _wait_for_tstate_lock


# The end of each OS thread that a greenlet joins.
_ends: _WeakKeyDictionary[object, _Event] = _WeakKeyDictionary()


def _parking_join(module: _ModuleType) -> _Callable[..., None]:
    standard: _Callable[..., None] = module.Thread.join

    @_wraps(standard)
    def join(self: _Any, timeout: float | None = None) -> None:
        if (
            _is_os_thread(self)
            and self.is_alive()
            and self is not module.current_thread()
            and _thread_hub() is not None
            and not _cannot_park()
        ):
            try:
                ended = _end_of(self)
            except RuntimeError:
                pass  # no thread can be started any more, for the program ends
            else:
                if not ended.wait(None if timeout is None else max(timeout, 0)):
                    return
        standard(self, timeout)

    return join


def _is_os_thread(thread: _Any) -> bool:
    """Whether *thread*, if it is alive, is none of the green ones."""
    if hasattr(thread, "_tstate_lock"):
        return type(thread._tstate_lock) is not _green.Sentinel
    return type(_handle_of(thread)) is not _green._ThreadHandle


def _handle_of(thread: _Any) -> _Any:
    """The handle of a thread of CPython 3.13 and newer."""
    return thread._os_thread_handle if hasattr(thread, "_os_thread_handle") else thread._handle


def _end_of(thread: _Any) -> _Event:
    """What is set when *thread*, an OS thread, has ended: another OS thread waits for that."""
    ended = _ends.get(thread)
    if ended is None:
        ended = _Event()

        def watch() -> None:
            # Not by ``join``, which would make this thread known to threading.
            if hasattr(thread, "_wait_for_tstate_lock"):
                thread._wait_for_tstate_lock()
            else:
                _handle_of(thread).join()
            ended.set()

        _native.start_new_thread(watch, ())
        _ends[thread] = ended
    return ended


def join_parks(module: _ModuleType) -> None:
    """Have ``join`` of the threads of *module*, another instance of the standard one, park greenlets."""
    thread: _Any = module.Thread
    thread.join = _parking_join(module)


def _end_of_main(module: _ModuleType) -> _Callable[[], None]:
    standard: _Any = module._shutdown

    def os_threads() -> bool:
        ours = (_native.get_ident(), _green.get_ident())
        return any(
            not thread.daemon
            and thread is not source.main_thread()
            and thread.ident not in ours
            and thread.is_alive()
            for source in (module, _native.original_threading())
            for thread in source.enumerate()
        )

    def _shutdown() -> None:
        """As ``threading._shutdown``, also for the OS threads that are no daemons: those of the original
        ``Thread``, and those started before patching, which CPython 3.13 waits for in ``_thread``.
        """
        # Up to CPython 3.12 it would block at the locks of OS threads that were started before patching.
        if hasattr(module, "_shutdown_locks"):
            module._shutdown_locks.intersection_update(
                [lock for lock in list(module._shutdown_locks) if type(lock) is _green.Sentinel]
            )
        standard()
        while os_threads():
            # They may wait for greenlets of this one.  And no thread can be started any more that would join
            # them in its stead (CPython 3.12).
            _sleep(_LOOK)

    return _shutdown


def _excepthook(module: _ModuleType) -> _Callable[[_Any], None]:
    standard: _Any = module.excepthook

    def excepthook(args: _Any, /) -> None:
        """As ``threading.excepthook``; that a pool's end or a kill ends a thread is no error."""
        if not issubclass(args.exc_type, _GreenletExit):
            standard(args)

    return excepthook


def _dummy_thread(module: _ModuleType) -> type:
    """Stands for a greenlet that was not started as a thread, and is forgotten with it.

    The standard one is kept in a table for ever; a server that logs in each of its greenlets would fill it.
    """
    standard: _Any = module._DummyThread

    class _DummyThread(standard):  # type: ignore[misc]  # a class that is known at run time only
        def __init__(self) -> None:
            standard.__init__(self)
            task = getattr(_getcurrent(), "task", None)
            if task is not None and not isinstance(task, _green._GreenThread):
                ident = self._ident
                task.rawlink(lambda _: self._forget(ident))

        def _forget(self, ident: int) -> None:
            active = module._active
            if type(self) is _DummyThread and active.get(ident) is self:
                del active[ident]

        def _reset_internal_locks(self, is_alive: bool) -> None:
            standard._reset_internal_locks(self, is_alive)
            if is_alive:
                # It has forked, and is the child's main thread (as in CPython 3.12.2 and newer).
                main: _Any = module._MainThread
                self.__class__ = main
                self._name = "MainThread"
                self._daemonic = False
                self._set_tstate_lock()

    return _DummyThread


def make_green(module: _ModuleType) -> None:
    for name, value in replacements(module).items():
        setattr(module, name, value)


_module = _native.fresh_copy("threading")
make_green(_module)
for _name, _value in vars(_module).items():
    if not _name.startswith("__"):
        globals()[_name] = _value

__all__ = list(_standard.__all__)
