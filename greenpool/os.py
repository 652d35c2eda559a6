"""Cooperative ``os``: every name of the standard module; what waits parks the greenlet (as ``gevent.os``).

*Reading and writing.*  Descriptors stay as they are, blocking by default, because the flag that makes one
non-blocking is shared with every process that has it.  So ``read`` asks first whether the system call would
block, and parks until it would not.  A blocking ``write`` of more than there is room for would block in the
middle, and what is done about it depends on what the descriptor is:

- To a pipe it is made in pieces of PIPE_BUF bytes, for which a pipe that is ready has room.
- A socket takes a flag for one call only, MSG_DONTWAIT; pieces would split a message of a datagram socket.
- A terminal is "ready" however little room it has, so a thread writes to it.

Regular files are always ready; on a descriptor that is non-blocking already, the system call itself says
EAGAIN.

*Waiting for children.*  ``waitpid`` for one child waits for its pidfd (Linux) or its kqueue event (macOS and
the BSDs), and reaps it then with WNOHANG.  Where there is neither, and for any of several children, a thread
waits with WNOWAIT, which leaves the child to be reaped here: so a wait that is given up takes nobody's
status away.  All who wait for the same share one such thread, as it cannot be given up with the wait: it ends
when a child does.  No handler for SIGCHLD is installed.

*What stays*: ``fork`` and its like (the hub goes on in the child, see ``Hub.after_fork``), ``posix_spawn``,
``sendfile`` (``socket.sendfile`` parks), and what works on regular files.

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

import _socket
import fcntl as _fcntl
import os as _standard
import select as _standard_select
import stat as _stat
from collections.abc import Callable as _Callable
from collections.abc import Sequence as _Sequence
from operator import index as _index
from sys import is_finalizing as _is_finalizing
from sys import maxsize as _maxsize
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from os import *  # noqa: F403

    from typing_extensions import Buffer as _Buffer

# Also Python code (spawnv, ...), which here runs over the names below.
_take_names(_standard, globals())

from ._core import native as _native  # noqa: E402
from ._core.current import cannot_park as _cannot_park  # noqa: E402
from ._core.current import thread_hub as _thread_hub  # noqa: E402
from ._core.descriptor import ready_now as _ready_now  # noqa: E402
from ._core.descriptor import wait_descriptor as _wait_descriptor  # noqa: E402
from ._core.fork import at_fork as _at_fork  # noqa: E402
from ._core.pollers.events import IN as _IN  # noqa: E402
from ._core.pollers.events import OUT as _OUT  # noqa: E402
from ._core.timeout import Timeout as _Timeout  # noqa: E402
from ._core.waiter import FAILED as _FAILED  # noqa: E402
from ._core.waiter import WOKEN as _WOKEN  # noqa: E402
from ._core.waiter import Waiter as _Waiter  # noqa: E402

__all__ = list(_standard.__all__)

_PIPE_BUF: int = getattr(_standard_select, "PIPE_BUF", 512)

_O_ACCMODE = _standard.O_RDONLY | _standard.O_WRONLY | _standard.O_RDWR

_native_readv: _Any = getattr(_standard, "readv", None)
_native_system = _standard.system
_native_writev: _Any = getattr(_standard, "writev", None)
_native_wait3: _Any = getattr(_standard, "wait3", None)
_native_wait4: _Any = getattr(_standard, "wait4", None)
_native_waitid: _Any = getattr(_standard, "waitid", None)
_native_waitpid = _standard.waitpid
_wrap_close: _Any = getattr(_standard, "_wrap_close")  # noqa: B009


# Reading and writing.


# Between the question whether a call would block and the call, no other hub may take what is there.  A lock
# for each descriptor would have to be found under another one, so descriptors share these.  They are
# reentrant, because a signal handler may write to a pipe while its thread is about to.
_locks = tuple(_native.RLock() for _ in range(64))


def _reset_locks() -> None:
    global _locks
    _locks = tuple(_native.RLock() for _ in range(64))


_at_fork("descriptors", in_child=_reset_locks)

# What _unless_it_blocks returns in the place of a result.
_WOULD_BLOCK: _Any = object()


def _unless_it_blocks(fd: _Any, bits: int, function: _Callable[..., _Any], *args: _Any) -> _Any:
    """Call *function*, which reads (IN) or writes a little (OUT); ``_WOULD_BLOCK`` where it would block."""
    if not isinstance(fd, int) or fd < 0:
        return function(*args)
    with _locks[fd % len(_locks)]:
        if _ready_now(fd, bits) or not _may_block(fd, bits):
            return function(*args)
    return _WOULD_BLOCK


def _may_block(fd: int, bits: int) -> bool:
    flags = _fcntl.fcntl(fd, _fcntl.F_GETFL)
    # The wrong end of a pipe never becomes ready; the system call says EBADF.
    useless = _standard.O_WRONLY if bits == _IN else _standard.O_RDONLY
    return not flags & _standard.O_NONBLOCK and flags & _O_ACCMODE != useless


def _when_ready(fd: int, bits: int, function: _Callable[..., _Any], *args: _Any) -> _Any:
    while (result := _unless_it_blocks(fd, bits, function, *args)) is _WOULD_BLOCK:
        if _is_finalizing() or (bits == _OUT and _cannot_park()):
            return function(*args)
        _wait_descriptor(fd, bits, None)
    return result


def _asks_for_bytes(length: _Any) -> bool:
    """False for what the system call need not wait for: nothing, or no size at all, which it refuses."""
    try:
        return 0 < _index(length) <= _maxsize
    except TypeError:
        return False


def read(fd: int, length: int, /) -> bytes:
    """As ``os.read``, parking the greenlet."""
    if not _asks_for_bytes(length):
        return _native.read(fd, length)
    return _when_ready(fd, _IN, _native.read, fd, length)  # type: ignore[no-any-return]


if _native_readv is not None:

    def _have_room(buffers: _Any) -> bool:
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

    def readv(fd: int, buffers: _Sequence[_Any], /) -> int:
        """As ``os.readv``, parking the greenlet."""
        if not _have_room(buffers):
            return _native_readv(fd, buffers)  # type: ignore[no-any-return]
        return _when_ready(fd, _IN, _native_readv, fd, buffers)  # type: ignore[no-any-return]


def write(fd: int, data: _Buffer, /) -> int:
    """As ``os.write``, parking the greenlet; on a blocking descriptor it writes all of *data*."""
    if not isinstance(fd, int) or fd < 0:
        return _native.write(fd, data)
    mode = _standard.fstat(fd).st_mode
    if _stat.S_ISFIFO(mode):
        with memoryview(data) as view:
            size = view.nbytes
        if 0 < size <= _PIPE_BUF:
            return _when_ready(fd, _OUT, _native.write, fd, data)  # type: ignore[no-any-return]
    if not _may_fill_up(fd, mode):
        return _native.write(fd, data)

    def write_natively(octets: _Any) -> int:
        return _native.write(fd, octets)

    return _write_all(lambda: fd, mode, write_natively, data, lambda: _wait_descriptor(fd, _OUT, None))


def _may_fill_up(fd: int, mode: int) -> bool:
    """Whether a write to *fd* may have to wait for somebody to read; *mode* as in ``os.fstat``."""
    return not (_stat.S_ISREG(mode) or _stat.S_ISBLK(mode)) and _may_block(fd, _OUT)


def _write_all(
    fileno: _Callable[[], int],
    mode: int,
    write: _Callable[[_Any], _Any],
    data: _Buffer,
    wait: _Callable[[], object],
) -> int:
    """Write all of *data*, calling *wait* where it would block; the number of bytes written.

    That is less than all of them only where an error came in between, as with the system call.

    *fileno* and *write*, the system call, are those of the file: another thread may close it between two
    pieces, and the number then be that of a foreign file.
    """
    written = 0
    with memoryview(data) as view:
        if not view.c_contiguous:
            return write(data)  # type: ignore[no-any-return]  # it refuses that
    with memoryview(data) as view, view.cast("B") as octets:
        while True:
            try:
                fd = fileno()
                result = _write_some(fd, mode, write, octets[written:])
            except BlockingIOError:
                result = None
            except (OSError, ValueError):
                if written:
                    break
                raise
            # None: the descriptor is non-blocking.
            if result is not None and result is not _WOULD_BLOCK:
                written += result
                if written >= len(octets):
                    break
            elif _cannot_park():
                _block_until_room(fd)
            else:
                wait()
    return written


def _write_some(fd: int, mode: int, write: _Callable[[_Any], _Any], octets: memoryview) -> _Any:
    """Write as many of *octets* as can be without blocking; ``_WOULD_BLOCK`` where that is none."""
    if _stat.S_ISSOCK(mode):
        return _Borrowed(fd).send(octets, _socket.MSG_DONTWAIT)
    if not octets:
        return write(octets)
    if _stat.S_ISFIFO(mode):
        octets = octets[:_PIPE_BUF]
    elif _stat.S_ISCHR(mode) and _standard.isatty(fd) and _may_block(fd, _OUT) and not _cannot_park():
        from .threadpool import blocking

        # Not a view of what the caller may change, or let go, when it is killed: the thread goes on.
        return blocking(write, bytes(octets))
    return _unless_it_blocks(fd, _OUT, write, octets)


class _Borrowed(_socket.socket):
    """A socket for one call, over a descriptor of somebody else's, which it leaves open."""

    def __init__(self, fd: int) -> None:
        # Family and type are not looked at.  SOCK_NONBLOCK is kept from the kernel, too, but without it
        # socket.setdefaulttimeout would have the descriptor made non-blocking here.
        kind = _socket.SOCK_STREAM | getattr(_socket, "SOCK_NONBLOCK", 0)
        super().__init__(_socket.AF_UNIX, kind, 0, fd)

    def __del__(self) -> None:
        """In the place of the finalizer that closes; no exception can come in before it, as with detach."""


def _block_until_room(fd: int) -> None:
    """Block the thread until *fd* can be written to."""
    if _native.poll is None:
        _native.select([], [fd], [])
    else:
        asked = _native.poll()
        asked.register(fd, _standard_select.POLLOUT)
        asked.poll()


if _native_writev is not None:

    def writev(fd: int, buffers: _Sequence[_Any], /) -> int:
        """As ``os.writev``, parking the greenlet."""
        if not hasattr(buffers, "__getitem__"):
            return _native_writev(fd, buffers)  # type: ignore[no-any-return]  # it refuses all but sequences
        return write(fd, b"".join(buffers))


# Waiting for children.


def _wait_for_exit(pid: int, timeout: float | None = None) -> bool:
    """Park until the child *pid* has ended, without reaping it; False after *timeout* seconds."""
    if _is_finalizing() and timeout is None:
        _native_waitid(_standard.P_PID, pid, _standard.WEXITED | _standard.WNOWAIT)
        return True
    try:
        watch, stop_watching = _watch_child(pid)
    except ProcessLookupError:
        return True
    except OSError:
        # No pidfd here (an old kernel, a sandbox), or no descriptor left.
        with _Timeout(timeout, False):
            _wait_in_thread(_standard.P_PID, pid, _standard.WEXITED)
            return True
        return False
    try:
        # If somebody else has reaped it before, its number may be that of another process by now.
        return not _is_running_child(pid) or _wait_descriptor(watch, _IN, timeout)
    finally:
        stop_watching()


def _is_running_child(pid: int) -> bool:
    events = _standard.WEXITED | _standard.WNOWAIT | _standard.WNOHANG
    try:
        return _native_waitid(_standard.P_PID, pid, events) is None
    except ChildProcessError:
        return False


def _watch_child(pid: int) -> tuple[int, _Callable[[], object]]:
    """A descriptor that becomes readable when the child ends, and what closes it."""
    if hasattr(_standard, "pidfd_open"):
        pidfd = _standard.pidfd_open(pid)
        return pidfd, lambda: _native.close(pidfd)
    if _native.kqueue is not None:
        select: _Any = _standard_select
        kqueue = _native.kqueue()
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


# What threads wait for, and the waiters of each; guarded by the lock, which is reentrant because a signal
# handler may kill a greenlet between any two bytecodes.
_waits: dict[tuple[int, int, int], list[_Waiter]] = {}
_waits_lock = _native.RLock()


def _forget_waits() -> None:
    """In the child of a fork, where these threads are not."""
    global _waits, _waits_lock
    _waits = {}
    _waits_lock = _native.RLock()


_at_fork("children", in_child=_forget_waits)


def _wait_in_thread(idtype: int, id: int, events: int) -> None:
    """Park until ``waitid`` with the same arguments may have something to say."""
    if _thread_hub() is None or _is_finalizing():
        # There is nobody to hold up.
        _waitid_without_reaping(idtype, id, events)
        return
    key = (idtype, id, events)
    waiter = _Waiter(_waits_lock)
    with _waits_lock:
        waiters = _waits.get(key)
        if waiters is not None:
            waiters.append(waiter)
        else:
            waiters = [waiter]
            try:
                _waits[key] = waiters
                _native.start_new_thread(_wait_and_wake, (key, waiters))
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
        _native_waitid(idtype, id, events | _standard.WNOWAIT)
    except ChildProcessError:
        pass  # reaped by somebody else: whoever asks next will be told so


def _wait_and_wake(key: tuple[int, int, int], waiters: list[_Waiter]) -> None:
    outcome: BaseException | None = None
    state = _WOKEN
    try:
        _waitid_without_reaping(*key)
    except BaseException as exception:
        outcome, state = exception, _FAILED
    with _waits_lock:
        # Whoever comes later asks anew.
        if _waits.get(key) is waiters:
            del _waits[key]
        woken = [waiter for waiter in waiters if waiter.claim(outcome, state)]
    for waiter in woken:
        waiter.resume()


def _wait_for_change(pid: int, options: int) -> None:
    """Park until ``waitpid(pid, options)`` may have something to say."""
    stops = options & (_standard.WUNTRACED | _standard.WCONTINUED)
    if pid > 0 and not stops:
        _wait_for_exit(pid)
        return
    events = _standard.WEXITED
    if stops & _standard.WUNTRACED:
        events |= _standard.WSTOPPED
    if stops & _standard.WCONTINUED:
        events |= _standard.WCONTINUED
    if pid > 0:
        _wait_in_thread(_standard.P_PID, pid, events)
    elif pid == -1:
        _wait_in_thread(_standard.P_ALL, 0, events)
    else:
        _wait_in_thread(_standard.P_PGID, -pid or _standard.getpgrp(), events)


def _reap(function: _Callable[[int], _Any], pid: int, options: int) -> _Any:
    """Call *function*, of the waitpid family, with WNOHANG until it finds something."""
    while True:
        result = function(options | _standard.WNOHANG)
        if result[0] or options & _standard.WNOHANG:
            return result
        if _native_waitid is None:
            from .threadpool import blocking

            return blocking(function, options)
        _wait_for_change(pid, options)


def waitpid(pid: int, options: int, /) -> tuple[int, int]:
    """As ``os.waitpid``, parking the greenlet."""
    return _reap(lambda flags: _native_waitpid(pid, flags), pid, options)  # type: ignore[no-any-return]


def wait() -> tuple[int, int]:
    """As ``os.wait``, parking the greenlet."""
    return waitpid(-1, 0)


if _native_wait3 is not None:

    def wait3(options: int) -> tuple[int, int, _Any]:
        """As ``os.wait3``, parking the greenlet."""
        return _reap(_native_wait3, -1, options)  # type: ignore[no-any-return]


if _native_wait4 is not None:

    def wait4(pid: int, options: int) -> tuple[int, int, _Any]:
        """As ``os.wait4``, parking the greenlet."""
        return _reap(lambda flags: _native_wait4(pid, flags), pid, options)  # type: ignore[no-any-return]


if _native_waitid is not None:

    def waitid(idtype: int, id: int, options: int, /) -> _Any:
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


def system(command: str | bytes) -> int:
    """As ``os.system``, parking the greenlet."""
    from .threadpool import blocking

    return blocking(_native_system, command)


def popen(cmd: str, mode: str = "r", buffering: int = -1) -> _Any:
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
