"""Cooperative ``io``: every name of the standard module; what waits parks the greenlet.

``open`` and ``FileIO`` ask the kernel once what the file is.  A regular file, a directory, a block device and
``/dev/null`` become the standard file objects, and block.  For all others (pipes, FIFOs, sockets, terminals)
the raw file and the buffer are those of fileobject.py, which park and leave the descriptor as it is.  They
are instances of the standard classes, and the standard files are instances of the classes of this module.

*A buffer that the program makes itself* (``io.BufferedReader(raw)``) is one of fileobject.py, too, unless the
raw file is the standard one: greenlets of one hub may use it at the same time, and take turns.

*Threads*: as the standard functions.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef, misc"

from __future__ import annotations

import functools as _functools
import io as _standard
import os as _os
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
from ._fd.opening import waits_for_disk_only as _waits_for_disk_only  # noqa: E402

__all__ = list(_standard.__all__)

_native_open = _standard.open
_NativeFileIO = _standard.FileIO
_stat_of = _os.stat
_fstat = _os.fstat


def _parks(status: _os.stat_result) -> bool:
    return not _waits_for_disk_only(status.st_mode, status.st_rdev)


class _Parks(Exception):
    """A program's own opener has opened what can be waited for."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor


def _checking(opener: _Opener) -> _Opener:
    def checked(path: str, flags: int) -> int:
        descriptor = opener(path, flags)
        if isinstance(descriptor, int) and descriptor >= 0 and _parks(_fstat(descriptor)):
            raise _Parks(descriptor)
        return descriptor

    return checked


def _is_waited_for(file: _File) -> bool:
    """Whether opening, reading or writing *file* may park; one system call."""
    try:
        return _parks(_stat_of(file)) and not _cannot_park()
    except (OSError, ValueError, TypeError):
        return False  # the standard function makes the file, or says what is wrong


def _open_waiting(path: str, flags: int) -> int:
    return _open_file(path, flags, 0o666)


class _Choosing(_ABCMeta):
    """The type of a class whose instances are all those of *standard*; calling it makes the right kind.

    A subclass that a program makes of it is a class like others.
    """

    standard: type[_Any]
    choose: _Callable[..., _Any]
    chooses = False

    def __call__(cls, *args: _Any, **kwargs: _Any) -> _Any:
        return cls.choose(*args, **kwargs) if "chooses" in vars(cls) else super().__call__(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        if "chooses" in vars(cls):
            return isinstance(instance, cls.standard)
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if "chooses" in vars(cls):
            return issubclass(subclass, cls.standard)
        return super().__subclasscheck__(subclass)


_make: _Callable[..., _Any] = type.__call__


def _choose_file(
    file: _File, mode: str = "r", closefd: bool = True, opener: _Opener | None = None
) -> _NativeFileIO:
    if opener is None or isinstance(file, int):
        if not _is_waited_for(file):
            return _NativeFileIO(file, mode, closefd)
    else:
        try:
            return _NativeFileIO(file, mode, closefd, _checking(opener))
        except _Parks as found:
            descriptor = found.descriptor
        opener = lambda path, flags: descriptor  # noqa: E731 - the name is that of the argument
    made: _NativeFileIO = _make(FileIO, file, mode, closefd, opener)
    return made


class FileIO(_files.FileIO, metaclass=_Choosing):
    __doc__ = _NativeFileIO.__doc__

    chooses = True
    standard = _NativeFileIO
    choose = staticmethod(_choose_file)

    def __init__(
        self, file: _File, mode: str = "r", closefd: bool = True, opener: _Opener | None = None
    ) -> None:
        if opener is None and not isinstance(file, int):
            opener = _open_waiting
        super().__init__(file, mode, closefd, opener)


def _buffer_class(standard: type[_Any], green: type[_Any]) -> type[_Any]:
    """As *standard*, but over a raw file that may park *green*, in which greenlets take turns."""

    def choose(*args: _Any, **kwargs: _Any) -> _Any:
        raw = args[0] if args else kwargs.get("raw")
        return (standard if type(raw) is _NativeFileIO else green)(*args, **kwargs)

    members = {
        "chooses": True,
        "standard": standard,
        "choose": staticmethod(choose),
        "__doc__": standard.__doc__,
    }
    return _Choosing(standard.__name__, (green,), members)


BufferedReader = _buffer_class(_standard.BufferedReader, _files.BufferedReader)
BufferedWriter = _buffer_class(_standard.BufferedWriter, _files.BufferedWriter)
BufferedRandom = _buffer_class(_standard.BufferedRandom, _files.BufferedRandom)

# The standard classes say that they are of _io.
for _class in (FileIO, BufferedReader, BufferedWriter, BufferedRandom):
    _class.__module__ = "_io"


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
