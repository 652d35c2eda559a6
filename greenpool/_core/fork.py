"""Fork: one ordered table of what runs around it, and what becomes of the hubs in the child.

*The child* has one thread, the one that forked, and on its hub only the greenlet that forked goes on.  All
other greenlets, of this hub and of every other, belong to the parent: here they are abandoned, and never let
go of, because the end of a suspended greenlet would run its ``finally`` blocks.

*A signal handler that forks* and returns in the child runs as the main program, so there the main program
goes on as well, with its timers, its turn in the ready queue and what it waits to read.  The handler may have
interrupted the hub between any two bytecodes, so everything it may be using is changed in place: the ready
queue, the poller, the table of registrations.  Only a call that was waiting in the kernel fails
(``forked_within``), and the loop takes that for what it is.  signal_handler.py marks a handler's greenlet
with ``signalnum``; all the rest of this support is here.

*The end of the child.*  If no main program goes on there, the process ends when the greenlet that forked and
all that it has started have ended, as it ends in CPython when the thread that forked returns.

*Threads*: everything below runs on the thread that forks, the hooks in the child after every other thread is
gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from .carrier import Carrier
from .current import adopt, forget_other_threads, getcurrent, remembered, renew_registry_lock, thread_hub
from .descriptor import renew_descriptor_locks
from .handler_call import run_handlers_as, running_handlers
from .inbox import Call
from .native import get_ident, original_threading
from .state import GreenThread, HubState, Registered
from .task import renew_task_locks
from .waiter import ABANDONED, WAITING, abandon, interrupt

Hook = Callable[[], object]

# Seconds between two looks at the real threads that the end of a child waits for.
LOOK = 0.01

# The order in the child and in the parent; before the fork it is the opposite.  The locks come first, because
# all else takes them, then the hubs, because the other hooks look at the surviving one.
ORDER = (
    "core locks",
    "hubs",
    "descriptors",  # locks of reading and writing
    "openings",  # greenlets that wait for the other end of a FIFO
    "sockets",
    "idents",
    "children",  # threads that wait for child processes
    "watched children",
    "signals",
    "signal masks",
    "green threads",
    "workers",  # threads of thread pools
    "runtimes",
    "asyncio",
    "executors",  # the lock of concurrent.futures, in a patched program
    "exit",  # the interpreter's end
    "stall watch",
    "recorder",
    "late ends",
    "console",
)


# What each name has entered: before the fork, in the parent and in the child after it.
_table: dict[str, tuple[Hook | None, Hook | None, Hook | None]] = {}


def at_fork(
    name: str, *, before: Hook | None = None, in_parent: Hook | None = None, in_child: Hook | None = None
) -> None:
    """Enter hooks under *name*, one of ORDER, in the place of those that it has."""
    if name not in ORDER:
        raise ValueError(f"name must be one of {', '.join(ORDER)}, not {name!r}")
    _table[name] = (before, in_parent, in_child)


def _before() -> None:
    _run([_table[name][0] for name in reversed(ORDER) if name in _table])


def _in_parent() -> None:
    _run([_table[name][1] for name in ORDER if name in _table])


def _in_child() -> None:
    _run([_table[name][2] for name in ORDER if name in _table])


def _run(hooks: list[Hook | None]) -> None:
    """Call all *hooks*, whatever one of them raises, and raise the first exception at the end."""
    first: BaseException | None = None
    for hook in hooks:
        if hook is not None:
            try:
                hook()
            except BaseException as exception:
                first = first or exception
    if first is not None:
        raise first


# The core's own hooks.


def _renew_core_locks() -> None:
    renew_task_locks()
    renew_registry_lock()
    renew_descriptor_locks()


def _inherit_hubs() -> None:
    mine = thread_hub()
    if mine is not None:
        _inherit(mine)
    for hub in remembered():
        if hub is not mine:
            _forget(hub)
    forget_other_threads()


# The greenlets that a fork leaves suspended for ever in the child.
_left_behind: list[object] = []


def _forget(hub: HubState) -> None:
    """This is the hub of a thread that does not exist here."""
    _left_behind.append([hub.ready, hub.carriers, hub.registrations, hub.timers.heap])
    for suspended in (hub.main, *hub.carriers):
        abandon(suspended)
    if not hub.inbox.closed:
        hub.inbox.after_fork(hub.inbox.waker)
        hub.inbox.closed = True
        hub.inbox.accepting = False
        hub.close_descriptors()


def _inherit(hub: HubState) -> None:
    """Keep of the forking thread's *hub* what goes on in the child."""
    hub.process = os.getpid()
    survivors = _survivors(hub)
    _left_behind.append([[*hub.ready], [*hub.carriers], {**hub.registrations}, [*hub.timers.heap]])
    for other in (hub.main, *hub.carriers):
        if other not in survivors:
            abandon(other)
    # The mark stays if it is there, and so does the loop that a handler has interrupted.
    going_on = [*survivors, hub.mark, hub.loop]
    turns = [
        item for item in (*hub.ready, *hub.inbox.queue) if not isinstance(item, Call) and item in going_on
    ]
    if getcurrent() is not hub.loop and hub.mark not in turns and hub.loop not in turns:
        # A handler has interrupted a greenlet that was about to switch to the loop.
        turns.append(hub.mark)
    # Changed in place, because the loop may be in the midst of a pass.
    hub.ready.clear()
    hub.ready.extend(turns)
    hub.timers.keep(lambda entry: getattr(entry.owner, "greenlet", None) in survivors)
    hub.carriers.intersection_update([*hub.free_carriers, *survivors])
    hub.live = len(hub.carriers) - len(hub.free_carriers)
    hub.daemons = 0
    for survivor in survivors:
        if hasattr(survivor, "placement"):
            survivor.placement = None
            if getattr(survivor.waiter, "state", WAITING) != WAITING:
                # The resume after the claim may be another thread's.  A second resume does no harm.
                hub.ready.append(survivor)
    hub.close_wakers()
    hub.poller.reopen()
    hub.inbox.after_fork(hub.open_wakers())
    for registration in list(hub.registrations.values()):
        _inherit_registration(hub, registration, survivors)
    if hub.main not in survivors:
        # No main program goes on here, so the process ends with the greenlet that forked and with those that
        # it has started.
        hub.main = None
        program = _Program(survivors)
        run_handlers_as(program.find)
        hub.on_system_error = program.throw
        hub.on_rest = lambda _received: hub.call_soon(_end_process, hub)
        hub.received = 1


def _survivors(hub: HubState) -> list[GreenThread]:
    """The forking greenlet, those that it returns to, and the main program if that is a signal handler."""
    survivor = getcurrent()
    survivors = [survivor]
    while hasattr(survivor, "signalnum"):
        # A handler of the green module, in a greenlet of its own above the one that it has interrupted.
        if isinstance(survivor.parent, Carrier):
            survivor.parent = hub.loop
            # The interrupted greenlet, which stays behind, may have just taken them from the queue.
            hub.ready.extend(
                turn for turn in (hub.mark, hub.main) if turn is not None and turn not in hub.ready
            )
        survivor = survivor.parent
        survivors.append(survivor)
    while survivor.parent is not None and survivor is not hub.loop and survivor.parent is not hub.loop:
        # A raw greenlet returns to the one that has made it.
        survivor = survivor.parent
        survivors.append(survivor)
    if hub.main is not None and (survivor is hub.loop or hasattr(survivors[0], "signalnum")):
        survivors.append(hub.main)
    if hub.main in survivors:
        survivors.extend(handler for handler in running_handlers if handler not in survivors)
    return survivors


def _inherit_registration(hub: HubState, registration: Registered, survivors: list[GreenThread]) -> None:
    """Of the greenlets that wait for a descriptor only *survivors* are left, and try again.

    A survivor that was woken before the fork tries again, too, and registers anew.
    """
    for waiter in registration.waiters():
        if waiter.greenlet not in survivors:
            # A raw greenlet, which the hub does not know.
            waiter.state = ABANDONED
            registration.leave_crowd(waiter)
    if not registration.waiters():
        del hub.registrations[registration.fd]
        registration.forget()
        return
    try:
        hub.poller.register(registration.fd)
    except OSError:
        registration.close()  # its number was closed behind our back
        return
    registration.hung_up = False
    registration.wake_all()


class _Program:
    """What stands for the main program in such a child: the greenlet that forked and those it returns to."""

    def __init__(self, greenlets: list[GreenThread]) -> None:
        # A carrier may have another task by the time that it is asked.
        self._greenlets = [(each, getattr(each, "task", None)) for each in greenlets]

    def find(self) -> GreenThread | None:
        """The first of them that has not ended."""
        for greenlet, task in self._greenlets:
            ended = task is None or task.done if isinstance(greenlet, Carrier) else greenlet.dead
            if not ended:
                return greenlet
        return None

    def throw(self, exception: BaseException) -> None:
        """Raise *exception*, which is for the main program, where that waits; end the process without one."""
        greenlet = self.find()
        if greenlet is None:
            _end_with(exception)
            return
        if not hasattr(greenlet, "interrupts"):
            adopt(greenlet)
        interrupt(greenlet, exception)


def _end_with(exception: BaseException) -> None:
    """End the process as *exception* ends a program."""
    status: object = 1
    if isinstance(exception, SystemExit):
        status = exception.code or 0
    if not isinstance(exception, SystemExit):
        sys.excepthook(type(exception), exception, exception.__traceback__)
    elif not isinstance(status, int):
        os.write(2, f"{status}\n".encode())
    os._exit(status & 0xFF if isinstance(status, int) else 1)


def _end_process(hub: HubState) -> None:
    """End the process like CPython when the thread that has forked ends there, and no other is left.

    CPython's thread just returns to the C library, which then calls ``exit(0)``.  So nothing is flushed,
    ``atexit`` does not come, and daemon threads are waited for like all others.
    """
    # Real threads that the child has started may still start greenlets here.
    others = any(
        thread.ident != get_ident() and thread.is_alive() for thread in original_threading().enumerate()
    )
    if others and not hub.live:
        hub.timers.call_later(LOOK, _end_process, hub)
    elif hub.live:
        hub.received = 1
    else:
        os._exit(0)


_CORE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def forked_within(error: BaseException) -> bool:
    """Whether *error* says that the core has come upon a descriptor that a handler's fork has closed.

    Else a signal handler has raised it: the standard handler of SIGINT, say, which has no frame.
    """
    if not isinstance(error, (OSError, ValueError)):
        return False
    traceback = error.__traceback__
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_CORE):
            return False
        traceback = traceback.tb_next
    return True


at_fork("core locks", in_child=_renew_core_locks)
at_fork("hubs", in_child=_inherit_hubs)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
