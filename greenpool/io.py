"""Cooperative ``io``: every name of the standard module; what waits parks the greenlet.

``open`` and ``FileIO`` ask the kernel once what the file is.  A regular file, a directory and a block device
become the standard file objects, and block.  For all others (pipes, FIFOs, sockets, terminals) the raw file
and the buffer are those of fileobject.py, which park and leave the descriptor as it is.  They are instances
of the standard classes.  Every raw file is an instance of this module's ``FileIO``.

*A buffer that the program makes itself* (``io.BufferedReader(io.FileIO(0))``) is the standard one: it parks,
but a second greenlet of the hub that uses it meanwhile gets RuntimeError("reentrant call").

*Threads*: as the standard functions.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef, misc"

from __future__ import annotations

import functools as _functools
import io as _standard
import os as _os
import stat as _stat
from abc import ABCMeta as _ABCMeta
from collections.abc import Callable as _Callable
from importlib import import_module as _import_module
from sys import flags as _flags
from typing import IO as _IO
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ._rebound import rebound as _rebound
from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from io import *  # noqa: F403

    # A path or a descriptor.
    _File = str | bytes | _os.PathLike[str] | _os.PathLike[bytes] | int
    _Opener = _Callable[[str, int], int]

_take_names(_standard, globals())

from ._core.current import cannot_park as _cannot_park  # noqa: E402
from ._fd import files as _files  # noqa: E402
from ._fd.opening import open_file as _open_file  # noqa: E402

__all__ = list(_standard.__all__)

_native_open = _standard.open
_NativeFileIO = _standard.FileIO
_stat_of = _os.stat
_fstat = _os.fstat


# The kinds of files that wait for a disk only.
_ON_DISK = frozenset((_stat.S_IFREG, _stat.S_IFDIR, _stat.S_IFBLK))


def _parks(mode: int) -> bool:
    """Whether reading or writing may wait for something else than a disk; *mode* as in ``st_mode``."""
    return _stat.S_IFMT(mode) not in _ON_DISK


class _Parks(Exception):
    """A program's own opener has opened what can be waited for."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor


def _checking(opener: _Opener) -> _Opener:
    def checked(path: str, flags: int) -> int:
        descriptor = opener(path, flags)
        if isinstance(descriptor, int) and descriptor >= 0 and _parks(_fstat(descriptor).st_mode):
            raise _Parks(descriptor)
        return descriptor

    return checked


def _is_waited_for(file: _File) -> bool:
    """Whether opening, reading or writing *file* may park; one system call."""
    try:
        return _parks(_stat_of(file).st_mode) and not _cannot_park()
    except (OSError, ValueError, TypeError):
        return False  # the standard function makes the file, or says what is wrong


def _open_waiting(path: str, flags: int) -> int:
    return _open_file(path, flags, 0o666)


class _FileIOType(_ABCMeta):
    """The type of ``FileIO``: every raw file is its instance, and a call of it makes the right kind."""

    def __call__(
        cls, file: _File, mode: str = "r", closefd: bool = True, opener: _Opener | None = None
    ) -> _NativeFileIO:
        if cls is FileIO:
            if opener is None or isinstance(file, int):
                if not _is_waited_for(file):
                    return _NativeFileIO(file, mode, closefd)
            else:
                try:
                    return _NativeFileIO(file, mode, closefd, _checking(opener))
                except _Parks as found:
                    descriptor = found.descriptor
                return _make(cls, file, mode, closefd, lambda path, flags: descriptor)
        return _make(cls, file, mode, closefd, opener)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _NativeFileIO) if cls is FileIO else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _NativeFileIO) if cls is FileIO else super().__subclasscheck__(subclass)


_make: _Callable[..., _NativeFileIO] = type.__call__


class FileIO(_files.FileIO, metaclass=_FileIOType):
    """As ``io.FileIO``; its reads and writes park the greenlet where they may wait."""

    def __init__(
        self, file: _File, mode: str = "r", closefd: bool = True, opener: _Opener | None = None
    ) -> None:
        if opener is None and not isinstance(file, int):
            opener = _open_waiting
        super().__init__(file, mode, closefd, opener)


FileIO.__module__ = "io"
FileIO.__doc__ = _NativeFileIO.__doc__


def open(
    file: _File,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> _IO[_Any]:
    """As ``open``; what is no regular file is opened, read and written by parking the greenlet."""
    if encoding is None and _flags.warn_default_encoding and "b" not in mode:
        encoding = _standard.text_encoding(encoding)
    if opener is None or isinstance(file, int):
        if not _is_waited_for(file):
            return _native_open(file, mode, buffering, encoding, errors, newline, closefd)
    else:
        try:
            return _native_open(file, mode, buffering, encoding, errors, newline, closefd, _checking(opener))
        except _Parks as found:
            descriptor = found.descriptor
        opener = lambda path, flags: descriptor  # noqa: E731 - the name is that of the argument
    return _python_open()(file, mode, buffering, encoding, errors, newline, closefd, opener)


@_functools.cache
def _python_open() -> _Callable[..., _IO[_Any]]:
    """``open`` as CPython has it in Python, with the same checks and messages, over the files that park."""
    _pyio: _Any = _import_module("_pyio")
    names = vars(_pyio) | {
        "FileIO": FileIO,
        "BufferedReader": _files.BufferedReader,
        "BufferedWriter": _files.BufferedWriter,
        "BufferedRandom": _files.BufferedRandom,
        "TextIOWrapper": _standard.TextIOWrapper,
        "UnsupportedOperation": _standard.UnsupportedOperation,
        "text_encoding": _standard.text_encoding,
    }
    # A static method up to CPython 3.11.
    opens: _Callable[..., _IO[_Any]] = _rebound(getattr(_pyio.open, "__func__", _pyio.open), names)
    return opens
