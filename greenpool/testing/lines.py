"""Points between the lines of the program, for ``preempt="lines"``.

A function that the interpreter calls makes a point of each line of the program's own code, and within a line
of each call and each store that others may see.  So ``counter += 1`` is two steps: another thread may come
between the read and the write.  Code of the standard library, of installed packages and of greenpool has no
such points.

*How*: with ``sys.monitoring`` from CPython 3.12 on, and by a trace function on the hubs' threads before.
From 3.12 on a trace function would be called for instructions only from some moment after a code's first call
on, so the first run in a process would be another one.

*Why the function may switch greenlets.*  While it runs, the interpreter traces nothing on its thread; the
greenlet that goes on would go without points.  ``sys.call_tracing`` turns tracing on for the time of the
switch, so each greenlet is left and entered with tracing on.

The points are those of one version of Python: another one may have other instructions.

*Threads*: the function runs on the hubs' threads, one at a time; on any other it does nothing.
"""

from __future__ import annotations

import dis
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from .._core import PACKAGE
from .._core.scheduled import Scheduler
from .clock import Current

_STORES = ("STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "STORE_DEREF", "STORE_NAME", "STORE_SLICE")
_DELETES = ("DELETE_ATTR", "DELETE_SUBSCR", "DELETE_GLOBAL", "DELETE_DEREF", "DELETE_NAME")
_CALLS = ("CALL", "CALL_KW", "CALL_FUNCTION_EX")
# Numbers of ``sys.monitoring`` that belong to no kind of tool.
TOOLS = (3, 4)
_NAMES = frozenset((*_STORES, *_DELETES, *_CALLS))

_paths = sysconfig.get_paths()
_FOREIGN = tuple({PACKAGE, *(_paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))})
_INSTALLED = ("site-packages", "dist-packages")

# By a code's identity: the code, and the offsets of the instructions that are points.
_points: dict[int, tuple[CodeType, frozenset[int]]] = {}


def tracer(scheduler: Scheduler, patched: bool) -> Callable[..., Any]:
    """A trace function for the threads of a run."""
    point = scheduler.may_park if patched else scheduler.may_preempt
    # By a code's identity; ``_points`` keeps the code.
    tracers: dict[int, Callable[..., Any] | None] = {}

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        try:
            trace_code = tracers[id(code)]
        except KeyError:
            trace_code = tracers[id(code)] = _tracer_of(_points_of(code), point)
        if trace_code is not None:
            frame.f_trace_opcodes = True
        return trace_code

    return trace


@contextmanager
def monitored(patched: bool) -> Iterator[None]:
    """Make the points of all runs of the block, where the interpreter has ``sys.monitoring``."""
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        yield
        return
    events = monitoring.events
    point = _park if patched else _preempt
    what = ("line",)

    def at_line(code: CodeType, _line: int) -> object:
        if not _points_of(code):
            return monitoring.DISABLE
        return sys.call_tracing(point, what)

    def at_instruction(code: CodeType, offset: int) -> object:
        if offset not in _points_of(code):
            return monitoring.DISABLE
        return sys.call_tracing(point, what)

    tool = next(number for number in TOOLS if monitoring.get_tool(number) is None)
    monitoring.use_tool_id(tool, "greenpool.testing")
    try:
        monitoring.register_callback(tool, events.LINE, at_line)
        monitoring.register_callback(tool, events.INSTRUCTION, at_instruction)
        # What an earlier user of this number has turned off.
        monitoring.restart_events()
        monitoring.set_events(tool, events.LINE | events.INSTRUCTION)
        yield
    finally:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, events.LINE, None)
        monitoring.register_callback(tool, events.INSTRUCTION, None)
        monitoring.free_tool_id(tool)


def _park(what: str) -> None:
    if Current.scheduler is not None:
        Current.scheduler.may_park(what)


def _preempt(what: str) -> None:
    if Current.scheduler is not None:
        Current.scheduler.may_preempt(what)


def _tracer_of(points: frozenset[int], point: Callable[[str], None]) -> Callable[..., Any] | None:
    if not points:
        return None
    what = ("line",)

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line" or (event == "opcode" and frame.f_lasti in points):
            sys.call_tracing(point, what)
        return trace

    return trace


def _points_of(code: CodeType) -> frozenset[int]:
    known = _points.get(id(code))
    if known is None:
        found: frozenset[int] = frozenset()
        if _is_programs(code.co_filename):
            found = frozenset(entry.offset for entry in dis.get_instructions(code) if entry.opname in _NAMES)
            # Code that does nothing of the kind still has lines.
            found |= {-1}
        known = _points[id(code)] = (code, found)
    return known[1]


def _is_programs(filename: str) -> bool:
    return not (filename.startswith((*_FOREIGN, "<frozen ")) or any(part in filename for part in _INSTALLED))
