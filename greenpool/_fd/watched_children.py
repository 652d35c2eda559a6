"""Children that a greenlet waits for from their fork on, so that nobody has to reap them.

A watched child is reaped when it ends.  Its status is kept for a minute, in which ``waitpid`` finds it.

*Threads*: any.  A child is reaped and its status noted in one step under the lock, so that a ``waitpid``
either reaps the child or finds the status.  The lock is reentrant, because a signal handler may come between
any two bytecodes; nobody waits under it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from .._core.current import current_hub
from .._core.fork import at_fork
from .._core.native import RLock
from .._core.task import Task
from .children import wait_for_exit

# Seconds for which the status of a child that has ended is kept.
KEPT = 60.0

native_waitpid = os.waitpid
_lock = RLock()


class ChildWatcher:
    """A child that is watched, as its callback gets it (as gevent's child watchers)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.rpid = 0
        """The child's number, once it has ended; 0 before that."""
        self.rstatus = 0
        """Its status, as ``os.waitpid`` gives it."""
        self.ended_at = 0.0


watched: dict[int, ChildWatcher] = {}
"""By the number of the child: those that run, and those whose status nobody has asked for."""


def watch_child(pid: int, callback: Callable[[ChildWatcher], object] | None = None) -> ChildWatcher:
    """Reap the child *pid* when it ends, and then call *callback* with its watcher, in a greenlet."""
    watcher = ChildWatcher(pid)
    with _lock:
        watched[pid] = watcher
    Task.spawn(_watch, watcher, callback)
    return watcher


def _watch(watcher: ChildWatcher, callback: Callable[[ChildWatcher], object] | None) -> None:
    hub = current_hub()
    # No shutdown waits for the child of a process.
    hub.daemon_started()
    try:
        while not watcher.rpid:
            wait_for_exit(watcher.pid)
            try:
                _reap(watcher.pid, os.WNOHANG)
            except ChildProcessError:
                # Code that does not know of us has reaped it.
                watched.pop(watcher.pid, None)
                break
    finally:
        hub.daemon_ended()
    if callback is not None:
        callback(watcher)


def _reap(pid: int, options: int) -> tuple[int, int]:
    with _lock:
        reaped, status = native_waitpid(pid, options)
        watcher = watched.get(reaped)
        if watcher is not None:
            watcher.rpid, watcher.rstatus, watcher.ended_at = reaped, status, monotonic()
    return reaped, status


def waitpid_now(pid: int, options: int) -> tuple[int, int]:
    """Do what ``os.waitpid`` does with WNOHANG among *options*; watched children count as not reaped."""
    with _lock:
        _forget_old()
        ended = [each for each in watched.values() if each.rpid and pid in (-1, each.pid)]
        if ended:
            first = min(ended, key=lambda each: each.ended_at)
            del watched[first.pid]
            return first.rpid, first.rstatus
        reaped = _reap(pid, options)
        watched.pop(reaped[0], None)
        return reaped


def _forget_old() -> None:
    oldest = monotonic() - KEPT
    for each in list(watched.values()):
        if each.rpid and each.ended_at < oldest:
            del watched[each.pid]


def _after_fork_in_child() -> None:
    """The children are the parent's."""
    global _lock
    _lock = RLock()
    watched.clear()


at_fork("watched children", in_child=_after_fork_in_child)
