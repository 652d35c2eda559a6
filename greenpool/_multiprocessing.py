"""Green ``_multiprocessing``: the semaphore that every lock and queue of ``multiprocessing`` is made of.

*How an acquire waits.*  A semaphore that processes share has no descriptor to watch, and nobody tells this
process when another releases it.  So a greenlet tries without blocking and sleeps in between, for longer
and longer, as CPython itself does where the system has no ``sem_timedwait`` (macOS).  Rejected: to wait in
an OS thread.  A process that has one cannot be forked safely, and where the greenlet is killed meanwhile,
that thread takes a permit which nobody wants any more.

*Who owns it.*  The standard one remembers the OS thread, which all greenlets of a hub share: each of them
could enter another's RLock.  This one remembers the green thread, and uses its kernel semaphore as a plain
one.  What other processes see of it is the same, so patched and unpatched ones may share it.

*Threads*: any.  ``_owner`` and ``_depth`` are written by whoever holds the semaphore.  (Where several may
hold it at once, nobody asks for them.)
"""

from __future__ import annotations

import importlib
from time import monotonic
from typing import Any, Protocol

from ._core.waiter import sleep
from .thread import get_ident

__all__ = ["SemLock"]

# typeshed lacks it.  It is the original, because this module is only imported to replace it.
_Kernel: Any = importlib.import_module("_multiprocessing").SemLock

RECURSIVE_MUTEX, SEMAPHORE = range(2)


class Kernel(Protocol):
    """The standard module's semaphore."""

    handle: int
    maxvalue: int
    name: str | None

    def acquire(self, block: bool, /) -> bool: ...

    def release(self) -> None: ...

    def _get_value(self) -> int: ...

    def _is_zero(self) -> bool: ...


# Seconds between two tries.
FIRST_SLEEP = 0.0005
LONGEST_SLEEP = 0.02


class SemLock:
    """As ``_multiprocessing.SemLock``; ``acquire`` parks the greenlet."""

    __slots__ = ("_kernel", "kind", "_owner", "_depth", "__weakref__")

    SEM_VALUE_MAX = _Kernel.SEM_VALUE_MAX

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        if kind not in (RECURSIVE_MUTEX, SEMAPHORE):
            raise ValueError("unrecognized kind")
        self._adopt(_Kernel(SEMAPHORE, value, maxvalue, name, unlink), kind)

    def _adopt(self, kernel: Kernel, kind: int) -> None:
        self._kernel = kernel
        self.kind = kind
        self._owner = 0
        self._depth = 0

    @classmethod
    def _rebuild(cls, handle: int, kind: int, maxvalue: int, name: str | None, /) -> SemLock:
        made = cls.__new__(cls)
        made._adopt(_Kernel._rebuild(handle, SEMAPHORE, maxvalue, name), kind)
        return made

    @property
    def handle(self) -> int:
        """The semaphore's address."""
        return self._kernel.handle

    @property
    def maxvalue(self) -> int:
        """The most permits that there may be."""
        return self._kernel.maxvalue

    @property
    def name(self) -> str | None:
        """The name under which other processes find it."""
        return self._kernel.name

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take a permit; False where there is none, with *block* only after *timeout* seconds."""
        if self.kind == RECURSIVE_MUTEX and self._is_mine():
            self._depth += 1
            return True
        if not self._kernel.acquire(False) and not (block and self._wait(timeout)):
            return False
        self._owner = get_ident()
        self._depth += 1
        return True

    def _wait(self, timeout: float | None) -> bool:
        deadline = None if timeout is None else monotonic() + timeout
        pause = FIRST_SLEEP
        while True:
            if deadline is not None:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    return False
                pause = min(pause, remaining)
            sleep(pause)
            if self._kernel.acquire(False):
                return True
            pause = min(2 * pause, LONGEST_SLEEP)

    def release(self) -> None:
        """Give a permit back; errors as the standard one."""
        if self.kind == RECURSIVE_MUTEX:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._depth > 1:
                self._depth -= 1
                return
        # Before the release, after which the next holder writes it.
        self._depth -= 1
        try:
            self._kernel.release()
        except BaseException:
            self._depth += 1
            raise

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _count(self) -> int:
        return self._depth

    def _is_mine(self) -> bool:
        return self._depth > 0 and self._owner == get_ident()

    def _get_value(self) -> int:
        return self._kernel._get_value()

    def _is_zero(self) -> bool:
        return self._kernel._is_zero()

    def _after_fork(self) -> None:
        self._depth = 0
