"""The thread that watches a hub, as gevent's (``gevent._monitor``): a greenlet that blocks it, and memory.

It costs nothing unless ``config.monitor_thread`` is set.  greenpool's own stall watch needs no such thread.

*Threads*: the tracer is called on the hub's thread, at each switch, and only notes.  All else runs on the
monitor's thread, which reads that; a value that is a moment old delays a report by one period.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from time import gmtime, perf_counter, strftime
from types import TracebackType
from typing import Protocol, cast
from weakref import ref

from greenlet import getcurrent, settrace

from greenpool.monkey import get_original
from greenpool.util import format_run_info

from .events import (
    EventLoopBlocked,
    IPeriodicMonitorThread,
    MemoryUsageThresholdExceeded,
    MemoryUsageUnderThreshold,
    PeriodicMonitorThreadStartedEvent,
    implementer,
    notify,
    notify_and_call_entry_points,
)
from .settings import config

__all__ = ["PeriodicMonitoringThread"]

start_new_thread = cast("Callable[..., int]", get_original("_thread", "start_new_thread"))
thread_sleep = cast("Callable[[float], None]", get_original("time", "sleep"))


class MonitorWarning(RuntimeWarning):
    """Something cannot be monitored."""


class Monitored(Protocol):
    """A hub, as its monitor sees it."""

    thread_ident: int

    @property
    def exception_stream(self) -> object: ...

    def __bool__(self) -> bool: ...

    def handle_error(
        self,
        context: object,
        type: type[BaseException],
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None: ...


class SupportsWrite(Protocol):
    """What reports are written to."""

    def write(self, text: str, /) -> object: ...


class Memory(Protocol):
    """What psutil says of a process's memory."""

    rss: int


class Process(Protocol):
    """A process of psutil."""

    def memory_full_info(self) -> Memory: ...


class Tracer:
    """Counts the switches of its thread, and knows to which greenlet the last one was."""

    def __init__(self) -> None:
        self.greenlet_switch_counter = 0
        self.active_greenlet: object = None
        self._is_installed = True
        self.previous_trace_function: Callable[..., object] | None = settrace(self)

    def __call__(self, event: str, args: tuple[object, ...] | None) -> None:
        self.greenlet_switch_counter += 1
        self.active_greenlet = args[1] if event in ("switch", "throw") and args is not None else None
        if self.previous_trace_function is not None:
            self.previous_trace_function(event, args)

    def kill(self) -> None:
        """Put back the tracer that was there before; in the same thread."""
        if self._is_installed:
            self._is_installed = False
            settrace(self.previous_trace_function)
            self.previous_trace_function = None

    def blocking_greenlet(self, hub: Monitored) -> object:
        """The greenlet that has run ever since the last call of this, or None."""
        has_switched, self.greenlet_switch_counter = self.greenlet_switch_counter, 0
        active = self.active_greenlet
        if has_switched or active is None:
            return None
        state = getattr(active, "hub", None)
        if state is not None and state.loop_greenlet() is active:
            return None  # the loop waits in its poller
        return active

    def ignore_current_greenlet_blocking(self) -> None:
        self.active_greenlet = None

    def monitor_current_greenlet_blocking(self) -> None:
        self.active_greenlet = getcurrent()


class _Entry:
    """A function that the monitor calls every so many seconds."""

    def __init__(self, function: Callable[[Monitored], object], period: float) -> None:
        self.function = function
        self.period = period
        self.last_run_time = 0.0


@implementer(IPeriodicMonitorThread)
class PeriodicMonitoringThread:
    """Watches one hub from a thread of its own (as in gevent); made on the hub's thread."""

    inactive_sleep_time = 2.0
    min_sleep_time = 0.005
    min_memory_monitor_period = 2.0

    def __init__(self, hub: Monitored) -> None:
        self._hub = ref(hub, lambda _: self.kill())
        self.should_run = True
        self._greenlet_tracer = Tracer()
        self._calculated_sleep_time = config.max_blocking_time
        self._monitoring_functions = [_Entry(self.monitor_blocking, config.max_blocking_time)]
        self._memory_exceeded = 0
        self._process: list[Process | None] = []
        self.pid = os.getpid()
        self.monitor_thread_ident = start_new_thread(self, ())

    def __repr__(self) -> str:
        thread = f"{self.monitor_thread_ident:#x}"
        return f"<{type(self).__name__} at {id(self):#x} in thread {thread} for {self.hub!r}>"

    @property
    def hub(self) -> Monitored | None:
        return self._hub()

    def after_fork(self) -> None:
        """Start the thread anew in a child."""
        if self.pid != os.getpid():
            self.pid = os.getpid()
            self.monitor_thread_ident = start_new_thread(self, ())

    def kill(self) -> None:
        """End the thread, soon, and take the tracer away; on the hub's thread."""
        if self.should_run:
            self.should_run = False
            self._greenlet_tracer.kill()

    # What it calls.

    def monitoring_functions(self) -> list[_Entry]:
        """All functions with their periods."""
        own = self._monitoring_functions[0]
        if own.period != config.max_blocking_time:
            own.period = config.max_blocking_time
            self._calculated_sleep_time = min(entry.period for entry in self._monitoring_functions)
        return self._monitoring_functions

    def add_monitoring_function(self, function: Callable[[Monitored], object], period: float | None) -> None:
        """Have *function* called with the hub about every *period* seconds, in this thread; None ends it."""
        if not callable(function):
            raise ValueError("function must be callable")
        if period is not None and period <= 0:
            raise ValueError("Period must be positive.")
        entries = list(self._monitoring_functions)
        places = [place for place, entry in enumerate(entries) if entry.function == function]
        if period is None:
            entries = [entry for entry in entries if entry.function != function]
        elif places:
            entries[places[0]] = _Entry(function, period)
        else:
            entries.append(_Entry(function, period))
        self._monitoring_functions = entries
        self._calculated_sleep_time = min(entry.period for entry in entries)

    def calculate_sleep_time(self) -> float:
        """For how many seconds the thread sleeps between two looks."""
        if self._calculated_sleep_time <= 0:
            return self.inactive_sleep_time
        return max(self._calculated_sleep_time, self.min_sleep_time)

    def __call__(self) -> None:
        try:
            while self.should_run:
                functions = self.monitoring_functions()
                thread_sleep(self.calculate_sleep_time())
                self._look(functions)
        except SystemExit:
            return
        except BaseException as exception:
            hub = self.hub
            if hub is not None and sys.stderr is not None:
                hub.handle_error(self, type(exception), exception, exception.__traceback__)

    def _look(self, functions: list[_Entry]) -> None:
        hub = self.hub
        if not hub:
            self.kill()
        if hub is None or not self.should_run:
            return
        now = perf_counter()
        for entry in functions:
            if entry.period and entry.last_run_time + entry.period <= now:
                entry.last_run_time = now
                entry.function(hub)

    # A greenlet that keeps the hub.

    def monitor_blocking(self, hub: Monitored) -> tuple[object, list[str]] | None:
        """Report the greenlet that has run since the last look; return it and the report."""
        active = self._greenlet_tracer.blocking_greenlet(hub)
        if active is None:
            return None
        report = self._report(hub, active)
        notify(EventLoopBlocked(active, config.max_blocking_time, report, hub=hub))
        if config.print_blocking_reports:
            for line in report:
                print(line, file=cast("SupportsWrite", hub.exception_stream))
        return active, report

    def _report(self, hub: Monitored, active: object) -> list[str]:
        frame = sys._current_frames().get(hub.thread_ident)
        stack = traceback.format_stack(frame) if frame else [f"Unknown: No thread found for hub {hub!r}\n"]
        now = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
        return [
            "=" * 80,
            f"\n{now} : Greenlet {active} appears to be blocked",
            f"    Reported by {self!r}",
            f"Blocked Stack (for thread id {hub.thread_ident:#x}):",
            "".join(stack),
            "Info:",
            *format_run_info(greenlet_stacks=False, current_thread_ident=self.monitor_thread_ident),
        ]

    def ignore_current_greenlet_blocking(self) -> None:
        """Do not report the running greenlet."""
        self._greenlet_tracer.ignore_current_greenlet_blocking()

    def monitor_current_greenlet_blocking(self) -> None:
        """Report the running greenlet again."""
        self._greenlet_tracer.monitor_current_greenlet_blocking()

    # Memory.

    def _get_process(self) -> Process | None:
        if not self._process:
            try:
                self._process.append(importlib.import_module("psutil").Process())
            except ImportError:
                self._process.append(None)
        return self._process[0]

    def can_monitor_memory_usage(self) -> bool:
        """Whether psutil is installed."""
        return self._get_process() is not None

    def install_monitor_memory_usage(self) -> None:
        """Watch the memory, too; a warning says so if that cannot be."""
        if not self.can_monitor_memory_usage():
            warnings.warn("Unable to monitor memory usage. Install psutil.", MonitorWarning, stacklevel=2)
            return
        period = max(config.memory_monitor_period, self.min_memory_monitor_period)
        self.add_monitoring_function(self.monitor_memory_usage, period)

    def monitor_memory_usage(self, _hub: object) -> object:
        """Publish whether the memory has gone above ``config.max_memory_usage`` or back; -1: no limit."""
        allowed = config.max_memory_usage
        process = self._get_process()
        if not allowed or process is None:
            return -1
        info = process.memory_full_info()
        used: int = getattr(info, "uss", 0) or info.rss
        before, self._memory_exceeded = self._memory_exceeded, used if used > allowed else 0
        event: MemoryUsageThresholdExceeded | MemoryUsageUnderThreshold | None = None
        if used > allowed:
            if used > before:
                event = MemoryUsageThresholdExceeded(used, allowed, info)
        elif before:
            event = MemoryUsageUnderThreshold(used, allowed, info, before)
        if event is not None:
            notify(event)
        return event


def started(hub: Monitored, watches_memory: bool) -> PeriodicMonitoringThread:
    """Start the monitor of *hub*, on its thread, and publish that."""
    monitor = PeriodicMonitoringThread(hub)
    if watches_memory:
        monitor.install_monitor_memory_usage()
    notify_and_call_entry_points(PeriodicMonitorThreadStartedEvent(monitor))
    return monitor
