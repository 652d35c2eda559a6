"""What gevent offers around spawns: callbacks for each start, and the place of a spawn as a stack.

*Threads*: any.  A set's single operations are single steps for all other threads, and a start takes a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType

from .typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# Called with each greenlet that is about to be started.  C code knows this set, so it is never replaced.
spawn_callbacks: set[Callable[[Any], object]] = set()


def call_spawn_callbacks(task: object) -> None:
    """Call all spawn callbacks with *task*; no lock is held, because they may wait."""
    for callback in tuple(spawn_callbacks):
        callback(task)


class SpawnFrame:
    """The place of a spawn, for functions that take a frame, such as ``traceback.print_stack``."""

    __slots__ = ("f_code", "f_lineno")

    f_back = None
    f_globals = None

    def __init__(self, code: CodeType, offset: int) -> None:
        self.f_code = code
        self.f_lineno = line_of(code, offset)


def line_of(code: CodeType, offset: int) -> int:
    """The line of *code* that the instruction at *offset* belongs to."""
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno
