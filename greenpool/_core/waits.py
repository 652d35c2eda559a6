"""What parked greenlets wait for."""

from __future__ import annotations

import os
from types import FrameType

from .state import GreenThread, HubState, HubTask

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def describe_all(hub: HubState) -> str:
    return describe(hub)


def parked(hub: HubState) -> list[tuple[GreenThread, HubTask]]:
    """Every parked greenlet of *hub* with its task, the main program's first."""
    found = []
    for greenlet in (hub.main, *hub.carriers):
        # A main greenlet that has not been adopted has no waiter.
        if greenlet is not None and getattr(greenlet, "waiter", None) is not None:
            task = greenlet.task
            if task is not None:
                found.append((greenlet, task))
    return found


def describe(hub: HubState) -> str:
    """One line for each parked greenlet of *hub*: its name, what it waits for, and where."""
    return "\n".join(f"  {task.name}: {_what(greenlet.gr_frame)}" for greenlet, task in parked(hub))


def _what(frame: FrameType | None) -> str:
    """The outermost call into this package that a suspended greenlet is in, and where it was made."""
    call = "waiting"
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        call = f"in {frame.f_code.co_qualname}"
        owner = frame.f_locals.get("self")
        if owner is not None:
            call += f" of {owner!r}"
        frame = frame.f_back
    if frame is None:
        return call
    return f"{call}, called at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
