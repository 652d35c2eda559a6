"""Carriers: the greenlets that tasks run on.

A fresh greenlet maps and unmaps a 16 KiB stack chunk, which is most of the price of a spawn.  So a carrier
outlives its task: it takes the next new task from the ready queue itself, without any switch, or goes to
the hub's free list and waits to be given one.

Between two tasks nothing of the first may remain on the carrier: its context, its pending interrupts, its
budget, its placement, its local variables.  Its exception state ends with the ``except`` clauses of
``Task._execute``, whose frame also held its locals.

A carrier is always *started* by the hub's loop: one greenlet starting another would nest the interpreter's
recursion depth.  Resuming one that has started may be done from any greenlet of the hub.
"""

from __future__ import annotations

from greenlet import greenlet

from .current import BUDGET
from .interrupts import Interrupts
from .speedups import replace_twins, speedups
from .state import HubState, HubTask, Placement, PooledCarrier, Wait
from .task import Task

# Free carriers that a hub keeps when it goes to sleep.  Each sleep lets at most RELEASED_PER_SLEEP of the
# others go: so the list shrinks, and no sleep is put off by more than a fraction of a millisecond.  A hub
# that rests lets go of the remaining ones (see memory.py).
KEPT_FREE_CARRIERS = 64
RELEASED_PER_SLEEP = 32


class Carrier(greenlet):
    __slots__ = (
        "hub",
        "task",
        "waiter",
        "parked_at",
        "interrupts",
        "budget",
        "placement",
        "thread_state",
        "ended",
    )

    def __init__(self, hub: HubState) -> None:
        greenlet.__init__(self, None, hub.loop)
        self.hub = hub
        self.task: HubTask | None = None
        self.waiter: Wait | None = None
        self.parked_at = 0.0
        self.interrupts: Interrupts | tuple[()] = ()
        self.budget = BUDGET
        self.placement: Placement | None = None
        self.thread_state: object = None
        self.ended = False

    def run(self) -> None:
        """Run ``task`` and what follows until ``ended``; first switched to by the hub's loop."""
        # The hub is no argument, because a greenlet keeps those of its first switch alive as long as it
        # lives.
        hub = self.hub
        ready = hub.ready
        free = hub.free_carriers
        task = self.task
        while task is not None:
            if not task.done:
                self.task = task
                task.carrier = self
                self.budget = BUDGET
                self.gr_context = task.context
                if hub.swap is not None:
                    hub.swap.begin(task)
                task._execute()
                if hub.swap is not None:
                    hub.swap.end()
                self.interrupts = ()
                if self.placement is not None:
                    self.placement = None
            # Let go of the task before the next is taken, because its value may have a finalizer that waits.
            # This holds for a task that was killed before its turn and never ran, too.
            self.task = task = None
            following = ready.popleft()
            if isinstance(following, Task):
                task = following
                continue
            if len(free) >= hub.max_free_carriers:
                ready.appendleft(following)
                break
            self.gr_context = None
            free.append(self)
            following.switch()
            while self.task is None and not self.ended:
                # A stray resume (see waiter.py) brings no task.
                ready.popleft().switch()
            task = self.task
        self.gr_context = None
        hub.carriers.discard(self)
        hub.ended_carriers += 1


def end_carrier(carrier: PooledCarrier) -> None:
    """End a free carrier.  It returns at once, with its parent, the loop, as the one to go on."""
    carrier.ended = True
    carrier.switch()


def release_carriers(free: list[PooledCarrier]) -> None:
    """Let some *free* carriers end, while their hub has nothing else to do."""
    for _ in range(min(RELEASED_PER_SLEEP, len(free) - KEPT_FREE_CARRIERS)):
        end_carrier(free.pop())


if speedups is not None:
    # Around the twin of the same name: the frames of a carrier take less memory.
    replace_twins(Carrier, speedups.connect_carrier(Carrier))
