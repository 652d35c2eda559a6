"""Files whose reads and writes park the greenlet (as ``gevent.fileobject``).

``FileObject`` picks by what the descriptor is: ``FileObjectPosix`` for what the poller can watch (pipes,
ttys, sockets), ``FileObjectThread`` for the rest (regular files, which are always "ready" and yet may block).

What these return are the standard file objects (``io.TextIOWrapper``, ``io.BufferedReader``, ...) over a raw
file that parks.  So everything that the standard library does with files works with them.

*The descriptor stays as it is*, blocking by default: the flag is shared with every process that has the
descriptor.  See os.py for how a read or a write then keeps from blocking.

*Threads*: as the standard ones, one call at a time per buffer.  Where threads wait for each other, greenlets
of one hub must park, so the buffers have green locks of their own (the standard ones see only the thread, and
call a second greenlet "reentrant").  ``close`` is such a call, too: as with threads, that of a buffer waits
until a read in another greenlet has its data.  Closing its ``raw`` file ends that read, with OSError(EBADF).

*A read that is ended by an exception*, by a Timeout say, has read nothing if it is that of a raw file
(``buffering=0``): the next one begins with what this one had read.  The standard buffers lose what a ``read``
or a ``readline`` of several parts had collected, whatever raises; where a Timeout may strike, ``read1`` or
``peek``, which never wait for more once they have something, lose nothing.
"""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any, cast

# The raw files and the buffers are names of this module, too.
from ._fd.files import (  # noqa: F401
    BlockFileIO,
    BufferedRandom,
    BufferedReader,
    BufferedRWPair,
    BufferedWriter,
    FileIO,
    OpenFile,
    ThreadFileIO,
    blocking_call,
    green_io,
    open_raw,
)
from ._fd.opening import waits_for_disk_only

__all__ = ["FileObject", "FileObjectBlock", "FileObjectPosix", "FileObjectThread"]

if TYPE_CHECKING:
    # A path, a descriptor, or an object with one.
    File = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | OpenFile
    AnyFile = IO[Any]
    RawFile = FileIO | ThreadFileIO | BlockFileIO


def FileObject(
    file: File,
    mode: str = "r",
    buffering: int | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    *,
    close: bool | None = None,
    bufsize: int | None = None,
) -> AnyFile:
    """Open *file* so that using it parks the greenlet; any thread.

    *file*: a path, a descriptor, or a file object, whose descriptor is used and which is closed with the
    result.  *closefd*: False leaves the descriptor, or the file object, open.  The others as in ``open``.
    *close* and *bufsize* are gevent's other names for *closefd* and *buffering*.

    The ``name`` of the result is the path, the descriptor, or the name that the file object has.
    """
    return _open(
        None, file, mode, buffering, encoding, errors, newline, closefd, close=close, bufsize=bufsize
    )


def FileObjectPosix(file: File, mode: str = "r", *args: Any, **kwargs: Any) -> AnyFile:
    """As ``FileObject``, waiting by way of the hub's poller: for pipes, ttys and sockets."""
    return _open(FileIO, file, mode, *args, **kwargs)


def FileObjectThread(file: File, mode: str = "r", *args: Any, **kwargs: Any) -> AnyFile:
    """As ``FileObject``, making every system call on a thread that is not a hub: for any file."""
    return _open(ThreadFileIO, file, mode, *args, **kwargs)


def FileObjectBlock(file: File, mode: str = "r", *args: Any, **kwargs: Any) -> AnyFile:
    """As ``FileObject``, but blocking the thread: for what is never waited for."""
    return _open(BlockFileIO, file, mode, *args, **kwargs)


def _open(
    kind: type[RawFile] | None,
    file: File,
    mode: str,
    buffering: int | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    *,
    close: bool | None = None,
    bufsize: int | None = None,
) -> AnyFile:
    if buffering is not None and bufsize is not None:
        raise TypeError("bufsize is another name for buffering: give one of them")
    if buffering is None:
        buffering = bufsize
    if close is not None:
        closefd = close
    if not isinstance(mode, str):
        raise TypeError(f"mode must be a str, not {mode!r}")
    raw_mode = mode.replace("b", "").replace("t", "")
    owner: OpenFile | None = None
    if isinstance(file, (str, bytes, os.PathLike)):
        if not closefd:
            raise ValueError(f"closefd must be true if file is a path, not {closefd!r}")
        owner = blocking_call(io.FileIO, file, raw_mode)
    elif not isinstance(file, int):
        owner = file
    descriptor = owner.fileno() if owner is not None else cast("int", file)
    if kind is None:
        kind = FileIO if _can_be_watched(descriptor) else ThreadFileIO
    raw = kind(descriptor, raw_mode, closefd and owner is None)
    raw.always_park = True
    if closefd:
        raw.owner = owner
    if owner is not None:
        _take_name(raw, owner)
    try:
        opened: AnyFile = open_raw(
            raw, mode, -1 if buffering is None else buffering, encoding, errors, newline
        )
        return opened
    except BaseException:
        raw.close()
        raise


def _take_name(raw: RawFile, owner: OpenFile) -> None:
    """Name *raw* as the file that it is made of; it has no name if that has none (as in gevent)."""
    try:
        raw.name = getattr(owner, "name")  # noqa: B009 - not every file has one
    except AttributeError:
        del raw.name


def _can_be_watched(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return not waits_for_disk_only(status.st_mode, status.st_rdev)
