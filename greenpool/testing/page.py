"""A run as a page of the tracer, or as a file in the Trace Event format (see greenpool/trace).

The times are those of the run, and each step takes a microsecond more, because time stands still while
anything is ready, and nothing that takes no time can be seen in a picture.

*Threads*: the caller of a run begins and ends the recording; meanwhile the threads of the run write it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import trace
from .._core import recorder
from .._core.scheduled import Scheduler
from .clock import EPOCH

STEP = 1e-6
# Seconds: time that stands still is no stall.
NEVER = 1e12

Path = str | os.PathLike[str]


def check_page(path: Path | None) -> None:
    """Raise TypeError or ValueError if *path* is no name for a page."""
    if path is None:
        return
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"page must be a path or None, not {path!r}")
    try:
        trace.ending_of(path)
    except ValueError:
        raise ValueError(f"page must end in .html or .json, not {os.fspath(path)!r}") from None


@contextmanager
def recorded(scheduler: Scheduler, path: Path) -> Iterator[None]:
    """Record the run of *scheduler* while the block runs, and write the file *path*."""
    names: Any = recorder
    latest = scheduler.now

    def clock() -> float:
        nonlocal latest
        latest = max(latest, scheduler.now + STEP * scheduler.count)
        return latest

    originals = names.monotonic, names.time, names.make_recorder
    # The recorder in C has a clock of its own.
    names.monotonic, names.time, names.make_recorder = clock, lambda: EPOCH, recorder.SwitchRecorder
    try:
        recording = recorder.Recording(trace.LIMIT, NEVER)
        recording.start()
        try:
            yield
        finally:
            record = recording.stop()
    finally:
        names.monotonic, names.time, names.make_recorder = originals
    # The caller's own hub, if it has one, has no part in the run.
    own = scheduler.hub_names()
    trace.write(record._replace(hubs=[hub for hub in record.hubs if hub.name in own]), path)
