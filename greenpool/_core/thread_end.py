"""How a hub ends: it is told to stop, or its plain thread ends; then its descriptors are closed.

All of this runs on the hub's own thread, except ``ask_to_stop``.
"""

from __future__ import annotations

from greenlet import GreenletExit

from .carrier import Carrier, end_carrier
from .current import Factories, getcurrent, set_thread_hub, thread_hub
from .intake import take_in
from .state import HubState
from .task import Task
from .waiter import WAITING, interrupt

# How often a task may yield in its ``finally`` blocks when its thread ends.
MAX_LAST_TURNS = 1000


# Told to stop.


def ask_to_stop(hub: HubState) -> None:
    """Have *hub* refuse spawns from now on, end what it runs, and then its loop; any thread."""
    with hub.inbox.lock:
        hub.inbox.accepting = False
        hub.post(stop, hub)


def stop(hub: HubState) -> None:
    """Refuse new spawns, end what runs, then let the loop end."""
    if hub.stopping:
        return
    hub.stopping = hub.ends_at_rest = True
    for _, _, entry in list(hub.timers.heap):
        task = entry.owner
        if isinstance(task, Task):
            # A start_later that is still to come: it was accepted, so it runs, now.
            entry.cancel()
            task.enter()
    for carrier in list(hub.carriers):
        if carrier.task is not None:
            if getattr(carrier.waiter, "state", WAITING) != WAITING:
                # KeyboardInterrupt may have come between the claim of its waiter and the resume.  A second
                # resume does no harm.
                hub.ready.append(carrier)
            interrupt(carrier, GreenletExit())


def close(hub: HubState) -> None:
    """Let the free carriers and the descriptors go; every task of the hub has ended."""
    while hub.free_carriers:
        end_carrier(hub.free_carriers.pop())
    hub.close_descriptors()
    if thread_hub() is hub:
        set_thread_hub(None)


# The end of a plain thread.


def thread_ended(hub: HubState) -> None:
    """The plain thread of *hub* is at its end: every unfinished task gets GreenletExit.

    The loop does not run any more.  A ``finally`` block that waits all the same therefore never goes on; but
    a join of such a task learns that it has ended.
    """
    hub.refuse_spawns()
    hub.stopping = True
    take_in(hub)
    unstarted = [item for item in hub.ready if isinstance(item, Task)]
    unstarted += [task for _, _, entry in hub.timers.heap if isinstance(task := entry.owner, Task)]
    resumed = [item for item in hub.ready if isinstance(item, Carrier)]
    hub.ready.clear()
    hub.ready.extend(resumed)
    for task in unstarted:
        task.end_with_thread()
    _end_carriers(hub)
    # Closed only now: a post that is refused says that every task has ended.
    with hub.inbox.lock:
        hub.inbox.closed = True
    while hub.inbox.queue:
        # The links of what has ended.
        take_in(hub)
    hub.ready.clear()
    hub.timers.clear()
    hub.close_descriptors()
    # The loop's frame refers to this hub, and no garbage collector sees through a suspended greenlet.
    hub.mark.loop = None
    hub.loop = hub.main = hub.swap = None


def _end_carriers(hub: HubState) -> None:
    here = getcurrent()
    ready = hub.ready
    for carrier in hub.carriers:
        carrier.parent = here
        if carrier.task is not None:
            interrupt(carrier, GreenletExit())
    for _ in range(MAX_LAST_TURNS):
        if not ready:
            break
        ready.append(here)
        ready.popleft().switch()
    for carrier in list(hub.carriers):
        if carrier.task is not None:
            carrier.task.end_with_thread()
    # Suspended, they and the hub refer to each other where no garbage collector sees it.
    free, hub.free_carriers = hub.free_carriers, []
    for carrier in free:
        end_carrier(carrier)
    hub.carriers.clear()


Factories.thread_ended = thread_ended
