"""The state of one hub, and the few verbs by which the rest of the package uses it.

``HubState`` is the lower half of a hub: its fields, and what other code may ask of them.  The loop, which is
the upper half, is in hub.py.  Outside this package nobody touches a field; ``name`` and ``index`` are public.

*Threads*: a field belongs to the hub's own thread.  The exceptions are the inbox, which has a lock of its
own, and single reads of a value that are hints only.  Each verb says which thread may call it.
"""

from __future__ import annotations

from _contextvars import Context
from collections import deque
from collections.abc import Callable
from os import getpid
from types import FrameType

from .inbox import Call, Inbox, Turn
from .interrupts import Interrupts
from .mark import Mark
from .native import get_ident, signal
from .pollers import Poller
from .signal_waker import SignalWaker, in_main_thread
from .timers import Timer, Timers
from .typing import TYPE_CHECKING, Protocol
from .wakers import Waker, make_waker

if TYPE_CHECKING:
    from typing import Any, TypeVarTuple

    Ts = TypeVarTuple("Ts")

# Free carriers that are kept for the next tasks.  Each holds about 6 KiB.  Beyond this number, the carriers
# of a burst end.
MAX_FREE_CARRIERS = 16_384


class Wait(Protocol):
    """What a greenlet is parked on, as the hub sees it (see waiter.py)."""

    state: int

    @property
    def greenlet(self) -> GreenThread: ...

    def throw(self, exception: BaseException) -> bool:
        """End the wait with *exception*; False if it has ended already.  The hub's own thread only."""

    def wake(self) -> bool:
        """End the wait; False if it has ended already."""


class HubTask(Protocol):
    """A task, as its hub and its carrier see it (see task.py)."""

    done: bool
    is_thread: bool
    """Whether it is a thread of the patched ``threading``."""
    carrier: GreenThread | None
    locals: Any
    """The values of greenlet-local objects (see local.py)."""

    @property
    def context(self) -> Context | None: ...

    @property
    def name(self) -> str: ...

    def _label(self) -> str:
        """The name for a list of greenlets."""

    def accepted_by(self, hub: HubState) -> None:
        """Note that the hub has taken the task; under the lock that decides on it."""

    def enter(self, seconds: float | None = None) -> None:
        """Join the hub's ready queue, now or in *seconds*; on the hub's thread."""

    def switch(self) -> object:
        """Start; called by the greenlet that parks or ends."""

    def _execute(self) -> None:
        """Run to the end, on the carrier."""

    def end_with_thread(self) -> None:
        """End where it stands, because its hub will never run again."""


class Placement(Protocol):
    """Puts a new task on a hub of a pool."""

    def __call__(self, task: HubTask, seconds: float | None = None, /) -> None: ...


class GreenThread(Protocol):
    """What every greenlet that can wait carries; current.py says when it gets these attributes."""

    hub: HubState
    task: HubTask | None
    """None: a carrier between two tasks."""
    waiter: Wait | None
    """What it is parked on."""
    parked_at: float
    """When it parked last, on the monotonic clock."""
    interrupts: Interrupts | tuple[()]
    budget: int
    """Socket operations that are left before it has to yield."""
    placement: Placement | None
    """Where its spawns go; None is its own hub."""
    thread_state: object
    """What its hub's swap has stored (see thread_state.py)."""
    parent: Any

    @property
    def gr_frame(self) -> FrameType | None: ...

    @property
    def dead(self) -> bool: ...

    def switch(self, *args: object) -> object: ...

    def throw(self, exception: BaseException, /) -> object: ...


class ThreadStateSwap(Protocol):
    """Keeps the state of a thread apart for each of its greenlets (see thread_state.py)."""

    def begin_swapping(self, hooks: Any = None) -> None: ...

    def begin(self, task: HubTask) -> None:
        """Called before a task runs, on its carrier."""

    def end(self) -> None:
        """Called after a task, on its carrier."""


class PooledCarrier(GreenThread, Protocol):
    """A carrier, as the hub sees it (see carrier.py)."""

    ended: bool


class Registered(Protocol):
    """A descriptor that the hub's poller watches (see registration.py)."""

    hub: HubState | None
    fd: int
    readable: bool
    hung_up: bool
    closed: bool
    owners: int

    @property
    def reader(self) -> Wait | None: ...

    @property
    def writer(self) -> Wait | None: ...

    @property
    def crowd(self) -> object: ...

    @property
    def arm(self) -> Callable[[int, int], None] | None: ...

    def wait_read(self, greenlet: GreenThread, timeout: float | None = None) -> bool: ...

    def wait_write(self, greenlet: GreenThread, timeout: float | None = None) -> bool: ...

    def join_crowd(self, bits: int, waiter: Wait) -> None: ...

    def leave_crowd(self, waiter: Wait) -> None: ...

    def wake_crowd(self, mask: int) -> None: ...

    def wake_all(self) -> None: ...

    def waiters(self) -> list[Wait]: ...

    def close(self) -> None: ...

    def forget(self) -> None: ...


class HubState:
    """The fields of a hub and the verbs on them."""

    __slots__ = (
        "name",
        "index",
        "thread_id",
        "process",
        "loop",
        "main",
        "mark",
        "ready",
        "starting",
        "inbox",
        "timers",
        "poller",
        "signals",
        "registrations",
        "carriers",
        "free_carriers",
        "max_free_carriers",
        "ended_carriers",
        "leftovers",
        "live",
        "spawned",
        "remote_wakes",
        "daemons",
        "stopping",
        "ends_at_rest",
        "received",
        "on_rest",
        "on_system_error",
        "owner",
        "idle_waiters",
        "rest_waiters",
        "passes",
        "woken_at",
        "turn_end",
        "swap",
        "patience",
        "__weakref__",
    )

    mark: Mark

    def __init__(
        self,
        name: str,
        index: int | None,
        make_poller: Callable[[], Poller],
        main: GreenThread | None,
        on_system_error: Callable[[BaseException], object],
    ) -> None:
        self.name = name
        # The hub's number in its pool; None outside a pool.
        self.index = index
        self.thread_id = get_ident()
        # The process that has made it or, after a fork, taken it over.
        self.process = getpid()
        # The greenlet that the loop runs in.
        self.loop: Any = None
        # The main greenlet of a plain thread; None on a thread of a pool, whose main greenlet is the loop.
        self.main = main
        self.ready: deque[Turn] = deque()
        # The task for which the loop is asked to start a carrier.
        self.starting: HubTask | None = None
        self.timers = Timers()
        self.registrations: dict[int, Registered] = {}
        self.carriers: set[PooledCarrier] = set()
        self.free_carriers: list[PooledCarrier] = []
        self.max_free_carriers = MAX_FREE_CARRIERS
        # Carriers that have ended since the hub last gave memory back, and what it gives back now (see
        # memory.py).
        self.ended_carriers = 0
        self.leftovers: object = None
        # Tasks that the hub has accepted and that have not ended; those of them that no shutdown waits for.
        self.live = 0
        # Tasks that it has accepted, and greenlets that other threads have woken, since it began.
        self.spawned = 0
        self.remote_wakes = 0
        self.daemons = 0
        # Refuse spawns, and interrupt what starts all the same; end the loop when no task is left.
        self.stopping = False
        self.ends_at_rest = False
        # Tasks that came in through the inbox since on_rest was last called.
        self.received = 0
        # Called with that number when only daemons are left, before the hub blocks in its poller.
        self.on_rest: Callable[[int], object] | None = None
        # Takes a KeyboardInterrupt or SystemExit that no greenlet has handled.
        self.on_system_error = on_system_error
        # The pool that the hub belongs to; the core never looks at it.
        self.owner: object = None
        # Greenlets that wait until nothing is ready, and until no other greenlet is left.
        self.idle_waiters: list[Wait] = []
        self.rest_waiters: list[Wait] = []
        self.passes = 0
        # When it last left its poller after a sleep, on the monotonic clock.
        self.woken_at = 0.0
        # When the hub is to offer the GIL (see gil.py).
        self.turn_end = 0.0
        # Keeps apart what CPython has for each OS thread, while there is any (see thread_state.py).
        self.swap: ThreadStateSwap | None = None
        # Seconds to block before it looks for a deadlock (see deadlock.py).
        self.patience = 0.0
        self.poller = make_poller()
        self.signals: SignalWaker | None = None
        try:
            self.inbox = Inbox(self.open_wakers())
        except BaseException:
            self.poller.close()
            raise
        # The poller of a test's run puts a queue and timers of its own into their places (see scheduled.py).
        take_over = getattr(self.poller, "take_over", None)
        if take_over is not None:
            take_over(self)

    def __repr__(self) -> str:
        return f"<Hub {self.name}: {self.live} live, {len(self.ready)} ready>"

    def statistics(self) -> dict[str, int]:
        """Counts for monitoring; exact on the hub's own thread, a snapshot on any other."""
        return {
            "live": self.live,
            "ready": len(self.ready),
            "inbox": len(self.inbox.queue),
            "timers": len(self.timers),
            "descriptors": len(self.registrations),
            "carriers": len(self.carriers),
            "free_carriers": len(self.free_carriers),
            "passes": self.passes,
            "spawned": self.spawned,
            "remote_wakes": self.remote_wakes,
        }

    # Any thread.

    def is_awake(self) -> bool:
        """Whether the loop is not blocked in its poller; on another thread this is a hint."""
        return not self.inbox.asleep

    def has_only_its_program(self) -> bool:
        """Whether it is a plain thread's without other greenlets; on another thread this is a hint."""
        return self.main is not None and not self.live

    def is_own_thread(self) -> bool:
        """Whether the caller runs on the hub's thread."""
        return get_ident() == self.thread_id

    def post(self, callback: Callable[[*Ts], object], *args: *Ts) -> bool:
        """Have the hub's loop call *callback*, which must not wait; False if the hub is closed."""
        return self.inbox.post(Call(callback, *args))

    def accept(self, task: HubTask, seconds: float | None = None) -> bool:
        """Take *task*, to start it now or in *seconds*.

        False, and nothing is done, from the moment at which the hub was told to stop.
        """
        inbox = self.inbox
        with inbox.lock:
            if not inbox.accepting:
                return False
            task.accepted_by(self)
            return inbox.post(task if seconds is None else Call(self._receive_later, task, seconds))

    def refuse_spawns(self) -> None:
        """From now on ``accept`` returns False."""
        with self.inbox.lock:
            self.inbox.accepting = False

    def is_stopping(self) -> bool:
        """Whether the hub was told to stop; on another thread a hint."""
        return self.stopping

    def is_edge_triggered(self) -> bool:
        """Whether its poller knows all event bits; a level-triggered one knows reading and writing only."""
        return self.poller.arm is None

    def loop_greenlet(self) -> object:
        """The greenlet that the loop runs in, to compare with."""
        return self.loop

    def find_task(self, ident: int) -> HubTask | None:
        """The started task that has this identifier as a green thread."""
        for carrier in list(self.carriers):
            task = carrier.task
            if task is not None and id(task) == ident:
                return task
        return None

    def send_signal(self, number: int) -> None:
        """Send a signal to the hub's OS thread."""
        signal.pthread_kill(self.thread_id, number)

    # The hub's own thread.

    def admit(self, task: HubTask) -> None:
        """Count *task*, which ``accepted_by`` has prepared, and put it into the ready queue."""
        self.live += 1
        self.spawned += 1
        self.ready.append(task)

    def _receive_later(self, task: HubTask, seconds: float) -> None:
        """Take in a task of another thread that is to start in *seconds*."""
        self.live += 1
        self.spawned += 1
        self.received += 1
        task.enter(None if self.stopping else seconds)

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Have the loop call *callback*, which must not wait; for code in a greenlet of this hub."""
        self.inbox.queue.append(Call(callback, *args))

    def take_back(self, callback: object, argument: object) -> bool:
        """Undo one ``call_soon(callback, argument)``; False if there is none that waits to be carried out."""
        for item in self.inbox.posted():
            if isinstance(item, Call) and item.args == (argument,) and item.callback == callback:
                return self.inbox.take_back(item)
        return False

    def carry_out_posted(self, callback: object) -> None:
        """Carry out now what others have posted with *callback*, so far as it was posted before this call."""
        inbox = self.inbox
        # This orders the look at the queue after what the caller has written.
        inbox.queue.rotate(0)
        for item in inbox.posted() if inbox.queue else ():
            # What is not there any more, its poster has taken back.
            if isinstance(item, Call) and item.callback == callback and inbox.take_back(item):
                item.callback(*item.args)

    def call_at(self, deadline: float, callback: Callable[[*Ts], object], *args: *Ts) -> Timer:
        """Have the loop call *callback*, which must not wait, at *deadline* on the monotonic clock."""
        return self.timers.call_at(deadline, callback, *args)

    def look_again(self) -> None:
        """Keep the loop from blocking in its poller; for what a signal handler may do.

        Python runs the handler inside the poll, which then goes on with the rest of its timeout.
        """
        if self.inbox.asleep:
            self.inbox.post(Call(int))

    def take_in_next(self) -> None:
        """Have the loop take in what was posted before anything else runs on this hub."""
        try:
            self.ready.remove(self.mark)
        except ValueError:
            return  # the loop itself is running
        self.ready.appendleft(self.mark)

    def daemon_started(self) -> None:
        """One of the live tasks is a daemon: no shutdown waits for it."""
        self.daemons += 1

    def daemon_ended(self) -> None:
        """Undo ``daemon_started``."""
        self.daemons -= 1

    def wake_when_idle(self, waiter: Wait) -> None:
        """Wake *waiter* when no other greenlet is ready."""
        self.idle_waiters.append(waiter)

    def wake_at_rest(self, waiter: Wait) -> None:
        """Wake *waiter* when no task is left but those that wait for this."""
        self.rest_waiters.append(waiter)

    def forget_waiter(self, waiter: Wait) -> None:
        """Undo ``wake_at_rest``, if that has not woken *waiter* yet."""
        if waiter in self.rest_waiters:
            self.rest_waiters.remove(waiter)

    def belong_to(
        self,
        owner: object,
        on_rest: Callable[[int], object],
        on_system_error: Callable[[BaseException], object],
    ) -> None:
        """Make the hub one of *owner*, a pool.

        *on_rest* is called with the number of tasks that came in through the inbox since its last call, each
        time that only daemons are left.  *on_system_error* takes a KeyboardInterrupt or SystemExit that no
        greenlet has handled.
        """
        self.owner = owner
        self.on_rest = on_rest
        self.on_system_error = on_system_error

    # Descriptors.

    def open_wakers(self) -> Waker:
        """Open what ends the hub's sleep, have the poller watch it, and return the inbox's waker."""
        waker = make_waker()
        try:
            self.poller.register_waker(waker)
            if in_main_thread():
                self.signals = SignalWaker()
                self.poller.register_waker(self.signals)
        except BaseException:
            waker.close()
            if self.signals is not None:
                self.signals.close()
            raise
        return waker

    def close_wakers(self) -> None:
        self.inbox.waker.close()
        if self.signals is not None:
            self.signals.close()

    def close_descriptors(self) -> None:
        """Close the poller and the wakers, and forget what was registered."""
        for registration in list(self.registrations.values()):
            registration.forget()
        self.registrations.clear()
        self.poller.close()
        self.close_wakers()
