"""The Trace Event format, which Perfetto and chrome://tracing open.

Each hub is a thread of the process.  What ran there are complete events ("X"); the loop's polls lie in the
loop's runs.  Spawns, timers and stalls are instants ("i").  Each wait is an asynchronous slice ("b", "e")
with its reason and its stack, on a track of its greenlet.  Flow arrows ("s", "f") lead from the run that
wakes or spawns a greenlet to the run in which that goes on.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from .._core.survey import Frame, Stack
from .story import NOBODY, Greenlet, Lane, Story

Event = dict[str, Any]


def write_events(story: Story, file: IO[str]) -> None:
    """Write *story* as one JSON object, an event a line."""
    file.write('{"displayTimeUnit": "ms",\n"otherData": ')
    json.dump(_about(story), file)
    file.write(',\n"traceEvents": [\n')
    written = ""
    # Stable, so what ends at the same moment at which something begins stands first.
    for event in sorted(_events(story), key=lambda event: (event["ph"] != "M", event["ts"])):
        file.write(written)
        json.dump(event, file, separators=(",", ":"))
        written = ",\n"
    file.write("\n]}\n")


def _about(story: Story) -> dict[str, object]:
    about: dict[str, object] = {
        "program": "greenpool",
        "began": story.wall_time,
        "seconds": story.seconds,
        "stall_limit": story.stall_limit,
    }
    if story.limit is not None:
        about["ended_early"] = f"at the limit of {story.limit:,} entries"
    return about


def _events(story: Story) -> Iterator[Event]:
    yield _named(story.pid, 0, "process_name", f"greenpool process {story.pid}")
    for number, lane in enumerate(story.lanes):
        yield _named(story.pid, number + 1, "thread_name", f"hub {lane.name}")
        sort = _named(story.pid, number + 1, "thread_sort_index", "")
        sort["args"] = {"sort_index": number}
        yield sort
        yield from _events_of_lane(story, number, lane)
    yield from _waits(story)
    yield from _spawns(story)


def _named(pid: int, tid: int, what: str, name: str) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "ts": 0, "name": what, "args": {"name": name}}


def _micros(seconds: float) -> float:
    return round(seconds * 1e6, 3)


def _event(story: Story, kind: str, lane: int, when: float, name: str, category: str, **more: Any) -> Event:
    event = {"ph": kind, "pid": story.pid, "tid": lane + 1, "ts": _micros(when), "name": name}
    return event | {"cat": category} | more


def _slice(story: Story, lane: int, start: float, end: float, name: str, category: str, args: Event) -> Event:
    duration = max(0.0, round(_micros(end) - _micros(start), 3))
    return _event(story, "X", lane, start, name, category, dur=duration, args=args)


def _events_of_lane(story: Story, number: int, lane: Lane) -> Iterator[Event]:
    for run in lane.runs:
        greenlet = story.greenlets[run.greenlet]
        args: Event = {"outcome": run.outcome} if run.outcome else {}
        if run.after != NOBODY:
            args["woken_by"] = story.waits[run.after].waker_name
        if run.before != NOBODY:
            wait = story.waits[run.before]
            args["parks_in"] = f"{wait.call} {wait.phrase}".strip()
            args["stack"] = _lines(_stack(story, wait.stack))
        category = "loop" if greenlet.kind == "loop" else "run"
        event = _slice(story, number, run.start, run.end, _title(greenlet), category, args)
        if run.is_stall:
            event["cname"] = "terrible"
        yield event
    for poll in lane.polls:
        name = "poll" if poll.timeout == 0 else "asleep"
        args = {"timeout": poll.timeout, "events": poll.events}
        yield _slice(story, number, poll.start, poll.end, name, "poll", args)
    for when, text in lane.timers:
        yield _event(story, "i", number, when, f"timer: {text}", "timer", s="t")
    for stall in lane.stalls:
        name = "stall" if stall.greenlet == NOBODY else f"stall: {_title(story.greenlets[stall.greenlet])}"
        args = {"seconds": stall.end - stall.start, "stack": _lines(_stack(story, stall.stack))}
        if stall.call:
            args["call"] = stall.call
        yield _event(story, "i", number, stall.start, name, "stall", s="p", args=args)
        if not lane.runs:
            yield _slice(story, number, stall.start, stall.end, name, "stall", args)


def _waits(story: Story) -> Iterator[Event]:
    for number, wait in enumerate(story.waits):
        greenlet = story.greenlets[wait.greenlet]
        lane = greenlet.hub
        name = f"{_title(greenlet)}: {wait.call or 'parked'}"
        args = {"waits_for": wait.phrase, "stack": _lines(_stack(story, wait.stack))}
        if wait.waker_name:
            args["woken_by"] = wait.waker_name
        start = max(0.0, wait.start)
        end = story.seconds if wait.end is None else wait.end
        yield _event(story, "b", lane, start, name, "wait", id=f"w{number}", args=args)
        yield _event(story, "e", lane, max(start, end), name, "wait", id=f"w{number}")
        if wait.woken is not None and wait.end is not None and wait.waker_hub != NOBODY:
            yield _event(story, "s", wait.waker_hub, min(wait.woken, wait.end), "wake", "wake", id=number)
            yield _event(story, "f", lane, wait.end, "wake", "wake", id=number, bp="e")


def _spawns(story: Story) -> Iterator[Event]:
    # The first run of each greenlet.
    first: dict[int, float] = {}
    for lane in story.lanes:
        for run in lane.runs:
            first.setdefault(run.greenlet, run.start)
    for number, greenlet in enumerate(story.greenlets):
        if greenlet.spawned is None or greenlet.kind != "task":
            continue
        by = NOBODY if greenlet.spawner == NOBODY else story.greenlets[greenlet.spawner].hub
        hub = greenlet.hub if by == NOBODY else by
        args: Event = {"by": greenlet.spawner_name} if greenlet.spawner_name else {}
        if greenlet.spawned_at is not None:
            args["at"] = _line(greenlet.spawned_at)
        name = f"spawn {_title(greenlet)}"
        yield _event(story, "i", hub, greenlet.spawned, name, "spawn", s="t", args=args)
        if number in first:
            flow = f"s{number}"
            start = first[number]
            yield _event(story, "s", hub, min(greenlet.spawned, start), "spawn", "spawn", id=flow)
            yield _event(story, "f", greenlet.hub, start, "spawn", "spawn", id=flow, bp="e")


def _title(greenlet: Greenlet) -> str:
    return f"{greenlet.name} ({greenlet.function})" if greenlet.function else greenlet.name


def _stack(story: Story, number: int) -> Stack:
    return () if number == NOBODY else story.stacks[number]


def _lines(stack: Stack) -> str:
    return "\n".join(map(_line, stack))


def _line(frame: Frame) -> str:
    return f"{frame.file}:{frame.line} in {frame.function}"
