"""Waiting for child processes.

A wait for one child waits for its pidfd (Linux) or its kqueue event (macOS and the BSDs), and the caller
reaps it then with WNOHANG.  If there is neither, and for any of several children, a thread waits with
WNOWAIT, which leaves the child to be reaped by the caller: so a wait that is given up takes nobody's status
away.  All greenlets that wait for the same share one such thread.  It cannot be given up with the wait, and
ends when a child does.  No handler for SIGCHLD is installed.

*Threads*: any.
"""

from __future__ import annotations

import os
import select as select_module
from collections.abc import Callable
from sys import is_finalizing
from typing import Any

from .._core import native
from .._core.current import thread_hub
from .._core.descriptor import wait_descriptor
from .._core.fork import at_fork
from .._core.pollers.events import IN
from .._core.timeout import Timeout
from .._core.waiter import FAILED, WOKEN, Waiter

native_waitid: Callable[[int, int, int], os.waitid_result | None] = getattr(os, "waitid", None)  # type: ignore[assignment]  # absent on some systems


def wait_for_exit(pid: int, timeout: float | None = None) -> bool:
    """Park until the child *pid* has ended, without reaping it; False after *timeout* seconds."""
    if is_finalizing() and timeout is None:
        native_waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return True
    try:
        watch, stop_watching = _watch_child(pid)
    except ProcessLookupError:
        return True
    except OSError:
        # No pidfd here (an old kernel, a sandbox), or no descriptor left.
        with Timeout(timeout, False):
            wait_in_thread(os.P_PID, pid, os.WEXITED)
            return True
        return False
    try:
        # If somebody else has reaped it before, its number may be that of another process by now.
        return not _is_running_child(pid) or wait_descriptor(watch, IN, timeout)
    finally:
        stop_watching()


def _is_running_child(pid: int) -> bool:
    events = os.WEXITED | os.WNOWAIT | os.WNOHANG
    try:
        return native_waitid(os.P_PID, pid, events) is None
    except ChildProcessError:
        return False


def _watch_child(pid: int) -> tuple[int, Callable[[], object]]:
    """A descriptor that becomes readable when the child ends, and what closes it."""
    if hasattr(os, "pidfd_open"):
        pidfd = os.pidfd_open(pid)
        return pidfd, lambda: native.close(pidfd)
    if native.kqueue is not None:
        select: Any = select_module
        kqueue = native.kqueue()
        event = select.kevent(
            pid,
            select.KQ_FILTER_PROC,
            select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
            select.KQ_NOTE_EXIT,
        )
        try:
            kqueue.control([event], 0, 0)
        except BaseException:
            kqueue.close()
            raise
        return kqueue.fileno(), kqueue.close
    raise OSError("this system has neither pidfd_open nor kqueue")


# The waits of threads, each with its waiters; guarded by the lock, which is reentrant because a signal
# handler may kill a greenlet between any two bytecodes.
_waits: dict[tuple[int, int, int], list[Waiter]] = {}
_waits_lock = native.RLock()


def _forget_waits() -> None:
    """In the child of a fork, where these threads are not."""
    global _waits, _waits_lock
    _waits = {}
    _waits_lock = native.RLock()


at_fork("children", in_child=_forget_waits)


def wait_in_thread(idtype: int, id: int, events: int) -> None:
    """Park until ``waitid`` with the same arguments may have something to say."""
    if thread_hub() is None or is_finalizing():
        # There is nobody to hold up.
        _waitid_without_reaping(idtype, id, events)
        return
    key = (idtype, id, events)
    waiter = Waiter(_waits_lock)
    with _waits_lock:
        waiters = _waits.get(key)
        if waiters is not None:
            waiters.append(waiter)
        else:
            waiters = [waiter]
            try:
                _waits[key] = waiters
                native.start_new_thread(_wait_and_wake, (key, waiters))
            except BaseException:
                _waits.pop(key, None)
                raise
    try:
        waiter.park()
    finally:
        with _waits_lock:
            if waiter in waiters:
                waiters.remove(waiter)


def _waitid_without_reaping(idtype: int, id: int, events: int) -> None:
    try:
        native_waitid(idtype, id, events | os.WNOWAIT)
    except ChildProcessError:
        pass  # reaped by another caller; the next system call says so


def _wait_and_wake(key: tuple[int, int, int], waiters: list[Waiter]) -> None:
    outcome: BaseException | None = None
    state = WOKEN
    try:
        _waitid_without_reaping(*key)
    except BaseException as exception:
        outcome, state = exception, FAILED
    with _waits_lock:
        # A later caller asks anew.
        if _waits.get(key) is waiters:
            del _waits[key]
        woken = [waiter for waiter in waiters if waiter.claim(outcome, state)]
    for waiter in woken:
        waiter.resume()


def wait_for_change(pid: int, options: int) -> None:
    """Park until ``waitpid(pid, options)`` may have something to say."""
    stops = options & (os.WUNTRACED | os.WCONTINUED)
    if pid > 0 and not stops:
        wait_for_exit(pid)
        return
    events = os.WEXITED
    if stops & os.WUNTRACED:
        events |= os.WSTOPPED
    if stops & os.WCONTINUED:
        events |= os.WCONTINUED
    if pid > 0:
        wait_in_thread(os.P_PID, pid, events)
    elif pid == -1:
        wait_in_thread(os.P_ALL, 0, events)
    else:
        wait_in_thread(os.P_PGID, -pid or os.getpgrp(), events)
