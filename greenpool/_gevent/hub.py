"""``gevent.hub``: gevent's object for the hub of a thread, over a hub of greenpool.

*Errors*.  Every exception that nobody has handled comes to ``Hub.handle_error``, which a program may replace
on the hub or in a subclass.  It prints the report, and raises a system error in the main program.

*Threads*: a Hub belongs to one thread, as the hub of greenpool that it stands for does.  The table of all of
them has a lock.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, cast
from weakref import WeakKeyDictionary, ref

from greenlet import GreenletExit

from greenpool._core.current import current_hub, thread_hub
from greenpool._core.error_report import Reports, raise_in_program
from greenpool._core.native import RLock, get_ident
from greenpool._core.state import HubState
from greenpool._core.waiter import Waiter as _Waiter
from greenpool._signal_watch import signal_handler
from greenpool.event import AsyncResult
from greenpool.greenlet import Greenlet, LoopExit, getcurrent, iwait, kill, spawn_raw, wait
from greenpool.hub import idle, sleep

from .loop import Callback, Loop, Watcher
from .monitor import PeriodicMonitoringThread, started
from .settings import config

__all__ = [
    "GreenletExit",
    "Hub",
    "LoopExit",
    "Waiter",
    "get_hub",
    "getcurrent",
    "idle",
    "iwait",
    "kill",
    "reinit",
    "signal",
    "signal_handler",
    "sleep",
    "spawn_raw",
    "wait",
]

ExceptionType = type[BaseException]


class TextStream(Protocol):
    """What reports are written to."""

    def write(self, text: str, /) -> object: ...


class Killable(Protocol):
    """A thread pool."""

    def kill(self) -> None: ...


class Waiter:
    """One wait: ``get`` parks until ``switch`` or ``throw`` brings its outcome (as in gevent)."""

    def __init__(self, hub: Hub | None = None) -> None:
        self.hub = get_hub() if hub is None else hub
        self.greenlet: Greenlet | None = None
        self._result: AsyncResult[object] = AsyncResult()

    def clear(self) -> None:
        self.greenlet = None
        self._result = AsyncResult()

    def __repr__(self) -> str:
        if self.greenlet is not None:
            return f"<{type(self).__name__} greenlet={self.greenlet}>"
        return f"<{type(self).__name__}{' ready' if self.ready() else ''}>"

    def ready(self) -> bool:
        return self._result.ready()

    def successful(self) -> bool:
        return self._result.successful()

    @property
    def value(self) -> object:
        return self._result.value

    @property
    def exc_info(self) -> object:
        return self._result.exc_info

    def switch(self, value: object = None) -> None:
        """Let ``get`` return *value*."""
        self._result.set(value)

    def switch_args(self, *args: object) -> None:
        self.switch(args)

    def throw(self, *throw_args: BaseException | ExceptionType) -> None:
        """Let ``get`` raise an exception, given as to ``greenlet.throw``."""
        given = throw_args[1] if len(throw_args) > 1 and throw_args[1] is not None else throw_args[0]
        self._result.set_exception(given() if isinstance(given, type) else given)

    def get(self) -> object:
        """Wait for the outcome."""
        if self.greenlet is not None:
            raise RuntimeError(f"This Waiter is already used by {self.greenlet!r}")
        self.greenlet = getcurrent()
        try:
            return self._result.get()
        finally:
            self.greenlet = None

    def __call__(self, source: AsyncResult[object]) -> None:
        """Take over the outcome of *source*; to be used as a link."""
        if source.exception is None:
            self.switch(source.value)
        else:
            self.throw(source.exception)


class Hub:
    """What gevent programs know of the hub of their thread."""

    SYSTEM_ERROR: ExceptionType | tuple[ExceptionType, ...] = (KeyboardInterrupt, SystemExit, SystemError)
    """Instances of these are raised in the main program."""
    NOT_ERROR: ExceptionType | tuple[ExceptionType, ...] = (GreenletExit, SystemExit)
    """Instances of these are not printed."""
    threadpool_size = 10
    name = ""
    dead = False
    periodic_monitoring_thread: PeriodicMonitoringThread | None = None

    def __init__(self, loop: object = None, default: bool | None = None) -> None:
        state = current_hub()
        # Weak, because the table that finds this by the greenpool hub must not keep that hub alive.
        self._state = ref(state)
        self.loop: Loop | None = Loop(state)
        self.thread_ident = get_ident()
        self._threadpool: object = None
        self._resolver: object = None
        self._stream: object = _UNSET

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {id(self):#x} of {self._state()!r}>"

    def __bool__(self) -> bool:
        return not self.dead

    @property
    def backend(self) -> str:
        return Loop.backend

    @property
    def main_hub(self) -> bool:
        """Whether it is the hub of the main thread."""
        import threading

        return self.thread_ident == threading.main_thread().ident

    # Errors.

    def handle_error(
        self,
        context: object,
        type: ExceptionType,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Report an exception that nobody has handled; *context* is the greenlet or call that it ended."""
        type, value, tb = self._normalize_exception(type, value, tb)
        if not issubclass(type, self.NOT_ERROR):
            self.print_exception(context, type, value, tb)
        if context is None or issubclass(type, self.SYSTEM_ERROR):
            self.handle_system_error(type, value, tb)

    def handle_system_error(
        self, type: ExceptionType, value: BaseException | None, tb: TracebackType | None = None
    ) -> None:
        """Raise the exception in the main program."""
        state = self._state()
        if state is not None:
            raise_in_program(state, type() if value is None else value)

    @property
    def exception_stream(self) -> object:
        """The file that reports are written to; by default stderr, as it is then.  None: there are none."""
        return sys.stderr if self._stream is _UNSET else self._stream

    @exception_stream.setter
    def exception_stream(self, stream: object) -> None:
        self._stream = stream

    @exception_stream.deleter
    def exception_stream(self) -> None:
        self._stream = _UNSET

    def print_exception(
        self, context: object, t: ExceptionType, v: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Print a report of the exception to ``exception_stream``."""
        stream = cast("TextStream | None", self.exception_stream)
        if not stream:
            return
        t, v, tb = self._normalize_exception(t, v, tb)
        lines = [f"{t.__name__}\n"] if v is None else traceback.format_exception(t, v, tb)
        lines.append(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        if context is None:
            lines.append("\n")
        else:
            lines.append(f" {self._describe(context)} failed with {t.__name__}\n\n")
        try:
            # One write, so that reports of several hubs do not mix.
            stream.write("".join(lines))
        except Exception:
            # The stream is closed or its reader gone, so there is nowhere to say it; the hub goes on.
            return

    def _describe(self, context: object) -> str:
        if isinstance(context, str):
            return context
        try:
            return str(self.format_context(context))
        except Exception:
            cast("TextStream", self.exception_stream).write(traceback.format_exc())
            return repr(context)

    @property
    def format_context(self) -> Callable[[object], object]:
        """What makes the text of a context; ``config.format_context``."""
        return config.format_context

    def _normalize_exception(
        self, t: ExceptionType, v: BaseException | str | None, tb: TracebackType | None
    ) -> tuple[ExceptionType, BaseException | None, TracebackType | None]:
        if isinstance(v, str):
            v = t(v)
        if v is not None and tb is None:
            tb = v.__traceback__
        return t, v, tb

    # Waiting.

    def wait(self, watcher: Watcher) -> object:
        """Park the calling greenlet until the event of *watcher* occurs."""
        waiter = Waiter(self)
        watcher.start(waiter.switch, waiter)
        try:
            return waiter.get()
        finally:
            watcher.stop()

    def cancel_wait(self, watcher: Watcher | None, error: BaseException, close_watcher: bool = False) -> None:
        """Raise *error* in the greenlet that waits for *watcher*, and stop that."""
        if watcher is None:
            return
        waiter = getattr(watcher.callback, "__self__", None)
        watcher.stop()
        if isinstance(waiter, Waiter):
            waiter.throw(error)
        if close_watcher:
            watcher.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no other greenlet of this hub is left; False when *timeout* seconds passed before."""
        return wait(timeout=timeout)

    def run_callback(self, function: Callable[..., object], *args: object) -> Callback:
        """Have the loop call *function*, which must not wait."""
        if self.loop is None:
            raise RuntimeError("this hub is destroyed")
        return self.loop.run_callback(function, *args)

    def switch(self) -> object:
        """Park the calling greenlet until a timeout or a kill ends that; nothing else does."""
        _Waiter().park()
        return None

    def destroy(self, destroy_loop: bool | None = None) -> None:
        """Let go of the thread pool, the resolver and the monitor.

        The hub of greenpool goes on, and ends with its thread.
        """
        monitor, self.periodic_monitoring_thread = self.periodic_monitoring_thread, None
        if monitor is not None:
            monitor.kill()
        pool, self._threadpool = self._threadpool, None
        if pool is not None:
            cast("Killable", pool).kill()
        self._resolver = None
        if get_hub_if_exists() is self:
            set_hub(None)

    def start_periodic_monitoring_thread(self) -> PeriodicMonitoringThread | None:
        """Start the thread that watches this hub, if ``config.monitor_thread`` says so; return it."""
        if self.periodic_monitoring_thread is None and config.monitor_thread:
            self.periodic_monitoring_thread = started(self, self.main_hub)
        return self.periodic_monitoring_thread

    # What is made when first asked for, by the classes that the configuration names.

    @property
    def threadpool_class(self) -> object:
        return config.threadpool

    @property
    def resolver_class(self) -> object:
        return config.resolver

    @property
    def threadpool(self) -> object:
        """A ThreadPool for calls that would block the hub."""
        if self._threadpool is None:
            make = cast("Callable[..., object]", self.threadpool_class)
            self._threadpool = make(
                self.threadpool_size, hub=self, idle_task_timeout=config.threadpool_idle_task_timeout
            )
        return self._threadpool

    @threadpool.setter
    def threadpool(self, value: object) -> None:
        self._threadpool = value

    @threadpool.deleter
    def threadpool(self) -> None:
        self._threadpool = None

    @property
    def resolver(self) -> object:
        """What looks names up."""
        if self._resolver is None:
            self._resolver = cast("Callable[..., object]", self.resolver_class)(hub=self)
        return self._resolver

    @resolver.setter
    def resolver(self, value: object) -> None:
        self._resolver = value

    @resolver.deleter
    def resolver(self) -> None:
        self._resolver = None


_UNSET = object()
_hub_class: type[Hub] = Hub
_hubs: WeakKeyDictionary[HubState, Hub] = WeakKeyDictionary()
# Reentrant, because a signal handler may ask for the hub between any two bytecodes.
_hubs_lock = RLock()


def _hub_of(state: HubState) -> Hub:
    """gevent's object for that hub of greenpool, made now if there is none; on the thread of that hub."""
    with _hubs_lock:
        hub = _hubs.get(state)
        if hub is None:
            hub = _hubs[state] = _hub_class()
            is_new = True
        else:
            is_new = False
    if is_new and config.monitor_thread:
        # When the hub first runs, as in gevent; a thread whose hub never runs has nothing to watch.
        state.call_soon(hub.start_periodic_monitoring_thread)
    return hub


def get_hub() -> Hub:
    """The hub of the calling thread."""
    return _hub_of(current_hub())


def get_hub_if_exists() -> Hub | None:
    """The hub of the calling thread, or None if that has not asked for it yet."""
    state = thread_hub()
    if state is None:
        return None
    with _hubs_lock:
        return _hubs.get(state)


_get_hub = get_hub_if_exists  # by this name, too, gevent's hub.py has it


def set_hub(hub: Hub | None) -> None:
    """Have *hub* stand for the hub of the calling thread; None: a new one is made when next asked for."""
    with _hubs_lock:
        if hub is None:
            _hubs.pop(current_hub(), None)
        else:
            _hubs[current_hub()] = hub


def get_hub_class() -> type[Hub]:
    """The class of hubs that are made from now on."""
    hub = get_hub_if_exists()
    return _hub_class if hub is None else type(hub)


def set_default_hub_class(hub_class: type[Hub]) -> None:
    """Have hubs be of this class from now on."""
    global _hub_class
    _hub_class = hub_class


def _handle(state: HubState, source: object, exception: BaseException) -> bool:
    """Take a report of greenpool; on the thread of the hub *state*.

    False at the end of a thread, when that no longer has the hub, and must not get another one.
    """
    if thread_hub() is not state:
        return False
    try:
        _hub_of(state).handle_error(source, type(exception), exception, exception.__traceback__)
    except Exception as failure:
        # The program's own handle_error has failed.
        _hub_of(state).print_exception(None, type(failure), failure, failure.__traceback__)
    return True


Reports.handle = _handle


# Functions.


def reinit(hub: Hub | None = None) -> None:
    """Have the monitor of *hub* start its thread anew in the child of a fork; all else needs nothing."""
    hub = get_hub_if_exists() if hub is None else hub
    monitor = None if hub is None else hub.periodic_monitoring_thread
    if monitor is not None:
        monitor.after_fork()


signal = signal_handler
