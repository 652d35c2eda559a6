"""A hub: one loop on one thread.

*The ready queue* holds what is to run: greenlets to resume and tasks to start; each has a ``switch`` method.
A greenlet that parks takes the next entry and switches to it directly, without passing through the loop.  The
loop's own turn is an entry like any other, the *mark*: the greenlet that takes it switches to the loop.  So
the queue is never empty while a greenlet runs, and a pass is bounded by what was ready when it began: neither
a greenlet that always re-queues itself nor a flood of spawns keeps the loop from its I/O.

*A pass*: run what is ready up to the mark, take in the inbox, fire the timers that are due, poll (without
blocking when something is ready).  An idle hub polls once with timeout 0 if that poll can keep the GIL, then
blocks in the poller, and takes in at once what woke it.  On the main thread a signal ends that poll (see
signal_waker.py).  After a burst of greenlets an idle hub gives memory back, in slices (see memory.py).  Hubs
that keep the GIL offer it to each other (see gil.py).

*What comes back to the loop*, as the result of a switch: the mark (its turn has come), the hub (no carrier
was free for ``starting``, and only the loop starts new ones), or anything else (a greenlet has ended).

*Threads*: everything here runs on the hub's own thread.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from time import monotonic

from greenlet import GreenletExit, greenlet

from .carrier import KEPT_FREE_CARRIERS, Carrier, release_carriers
from .current import BUDGET, Factories, adopt, getcurrent, remember
from .deadlock import FIRST_LOOK, look_for_deadlock
from .error_report import call_reported
from .fork import forked_within
from .gil import offer_gil
from .inbox import Inbox, Turn
from .intake import take_in
from .interpreter_exit import rest_if_ending
from .mark import Mark
from .memory import BURST, PAUSE, REST, give_back_slice
from .native import HAS_GIL, original_threading
from .origin import HIDDEN_FILES
from .pollers import Poller, make_poller
from .pollers.events import IN, OUT, RARE, READ, WRITE
from .registration import Registration
from .speedups import replace_twins, speedups
from .state import GreenThread, HubState
from .task import Task
from .thread_end import close
from .thread_state import look_at_thread
from .waiter import WAITING, WOKEN, Waiter, interrupt, yield_now

# Seconds.  The pollers take at most 2**31 milliseconds.
LONGEST_POLL = 86_400.0


# The watch costs an import that few programs need.  It is not imported by the first hub, because an import at
# the end of a free-threaded program may hang.
STALLS_ARE_WATCHED = bool(os.environ.get("GREENPOOL_STALL")) or sys.flags.dev_mode
if STALLS_ARE_WATCHED:
    from .stall_watch import stall_limit_asked_for, watch_stalls


class Hub(HubState):
    """One event loop and the greenlets that live on it; there is at most one per OS thread.

    Made by a Runtime for each thread of its pool, and by any other thread when it first has to wait.
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        index: int | None = None,
        poller: Callable[[], Poller] = make_poller,
        in_main_greenlet: bool = False,
    ) -> None:
        # Before anything is opened, because it may be refused.
        stall_limit = stall_limit_asked_for() if STALLS_ARE_WATCHED else 0.0
        main = None if in_main_greenlet else _root(getcurrent())
        super().__init__(name, index, poller, main, self.throw_into_main)
        self.patience = FIRST_LOOK
        self.loop = getcurrent() if in_main_greenlet else greenlet(self._run_loop)
        self.mark = Mark(self.loop, self.ready, self.inbox)
        if not in_main_greenlet:
            # The loop is due first: it has not begun its first pass.
            self.ready.append(self.mark)
        look_at_thread(self)
        remember(self)
        rest_if_ending()
        if STALLS_ARE_WATCHED:
            watch_stalls(stall_limit)

    def throw_into_main(self, exception: BaseException) -> None:
        """Raise *exception* in the main program of a plain thread, where it waits or waits next."""
        main: GreenThread = self.main  # type: ignore[assignment]  # a plain thread's hub has one
        if not hasattr(main, "interrupts"):
            adopt(main)
        interrupt(main, exception)

    def _run_loop(self, first_turn: Mark) -> None:
        """The loop of a plain thread: it ends only with its thread."""
        # The main greenlet's requests from before its first wait are due before it goes on.
        take_in(self)
        while True:
            self._guarded_pass()

    def run_until_stopped(self, before_stop: Callable[[], object] | None = None) -> None:
        """The loop of a pool's hub, in its thread's main greenlet.

        It ends after ``thread_end.stop``, when every task has ended; *before_stop* then runs as the last one.
        """
        while not (self.stopping and not self.live):
            self._guarded_pass()
        if before_stop is not None:
            # It may wait and spawn like any other task, but no other thread can spawn here any more.
            self.stopping = False
            Task.spawn(before_stop)
            self._run_while_live()
            self.stopping = True
        # The last posts may have started tasks, which call links.
        while self.live or not self.inbox.close_if_empty():
            self._guarded_pass()
        close(self)

    def _run_while_live(self) -> None:
        while self.live:
            self._guarded_pass()

    def _guarded_pass(self) -> None:
        waker = self.inbox.waker
        try:
            self._pass()
        except GreenletExit:
            # Its thread has ended, and the loop is let go.
            raise
        except BaseException as exception:
            # A signal handler raised while the loop itself was running, and the pass may be unfinished.  Or
            # the handler forked, and in the child the loop has come upon a descriptor that was closed there.
            if self.mark in self.ready:
                self.ready.remove(self.mark)
            if self.starting is not None:
                self.ready.append(self.starting)
                self.starting = None
            # Events may be lost, so every waiter asks the kernel once more.
            self._dispatch([(fd, IN | OUT) for fd in self.registrations])
            if self.inbox.waker is waker or not forked_within(exception):
                self.on_system_error(exception)

    def _pass(self) -> None:
        ready = self.ready
        mark = self.mark
        self.passes += 1
        if ready:
            ready.append(mark)
            self._run_ready(ready, mark)
        inbox = self.inbox
        if inbox.queue:
            take_in(self)
        timers = self.timers
        deadline: float | None = None
        if timers.heap:
            deadline = timers.next_deadline()
            if deadline is not None and deadline <= (now := monotonic()):
                timers.expire_due(now, self._call)
                deadline = timers.next_deadline()
        if ready or inbox.queue:
            # There is nothing to ask the kernel if nothing is registered; the inbox is looked at anyway.
            if self.registrations:
                self._dispatch(self.poller.poll(0))
                if HAS_GIL and self.poller.keeps_gil:
                    offer_gil(self)
            return
        if self.idle_waiters or self.rest_waiters:
            self._dispatch(self.poller.poll(0))
            if ready or self._wake_idle():
                return
        if self.live <= self.daemons:
            if self.received and self.on_rest is not None:
                self.on_rest(self.received)
                self.received = 0
            if self.ends_at_rest and not self.live:
                return
        if len(self.free_carriers) > KEPT_FREE_CARRIERS:
            release_carriers(self.free_carriers)
        if self.registrations and self.poller.keeps_gil:
            # Without this poll a busy hub would release the GIL in every pass, and another hub's thread take
            # it.
            events = self.poller.poll(0)
            if events:
                self._dispatch(events)
                self.patience = FIRST_LOOK
                if HAS_GIL:
                    offer_gil(self)
                return
        timeout = None if deadline is None else min(max(0.0, deadline - monotonic()), LONGEST_POLL)
        # A plain thread's hub that only another thread can wake looks from time to time whether one still
        # can.
        watchful = self.main is not None and (
            timeout is None or (self.timers.has_weak and not self.timers.can_wake())
        )
        if watchful:
            timeout = self.patience if timeout is None else min(timeout, self.patience)
        gives_back = self.ended_carriers >= BURST or len(self.free_carriers) > KEPT_FREE_CARRIERS
        if gives_back:
            pause = REST if self.leftovers is None else PAUSE
            if timeout is None or timeout > pause:
                timeout = pause
            else:
                gives_back = False
        if not inbox.may_sleep():
            return
        if ready:
            # A signal handler came just before it would have found the hub asleep.
            inbox.awake()
            return
        signals = self.signals
        try:
            events = self.poller.poll(timeout) if signals is None else signals.poll(self.poller, timeout)
        finally:
            inbox.awake()
            self.woken_at = monotonic()
        if events:
            self.leftovers = None
        elif gives_back:
            give_back_slice(self)
            return
        if events or not watchful:
            self._dispatch(events)
            take_in(self)
            self.patience = FIRST_LOOK
        else:
            look_for_deadlock(self)

    def _run_ready(self, ready: deque[Turn], mark: Mark) -> None:
        while True:
            # The turn gets no name, which would keep a task alive that has long ended.
            request = ready.popleft().switch()
            while request is self:
                carrier = Carrier(self)
                carrier.task, self.starting = self.starting, None
                self.carriers.add(carrier)
                request = carrier.switch()
            if request is mark:
                return

    def _call(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        call_reported(self, callback, args)

    def _dispatch(self, events: list[tuple[int, int]]) -> None:
        """Note what each event says and wake its waiters.

        No greenlet runs in between, so no descriptor of the batch can be closed and its number reused
        before its event is dispatched.  An event for an unknown number is nobody's: after dup and close
        the kernel still names the dead one.
        """
        ready = self.ready
        registrations = self.registrations
        for fd, mask in events:
            registration = registrations.get(fd)
            if registration is None:
                continue
            if mask & READ:
                registration.readable = True
                reader = registration.reader
                if reader is not None and not reader.state:
                    # Waiter.wake without its calls: every request that a server answers comes through here.
                    reader.state = WOKEN
                    ready.append(reader.greenlet)
            writer = registration.writer
            if writer is not None and mask & WRITE:
                writer.wake()
            if mask & RARE:
                registration.hung_up = True
            if registration.crowd is not None:
                registration.wake_crowd(mask)

    def _wake_idle(self) -> bool:
        waiters, self.idle_waiters = self.idle_waiters, []
        # A task that waits for the others to end is itself still live.
        waiting_tasks = sum(isinstance(waiter.greenlet, Carrier) for waiter in self.rest_waiters)
        if self.live <= waiting_tasks:
            waiters += self.rest_waiters
            self.rest_waiters = []
        woken = [waiter.wake() for waiter in waiters]
        return any(woken)


def _root(greenlet: GreenThread) -> GreenThread:
    """The main greenlet of the thread that *greenlet* belongs to."""
    while greenlet.parent is not None:
        greenlet = greenlet.parent
    return greenlet


def _make_thread_hub() -> Hub:
    return Hub(original_threading().current_thread().name)


Factories.hub = _make_thread_hub


def _switch_to_next(ready: deque[Turn]) -> None:
    ready.popleft().switch()


if speedups is not None:
    speedups.connect_waiter(
        Carrier, Registration, Hub, Task, Waiter, _switch_to_next, yield_now, BUDGET, WAITING, WOKEN
    )
    speedups.connect_origin(Task, Carrier, HIDDEN_FILES)
    replace_twins(Hub, speedups.connect_hub(Hub, READ, WRITE, RARE))
    replace_twins(Task, speedups.connect_task(Task, Hub, Inbox, deque))
