"""Carriers: the greenlets that tasks run on.

A fresh greenlet maps and unmaps a 16 KiB stack chunk, which is most of the price of a spawn.  So a carrier
outlives its task: it takes the next new task from the ready queue itself, without any switch, or goes to
the hub's free list and waits to be given one.

Between two tasks nothing of the first may remain on the carrier: its context, its pending interrupts, its
credit, its placement, its local variables.  Its exception state ends with the ``except`` clauses of
``Task._execute``, whose frame also held its locals.

A carrier is always *started* by the hub's loop: one greenlet starting another would nest the interpreter's
recursion depth.  Resuming one that has started may be done from any greenlet of the hub.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from greenlet import greenlet

from .current import CREDIT
from .speedups import replace_twins, speedups
from .task import Task

if TYPE_CHECKING:
    from .hub import Hub


class Carrier(greenlet):
    __slots__ = ("hub", "task", "waiter", "interrupts", "thrown", "credit", "placement", "ended")

    def __init__(self, hub: Hub) -> None:
        greenlet.__init__(self, None, hub.loop)
        self.hub = hub
        self.task: Task | None = None
        self.waiter: Any = None
        self.interrupts: deque[BaseException] | tuple[()] = ()
        self.thrown: BaseException | None = None
        self.credit = CREDIT
        self.placement: Any = None
        self.ended = False

    def run(self) -> None:
        """Run ``task`` and what follows until ``ended``; first switched to by the hub's loop."""
        # Not an argument: a greenlet keeps those of its first switch alive as long as it lives.
        hub = self.hub
        ready = hub.ready
        free = hub.free_carriers
        task: Task | None = self.task
        while task is not None:
            if not task.done:
                self.task = task
                task.carrier = self
                self.credit = CREDIT
                self.gr_context = task.context
                task._execute()
                self.interrupts = ()
                if self.placement is not None:
                    self.placement = None
            # Also of a task that was killed before its turn and never ran.  Before the next is taken, as its
            # value may have a finalizer that waits.
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
                # A stray resume (see waiter.py): nobody has given us a task.
                ready.popleft().switch()
            task = self.task
        self.gr_context = None
        hub.carriers.discard(self)


if speedups is not None:
    # Around the twin of the same name: the frames of a carrier take less memory.
    replace_twins(Carrier, speedups.connect_carrier(Carrier))
