"""Points between the lines of the program, for ``preempt="lines"``.

A trace function on the hubs' threads makes a point of each line of the program's own code, and within a line
of each call and each store that others may see.  So ``counter += 1`` is two steps: another thread may come
between the read and the write.  Code of the standard library, of installed packages and of greenpool has no
such points.

*Why a trace function may switch greenlets.*  While it runs, the interpreter traces nothing on its thread; the
greenlet that goes on would go without points.  ``sys.call_tracing`` turns tracing on for the time of the
switch, so each greenlet is left and entered with tracing on.

The points are those of one version of Python: another one may have other instructions.

*Threads*: the trace function runs on the hubs' threads, one at a time.
"""

from __future__ import annotations

import dis
import sys
import sysconfig
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from .._core import PACKAGE
from .._core.scheduled import Scheduler

_STORES = ("STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "STORE_DEREF", "STORE_NAME", "STORE_SLICE")
_DELETES = ("DELETE_ATTR", "DELETE_SUBSCR", "DELETE_GLOBAL", "DELETE_DEREF", "DELETE_NAME")
_CALLS = ("CALL", "CALL_KW", "CALL_FUNCTION_EX")
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
