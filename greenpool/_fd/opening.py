"""Opening files that wait to be opened: a FIFO for its other end, a serial line for its carrier.

One ``stat`` tells such a file from all others, which are opened at once.  A thread that is no hub makes the
call that waits.  A kill or a Timeout ends the greenlet's wait, but not the system call.  The thread goes on,
and to the kernel it is still an end of the FIFO: a later writer would find a reader that reads nothing.  So
the greenlet that gives up opens both ends itself, without waiting.  That ends the thread's call, and the
thread closes them all.  It would end the calls of all other readers (or writers) of the FIFO, too.  So it is
done only if no other greenlet of this process waits for the same end, and where the file may be read and
written.

*Threads*: any.  The lock guards the table of the waiting greenlets, and each opening's state.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from sys import platform
from typing import TYPE_CHECKING

from .._core import native
from .._core.current import cannot_park
from .._core.fork import at_fork
from .transfer import O_ACCMODE
from .workers import blocking

if TYPE_CHECKING:
    Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_native_open = os.open
_native_stat = os.stat

_ON_DISK = frozenset((stat.S_IFREG, stat.S_IFDIR, stat.S_IFBLK))

# With one of these the call does not wait, or there is no such file yet.
_NEVER_WAIT = os.O_NONBLOCK | os.O_EXCL | os.O_DIRECTORY | getattr(os, "O_PATH", 0)

# The major numbers of Linux: null, zero and random; and besides these the terminals behind /dev/tty and
# /dev/ptmx, and pseudo-terminals.
_MEMORY_DEVICES = 1
_INSTANT_DEVICES = frozenset((_MEMORY_DEVICES, 5, *range(128, 144))) if platform == "linux" else frozenset()

# How many greenlets wait for the same end of the same file.
_waiting: Counter[tuple[int, int, int]] = Counter()
# Reentrant, because a signal handler may open a file, or kill a greenlet that opens one, at any time.
_lock = native.RLock()


def _after_fork_in_child() -> None:
    global _lock
    _lock = native.RLock()
    _waiting.clear()


at_fork("openings", in_child=_after_fork_in_child)


def waits_for_disk_only(mode: int, device: int) -> bool:
    """Whether reading and writing a file wait for a disk at most; *mode* and *device* as in waits_to_open."""
    if stat.S_ISCHR(mode):
        return platform == "linux" and os.major(device) == _MEMORY_DEVICES
    return stat.S_IFMT(mode) in _ON_DISK


def waits_to_open(mode: int, device: int) -> bool:
    """Whether opening a file may wait; *mode* and *device* as in ``st_mode`` and ``st_rdev``."""
    return stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and os.major(device) not in _INSTANT_DEVICES)


def open_file(path: Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """As ``os.open``, parking the greenlet; an ``opener`` of ``open``, too."""
    if not isinstance(flags, int) or flags & _NEVER_WAIT or cannot_park():
        return _native_open(path, flags, mode, dir_fd=dir_fd)
    try:
        status = _native_stat(path, dir_fd=dir_fd)
    except (OSError, ValueError, TypeError):
        return _native_open(path, flags, mode, dir_fd=dir_fd)  # it makes the file, or says what is wrong
    if not waits_to_open(status.st_mode, status.st_rdev):
        return _native_open(path, flags, mode, dir_fd=dir_fd)
    return _Opening(path, flags, mode, dir_fd).wait((status.st_dev, status.st_ino, flags & O_ACCMODE))


class _Opening:
    """One call of open in a thread that is no hub."""

    __slots__ = ("path", "flags", "mode", "dir_fd", "begun", "ended", "given_up", "opened", "both_ends")

    def __init__(self, path: Path, flags: int, mode: int, dir_fd: int | None) -> None:
        self.path = path
        self.flags = flags
        self.mode = mode
        self.dir_fd = dir_fd
        self.begun = False
        self.ended = False
        self.given_up = False
        self.opened = -1
        self.both_ends = -1

    # The greenlet.

    def wait(self, end: tuple[int, int, int]) -> int:
        with _lock:
            _waiting[end] += 1
        try:
            blocking(self.run)
            opened, self.opened = self.opened, -1
            return opened
        finally:
            with _lock:
                _waiting[end] -= 1
                if _waiting[end] <= 0:
                    del _waiting[end]
                if not self.ended:
                    self.given_up = True
                    if self.begun and end not in _waiting:
                        self.both_ends = self._open_both_ends()
                elif self.opened != -1:
                    # The thread was done when the greenlet was killed.
                    native.close(self.opened)

    def _open_both_ends(self) -> int:
        try:
            if not stat.S_ISFIFO(_native_stat(self.path, dir_fd=self.dir_fd).st_mode):
                return -1
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
            return _native_open(self.path, flags, dir_fd=self.dir_fd)
        except OSError:
            return -1  # removed, or not ours to read and write: the thread waits for the other end

    # The thread.

    def run(self) -> None:
        with _lock:
            if self.given_up:
                return
            self.begun = True
        opened = -1
        try:
            opened = _native_open(self.path, self.flags, self.mode, dir_fd=self.dir_fd)
        finally:
            self._end(opened)

    def _end(self, opened: int) -> None:
        with _lock:
            self.ended = True
            if not self.given_up:
                self.opened = opened
                return
            for fd in (opened, self.both_ends):
                if fd != -1:
                    native.close(fd)
