"""Cooperative ``fcntl``: every name of the standard module; waiting for a lock of a file parks the greenlet.

The system call never waits.  It says at once that somebody else has the lock, and the greenlet asks again
after a few milliseconds.  So nobody is first in line, and the kernel does not see it when two processes wait
for each other (EDEADLK).

*Threads*: any.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef, misc"

from __future__ import annotations

import fcntl as _standard
from collections.abc import Callable as _Callable
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from fcntl import *  # noqa: F403

    from _typeshed import FileDescriptorLike as _File
    from typing_extensions import Buffer as _Buffer

_take_names(_standard, globals())

from ._fd.asking import blocks_nobody as _blocks_nobody  # noqa: E402
from ._fd.asking import until_granted as _until_granted  # noqa: E402

__all__ = [name for name in vars(_standard) if not name.startswith("_")]

_native_fcntl: _Callable[..., _Any] = _standard.fcntl
_native_flock = _standard.flock
_native_lockf = _standard.lockf

# The commands that wait for a lock, each with the one that does not.
_AT_ONCE: dict[int, int] = {
    getattr(_standard, f"{name}W"): getattr(_standard, name)
    for name in ("F_SETLK", "F_OFD_SETLK")
    if hasattr(_standard, f"{name}W")
}


def _waits(operation: int) -> bool:
    return not operation & (_standard.LOCK_NB | _standard.LOCK_UN) and not _blocks_nobody()


def flock(fd: _File, operation: int, /) -> None:
    """As ``fcntl.flock``, parking the greenlet."""
    if not isinstance(operation, int) or not _waits(operation):
        return _native_flock(fd, operation)
    return _until_granted(lambda: _native_flock(fd, operation | _standard.LOCK_NB))


def lockf(fd: _File, cmd: int, len: int = 0, start: int = 0, whence: int = 0, /) -> _Any:
    """As ``fcntl.lockf``, parking the greenlet."""
    if not isinstance(cmd, int) or not _waits(cmd):
        return _native_lockf(fd, cmd, len, start, whence)
    return _until_granted(lambda: _native_lockf(fd, cmd | _standard.LOCK_NB, len, start, whence))


def fcntl(fd: _File, cmd: int, arg: int | str | _Buffer = 0, /) -> _Any:
    """As ``fcntl.fcntl``, parking the greenlet where the command waits for a lock."""
    at_once = _AT_ONCE.get(cmd) if isinstance(cmd, int) else None
    if at_once is None or _blocks_nobody():
        return _native_fcntl(fd, cmd, arg)
    return _until_granted(lambda: _native_fcntl(fd, at_once, arg))
