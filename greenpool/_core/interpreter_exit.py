"""The end of the program: no hub's thread is inside a greenlet while the interpreter is finalized.

Daemon threads are still there then.  CPython up to 3.13 ends such a thread by ``pthread_exit`` when it next
asks for the GIL.  glibc unwinds the thread's C stack for that and runs C++ destructors of the greenlet that
the thread is in, without a thread state and beside the main thread's last collections: the process crashes.
(CPython 3.14 makes such a thread hang.  Nothing of this is done there.)

A thread is harmless if it blocks in a system call that has released the GIL and never ends.  The *last act*
of the program brings the thread of each other hub to such a call.  The thread then *rests*.

*How it rests.*  It writes more than a pipe holds to a pipe that nobody reads.  The first bytes tell the
ending thread that the write has begun, so the GIL is released; the others never fit.  One call does both.
With two, the thread might ask for the GIL once more in between.

*How it comes to rest.*  The last act first posts to the hub's inbox.  A loop that runs soon rests there,
where it holds no lock that a finalizer may need.  A thread whose loop does not run gets an asynchronous
exception: to make an instance of its class is to rest, so no handler of it ever runs.  A thread that makes
its first hub later rests as it makes it.

*When.*  Every callback of atexit comes first, because it may need the greenlets.  atexit lets go of the
callbacks and their arguments when all of them have run, and only then the interpreter is finalized.  So the
last act is the finalizer of an argument, of the callback that was registered last.

*What is left.*  A greenlet that blocks its thread in a native call, such as the original ``time.sleep``,
cannot be reached.  The last act waits for it for a quarter of a second.  If the call ends after that and
before the process does, the process may crash.  A thread that blocks natively in its main greenlet is
harmless, and the last act does not wait for it.  A process that is stopped and continued (Ctrl-Z) while the
interpreter is finalized may crash, too, because that ends the write.

*Threads*: the last act runs on the thread that ends the interpreter.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from select import POLLIN

from .current import remembered
from .fork import at_fork
from .native import HAS_GIL, get_ident, pipe, poll, signal, write
from .speedups import speedups
from .state import HubState

# A pipe holds 16 pages, and a page is at most 64 KiB.
MORE_THAN_A_PIPE_HOLDS = 4 << 20

# Milliseconds for which the last act waits for the next thread that comes to rest, and how often it strikes
# those that do not.
PATIENCE = 10
STRIKES = 25


class _End:
    """What the last act and the threads that come to rest share."""

    # The thread and the process that end; None until the last act begins.
    thread: int | None = None
    process: int | None = None
    # The bytes that each thread writes, and the pipe of each.
    text = b""
    pipes: dict[int, int] = {}


def rest() -> None:
    """Block the calling thread for ever, and say so at its pipe; returns in the child of a fork only."""
    # A signal would end the write.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while os.getpid() == _End.process:
        write(_End.pipes.get(get_ident()) or pipe()[1], _End.text)


def rest_if_ending() -> None:
    """Called when a hub has been remembered: rest, if the last act has begun on another thread.

    The last act says that it has begun before it looks at the hubs that are remembered.  So at least one
    side sees the other.
    """
    if _End.thread is not None and _End.thread != get_ident():
        rest()


class _Rest(BaseException):
    """Raised in a thread from outside; making the instance never ends."""

    def __init__(self) -> None:
        rest()


def _is_inside_greenlet(hub: HubState) -> bool:
    """Whether the thread of *hub* runs another greenlet than its main one."""
    root = hub.loop if hub.main is None else hub.main
    return root is not None and root.gr_frame is not None


class _LastAct:
    """Brings the threads of all other hubs to rest when atexit lets go of it."""

    def __init__(self) -> None:
        # The hubs whose threads do not rest yet, by the descriptor at which one says that it does.
        self._left: dict[int, list[HubState]] = {}
        self._poll = poll()

    def __del__(self) -> None:
        if not threading._SHUTTING_DOWN:  # type: ignore[attr-defined]  # private
            return  # the program has called atexit._run_exitfuncs and goes on
        for part in (self._find, self._post, self._strike):
            try:
                part()
            except BaseException:
                # A signal handler has raised, and there is no program any more to take it.
                part()

    def _find(self) -> None:
        _End.text = _End.text or bytes(MORE_THAN_A_PIPE_HOLDS)
        _End.process = os.getpid()
        _End.thread = get_ident()
        self._left.clear()
        ends = None
        for hub in remembered():
            if hub.thread_id == _End.thread or hub.inbox.closed:
                continue
            try:
                ends = pipe()
            except OSError:
                # No descriptor is free.  All threads that share the last pipe rest, but one of them says so.
                if ends is None:
                    return
            reading, _End.pipes[hub.thread_id] = ends
            self._left.setdefault(reading, []).append(hub)
            self._poll.register(reading, POLLIN)

    def _hubs(self) -> list[HubState]:
        return [hub for hubs in self._left.values() for hub in hubs]

    def _post(self) -> None:
        for hub in self._hubs():
            hub.post(rest)
        self._wait()

    def _strike(self) -> None:
        left = STRIKES if self._left else 0
        raise_in = _raiser() if left else None
        while left:
            if raise_in is not None:
                # Again each time: in Python 3.11 C code may drop an exception that has no instance yet.
                for hub in self._hubs():
                    raise_in(hub.thread_id, _Rest)
            count = len(self._left)
            self._wait()
            if not any(map(_is_inside_greenlet, self._hubs())):
                return
            left = left - 1 if len(self._left) == count else STRIKES

    def _wait(self) -> None:
        """Return when all rest, or when PATIENCE has passed without one more."""
        while self._left:
            said = self._poll.poll(PATIENCE)
            if not said:
                return
            for reading, _ in said:
                self._poll.unregister(reading)
                del self._left[reading]


def _raiser() -> Callable[[int, type[BaseException]], int] | None:
    """What raises an exception in the thread of an identifier."""
    if speedups is not None:
        raise_in: Callable[[int, type[BaseException]], int] = speedups.raise_in_thread
        return raise_in
    try:
        # Imported here, because it is heavy and most programs never need it.
        import ctypes
    except ImportError:
        return None
    raise_in = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
    raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
    return raise_in


def _no_callback(last_act: _LastAct) -> None:
    """Never called: atexit takes note of it too late."""


def _atexit_has_come() -> None:
    atexit.register(_no_callback, _LastAct())


def _after_fork_in_child() -> None:
    _End.thread = None


if sys.version_info < (3, 14):
    atexit.register(_atexit_has_come)
    at_fork("exit", in_child=_after_fork_in_child)
    if not HAS_GIL:
        # While other threads compute, CPython without the GIL takes many seconds to import ctypes.
        _raiser()
