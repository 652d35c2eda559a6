"""A Python prompt at the other end of a connection.

What its code prints goes to the connection, and so does what greenlets print that it has spawned: the
destination is a context variable, which they inherit.
"""

from __future__ import annotations

import code
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NoReturn

from .._core.native import RLock

_destination: ContextVar[Callable[[str], object] | None] = ContextVar("greenpool_console", default=None)


class _Output:
    """Stands for ``sys.stdout`` while there is a prompt."""

    def __init__(self, standard: Any) -> None:
        self.standard = standard

    def write(self, text: str) -> int:
        destination = _destination.get()
        if destination is None:
            return int(self.standard.write(text))
        destination(text)
        return len(text)

    def flush(self) -> None:
        if _destination.get() is None:
            self.standard.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.standard, name)


class _Prompts:
    """How many there are; guards what stands in the place of ``sys.stdout``."""

    lock = RLock()
    count = 0
    output: _Output | None = None


def _begin() -> None:
    with _Prompts.lock:
        _Prompts.count += 1
        if _Prompts.output is None:
            _Prompts.output = _Output(sys.stdout)
            sys.stdout = _Prompts.output


def _end() -> None:
    with _Prompts.lock:
        _Prompts.count -= 1
        if not _Prompts.count and _Prompts.output is not None:
            # The program may have put another one in its place.
            if sys.stdout is _Prompts.output:
                sys.stdout = _Prompts.output.standard
            _Prompts.output = None


def _leave() -> NoReturn:
    """End this prompt, not the program; the standard ``exit`` would also close the program's stdin."""
    raise SystemExit


class _Console(code.InteractiveConsole):
    def __init__(
        self, names: dict[str, Any], read_line: Callable[[], str], write: Callable[[str], object]
    ) -> None:
        super().__init__(names, "<console>")
        self._read_line = read_line
        self._write = write

    def raw_input(self, prompt: str = "") -> str:
        self._write(prompt)
        line = self._read_line()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def write(self, data: str) -> None:
        self._write(data)

    def showtraceback(self) -> None:
        # The standard one calls sys.excepthook if that is the program's.
        import traceback

        kind, value, trace = sys.exc_info()
        self.write(
            "".join(traceback.format_exception(kind, value, trace.tb_next if trace is not None else None))
        )


def interact(
    names: dict[str, Any],
    read_line: Callable[[], str],
    write: Callable[[str], object],
    banner: str | None = None,
) -> None:
    """Read and execute lines until the other end closes, or the code calls ``exit()``; in any greenlet.

    *names* is the namespace of the code.  *read_line* returns "" at the end.
    """
    names.setdefault("exit", _leave)
    names.setdefault("quit", _leave)
    token = _destination.set(write)
    _begin()
    try:
        _Console(names, read_line, write).interact(banner=banner or "", exitmsg="")
    except SystemExit:
        pass  # exit() of the code ends the prompt
    finally:
        _end()
        _destination.reset(token)
