"""Hubs that run one at a time, in an order that a schedule chooses; for ``greenpool.testing``.

*The baton.*  The hubs of a run keep their OS threads, so thread identity, thread-locals and locks stay real.
But only the thread that has the baton runs.  Each hub has an ``Agent`` here, with a lock on which its thread
waits for the baton.  At each *point* the thread that runs asks the schedule which candidate goes on.  It
hands the baton to the thread of that candidate, and waits for its own turn.

*Points.*  A greenlet that parks or ends takes the next turn from its hub's ready queue.  Here that queue is a
``ScheduledQueue``, and its ``popleft`` is a point: the candidates are the turns of all hubs.  An idle hub
that blocks in its poller gives the baton away (``ScheduledPoller``).  ``Scheduler.may_park`` and
``Scheduler.may_preempt`` are the points at the entrance of operations (see greenpool/testing/points.py): at
the first another greenlet of the same hub may go on, because the operation could have parked; at the second
only another hub may, because the operation never parks, and greenlets of one hub do not preempt each other.

*The loop's mark* is a candidate like any other while the loop has anything to do: a post to take in, a timer
that is due, a descriptor.  So the schedule chooses when a post is seen and when a timer fires.  Timers that
are due fire one at a time, in an order that is a choice, too.  A candidate that was passed over ``PATIENCE``
times goes on without a choice: a greenlet that polls does not keep the others from running.

*Idleness.*  If no hub has a candidate, and a greenlet waits for a descriptor, the descriptors get a moment of
real time: ``GRACE`` seconds, or ``CHILD_GRACE`` if the run has child processes, because those take real time.
Then the clock jumps to the earliest timer of all hubs.  If there is none, nothing of the run can wake it: the
main program gets LoopExit, with what each greenlet waits for.

*A run that does not end.*  A main program that waits too long, or goes on for too many steps, gets an
exception.  So it ends, and the others are killed.  A greenlet that catches its GreenletExit and goes on would
keep the run from its end.  So its hub then ends without it: the greenlet stands where it is, and never goes
on.

*OS threads.*  A call that a greenlet has given to a thread (see _fd/workers.py) takes no time of the run: at
the next point the run waits for its end.  After ``CALL_GRACE`` seconds of real time it goes on without.  What
other OS threads do is outside the schedule.  An idle run waits for them in real time.

*The normal hub pays nothing*: a hub gets the queue, the timers and the poller of this module when it is made,
and its methods do not know of them.

*Threads*: the state of a Scheduler belongs to the thread that has the baton.  A hand-over is the release of a
lock that the next thread acquires, which orders their memory without the GIL, too.  Before ``begin`` the hubs
start by themselves, each up to its first idle poll.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from _heapq import heappop, heappush
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic as real_monotonic
from types import FrameType

from greenlet import GreenletExit

from . import PACKAGE
from .current import current_greenlet, getcurrent, remembered
from .deadlock import idle_threads
from .errors import LoopExit
from .inbox import Turn
from .interrupts import raise_interrupt
from .mark import MAX_PASSED_OVER, Mark
from .native import Lock, close, current_frames, get_ident, open_descriptor, read, thread_count
from .native import sleep as real_sleep
from .ordered_set import OrderedSet
from .pollers import make_poller
from .pollers.around import PollerAround
from .sections import without_sections
from .state import HubState, PooledCarrier
from .task import LinkedTask, Task
from .timers import Call, Timers
from .typing import TYPE_CHECKING, Protocol
from .waiter import interrupt

if TYPE_CHECKING:
    from typing import Any


# Turns of one hub, and timers of one hub, that are candidates at one point.
WIDTH = 16
# Points at which a candidate may be passed over.
PATIENCE = 100
# Seconds of real time that descriptors get before the clock jumps, and before a deadlock is reported.
GRACE = 0.002
LAST_GRACE = 0.1
CHILD_GRACE = 5.0
# After so many waits that brought nothing, descriptors get no more time, or a program that polls would stand
# still.  What greenlets of the run send to each other is there at once.
WAITS_IN_VAIN = 20
# Seconds of real time that a call on an OS thread gets before the run goes on without it.
CALL_GRACE = 1.0
# Seconds of real time that OS threads get before a deadlock is reported.
THREADS_GRACE = 10.0
LOOK = 0.0005
# Points that a run which is to end may still take before each of its greenlets is ended where it stands, and
# before its hubs are.
LAST_POINTS = 20_000
VERY_LAST_POINTS = 25_000

# Where the standard library is.
_STANDARD = os.path.dirname(os.__file__)
# From CPython 3.12 on these are no functions.
_INLINED = ("<listcomp>", "<dictcomp>", "<setcomp>")

RUNNING, CHOOSING, HALTED, IDLE, JOINING, GONE = range(6)


class StepsExceeded(RuntimeError):
    """A run has taken more steps than it may: probably it never ends under this schedule."""

    __module__ = "greenpool.testing"


class Schedule(Protocol):
    """Decides at each point; see greenpool/testing/schedule.py."""

    def choose(self, actors: list[int], yields: bool) -> int:
        """The index of the candidate that goes on.

        *actors*: the number of each candidate's greenlet.  The first is the one that goes on by default: the
        running greenlet, or the next in its hub's queue.  *yields*: the running greenlet cannot go on.
        """


class Agent:
    """One hub of a run."""

    __slots__ = (
        "hub",
        "queue",
        "poller",
        "baton",
        "state",
        "chosen",
        "errand",
        "events",
        "here",
        "arrived",
        "left_behind",
    )

    def __init__(self, hub: HubState, queue: ScheduledQueue, poller: ScheduledPoller) -> None:
        self.hub = hub
        self.queue = queue
        self.poller = poller
        self.baton = Lock()
        self.baton.acquire()
        self.arrived = Lock()
        self.arrived.acquire()
        self.state = RUNNING
        self.chosen: Turn | None = None
        # Called on the hub's thread when it gets the baton next.
        self.errand: Callable[[], object] | None = None
        self.events: list[tuple[int, int]] = []
        # The greenlet that is halted.
        self.here: Any = None
        # The run has ended without it.
        self.left_behind = False

    def has_events(self) -> bool:
        """Whether the kernel has something for the hub; it is kept for the next poll."""
        self.events += self.poller.poller.poll(0)
        return bool(self.events)


class Step:
    """One hand-over, for the trace."""

    __slots__ = ("at", "place", "what", "hub", "actor", "choice", "width")

    def __init__(
        self, at: float, place: str, what: str, hub: str, actor: str, choice: int, width: int
    ) -> None:
        # Seconds since the run began.
        self.at = at
        # The line of the program that the greenlet which gives way has reached; "" in a loop.
        self.place = place
        # The operation that it begins; "" if it parks or ends.
        self.what = what
        # The greenlet that goes on, its hub, and its index among so many candidates.
        self.hub = hub
        self.actor = actor
        self.choice = choice
        self.width = width


class Scheduler:
    """One run: its hubs, its clock, and the points at which the schedule chooses."""

    def __init__(self, schedule: Schedule, jumps: bool = True, steps: int | None = None) -> None:
        self.schedule = schedule
        self.jumps = jumps
        self.steps = steps
        # The number of steps after which the main program is interrupted, once more if it goes on.
        self.limit = steps
        self.now = 1024.0
        self.begun = self.monotonic()
        self.agents: list[Agent] = []
        self.by_thread: dict[int, Agent] = {}
        self.running = False
        self.ended = False
        self.choices: list[int] = []
        # The steps that it took before the main program was interrupted last, and since then.
        self.taken = 0
        self.count = 0
        self.trace: list[Step] | None = None
        self.overrun = False
        # Descriptors that only greenlets of the run make ready, so the kernel needs no time to report them.
        self.in_memory: set[int] = set()
        # The trace function of the hubs' threads.
        self.tracer: Callable[..., Any] | None = None
        # Child processes that are not the run's.
        self.children_before: frozenset[int] = children()
        # By the identity of a greenlet's task or a hub's agent: its number, and the object, which keeps it.
        self._numbers: dict[int, tuple[int, object]] = {}
        self._passed: dict[int, int] = {}
        # The threads of the process, and their number once the hubs run.
        self._known = set(current_frames())
        self._threads = 0
        # Counts the calls that OS threads make for greenlets, once a greenlet of the run has given them one.
        self.count_calls: Callable[[], int] | None = None
        self._in_vain = 0
        # So many calls are too slow to be waited for.
        self._given_up = 0
        self._what = ""
        # The carriers of hubs that were left behind.
        self._unfinished: list[PooledCarrier] = []

    # What the runner calls, on the thread of the run's main program.

    def begin(self) -> None:
        """Every hub has been made and is idle: from here on, only this thread runs."""
        for agent in self.agents:
            if agent.hub.thread_id != get_ident():
                agent.arrived.acquire()
        self._threads = thread_count()
        self.running = True

    def wait_for_hubs(self) -> None:
        """Run the others until every other hub has ended."""
        agent = self.by_thread[get_ident()]
        self._give_way(agent, JOINING, [])

    def end(self) -> None:
        """The hubs have ended, or never will: from here on every thread runs by itself."""
        was_running, self.running = self.running, False
        self.ended = True
        for agent in self.agents:
            if RUNNING < agent.state < GONE:
                # It waits for the baton, with greenlets that do not end.
                agent.left_behind = was_running
                agent.baton.release()

    def monotonic(self) -> float:
        """The time of the run."""
        return self.now if self.jumps else real_monotonic()

    def is_here(self) -> bool:
        """Whether the caller runs on a hub of this run."""
        return get_ident() in self.by_thread

    def hub_names(self) -> set[str]:
        """The names of the hubs of this run."""
        return {agent.hub.name for agent in self.agents}

    def queue_for(self, hub: HubState, poller: ScheduledPoller) -> ScheduledQueue:
        """The ready queue of a new hub of the run."""
        queue = ScheduledQueue()
        agent = Agent(hub, queue, poller)
        queue.scheduler = self
        queue.agent = agent
        self.agents.append(agent)
        self.by_thread[hub.thread_id] = agent
        return queue

    # Points.

    def may_park(self, what: str) -> None:
        """The caller begins an operation in which it could park."""
        agent = self._agent_here()
        if agent is not None:
            self._what = what
            _pause(agent.queue)

    def may_preempt(self, what: str) -> None:
        """The caller begins or ends an operation that wakes others and never parks."""
        agent = self._agent_here()
        if agent is not None:
            self._what = what
            agent.here = current_greenlet()
            self._give_way(agent, HALTED, [agent.here])

    def _agent_here(self) -> Agent | None:
        agent = self.by_thread.get(get_ident())
        if agent is None or not self.running or getcurrent() is agent.hub.loop:
            return None
        if self.overrun:
            raise_interrupt(current_greenlet())
            if LAST_POINTS < self.count <= VERY_LAST_POINTS:
                self.count += 1
                raise GreenletExit
        return agent

    def pick(self, queue: ScheduledQueue, first: Turn | None = None) -> Turn:
        """Called when the running greenlet of this queue's hub gives way; the turn that goes on here."""
        turn: Turn = self._give_way(queue.agent, CHOOSING, queue.candidates(first), first)
        return turn

    def choose_number(self, count: int) -> int:
        """Choose one of *count* things that belong to the same hub."""
        return self._choose([-1 - index for index in range(count)], False) if count > 1 else 0

    def _give_way(self, agent: Agent, state: int, own: list[Turn], first: Turn | None = None) -> Any:
        self.count += 1
        if self.limit is not None and self.count > self.limit:
            self._stop(StepsExceeded(f"the run has not ended within {self.steps} steps"))
        if self.count_calls is not None:
            self._wait_for_calls(self.count_calls)
        agents = self.agents
        if (
            len(own) == 1
            and self.trace is None
            and agent.errand is None
            and not any(map(self._may_go_on, agents))
        ):
            # Nothing to choose: it goes on.
            self._what = ""
            return own[0]
        agent.state = state
        while True:
            turns = own.copy() or self._candidates_of(agent)
            ends = [len(turns)]
            for other in agents:
                if other is not agent and self._may_go_on(other):
                    turns += self._candidates_of(other)
                ends.append(len(turns))
            if turns:
                break
            self._find_something()
        index = 0
        if len(turns) > 1:
            index = self._choose(self._numbers_of(turns), state != HALTED and first is None)
        turn = turns[index]
        target = agent
        if index >= ends[0]:
            place = 1
            while index >= ends[place]:
                place += 1
            target = agents[place - 1]
        if self.trace is not None:
            self._note(target, turn, index, len(turns))
        self._what = ""
        if target is agent:
            agent.chosen = turn
        else:
            target.chosen = turn
            target.baton.release()
            if state == GONE:
                return None
            agent.baton.acquire()
            if agent.left_behind:
                self._leave_behind(agent)
                return agent.hub.mark
        errand, agent.errand = agent.errand, None
        try:
            if errand is not None:
                errand()
        finally:
            agent.state = RUNNING
        chosen, agent.chosen = agent.chosen, None
        return chosen

    def _leave_behind(self, agent: Agent) -> None:
        """The run has ended without this hub: its loop goes on, to end it, and the calling greenlet never."""
        loop = agent.hub.loop
        if getcurrent() is not loop:
            assert loop is not None
            loop.switch(agent.hub.mark)

    def end_hub(self, agent: Agent) -> None:
        """End a hub that was left behind; in its loop, which finds nothing more to do."""
        hub = agent.hub
        agent.left_behind = False
        hub.stopping = True
        # Kept until the thread has ended.  Else GreenletExit would be raised in them, and they might go on.
        self._unfinished += hub.carriers
        hub.inbox.queue.clear()
        for carrier in hub.carriers:
            if carrier.task is not None:
                carrier.task.end_with_thread()
        hub.carriers.clear()
        hub.free_carriers.clear()
        hub.inbox.queue.clear()
        hub.timers.clear()
        hub.ready.clear()
        hub.live = 0

    def sleep(self, agent: Agent) -> bool:
        """The hub of *agent* has nothing to do; False if the run has ended without it meanwhile."""
        if self.running:
            self._give_way(agent, IDLE, [])
        else:
            # It has just been made.
            agent.state = IDLE
            agent.arrived.release()
            agent.baton.acquire()
            agent.state = RUNNING
            agent.chosen = None
        return not agent.left_behind

    def leave(self, agent: Agent) -> None:
        """The hub of *agent* has ended: its thread runs no more of the run."""
        if agent.state != GONE:
            self.by_thread.pop(agent.hub.thread_id, None)
            if self.running:
                self._give_way(agent, GONE, [])
            agent.state = GONE

    def _candidates_of(self, agent: Agent) -> list[Turn]:
        state = agent.state
        if state == CHOOSING:
            return agent.queue.candidates(None)
        if state == HALTED:
            return [agent.here]
        if state == IDLE:
            return [agent.hub.mark] if agent.errand is not None or self._has_work(agent) else []
        if state == JOINING:
            ended = all(other.state in (GONE, JOINING) for other in self.agents)
            return [agent.hub.mark] if ended or agent.errand is not None else []
        return []

    def _may_go_on(self, agent: Agent) -> bool:
        """False if *agent* runs or has no candidate; costs less than a look at those."""
        if agent.state != IDLE:
            return RUNNING < agent.state < GONE
        hub = agent.hub
        heap = hub.timers.heap
        return bool(
            hub.inbox.queue
            or hub.ready
            or hub.registrations
            or agent.errand is not None
            or (heap and heap[0][0] <= self.monotonic())
        )

    def _has_work(self, agent: Agent) -> bool:
        hub = agent.hub
        if hub.inbox.queue or hub.ready:
            return True
        deadline = hub.timers.next_deadline()
        if deadline is not None and deadline <= self.monotonic():
            return True
        return bool(hub.registrations) and agent.has_events()

    def _choose(self, actors: list[int], yields: bool) -> int:
        passed = self._passed
        index = -1
        for place, actor in enumerate(actors):
            times = passed.get(actor, 0)
            passed[actor] = times + 1
            if times > PATIENCE and index < 0 <= actor:
                index = place
        if self.overrun:
            index = self.count % len(actors)
        else:
            if index < 0:
                index = self.schedule.choose(actors, yields)
            self.choices.append(index)
        passed[actors[index]] = 0
        return index

    def _stop(self, exception: BaseException) -> None:
        """Have the main program raise *exception*, and the schedule choose no more."""
        self.overrun = True
        self.taken += self.count
        self.count = 0
        self.limit = VERY_LAST_POINTS
        main = self.agents[0]
        main.errand = partial(_interrupt_main, main, exception)

    # Idleness.

    def _find_something(self) -> None:
        """No hub has anything to do: let descriptors, timers or OS threads bring something."""
        # Looked at first: a thread that has ended its call since has brought something already.
        foreign = thread_count() != self._threads
        threads = foreign and self._has_threads()
        deadlines = [
            deadline
            for agent in self.agents
            if agent.state in (IDLE, CHOOSING) and (deadline := agent.hub.timers.next_deadline()) is not None
        ]
        waits_for_io = any(
            registration.waiters()
            for agent in self.agents
            if agent.state != GONE and agent.hub.registrations
            for registration in list(agent.hub.registrations.values())
            if registration.fd not in self.in_memory
        )
        if not self.jumps and deadlines:
            real_sleep(max(0.0, min(LOOK if waits_for_io else 0.01, min(deadlines) - real_monotonic())))
            return
        if waits_for_io:
            if self._wait_for(self._has_events, self._grace_of_io(bool(deadlines))):
                self._in_vain = 0
                return
            self._in_vain += 1
        if threads and self._wait_for(self._has_posts, GRACE if deadlines else THREADS_GRACE):
            return
        if foreign and self._has_events():
            return
        if deadlines:
            self.now = max(self.now, min(deadlines))
            return
        main = self.agents[0]
        what = "every greenlet of the run waits, and nothing can wake one"
        if main.state == JOINING:
            what = "greenlets of the run go on waiting, although they were killed"
        error = LoopExit(f"{what}; parked:\n{self.describe()}")
        main.errand = partial(_interrupt_main, main, error)

    def _grace_of_io(self, has_deadlines: bool) -> float:
        if children() - self.children_before:
            return CHILD_GRACE if has_deadlines else THREADS_GRACE
        if not has_deadlines:
            return LAST_GRACE
        return GRACE if self._in_vain < WAITS_IN_VAIN else 0.0

    def _wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = real_monotonic() + seconds
        while not condition():
            if not seconds or real_monotonic() > end:
                return False
            real_sleep(LOOK)
        return True

    def _wait_for_calls(self, count_calls: Callable[[], int]) -> None:
        """Wait for what OS threads do for greenlets of the run: its time stands still meanwhile."""
        end = real_monotonic() + CALL_GRACE
        while (unfinished := count_calls()) > self._given_up:
            if real_monotonic() > end:
                break
            real_sleep(LOOK / 10)
        self._given_up = unfinished
        if not unfinished:
            self.count_calls = None

    def _has_events(self) -> bool:
        return any(agent.state == IDLE and self._has_work(agent) for agent in self.agents)

    def _has_posts(self) -> bool:
        return self._has_events() or not self._has_threads()

    def _has_threads(self) -> bool:
        """Whether an OS thread that the run has started, and that is no hub, is at work."""
        own = {agent.hub.thread_id for agent in self.agents}
        others = set(current_frames()) - self._known - own
        return bool(others and others - {thread for find in idle_threads for thread in find()})

    def describe(self) -> str:
        """What each parked greenlet of the run waits for; all its threads but the calling one stand still."""
        # Imported here, because only failures need them.
        from .holds import held_by
        from .waits import describe, waits_of

        hubs = {agent.hub for agent in self.agents if agent.state != GONE}
        return describe([wait for hub in remembered() if hub in hubs for wait in waits_of(hub, held_by)])

    # Names.

    def _numbers_of(self, turns: list[Turn]) -> list[int]:
        known = self._numbers
        numbers = []
        for turn in turns:
            task = turn if isinstance(turn, (Mark, Task)) else getattr(turn, "task", None) or turn
            entry = known.get(id(task))
            if entry is None:
                # The entry keeps the object, so no other one gets its identity.
                entry = known[id(task)] = (len(known), task)
            numbers.append(entry[0])
        return numbers

    def _note(self, agent: Agent, turn: Turn, choice: int, width: int) -> None:
        assert self.trace is not None
        (number,) = self._numbers_of([turn])
        # A trace leaves the loops out, so they get no name.
        label = "" if isinstance(turn, Mark) else _label(turn, number)
        at = self.monotonic() - self.begun
        self.trace.append(Step(at, _place(), self._what, agent.hub.name, label, choice, width))


def _interrupt_main(agent: Agent, exception: BaseException) -> None:
    if agent.state == JOINING:
        # It waits for the hubs, and for no waiter.
        raise exception
    if agent.hub.main is not None:
        interrupt(agent.hub.main, exception)


def _place() -> str:
    """The line of the program that the calling greenlet has reached; "" outside of the program."""
    frame: FrameType | None = sys._getframe(2)
    found = ""
    while frame is not None:
        code = frame.f_code
        if code.co_filename == threading.__file__ and code.co_name in ("run", "_bootstrap_inner"):
            break
        if not code.co_filename.startswith(PACKAGE):
            function = frame
            while function.f_code.co_name in _INLINED and function.f_back is not None:
                function = function.f_back
            file, name = os.path.basename(code.co_filename), function.f_code.co_name
            if not code.co_filename.startswith(_STANDARD):
                return f"{file}:{frame.f_lineno}, in {name}"
            # Without the line, which is another one in each version of Python.
            found = found or f"{file}, in {name}"
        frame = frame.f_back
    return found


def _label(turn: Turn, number: int) -> str:
    task = turn if isinstance(turn, Task) else getattr(turn, "task", None)
    function = getattr(task, "_function", None)
    arguments = getattr(task, "args", ())
    if function is None and arguments and callable(arguments[0]):
        function = arguments[0]
    owner = getattr(function, "__self__", None)
    name = getattr(owner, "name", None) or getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        return "main"
    return f"{name.rpartition('<locals>.')[2]} #{number}"


def children() -> frozenset[int]:
    """The child processes of this one; none where the system does not list them."""
    found: list[bytes] = []
    try:
        for task in os.listdir("/proc/self/task"):
            descriptor = open_descriptor(f"/proc/self/task/{task}/children", os.O_RDONLY | os.O_CLOEXEC)
            try:
                found += read(descriptor, 65_536).split()
            finally:
                close(descriptor)
    except OSError:
        return frozenset()
    return frozenset(map(int, found))


@without_sections
def _pause(queue: ScheduledQueue) -> None:
    """Let the schedule choose; the calling greenlet stays ready."""
    greenlet: Any = current_greenlet()
    queue.append(greenlet)
    turn = queue.scheduler.pick(queue, greenlet)
    queue.take_out(turn)
    if turn is not greenlet:
        turn.switch()


class ScheduledQueue(deque[Turn]):
    """The ready queue of a hub of a run: the schedule chooses which turn is taken out."""

    __slots__ = ("scheduler", "agent")

    scheduler: Scheduler
    agent: Agent

    def popleft(self) -> Turn:
        scheduler = self.scheduler
        agent = self.agent
        if agent.left_behind and getcurrent() is agent.hub.loop:
            scheduler.end_hub(agent)
            return agent.hub.mark
        if not scheduler.running or agent.state == GONE:
            return deque.popleft(self)
        turn = scheduler.pick(self)
        self.take_out(turn)
        return turn

    def take_out(self, turn: Turn) -> None:
        """Remove *turn*, which was chosen."""
        if self[0] is turn:
            deque.popleft(self)
        else:
            for index, entry in enumerate(self):
                if entry is turn:
                    del self[index]
                    break
        if isinstance(turn, Mark):
            # It is not to pass itself over: its turn was chosen.
            turn.passed_over = MAX_PASSED_OVER

    def candidates(self, first: Turn | None) -> list[Turn]:
        """The turns that may be next, *first* in front."""
        found: list[Turn] = [] if first is None else [first]
        mark: Turn | None = None
        sources: list[Task[Any]] = []
        for turn in self:
            if isinstance(turn, Mark):
                mark = turn
            elif isinstance(turn, LinkedTask) and turn.source in sources:
                # The links of one greenlet start in order: each takes those before it for done.
                continue
            elif turn is not first:
                if isinstance(turn, LinkedTask):
                    sources.append(turn.source)
                found.append(turn)
                if len(found) >= WIDTH:
                    break
        if mark is None and len(found) >= WIDTH:
            mark = self.agent.hub.mark
        if mark is not None and (not found or self._loop_has_work()):
            found.append(mark)
        return found

    def _loop_has_work(self) -> bool:
        hub = self.agent.hub
        if hub.inbox.queue:
            return True
        deadline = hub.timers.next_deadline()
        if deadline is not None and deadline <= self.scheduler.monotonic():
            return True
        return bool(hub.registrations) and self.agent.has_events()


class ScheduledTimers(Timers):
    """The timers of a hub of a run: those that are due fire one at a time, and which is a choice."""

    __slots__ = ("scheduler",)

    scheduler: Scheduler

    def enter(self, deadline: float, entry: Any) -> None:
        now = self.scheduler.monotonic()
        # To the microsecond, so that deadlines that were computed in two ways are one moment.  A deadline
        # that is still to come stays so, or a loop that waits for the rest of its time would never end.
        rounded = math.ceil(deadline * 1e6 - 1e-3) / 1e6
        if rounded <= now < deadline:
            rounded = now + 1e-6
        Timers.enter(self, rounded, entry)

    def expire_due(self, now: float, call: Call) -> None:
        if not self.scheduler.running:
            Timers.expire_due(self, now, call)
            return
        heap = self.heap
        due: list[Any] = []
        while heap and heap[0][0] <= now and len(due) < WIDTH:
            item = heappop(heap)
            if item[2].pending:
                due.append(item)
            else:
                self._cancelled -= 1
        if due:
            _, _, entry = due.pop(self.scheduler.choose_number(len(due)))
            for item in due:
                heappush(heap, item)
            entry.timers = None
            entry.expire(call)


class ScheduledPoller(PollerAround):
    """The poller of a hub of a run: a hub that would sleep hands on the baton."""

    __slots__ = ("scheduler", "agent")

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(make_poller())
        self.scheduler = scheduler

    @property
    def keeps_gil(self) -> bool:
        # Otherwise a hub would poll once more before it sleeps, and only with the extension.
        return False

    def take_over(self, hub: HubState) -> None:
        """Put a queue and timers of the run into the new *hub*."""
        queue = self.scheduler.queue_for(hub, self)
        self.agent = queue.agent
        timers = ScheduledTimers()
        timers.scheduler = self.scheduler
        hub.ready = queue
        hub.timers = timers
        hub.carriers = OrderedSet()
        if self.scheduler.tracer is not None:
            sys.settrace(self.scheduler.tracer)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        agent = self.agent
        if agent.left_behind:
            self.scheduler.end_hub(agent)
            return []
        if self.scheduler.ended:
            return self.poller.poll(0.01 if timeout is None else min(timeout, 0.01))
        if timeout != 0 and not self.scheduler.sleep(agent):
            return []
        events, agent.events = agent.events, []
        return events + self.poller.poll(0)

    def close(self) -> None:
        super().close()
        self.scheduler.leave(self.agent)
