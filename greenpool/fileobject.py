"""Files whose reads and writes park the greenlet (as ``gevent.fileobject``).

``FileObject`` picks by what the descriptor is: ``FileObjectPosix`` for what the poller can watch (pipes,
ttys, sockets), ``FileObjectThread`` for the rest (regular files, which are always "ready" and yet may block).

What these return are the standard file objects (``io.TextIOWrapper``, ``io.BufferedReader``, ...) over a raw
file that parks.  So everything that the standard library does with files works with them.

*The descriptor stays as it is*, blocking by default: the flag is shared with every process that has the
descriptor.  See os.py for how a read or a write then keeps from blocking.

*Threads*: as the standard ones, one call at a time per buffer.  Where threads wait for each other, greenlets
of one hub must park, so the buffers have green locks of their own (the standard ones see only the thread, and
call a second greenlet "reentrant").
"""

from __future__ import annotations

import functools
import io
import os
import stat
import sys
import warnings
from collections.abc import Callable
from typing import Any

from ._core.current import current_greenlet
from ._core.descriptor import IN, OUT, Descriptor
from .lock import RLock
from .os import _WOULD_BLOCK, _asks_for_bytes, _cannot_park, _may_fill_up, _unless_it_blocks, _write_all

__all__ = ["FileObject", "FileObjectBlock", "FileObjectPosix", "FileObjectThread"]

# Bytes asked for at a time when everything is to be read: what a pipe holds.
CHUNK = 65536


class _Owning:
    """Closes the file object that it was made of, too."""

    owner: Any = None

    def close(self) -> None:
        try:
            super().close()  # type: ignore[misc]
        finally:
            owner, self.owner = self.owner, None
            if owner is not None:
                owner.close()


class FileIO(_Owning, io.FileIO):
    """A raw file whose reads and writes park the greenlet until the descriptor is ready.

    On a descriptor that is non-blocking the system call says EAGAIN, and the methods return None, as the
    standard ones; unless *always_park* is set.
    """

    always_park = False
    _descriptor: Descriptor | None = None

    def __init__(self, file: int, mode: str = "r", closefd: bool = True) -> None:
        super().__init__(file, mode, closefd)
        self._descriptor = Descriptor(self.fileno())

    def _wait(self, bits: int) -> None:
        registration = self._descriptor.registration()  # type: ignore[union-attr]
        if bits == IN:
            registration.wait_read(current_greenlet())
        else:
            registration.wait_write(current_greenlet())

    def _receive(self, size: Any, function: Callable[..., Any], argument: Any) -> Any:
        if not self.readable() or not _asks_for_bytes(size) or sys.is_finalizing():
            return function(argument)
        while True:
            result = _unless_it_blocks(self.fileno(), IN, function, argument)
            if result is _WOULD_BLOCK or (result is None and self.always_park):
                self._wait(IN)
            else:
                return result

    def readinto(self, buffer: Any, /) -> int | None:
        with memoryview(buffer) as view:
            size = 0 if view.readonly else view.nbytes
        return self._receive(size, super().readinto, buffer)  # type: ignore[no-any-return]

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]
        if size is None or (isinstance(size, int) and size < 0):
            return self.readall()
        return self._receive(size, super().read, size)  # type: ignore[no-any-return]

    def readall(self) -> bytes | None:  # type: ignore[override]
        chunks = []
        while chunk := self.read(CHUNK):
            chunks.append(chunk)
        return None if chunk is None and not chunks else b"".join(chunks)

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        if not self.writable() or not (self.always_park or _may_fill_up(self.fileno())):
            return super().write(data)
        return _write_all(self.fileno, super().write, data, functools.partial(self._wait, OUT))

    def close(self) -> None:
        """Close the descriptor; greenlets that wait for it get OSError(EBADF)."""
        if self._descriptor is not None:
            self._descriptor.close()
        super().close()


class ThreadFileIO(_Owning, io.FileIO):
    """A raw file whose system calls are made on a thread that is not a hub, while the greenlet parks."""

    def readinto(self, buffer: Any, /) -> int | None:
        # Not straight into the buffer: if this greenlet is killed, the thread goes on with it.
        with memoryview(buffer) as view, view.cast("B") as octets:
            data = self.read(len(octets))
            if data is None:
                return None
            octets[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]
        return _blocking(super().read, -1 if size is None else size)  # type: ignore[no-any-return]

    def readall(self) -> bytes | None:  # type: ignore[override]
        return _blocking(super().readall)  # type: ignore[no-any-return]

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        return _blocking(super().write, bytes(data))  # type: ignore[no-any-return]

    def truncate(self, size: int | None = None, /) -> int:
        return _blocking(super().truncate, size)  # type: ignore[no-any-return]


class BlockFileIO(_Owning, io.FileIO):
    """A raw file that blocks its thread."""


def _blocking(function: Callable[..., Any], *args: Any) -> Any:
    if _cannot_park():
        # A file that was not closed writes what it still has when it is collected, wherever that is.
        return function(*args)
    from .threadpool import blocking

    return blocking(function, *args)


def _one_at_a_time(base: Any, *methods: str) -> Any:
    """A subclass of *base*, a standard buffer, whose *methods* park the greenlet while another is inside."""

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: Any, *args: Any) -> Any:
            with self._green_lock:
                return method(self, *args)

        return call

    def __init__(self: Any, *args: Any) -> None:
        self._green_lock = RLock()
        base.__init__(self, *args)

    return type(
        base.__name__,
        (base,),
        {"__init__": __init__, "__doc__": base.__doc__, "__module__": __name__}
        | {method: locked(getattr(base, method)) for method in methods},
    )


_READING = ("peek", "read", "read1", "readinto", "readinto1", "readline")
_WRITING = ("flush", "write")
_COMMON = ("close", "detach", "seek", "tell", "truncate")
BufferedReader = _one_at_a_time(io.BufferedReader, *_READING, *_COMMON)
BufferedWriter = _one_at_a_time(io.BufferedWriter, *_WRITING, *_COMMON)
BufferedRandom = _one_at_a_time(io.BufferedRandom, *_READING, *_WRITING, *_COMMON)


def open_raw(
    raw: io.FileIO,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> Any:
    """What ``io.open`` makes of a raw file."""
    binary = "b" in mode
    line_buffering = False
    if buffering == 1 or (buffering < 0 and raw.isatty()):
        if buffering == 1 and binary:
            warnings.warn(
                "line buffering (buffering=1) isn't supported in binary mode, "
                "the default buffer size will be used",
                RuntimeWarning,
                stacklevel=3,
            )
        buffering = -1
        line_buffering = True
    if buffering == 0:
        if not binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    if buffering < 0:
        buffering = io.DEFAULT_BUFFER_SIZE
    buffer: Any
    if "+" in mode and raw.seekable():
        buffer = BufferedRandom(raw, buffering)
    elif "+" in mode:
        buffer = io.BufferedRWPair(raw, raw, buffering)
    elif "r" in mode:
        buffer = BufferedReader(raw, buffering)
    else:
        buffer = BufferedWriter(raw, buffering)
    if binary:
        return buffer
    return io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering)


# A path, a descriptor, or an object with one.
File = Any


def FileObject(
    file: File,
    mode: str = "r",
    buffering: int | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
) -> Any:
    """Open *file* so that using it parks the greenlet; any thread.

    *file*: a path, a descriptor, or a file object, whose descriptor is used and which is closed with the
    result.  *closefd*: False leaves the descriptor, or the file object, open.  The others as in ``open``.
    """
    return _open(None, file, mode, buffering, encoding, errors, newline, closefd)


def FileObjectPosix(file: File, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    """As ``FileObject``, waiting by way of the hub's poller: for pipes, ttys and sockets."""
    return _open(FileIO, file, mode, *args, **kwargs)


def FileObjectThread(file: File, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    """As ``FileObject``, making every system call on a thread that is not a hub: for any file."""
    return _open(ThreadFileIO, file, mode, *args, **kwargs)


def FileObjectBlock(file: File, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    """As ``FileObject``, but blocking the thread: for what is never waited for."""
    return _open(BlockFileIO, file, mode, *args, **kwargs)


def _open(
    kind: Any,
    file: File,
    mode: str,
    buffering: int | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
) -> Any:
    if not isinstance(mode, str):
        raise TypeError(f"mode must be a str, not {mode!r}")
    raw_mode = mode.replace("b", "").replace("t", "")
    owner = None
    if isinstance(file, (str, bytes, os.PathLike)):
        if not closefd:
            raise ValueError("closefd must be true where file is a path")
        owner = _blocking(io.FileIO, file, raw_mode)
    elif not isinstance(file, int):
        owner = file
    descriptor = file if owner is None else owner.fileno()
    if kind is None:
        kind = FileIO if _can_be_watched(descriptor) else ThreadFileIO
    raw = kind(descriptor, raw_mode, closefd and owner is None)
    raw.always_park = True
    if closefd:
        raw.owner = owner
    try:
        return open_raw(raw, mode, -1 if buffering is None else buffering, encoding, errors, newline)
    except BaseException:
        raw.close()
        raise


def _can_be_watched(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))
