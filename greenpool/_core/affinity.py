"""Hubs pinned to cores, as thread-per-core runtimes do.

With a GIL only one hub runs at a time.  On several cores the GIL then goes from core to core, and each time
the next thread has to be woken there and finds its caches cold.  So all hubs of a pool are pinned to one
core, and with them the thread that builds the pool, because its main program has a hub, too.  Which core
depends on the number of the process, so that the worker processes of a server are spread.  Without a GIL
each hub has a core of its own, and the builder's thread stays free.

A new thread inherits the cores of the thread that starts it.  So the threads of this package that run
blocking calls call ``unpin``.

*Threads*: any.  The lock guards the two globals.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from .native import HAS_GIL, RLock

_lock = RLock()
# The cores that the builder's thread had before the first of the pins that are in force, and their number.
_unpinned: frozenset[int] | None = None
_in_force = 0


class Pins:
    """The cores of one pool's hubs.  Made by the thread that builds the pool; raises OSError."""

    def __init__(self) -> None:
        global _unpinned, _in_force
        # Not every system has it.
        from _thread import get_native_id

        with _lock:
            unpinned = _unpinned or frozenset(os.sched_getaffinity(0))
            self._cores = sorted(unpinned)
            self._builder = get_native_id() if HAS_GIL else None
            if HAS_GIL:
                self._cores = [self._cores[os.getpid() % len(self._cores)]]
                os.sched_setaffinity(0, self._cores)
            _unpinned = unpinned
            _in_force += 1
        self._released = False

    def pin_hub(self, index: int) -> None:
        """Pin the calling thread, which is that of the hub with this index."""
        os.sched_setaffinity(0, [self._cores[index % len(self._cores)]])

    def release(self) -> None:
        """Restore the cores of the builder's thread; any thread, and again without effect."""
        global _unpinned, _in_force
        with _lock:
            if self._released:
                return
            self._released = True
            cores = _unpinned
            _in_force -= 1
            if not _in_force:
                _unpinned = None
        if cores is not None and self._builder is not None and _is_own_thread(self._builder):
            _set_affinity(self._builder, cores)

    def release_in_child(self) -> None:
        """Forget the pins in the child of a fork, where the calling thread is the only one."""
        global _lock
        # A thread that does not exist here may hold it.
        _lock = RLock()
        unpin()
        self._builder = None
        self.release()


def unpin() -> None:
    """Let the calling thread, which a pinned hub may have started, run on all cores."""
    cores = _unpinned
    if cores is not None:
        _set_affinity(0, cores)


def _is_own_thread(native_id: int) -> bool:
    """Whether a thread of this process has the number, which may be another process's by now."""
    return os.path.exists(f"/proc/self/task/{native_id}")


def _set_affinity(thread: int, cores: Iterable[int]) -> None:
    try:
        os.sched_setaffinity(thread, cores)
    except OSError:
        pass  # The cores are not this process's any more (its cpuset has changed), or the thread has ended.
