"""explore, with points between the lines of greenpool's own code.

The points of a run stand at the entrance of operations, so explore finds no fault that needs another hub to
come between two lines of the runtime itself.  While ``between_lines`` is on,

- another hub may go on at every line of the given files, as if the operating system had taken the CPU away
- the reentrant locks of the package are ``ScheduledLock``: a hub that waits for one gives the baton away
- only a write to its waker, a timer or a descriptor ends a hub's sleep, as in the kernel
- a handler may run where CPython runs signal handlers (``interrupted``, ``in_sleep``)
- time may pass while hubs are busy (``time_passes``), and threads without a pool take part
  (``plain_thread``).

Only for pure Python.  A run takes three to five times as long.  It knows private names of the scheduler, so
it is for the project's own tests.

*Threads*: install it while no run is on.
"""

from __future__ import annotations

import opcode
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import greenpool
from greenpool._core import hub as hub_module
from greenpool._core import native, scheduled, task
from greenpool._core.current import getcurrent, set_thread_hub
from greenpool._core.hub import Hub
from greenpool._core.scheduled import HALTED, IDLE, Agent, ScheduledPoller, ScheduledQueue, Scheduler
from greenpool._core.state import HubState
from greenpool.testing.clock import Current

_NativeLock = native.Lock
_NativeRLock = native.RLock

PACKAGE = os.path.dirname(greenpool.__file__)


def path_of(name: str) -> str:
    """The path of a file of the package, by its name there."""
    return os.path.join(PACKAGE, *name.split("/"))


# The files of what runs on several hubs at once.
CORE = frozenset(
    map(
        path_of,
        (
            "_core/inbox.py",
            "_core/interrupts.py",
            "_core/state.py",
            "_core/task.py",
            "_core/timeout.py",
            "_core/waiter.py",
            "_sync/async_result.py",
            "_sync/barrier.py",
            "_sync/channel.py",
            "_sync/condition.py",
            "_sync/event.py",
            "_sync/line.py",
            "_sync/lock.py",
            "_sync/outcomes.py",
            "_sync/queue.py",
            "_sync/rlock.py",
            "_sync/semaphore.py",
            "_sync/simple_queue.py",
            "_sync/waitable.py",
            "cancel.py",
            "futures.py",
            "greenlet.py",
            "pool.py",
            "taskgroup.py",
        ),
    )
)

_waiting: dict[Agent, ScheduledLock] = {}


class ScheduledLock:
    """A reentrant lock of the package, for which a hub of a run waits without the baton."""

    __slots__ = ("lock", "count", "__weakref__")

    def __init__(self) -> None:
        self.lock = _NativeRLock()
        # How often it is held; what a hub that waits looks at.
        self.count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        while not self.lock.acquire(False):
            if not blocking:
                return False
            scheduler = Current.scheduler
            agent = None if scheduler is None else scheduler.by_thread.get(native.get_ident())
            if scheduler is None or agent is None or not scheduler.running:
                # Before the run and after it, threads run by themselves.
                self.lock.acquire()
                break
            _waiting[agent] = self
            try:
                agent.here = getcurrent()
                scheduler._give_way(agent, HALTED, [])
            finally:
                del _waiting[agent]
        self.count += 1
        return True

    def release(self) -> None:
        self.count -= 1
        self.lock.release()

    __enter__ = acquire

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _is_owned(self) -> bool:
        return self.lock._is_owned()  # type: ignore[attr-defined]


class Handler:
    """Calls *function* once, on the thread that has made it, where a signal handler may run there."""

    def __init__(self, function: Callable[[], object], within: int) -> None:
        self.function = function
        self.left = random.randrange(within)
        self.thread = native.get_ident()

    def __enter__(self) -> None:
        _handlers.append(self)

    def __exit__(self, *exc_info: object) -> None:
        self.call_if_late()

    def call_if_late(self) -> None:
        """Call it if it has not been yet."""
        if self in _handlers:
            self.call()

    def call(self) -> None:
        _handlers.remove(self)
        self.function()

    def pass_place(self) -> None:
        if self.thread == native.get_ident():
            if not self.left:
                self.call()
            self.left -= 1


_handlers: list[Handler] = []

# CPython runs signal handlers behind these only: calls, entries of functions and jumps backwards.
_CALLS = {
    number
    for name, number in opcode.opmap.items()
    if name in ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")
    or name.startswith("POP_JUMP_BACKWARD")
}
# The instruction that a frame has carried out last.
_last: dict[FrameType, int] = {}


def interrupted(function: Callable[[], object], within: int = 60) -> Handler:
    """Have a signal handler call *function* within a ``with`` block, in the code of the given files.

    It comes at one of the next places where CPython runs handlers; the seed of the run decides at which.  If
    it has not come by then, it is called at the end of the block.  It must not wait.
    """
    return Handler(function, within)


def time_passes(seconds: float) -> None:
    """Have so many *seconds* pass now, as on a machine that is busy; otherwise only idleness takes time."""
    assert Current.scheduler is not None
    Current.scheduler.now += seconds


_in_sleep: dict[int, Callable[[], object]] = {}


def in_sleep(function: Callable[[], object]) -> None:
    """Have a signal handler call *function* while the calling thread's hub sleeps in its poller next."""
    _in_sleep[native.get_ident()] = function


def plain_thread(function: Callable[[], object]) -> list[BaseException]:
    """Start an OS thread that belongs to no pool, and takes turns with the hubs of the run; returns at once.

    The list that it returns gets what *function* raises.
    """
    errors: list[BaseException] = []
    scheduler = Current.scheduler
    assert scheduler is not None
    arrived = _NativeLock()
    arrived.acquire()

    def body() -> None:
        hub = Hub("plain thread", poller=lambda: ScheduledPoller(scheduler))
        set_thread_hub(hub, close_with_thread=True)
        agent = scheduler.by_thread[native.get_ident()]
        agent.state = HALTED
        agent.here = getcurrent()
        arrived.release()
        agent.baton.acquire()
        agent.state = scheduled.RUNNING
        agent.chosen = None
        try:
            function()
        except BaseException as error:
            errors.append(error)

    native.start_new_thread(body, ())
    arrived.acquire()
    return errors


_computing: set[Agent] = set()


def compute() -> None:
    """Compute, without waiting, until no other thread of the run can go on."""
    scheduler = Current.scheduler
    assert scheduler is not None
    agent = scheduler.by_thread[native.get_ident()]
    agent.here = getcurrent()
    _computing.add(agent)
    try:
        scheduler._give_way(agent, HALTED, [])
    finally:
        _computing.discard(agent)


_files: set[str] = set()


def _trace(frame: FrameType, event: str, _argument: object) -> Any:
    if frame.f_code.co_filename not in _files:
        return None
    if _handlers:
        frame.f_trace_opcodes = True
    return _trace_line


def _trace_line(frame: FrameType, event: str, _argument: object) -> Any:
    scheduler = Current.scheduler
    if scheduler is None or not scheduler.running:
        return _trace_line
    agent = scheduler.by_thread.get(native.get_ident())
    if agent is None or agent.state != scheduled.RUNNING:
        return _trace_line
    if _handlers:
        frame.f_trace_opcodes = True
    if event == "line":
        agent.here = getcurrent()
        scheduler._give_way(agent, HALTED, [agent.here])
    elif event == "opcode":
        before = _last.get(frame)
        _last[frame] = frame.f_code.co_code[frame.f_lasti]
        if before in _CALLS:
            for handler in _handlers.copy():
                handler.pass_place()
    elif event == "return":
        _last.pop(frame, None)
    return _trace_line


def _do_not_look(_: object) -> None:
    """In the place of look_at_thread."""


def _package_modules() -> Iterator[Any]:
    for name, module in list(sys.modules.items()):
        if (
            name.startswith("greenpool.")
            and ".testing" not in name
            and module is not native
            and module is not scheduled
        ):
            yield module


@contextmanager
def between_lines(files: Iterable[str] = CORE) -> Iterator[None]:
    """Have runs choose between the lines of these *files* of the package, too."""
    _files.clear()
    _files.update(files)
    kind = type(native.RLock())
    undo: list[tuple[dict[str, Any], str, object]] = []
    for module in _package_modules():
        names = vars(module)
        for name, value in list(names.items()):
            if value is native.RLock:
                replacement: object = ScheduledLock
            elif type(value) is kind:
                replacement = ScheduledLock()
            else:
                continue
            undo.append((names, name, value))
            names[name] = replacement
    task.renew_task_locks()
    look_at_thread = hub_module.look_at_thread
    take_over = ScheduledPoller.take_over
    candidates_of = Scheduler._candidates_of
    has_work = Scheduler._has_work
    sleep = Scheduler.sleep
    queue_candidates = ScheduledQueue.candidates
    take_out = ScheduledQueue.take_out
    take_in_next = HubState.take_in_next
    loops_first: set[HubState] = set()

    def traced_take_over(self: ScheduledPoller, hub: Any) -> None:
        take_over(self, hub)
        sys.settrace(_trace)

    def candidates(self: Scheduler, agent: Agent) -> list[Any]:
        lock = _waiting.get(agent)
        if lock is not None:
            return [] if lock.count else [agent.here]
        if agent in _computing:
            others = [other for other in self.agents if other is not agent]
            return [] if any(candidates_of(self, other) for other in others) else [agent.here]
        return candidates_of(self, agent)

    def may_wake(self: Scheduler, agent: Agent) -> bool:
        hub = agent.hub
        if agent.state != IDLE or not hub.inbox.asleep:
            return has_work(self, agent)
        # Its poller does not look at queues: only a write to the waker ends such a sleep.
        deadline = hub.timers.next_deadline()
        if hub.registrations:
            agent.events += agent.poller.poller.poll(0)
        return bool(agent.events) or (deadline is not None and deadline <= self.monotonic())

    def interrupted_sleep(self: Scheduler, agent: Agent) -> None:
        handler = _in_sleep.pop(native.get_ident(), None) if self.running else None
        if handler is not None:
            handler()
        sleep(self, agent)

    def turns(self: ScheduledQueue, first: Any) -> list[Any]:
        hub = self.agent.hub
        if hub.main is not None and (hub in loops_first or not hub.passes) and hub.mark in self:
            return [hub.mark] if first is None else [first, hub.mark]
        return queue_candidates(self, first)

    def taken_out(self: ScheduledQueue, turn: Any) -> None:
        if turn is self.agent.hub.mark:
            loops_first.discard(self.agent.hub)
        take_out(self, turn)

    def take_in_before_others(self: HubState) -> None:
        take_in_next(self)
        loops_first.add(self)

    ScheduledQueue.take_out = taken_out  # type: ignore[method-assign]
    HubState.take_in_next = take_in_before_others  # type: ignore[method-assign]
    ScheduledQueue.candidates = turns  # type: ignore[method-assign]
    Scheduler.sleep = interrupted_sleep  # type: ignore[method-assign]
    Scheduler._has_work = may_wake  # type: ignore[method-assign]
    # It would leave the loops out, for the sake of debuggers.
    hub_module.look_at_thread = _do_not_look
    ScheduledPoller.take_over = traced_take_over  # type: ignore[method-assign]
    Scheduler._candidates_of = candidates  # type: ignore[method-assign]
    try:
        yield
    finally:
        ScheduledQueue.take_out = take_out  # type: ignore[method-assign]
        HubState.take_in_next = take_in_next  # type: ignore[method-assign]
        ScheduledQueue.candidates = queue_candidates  # type: ignore[method-assign]
        Scheduler.sleep = sleep  # type: ignore[method-assign]
        Scheduler._has_work = has_work  # type: ignore[method-assign]
        Scheduler._candidates_of = candidates_of  # type: ignore[method-assign]
        hub_module.look_at_thread = look_at_thread
        ScheduledPoller.take_over = take_over  # type: ignore[method-assign]
        for names, name, value in undo:
            names[name] = value
        task.renew_task_locks()
