"""A hub: one loop on one thread.

*The ready queue* holds what is to run: greenlets to resume and tasks to start; each has a ``switch``
method.  A greenlet that parks takes the next entry and switches to it directly, without passing through
the loop.  The loop's own turn is an entry like any other, the *mark*: whoever takes it switches to the
loop.  So the queue is never empty while a greenlet runs, and a pass is bounded by what was ready when it
began: neither a greenlet that always re-queues itself nor a flood of spawns keeps the loop from its I/O.

*A pass*: run what is ready up to the mark, take in the inbox, fire the timers that are due, poll (without
blocking when something is ready).  A hub with nothing to do first asks without blocking, where that keeps the
GIL; then it sleeps in the poll, which in the main thread any signal ends (see wakeup.py), and takes in at
once what woke it.  Hubs that keep the GIL offer it to each other (see ``_offer_gil``).

*What comes back to the loop*, as the result of a switch: the mark (its turn has come), the hub (no carrier
was free for ``starting``, and only the loop starts new ones), or anything else (a greenlet has ended).

*Threads*: everything here runs on the hub's own thread, except what inbox.py offers to the others.
"""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from greenlet import GreenletExit, greenlet

from .carrier import Carrier
from .current import (
    CREDIT,
    Factories,
    adopt,
    current_greenlet,
    forget_other_threads,
    getcurrent,
    set_thread_hub,
    thread_hub,
)
from .deadlock import FIRST_LOOK, LONGEST_LOOK, describe, nothing_can_wake, remember, remembered
from .descriptor import IN, OUT, RARE, READ, WRITE, Registration
from .errors import LoopExit
from .inbox import Call, Inbox, Waker, make_waker
from .interpreter_exit import rest_if_ending
from .native import HAS_GIL, get_ident, original_threading
from .pollers import Poller, make_poller
from .sections import without_sections
from .speedups import replace_twins, speedups
from .task import MainTask, Task
from .timeout import check_seconds
from .timers import Timers
from .waiter import FAILED, WAITING, Sleep, Waiter, greenlet_of, interrupt
from .wakeup import SignalWaker, in_main_thread

# Free carriers kept for the next tasks.  Each holds about 6 KiB; beyond this a burst's carriers end.
MAX_FREE_CARRIERS = 16_384

# Each time that a hub goes to sleep it lets so many of its free carriers go, down to those that it keeps:
# so the list shrinks, and no sleep is put off by more than a fraction of a millisecond.
RELEASED_PER_SLEEP = 32
KEPT_FREE_CARRIERS = 64

# Seconds.  The pollers take at most 2**31 milliseconds.
LONGEST_POLL = 86_400.0

# Seconds for which a busy hub keeps the GIL before it offers it.  Of 1, 2 and 3 ms, 2 was best for the
# throughput of two and four hubs, on one core and on two.
TURN = 0.002

# Turns of others that the loop may let pass before its own (as tokio's event_interval).
MAX_PASSED_OVER = 32

# How often a task may yield in its ``finally`` blocks when its thread ends.
MAX_LAST_TURNS = 1000


_CORE = os.path.dirname(os.path.abspath(__file__)) + os.sep

# The thread of the hub that was the last to keep the GIL, which guards this.
_gil_keeper = 0


class Mark:
    """The loop's entry in its own ready queue.

    While little is ready, most of the time would go into passes that find nothing: two greenlets that
    wake each other would go through one at every turn.  So the mark may be passed over for a bounded
    number of turns; where many are ready it is not passed over more than once.
    """

    __slots__ = ("loop", "ready", "inbox", "passed_over")

    def __init__(self, loop: greenlet, ready: deque[Any], inbox: Inbox) -> None:
        self.loop: Any = loop
        self.ready = ready
        self.inbox = inbox
        # The very first turn is the one that starts the loop.
        self.passed_over = MAX_PASSED_OVER

    def switch(self) -> Any:
        ready = self.ready
        if ready and self.passed_over < MAX_PASSED_OVER and not self.inbox.queue:
            self.passed_over += len(ready)
            ready.append(self)
            return ready.popleft().switch()
        self.passed_over = 0
        return self.loop.switch(self)


class Hub:
    """One event loop and the greenlets that live on it; there is at most one per OS thread.

    Made by a Runtime for each thread of its pool, and by any other thread when it first has to wait.
    """

    __slots__ = (
        "name",
        "index",
        "thread_id",
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
        "live",
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
        "turn_end",
        "patience",
        "__weakref__",
    )

    def __init__(
        self,
        name: str,
        index: int | None = None,
        poller: Callable[[], Poller] = make_poller,
        in_main_greenlet: bool = False,
    ) -> None:
        self.name = name
        # The hub's number in its pool; None outside one.
        self.index = index
        self.thread_id = get_ident()
        self.loop: Any = getcurrent() if in_main_greenlet else greenlet(self._run_loop)
        self.main: Any = None if in_main_greenlet else _root(getcurrent())
        self.ready: deque[Any] = deque()
        # The task for which the loop is asked to start a carrier.
        self.starting: Task | None = None
        self.timers = Timers()
        self.registrations: dict[int, Registration] = {}
        self.carriers: set[Carrier] = set()
        self.free_carriers: list[Carrier] = []
        self.max_free_carriers = MAX_FREE_CARRIERS
        # Tasks that this hub has accepted and that have not ended; those that nobody waits for at the end.
        self.live = 0
        self.daemons = 0
        # Refuse spawns, and interrupt what starts all the same; let the loop end when no task is left.
        self.stopping = False
        self.ends_at_rest = False
        # Tasks that came in through the inbox since on_rest was last called.
        self.received = 0
        # Called when no task is left but daemons, before the hub goes to sleep.
        self.on_rest: Callable[[], object] | None = None
        # Whoever made the hub for a pool; the core does not look at it.
        self.owner: Any = None
        # Greenlets that wait until nothing is ready, and until nothing is left but themselves.
        self.idle_waiters: list[Waiter] = []
        self.rest_waiters: list[Waiter] = []
        self.on_system_error: Callable[[BaseException], object] = self._throw_into_main
        self.passes = 0
        # When it is to offer the GIL.
        self.turn_end = 0.0
        # How long to sleep before looking whether anything can still wake the main program.
        self.patience = FIRST_LOOK
        self.poller = poller()
        try:
            self.inbox = Inbox(self._open_wakers())
        except BaseException:
            self.poller.close()
            raise
        self.mark = Mark(self.loop, self.ready, self.inbox)
        if not in_main_greenlet:
            # The loop is due first: it has not begun its first pass.
            self.ready.append(self.mark)
        remember(self)
        rest_if_ending()

    def __repr__(self) -> str:
        return f"<Hub {self.name}: {self.live} live, {len(self.ready)} ready>"

    def _open_wakers(self) -> Waker:
        self.signals: SignalWaker | None = None
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

    # The loop.

    def _run_loop(self, first_turn: Mark) -> None:
        """The loop of a plain thread: it ends only with its thread."""
        # What its main greenlet asked for before it first waited is due before that goes on.
        self._take_in(self.inbox.queue)
        while True:
            self._guarded_pass()

    def run_until_stopped(self, before_stop: Callable[[], object] | None = None) -> None:
        """The loop of a pool's hub, in its thread's main greenlet.

        It ends after ``stop``, when every task has ended; *before_stop* then runs as the last one.
        """
        while not (self.stopping and not self.live):
            self._guarded_pass()
        if before_stop is not None:
            # It may wait and spawn like any other task, but no one from outside can any more.
            self.stopping = False
            Task.spawn(before_stop)
            self._run_until_no_task_is_left()
            self.stopping = True
        # What was posted to it last may have started tasks, which call links.
        while self.live or not self.inbox.close_if_empty():
            self._guarded_pass()
        self.close()

    def _run_until_no_task_is_left(self) -> None:
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
            # A signal handler raised while the loop itself was running; the pass may be unfinished.
            # Or it forked, and in the child the loop has come upon what was closed there.
            if self.mark in self.ready:
                self.ready.remove(self.mark)
            if self.starting is not None:
                self.ready.append(self.starting)
                self.starting = None
            # What the poller had to say may be lost: everyone asks the kernel once more.
            self._dispatch([(fd, IN | OUT) for fd in self.registrations])
            if self.inbox.waker is waker or not _found_closed(exception):
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
            self._take_in(inbox.queue)
        timers = self.timers
        deadline: float | None = None
        if timers.heap:
            deadline = timers.next_deadline()
            if deadline is not None and deadline <= (now := monotonic()):
                timers.expire_due(now, self.call)
                deadline = timers.next_deadline()
        if ready or inbox.queue:
            # With nothing registered there is nothing to ask the kernel; the inbox is looked at anyway.
            if self.registrations:
                self._dispatch(self.poller.poll(0))
                if HAS_GIL and self.poller.keeps_gil:
                    self._offer_gil()
            return
        if self.idle_waiters or self.rest_waiters:
            self._dispatch(self.poller.poll(0))
            if ready or self._wake_idle():
                return
        if self.live <= self.daemons:
            if self.received and self.on_rest is not None:
                self.on_rest()
                self.received = 0
            if self.ends_at_rest and not self.live:
                return
        if len(self.free_carriers) > KEPT_FREE_CARRIERS:
            self._release_carriers()
        if self.registrations and self.poller.keeps_gil:
            # A busy hub would else let go of the GIL in every pass, and another hub's thread take it.
            events = self.poller.poll(0)
            if events:
                self._dispatch(events)
                self.patience = FIRST_LOOK
                if HAS_GIL:
                    self._offer_gil()
                return
        timeout = None if deadline is None else min(max(0.0, deadline - monotonic()), LONGEST_POLL)
        watchful = timeout is None and self.main is not None
        if watchful:
            timeout = self.patience
        if inbox.may_sleep():
            if ready:
                # A signal handler came just before it would have found the hub asleep.
                inbox.awake()
                return
            signals = self.signals
            try:
                events = self.poller.poll(timeout) if signals is None else signals.poll(self.poller, timeout)
            finally:
                inbox.awake()
            if events or not watchful:
                self._dispatch(events)
                self._take_in(inbox.queue)
                self.patience = FIRST_LOOK
            else:
                self._look_for_deadlock()

    def _offer_gil(self) -> None:
        """Offer the GIL once in each turn of a busy hub, which CPython would have it give up after 5 ms only.

        On one core another hub takes it: of four busy ones none then waits for 30 ms.  On several it mostly
        comes too late, as its core has to wake up first, and begins to count its 5 ms anew.  So a hub that
        offered it more than once might never be made to give it up; two had turns of a second.
        """
        global _gil_keeper
        if _gil_keeper != self.thread_id:
            _gil_keeper = self.thread_id
            self.turn_end = monotonic() + TURN
        elif monotonic() > self.turn_end:
            self.turn_end = math.inf
            os.sched_yield()

    def _look_for_deadlock(self) -> None:
        self.patience = min(self.patience * 2, LONGEST_LOOK)
        if getattr(self.main, "waiter", None) is not None and nothing_can_wake(self):
            message = f"this wait on {self.name} can never end; parked there:\n{describe(self)}"
            interrupt(self.main, LoopExit(message))

    def _run_ready(self, ready: deque[Any], mark: Mark) -> None:
        while True:
            # Not given a name, which would keep a task alive that has long ended.
            request = ready.popleft().switch()
            while request is self:
                carrier = Carrier(self)
                carrier.task, self.starting = self.starting, None
                self.carriers.add(carrier)
                request = carrier.switch()
            if request is mark:
                return

    def _take_in(self, queue: deque[Any]) -> None:
        ready = self.ready
        for _ in range(len(queue)):
            try:
                item = queue.popleft()
            except IndexError:
                return  # taken back by its poster, or taken in from within the call before it
            if type(item) is Call:
                self.call(item.callback, item.args)
            elif isinstance(item, Task):
                # Posted by accept: counted here, by the thread that owns the count.
                self.live += 1
                self.received += 1
                ready.append(item)
            else:
                ready.append(item)

    def take_in_next(self) -> None:
        """Have the loop take in what was posted before anything else runs on this hub."""
        try:
            self.ready.remove(self.mark)
        except ValueError:
            return  # it is the loop that runs
        self.ready.appendleft(self.mark)

    def call(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Carry out ``callback(*args)``; in the loop."""
        try:
            if args:
                callback(*args)
            else:
                # Without another C frame; so are most timers.
                callback()
        except BaseException as exception:
            # Not let through, also KeyboardInterrupt and SystemExit: the rest of the batch would be lost.
            self.handle_error(callback, exception)

    def _dispatch(self, events: list[tuple[int, int]]) -> None:
        """Note what each event says and make its waiters ready.

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
                if reader is not None:
                    registration.reader = None
                    ready.append(reader)
            writer = registration.writer
            if writer is not None and mask & WRITE:
                registration.writer = None
                ready.append(writer)
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

    def _release_carriers(self) -> None:
        """Let some free carriers end, now that the hub has nothing else to do."""
        free = self.free_carriers
        for _ in range(min(RELEASED_PER_SLEEP, len(free) - KEPT_FREE_CARRIERS)):
            self._end_carrier(free.pop())

    def _end_carrier(self, carrier: Carrier) -> None:
        # It returns at once, with its parent, the loop, as the one to go on.
        carrier.ended = True
        carrier.switch()

    # What others ask of the hub, on its own thread.

    def accept(self, task: Task, seconds: float | None = None) -> bool:
        """Take *task*, to start now or in *seconds*; any thread.

        False, and nothing is done, from the moment at which the hub was told to stop.
        """
        inbox = self.inbox
        with inbox.lock:
            if not inbox.accepting:
                return False
            task.accepted_by(self)
            return inbox.post(task if seconds is None else Call(self._receive_later, task, seconds))

    def _receive_later(self, task: Task, seconds: float) -> None:
        """Take in a task of another thread that is to start in *seconds*."""
        self.live += 1
        self.received += 1
        if self.stopping:
            task.enter()
        else:
            task.enter_later(seconds)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Have the loop call *callback*; for code that runs in a greenlet of this hub."""
        self.inbox.queue.append(Call(callback, *args))

    def look_again(self) -> None:
        """Keep the loop from sleeping on; for what a signal handler may do.

        Python runs it inside the poll, which then goes on with the rest of its timeout.
        """
        if self.inbox.asleep:
            self.inbox.post(Call(int))

    def interrupt_at_start(self, task: Task) -> None:
        """A task that was accepted before the hub was told to stop runs, and ends when it first parks."""
        interrupt(task.carrier, GreenletExit())

    def stop(self) -> None:
        """Refuse new spawns, end what runs, then let the loop end."""
        if self.stopping:
            return
        self.stopping = self.ends_at_rest = True
        for _, _, entry in list(self.timers.heap):
            task = entry.owner
            if isinstance(task, Task):
                # A start_later that is still to come: it was accepted, so it runs, now.
                entry.cancel()
                task.enter()
        for carrier in list(self.carriers):
            if carrier.task is not None:
                if getattr(carrier.waiter, "state", WAITING) != WAITING:
                    # Whoever has claimed its waiter may have been struck by KeyboardInterrupt before the
                    # resume; and a second one does no harm.
                    self.ready.append(carrier)
                interrupt(carrier, GreenletExit())

    def close(self) -> None:
        """Let the free carriers and the descriptors go; every task of the hub has ended."""
        while self.free_carriers:
            self._end_carrier(self.free_carriers.pop())
        self._close_descriptors()
        if thread_hub() is self:
            set_thread_hub(None)

    def thread_ended(self) -> None:
        """The plain thread that this hub belonged to is at its end: every unfinished task gets GreenletExit.

        The loop does not run any more.  So a ``finally`` block that waits all the same never goes on; but
        whoever joins such a task learns that it has ended.
        """
        with self.inbox.lock:
            self.inbox.accepting = False
        self.stopping = True
        self._take_in(self.inbox.queue)
        unstarted = [item for item in self.ready if isinstance(item, Task)]
        unstarted += [task for _, _, entry in self.timers.heap if isinstance(task := entry.owner, Task)]
        resumed = [item for item in self.ready if isinstance(item, Carrier)]
        self.ready.clear()
        self.ready.extend(resumed)
        for task in unstarted:
            task.end_with_thread()
        self._end_carriers()
        # Closed only now: a post that is refused says that every task has ended.
        with self.inbox.lock:
            self.inbox.closed = True
        while self.inbox.queue:
            # The links of what has ended.
            self._take_in(self.inbox.queue)
        self.ready.clear()
        self.timers.clear()
        self._close_descriptors()
        # The loop's frame refers to this hub, and no garbage collector sees through a suspended greenlet.
        self.loop = self.mark.loop = self.main = None

    def _end_carriers(self) -> None:
        here = getcurrent()
        ready = self.ready
        for carrier in self.carriers:
            carrier.parent = here
            if carrier.task is not None:
                interrupt(carrier, GreenletExit())
        for _ in range(MAX_LAST_TURNS):
            if not ready:
                break
            ready.append(here)
            ready.popleft().switch()
        for carrier in list(self.carriers):
            if carrier.task is not None:
                carrier.task.end_with_thread()
        # Suspended, they and this hub refer to each other where no garbage collector sees it.
        free, self.free_carriers = self.free_carriers, []
        for carrier in free:
            self._end_carrier(carrier)
        self.carriers.clear()

    def after_fork(self) -> None:
        """In the child of a fork, on the one thread that is left: only the forking greenlet goes on.

        If that is a signal handler, so does the main program, as which it runs.
        """
        survivors = self._survivors_of_fork()
        # Letting a suspended greenlet go would raise GreenletExit in it, and its ``finally`` blocks belong
        # to the parent.
        _left_behind.append([[*self.ready], [*self.carriers], {**self.registrations}, [*self.timers.heap]])
        for other in (self.main, *self.carriers):
            if other not in survivors:
                _abandon(other)
        # The mark stays if it is there: else the loop runs, or who was struck is just about to switch to it.
        going_on = [*survivors, self.mark]
        turns = [item for item in (*self.ready, *self.inbox.queue) if greenlet_of(item) in going_on]
        # All in place, as the loop may be in the midst of a pass.
        self.ready.clear()
        self.ready.extend(turns)
        self.timers.keep(lambda entry: getattr(entry.owner, "greenlet", None) in survivors)
        self.carriers.intersection_update([*self.free_carriers, *survivors])
        self.live = len(self.carriers) - len(self.free_carriers)
        self.daemons = 0
        for survivor in survivors:
            if hasattr(survivor, "placement"):
                survivor.placement = None
                if getattr(survivor.waiter, "state", WAITING) != WAITING:
                    # The resume after the claim may be another thread's; and a second one does no harm.
                    self.ready.append(survivor)
        self._close_wakers()
        self.poller.reopen()
        self.inbox.after_fork(self._open_wakers())
        for registration in list(self.registrations.values()):
            registration.after_fork(survivors)
        self.on_system_error = self._throw_into_main if self.main is not None else _exit
        if self.main is None:
            # A pool's thread: as any thread that forked, it ends when what it does has ended.
            self.on_rest = self.stop
            self.received = 1

    def _survivors_of_fork(self) -> list[Any]:
        """The forking greenlet and, if that is a signal handler, the main program and what it returns to."""
        survivor = getcurrent()
        survivors = [survivor]
        while hasattr(survivor, "signalnum"):
            # A handler of the green module, in a greenlet of its own above the one that it has struck.
            if isinstance(survivor.parent, Carrier):
                survivor.parent = self.loop
                # The one that stays behind may have taken them from the queue just before it was struck.
                self.ready.extend(turn for turn in (self.mark, self.main) if turn not in self.ready)
            survivor = survivor.parent
            survivors.append(survivor)
        if self.main is not None and (survivor is self.loop or len(survivors) > 1):
            survivors.append(self.main)
        return survivors

    def abandon(self) -> None:
        """In the child of a fork: this is the hub of a thread that does not exist here."""
        _left_behind.append([self.ready, self.carriers, self.registrations, self.timers.heap])
        for suspended in (self.main, *self.carriers):
            _abandon(suspended)
        if not self.inbox.closed:
            self.inbox.after_fork(self.inbox.waker)
            self.inbox.closed = True
            self.inbox.accepting = False
            self._close_descriptors()

    def _close_descriptors(self) -> None:
        for registration in list(self.registrations.values()):
            registration.forget()
        self.registrations.clear()
        self.poller.close()
        self._close_wakers()

    def _close_wakers(self) -> None:
        self.inbox.waker.close()
        if self.signals is not None:
            self.signals.close()

    # Errors.

    def handle_error(self, source: object, exception: BaseException) -> None:
        """Report what nobody handled on stderr; KeyboardInterrupt and SystemExit go to the main program."""
        if isinstance(exception, (KeyboardInterrupt, SystemExit)):
            self.on_system_error(exception)
            return
        stderr = sys.stderr
        if stderr is None:
            return
        # Not at the module's head, where it would take a tenth of the time of importing greenpool.  monkey.py
        # imports it, so where the lock of an import is green it is there.
        import traceback

        try:
            what = source.name if isinstance(source, Task) else repr(source)
            lines = traceback.format_exception(exception)
            # One write, so that reports of several hubs do not mix.
            stderr.write(f"{''.join(lines)}Exception in {what} on hub {self.name}\n\n")
            stderr.flush()
        except Exception:
            # Stderr is closed or its reader gone, so there is nowhere to say it; the hub goes on.
            return

    def _throw_into_main(self, exception: BaseException) -> None:
        if not hasattr(self.main, "interrupts"):
            adopt(self.main)
        interrupt(self.main, exception)

    # Describing.

    def parked(self) -> list[tuple[Any, Task]]:
        """Every parked greenlet of this hub with its task, the main program's first."""
        greenlets: list[Any] = [self.main, *self.carriers]
        return [
            (greenlet, greenlet.task)
            for greenlet in greenlets
            if getattr(greenlet, "waiter", None) is not None
        ]

    def statistics(self) -> dict[str, int]:
        """Counts for monitoring; exact on the hub's own thread, a snapshot from any other."""
        return {
            "live": self.live,
            "ready": len(self.ready),
            "inbox": len(self.inbox.queue),
            "timers": len(self.timers),
            "descriptors": len(self.registrations),
            "carriers": len(self.carriers),
            "free_carriers": len(self.free_carriers),
            "passes": self.passes,
        }


# What a fork leaves suspended for ever in the child.
_left_behind: list[object] = []


def _root(greenlet: Any) -> Any:
    """The main greenlet of the thread that *greenlet* belongs to."""
    while greenlet.parent is not None:
        greenlet = greenlet.parent
    return greenlet


def _exit(exception: BaseException) -> None:
    """A SystemExit or KeyboardInterrupt with no main program left to take it."""
    raise exception


def _abandon(greenlet: Any) -> None:
    """A greenlet that does not exist in this child: no lock or queue may hand anything to it."""
    waiter = getattr(greenlet, "waiter", None)
    if isinstance(waiter, Waiter):
        waiter.state = FAILED
        waiter.value = None


def _found_closed(error: BaseException) -> bool:
    """Whether the core has come upon a closed descriptor, and *error* is not what a signal handler raised."""
    if not isinstance(error, (OSError, ValueError)):
        return False  # KeyboardInterrupt, say, whose standard handler has no frame
    traceback = error.__traceback__
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_CORE):
            return False
        traceback = traceback.tb_next
    return True


def _after_fork_in_child() -> None:
    mine = thread_hub()
    if mine is not None:
        mine.after_fork()
    for hub in remembered():
        if hub is not mine:
            hub.abandon()
    forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _make_thread_hub() -> Hub:
    return Hub(original_threading().current_thread().name)


Factories.hub = _make_thread_hub
Factories.main_task = MainTask


def sleep(seconds: float = 0) -> None:
    """Park the calling greenlet for *seconds*; with 0, only let the others run first (as in gevent)."""
    if seconds == 0:
        yield_now()
        return
    if seconds is None:
        raise TypeError("seconds must be a number, not None")
    check_seconds("seconds", seconds)
    Sleep().park_for(seconds)


@without_sections
def yield_now() -> None:
    """Let every other ready greenlet of this hub run before the calling one goes on."""
    greenlet = current_greenlet()
    if greenlet.interrupts:
        raise greenlet.interrupts.popleft()
    greenlet.credit = CREDIT
    ready = greenlet.hub.ready
    ready.append(greenlet)
    ready.popleft().switch()


def _switch_to_next(ready: deque[Any]) -> None:
    ready.popleft().switch()


if speedups is not None:
    replace_twins(Hub, speedups.connect_core(Carrier, Registration, Hub, Task, _switch_to_next, yield_now))
    replace_twins(Task, speedups.connect_task(Task, Hub, Inbox, deque))
