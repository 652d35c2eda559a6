"""What every hub and every greenlet is doing, as plain values that keep nothing alive.

With a GIL the calling thread looks at all hubs itself.  So it needs no answer of a hub whose greenlet
computes.  Each greenlet's frames are taken in one step (see frames.py), and a greenlet that was resumed while
it was looked at is looked at once more.  A task that a hub moves from one queue to the next is in neither for
a moment.  So a hub that is awake is looked through again for tasks that were missed, unless it has been in
one turn all the time.  Without a GIL each hub looks at its own greenlets, between its passes, in slices of
SLICE seconds.  A hub without greenlets is not asked while its thread runs the program.  Of that hub, and of
one that does not answer, only those facts are known that are single references: no stacks but the innermost
line of the one that runs.

Stacks that are equal are described once (``Shape``).  Of the wait itself only the objects differ from one
greenlet to the next, so the words around them are made once, too (``Template``).

*Threads*: ``survey`` may be called on any thread.  It blocks for as long as answers come.
"""

from __future__ import annotations

import re
from _queue import Empty
from collections import deque
from collections.abc import Iterator, Sequence
from operator import attrgetter, is_
from sys import version_info
from time import monotonic
from types import CodeType, FrameType
from typing import NamedTuple, TypeVar, overload
from weakref import ref

from . import PACKAGE
from .current import getcurrent, open_hubs
from .frames import only_runs_its_program, stack_from, stack_of
from .holds import calls_method_of_self, has_steps, held_by
from .native import HAS_GIL, Lock, SimpleQueue, current_frames, sleep
from .spawning import line_of
from .stall_watch import blocking_call, outermost
from .state import GreenThread, HubState, HubTask
from .task import MainTask, Task
from .waits import ParkedGreenlet, calls_of_package, describe_descriptor, holders_of, safe_repr

T = TypeVar("T")

# Seconds for which a hub describes greenlets in one go, and for which its next answer is waited for.
SLICE = 0.002
PATIENCE = 1.0

# Seconds from which on a turn is described.
LONG_TURN = 0.1

# Seconds without a park after which a hub that has begun no pass counts as one in a single turn.
ONE_TURN = 0.01

# Tries to copy a queue.
COPIES = 100

# Looks at a greenlet that is resumed again and again.
TRIES = 3

# The moves of a task: from the inbox or a timer to the ready queue, from there to the loop, and to a carrier.
# One look can miss it during each of them.
MOVES = 3
# The longest wait for a hub to go on between two looks: so many sleeps of so many seconds.
MOMENTS = 20
MOMENT = 0.00005

# Their frames are those of the wait itself.
_WAITING = tuple(f"{PACKAGE}_core/{name}.py" for name in ("mark", "registration", "waiter"))

# Up to CPython 3.12 the values of f_locals stay with the frame.
_LOCALS_STAY = version_info < (3, 13)


class Frame(NamedTuple):
    """One call of a stack."""

    file: str
    line: int
    function: str


Stack = tuple[Frame, ...]


class GreenletInfo(NamedTuple):
    """One greenlet."""

    ident: int
    """Its identifier as a thread (``threading.get_ident()``), unique while it is alive."""
    name: str
    """That of a thread of a patched program has the Thread's name as well."""
    hub: str
    state: str
    """"running", "ready", "parked" or "not started"."""
    age: float | None
    """Seconds since it was made; None for the main program of a thread."""
    parked: float | None
    """Seconds since it parked; None unless its state is "parked"."""
    spawner: str | None
    """The name of the greenlet that has made it; None if there was none, or if that is gone."""
    spawner_ident: int | None
    spawned_at: Frame | None
    """The place of the program that has made it."""
    call: str = ""
    """The call that waits, such as "Event.wait"."""
    waits_for: str = ""
    """What that waits for, in words."""
    held_by: tuple[str, ...] = ()
    """The names of the greenlets that hold the lock that it waits for, as far as that can be told."""
    stack: Stack | None = ()
    """Its calls, the innermost first, without those of greenpool; None if they are not known."""


# A greenlet before its GreenletInfo is made: the same fields, with numbers of ``Tables`` in the place of the
# Frame, the names of the holders and the stack.  It is a tuple of strings and numbers, which the collector
# leaves alone once it has seen it.  To look through 100,000 objects takes half as long as the survey.
Row = tuple[int, str, str, str, float | None, float | None, str | None, int | None, int, str, str, int, int]


class Tables:
    """What the rows of one survey refer to; any thread may add."""

    __slots__ = ("places", "stacks", "holders", "_lock")

    def __init__(self) -> None:
        self.places: list[Frame | None] = [None]
        # Not known, and empty.
        self.stacks: list[Stack | None] = [None, ()]
        # The names of those that hold a lock, by its identity; set at the end.
        self.holders: dict[int, tuple[str, ...]] = {}
        self._lock = Lock()

    def add_place(self, place: Frame) -> int:
        with self._lock:
            self.places.append(place)
            return len(self.places) - 1

    def add_stack(self, stack: Stack) -> int:
        with self._lock:
            self.stacks.append(stack)
            return len(self.stacks) - 1


class Greenlets(Sequence[GreenletInfo]):
    """The greenlets that a survey has found.  Each GreenletInfo is made when it is asked for."""

    __slots__ = ("_rows", "_places", "_stacks", "_holders")

    def __init__(self, rows: list[Row], tables: Tables) -> None:
        self._rows = rows
        self._places = tables.places
        self._stacks = tables.stacks
        self._holders = tables.holders

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> GreenletInfo: ...

    @overload
    def __getitem__(self, index: slice) -> list[GreenletInfo]: ...

    def __getitem__(self, index: int | slice) -> GreenletInfo | list[GreenletInfo]:
        if isinstance(index, slice):
            return list(map(self._info, self._rows[index]))
        return self._info(self._rows[index])

    def __iter__(self) -> Iterator[GreenletInfo]:
        return map(self._info, self._rows)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))

    def _info(self, row: Row) -> GreenletInfo:
        ident, name, hub, state, age, parked, spawner, spawner_ident, place, call, waits_for, lock, stack = (
            row
        )
        return GreenletInfo(
            ident,
            name,
            hub,
            state,
            age,
            parked,
            spawner,
            spawner_ident,
            self._places[place],
            call,
            waits_for,
            self._holders.get(lock, ()),
            self._stacks[stack],
        )


class Locks:
    """The lock that one greenlet waits for, and those that it may hold, while the survey lasts."""

    __slots__ = ("task", "lock", "held", "released")

    def __init__(self, task: HubTask, lock: object, held: Sequence[object], released: object) -> None:
        self.task = task
        self.lock = lock
        self.held = held
        # The lock of the condition in whose ``wait`` it is.
        self.released = released


class HubInfo(NamedTuple):
    """One hub, and the thread that it runs on."""

    name: str
    thread: int
    """The identifier of its OS thread."""
    state: str
    """"asleep" in its poller, or "running"."""
    counts: dict[str, int]
    """Its load, as ``Hub.statistics()``: live and ready greenlets, timers, descriptors and so on."""
    runs: str | None = None
    """The name of the greenlet that has the thread now."""
    since: float | None = None
    """For how many seconds that has run at most, if it has not parked while the snapshot was taken."""
    stack: Stack = ()
    """What the thread executes, the innermost call first."""
    answered: bool = True
    """False if the stacks of its greenlets are not known: without a GIL, while one of them computes."""


class Shape:
    """What greenlets with equal stacks have in common."""

    __slots__ = ("codes", "stack", "subjects", "holding", "templates", "last", "wait")

    def __init__(self, frames: Sequence[FrameType], tables: Tables) -> None:
        # Keeps the identities in the key valid.
        self.codes = [frame.f_code for frame in frames]
        self.stack = tables.add_stack(_program_part(frames))
        calls = list(calls_of_package(frames))
        # The frames whose ``self`` may be waited for: the position, whether the variables are to be let go
        # of, and whether it is the ``self`` of the frame before, because this one has called ``self.METHOD``.
        # A look at variables costs more than all else, so no object is asked for twice.
        self.subjects: list[tuple[int, bool, bool]] = []
        before = None
        for position, frame in enumerate(calls):
            if _has_subject(frame.f_code):
                is_same = before is not None and before == position - 1 and calls_method_of_self(frame)
                stays = _LOCALS_STAY and frame.f_code.co_filename.startswith(PACKAGE)
                self.subjects.append((position, stays, is_same))
                before = position
        self.holding = [position for position, frame in enumerate(frames) if has_steps(frame)]
        self.templates: dict[tuple[type, ...], Template] = {}
        # The subjects of the greenlet that was looked at last, and how it waits; None if that is not the same
        # for every greenlet with these subjects.
        self.last: list[object] = []
        self.wait: ShapeWait | None = None


def subjects_of(shape: Shape, frames: Sequence[FrameType]) -> list[object]:
    """The objects that a greenlet of *shape* with these *frames* may wait for."""
    subjects: list[object] = []
    for position, stays, is_same in shape.subjects:
        if is_same:
            subjects.append(subjects[-1])
            continue
        names = frames[position].f_locals
        subjects.append(names.get("self"))
        if stays:
            # Else the frame would keep what its variables refer to now.
            names.clear()
    return subjects


class ShapeWait(NamedTuple):
    """How a greenlet waits."""

    call: str
    phrase: str
    lock: object
    released: object


class Template:
    """The words for the waits of one shape on objects of the same classes."""

    __slots__ = ("call", "parts", "lock", "released")

    def __init__(self, wait: ParkedGreenlet, subjects: Sequence[object]) -> None:
        self.call = wait.call
        # Text, and the numbers of the subjects whose representations stand between.
        self.parts: list[str | int] | None = []
        texts = {text: number for number, text in enumerate(map(safe_repr, subjects)) if len(text) > 2}
        pattern = "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
        for part in re.split(f"({pattern})", wait.phrase) if pattern else [wait.phrase]:
            if part:
                self.parts.append(texts.get(part, part))
        if any(isinstance(part, str) and " at 0x" in part for part in self.parts):
            # It tells of an object that is no subject.
            self.parts = None
        self.lock = _position(wait.lock, subjects)
        self.released = _position(wait.released, [getattr(each, "_lock", None) for each in subjects])

    def phrase(self, subjects: Sequence[object]) -> str:
        """What a greenlet waits for with these *subjects*."""
        parts = self.parts or ()
        return "".join([part if isinstance(part, str) else safe_repr(subjects[part]) for part in parts])


def _position(found: object, among: Sequence[object]) -> int | None:
    if found is None:
        return None
    return next((number for number, each in enumerate(among) if each is found), None)


def _has_subject(code: CodeType) -> bool:
    """Whether the ``self`` of a call of *code* may be waited for.  A turn of the ready queue is not."""
    if code.co_filename.startswith(_WAITING) or (
        code.co_name == "switch" and code.co_filename.startswith(PACKAGE)
    ):
        return False
    return "self" in code.co_varnames + code.co_cellvars + code.co_freevars


_get_code = attrgetter("f_code")
_get_offset = attrgetter("f_lasti")

_places: dict[tuple[int, int], tuple[CodeType, Frame]] = {}


def place_of(code: CodeType, offset: int) -> Frame:
    """The place in the source of an *offset* in *code*."""
    key = (id(code), offset)
    known = _places.get(key)
    if known is None or known[0] is not code:
        known = (code, Frame(code.co_filename, line_of(code, offset), code.co_qualname))
        if len(_places) > 1000:
            _places.clear()
        _places[key] = known
    return known[1]


def _program_part(frames: Sequence[FrameType]) -> Stack:
    """The calls of the program, without those of this package at both ends."""
    calls = [Frame(each.f_code.co_filename, each.f_lineno or 0, each.f_code.co_qualname) for each in frames]
    first, end = 0, len(calls)
    while end and calls[end - 1].file.startswith(PACKAGE):
        end -= 1
    while first < end and calls[first].file.startswith(PACKAGE):
        first += 1
    return tuple(calls[first:end])


def stack_of_thread(frame: FrameType) -> Stack:
    """The calls of the program in a thread that runs *frame*: without a GIL the innermost only."""
    return _program_part(stack_from(frame) if HAS_GIL else [frame])


def _copy_of(queue: deque[T]) -> deque[T]:
    """A copy of *queue*, which its hub may change meanwhile: without a GIL a copy is no single step."""
    for _ in range(COPIES):
        try:
            return queue.copy()
        except RuntimeError:
            continue  # it was changed
    return deque()  # of a busy hub, whose tasks have mostly started when they are looked for


class _Look:
    """The look at one hub: ``rows`` yields what is found of one greenlet after the other."""

    def __init__(self, hub: HubState, shapes: dict[object, Shape], tables: Tables, sees_stacks: bool) -> None:
        self.hub = hub
        self.info = HubInfo(
            hub.name, hub.thread_id, "asleep" if hub.inbox.asleep else "running", hub.statistics()
        )
        self._shapes = shapes
        self._tables = tables
        self._sees_stacks = sees_stacks
        self._now = monotonic()
        self._passes = hub.passes
        # The descriptor that each waiter waits for, and whether it waits to read.
        self._awaited: dict[int, tuple[int, bool]] | None = None
        self._latest = hub.woken_at
        self._name = hub.name
        # The names of spawners, by the identity of the reference.
        self._spawners: dict[int, tuple[str | None, int | None]] = {}
        # The numbers of places, by the identity of the code, which the value keeps alive.
        self._places: dict[tuple[int, int], tuple[CodeType, int]] = {}
        # Those of the greenlet that was looked at last.
        self._spawner: ref[Task[object]] | None = None
        self._origin: tuple[CodeType, int] | None = None
        self._spawner_name: str | None = None
        self._spawner_ident: int | None = None
        self._place = 0
        # The locks that are waited for, by their identities; and by the number of the greenlet among those of
        # the hub, the locks that it holds.
        self.awaited: dict[int, Locks] = {}
        self.held: dict[int, Locks] = {}
        self._count = 0
        # The greenlet that has the thread; None if it is the loop.
        self._running: Task[object] | None = None
        self._runs_label = ""
        self._place_of_running = 0
        # A look on the hub's own thread finds the caller running, or the loop.
        self._caller = getcurrent() if hub.is_own_thread() else None

    def rows(self) -> Iterator[Row]:
        seen: set[int] = set()
        # The hub's own thread moves no task meanwhile.  Without a GIL a look at frames stops all threads.
        is_one_look = not HAS_GIL or self._caller is not None
        for left in range(0 if is_one_look else MOVES, -1, -1):
            before = self._thread_place() if left else None
            yield from self._look_through(seen)
            if before is None or self._is_in_one_turn() or not self._goes_on(before):
                return

    def _is_in_one_turn(self) -> bool:
        """Whether the hub has run a greenlet of the program, and moved no task, since before the look began.

        To look again at one that computes would take long, because each wait for the GIL does.
        """
        hub = self.hub
        if hub.passes != self._passes or self._now - self._latest < ONE_TURN:
            return False
        frame = current_frames().get(hub.thread_id)
        return frame is not None and not frame.f_code.co_filename.startswith(PACKAGE)

    def _thread_place(self) -> tuple[int, int, int]:
        """How far the hub's thread has come; with a GIL only."""
        hub = self.hub
        frame = None if hub.inbox.asleep else current_frames().get(hub.thread_id)
        return (hub.passes, 0, 0) if frame is None else (hub.passes, id(frame), frame.f_lasti)

    def _goes_on(self, before: tuple[int, int, int]) -> bool:
        """Let the hub's thread leave the place where it is; False if it has stood still since *before*.

        It stands still while it is asleep or in a call that takes long, and moves no task then.
        """
        place = self._thread_place()
        for _ in range(MOMENTS):
            if self.hub.inbox.asleep or self._thread_place() != place:
                break
            sleep(MOMENT)
        return self._thread_place() != before

    def _look_through(self, seen: set[int]) -> Iterator[Row]:
        """Describe the tasks that are not among those *seen*, by their identities, and add them."""
        hub = self.hub
        # In the order in which a task goes, so that one that moves on meanwhile is found at a later place.
        posted = _copy_of(hub.inbox.queue)
        later = [entry.owner for _, _, entry in list(hub.timers.heap) if entry.pending]
        due = _copy_of(hub.ready)
        ready = set(map(id, due))
        new = {id(turn): turn for turn in (*posted, *later, *due, hub.starting) if isinstance(turn, Task)}
        carriers = list(hub.carriers)
        if seen:
            # A further look passes over nearly all of them, so that is one expression.
            carriers = [each for each in carriers if id(each.task) not in seen]
        for greenlet in (hub.main, *carriers):
            # A main greenlet that has not been adopted has no task.
            task = getattr(greenlet, "task", None)
            if greenlet is not None and isinstance(task, Task) and not task.done and id(task) not in seen:
                seen.add(id(task))
                yield self._describe(greenlet, task, id(greenlet) in ready)
                self._count += 1
        for task in new.values():
            carrier = task.carrier
            if task.done or id(task) in seen:
                continue
            seen.add(id(task))
            if carrier is None:
                yield self._row(task, "not started", None, "", "", 0, 1)
            else:
                # It has started since, on a carrier that was free or not made.
                yield self._describe(carrier, task, False)
            self._count += 1

    def _row(
        self,
        task: Task[object],
        state: str,
        parked: float | None,
        call: str,
        phrase: str,
        lock: int,
        stack: int,
    ) -> Row:
        # Greenlets of one spawner and one place mostly follow each other.
        if task.spawner is not self._spawner or task.origin != self._origin:
            self._find_origin(task)
        age = None if type(task) is MainTask else self._now - task.born
        return (
            id(task),
            task._label(),
            self._name,
            state,
            0.0 if age is not None and age < 0.0 else age,
            parked,
            self._spawner_name,
            self._spawner_ident,
            self._place,
            call,
            phrase,
            lock,
            stack,
        )

    def _find_origin(self, task: Task[object]) -> None:
        """Find who has made *task* and where, for it and for those that follow it."""
        self._spawner, self._origin = task.spawner, task.origin
        self._spawner_name, self._spawner_ident, self._place = None, None, 0
        reference = self._spawner
        if reference is not None:
            known = self._spawners.get(id(reference))
            if known is None:
                found = reference()
                known = (None, None) if found is None else (found._label(), id(found))
                self._spawners[id(reference)] = known
            self._spawner_name, self._spawner_ident = known
        if self._origin is not None:
            code, offset = self._origin
            seen = self._places.get((id(code), offset))
            if seen is None:
                seen = (code, self._tables.add_place(place_of(code, offset)))
                self._places[(id(code), offset)] = seen
            self._place = seen[1]

    def _describe(self, greenlet: GreenThread, task: Task[object], is_ready: bool) -> Row:
        for left in range(TRIES - 1, -1, -1):
            waiter = greenlet.waiter
            since = greenlet.parked_at
            if since > self._latest:
                self._latest = since
            if waiter is None or waiter.state:
                break
            parked = self._now - since
            if parked < 0.0:
                parked = 0.0
            if not self._sees_stacks:
                return self._row(task, "parked", parked, "", "", 0, 0)
            found = self._describe_parked(greenlet, task, parked)
            if not left or (greenlet.waiter is waiter and greenlet.parked_at == since):
                return found
            # It has been resumed meanwhile.
            self.held.pop(self._count, None)
        if self._runs(greenlet, waiter is not None or is_ready):
            self._running = task
            # Now, because the name of a thread goes with its end.
            self._runs_label = task._label()
            self._place_of_running = self._count
            return self._row(task, "running", None, "", "", 0, int(self._sees_stacks))
        if not self._sees_stacks:
            return self._row(task, "ready", None, "", "", 0, 0)
        frames = stack_of(greenlet)
        held = [lock for frame in frames if has_steps(frame) for lock in held_by(frame)]
        if held:
            self.held[self._count] = Locks(task, None, held, None)
        return self._row(task, "ready", None, "", "", 0, self._tables.add_stack(_program_part(frames)))

    def _runs(self, greenlet: GreenThread, is_due: bool) -> bool:
        if self._caller is not None:
            return greenlet is self._caller
        if is_due:
            return False
        return not HAS_GIL or (greenlet.gr_frame is None and not greenlet.dead)

    def _describe_parked(self, greenlet: GreenThread, task: Task[object], parked: float) -> Row:
        frames = stack_of(greenlet)
        key = (*map(id, map(_get_code, frames)), *map(_get_offset, frames))
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = Shape(frames, self._tables)
        subjects = subjects_of(shape, frames)
        wait = shape.wait
        if wait is None or not all(map(is_, subjects, shape.last)):
            wait = self._find_wait(shape, subjects, greenlet, task, frames)
        call, phrase, lock, released = wait
        key_of_lock = 0
        if lock is not None:
            key_of_lock = id(lock)
            if key_of_lock not in self.awaited:
                self.awaited[key_of_lock] = Locks(task, lock, (), None)
        if shape.holding:
            held = [lock for position in shape.holding for lock in held_by(frames[position])]
            if held:
                self.held[self._count] = Locks(task, None, held, released)
        return self._row(task, "parked", parked, call, phrase, key_of_lock, shape.stack)

    def _find_wait(
        self,
        shape: Shape,
        subjects: list[object],
        greenlet: GreenThread,
        task: Task[object],
        frames: list[FrameType],
    ) -> ShapeWait:
        """How *greenlet* waits; noted for the next one with the same subjects, if it is the same for that."""
        shape.wait = None
        kinds = tuple(map(type, subjects))
        template = shape.templates.get(kinds)
        if template is None or template.parts is None:
            described = ParkedGreenlet(greenlet, task, held_by, frames, lambda _greenlet: "")
            template = shape.templates[kinds] = Template(described, subjects)
            if template.parts is None:
                return ShapeWait(described.call, described.phrase, described.lock, described.released)
        lock = None if template.lock is None else subjects[template.lock]
        released = None if template.released is None else getattr(subjects[template.released], "_lock", None)
        if not template.parts:
            return ShapeWait(template.call, self._find_descriptor(greenlet), lock, released)
        shape.last = subjects
        shape.wait = ShapeWait(template.call, template.phrase(subjects), lock, released)
        return shape.wait

    def locks(self) -> list[Locks]:
        """The locks that are waited for, and those that are held."""
        return [*self.awaited.values(), *self.held.values()]

    def _find_descriptor(self, greenlet: GreenThread) -> str:
        if self._awaited is None:
            self._awaited = {
                id(waiter): (registration.fd, waiter is registration.reader)
                for registration in list(self.hub.registrations.values())
                for waiter in registration.waiters()
            }
        found = self._awaited.get(id(greenlet.waiter))
        return "" if found is None else describe_descriptor(*found)

    def end(self, frames: dict[int, FrameType], found: list[Row]) -> HubInfo:
        """What is known of the hub when its greenlets have been looked at; completes the one that runs."""
        hub = self.hub
        info = self.info._replace(answered=self._sees_stacks)
        if info.state == "asleep":
            return info
        if self._running is not None:
            info = info._replace(runs=self._runs_label)
            if self._caller is None and hub.passes == self._passes:
                info = info._replace(since=max(0.0, self._now - self._latest))
        frame = frames.get(hub.thread_id)
        if frame is None:
            return info
        running = stack_from(frame) if HAS_GIL or self._caller is not None else [frame]
        info = info._replace(stack=_program_part(running))
        if self._running is not None:
            # Without the GIL the variables of a frame that runs on another thread are out of reach.
            held = [lock for each in running for lock in held_by(each)] if len(running) > 1 else []
            place = self._place_of_running
            if held:
                self.held[place] = Locks(self._running, None, held, None)
            found[place] = (*found[place][:-1], self._tables.add_stack(info.stack))
        return info


class _Slices:
    """The look at a hub by its own thread, a slice in each pass."""

    def __init__(self, hub: HubState, tables: Tables, answers: SimpleQueue[_Answer]) -> None:
        self._hub = hub
        self._tables = tables
        self._answers = answers
        self._look: _Look | None = None
        self._left: Iterator[Row] = iter(())

    def go_on(self) -> None:
        if self._look is None:
            self._look = _Look(self._hub, {}, self._tables, True)
            self._left = self._look.rows()
        end = monotonic() + SLICE
        found: list[Row] = []
        for each in self._left:
            found.append(each)
            if monotonic() >= end:
                self._answers.put((self._hub, found, None, []))
                self._hub.post(self.go_on)
                return
        info = self._look.end({}, found)
        self._answers.put((self._hub, found, info, self._look.locks()))


_Seen = tuple[HubInfo, list[Row], list[Locks]]
_Answer = tuple[HubState, list[Row], HubInfo | None, list[Locks]]


def survey(stacks: bool = True, may_stop_threads: bool = True) -> tuple[list[HubInfo], Greenlets]:
    """Look at all hubs and their greenlets, and at their *stacks* if these are wanted; any thread.

    Without the GIL, *may_stop_threads* is needed to see the innermost line of a hub that does not answer.
    Without it that is left out (see ``running_lines``).
    """
    frames = current_frames() if HAS_GIL or may_stop_threads else None
    hubs = [hub for hub in open_hubs() if frames is None or hub.thread_id in frames]
    hubs.sort(key=lambda hub: (hub.index is not None, hub.index or 0, hub.name))
    shapes: dict[object, Shape] = {}
    tables = Tables()
    known: dict[HubState, _Seen] = {}
    asked = []
    answers: SimpleQueue[_Answer] = SimpleQueue()
    for hub in hubs:
        if HAS_GIL or not stacks or hub.is_own_thread():
            known[hub] = _look_at(hub, shapes, tables, frames, stacks)
        elif only_runs_its_program(hub):
            known[hub] = _look_at(hub, shapes, tables, frames, False)
        elif hub.post(_Slices(hub, tables, answers).go_on):
            asked.append(hub)
    if asked:
        known |= _collect(answers, set(asked))
    for hub in asked:
        if hub not in known:
            known[hub] = _look_at(hub, shapes, tables, frames, False)
    seen = [known[hub] for hub in hubs if hub in known]
    _name_holders(tables, [each for _, _, locks in seen for each in locks])
    rows = [row for _, found, _ in seen for row in found]
    return [info for info, _, _ in seen], Greenlets(rows, tables)


def running_lines() -> dict[str, Frame]:
    """The innermost line of the program on each hub that is awake, by the hub's name; any thread.

    Without the GIL this stops all threads for a moment.  It waits for a function in C that runs on any of
    them, and so does then the whole process.
    """
    frames = current_frames()
    found = {}
    for hub in open_hubs():
        frame = frames.get(hub.thread_id)
        if frame is not None and not hub.inbox.asleep:
            found[hub.name] = Frame(frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname)
    return found


class Turns(NamedTuple):
    """What a hub did while it was watched."""

    passes: int
    """The passes that it has begun."""
    busy: float
    """The part of the time for which it was awake."""
    longest: float
    """The seconds of its longest turn, which is the time without a new pass or another call."""
    runs: str = ""
    """The greenlet of that turn, if it was a long one; empty if it cannot be told."""
    stack: Stack = ()
    """The stack of that turn, if it was a long one."""
    blocked_by: str = ""
    """The known blocking call that it was in, in words."""


class _Watched:
    """One hub that ``watch_turns`` watches."""

    __slots__ = (
        "awake",
        "blocked_by",
        "call",
        "described",
        "first",
        "hub",
        "longest",
        "passes",
        "runs",
        "since",
        "stack",
    )

    def __init__(self, hub: HubState, now: float) -> None:
        self.hub = hub
        self.first = self.passes = hub.passes
        # The call that runs, by its identity.
        self.call: object = None
        self.since = now
        self.awake = 0
        self.longest = 0.0
        # The beginning of the turn that is described.
        self.described = 0.0
        self.runs = ""
        self.stack: Stack = ()
        self.blocked_by = ""

    def look(self, now: float) -> None:
        hub = self.hub
        if hub.inbox.asleep:
            self.passes, self.call, self.since = hub.passes, None, now
            return
        self.awake += 1
        if self.passes != hub.passes:
            self.passes, self.call, self.since = hub.passes, None, now
            return
        # Without a GIL this would wait for code in C (see ``running_lines``).
        frame = current_frames().get(hub.thread_id) if HAS_GIL else None
        call = None if frame is None else outermost(frame)
        if self.call is not None and call != self.call:
            self.since = now
        self.call = call
        if now - self.since <= self.longest:
            return
        self.longest = now - self.since
        if self.longest >= LONG_TURN and self.described != self.since:
            self.described = self.since
            self.runs = _running_label(hub)
            self.stack = () if frame is None else _program_part(stack_from(frame))
            self.blocked_by = blocking_call(frame)


def _running_label(hub: HubState) -> str:
    """The name of the greenlet that *hub* runs; any thread, and empty if it cannot be told."""
    ready = set() if HAS_GIL else set(map(id, _copy_of(hub.ready)))
    for greenlet in (hub.main, *list(hub.carriers)):
        task = getattr(greenlet, "task", None)
        if greenlet is not None and isinstance(task, Task) and not task.done:
            # Without a GIL the frames of another thread are out of reach, and these facts are hints.
            is_out = greenlet.gr_frame is not None if HAS_GIL else greenlet.waiter is not None
            if not is_out and id(greenlet) not in ready:
                return task._label()
    return ""


def watch_turns(seconds: float, interval: float = 0.01) -> dict[str, Turns]:
    """Watch the hubs for so many *seconds*; any thread that is no hub, because this blocks it.

    Returns what each hub did, by its name.  It looks at each *interval* only.
    """
    end = monotonic() + seconds
    watched: dict[HubState, _Watched] = {}
    looks = 0
    # Nobody releases it.
    never = Lock()
    never.acquire()
    while (now := monotonic()) < end:
        looks += 1
        for hub in open_hubs():
            each = watched.get(hub)
            if each is None:
                each = watched[hub] = _Watched(hub, now)
            each.look(now)
        never.acquire(timeout=interval)
    return {
        hub.name: Turns(
            hub.passes - each.first,
            each.awake / looks,
            each.longest,
            each.runs,
            each.stack,
            each.blocked_by,
        )
        for hub, each in watched.items()
        if not hub.inbox.closed
    }


def _look_at(
    hub: HubState,
    shapes: dict[object, Shape],
    tables: Tables,
    frames: dict[int, FrameType] | None,
    sees_stacks: bool,
) -> _Seen:
    look = _Look(hub, shapes, tables, sees_stacks)
    found = list(look.rows())
    return look.end(frames or {}, found), found, look.locks()


def _collect(answers: SimpleQueue[_Answer], asked: set[HubState]) -> dict[HubState, _Seen]:
    parts: dict[HubState, list[Row]] = {hub: [] for hub in asked}
    known: dict[HubState, _Seen] = {}
    end = monotonic() + PATIENCE
    while len(known) < len(asked):
        try:
            hub, found, info, locks = answers.get(timeout=max(0.0, end - monotonic()))
        except Empty:
            break
        parts[hub] += found
        end = monotonic() + PATIENCE
        if info is not None:
            known[hub] = (info, parts[hub], locks)
    return known


def _name_holders(tables: Tables, locks: list[Locks]) -> None:
    """Note who holds what is waited for."""
    for key, tasks in holders_of(locks).items():
        tables.holders[key] = tuple(holder._label() for holder in tasks)
