"""Records what the hubs do: which greenlet runs when, why it parks, who wakes it.

*Off, it costs nothing.*  No path of a hub asks whether it is recorded.  While the hubs are recorded, greenlet
calls a function at each switch of their threads (``greenlet.settrace``), and methods that tell what happens
have others in their place: ``Waiter.resume`` (wakes), ``Task._finish`` (ends), ``expire`` of timers, and
``poll`` of pollers.

*On, a switch appends two things* to the log of its hub: the time, and the identity of the greenlet that goes
on.  Every other event is a time and a tuple.  So a log refers to no greenlet and keeps none alive.  All that
can be told later is told later (see greenpool/trace/story.py): whose carrier it was, for how long it ran, who
ran when another one was woken.

*Which task a carrier runs* is said by the entry of the task's end, or, if it has not ended, by the last entry
of the log.  Between two ends a carrier runs one task.

*A limit*: when all logs together have so many entries, the recording is over, and says so.

*Threads*: the thread of a hub writes its log and begins and ends the recording of that hub, asked through the
inbox.  A log is a list, and one event is added by one call, so a signal handler that runs in between adds its
own before or behind it.  The sampler, a real thread, reads lengths, and takes the stacks of hubs that are
kept from switching.  ``stop`` runs on any thread, and asks the hubs that do not answer no longer than
``PATIENCE`` seconds; what it then says of their greenlets are single references.
"""

from __future__ import annotations

import os
from _queue import Empty
from collections.abc import Callable, Iterator
from time import monotonic, time
from typing import Any, NamedTuple

import greenlet as greenlet_module

from .current import Factories, at_new_hub, getcurrent, open_hubs
from .deadlock import idle_threads
from .fork import at_fork
from .native import (
    Lock,
    RLock,
    SimpleQueue,
    current_frames,
    get_ident,
    original_threading,
    start_new_thread,
)
from .origin import Origins
from .park_reason import ParkReasons
from .speedups import speedups
from .stall_watch import LOOKS
from .state import GreenThread, HubState, Wait
from .survey import Frame, Stack, place_of, stack_of_thread
from .task import Task
from .timers import Call, Timer
from .turn_times import TimingPoller
from .waiter import Sleep, Waiter

# Seconds for which the end of a recording waits for each hub.
PATIENCE = 1.0

# Greenlets that are described when a recording begins while they are parked.
MOST_PARKED = 1000

# The longest pause of the sampler in seconds.
LONGEST_PAUSE = 0.05

# What a tuple in a log says, with the items that follow.  The identities are those of greenlets.
PARKED = 0  # identity, number of the stack, call, phrase, since when (None: the moment of the entry)
ENDED = 1  # identity, TaskInfo
WOKEN = 2  # identity, by what ("": by the greenlet that runs)
POLLED = 3  # when it began, timeout, number of events
TIMER = 4  # what it calls
STALLED = 5  # stack, call of the standard library that blocks
ALIVE = 6  # identity, TaskInfo
UNSTARTED = 7  # TaskInfo
FREE = 8  # identity of a carrier that has no task

# The stubs of greenlet have greenlets without the attributes of a GreenThread.
_at_switch: Any = greenlet_module


class TaskInfo(NamedTuple):
    """What is told of a task."""

    ident: int
    name: str
    function: str
    born: float
    spawner: str
    """The name of the greenlet that has made it; empty if there was none, or if that is gone."""
    spawner_ident: int
    spawned_at: Frame | None


class HubRecord(NamedTuple):
    """What one hub has done."""

    name: str
    number: int | None
    """Its number in its pool; None for a plain thread's."""
    thread: int
    """The identifier of the OS thread, as the system's tools show it; 0 if it is not known."""
    entries: list[Any]
    """A time, the greenlet that goes on or a tuple that says what has happened, a time, and so on."""
    stacks: list[Stack]
    loop: int
    """The identity of the loop's greenlet."""
    main: int | None
    """That of the main greenlet of a plain thread."""
    answered: bool
    """False if a greenlet kept the hub when the recording ended."""


class Recorded(NamedTuple):
    """A recording that is over.  Its times are those of ``time.monotonic()``."""

    pid: int
    wall_time: float
    """The seconds of ``time.time()`` when it began."""
    began: float
    ended: float
    hubs: list[HubRecord]
    wakes: list[tuple[float, int, str]]
    """Wakes by threads that have no hub: when, which greenlet, and by which thread."""
    stall_limit: float
    limit: int | None
    """The number of entries at which it was over, if it was before it was to end."""


class HubLog:
    """The log of one hub."""

    def __init__(self, hub: HubState) -> None:
        self.hub = hub
        self.name = hub.name
        self.thread = original_threading().get_native_id()
        self.loop = id(hub.loop)
        self.main = None if hub.main is None else id(hub.main)
        self.entries: list[Any] = []
        self.reasons = ParkReasons(hub)
        # What greenlet calls at each switch, and what it called before.
        self.recorder: SwitchRecorder | None = None
        self.following: Following = None

    # The hub's own thread.

    def begin(self) -> None:
        """Record from now on."""
        hub = self.hub
        # Asked for at each switch, like that of a carrier.
        hub.loop.waiter = None
        now = monotonic()
        for carrier in hub.free_carriers:
            self.entries += (now, (FREE, id(carrier)))
        for carrier in list(hub.carriers)[:MOST_PARKED]:
            waiter = carrier.waiter
            if waiter is not None and not waiter.state and carrier is not getcurrent():
                reason = self.reasons.reason_of(carrier)
                self.entries += (now, (PARKED, id(carrier), *reason, carrier.parked_at))
        self.entries += (now, id(getcurrent()))
        self.following = _at_switch.gettrace()
        self.recorder = make_recorder(self.entries, self.note_park, self.following)
        _at_switch.settrace(self.recorder)

    def end(self) -> None:
        """Record no more."""
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            recorder.stop()
            if _at_switch.gettrace() is recorder:
                _at_switch.settrace(self.following)

    def note_park(self, greenlet: GreenThread) -> None:
        """*greenlet* has switched away and is parked."""
        now = self.entries[-2]
        waiter = greenlet.waiter
        if waiter is not None and not greenlet.dead:
            self.entries.extend((now, (PARKED, id(greenlet), *self.reasons.reason_of(greenlet), None)))

    def note(self, event: tuple[object, ...]) -> None:
        """Something has happened."""
        self.entries.extend((monotonic(), event))

    # The hub's own thread, or, if that does not answer, the one that ends the recording.

    def describe_the_living(self) -> None:
        """Say which tasks the carriers run that have not ended."""
        hub = self.hub
        now = monotonic()
        seen = {each for each in self.entries[1::2] if type(each) is int}
        seen |= {each[1] for each in self.entries[1::2] if type(each) is tuple and each[0] == PARKED}
        found: list[object] = []
        for greenlet in (hub.main, *list(hub.carriers)):
            task = getattr(greenlet, "task", None)
            if id(greenlet) in seen and isinstance(task, Task) and not task.done:
                found += (now, (ALIVE, id(greenlet), describe_task(task)))
        # Without the GIL another thread cannot copy a queue safely.
        for turn in hub.ready.copy() if hub.is_own_thread() else ():
            if isinstance(turn, Task) and not turn.done:
                found += (now, (UNSTARTED, describe_task(turn)))
        self.entries.extend(found)

    def record(self, answered: bool) -> HubRecord:
        entries = self.entries[:]
        stacks = self.reasons.stacks[:]
        return HubRecord(
            self.name, self.hub.index, self.thread, entries, stacks, self.loop, self.main, answered
        )


def describe_task(task: Task[object]) -> TaskInfo:
    function = task._function
    name = getattr(function, "__qualname__", "") or type(function).__qualname__
    spawner, ident = "", 0
    found = None if task.spawner is None else task.spawner()
    if found is not None:
        spawner, ident = found._label(), id(found)
    place = None if task.origin is None else place_of(*task.origin)
    return TaskInfo(
        id(task), task._label(), "" if function is None else name, task.born, spawner, ident, place
    )


NotePark = Callable[[GreenThread], object]
Following = Callable[[str, Any], object] | None


class SwitchRecorder:
    """Called by greenlet at each switch of one thread.

    *entries* gets the time and the identity of the greenlet that goes on, and *note_park* is called with one
    that has parked.  *following* is called behind that.
    """

    __slots__ = ("entries", "note_park", "following")

    def __init__(self, entries: list[Any], note_park: NotePark, following: Following) -> None:
        self.entries: list[Any] | None = entries
        self.note_park = note_park
        self.following = following

    def __call__(self, event: str, switch: tuple[GreenThread, GreenThread]) -> None:
        entries = self.entries
        if entries is not None:
            origin, target = switch
            entries.extend((monotonic(), id(target)))
            try:
                waiter = origin.waiter
            except AttributeError:
                waiter = None  # a main or raw greenlet that has not been adopted
            if waiter is not None:
                self.note_park(origin)
        if self.following is not None:
            self.following(event, switch)

    def stop(self) -> None:
        """Record no more.  A function that was set over this one goes on calling it."""
        self.entries = None


make_recorder: Callable[[list[Any], NotePark, Following], SwitchRecorder] = SwitchRecorder
if speedups is not None:
    make_recorder = speedups.make_switch_recorder()


class _State:
    """The recording that there is."""

    lock = RLock()
    recording: Recording | None = None


# The logs of the hubs that are recorded, by the identifiers of their threads.
_logs: dict[int, HubLog] = {}


class Recording:
    """A recording of all hubs of the process, those that are made meanwhile as well.

    *limit*: the entries after which it is over.  *stall_limit*: the seconds after which the stack of
    a hub that does not switch is taken.
    """

    def __init__(self, limit: int, stall_limit: float) -> None:
        self.limit = limit
        self.stall_limit = stall_limit
        self.process = os.getpid()
        self.wall_time = 0.0
        self.began = self.ended = 0.0
        self.is_full = False
        # Whether origins were noted before.
        self._noted = False
        # Released to end the sampler.
        self._stopped: Any = Lock()
        self.logs: list[HubLog] = []
        self.wakes: list[tuple[float, int, str]] = []
        self.stalls: dict[HubState, list[Any]] = {}

    def start(self) -> None:
        """Begin; raises RuntimeError if the process is being recorded already.  Any thread."""
        with _State.lock:
            if _State.recording is not None:
                raise RuntimeError("this process is being recorded already")
            _State.recording = self
            self.wall_time = time()
            self.began = monotonic()
            self._noted, Origins.are_noted = Origins.are_noted, True
            if speedups is not None:
                speedups.use_exact_clock(True)
            _Hooks.put_in()
            at_new_hub.append(self._begin)
        for hub in open_hubs():
            if hub.is_own_thread():
                self._begin(hub)
            else:
                hub.post(self._begin, hub)
        self._stopped.acquire()
        try:
            start_new_thread(self._sample, ())
        except RuntimeError:
            self.stop()
            raise

    def _begin(self, hub: HubState) -> None:
        """Record *hub*; on its thread."""
        thread = get_ident()
        with _State.lock:
            known = _logs.get(thread)
            if self.ended or (known is not None and known.hub is hub):
                return
            log = _logs[thread] = HubLog(hub)
            self.logs.append(log)
            _Hooks.hook_poller(hub)
            log.begin()

    def stop(self) -> Recorded:
        """End it, and return what was recorded.  Any thread, once; blocks it while the hubs answer."""
        self._end()
        self._stopped.release()
        try:
            unanswered = self._end_logs()
        finally:
            with _State.lock:
                _Hooks.take_out()
                _logs.clear()
                _State.recording = None
        return Recorded(
            self.process,
            self.wall_time,
            self.began,
            self.ended,
            list(self._records(unanswered)),
            self.wakes,
            self.stall_limit,
            self.limit if self.is_full else None,
        )

    def _end_logs(self) -> set[HubLog]:
        """Have the hubs end their logs; returns those that have not answered."""
        answers: SimpleQueue[HubLog] = SimpleQueue()
        waiting = set()
        for log in self.logs:
            if log.hub.is_own_thread():
                self._end_log(log, None)
            elif log.hub.post(self._end_log, log, answers):
                waiting.add(log)
        patience = monotonic() + PATIENCE
        try:
            while waiting:
                waiting.discard(answers.get(timeout=max(0.0, patience - monotonic())))
        except Empty:
            for log in waiting:
                log.describe_the_living()
        return waiting

    def _records(self, unanswered: set[HubLog]) -> Iterator[HubRecord]:
        for log in self.logs:
            record = log.record(log not in unanswered)
            record.entries.extend(self.stalls.pop(log.hub, ()))
            yield record
        for hub, entries in self.stalls.items():
            # A greenlet has kept it from the request to begin.
            yield HubRecord(hub.name, hub.index, 0, entries, [], id(hub.loop), None, False)

    def _end(self) -> None:
        """Record no more; any thread."""
        with _State.lock:
            if not self.ended:
                self.ended = monotonic()
                self._stop_listening()

    def _stop_listening(self) -> None:
        at_new_hub.remove(self._begin)
        Origins.are_noted = self._noted
        if speedups is not None:
            speedups.use_exact_clock(False)

    def _end_log(self, log: HubLog, answers: SimpleQueue[HubLog] | None) -> None:
        """End the recording of one hub; on its thread."""
        if log.recorder is not None and self.process == os.getpid():
            _logs.pop(get_ident(), None)
            log.describe_the_living()
            log.end()
        if answers is not None:
            answers.put(log)

    # The sampler's thread.

    def _sample(self) -> None:
        _Sampler.thread = get_ident()
        pause = min(self.stall_limit / LOOKS, LONGEST_PAUSE)
        looks: dict[HubState, _Look] = {}
        while not self._stopped.acquire(timeout=pause):
            logs = {log.hub: log for log in self.logs[:]}
            if not self.is_full and sum(len(log.entries) for log in logs.values()) // 2 > self.limit:
                self.is_full = True
                self._end()
                for log in logs.values():
                    log.hub.post(self._end_log, log, None)
            if self.is_full:
                continue
            now = monotonic()
            for hub in open_hubs():
                looks.setdefault(hub, _Look()).look(hub, logs.get(hub), self, now)
        _Sampler.thread = None

    def forget(self) -> None:
        """In the child of a fork: the recording is the parent's."""
        for log in self.logs:
            if log.hub.is_own_thread():
                log.end()
        _logs.clear()
        _Hooks.take_out()
        if not self.ended:
            self._stop_listening()


class _Sampler:
    thread: int | None = None


def _idle_thread() -> dict[int, object]:
    """The sampler, which wakes nobody."""
    thread = _Sampler.thread
    return {} if thread is None else {thread: _Sampler}


idle_threads.append(_idle_thread)


class _Look:
    """What the sampler has seen of one hub."""

    __slots__ = ("mark", "since", "is_noted")

    def __init__(self) -> None:
        self.mark: object = None
        self.since = 0.0
        self.is_noted = False

    def look(self, hub: HubState, log: HubLog | None, recording: Recording, now: float) -> None:
        # A plain thread without other greenlets keeps nobody waiting.
        if hub.inbox.asleep or hub.has_only_its_program():
            self.mark = None
            return
        mark = (hub.passes, None if log is None else len(log.entries))
        if mark != self.mark:
            self.mark, self.since, self.is_noted = mark, now, False
        elif not self.is_noted and now - self.since >= recording.stall_limit / 2:
            # Early, because the sampler may have to wait for the GIL.  What is no stall is left out later.
            self.is_noted = True
            frame = current_frames().get(hub.thread_id)
            if frame is not None:
                event = (STALLED, stack_of_thread(frame), _blocking_call(frame))
                recording.stalls.setdefault(hub, []).extend((now, event))


def _blocking_call(frame: Any) -> str:
    describe = Factories.describe_call
    return "" if describe is None else describe(frame)


# The methods that stand in the place of others while the hubs are recorded.


class _Hooks:
    """What is in whose place."""

    lock = RLock()
    replaced: list[tuple[type, str, object]] = []

    @classmethod
    def put_in(cls) -> None:
        cls.replace(Task, "_finish", _note_end)
        cls.replace(Waiter, "resume", _note_wake)
        cls.replace(Waiter, "resume_behind_posts", _note_wake)
        cls.replace(Timer, "expire", _note_timer)
        cls.replace(Sleep, "expire", _note_timer)

    @classmethod
    def hook_poller(cls, hub: HubState) -> None:
        poller: object = hub.poller
        while isinstance(poller, TimingPoller):
            poller = poller.poller
        with cls.lock:
            if not any(owner is type(poller) for owner, _, _ in cls.replaced):
                cls.replace(type(poller), "poll", _note_poll)

    @classmethod
    def replace(cls, owner: type, name: str, make: Callable[[Any], object]) -> None:
        original = vars(owner)[name]
        cls.replaced.append((owner, name, original))
        setattr(owner, name, make(original))

    @classmethod
    def take_out(cls) -> None:
        with cls.lock:
            while cls.replaced:
                setattr(*cls.replaced.pop())


def _note_end(original: Callable[[Task[object]], None]) -> object:
    def _finish(self: Task[object]) -> None:
        log = _logs.get(get_ident())
        if log is not None:
            log.note((ENDED, id(self.carrier), describe_task(self)))
        original(self)

    return _finish


def _note_wake(original: Callable[[Waiter], None]) -> object:
    def resume(self: Waiter) -> None:
        log = _logs.get(get_ident())
        # The number of a thread that has ended may be another one's now.
        if log is not None and not log.hub.inbox.closed:
            log.note((WOKEN, id(self.greenlet), ""))
        else:
            recording = _State.recording
            if recording is not None and not recording.ended:
                name = original_threading().current_thread().name
                recording.wakes.append((monotonic(), id(self.greenlet), name))
        original(self)

    return resume


def _note_timer(original: Callable[[Any, Call], None]) -> object:
    def expire(self: Timer | Sleep, call: Call) -> None:
        log = _logs.get(get_ident())
        if log is not None and self.pending:
            owner = self.owner
            if isinstance(owner, Waiter):
                if not owner.state:
                    log.note((WOKEN, id(owner.greenlet), "a timer"))
                log.note((TIMER, "end of a sleep" if owner is self else "end of a wait"))
            else:
                callback = getattr(self, "callback", None)
                log.note((TIMER, getattr(callback, "__qualname__", type(callback).__name__)))
        original(self, call)

    return expire


def _note_poll(original: Callable[[Any, float | None], list[tuple[int, int]]]) -> object:
    def poll(self: object, timeout: float | None) -> list[tuple[int, int]]:
        log = _logs.get(get_ident())
        if log is None:
            return original(self, timeout)
        began = monotonic()
        found: list[tuple[int, int]] = []
        try:
            found = original(self, timeout)
        finally:
            log.note((POLLED, began, timeout, len(found)))
        for fd, waiter in _waiters_for(log.hub, found):
            log.note((WOKEN, id(waiter.greenlet), f"descriptor {fd}"))
        return found

    return poll


def _waiters_for(hub: HubState, events: list[tuple[int, int]]) -> Iterator[tuple[int, Wait]]:
    """The waiters that the loop wakes for these *events*."""
    for fd, _ in events:
        registration = hub.registrations.get(fd)
        if registration is not None:
            for waiter in (registration.reader, registration.writer):
                if waiter is not None and not waiter.state:
                    yield fd, waiter


def _after_fork_in_child() -> None:
    recording, _State.recording = _State.recording, None
    _State.lock = RLock()
    _Hooks.lock = RLock()
    _Sampler.thread = None
    if recording is not None:
        recording.forget()


at_fork("recorder", in_child=_after_fork_in_child)
