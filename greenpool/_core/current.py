"""Which greenlet, task and hub is this code running in.

Every greenlet that can wait carries the same few attributes: ``hub``, ``task``, ``waiter`` (what it is
parked on), ``interrupts`` (exceptions to raise when it parks next), ``thrown`` (the one to raise now),
``credit`` (socket operations left before it has to yield) and ``placement`` (where its spawns go; None is
its own hub).  ``interrupts`` is asked for its truth each time the greenlet parks; cancel scopes rely on it.
It is an empty tuple until there is one: an empty deque is 600 bytes, and most greenlets never have any.
Carriers have them as slots.  A thread's main greenlet, and any raw ``greenlet.greenlet``
that user code made, gets them when it first needs them: it is *adopted*.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import greenlet as _greenlet

from .native import get_ident

if TYPE_CHECKING:
    from .hub import Hub

# The attributes above are not part of greenlet's own type.
getcurrent = cast("Callable[[], Any]", _greenlet.getcurrent)

# At the end of each thread that has used greenlets, greenlet 2.0 and newer has the garbage collector look
# through all objects for references to that thread's main greenlet, while every other hub stands still: 53 ms
# with a million objects, and 3 ms without.  What it would clean up, Hub.thread_ended leaves none of.  (And
# where only the running frame of another thread has a reference, it takes that away: a crash.)
if hasattr(_greenlet._greenlet, "enable_optional_cleanup"):
    _greenlet._greenlet.enable_optional_cleanup(False)

# The greenlet of the main program, if that is what imports this.
_main_greenlet: Any = getcurrent() if threading.current_thread() is threading.main_thread() else None
while _main_greenlet is not None and _main_greenlet.parent is not None:
    _main_greenlet = _main_greenlet.parent


def finalizing_greenlet(is_finalizing: Callable[[], bool] = sys.is_finalizing) -> Any:
    """What stands for ``getcurrent()`` once that has raised RuntimeError.

    greenlet does so while the interpreter is finalized.  Finalizers of the standard library still take and
    release locks then, look at locals and wait for children, all on one thread, and need not be told that
    they are late; only what would have to park fails.
    """
    if not is_finalizing():
        raise  # noqa: PLE0704 - called where the RuntimeError is handled
    return _main_greenlet


# Socket operations that a greenlet may do in a row without parking, as tokio's coop budget.
CREDIT = 128


# The hub of each OS thread by the thread's identifier.  A thread reads and writes its own entry only.  Not in
# a threading.local: at a thread's end, where its hub ends its greenlets, CPython without the GIL hangs at a
# look at one, as it holds the lock of the dictionary that it lies in.
_hubs: dict[int, Hub] = {}

# What ends the hub of a plain thread together with the thread.  Each thread has a local object of its own:
# CPython without the GIL holds the lock of the dictionary behind it for as long as the hub ends.  If threads
# waited for one such lock while the interpreter is finalized, the process would hang.
_ends: dict[int, threading.local] = {}


class Factories:
    """Set by hub.py, which knows how; the core's modules import downwards only."""

    hub: Callable[[], Hub]
    main_task: Callable[[Any, Hub], object]


class _HubEnd:
    """Lives in the thread's local storage and closes the hub when the thread ends."""

    __slots__ = ("hub",)

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def __del__(
        self,
        is_finalizing: Callable[[], bool] = sys.is_finalizing,
        get_ident: Callable[[], int] = get_ident,
    ) -> None:
        # At the interpreter's own end the modules may be gone already, and the process takes the rest.
        # In the child of a fork CPython lets the other threads' storage go before any hook has run: the
        # hub's lock may be held by one of them for ever.  Hub.abandon comes later and needs none.
        thread = get_ident()
        if not is_finalizing() and self.hub.thread_id == thread:
            self.hub.thread_ended()
            if _hubs.get(thread) is self.hub:
                del _hubs[thread]
                del _ends[thread]


def thread_hub() -> Hub | None:
    """The hub of the calling thread, or None while it has none."""
    return _hubs.get(get_ident())


def set_thread_hub(hub: Hub | None, close_with_thread: bool = False) -> None:
    thread = get_ident()
    if hub is None:
        _hubs.pop(thread, None)
    else:
        _hubs[thread] = hub
    if hub is not None and close_with_thread:
        end = threading.local()
        end.hub_end = _HubEnd(hub)
        _ends[thread] = end
    else:
        _ends.pop(thread, None)


def current_hub() -> Hub:
    """The hub of the calling thread, made now if it has none yet."""
    hub = _hubs.get(get_ident())
    if hub is None:
        hub = Factories.hub()
        set_thread_hub(hub, close_with_thread=True)
    return hub


def cannot_park(is_finalizing: Callable[[], bool] = sys.is_finalizing) -> bool:
    """Whether the caller has to block: a finalizer at the interpreter's end, or what runs in a hub's loop."""
    if is_finalizing():
        return True
    hub = thread_hub()
    return hub is not None and getcurrent() is hub.loop


def forget_other_threads() -> None:
    """In the child of a fork, where the identifiers of the threads that are gone may be given out anew."""
    own = get_ident()
    for thread in list(_hubs):
        if thread != own:
            del _hubs[thread]
            _ends.pop(thread, None)


def adopt(greenlet: Any) -> Any:
    """Give a main or raw greenlet what it needs to wait on its thread's hub; returns it."""
    hub = current_hub()
    if greenlet is hub.loop:
        raise RuntimeError(
            f"{hub!r} cannot wait in its own loop: callbacks and rawlinks must not block; "
            "spawn a greenlet for what waits"
        )
    greenlet.hub = hub
    greenlet.waiter = None
    greenlet.interrupts = ()
    greenlet.thrown = None
    greenlet.credit = CREDIT
    greenlet.placement = None
    greenlet.task = Factories.main_task(greenlet, hub)
    return greenlet


def current_greenlet() -> Any:
    """The calling greenlet, adopted if need be."""
    greenlet = getcurrent()
    try:
        greenlet.hub  # noqa: B018 - the question is whether it is there
    except AttributeError:
        adopt(greenlet)
    return greenlet
