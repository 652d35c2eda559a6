"""The signal mask of each green thread.

The kernel has one mask for each OS thread, which many green threads share.  Handlers run as the main
program, and what a green thread blocks must not keep them from that.  So the mask that a green thread sets is
data: the green thread reads it back, the green threads that it starts inherit it, and a child process that it
starts has it in the kernel.  A green thread that has set none has that of its OS thread.  The main program's
calls go to the kernel.

*A signal for a green thread* (``pthread_kill`` with its identifier) that it blocks pends here, until the
green thread waits for it or no longer blocks it.

*Threads*: any.  A lock guards what another thread may look at: whether a signal is blocked, and what pends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary, ref

from ._core.carrier import Carrier
from ._core.current import getcurrent, remembered
from ._core.fork import at_fork
from ._core.native import RLock, get_ident
from ._core.native import signal as _signal
from ._core.state import HubTask

P = ParamSpec("P")
T = TypeVar("T")

Mask = frozenset[int]

# Blocking these has no effect, in the kernel either.
UNBLOCKABLE = frozenset(getattr(_signal, name) for name in ("SIGKILL", "SIGSTOP") if hasattr(_signal, name))

_masks: WeakKeyDictionary[HubTask, Mask] = WeakKeyDictionary()

# Signals that pend for a green thread.
_pending: WeakKeyDictionary[HubTask, set[int]] = WeakKeyDictionary()
_pending_lock = RLock()


class _Child:
    """In the child of a fork: the green thread that has forked, which is the main program there."""

    program: ref[HubTask] | None = None


def own_task() -> HubTask | None:
    """The calling green thread; None in a main program, or in a raw greenlet."""
    current = getcurrent()
    if type(current) is not Carrier:
        return None
    task: HubTask | None = current.task
    if task is not None and _Child.program is not None and _Child.program() is task:
        return None
    return task


def mask_of(task: HubTask) -> Mask:
    """The mask of *task*, the calling green thread."""
    mask = _masks.get(task)
    return frozenset(_signal.pthread_sigmask(_signal.SIG_BLOCK, ())) if mask is None else mask


def set_mask(task: HubTask, mask: Mask) -> None:
    """Set the mask of *task*, the calling green thread, and deliver the pending signals that it lets in."""
    with _pending_lock:
        _masks[task] = mask - UNBLOCKABLE
    for number in take_pending(task, lambda number: number not in mask):
        _signal.pthread_kill(get_ident(), number)


def inherit(child: HubTask) -> None:
    """Give *child*, a green thread that was not started yet, the mask of the calling one."""
    mask = _mask_set()
    if mask is not None:
        _masks[child] = mask


@contextmanager
def own_mask() -> Iterator[None]:
    """Have the OS thread the mask of the calling green thread; nothing in here may park."""
    before = _enter()
    try:
        yield
    finally:
        _leave(before)


def with_own_mask(function: Callable[P, T]) -> Callable[P, T]:
    """*function*, for another thread: it runs there with the calling green thread's mask."""
    mask = _mask_set()
    if mask is None:
        return function

    def masked(*args: P.args, **kwargs: P.kwargs) -> T:
        before = _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        try:
            return function(*args, **kwargs)
        finally:
            _leave(before)

    return masked


def _mask_set() -> Mask | None:
    """The mask that the calling green thread has set or inherited; None if it has none of its own."""
    task = own_task() if _masks else None
    return None if task is None else _masks.get(task)


def _enter() -> Iterable[int] | None:
    mask = _mask_set()
    if mask is None:
        return None
    before: Iterable[int] = _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return before


def _leave(before: Iterable[int] | None) -> None:
    if before is not None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


# Signals for one green thread.


def pending_of(task: HubTask) -> Mask:
    """What pends for *task*."""
    with _pending_lock:
        return frozenset(_pending.get(task, ()))


def take_pending(task: HubTask, wanted: Callable[[int], bool]) -> list[int]:
    """Take the signals that pend for *task* and are *wanted*, the lowest first."""
    with _pending_lock:
        pending = _pending.get(task, set())
        taken = sorted(filter(wanted, pending))
        pending.difference_update(taken)
    return taken


def take_one(task: HubTask, signals: Mask) -> int | None:
    """Take the lowest of *signals* that pends for *task*."""
    with _pending_lock:
        pending = _pending.get(task, set())
        found = min(pending & signals, default=None)
        pending.discard(0 if found is None else found)
    return found


def kill(ident: int, number: int) -> bool:
    """Send a signal to the green thread *ident*; False if there is none.  Any thread.

    One that the green thread does not block goes to the OS thread of its hub.
    """
    for hub in remembered():
        task = hub.find_task(ident)
        if task is not None:
            with _pending_lock:
                blocked = number in _masks.get(task, ())
                if blocked:
                    _pending.setdefault(task, set()).add(number)
            if not blocked:
                hub.send_signal(number)
            return True
    return False


# Fork.

# The kernel's mask from before the fork, by the thread that forks.
_before: dict[int, Iterable[int] | None] = {}


def _before_fork() -> None:
    _before[get_ident()] = _enter()


def _after_fork_in_parent() -> None:
    _leave(_before.pop(get_ident(), None))


def _after_fork_in_child() -> None:
    global _pending_lock
    _pending_lock = RLock()
    _before.clear()
    task = own_task()
    _masks.clear()
    _pending.clear()
    if task is not None:
        _Child.program = ref(task)


if hasattr(_signal, "pthread_sigmask"):
    at_fork(
        "signal masks", before=_before_fork, in_parent=_after_fork_in_parent, in_child=_after_fork_in_child
    )
