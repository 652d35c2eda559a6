"""Reading and writing a descriptor that blocks, without blocking the hub.

Descriptors stay as they are, blocking by default, because the flag that makes one non-blocking is shared with
every process that has it.  So a read asks first whether the system call would block, and parks until it would
not.  A blocking write of more than there is room for would block in the middle.  What is done about it
depends on what the descriptor is:

- To a pipe the write is made in pieces of PIPE_BUF bytes, for which a pipe that is ready has room.
- A socket takes a flag for one call only, MSG_DONTWAIT; pieces would split a message of a datagram socket.
- A terminal is "ready" however little room it has, so a thread writes to it.

Regular files are always ready.  On a descriptor that is non-blocking already, the system call itself says
EAGAIN.

*Threads*: any.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import select as select_module
import stat
from collections.abc import Callable
from operator import index
from sys import is_finalizing, maxsize
from typing import TYPE_CHECKING, Final, ParamSpec, SupportsIndex, TypeVar

from .._core import native
from .._core.current import cannot_park
from .._core.descriptor import ready_now, wait_descriptor
from .._core.fork import at_fork
from .._core.pollers.events import IN, OUT
from .._core.waiter import spend
from .workers import blocking

if TYPE_CHECKING:
    from typing_extensions import Buffer

P = ParamSpec("P")
T = TypeVar("T")

PIPE_BUF: int = getattr(select_module, "PIPE_BUF", 512)

O_ACCMODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR

# Between the question whether a call would block and the call, no other hub may take what is there.  A lock
# for each descriptor would have to be found under another one, so descriptors share these.  They are
# reentrant, because a signal handler may write to a pipe while its thread is about to.
_locks = tuple(native.RLock() for _ in range(64))


def _reset_locks() -> None:
    global _locks
    _locks = tuple(native.RLock() for _ in range(64))


at_fork("descriptors", in_child=_reset_locks)


# unless_it_blocks returns this in the place of a result.
class WouldBlock:
    """The type of WOULD_BLOCK."""


WOULD_BLOCK: Final = WouldBlock()


def unless_it_blocks(
    fd: int, bits: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T | WouldBlock:
    """Call *function*, which reads (IN) or writes a little (OUT); ``WOULD_BLOCK`` where it would block."""
    if not isinstance(fd, int) or fd < 0:
        return function(*args, **kwargs)
    with _locks[fd % len(_locks)]:
        if ready_now(fd, bits) or not may_block(fd, bits):
            return function(*args, **kwargs)
    return WOULD_BLOCK


def may_block(fd: int, bits: int) -> bool:
    """Whether the flags of *fd* let a read (IN) or a write (OUT) wait."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    # The wrong end of a pipe never becomes ready; the system call says EBADF.
    useless = os.O_WRONLY if bits == IN else os.O_RDONLY
    return not flags & os.O_NONBLOCK and flags & O_ACCMODE != useless


def when_ready(fd: int, bits: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call *function* as soon as it does not block."""
    if not cannot_park():
        spend()
    while isinstance(result := unless_it_blocks(fd, bits, function, *args, **kwargs), WouldBlock):
        if is_finalizing() or (bits == OUT and cannot_park()):
            return function(*args, **kwargs)
        wait_descriptor(fd, bits, None)
    return result


def asks_for_bytes(length: SupportsIndex) -> bool:
    """False for what the system call need not wait for: nothing, or no size at all, which it refuses."""
    try:
        return 0 < index(length) <= maxsize
    except TypeError:
        return False


def may_fill_up(fd: int, mode: int) -> bool:
    """Whether a write to *fd* may have to wait for somebody to read; *mode* as in ``os.fstat``."""
    return not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)) and may_block(fd, OUT)


def write_all(
    fileno: Callable[[], int],
    mode: int,
    write: Callable[[Buffer], int | None],
    data: Buffer,
    wait: Callable[[], object],
) -> int:
    """Write all of *data*, calling *wait* where it would block; the number of bytes written.

    That is less than all of them only where an error came in between, as with the system call.

    *fileno* and *write*, the system call, are those of the file: another thread may close it between two
    pieces, and the number then be that of a foreign file.
    """
    written = 0
    with memoryview(data) as view:
        if not view.c_contiguous:
            return write(data) or 0  # it refuses that
    with memoryview(data) as view, view.cast("B") as octets:
        while True:
            try:
                fd = fileno()
                result: int | None | WouldBlock = _write_some(fd, mode, write, octets[written:])
            except BlockingIOError:
                result = None
            except (OSError, ValueError):
                if written:
                    break
                raise
            # None: the descriptor is non-blocking.
            if isinstance(result, int):
                written += result
                if written >= len(octets):
                    break
            elif cannot_park():
                _block_until_room(fd)
            else:
                wait()
    return written


def _write_some(
    fd: int, mode: int, write: Callable[[Buffer], int | None], octets: memoryview
) -> int | None | WouldBlock:
    """Write as many of *octets* as can be without blocking; ``WOULD_BLOCK`` where that is none."""
    if stat.S_ISSOCK(mode):
        return _Borrowed(fd).send(octets, _socket.MSG_DONTWAIT)
    if not octets:
        return write(octets)
    if stat.S_ISFIFO(mode):
        octets = octets[:PIPE_BUF]
    elif stat.S_ISCHR(mode) and os.isatty(fd) and may_block(fd, OUT) and not cannot_park():
        # The thread gets a copy, because it goes on when the caller is killed, and the caller may then change
        # the data.
        return blocking(write, bytes(octets))
    return unless_it_blocks(fd, OUT, write, octets)


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
    if native.poll is None:
        native.select([], [fd], [])
    else:
        asked = native.poll()
        asked.register(fd, select_module.POLLOUT)
        asked.poll()
