"""Taking in what others have posted to a hub's inbox; on the hub's own thread."""

from __future__ import annotations

from .error_report import call_reported
from .inbox import Call
from .state import HubState
from .task import Task


def take_in(hub: HubState) -> None:
    """Carry out what others have posted: calls at once, tasks and greenlets by way of the ready queue."""
    ready = hub.ready
    queue = hub.inbox.queue
    for _ in range(len(queue)):
        try:
            item = queue.popleft()
        except IndexError:
            return  # its poster has taken it back, or the call before it has taken it in
        if type(item) is Call:
            call_reported(hub, item.callback, item.args)
        elif isinstance(item, Task):
            # Posted by accept, and counted here, by the thread that owns the count.
            hub.live += 1
            hub.spawned += 1
            hub.received += 1
            ready.append(item)
        else:
            hub.remote_wakes += 1
            ready.append(item)
