"""The frames of all greenlets, whichever thread asks.

A greenlet that is switched out belongs to the thread of its hub.  With the GIL another thread may look at
its frame, because no thread lets go of the GIL in the midst of a switch.  Without the GIL each hub looks at
its own.
"""

from __future__ import annotations

from _queue import Empty
from collections.abc import Iterator
from itertools import accumulate, chain, repeat, takewhile
from time import monotonic
from types import FrameType
from typing import Any

from .current import remembered
from .native import HAS_GIL, SimpleQueue
from .state import GreenThread, HubState

# Seconds to wait for the hubs of all other threads.
PATIENCE = 0.1

Found = tuple[int, FrameType, bool]


def stack_of(greenlet: GreenThread) -> list[FrameType]:
    """All frames of a suspended *greenlet*, the innermost first; none if it runs or has ended.

    From CPython 3.12 on, the frames of a suspended greenlet are linked through copies of C frames.  greenlet
    repairs these links when its ``gr_frame`` is read, and undoes that when it is resumed.  So nothing may run
    between the steps of the walk.  This is one call of C code: with the GIL any thread may make it, and
    without one the thread of its hub.
    """
    return _walk(chain(("gr_frame",), repeat("f_back")), greenlet)[1:]


def stack_from(frame: FrameType) -> list[FrameType]:
    """*frame*, that of a running thread, and all that have called it; with the GIL any thread."""
    return _walk(repeat("f_back"), frame)


def _walk(attributes: Iterator[str], first: Any) -> list[Any]:
    return list(takewhile(bool, accumulate(attributes, getattr, initial=first)))


def only_runs_its_program(hub: HubState) -> bool:
    """Whether the thread of *hub* has no other greenlets and has not parked; any thread.

    It may be in a native wait for hours, as the idle threads of a pool are, and would answer after that only.
    There is nothing that it alone could tell.
    """
    # A main greenlet that has not been adopted has no waiter.
    return hub.has_only_its_program() and getattr(hub.main, "waiter", None) is None


def frames_of_greenlets(frames: dict[int, FrameType]) -> Iterator[Found]:
    """The identifier of each greenlet as a thread, its frame, and whether it is one of ``threading``.

    *frames* is what ``sys._current_frames`` says of the OS threads.
    """
    # A real queue: a green wait could not be made in a hub's loop.
    answers: SimpleQueue[list[Found]] = SimpleQueue()
    asked = 0
    for hub in remembered():
        if hub.inbox.closed:
            continue
        if HAS_GIL or hub.is_own_thread():
            yield from list(_frames_of_hub(hub, frames))
        elif not only_runs_its_program(hub) and hub.post(_answer, hub, frames, answers):
            asked += 1
    end = monotonic() + PATIENCE
    try:
        for _ in range(asked):
            yield from answers.get(timeout=max(0.0, end - monotonic()))
    except Empty:
        pass  # a greenlet computes on a hub that does not answer


def _answer(hub: HubState, frames: dict[int, FrameType], answers: SimpleQueue[list[Found]]) -> None:
    answers.put(list(_frames_of_hub(hub, frames)))


def _frames_of_hub(hub: HubState, frames: dict[int, FrameType]) -> Iterator[Found]:
    running = frames.get(hub.thread_id)
    root = hub.loop if hub.main is None else hub.main
    if root is not None and root.gr_frame is not None:
        # Another greenlet has the thread right now.
        yield hub.thread_id, root.gr_frame, True
    for carrier in list(hub.carriers):
        task = carrier.task
        if task is not None:
            frame = carrier.gr_frame or running
            if frame is not None:
                yield id(task), frame, task.is_thread
