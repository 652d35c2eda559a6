"""An end that has to wait for greenlets which never park says so, and does not just stand still.

*Threads*: any thread may wait for an end.  What is read of a hub is a hint; the next look corrects it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .current import remembered
from .deadlock import idle_threads
from .fork import at_fork
from .native import Lock, get_ident, start_new_thread
from .state import HubState

# Seconds for which an end waits before it says for which greenlets.
QUIET_END = 1.0

# The threads of ``late_end_watched``, each with its lock.
_watching: dict[int, object] = {}


class LateEnd:
    """Says for which greenlets the end of *what* waits, once for each of the *hubs*."""

    def __init__(self, what: str, hubs: Callable[[], Iterable[HubState]]) -> None:
        self._what = what
        self._hubs = hubs
        self._seconds = 0.0
        self._passes = {hub: hub.passes for hub in hubs()}
        self._reported: set[HubState] = set()

    def look(self) -> bool:
        """Called after each QUIET_END seconds of waiting; returns whether another look may find something."""
        self._seconds += QUIET_END
        passes = {hub: hub.passes for hub in self._hubs()}
        for hub, count in passes.items():
            # If a hub sleeps or goes on, a greenlet waits or yields in a ``finally`` block.
            is_stuck = self._passes.get(hub) == count and not hub.inbox.asleep and not hub.inbox.closed
            if is_stuck and hub not in self._reported:
                # Imported here, because few programs need it.
                from .stall_watch import report_late_end

                self._reported.add(hub)
                report_late_end(self._what, hub, self._seconds)
        self._passes = passes
        return any(not hub.inbox.asleep and not hub.inbox.closed for hub in passes)


@contextmanager
def late_end_watched(what: str) -> Iterator[None]:
    """While the block waits for the end of *what*, say for which greenlets that do not park.

    A real thread looks, because the block may be on the hub that is kept.
    """
    over = Lock()
    over.acquire()
    start_new_thread(_watch, (LateEnd(what, remembered), over))
    try:
        yield
    finally:
        over.release()


def _watch(end: LateEnd, over: Any) -> None:
    _watching[get_ident()] = over
    try:
        while not over.acquire(timeout=QUIET_END):
            end.look()
    finally:
        _watching.pop(get_ident(), None)


# They wake nobody.
idle_threads.append(_watching.copy)
at_fork("late ends", in_child=_watching.clear)
