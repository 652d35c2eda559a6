"""Where a task comes from: which task has made it, and at which place of the program.

That, the moment at which a task is made and the moment at which a greenlet parks are all that
greenpool.inspect cannot find out later.  A task refers to its spawner weakly, because a chain of spawns would
otherwise keep every task alive.

In Python a spawn and join takes 15 % more instructions with this, in C 1 %.  So without the extension origins
are noted only from the moment at which somebody asks for them.

*Threads*: the maker of the task, before any other thread knows it.
"""

from __future__ import annotations

import sys
import threading
from _weakref import ref
from types import CodeType, FrameType

from . import PACKAGE
from .speedups import speedups
from .state import GreenThread
from .typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import Any

# The place of a spawn is the innermost frame outside of these.
HIDDEN_FILES = (PACKAGE, threading.__file__)


class Origins:
    """Whether they are noted; a hint for other threads."""

    are_noted: bool = speedups is not None or sys.flags.dev_mode


class Spawned(Protocol):
    """What a task notes of its origin."""

    born: float
    """When it was made, on the monotonic clock."""
    spawner: ref[Any] | None
    """The task that has made it; None outside of all tasks."""
    origin: tuple[CodeType, int] | None
    """The code that has made it, and the offset in it; None if no frame is the program's."""


def note_origin(task: Spawned, greenlet: GreenThread) -> None:
    """Note in which *greenlet*, the calling one, *task* is made, and at which place of the program."""
    spawner = getattr(greenlet, "task", None)
    if spawner is not None:
        task.spawner = ref(spawner)
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(HIDDEN_FILES):
        frame = frame.f_back
    if frame is not None:
        task.origin = (frame.f_code, frame.f_lasti)


if speedups is not None:
    note_origin = speedups.note_origin
