"""Telling a deadlock from a long wait.

A hub whose main program waits, with no timer, no descriptor and nothing ready, can only be woken by another
thread or by a signal handler.  If there is neither, it waits for ever.  Then the main program gets a LoopExit
that lists the parked greenlets and what each of them waits for.

*When nothing can wake it*: the process has no other Python thread, except hubs that are themselves asleep
with no task, no timer and nobody waiting for I/O; and no Python signal handler is installed but those for
Ctrl-C.  Each other hub is looked at twice; one that has not begun a new pass in between has slept through,
so at that moment all of them slept.  (A pass sleeps at most once, and what was taken in after a sleep runs
while the hub is not marked as asleep.  The lock of its inbox keeps posts out of a look.)

A hub looks only after it has slept a while (``FIRST_LOOK`` seconds, then twice as long each time), so a
wait that another thread ends soon costs nothing.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

from .current import remembered
from .errors import LoopExit
from .native import get_ident
from .state import GreenThread, HubState, HubTask
from .waiter import interrupt

FIRST_LOOK = 0.25
LONGEST_LOOK = 60.0

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def look_for_deadlock(hub: HubState) -> None:
    """Raise LoopExit in the main program of *hub*, if nothing can wake that any more; on the hub's thread.

    Called after *hub* has slept for its ``patience``, with no timer and no event.
    """
    hub.patience = min(hub.patience * 2, LONGEST_LOOK)
    main = hub.main
    if main is not None and getattr(main, "waiter", None) is not None and nothing_can_wake(hub):
        message = f"this wait on {hub.name} can never end; parked there:\n{describe(hub)}"
        interrupt(main, LoopExit(message))


def nothing_can_wake(hub: HubState) -> bool:
    """True if *hub*, which is about to sleep on its own thread, would never wake."""
    if _waits_for_io(hub) or hub.timers.next_deadline() is not None or _has_signal_handlers():
        return False
    hubs = {other.thread_id: other for other in remembered() if not other.inbox.closed}
    others = []
    for thread_id in sys._current_frames():
        if thread_id == get_ident():
            continue
        other = hubs.get(thread_id)
        if other is None:
            return False
        others.append(other)
    passes = [other.passes for other in others]
    return (
        all(_is_at_rest(other) for other in others)
        and all(_is_at_rest(other) for other in others)
        and passes == [other.passes for other in others]
        and not hub.inbox.queue
    )


def _is_at_rest(hub: HubState) -> bool:
    with hub.inbox.lock:
        return (
            hub.inbox.asleep
            and not hub.inbox.queue
            and hub.live <= hub.daemons
            and not hub.timers.heap
            and not _waits_for_io(hub)
        )


def _waits_for_io(hub: HubState) -> bool:
    return any(registration.waiters() for registration in list(hub.registrations.values()))


def _has_signal_handlers() -> bool:
    # The public module, because the green getsignal takes a program's handler out of its wrapper.  It makes
    # enums, which would take a twentieth of the time of importing greenpool, so it is imported here.
    import signal

    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if not callable(handler) or handler is signal.default_int_handler:
            continue
        code = getattr(handler, "__code__", None)
        if code is None or not code.co_filename.startswith(_PACKAGE):
            return True
    return False


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
