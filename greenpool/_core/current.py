"""Which greenlet, task and hub this code runs in; and the one registry of hubs.

Every greenlet that can wait carries the attributes that ``state.GreenThread`` names.  Carriers have them as
slots.  The main greenlet of a thread, and any raw ``greenlet.greenlet`` that user code made, gets them when
it first needs them: it is *adopted*.
"""

from __future__ import annotations

import sys
import threading
from _weakrefset import WeakSet
from collections.abc import Callable
from os import getpid

import greenlet as _greenlet

from .native import Lock, get_ident, local
from .state import GreenThread, HubState, HubTask, Placement
from .typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

# A greenlet that was not adopted yet lacks the attributes of a GreenThread.
getcurrent = cast("Callable[[], GreenThread]", _greenlet.getcurrent)

# At the end of each thread that has used greenlets, greenlet 2.0 and newer has the garbage collector look
# through all objects for references to that thread's main greenlet, while every other hub stands still: 53 ms
# with a million objects, and 3 ms without.  thread_end.py leaves nothing for it to clean up.  (And where only
# the running frame of another thread holds a reference, greenlet takes that away: a crash.)
if hasattr(_greenlet._greenlet, "enable_optional_cleanup"):
    _greenlet._greenlet.enable_optional_cleanup(False)

# The greenlet of the main program, if the main program is what imports this.
_main_greenlet: Any = getcurrent() if threading.current_thread() is threading.main_thread() else None
while _main_greenlet is not None and _main_greenlet.parent is not None:
    _main_greenlet = _main_greenlet.parent

# Socket operations that a greenlet may do in a row without parking, as tokio's coop budget.
BUDGET = 128


# The hub of each OS thread by the thread's identifier.  A thread reads and writes its own entry only.  A
# threading.local cannot hold it: on free-threaded CPython, reading one while its thread's storage is
# destroyed deadlocks, and a hub ends its greenlets at that moment.
_hubs: dict[int, HubState] = {}

# Every hub that there is, for those that look at all of them.
_every_hub: WeakSet[HubState] = WeakSet()
_every_hub_lock = Lock()

# Ends the hub of a plain thread together with the thread.  Each thread has a local object of its own,
# because free-threaded CPython holds the lock of that object's dictionary while the hub ends.  If threads
# waited for one such lock while the interpreter is finalized, the process would hang.
_ends: dict[int, local] = {}


class Factories:
    """Set by hub.py and task.py, which know how, because the core's imports point down only."""

    hub: Callable[[], HubState]
    main_task: Callable[[GreenThread, HubState], HubTask]
    thread_ended: Callable[[HubState], object]
    # What a running frame waits for, if that is a known call of the standard library; set by greenpool.hub.
    describe_call: Callable[[FrameType], str] | None = None


class _HubEnd:
    """Lives in the thread's local storage and closes the hub when the thread ends."""

    __slots__ = ("hub",)

    def __init__(self, hub: HubState) -> None:
        self.hub = hub

    def __del__(
        self,
        is_finalizing: Callable[[], bool] = sys.is_finalizing,
        get_ident: Callable[[], int] = get_ident,
    ) -> None:
        # At the interpreter's own end the modules may be gone already, and the process takes the rest.
        # In the child of a fork CPython destroys the storage of the other threads before any hook has run.
        # One of them may hold the hub's lock for ever, so fork.py, which needs no lock, ends those hubs.
        thread = get_ident()
        if not is_finalizing() and self.hub.thread_id == thread:
            Factories.thread_ended(self.hub)
            if _hubs.get(thread) is self.hub:
                del _hubs[thread]
                del _ends[thread]


def finalizing_greenlet(is_finalizing: Callable[[], bool] = sys.is_finalizing) -> GreenThread:
    """What stands for ``getcurrent()`` once that has raised RuntimeError.

    greenlet does so while the interpreter is finalized.  Finalizers of the standard library still take and
    release locks then, look at locals and wait for children, all on one thread.  They need not be told that
    they are late; only a call that would have to park fails.
    """
    if not is_finalizing():
        raise  # noqa: PLE0704 - called where the RuntimeError is handled
    main: GreenThread = _main_greenlet
    return main


# The registry.


def thread_hub() -> HubState | None:
    """The hub of the calling thread, or None while it has none."""
    return _hubs.get(get_ident())


def current_owner() -> object:
    """The pool that the calling thread's hub belongs to; None if that hub, or the thread, has none."""
    hub = thread_hub()
    return None if hub is None else hub.owner


def set_thread_hub(hub: HubState | None, close_with_thread: bool = False) -> None:
    """Make *hub* the hub of the calling thread."""
    thread = get_ident()
    if hub is None:
        _hubs.pop(thread, None)
    else:
        _hubs[thread] = hub
    if hub is not None and close_with_thread:
        end = local()
        end.hub_end = _HubEnd(hub)
        _ends[thread] = end
    else:
        _ends.pop(thread, None)


def current_hub() -> HubState:
    """The hub of the calling thread, made now if it has none yet."""
    hub = _hubs.get(get_ident())
    return _make_hub() if hub is None else hub


def _make_hub() -> HubState:
    """Make the calling thread's hub.

    A signal handler may run before the hub is known.  If it waits, it makes the thread's hub itself.  If it
    forks, fork.py knows nothing of the hub in the making, which in the child has its parent's poller.
    """
    thread = get_ident()
    while True:
        process = getpid()
        try:
            made = Factories.hub()
        except OSError:
            if getpid() == process:
                raise
            continue  # the parent's wakers are in that poller
        hub = _hubs.setdefault(thread, made)
        if hub is made and hub.process == getpid():
            set_thread_hub(hub, close_with_thread=True)
            return hub
        if not made.inbox.closed:
            made.inbox.closed = True
            made.close_descriptors()
        if hub is not made:
            return hub
        del _hubs[thread]


# For threads that run no hub of their own: where spawns in their main program go.
_placements: dict[int, Placement] = {}


def thread_placement() -> Placement | None:
    """Where the spawns of the calling thread's main program go; None is the thread's own hub."""
    return _placements.get(get_ident())


def set_thread_placement(placement: Placement | None) -> None:
    """Have *placement* take all that the calling thread's main program spawns; None undoes it."""
    if placement is None:
        _placements.pop(get_ident(), None)
    else:
        _placements[get_ident()] = placement


# Called with each new hub, on its thread, while the hubs are recorded.
at_new_hub: list[Callable[[HubState], object]] = []


def remember(hub: HubState) -> None:
    """Enter a new hub, that of the calling thread, into the list of all hubs."""
    with _every_hub_lock:
        _every_hub.add(hub)
    for look in at_new_hub:
        look(hub)


def remembered() -> list[HubState]:
    """Every hub that there is, closed ones too, as long as something refers to them; any thread."""
    with _every_hub_lock:
        return list(_every_hub)


def open_hubs() -> list[HubState]:
    """Every hub that has not ended; any thread."""
    return [hub for hub in remembered() if not hub.inbox.closed]


def forget_other_threads() -> None:
    """In the child of a fork, where the identifiers of the threads that are gone may be given out anew."""
    own = get_ident()
    for thread in list(_hubs):
        if thread != own:
            del _hubs[thread]
            _ends.pop(thread, None)
    for thread in list(_placements):
        if thread != own:
            del _placements[thread]


def renew_registry_lock() -> None:
    """In the child of a fork, where a thread that is gone may hold it."""
    global _every_hub_lock
    _every_hub_lock = Lock()


# The calling greenlet.


def cannot_park(is_finalizing: Callable[[], bool] = sys.is_finalizing) -> bool:
    """Whether the caller has to block: a finalizer at the interpreter's end, or code in a hub's loop."""
    if is_finalizing():
        return True
    hub = thread_hub()
    return hub is not None and getcurrent() is hub.loop


def adopt(greenlet: GreenThread) -> GreenThread:
    """Give a main or raw greenlet what it needs to wait on its thread's hub; returns it."""
    hub = current_hub()
    if greenlet is hub.loop:
        raise RuntimeError(
            f"{hub!r} cannot wait in its own loop: callbacks and rawlinks must not block; "
            "spawn a greenlet for code that waits"
        )
    greenlet.hub = hub
    greenlet.waiter = None
    greenlet.parked_at = 0.0
    greenlet.interrupts = ()
    greenlet.budget = BUDGET
    greenlet.placement = thread_placement()
    greenlet.task = Factories.main_task(greenlet, hub)
    return greenlet


def current_greenlet() -> GreenThread:
    """The calling greenlet, adopted if need be."""
    greenlet = getcurrent()
    try:
        greenlet.hub  # noqa: B018 - the question is whether it is there
    except AttributeError:
        adopt(greenlet)
    return greenlet
