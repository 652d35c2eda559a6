"""The stall watch: says which greenlet keeps its hub from running all others.

A real thread looks at every hub five times within the limit.  A hub *stalls* if it does not sleep, has not
begun another pass, and still runs the same call of the same greenlet.  That greenlet computes, or it blocks
the hub's thread in a call that does not park.

Each look costs a hub that is busy 0.13 ms, most of it to hand over the GIL.  So the looks are few, a stall
counts from the middle between the two looks where it began, and the watch wakes once more when it is due.
That is right to a tenth of the limit.

The watch reports a stall once when it has lasted for the limit, with the stack of the greenlet, and once
more when it is over.  Both go to ``logging``, as warnings of the logger "greenpool", and to the program's
callback.

*Without the GIL* a running thread changes its stack while another one reads it.  So there the report has the
innermost line only, and a pass of many short turns can be taken for a stall.  For that line all threads have
to stop for a moment, and they wait for code in C that does not return.  So only a report asks for it.

*Threads*: the watch runs on a thread of its own, which only reads.  Each field that it reads is one
reference, and a hint: the next look corrects it.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any

from . import PACKAGE
from .current import Factories, remembered
from .deadlock import idle_threads
from .fork import at_fork
from .native import HAS_GIL, Lock, current_frames, get_ident, start_new_thread
from .seconds import SHORTEST_STALL, check_stall_limit
from .state import HubState

# Looks within the limit.
LOOKS = 5

OnStall = Callable[[str, float, bool], object]
"""Is called with the text of the report, the seconds so far, and whether the stall is over."""


class _Stall:
    """What the watch has seen of one hub."""

    __slots__ = ("call", "passes", "reported", "since")

    def __init__(self, passes: int, since: float) -> None:
        self.passes = passes
        # The identity of the call that runs; None until a second look finds the same pass.
        self.call: object = None
        self.since = since
        self.reported = False


class _Watch:
    """The one watch of the process."""

    lock = Lock()
    limit: float | None = None
    on_stall: OnStall | None = None
    # Released when the limit has changed.
    changed: Any = None
    # The identifier of its thread.
    thread: int | None = None


def watch_stalls(limit: float, on_stall: OnStall | None = None) -> None:
    """Report every hub that a greenlet keeps for *limit* seconds; the shortest limit that was asked for
    counts.

    *on_stall* is called on the watch's thread, and takes the place of an earlier one.  Any thread.
    """
    with _Watch.lock:
        if _Watch.limit is None or limit < _Watch.limit:
            _Watch.limit = limit
        if on_stall is not None:
            _Watch.on_stall = on_stall
        if _Watch.changed is None:
            _Watch.changed = Lock()
            _Watch.changed.acquire()
            start_new_thread(_watch, (_Watch.changed,))
        elif _Watch.changed.locked():
            _Watch.changed.release()


def _idle_thread() -> dict[int, object]:
    """The watch's own thread, which wakes nobody, unless the program's callback does."""
    return {} if _Watch.thread is None or _Watch.on_stall is not None else {_Watch.thread: _Watch}


idle_threads.append(_idle_thread)


def _watch(changed: Any) -> None:
    _Watch.thread = get_ident()
    seen: dict[HubState, _Stall] = {}
    now = monotonic()
    while changed is _Watch.changed:
        limit = _Watch.limit or 0.0
        last, now = now, monotonic()
        # The watch itself may have been late.
        begin = now - min(now - last, limit / LOOKS) / 2
        hubs = remembered()
        for hub in hubs:
            _look_at(hub, seen, begin, now, limit)
        for gone in seen.keys() - set(hubs):
            del seen[gone]
        del hubs
        due = min((stall.since for stall in seen.values() if not stall.reported), default=now) + limit
        changed.acquire(timeout=max(0.0, min(limit / LOOKS, due - now)))


def _look_at(hub: HubState, seen: dict[HubState, _Stall], begin: float, now: float, limit: float) -> None:
    """*begin* is when a stall began that no earlier look has seen."""
    stall = seen.get(hub)
    if hub.inbox.closed or hub.inbox.asleep or hub.has_only_its_program():
        # It sleeps, or it is a plain thread's, and there is no other greenlet to be kept waiting.
        if seen.pop(hub, None) is not None and stall is not None:
            _end(hub, stall, now)
        return
    if stall is None or stall.passes != hub.passes:
        if stall is not None:
            _end(hub, stall, now)
        seen[hub] = _Stall(hub.passes, begin)
        return
    frame = current_frames().get(hub.thread_id) if HAS_GIL else None
    call = outermost(frame) if HAS_GIL else None
    if stall.call is not None and stall.call != call:
        _end(hub, stall, now)
        stall = seen[hub] = _Stall(hub.passes, begin)
    stall.call = call
    if not stall.reported and now - stall.since >= limit:
        stall.reported = True
        seconds = now - stall.since
        if not HAS_GIL:
            frame = current_frames().get(hub.thread_id)
        # First, because the hub's thread may run on while the rest is made.
        stack = _stack(frame)
        text = f"{hub!r} has been kept from its other greenlets by {_running(hub)} for {seconds:.2f} s"
        text += _describe_call(frame)
        _report(f"{text}\n{''.join(stack)}".rstrip(), seconds, False)


def _end(hub: HubState, stall: _Stall, now: float) -> None:
    if stall.reported:
        seconds = now - stall.since
        _report(f"{hub!r} goes on after {seconds:.2f} s", seconds, True)


def outermost(frame: FrameType | None) -> object:
    """The identity of the greenlet's call: of its first frame outside of this package."""
    found = None
    while frame is not None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            found = id(frame)
        frame = frame.f_back
    return found


def _running(hub: HubState) -> str:
    if HAS_GIL:
        for carrier in list(hub.carriers):
            task = carrier.task
            if task is not None and carrier.gr_frame is None:
                return task._label()
    return "its main program" if hub.main is not None else "a greenlet"


def blocking_call(frame: FrameType | None) -> str:
    """The known blocking call of the standard library that *frame* makes, in words; "" if it makes none."""
    describe = Factories.describe_call
    return "" if frame is None or describe is None else describe(frame)


def _describe_call(frame: FrameType | None) -> str:
    found = blocking_call(frame)
    return found and f": {found}"


def _stack(frame: FrameType | None) -> list[str]:
    if frame is None:
        return []
    if not HAS_GIL:
        code = frame.f_code
        return [f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n']
    # Walked at once: to read the source lets go of the GIL.
    entries = traceback.StackSummary.extract(iter([*traceback.walk_stack(frame)][::-1]))
    return traceback.format_list([entry for entry in entries if not entry.filename.startswith(PACKAGE)])


def report_late_end(what: str, hub: HubState, seconds: float) -> None:
    """Say that the end of *what* has waited so long for the greenlet that runs on *hub*; any thread."""
    frame = current_frames().get(hub.thread_id)
    text = f"the end of {what} has waited {seconds:.2f} s for {_running(hub)} on {hub!r} to park"
    _log(f"{text}{_describe_call(frame)}\n{''.join(_stack(frame))}".rstrip())


def _log(text: str) -> None:
    # Imported here, because only a stall needs it.
    import logging

    logging.getLogger("greenpool").warning("%s", text)


def _report(text: str, seconds: float, over: bool) -> None:
    _log(text)
    if _Watch.on_stall is not None:
        try:
            _Watch.on_stall(text, seconds, over)
        except Exception:
            import logging

            logging.getLogger("greenpool").exception("the callback of the stall watch has failed")


def _after_fork_in_child() -> None:
    # The thread is the parent's.
    _Watch.lock = Lock()
    if _Watch.changed is not None and _Watch.limit is not None:
        _Watch.changed = _Watch.thread = None
        watch_stalls(_Watch.limit)


at_fork("stall watch", in_child=_after_fork_in_child)


def stall_limit_asked_for() -> float:
    """The limit in seconds of ``GREENPOOL_STALL``, or a tenth without it, as for ``-X dev``.

    Raises ValueError if the variable is no number of at least 0.001.
    """
    text = os.environ.get("GREENPOOL_STALL", "")
    if not text:
        return 0.1
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    try:
        check_stall_limit("GREENPOOL_STALL", limit)
    except ValueError:
        message = f"GREENPOOL_STALL must be a number of seconds, at least {SHORTEST_STALL}, not {text!r}"
        raise ValueError(message) from None
    return limit
