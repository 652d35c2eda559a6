"""Cooperative ``os``: every name of the standard module; what waits parks the greenlet (as ``gevent.os``).

*Reading and writing*: see _fd/transfer.py.  Descriptors stay as they are, blocking by default.

*Waiting for children*: see _fd/children.py.  No handler for SIGCHLD is installed.

*What stays*: ``fork`` and its like (the hub goes on in the child, see _core/fork.py), ``posix_spawn``, and
what works on regular files.  _blocking_calls.py lists what waits.

*Without the GIL*, fork while other threads stand still: the interpreter may hand the lock that every object
has to a thread that already stands still for the fork (python/cpython#133130), and the child then waits for
it for ever.

*When the interpreter is finalized* there are no hubs any more: what finalizers call then blocks.  So does a
write in a hub's loop: a file may be collected there, with data that it has not written yet.

*Threads*: any.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef, misc"

from __future__ import annotations

import os as _standard
import stat as _stat
from collections.abc import Callable as _Callable
from collections.abc import Sequence as _Sequence
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any
from typing import TypeVar as _TypeVar

from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from os import *  # noqa: F403
    from resource import struct_rusage as _Usage
    from typing import IO as _IO

    from _typeshed import WriteableBuffer as _WriteableBuffer
    from typing_extensions import Buffer as _Buffer

    from ._fd.opening import Path as _Path

# The standard module's Python code (spawnv, ...) runs over the names below, too.
_take_names(_standard, globals())

from ._core import native as _native  # noqa: E402
from ._core.descriptor import wait_descriptor as _wait_descriptor  # noqa: E402
from ._core.pollers.events import IN as _IN  # noqa: E402
from ._core.pollers.events import OUT as _OUT  # noqa: E402
from ._fd.asking import blocks_nobody as _blocks_nobody  # noqa: E402
from ._fd.asking import until_granted as _until_granted  # noqa: E402
from ._fd.children import native_waitid as _native_waitid  # noqa: E402
from ._fd.children import wait_for_change as _wait_for_change  # noqa: E402
from ._fd.children import wait_for_exit as _wait_for_exit  # noqa: E402
from ._fd.children import wait_in_thread as _wait_in_thread  # noqa: E402
from ._fd.opening import open_file as _open_file  # noqa: E402
from ._fd.transfer import PIPE_BUF as _PIPE_BUF  # noqa: E402
from ._fd.transfer import asks_for_bytes as _asks_for_bytes  # noqa: E402
from ._fd.transfer import may_block as _may_block  # noqa: E402
from ._fd.transfer import may_fill_up as _may_fill_up  # noqa: E402
from ._fd.transfer import when_ready as _when_ready  # noqa: E402
from ._fd.transfer import write_all as _write_all  # noqa: E402
from ._fd.watched_children import ChildWatcher as _ChildWatcher  # noqa: E402
from ._fd.watched_children import waitpid_now as _waitpid_now  # noqa: E402
from ._fd.watched_children import watch_child as _watch_child  # noqa: E402
from ._fd.watched_children import watched as _watched_children  # noqa: E402
from ._fd.workers import blocking as _blocking  # noqa: E402
from ._signal_masks import own_mask as _own_mask  # noqa: E402
from ._signal_masks import with_own_mask as _with_own_mask  # noqa: E402

_Reaped = _TypeVar("_Reaped", bound="tuple[int, int] | tuple[int, int, _Usage]")

__all__ = [
    *_standard.__all__,
    "fork_and_watch",
    "fork_gevent",
    "make_nonblocking",
    "nb_read",
    "nb_write",
    "tp_read",
    "tp_write",
]

_native_fstat = _standard.fstat
_native_system = _standard.system
_native_waitpid = _standard.waitpid
_wrap_close: _Callable[..., _IO[str]] = getattr(_standard, "_wrap_close")  # noqa: B009


# Opening, reading and writing.


def open(path: _Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """As ``os.open``, parking the greenlet until a FIFO's other end is opened."""
    return _open_file(path, flags, mode, dir_fd=dir_fd)


def read(fd: int, length: int, /) -> bytes:
    """As ``os.read``, parking the greenlet."""
    if not _asks_for_bytes(length):
        return _native.read(fd, length)
    return _when_ready(fd, _IN, _native.read, fd, length)


if hasattr(_standard, "readv"):
    _native_readv = _standard.readv

    def _have_room(buffers: _Sequence[_WriteableBuffer]) -> bool:
        """As ``_asks_for_bytes``, of the buffers that are to be filled."""
        room = 0
        try:
            for buffer in buffers:
                with memoryview(buffer) as view:
                    if view.readonly:
                        return False
                    room += view.nbytes
        except TypeError:
            return False
        return room > 0

    def readv(fd: int, buffers: _Sequence[_WriteableBuffer], /) -> int:
        """As ``os.readv``, parking the greenlet."""
        if not _have_room(buffers):
            return _native_readv(fd, buffers)
        return _when_ready(fd, _IN, _native_readv, fd, buffers)


def write(fd: int, data: _Buffer, /) -> int:
    """As ``os.write``, parking the greenlet; on a blocking descriptor it writes all of *data*."""
    if not isinstance(fd, int) or fd < 0:
        return _native.write(fd, data)
    mode = _native_fstat(fd).st_mode
    if _stat.S_ISFIFO(mode):
        with memoryview(data) as view:
            size = view.nbytes
        if 0 < size <= _PIPE_BUF:
            return _when_ready(fd, _OUT, _native.write, fd, data)
    if not _may_fill_up(fd, mode):
        return _native.write(fd, data)

    def write_natively(octets: _Buffer) -> int:
        return _native.write(fd, octets)

    return _write_all(lambda: fd, mode, write_natively, data, lambda: _wait_descriptor(fd, _OUT, None))


if hasattr(_standard, "writev"):
    _native_writev = _standard.writev

    def writev(fd: int, buffers: _Sequence[_Buffer], /) -> int:
        """As ``os.writev``, parking the greenlet."""
        if not hasattr(buffers, "__getitem__"):
            return _native_writev(fd, buffers)  # it refuses all but sequences
        return write(fd, b"".join(buffers))


def _may_wait(fd: int, bits: int) -> bool:
    mode = _native_fstat(fd).st_mode
    return not (_stat.S_ISREG(mode) or _stat.S_ISBLK(mode)) and _may_block(fd, bits)


if hasattr(_standard, "sendfile"):
    _native_sendfile = _standard.sendfile

    def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int, *args: _Any, **kwargs: _Any) -> int:
        """As ``os.sendfile``; where the receiver may have no room, a thread that is no hub sends."""
        if _may_wait(out_fd, _OUT):
            return _blocking(_native_sendfile, out_fd, in_fd, offset, count, *args, **kwargs)
        return _native_sendfile(out_fd, in_fd, offset, count, *args, **kwargs)


if hasattr(_standard, "splice"):
    _native_splice = _standard.splice

    def splice(
        src: int,
        dst: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
        flags: int = 0,
    ) -> int:
        """As ``os.splice``; parks until there is something, and a thread that is no hub moves it."""
        waits = not flags & _standard.SPLICE_F_NONBLOCK and count > 0
        arguments = (src, dst, count, offset_src, offset_dst, flags)
        if waits and _may_wait(src, _IN):
            _wait_descriptor(src, _IN, None)
        elif not waits or not _may_wait(dst, _OUT):
            return _native_splice(*arguments)
        return _blocking(_native_splice, *arguments)


if hasattr(_standard, "eventfd_read"):
    _native_eventfd_read = _standard.eventfd_read
    _native_eventfd_write = _standard.eventfd_write

    def eventfd_read(fd: int) -> int:
        """As ``os.eventfd_read``, parking the greenlet."""
        return _when_ready(fd, _IN, _native_eventfd_read, fd)

    def eventfd_write(fd: int, value: int) -> None:
        """As ``os.eventfd_write``, parking the greenlet."""
        return _when_ready(fd, _OUT, _native_eventfd_write, fd, value)


if hasattr(_standard, "lockf"):
    _native_lockf = _standard.lockf

    def lockf(fd: int, command: int, length: int, /) -> None:
        """As ``os.lockf``, parking the greenlet; see fcntl.py."""
        if command != _standard.F_LOCK or _blocks_nobody():
            return _native_lockf(fd, command, length)
        return _until_granted(lambda: _native_lockf(fd, _standard.F_TLOCK, length))


# Waiting for children.


def _reap(function: _Callable[[int], _Reaped], pid: int, options: int) -> _Reaped:
    """Call *function*, of the waitpid family, with WNOHANG until it finds something."""
    while True:
        result = function(options | _standard.WNOHANG)
        if result[0] or options & _standard.WNOHANG:
            return result
        if not hasattr(_standard, "waitid"):
            return _blocking(function, options)
        _wait_for_change(pid, options)


def waitpid(pid: int, options: int, /) -> tuple[int, int]:
    """As ``os.waitpid``, parking the greenlet; also finds what has become of watched children."""
    call = _waitpid_now if _watched_children else _native_waitpid
    return _reap(lambda flags: call(pid, flags), pid, options)


def wait() -> tuple[int, int]:
    """As ``os.wait``, parking the greenlet."""
    return waitpid(-1, 0)


if hasattr(_standard, "wait3"):
    _native_wait3 = _standard.wait3

    def wait3(options: int) -> tuple[int, int, _Usage]:
        """As ``os.wait3``, parking the greenlet."""
        return _reap(_native_wait3, -1, options)


if hasattr(_standard, "wait4"):
    _native_wait4 = _standard.wait4

    def wait4(pid: int, options: int) -> tuple[int, int, _Usage]:
        """As ``os.wait4``, parking the greenlet."""
        return _reap(lambda flags: _native_wait4(pid, flags), pid, options)


if _native_waitid is not None:

    def waitid(idtype: int, id: int, options: int, /) -> _standard.waitid_result | None:
        """As ``os.waitid``, parking the greenlet."""
        while True:
            result = _native_waitid(idtype, id, options | _standard.WNOHANG)
            if result is not None or options & _standard.WNOHANG:
                return result
            stops = options & (_standard.WSTOPPED | _standard.WCONTINUED)
            if idtype == _standard.P_PID and not stops:
                _wait_for_exit(id)
            elif idtype == getattr(_standard, "P_PIDFD", None) and not stops:
                _wait_descriptor(id, _IN, None)
            else:
                _wait_in_thread(idtype, id, options)


# Forking, with a greenlet that waits for the child (as in gevent).


def fork_and_watch(
    callback: _Callable[[_ChildWatcher], object] | None = None,
    loop: object = None,
    ref: bool = False,
    fork: _Callable[[], int] = _standard.fork,
) -> int:
    """As ``os.fork``; in the parent a greenlet reaps the child when it ends (as in gevent).

    *callback* is then called with an object that has ``pid``, ``rpid`` and ``rstatus``.  For a minute after
    that, ``waitpid`` of this module finds the status.  *loop* and *ref* are accepted for gevent's sake.
    """
    pid = fork()
    if pid:
        _watch_child(pid, callback)
    return pid


fork_gevent = _standard.fork
"""The same as ``os.fork``, for gevent's sake."""

if hasattr(_standard, "forkpty"):

    def forkpty_and_watch(
        callback: _Callable[[_ChildWatcher], object] | None = None,
        loop: object = None,
        ref: bool = False,
        forkpty: _Callable[[], tuple[int, int]] = _standard.forkpty,
    ) -> tuple[int, int]:
        """As ``os.forkpty``, with what ``fork_and_watch`` does."""
        pid, descriptor = forkpty()
        if pid:
            _watch_child(pid, callback)
        return pid, descriptor

    forkpty_gevent = _standard.forkpty
    """The same as ``os.forkpty``, for gevent's sake."""

    __all__ += ["forkpty_and_watch", "forkpty_gevent"]


# Reading and writing by gevent's other names.


def make_nonblocking(fd: int) -> bool:
    """Set O_NONBLOCK on *fd*; False if it was set already.  All processes that have the file see it."""
    if not _standard.get_blocking(fd):
        return False
    _standard.set_blocking(fd, False)
    return True


def nb_read(fd: int, n: int) -> bytes:
    """Read at most *n* bytes of *fd*, which has O_NONBLOCK, parking the greenlet until there is something."""
    while True:
        try:
            return _native.read(fd, n)
        except BlockingIOError:
            _wait_descriptor(fd, _IN, None)


def nb_write(fd: int, buf: _Buffer) -> int:
    """Write what *fd*, which has O_NONBLOCK, takes of *buf*, parking until it takes something."""
    while True:
        try:
            return _native.write(fd, buf)
        except BlockingIOError:
            _wait_descriptor(fd, _OUT, None)


def tp_read(fd: int, n: int) -> bytes:
    """Read at most *n* bytes of *fd* on a thread that is no hub."""
    return _blocking(_native.read, fd, n)


def tp_write(fd: int, buf: _Buffer) -> int:
    """Write *buf* to *fd* on a thread that is no hub; returns how much was written."""
    return _blocking(_native.write, fd, buf)


def system(command: str | bytes) -> int:
    """As ``os.system``, parking the greenlet."""
    return _blocking(_with_own_mask(_native_system), command)


if hasattr(_standard, "posix_spawn"):
    _native_posix_spawn = _standard.posix_spawn
    _native_posix_spawnp = _standard.posix_spawnp

    def posix_spawn(*args: _Any, **kwargs: _Any) -> int:
        """As ``os.posix_spawn``; the child has the calling green thread's signal mask."""
        with _own_mask():
            return _native_posix_spawn(*args, **kwargs)

    def posix_spawnp(*args: _Any, **kwargs: _Any) -> int:
        """As ``os.posix_spawnp``; the child has the calling green thread's signal mask."""
        with _own_mask():
            return _native_posix_spawnp(*args, **kwargs)


def popen(cmd: str, mode: str = "r", buffering: int = -1) -> _IO[str]:
    """As ``os.popen``, over ``greenpool.subprocess``."""
    if not isinstance(cmd, str):
        raise TypeError(f"invalid cmd type ({type(cmd)}, expected string)")
    if mode not in ("r", "w"):
        raise ValueError(f"invalid mode {mode!r}")
    if buffering == 0 or buffering is None:
        raise ValueError("popen() does not support unbuffered streams")
    from .subprocess import PIPE, Popen

    pipe: _Any = {"stdout" if mode == "r" else "stdin": PIPE}
    process: _Any = Popen(cmd, shell=True, text=True, bufsize=buffering, **pipe)
    return _wrap_close(process.stdout or process.stdin, process)
