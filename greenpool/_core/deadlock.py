"""Telling a deadlock from a long wait.

A plain thread's hub whose main program waits, with no timer, no descriptor and nothing ready, can only be
woken by another thread or by a signal handler.  If there is neither, the main program waits for ever.  Then
it gets a LoopExit that lists the parked greenlets of all hubs, and what each waits for (see waits.py).
The same holds for a main program that waits in ``run`` or ``block_on``, or for a greenlet of a pool.

*Nothing can wake it* if every other Python thread is *at rest*, there is no thread of which Python knows
nothing, and no Python signal handler is installed but those for Ctrl-C.  At rest are

- a hub that sleeps in its poller, with nothing in its inbox, no timer, and no greenlet that waits for I/O.
  Its greenlets, if it has any, are all parked then, because a hub sleeps only when none is ready
- an idle thread of a pool of workers, which waits for its next call (see ``idle_threads``), even if a call
  has left it a hub: that runs within calls only.

*All at one moment.*  The threads are looked at one after the other, in two rounds.  Each look gives a token,
and a thread gets another token each time that it comes to rest.  A thread with the same token in both rounds
has rested from the first to the second.  So all of them rested at the moment between the two rounds, and a
thread that rests is woken only by one that does not.  The token of a hub is the number of its pass: a pass
sleeps at most once, and what was taken in after a sleep runs while the hub is not marked as asleep.  The lock
of its inbox keeps posts out of a look.

A hub looks only after it has slept a while (``FIRST_LOOK`` seconds, then twice as long each time), so a wait
that another thread ends soon costs nothing.  Most looks end at the first thread that does not rest.

*Threads*: a look runs on the thread of the hub that looks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from . import PACKAGE
from .current import open_hubs
from .errors import LoopExit
from .native import current_frames, get_ident
from .state import HubState, Wait

FIRST_LOOK = 0.25
LONGEST_LOOK = 4.0


# Each returns the identifiers of threads that rest outside of a hub's loop, with a token for each.
# _fd/workers.py has an entry here, because the core's imports point down only.
idle_threads: list[Callable[[], Mapping[int, object]]] = []


def look_for_deadlock(hub: HubState) -> None:
    """Raise LoopExit in the main program of *hub*, if nothing can wake that any more; on the hub's thread.

    Called after *hub* has slept for its ``patience``, with no timer and no event.
    """
    hub.patience = min(hub.patience * 2, LONGEST_LOOK)
    waiter: Wait | None = getattr(hub.main, "waiter", None)
    if waiter is not None and nothing_can_wake(hub):
        # This costs an import that few programs need, and a program whose threads all rest has the time.
        from .waits import describe_all

        text = f"this wait on {hub.name} can never end; parked:\n{describe_all(hub)}"
        # Meanwhile a finalizer may have run here and woken something.
        if not hub.ready and not hub.inbox.queue:
            waiter.throw(LoopExit(text))


def nothing_can_wake(hub: HubState) -> bool:
    """True if *hub*, which is about to sleep on its own thread, would never wake."""
    if _waits_for_io(hub) or hub.timers.can_wake():
        return False
    first = _threads_at_rest()
    return (
        first is not None
        and not _has_signal_handlers()
        and not _has_foreign_threads(len(first) + 1)
        and first == _threads_at_rest()
        and not hub.inbox.queue
    )


def _threads_at_rest() -> dict[int, object] | None:
    """A token of each Python thread but the calling one; None if one of them is not at rest."""
    hubs = {hub.thread_id: hub for hub in open_hubs()}
    idle = {thread: token for find in idle_threads for thread, token in find().items()}
    tokens: dict[int, object] = {}
    own = get_ident()
    for thread in current_frames():
        if thread != own:
            token = idle.get(thread)
            hub = hubs.get(thread)
            if token is None and hub is not None:
                token = _pass_at_rest(hub)
            if token is None:
                return None
            tokens[thread] = token
    return tokens


def _pass_at_rest(hub: HubState) -> int | None:
    """The number of the pass in which *hub*, that of another thread, sleeps; None if it is not at rest."""
    with hub.inbox.lock:
        sleeping = hub.passes
        if (
            hub.inbox.asleep
            and not hub.inbox.queue
            # A finalizer may have run just before the hub would have found it asleep.
            and not hub.ready
            and not hub.timers.heap
            and not _waits_for_io(hub)
            and hub.passes == sleeping
        ):
            return sleeping
    return None


def _waits_for_io(hub: HubState) -> bool:
    return any(registration.waiters() for registration in list(hub.registrations.values()))


def _has_foreign_threads(known: int) -> bool:
    """Whether the process has more threads than the *known* ones.

    C code may have started one, and it may call Python code later.  A thread that Python code has just
    started is not known, either, as long as it has not run.  Only Linux tells.
    """
    try:
        return len(os.listdir("/proc/self/task")) > known
    except OSError:
        return False


def _has_signal_handlers() -> bool:
    # The public module, because the green getsignal takes a program's handler out of its wrapper.  It makes
    # enums, which would take a twentieth of the time of importing greenpool, so it is imported here.
    import signal

    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if not callable(handler) or handler is signal.default_int_handler:
            continue
        code = getattr(handler, "__code__", None)
        if code is None or not code.co_filename.startswith(PACKAGE):
            return True
    return False
