"""Look inside: what every hub and every greenlet of the process is doing.

``snapshot()`` gives it as objects, ``text()`` as a page for people and ``json()`` for programs.  Greenlets
with equal stacks are grouped and counted, as in a goroutine profile of Go::

    import greenpool.inspect

    print(greenpool.inspect.snapshot().text())

*Threads*: any thread may take a snapshot, and any greenlet.  Nothing is stopped: with a GIL the caller looks
at everything itself, and without one each hub looks at its own greenlets between two passes.
"""

from __future__ import annotations

import json as _json
import os as _os
import time as _time
from collections.abc import Iterator as _Iterator
from collections.abc import Sequence as _Sequence
from typing import Any as _Any
from typing import NamedTuple as _NamedTuple

from ._core.origin import Origins as _Origins
from ._core.survey import Frame, GreenletInfo, HubInfo, Stack
from ._core.survey import survey as _survey
from ._core.waits import join_names as _join_names

__all__ = [
    "Frame",
    "GreenletInfo",
    "Group",
    "HubInfo",
    "Snapshot",
    "note_origins",
    "snapshot",
]

# Theirs is the module that offers them, where pickle looks for them.
for _kind in (Frame, GreenletInfo, HubInfo):
    _kind.__module__ = __name__

# Names of greenlets, and of spawn places, that the text gives for each group.
_MOST_NAMES = 5


class Group(_NamedTuple):
    """Greenlets of one state with equal stacks."""

    state: str
    call: str
    stack: Stack | None
    greenlets: list[GreenletInfo]


class Snapshot(_NamedTuple):
    """All hubs and greenlets of a process at one moment; nothing in it refers to any of them."""

    pid: int
    time: float
    """The seconds of ``time.time()``."""
    hubs: list[HubInfo]
    greenlets: _Sequence[GreenletInfo]

    def __str__(self) -> str:
        return self.text()

    def groups(self) -> list[Group]:
        """The greenlets with equal state and stack together, the largest group first."""
        found: dict[object, Group] = {}
        for each in self.greenlets:
            key = (each.state, each.call, each.stack)
            group = found.get(key)
            if group is None:
                group = found[key] = Group(each.state, each.call, each.stack, [])
            group.greenlets.append(each)
        return sorted(found.values(), key=lambda group: -len(group.greenlets))

    def text(self, stacks: bool = True) -> str:
        """A page for people: the hubs, then the groups of greenlets, with their *stacks* if wanted."""
        lines = [f"{len(self.hubs)} hubs, {len(self.greenlets):,} greenlets in process {self.pid}", ""]
        for hub in self.hubs:
            lines += _hub_lines(hub, stacks)
        for group in self.groups():
            lines += ["", *_group_lines(group, stacks)]
        return "\n".join(lines) + "\n"

    def as_dict(self) -> dict[str, _Any]:
        """The snapshot as dictionaries, lists, strings and numbers; each stack stands in "stacks" once."""
        numbers: dict[Stack, int] = {}
        greenlets = []
        for each in self.greenlets:
            fields = each._asdict()
            if each.stack is not None:
                fields["stack"] = numbers.setdefault(each.stack, len(numbers))
            fields["spawned_at"] = None if each.spawned_at is None else each.spawned_at._asdict()
            greenlets.append(fields)
        hubs = [hub._asdict() | {"stack": [frame._asdict() for frame in hub.stack]} for hub in self.hubs]
        stacks = [[frame._asdict() for frame in stack] for stack in numbers]
        return {"pid": self.pid, "time": self.time, "hubs": hubs, "greenlets": greenlets, "stacks": stacks}

    @classmethod
    def from_dict(cls, fields: dict[str, _Any]) -> Snapshot:
        """The snapshot that ``as_dict`` has given, maybe in another process."""
        stacks = [tuple(Frame(**frame) for frame in stack) for stack in fields["stacks"]]
        hubs = [
            HubInfo(**hub | {"stack": tuple(Frame(**frame) for frame in hub["stack"])})
            for hub in fields["hubs"]
        ]
        greenlets = [
            GreenletInfo(
                **each
                | {
                    "stack": None if each["stack"] is None else stacks[each["stack"]],
                    "spawned_at": None if each["spawned_at"] is None else Frame(**each["spawned_at"]),
                    "held_by": tuple(each["held_by"]),
                }
            )
            for each in fields["greenlets"]
        ]
        return cls(fields["pid"], fields["time"], hubs, greenlets)

    def json(self, indent: int | None = None) -> str:
        """The same as JSON text."""
        return _json.dumps(self.as_dict(), indent=indent)


def snapshot(stacks: bool = True) -> Snapshot:
    """Look at all hubs and greenlets now; any thread.

    Without *stacks* it takes a fifth of the time, and does not tell what the greenlets wait for.
    It blocks the calling thread: with 100,000 greenlets for about a second.  In a greenlet, the other
    greenlets of that hub wait meanwhile.
    """
    hubs, greenlets = _survey(stacks)
    return Snapshot(_os.getpid(), _time.time(), hubs, greenlets)


def note_origins(wanted: bool = True) -> None:
    """Have each new greenlet note by which greenlet and where it is spawned, or not; any thread.

    With the C extension they always do.  Without it they do from the start in ``python -X dev`` only, because
    there a spawn takes 15 % longer with it.
    """
    _Origins.are_noted = wanted


def _hub_lines(hub: HubInfo, stacks: bool) -> _Iterator[str]:
    counts = ", ".join(
        f"{hub.counts[name]:,} {name.replace('_', ' ')}" for name in ("live", "ready", "timers")
    )
    line = f"Hub {hub.name} (thread {hub.thread:#x}): {hub.state}, {counts}"
    if hub.runs is not None and hub.state != "asleep":
        line += f", runs {hub.runs}"
        if hub.since is not None:
            line += f" for at most {_seconds(hub.since)}"
    if not hub.answered:
        line += ", does not answer: its stacks are not known"
    yield line
    if stacks:
        yield from _stack_lines(hub.stack)


def _group_lines(group: Group, stacks: bool) -> _Iterator[str]:
    greenlets = group.greenlets
    names = ", ".join(each.name for each in greenlets[:_MOST_NAMES])
    if len(greenlets) > _MOST_NAMES:
        names += ", ..."
    plural = "greenlet" if len(greenlets) == 1 else "greenlets"
    line = f"{len(greenlets):,} {plural} {group.state}"
    times = [each.parked for each in greenlets if each.parked is not None]
    if times:
        shortest, longest = _seconds(min(times)), _seconds(max(times))
        line += f" for {longest}" if shortest == longest else f" for {shortest} to {longest}"
    yield f"{line}{f', in {group.call}' if group.call else ''}: {names}"
    reasons: dict[str, int] = {}
    for each in greenlets:
        if each.waits_for:
            holders = f" held by {_join_names(each.held_by)}" if each.held_by else ""
            reason = each.waits_for + holders
            reasons[reason] = reasons.get(reason, 0) + 1
    yield from _counted(reasons, "  ")
    places: dict[str, int] = {}
    for each in greenlets:
        if each.spawned_at is not None:
            by = "" if each.spawner is None else f" by {each.spawner}"
            place = f"spawned{by} at {_place(each.spawned_at)}"
            places[place] = places.get(place, 0) + 1
    yield from _counted(places, "  ")
    if stacks and group.stack is not None:
        yield from _stack_lines(group.stack)


def _counted(texts: dict[str, int], margin: str) -> _Iterator[str]:
    ordered = sorted(texts.items(), key=lambda item: -item[1])
    for text, count in ordered[:_MOST_NAMES]:
        yield f"{margin}{text}" + (f" ({count:,} times)" if count > 1 else "")
    if len(ordered) > _MOST_NAMES:
        yield f"{margin}and {len(ordered) - _MOST_NAMES:,} more"


def _stack_lines(stack: Stack) -> _Iterator[str]:
    for frame in stack:
        yield f"    {_place(frame)}"


def _place(frame: Frame) -> str:
    return f"{frame.file}:{frame.line} in {frame.function}"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
