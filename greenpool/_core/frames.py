"""The frames of all greenlets, whichever thread asks.

A greenlet that is switched out belongs to the thread of its hub.  With the GIL another thread may look at
its frame, because no thread lets go of the GIL in the midst of a switch.  Without the GIL each hub looks at
its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from types import FrameType

from .current import remembered
from .native import HAS_GIL
from .state import HubState

# Seconds to wait for the hubs of other threads.
PATIENCE = 0.1

Found = tuple[int, FrameType, bool]


def frames_of_greenlets(frames: dict[int, FrameType]) -> Iterator[Found]:
    """The identifier of each greenlet as a thread, its frame, and whether it is one of ``threading``.

    *frames* is what ``sys._current_frames`` says of the OS threads.
    """
    answers: list[list[Found]] = []
    asked = []
    for hub in remembered():
        if hub.inbox.closed:
            continue
        if HAS_GIL or hub.is_own_thread():
            answers.append(list(_frames_of_hub(hub, frames)))
        else:
            answered = Event()
            if hub.post(_answer, hub, frames, answers, answered):
                asked.append(answered)
    for answered in asked:
        answered.wait(PATIENCE)
    for answer in answers:
        yield from answer


def _answer(hub: HubState, frames: dict[int, FrameType], answers: list[list[Found]], answered: Event) -> None:
    answers.append(list(_frames_of_hub(hub, frames)))
    answered.set()


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
