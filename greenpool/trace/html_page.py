"""The page: one file with the picture of a recording, which a browser shows without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from .story import Story

_PARTS = Path(__file__).with_name("page")

# Ticks in a second: the numbers of the page are whole.
TICKS = 10_000_000

_OUTCOMES = {"": 0, "parks": 1, "yields": 2, "ends": 3}


def write_page(story: Story, file: IO[str]) -> None:
    """Write *story* as a page of HTML."""
    page = (_PARTS / "page.html").read_text(encoding="utf-8")
    # In the order of the page.  What is put in is not looked through for further places.
    for place, text in (
        ("/* page.css */", (_PARTS / "page.css").read_text(encoding="utf-8")),
        ('"trace"', _as_json(story)),
        ("/* page.js */", (_PARTS / "page.js").read_text(encoding="utf-8")),
    ):
        before, _, page = page.partition(place)
        file.write(before)
        file.write(text)
    file.write(page)


def _as_json(story: Story) -> str:
    """The story as rows of numbers; *<* is escaped, so that no name ends the script that it stands in."""
    return json.dumps(_as_rows(story), separators=(",", ":")).replace("<", "\\u003c")


def _ticks(seconds: float) -> int:
    return round(seconds * TICKS)


def _as_rows(story: Story) -> dict[str, object]:
    names: dict[str, int] = {}

    def name(text: str) -> int:
        return names.setdefault(text, len(names))

    return {
        "pid": story.pid,
        "began": story.wall_time,
        "ticks": TICKS,
        "end": _ticks(story.seconds),
        "stallLimit": _ticks(story.stall_limit),
        "limit": story.limit,
        "lanes": [
            {
                "name": lane.name,
                "thread": lane.thread,
                "answered": lane.answered,
                "loop": lane.loop,
                "runs": [
                    part
                    for run in lane.runs
                    for part in (
                        _ticks(run.start),
                        _ticks(run.end),
                        run.greenlet,
                        _OUTCOMES[run.outcome] + 4 * run.is_stall,
                        run.after,
                        run.before,
                    )
                ],
                "polls": [
                    (
                        _ticks(poll.start),
                        _ticks(poll.end),
                        None if poll.timeout is None else _ticks(poll.timeout),
                        poll.events,
                    )
                    for poll in lane.polls
                ],
                "timers": [(_ticks(when), name(text)) for when, text in lane.timers],
                "stalls": [
                    (_ticks(each.start), _ticks(each.end), each.greenlet, each.stack, each.call)
                    for each in lane.stalls
                ],
            }
            for lane in story.lanes
        ],
        "greenlets": [
            (
                each.name,
                each.hub,
                each.kind,
                name(each.function),
                None if each.spawned is None else _ticks(each.spawned),
                each.spawner,
                name(each.spawner_name),
                each.spawned_at,
                None if each.ended is None else _ticks(each.ended),
            )
            for each in story.greenlets
        ],
        "waits": [
            (
                each.greenlet,
                _ticks(each.start),
                None if each.end is None else _ticks(each.end),
                name(each.call),
                name(each.phrase),
                each.stack,
                None if each.woken is None else _ticks(each.woken),
                each.waker_hub,
                each.waker,
                name(each.waker_name),
            )
            for each in story.waits
        ],
        "stacks": story.stacks,
        # Behind all that gives numbers to names.
        "names": list(names),
    }
