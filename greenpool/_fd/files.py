"""Raw files whose reads and writes park the greenlet, and the standard buffers over them.

fileobject.py is the public face.  The raw files leave the descriptor as it is; transfer.py says how a read or
a write keeps from blocking the hub.  The buffers are the standard ones with green locks of their own, because
the standard locks see only the thread, and call a second greenlet "reentrant".

*Threads*: one call at a time per buffer, as with the standard ones.
"""

from __future__ import annotations

import functools
import io
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, SupportsIndex, TypeVar

from .._core.current import cannot_park, current_greenlet
from .._core.descriptor import Descriptor
from .._core.pollers.events import IN, OUT
from .._core.speedups import replace_twins, speedups
from .._core.waiter import spend
from .._sync.rlock import RLock
from .transfer import WouldBlock, asks_for_bytes, may_fill_up, unless_it_blocks, write_all
from .workers import blocking

if TYPE_CHECKING:
    from _typeshed import MaybeNone, ReadableBuffer, WriteableBuffer

A = TypeVar("A")
B = TypeVar("B", bound=io.BufferedIOBase)
P = ParamSpec("P")
T = TypeVar("T")


class OpenFile(Protocol):
    """A file object whose descriptor another one uses."""

    def close(self) -> object: ...

    def fileno(self) -> int: ...


# Classes and functions say that they are of this module, which programs have seen since the first release.
PUBLIC_MODULE = "greenpool.fileobject"

# Bytes asked for at a time when everything is to be read: what a pipe holds.
CHUNK = 65536


class _Owning:
    """Closes the file object that it was made of, too."""

    owner: OpenFile | None = None
    # Park where a non-blocking descriptor says EAGAIN, in the place of returning None.
    always_park = False
    # A file may be finalized at the interpreter's end, when the global names are gone.
    _is_finalizing = staticmethod(sys.is_finalizing)

    def close(self) -> None:
        try:
            super().close()  # type: ignore[misc]  # of the file class that this is mixed into
        finally:
            owner, self.owner = self.owner, None
            if owner is not None:
                owner.close()


class FileIO(_Owning, io.FileIO):
    """A raw file whose reads and writes park the greenlet until the descriptor is ready.

    On a descriptor that is non-blocking the system call says EAGAIN, and the methods return None, as the
    standard ones; unless *always_park* is set.
    """

    _descriptor: Descriptor | None = None
    # The bytes that a readall had read when an exception ended it: the next read begins with them.  In a
    # deque, so that only one of two threads takes them.
    _kept: deque[bytes] | None = None

    def __init__(
        self,
        file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | int,
        mode: str = "r",
        closefd: bool = True,
        opener: Callable[[str, int], int] | None = None,
    ) -> None:
        super().__init__(file, mode, closefd, opener)
        self._descriptor = Descriptor(self.fileno())

    def _wait(self, bits: int) -> None:
        registration = self._descriptor.registration()  # type: ignore[union-attr]  # set by __init__
        if bits == IN:
            registration.wait_read(current_greenlet())
        else:
            registration.wait_write(current_greenlet())

    @staticmethod
    def _take_kept(pending: deque[bytes], size: int) -> bytes:
        try:
            kept = pending.popleft()
        except IndexError:
            return b""
        if len(kept) > size:
            pending.appendleft(kept[size:])
        return kept[:size]

    def _receive(self, size: SupportsIndex, function: Callable[[A], T], argument: A) -> T:
        if not self.readable() or self._is_finalizing() or not asks_for_bytes(size):
            return function(argument)
        if not cannot_park():
            spend()
        while True:
            result = unless_it_blocks(self.fileno(), IN, function, argument)
            if isinstance(result, WouldBlock) or (result is None and self.always_park):
                self._wait(IN)
            else:
                return result

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        with memoryview(buffer) as view:
            size = 0 if view.readonly else view.nbytes
            if self._kept and size and self.readable() and (data := self._take_kept(self._kept, size)):
                with view.cast("B") as octets:
                    octets[: len(data)] = data
                return len(data)
        return self._receive(size, super().readinto, buffer)

    def read(self, size: int | None = -1, /) -> bytes | MaybeNone:
        if size is None or (isinstance(size, int) and size < 0):
            return self.readall()
        if (
            self._kept
            and asks_for_bytes(size)
            and self.readable()
            and (data := self._take_kept(self._kept, size))
        ):
            return data
        return self._receive(size, super().read, size)

    def readall(self) -> bytes | MaybeNone:
        chunks = []
        try:
            while chunk := self.read(CHUNK):
                chunks.append(chunk)
        except BaseException:
            # A Timeout, say; what was read is not to be lost.
            if chunks:
                self._kept = deque([b"".join([*chunks, *(self._kept or ())])])
            raise
        return None if chunk is None and not chunks else b"".join(chunks)

    def write(self, data: ReadableBuffer, /) -> int | MaybeNone:
        if not self.writable() or self._is_finalizing():
            return super().write(data)
        mode = os.fstat(self.fileno()).st_mode
        if not self.always_park and not may_fill_up(self.fileno(), mode):
            return super().write(data)
        if not cannot_park():
            spend()
        return write_all(self.fileno, mode, super().write, data, functools.partial(self._wait, OUT))

    def close(self) -> None:
        """Close the descriptor; greenlets that wait for it get OSError(EBADF)."""
        if self._descriptor is not None and not self._is_finalizing():
            self._descriptor.close()
        super().close()


class ThreadFileIO(_Owning, io.FileIO):
    """A raw file whose system calls are made on a thread that is not a hub, while the greenlet parks."""

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        # The thread does not read straight into the buffer, because it goes on if this greenlet is killed.
        with memoryview(buffer) as view, view.cast("B") as octets:
            data = self.read(len(octets))
            if data is None:
                return None
            octets[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes | MaybeNone:
        return blocking_call(super().read, -1 if size is None else size)

    def readall(self) -> bytes | MaybeNone:
        return blocking_call(super().readall)

    def write(self, data: ReadableBuffer, /) -> int | MaybeNone:
        if self._is_finalizing() or cannot_park():
            # A file that was not closed writes what it still has when it is collected, wherever that is.
            return super().write(data)
        return blocking_call(super().write, bytes(data))

    def truncate(self, size: int | None = None, /) -> int:
        return blocking_call(super().truncate, size)


class BlockFileIO(_Owning, io.FileIO):
    """A raw file that blocks its thread."""


def blocking_call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if sys.is_finalizing():
        return function(*args, **kwargs)
    return blocking(function, *args, **kwargs)


def _one_at_a_time(base: type[B], *methods: str) -> type[B]:
    """A subclass of *base*, a standard buffer, whose *methods* park the greenlet while another is inside."""

    is_finalizing = sys.is_finalizing

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: Any, *args: Any) -> Any:
            # A ``with`` statement would take half as long again; without a lock, a line takes 0.3
            # microseconds.
            lock = self._green_lock
            if is_finalizing():
                # No other greenlet runs any more, and the names that the lock needs may be gone.
                return method(self, *args)
            lock.acquire()
            try:
                return method(self, *args)
            finally:
                lock.release()

        return call

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        self._green_lock = RLock()
        base.__init__(self, *args, **kwargs)

    def __repr__(self: Any) -> str:
        # The base leaves out the module of a subclass, and programs look for it.
        return base.__repr__(self).replace("<", "<_io.", 1)

    return type(
        base.__name__,
        (base,),
        {"__init__": __init__, "__repr__": __repr__, "__doc__": base.__doc__, "__module__": PUBLIC_MODULE}
        | {method: locked(getattr(base, method)) for method in methods},
    )


_READING = ("peek", "read", "read1", "readinto", "readinto1", "readline")
_WRITING = ("flush", "write")
_COMMON = ("close", "detach", "seek", "tell", "truncate")
BufferedReader = _one_at_a_time(io.BufferedReader, *_READING, *_COMMON)
BufferedWriter = _one_at_a_time(io.BufferedWriter, *_WRITING, *_COMMON)
BufferedRandom = _one_at_a_time(io.BufferedRandom, *_READING, *_WRITING, *_COMMON)
if speedups is not None:
    _reading, _writing = speedups.connect_files(BufferedReader, BufferedWriter)
    replace_twins(BufferedReader, _reading)
    replace_twins(BufferedWriter, _writing)


class BufferedRWPair(io.BufferedRWPair):
    """As ``io.BufferedRWPair``, of two buffers that let their greenlets take turns."""

    def __init__(
        self, reader: io.RawIOBase, writer: io.RawIOBase, buffer_size: int = io.DEFAULT_BUFFER_SIZE, /
    ) -> None:
        # The base's __init__ is not called, because it would make two standard buffers.  So every method of
        # the base is defined here.
        self.reader = BufferedReader(reader, buffer_size)
        self.writer = BufferedWriter(writer, buffer_size)

    def peek(self, size: int = 0, /) -> bytes:
        return self.reader.peek(size)

    def read(self, size: int | None = -1, /) -> bytes:
        return self.reader.read(size)

    def read1(self, size: int = -1, /) -> bytes:
        return self.reader.read1(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self.reader.readinto(buffer)

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        return self.reader.readinto1(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        # The base has none: it would peek and read, and another greenlet read in between.
        return self.reader.readline(size)

    def readable(self) -> bool:
        return self.reader.readable()

    def write(self, data: ReadableBuffer, /) -> int:
        return self.writer.write(data)

    def flush(self) -> None:
        self.writer.flush()

    def writable(self) -> bool:
        return self.writer.writable()

    def isatty(self) -> bool:
        return self.writer.isatty() or self.reader.isatty()

    def close(self) -> None:
        try:
            self.writer.close()
        finally:
            self.reader.close()

    @property
    def closed(self) -> bool:
        return self.writer.closed


# ``socket.makefile`` finds this under the name of ``io``.  With the standard buffers a second greenlet of a
# hub gets RuntimeError, and a greenlet of another hub blocks its thread until the first one has its data.
green_io = SimpleNamespace(
    **vars(io)
    | {
        "BufferedReader": BufferedReader,
        "BufferedWriter": BufferedWriter,
        "BufferedRandom": BufferedRandom,
        "BufferedRWPair": BufferedRWPair,
    }
)


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
        buffer = BufferedRWPair(raw, raw, buffering)
    elif "r" in mode:
        buffer = BufferedReader(raw, buffering)
    else:
        buffer = BufferedWriter(raw, buffering)
    if binary:
        return buffer
    return io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering)


for _class in (FileIO, ThreadFileIO, BlockFileIO, BufferedRWPair):
    _class.__module__ = PUBLIC_MODULE
