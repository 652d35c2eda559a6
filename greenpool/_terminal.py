"""``input`` and ``sys.stdin`` of a patched program: reading from a terminal or a pipe parks the greenlet.

The standard ``input`` reads a line from a terminal in C.  Here ``sys.stdin.readline`` reads it, after the
prompt, and the terminal itself lets the user edit the line.  If ``readline`` is imported, ``input`` blocks
the hub: ``readline`` edits the line in C, and would leave the terminal in a wrong mode if the wait were given
up.

*sys.stdin* stays the object that it is, because others may refer to it, and gets another buffer.

*Threads*: ``input`` may be called in any; ``make_stdin_park`` in the main thread, before it starts others.
"""

from __future__ import annotations

import builtins
import io
import os
import sys

from ._fd.files import BufferedReader, FileIO
from ._fd.opening import waits_for_disk_only

_native_input = builtins.input
_NativeFileIO = io.FileIO
_NativeBuffer = io.BufferedReader


def input(prompt: object = "", /) -> str:
    """As ``input``, parking the greenlet."""
    if "readline" in sys.modules or not _is_at_terminal():
        # Without a terminal it calls the methods of sys.stdin.
        return _native_input(prompt)
    sys.audit("builtins.input", prompt)
    # It may be None.
    print(end="", file=sys.stderr, flush=True)
    sys.stdout.write(str(prompt))
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    line = line.removesuffix("\n")
    sys.audit("builtins.input/result", line)
    return line


def _is_at_terminal() -> bool:
    """Whether the standard function would read and write by itself."""
    try:
        return all(
            stream is not None and stream.fileno() == fd and os.isatty(fd)
            for fd, stream in enumerate((sys.stdin, sys.stdout))
        )
    except (AttributeError, OSError, ValueError):
        return False  # replaced by something that is no file


def make_stdin_park() -> None:
    """Put another buffer into ``sys.stdin``, if it is what Python has made and may wait."""
    stdin = sys.stdin
    if type(stdin) is not io.TextIOWrapper or type(stdin.buffer) is not _NativeBuffer:
        return
    old = stdin.buffer.raw
    if type(old) is not _NativeFileIO or stdin.buffer.closed:
        return
    status = os.fstat(old.fileno())
    if waits_for_disk_only(status.st_mode, status.st_rdev):
        return
    raw = FileIO(old.fileno(), "r", closefd=False)
    raw.name = old.name
    # As TextIOWrapper allows it: the same object, made anew.
    io.TextIOWrapper.__init__(
        stdin, BufferedReader(raw), stdin.encoding, stdin.errors, "\n", stdin.line_buffering
    )
