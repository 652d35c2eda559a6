"""A recording on its way from the recorded process to the command ``greenpool trace``: lines of JSON.

The first line is the head, then come parts of the logs, and an empty object is the last line.  So a recording
of which the end is missing is told from a whole one.

One call of the encoder keeps the GIL until it ends, so it gets some thousand entries at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .._core.recorder import ALIVE, ENDED, STALLED, UNSTARTED, HubRecord, Recorded, TaskInfo
from .._core.survey import Frame, Stack

# Items of a log in one line: an even number, because each entry is two.
ITEMS = 4_000


def lines_of(recorded: Recorded) -> Iterator[bytes]:
    """The lines of a recording."""
    head = recorded._replace(hubs=[hub._replace(entries=[]) for hub in recorded.hubs], wakes=[])
    yield _line({"head": head})
    for number, hub in enumerate(recorded.hubs):
        for begin in range(0, len(hub.entries) - 1, ITEMS):
            yield _line({"hub": number, "entries": hub.entries[begin : begin + ITEMS]})
    for begin in range(0, len(recorded.wakes), ITEMS):
        yield _line({"wakes": recorded.wakes[begin : begin + ITEMS]})
    yield _line({})


def _line(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def read_lines(lines: Iterable[bytes]) -> Recorded:
    """The recording of these lines.  Raises EOFError if they end too early, and ValueError for an error."""
    recorded: Recorded | None = None
    for line in lines:
        part = json.loads(line)
        if "error" in part:
            raise ValueError(part["error"])
        if "head" in part:
            recorded = Recorded(*part["head"])
            hubs = [HubRecord(*hub) for hub in recorded.hubs]
            recorded = recorded._replace(
                hubs=[hub._replace(stacks=[_stack(stack) for stack in hub.stacks]) for hub in hubs]
            )
        elif recorded is not None and "entries" in part:
            recorded.hubs[part["hub"]].entries.extend(map(_entry, part["entries"]))
        elif recorded is not None and "wakes" in part:
            recorded.wakes.extend(map(tuple, part["wakes"]))
        elif recorded is not None:
            return recorded
    raise EOFError("the process has ended, or has closed the connection, before the recording was complete")


def _entry(item: Any) -> object:
    if not isinstance(item, list):
        return item
    if item[0] in (ALIVE, ENDED, UNSTARTED):
        info = TaskInfo(*item[-1])
        place = info.spawned_at
        item[-1] = info._replace(spawned_at=None if place is None else Frame(*place))
    elif item[0] == STALLED:
        item[1] = _stack(item[1])
    return tuple(item)


def _stack(frames: Iterable[Any]) -> Stack:
    return tuple(Frame(*frame) for frame in frames)
