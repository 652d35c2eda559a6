"""What parked greenlets wait for, who holds it, and at which place of the program.

Nothing is noted while a program runs.  All is found in the frames of the parked greenlets: the innermost ones
are calls into this package, and the outermost of those is the call that waits.  Classes that are waited for
register a phrase here (``awaited_as``) or that they are locks (``awaited_lock``), because the core's imports
point down only.  holds.py finds the holders of locks that do not record them.

*Threads*: the thread of a hub looks at the greenlets of that hub (``waits_of``).  ``describe_all`` has each
hub do so, and waits for the answers; it is called on the thread of a hub, in its loop.
"""

from __future__ import annotations

import _socket
import os
import threading
from _queue import Empty
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from time import monotonic
from types import FrameType
from typing import NamedTuple, TypeVar

from . import PACKAGE
from .current import remembered
from .error_report import report_error
from .frames import only_runs_its_program, stack_of
from .mark import Mark
from .native import SimpleQueue, current_frames
from .registration import Registration
from .state import GreenThread, HubState, HubTask
from .task import Task
from .typing import Protocol
from .waiter import Waiter

_THREADING = threading.__file__
_STANDARD = os.path.dirname(_THREADING) + os.sep
# Their classes wait by means of this package in a patched program.
_GREEN_FILES = (
    _THREADING,
    _STANDARD + "queue.py",
    os.path.join(_STANDARD, "concurrent", "futures", "_base.py"),
)
# Below these the stack is that of a thread, not of its function.
_THREAD_STARTS = ("run", "_bootstrap", "_bootstrap_inner")

V = TypeVar("V")


class _Lock(NamedTuple):
    """What is known of a class of locks."""

    # Those that are recorded.
    holders: Callable[..., Iterable[HubTask]]
    # How many tasks hold one at most; None without a limit.
    most: int | None
    # The methods that wait for a holder; all if there are none.
    methods: tuple[str, ...]


HeldBy = Callable[[FrameType], list[object]]

# Seconds for which a hub waits for what the others say of their greenlets.
LONGEST_ANSWER = 5.0
MOST_LINES = 20
MOST_NAMES = 3
MOST_HOLDERS = 5
LONGEST_REPR = 200

_endings: dict[type, tuple[str, dict[str, str]]] = {}
_locks: dict[type, _Lock] = {}


def awaited_as(kind: type, ending: str, **methods: str) -> None:
    """Describe a wait for an object of *kind* as "waits for it", followed by *ending*.

    *methods*: the endings for waits in methods of these names.
    """
    _endings[kind] = (ending, methods)


def _not_recorded(lock: object) -> tuple[()]:
    """The holders of a lock that does not record them."""
    return ()


def awaited_lock(
    kind: type,
    holders: Callable[..., Iterable[HubTask]] = _not_recorded,
    most: int | None = 1,
    methods: tuple[str, ...] = (),
) -> None:
    """Say that objects of *kind* are locks, which at most *most* tasks hold; None is no limit.

    *holders(lock)* returns the tasks that hold the lock, if they are recorded; any thread may call it.
    *methods*: those that wait for a holder, if not all do.
    """
    _locks[kind] = _Lock(holders, most, methods)


class ParkedGreenlet:
    """What one parked greenlet waits for."""

    __slots__ = ("task", "call", "phrase", "lock", "place", "held", "released")

    def __init__(
        self,
        greenlet: GreenThread,
        task: HubTask,
        held_by: HeldBy,
        frames: list[FrameType],
        find_descriptor: Callable[[GreenThread], str],
    ) -> None:
        self.task = task
        # The call that waits, such as "Event.wait", and what it waits for.
        self.call = ""
        self.phrase = ""
        # The lock that it waits for, if any, and the objects that it may hold.
        self.lock: object = None
        self.held: list[object] = []
        # The lock of the condition in whose ``wait`` it is.
        self.released: object = None
        # File, line and function of the program's innermost frame.
        self.place = ""
        self._describe_call(list(calls_of_package(frames)))
        self._find_place(frames, held_by)
        if not self.phrase:
            self.phrase = find_descriptor(greenlet)

    def _describe_call(self, calls: list[FrameType]) -> None:
        subject: object = None
        awaited = ""
        for frame in calls:
            found = frame.f_locals.get("self")
            name = frame.f_code.co_name
            if isinstance(found, Waiter | Registration | Mark):
                continue
            if _is_public(frame, found):
                subject = found
                method = "acquire" if name == "__enter__" else name
                self.call = method if found is None else f"{type(found).__name__}.{method}"
            if found is None:
                continue
            ending = _of_kind(found, _endings)
            if name in ("wait", "_wait") and hasattr(found, "_lock"):
                self.released = found._lock
                if self.lock is not self.released:
                    self.lock = None  # one that ``wait`` has made, at which only this greenlet waits
            elif ending is not None and getattr(found, "_lock", None) is not self.lock:
                self.lock = None  # part of what is waited for
            if self.lock is None and _is_lock(found, name):
                self.lock = found
            if ending is not None:
                awaited = f"{safe_repr(found)} {ending[1].get(name, ending[0])}"
            elif not frame.f_code.co_filename.startswith(PACKAGE):
                awaited = safe_repr(found)
        if self.lock is not None and _of_kind(self.lock, _endings) is None:
            self.phrase = f"waits for {safe_repr(self.lock)}"
        elif awaited:
            whole = "" if subject is None else safe_repr(subject) + " "
            if whole and awaited.startswith(whole):
                self.phrase = f"of {whole[:-1]}, waits for it {awaited.removeprefix(whole)}"
            else:
                self.phrase = f"waits for {awaited}"
        elif subject is not None:
            self.phrase = f"waits for {safe_repr(subject)}"

    def _find_place(self, frames: list[FrameType], held_by: HeldBy) -> None:
        for frame in frames:
            own = not _is_standard(frame)
            if own or frame.f_code.co_filename.startswith(_STANDARD):
                self.held += held_by(frame)
                if own and not self.place:
                    code = frame.f_code
                    self.place = f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"

    def line(self, holders: Iterable[HubTask]) -> str:
        """What it waits for, who holds it, and where, in one line."""
        names = join_names([holder_name(holder) for holder in holders])
        phrase = f"{self.phrase} held by {names}" if names else self.phrase
        if self.call:
            phrase = f"in {self.call}{' ' if phrase.startswith('of ') else ', ' if phrase else ''}{phrase}"
        return (phrase or "waiting") + (f", called at {self.place}" if self.place else "")


def _of_kind(found: object, table: Mapping[type, V]) -> V | None:
    return next((table[kind] for kind in type(found).__mro__ if kind in table), None)


def _is_lock(found: object, method: str) -> bool:
    kind = _of_kind(found, _locks)
    return kind is not None and (not kind.methods or method in kind.methods)


def join_names(names: Sequence[str], most: int = MOST_HOLDERS) -> str:
    """The first of the *names*, and how many more there are."""
    left = len(names) - most
    return " and ".join([*names[:most], f"{left:,} more"] if left > 0 else names)


def _is_public(frame: FrameType, owner: object) -> bool:
    """Whether a program can have called the function of *frame*, a method of *owner* if that is not None."""
    name = frame.f_code.co_name
    is_private = name.startswith("_") and not name.endswith("__")
    is_closure = "<locals>" in frame.f_code.co_qualname
    return not (is_private or is_closure or (owner is not None and type(owner).__name__.startswith("_")))


def _is_standard(frame: FrameType) -> bool:
    """Whether the code of *frame* is part of this package or of the standard library."""
    name = frame.f_code.co_filename
    return name.startswith((PACKAGE, "<frozen ")) or (
        name.startswith(_STANDARD) and "-packages" + os.sep not in name
    )


def calls_of_package(frames: Iterable[FrameType]) -> Iterator[FrameType]:
    """The innermost *frames* of a stack that wait on behalf of the program."""
    for frame in frames:
        code = frame.f_code
        in_threading = code.co_filename == _THREADING
        if (
            not code.co_filename.startswith((PACKAGE, *_GREEN_FILES))
            or code is Task._execute.__code__
            or (in_threading and code.co_name in _THREAD_STARTS)
        ):
            return
        yield frame


def _descriptor_of(greenlet: GreenThread) -> str:
    waiter = greenlet.waiter
    for registration in list(greenlet.hub.registrations.values()):
        if any(waiting is waiter for waiting in registration.waiters()):
            return describe_descriptor(registration.fd, waiter is registration.reader)
    return ""


def describe_descriptor(fd: int, to_read: bool) -> str:
    """The wait for the descriptor *fd*, and which peer is at the other end of it; any thread."""
    peer = _peer_of(fd)
    text = f"waits for descriptor {fd} to be {'readable' if to_read else 'ready'}"
    return f"{text}, whose peer is {peer}" if peer else text


def _peer_of(fd: int) -> str:
    try:
        # Of a duplicate, because the program may close *fd* meanwhile.
        with closing(_socket.socket(fileno=os.dup(fd))) as duplicate:
            address = duplicate.getpeername()
    except OSError:
        return ""  # not a socket, not connected, or closed
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)


def safe_repr(found: object) -> str:
    """The repr of *found*, cut short; it may be a program's, which may fail."""
    try:
        text = repr(found)
    except Exception:
        text = object.__repr__(found)
    return text if len(text) <= LONGEST_REPR else text[:LONGEST_REPR] + "..."


def holder_name(task: HubTask) -> str:
    """The name of a task in the middle of a sentence."""
    name = task._label()
    return name if name.startswith(("Greenlet-", "main greenlet ")) else f'Greenlet "{name}"'


def waits_of(hub: HubState, held_by: HeldBy) -> list[ParkedGreenlet]:
    """What every parked greenlet of *hub* waits for, that of the main program first; on its own thread.

    *held_by* is that of holds.py.
    """
    found = []
    for greenlet in (hub.main, *hub.carriers):
        # A main greenlet that has not been adopted has no waiter.
        if greenlet is not None and getattr(greenlet, "waiter", None) is not None:
            task = greenlet.task
            if task is not None:
                try:
                    found.append(ParkedGreenlet(greenlet, task, held_by, stack_of(greenlet), _descriptor_of))
                except Exception as exception:
                    # An attribute that is code of the program.
                    report_error(hub, task, exception)
    return found


def describe_all(hub: HubState) -> str:
    """What the parked greenlets of all hubs wait for, those of *hub* first; on the thread of *hub*."""
    # Imported here, because it is heavy and only deadlocks need it; and not by each hub, because they cannot
    # wait for the lock of an import in their loops.
    from .holds import held_by

    answers: SimpleQueue[list[ParkedGreenlet]] = SimpleQueue()
    threads = current_frames()
    asked = [
        other
        for other in remembered()
        if other is not hub
        and other.thread_id in threads
        and not only_runs_its_program(other)
        and other.post(_answer, other, held_by, answers)
    ]
    waits = waits_of(hub, held_by)
    end = monotonic() + LONGEST_ANSWER
    try:
        for _ in asked:
            waits += answers.get(timeout=max(0.0, end - monotonic()))
    except Empty:
        pass  # a hub that does not answer has been woken by something else
    return describe(waits)


def _answer(hub: HubState, held_by: HeldBy, answers: SimpleQueue[list[ParkedGreenlet]]) -> None:
    answers.put(waits_of(hub, held_by))


def describe(waits: list[ParkedGreenlet]) -> str:
    """One line for all greenlets that wait for the same at the same place."""
    groups: dict[str, list[str]] = {}
    holders = holders_of(waits)
    # First the main program, then what waits for locks.
    for wait in waits[:1] + sorted(waits[1:], key=lambda wait: wait.lock is None):
        groups.setdefault(wait.line(holders.get(id(wait.lock), ())), []).append(wait.task._label())
    lines = [f"  {_names(names)}: {line}" for line, names in groups.items()]
    more = lines[MOST_LINES:]
    if more:
        left = sum(len(names) for names in list(groups.values())[MOST_LINES:])
        lines[MOST_LINES:] = [f"  and {left:,} more"]
    return "\n".join(lines)


def _names(names: list[str]) -> str:
    left = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {left:,} more" if left > 0 else "")


class LockWait(Protocol):
    """What ``holders_of`` looks at."""

    @property
    def task(self) -> HubTask: ...

    @property
    def lock(self) -> object: ...

    @property
    def held(self) -> Iterable[object]: ...

    @property
    def released(self) -> object: ...


def holders_of(waits: Iterable[LockWait]) -> dict[int, list[HubTask]]:
    """The tasks that hold each lock that *waits* are for, as far as it can be told, by the lock's ``id``."""
    waits = list(waits)
    locks = {id(wait.lock): wait.lock for wait in waits if wait.lock is not None}
    candidates: dict[int, list[HubTask]] = {key: [] for key in locks}
    for wait in waits:
        for key in {id(held) for held in wait.held if held is not wait.released}:
            if key in locks:
                candidates[key].append(wait.task)
    holders = {}
    for key, lock in locks.items():
        kind = _of_kind(lock, _locks)
        if kind is None:
            continue
        known = list(kind.holders(lock))
        if known:
            holders[key] = known
        elif kind.most is None or len(candidates[key]) <= kind.most:
            holders[key] = candidates[key]
    return holders


awaited_as(Task, "to end")
