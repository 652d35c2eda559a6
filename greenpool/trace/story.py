"""What the hubs did, told from their logs: runs, waits, wakes, polls, timers and stalls.

All times are seconds since the recording began.  Everything refers to everything else by its number in a list
of the ``Story``.

A log names greenlets by their identities, which a later greenlet may have again, and a carrier runs one task
after the other.  A *life* is what lies between two ends of tasks on one carrier: it belongs to one task, and
becomes one ``Greenlet`` here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .._core.recorder import (
    ALIVE,
    ENDED,
    FREE,
    PARKED,
    POLLED,
    STALLED,
    TIMER,
    UNSTARTED,
    WOKEN,
    HubRecord,
    Recorded,
    TaskInfo,
)
from .._core.survey import Frame, Stack

NOBODY = -1


@dataclass(slots=True)
class Greenlet:
    """One greenlet, or the loop of a hub."""

    name: str
    hub: int
    kind: str
    """"task", "loop", "main" for the main program of a plain thread, "raw" for one that is no task, and
    "carrier" for one that has no task yet; this has no runs in the end."""
    function: str = ""
    spawned: float | None = None
    """None if it was spawned before the recording began, or never."""
    spawner: int = NOBODY
    spawner_name: str = ""
    spawned_at: Frame | None = None
    ended: float | None = None
    ident: int = 0
    born: float = 0.0


@dataclass(slots=True)
class Run:
    """A greenlet had its hub from *start* to *end*."""

    greenlet: int
    start: float
    end: float
    outcome: str = ""
    """"parks", "yields", "ends" or, at the end of the recording, nothing."""
    after: int = NOBODY
    """The wait that was over when it began."""
    before: int = NOBODY
    """The wait that it began when it ended."""
    is_stall: bool = False


@dataclass(slots=True)
class Waiting:
    """A greenlet was parked from *start* to *end*, None if it still was when the recording ended."""

    greenlet: int
    start: float
    end: float | None
    call: str
    phrase: str
    stack: int
    woken: float | None = None
    """When it was woken; it went on at its next turn."""
    waker_hub: int = NOBODY
    waker: int = NOBODY
    """The greenlet that has woken it."""
    waker_name: str = ""
    """What has woken it: a timer, a descriptor, a thread, or a greenlet by its name."""


@dataclass(slots=True)
class Poll:
    start: float
    end: float
    timeout: float | None
    events: int


@dataclass(slots=True)
class Stall:
    """A greenlet kept its hub for longer than the limit."""

    start: float
    end: float
    greenlet: int
    stack: int
    call: str


@dataclass(slots=True)
class Lane:
    """One hub."""

    name: str
    thread: int
    answered: bool
    loop: int = NOBODY
    runs: list[Run] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)
    timers: list[tuple[float, str]] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)


@dataclass(slots=True)
class Story:
    pid: int
    wall_time: float
    seconds: float
    stall_limit: float
    limit: int | None
    lanes: list[Lane] = field(default_factory=list)
    greenlets: list[Greenlet] = field(default_factory=list)
    waits: list[Waiting] = field(default_factory=list)
    stacks: list[Stack] = field(default_factory=list)


def tell(recorded: Recorded) -> Story:
    """Tell the story of a recording."""
    return _Teller(recorded).story


class _Life:
    """What one carrier does between two ends of tasks."""

    __slots__ = ("greenlet", "pending")

    def __init__(self, greenlet: int) -> None:
        self.greenlet = greenlet
        # The wait that goes on.
        self.pending = NOBODY


class _Teller:
    def __init__(self, recorded: Recorded) -> None:
        self.began = recorded.began
        seconds = recorded.ended - recorded.began
        self.story = Story(recorded.pid, recorded.wall_time, seconds, recorded.stall_limit, recorded.limit)
        self._stack_numbers: dict[Stack, int] = {}
        # The numbers of waits by the identity of the greenlet, and wakes in the order of time.
        self._waits: dict[int, list[int]] = {}
        self._wakes: list[tuple[float, int, int, int, str]] = []
        # Plain threads first, then the hubs of pools, in the order of their numbers.
        hubs = sorted(recorded.hubs, key=lambda hub: (hub.number is not None, hub.number or 0, hub.name))
        for number, hub in enumerate(hubs):
            _LaneTeller(self, number, hub).tell()
        self._wakes += [
            (when - self.began, ident, NOBODY, NOBODY, f"thread {name}")
            for when, ident, name in recorded.wakes
        ]
        self._tell_wakes()
        self._tell_spawners()

    def number_of(self, stack: Stack) -> int:
        number = self._stack_numbers.get(stack)
        if number is None:
            number = self._stack_numbers[stack] = len(self.story.stacks)
            self.story.stacks.append(stack)
        return number

    def add_wait(self, ident: int, wait: Waiting) -> int:
        number = len(self.story.waits)
        self.story.waits.append(wait)
        self._waits.setdefault(ident, []).append(number)
        return number

    def add_wake(self, when: float, ident: int, hub: int, greenlet: int, by: str) -> None:
        self._wakes.append((when, ident, hub, greenlet, by))

    def _tell_wakes(self) -> None:
        """Give each wait the first wake that came while it lasted, or just before."""
        waits = self.story.waits
        for numbers in self._waits.values():
            numbers.sort(key=lambda number: waits[number].start)
        starts = {ident: [waits[each].start for each in found] for ident, found in self._waits.items()}
        for when, ident, hub, greenlet, by in sorted(self._wakes):
            numbers = self._waits.get(ident, [])
            place = bisect_right(starts.get(ident, ()), when) - 1
            end = waits[numbers[place]].end if place >= 0 else 0.0
            if end is not None and end < when:
                # It was about to park, and the wake came from another thread.
                place += 1
            if place < len(numbers) and waits[numbers[place]].woken is None:
                wait = waits[numbers[place]]
                wait.woken, wait.waker_hub, wait.waker = max(when, wait.start), hub, greenlet
                wait.waker_name = by or self.story.greenlets[greenlet].name

    def _tell_spawners(self) -> None:
        greenlets = self.story.greenlets
        by_ident: dict[int, list[int]] = {}
        for number, greenlet in enumerate(greenlets):
            if greenlet.ident:
                by_ident.setdefault(greenlet.ident, []).append(number)
        for each, ident in self._spawners:
            greenlet = greenlets[each]
            for number in by_ident.get(ident, ()):
                other = greenlets[number]
                if other.born <= greenlet.born and (other.ended is None or greenlet.born <= other.ended):
                    greenlet.spawner = number

    @property
    def _spawners(self) -> Iterator[tuple[int, int]]:
        for number, greenlet in enumerate(self.story.greenlets):
            if greenlet.spawner != NOBODY:
                ident, greenlet.spawner = greenlet.spawner, NOBODY
                yield number, ident


class _LaneTeller:
    """Tells what one hub did."""

    def __init__(self, teller: _Teller, number: int, record: HubRecord) -> None:
        self._teller = teller
        self._greenlets = teller.story.greenlets
        self._waits = teller.story.waits
        self._number = number
        self._record = record
        self._began = teller.began
        self._lane = Lane(record.name, record.thread, record.answered)
        teller.story.lanes.append(self._lane)
        self._lives: dict[int, _Life] = {}
        self._stacks = [teller.number_of(stack) for stack in record.stacks]
        self._stalled: list[tuple[float, Stack, str]] = []
        # The greenlet that has the hub.
        self._running: int | None = None

    def tell(self) -> None:
        entries = self._record.entries
        seconds = self._teller.story.seconds
        runs = self._lane.runs
        for position in range(0, len(entries) - 1, 2):
            when, event = min(max(entries[position] - self._began, 0.0), seconds), entries[position + 1]
            if type(event) is int:
                if runs:
                    runs[-1].end = when
                    runs[-1].outcome = runs[-1].outcome or "yields"
                self._begin_run(event, when)
            else:
                self._tell_event(when, *event)
        if runs:
            runs[-1].end = seconds
            runs[-1].outcome = ""
        self._clean_up()
        self._tell_stalls()

    def _life(self, ident: int) -> _Life:
        life = self._lives.get(ident)
        if life is None:
            record = self._record
            kind, name = "raw", f"greenlet {ident:#x}"
            if ident == record.loop:
                kind, name = "loop", f"loop of {record.name}"
                self._lane.loop = len(self._greenlets)
            elif ident == record.main:
                kind, name = "main", f"main program of {record.name}"
            life = self._lives[ident] = self._new_life(kind, name)
        return life

    def _begin_run(self, ident: int, when: float) -> None:
        life = self._life(ident)
        run = Run(life.greenlet, when, when)
        if life.pending != NOBODY:
            wait = self._waits[life.pending]
            wait.end = when
            run.after = life.pending
            life.pending = NOBODY
        self._running = ident
        self._lane.runs.append(run)

    def _tell_event(self, when: float, kind: int, *items: Any) -> None:
        if kind == PARKED:
            self._tell_park(when, *items)
        elif kind == ENDED:
            self._tell_end(when, *items)
        elif kind == WOKEN:
            ident, by = items
            running = NOBODY if self._running is None else self._life(self._running).greenlet
            if not by and running == self._lane.loop:
                by = "a call in the loop"
            self._teller.add_wake(when, ident, self._number, running, by)
        elif kind == POLLED:
            began, timeout, events = items
            self._lane.polls.append(Poll(max(began - self._began, 0.0), when, timeout, events))
        elif kind == TIMER:
            self._lane.timers.append((when, *items))
        elif kind == STALLED:
            self._stalled.append((when, *items))
        elif kind == ALIVE:
            ident, info = items
            self._name(self._life(ident).greenlet, info)
        elif kind == FREE:
            self._lives[items[0]] = self._new_life("carrier", "")
        elif kind == UNSTARTED:
            self._greenlets.append(Greenlet("", self._number, "task"))
            self._name(len(self._greenlets) - 1, *items)

    def _tell_park(
        self, when: float, ident: int, stack: int, call: str, phrase: str, since: float | None
    ) -> None:
        life = self._life(ident)
        number = self._stacks[stack]
        start = when if since is None else since - self._began
        life.pending = self._teller.add_wait(ident, Waiting(life.greenlet, start, None, call, phrase, number))
        if since is None and len(self._lane.runs) > 1:
            # It has switched to the greenlet that runs now.
            run = self._lane.runs[-2]
            if run.greenlet == life.greenlet:
                run.outcome, run.before = "parks", life.pending

    def _tell_end(self, when: float, ident: int, info: TaskInfo) -> None:
        if self._running != ident:
            # It was killed before it ran, or ended with its thread.
            self._greenlets.append(Greenlet("", self._number, "task", ended=when))
            self._name(len(self._greenlets) - 1, info)
            return
        greenlet = self._life(ident).greenlet
        self._name(greenlet, info)
        self._greenlets[greenlet].ended = when
        run = self._lane.runs[-1]
        run.end, run.outcome = when, "ends"
        # Until it is known which task it runs next, if any.
        self._lives[ident] = self._new_life("carrier", "")
        self._begin_run(ident, when)

    def _new_life(self, kind: str, name: str) -> _Life:
        self._greenlets.append(Greenlet(name, self._number, kind))
        return _Life(len(self._greenlets) - 1)

    def _name(self, number: int, info: TaskInfo) -> None:
        greenlet = self._greenlets[number]
        if greenlet.kind in ("raw", "carrier"):
            greenlet.kind = "task"
        greenlet.name, greenlet.function, greenlet.ident = info.name, info.function, info.ident
        greenlet.born = info.born - self._began
        if greenlet.kind == "task":
            greenlet.spawned = greenlet.born if greenlet.born >= 0.0 else None
            greenlet.spawner, greenlet.spawner_name = info.spawner_ident or NOBODY, info.spawner
            greenlet.spawned_at = info.spawned_at

    def _clean_up(self) -> None:
        """Give the runs of carriers without a task to the loop: they look for their next task, or end."""
        for run in self._lane.runs:
            greenlet = self._greenlets[run.greenlet]
            spawned = greenlet.spawned
            if greenlet.kind == "carrier" or (spawned is not None and run.start < spawned):
                run.greenlet = self._life(self._record.loop).greenlet

    def _tell_stalls(self) -> None:
        story = self._teller.story
        limit = story.stall_limit
        lane = self._lane
        starts = [run.start for run in lane.runs]
        samples: dict[int, tuple[float, Stack, str]] = {}
        for sample in self._stalled:
            samples.setdefault(bisect_right(starts, sample[0]) - 1, sample)
        for number, run in enumerate(lane.runs):
            when, stack, call = samples.get(number, (None, (), ""))
            start, end = run.start, run.end
            if run.greenlet == lane.loop:
                # It is asleep for most of its time.
                if when is None:
                    continue
                start = max((poll.end for poll in lane.polls if start <= poll.end <= when), default=start)
                end = min((poll.start for poll in lane.polls if when <= poll.start <= end), default=end)
            if end - start < limit or (when is None and self._greenlets[run.greenlet].kind == "main"):
                continue
            run.is_stall = run.greenlet != lane.loop
            place = self._teller.number_of(stack) if stack else NOBODY
            lane.stalls.append(Stall(start, end, run.greenlet, place, call))
        if not lane.runs:
            # Its log never began, because a greenlet has kept it all the time.
            for when, stack, call in self._stalled[:1]:
                start = max(0.0, when - limit)
                lane.stalls.append(Stall(start, story.seconds, NOBODY, self._teller.number_of(stack), call))
