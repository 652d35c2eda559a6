"""What the hubs do over time: record it, and look at it as a picture.

::

    import greenpool.trace

    with greenpool.trace.record("trace.html"):
        ...

``trace.html`` is a page with a picture, which a browser shows from the file.  ``trace.json`` is in the Trace
Event format, which https://ui.perfetto.dev and chrome://tracing open.  ``greenpool trace PID -o FILE``
records another process.

*Off, it costs nothing.*  While it records, a switch takes at most twice its time.

*Threads*: any thread may record, and any greenlet.  All hubs of the process are recorded, those that are made
meanwhile as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._core.recorder import Recorded, Recording
from .._core.seconds import check_stall_limit
from .event_format import write_events
from .html_page import write_page
from .story import tell

__all__ = ["LIMIT", "STALL_LIMIT", "record"]

LIMIT = 1_000_000
"""The entries after which a recording is over: it takes about 80 MB."""

STALL_LIMIT = 0.1
"""Seconds for which a greenlet may keep its hub before that counts as a stall."""


def ending_of(path: str | os.PathLike[str]) -> str:
    """How a file of this name is written: ".html" or ".json".  Raises ValueError for another ending."""
    ending = Path(path).suffix.lower()
    if ending not in (".html", ".json"):
        raise ValueError(f"the name must end in .html (a page) or .json (the Trace Event format): {path}")
    return ending


@contextmanager
def record(
    path: str | os.PathLike[str], *, stall_limit: float = STALL_LIMIT, limit: int = LIMIT
) -> Iterator[None]:
    """Record all hubs while the block runs, and write the file *path*, also if an exception ends the block.

    The end of its name decides what is written: ".html" or ".json".  A turn of *stall_limit* seconds without
    a switch is a stall, of which the stack is taken.  After *limit* entries the recording is over; the file
    then says so.

    The file is complete or not there: it gets its name when it has been written.  A child that is forked
    meanwhile is not recorded, and writes nothing.

    Raises ValueError for another ending, and RuntimeError if the process is being recorded already.
    """
    ending_of(path)
    check_stall_limit("stall_limit", stall_limit)
    if limit <= 0:
        raise ValueError(f"limit must be positive, not {limit!r}")
    recording = Recording(limit, stall_limit)
    recording.start()
    try:
        yield
    finally:
        if recording.process == os.getpid():
            write(recording.stop(), path)


def write(recorded: Recorded, path: str | os.PathLike[str]) -> None:
    """Write a recording to the file *path*, as ``record`` does."""
    write_story = write_page if ending_of(path) == ".html" else write_events
    story = tell(recorded)
    part = Path(f"{os.fspath(path)}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            write_story(story, file)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
