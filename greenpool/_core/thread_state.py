"""What CPython keeps for each OS thread and a program expects for each thread.

greenlet swaps what belongs to a stack: frames, the exception being handled, the context, the recursion depth.
CPython keeps more than that for each OS thread, and here it is swapped as well:

- asyncio's running loop and, from CPython 3.14 on, its current task
- the hooks of asynchronous generators and the depth of coroutine origins, which asyncio sets
- the functions of ``sys.settrace`` and ``sys.setprofile``, and whether one of them, or a callback of
  ``sys.monitoring``, runs right now: meanwhile CPython calls no other in that OS thread

*When.*  greenlet calls a function at each switch of a thread if there is one (``greenlet.settrace``).  A hub
has one, its *swap*, only while a greenlet of it has such state.  ``keep_apart`` sets it, called by what
changes such state.  The switch after which no greenlet has any takes it away.  So a hub whose greenlets
have none pays nothing.  With a tool of ``sys.monitoring`` every hub has its swap for good.

*How.*  At a switch the thread's state is that of the greenlet that leaves.  It is taken off and stored on
that greenlet, and the state that the other greenlet has stored is put back.  A loop never has any: the hub
is not traced, also where a debugger's own thread sets a trace function for this one.  A carrier has none
between two tasks.

*What a task begins with.*  A thread of the patched ``threading`` begins with nothing, as any thread;
``threading`` then sets what its own ``settrace`` was given.  Any other greenlet is traced like the main
program of its plain thread; on a hub of a pool it has the hooks that ``threading`` had when the hub began.

*Threads*: everything here runs on the hub's own thread.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from sys import (
    get_asyncgen_hooks,
    get_coroutine_origin_tracking_depth,
    getprofile,
    gettrace,
    set_asyncgen_hooks,
    set_coroutine_origin_tracking_depth,
    setprofile,
)

import greenlet as greenlet_module

from .current import remembered, thread_hub
from .speedups import replace_twins, speedups
from .state import GreenThread, HubState, HubTask
from .typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

Hook = Callable[..., object]
Hooks = tuple[Hook | None, Hook | None]


# Its stubs have greenlets without the attributes of a GreenThread.
_at_switch: Any = greenlet_module

# pydevd, which debugpy is made of, puts a function in the place of sys.settrace that warns of its callers.
_pydevd: Any = getattr(sys.modules.get("pydevd_tracing"), "TracingFunctionHolder", None)
settrace: Callable[[Any], None] = getattr(_pydevd, "_original_tracing", None) or sys.settrace


# Taken here.  On free-threaded CPython a thread that makes its hub while the program ends may not wait for
# the lock of sys.modules, which the main thread needs then: it could get the lock and never run again.
_monitoring: Any = getattr(sys, "monitoring", None)


def _nothing(*args: object) -> object:
    return None


class RunningLoop:
    """How to read and write asyncio's running loop and current task, once the program has imported that."""

    get: Callable[[], object] = _nothing
    set: Callable[[object], object] = _nothing
    # CPython 3.14 and newer: the current task is the thread's; before it is the loop's.
    swap_task: Callable[[object, object], object] = _nothing


class ThreadState:
    """The state of one greenlet that is switched out."""

    __slots__ = ("depth", "hooks", "loop", "profile", "task", "trace")

    def __init__(self, loop: object) -> None:
        self.loop = loop
        self.task: object = None
        self.hooks = get_asyncgen_hooks()
        self.depth = get_coroutine_origin_tracking_depth()
        self.trace: Any = gettrace()
        self.profile: Any = getprofile()


def take() -> ThreadState | None:
    """Take the calling thread's state off it; None if it has none."""
    loop = RunningLoop.get()
    state = ThreadState(loop)
    firstiter, finalizer = state.hooks
    if loop is not None:
        state.task = RunningLoop.swap_task(loop, None)
        RunningLoop.set(None)
    elif firstiter is finalizer is state.trace is state.profile is None and not state.depth:
        return None
    if firstiter is not None or finalizer is not None:
        set_asyncgen_hooks(None, None)
    if state.depth:
        set_coroutine_origin_tracking_depth(0)
    _set_hooks(None, None)
    return state


def drop(state: object) -> None:
    """Let go of a state that nobody will want."""


def put(state: ThreadState) -> None:
    """Give the calling thread, which has none, a state that was taken."""
    if state.loop is not None:
        RunningLoop.set(state.loop)
        if state.task is not None:
            RunningLoop.swap_task(state.loop, state.task)
    set_asyncgen_hooks(*state.hooks)
    set_coroutine_origin_tracking_depth(state.depth)
    _set_hooks(state.trace, state.profile)


def _set_hooks(trace: Any, profile: Any) -> None:
    # A tracer that is written in C, such as coverage's, can be called and then goes on in C.  The profiler of
    # cProfile, up to CPython 3.11, cannot be called.
    if gettrace() is not trace:
        settrace(trace)
    present: Any = getprofile()
    if present is not profile:
        if hasattr(present, "disable"):
            present.disable()
        if hasattr(profile, "enable"):
            profile.enable()
        else:
            setprofile(profile)


def trace_like(state: ThreadState) -> None:
    """Trace the calling thread as the greenlet of *state* is traced."""
    _set_hooks(state.trace, getprofile())


class Swap:
    """What a hub does at each switch of its greenlets, as long as one of them has state to be kept apart."""

    __slots__ = ("following", "function", "hooks", "hub", "loop", "stored")

    def __init__(self, hub: HubState, hooks: Hooks | None) -> None:
        self.hub = hub
        self.loop = hub.loop
        # What a task of a pool's hub is traced and profiled by.  Unless it is None, the swap never ends.
        self.hooks = hooks
        # The greenlets that are switched out and have a state stored.
        self.stored = 0
        # The program's own function of greenlet.settrace.
        self.following: Hook | None = None
        self.function: Hook = self.swap
        self.begin_swapping()

    def begin_swapping(self, hooks: Hooks | None = None) -> None:
        """Be called at each switch, also when the program has set a function of its own meanwhile."""
        self.hooks = self.hooks or hooks
        present: Hook | None = _at_switch.gettrace()
        if present is not self.function:
            self.following = present
            _at_switch.settrace(self.function)

    def end_swapping(self) -> None:
        """No greenlet has any state."""
        # A function that the program has set over this one goes on calling it.
        if _at_switch.gettrace() is self.function:
            _at_switch.settrace(self.following)
            self.hub.swap = None

    def swap(self, event: str, switch: tuple[GreenThread, GreenThread]) -> None:
        """Called by greenlet, in the greenlet that goes on, before anything else runs there."""
        origin, target = switch
        state = take()
        if state is not None:
            self.store(origin, state)
        state = getattr(target, "thread_state", None)
        if state is not None:
            target.thread_state = None
            self.stored -= 1
            put(state)
        elif not self.stored and self.hooks is None:
            self.end_swapping()
        if self.following is not None:
            self.following(event, switch)

    def store(self, origin: GreenThread, state: object) -> None:
        """Keep *state* until *origin* goes on.

        A debugger's own thread sets a trace function for another OS thread, also while that runs its loop.
        Such a function is the main program's.
        """
        owner = self.hub.main if origin is self.loop else origin
        if (
            owner is None
            or owner.dead
            or (owner is not origin and getattr(owner, "thread_state", None) is not None)
        ):
            drop(state)
        else:
            owner.thread_state = state
            self.stored += 1

    # On the carrier, before a task and after it.

    def begin(self, task: HubTask) -> None:
        """Have *task*, which is about to run, traced like its main program."""
        if task.is_thread:
            return
        main = self.hub.main
        if main is None:
            # In a patched program these are its green versions, as a thread calls them.
            trace: Any
            trace, profile = self.hooks or (None, None)
            if trace is not None:
                sys.settrace(trace)
            if profile is not None:
                sys.setprofile(profile)
        else:
            state = getattr(main, "thread_state", None)
            if state is not None:
                trace_like(state)

    def end(self) -> None:
        """Leave nothing of a task that has ended."""
        state = take()
        if state is not None:
            drop(state)


def keep_apart() -> None:
    """From now on swap the state of the calling thread's greenlets, if it has a hub.

    A hub that is made later looks itself.
    """
    hub = thread_hub()
    if hub is not None:
        start_swap(hub)


def start_swap(hub: HubState, hooks: Hooks | None = None) -> None:
    """Swap the state of the greenlets of *hub*, which is the calling thread's.

    With *hooks* it goes on as long as the hub lives.
    """
    if hub.swap is None:
        hub.swap = Swap(hub, hooks)
    else:
        hub.swap.begin_swapping(hooks)


def look_at_thread(hub: HubState) -> None:
    """Called for a new hub: start its swap if its main program, or what is to run on it, has state."""
    # The hooks that every new thread is to have.
    hooks = (threading.gettrace(), threading.getprofile())
    if _is_monitored() or (hub.main is None and hooks != (None, None)):
        start_swap(hub, hooks)
    elif hub.main is not None:
        if RunningLoop.get() is not None or gettrace() is not None or getprofile() is not None:
            start_swap(hub)


def _is_monitored() -> bool:
    """Whether ``sys.monitoring`` has a tool, whose callbacks are not to be called in a loop."""
    return _monitoring is not None and any(_monitoring.get_tool(tool) for tool in range(6))


def keep_apart_everywhere() -> None:
    """From now on have every hub swap, whatever its greenlets do; any thread."""
    for hub in remembered():
        if hub.is_own_thread():
            start_swap(hub, (None, None))
        else:
            hub.post(start_swap, hub, (None, None))


if speedups is not None:
    replace_twins(Swap, speedups.connect_thread_state(Swap, RunningLoop))
    take = speedups.take_thread_state
    drop = speedups.drop_thread_state
    trace_like = speedups.trace_like
