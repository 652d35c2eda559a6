"""The logs of a server, and the texts of times that logs and headers need.

*Threads*: any.  The texts of the current second are replaced as a whole, so two threads may at worst make the
same text twice.
"""

from __future__ import annotations

import sys
from email.utils import formatdate
from time import localtime, strftime, time
from typing import Literal, Protocol, runtime_checkable

_http_date: tuple[int, str] = (0, "")
_log_time: tuple[int, str] = (0, "")


def http_date() -> str:
    """The time as the header Date has it."""
    global _http_date
    second, text = _http_date
    now = int(time())
    if now != second:
        text = formatdate(now, usegmt=True)
        _http_date = (now, text)
    return text


def log_time() -> str:
    """The local time as logs have it."""
    global _log_time
    second, text = _log_time
    now = int(time())
    if now != second:
        text = strftime("%Y-%m-%d %H:%M:%S", localtime(now))
        _log_time = (now, text)
    return text


class Writable(Protocol):
    """What a log is written to: a text file."""

    def write(self, text: str, /) -> object: ...


@runtime_checkable
class Logger(Protocol):
    """A logger of the standard library, or one with the same methods."""

    def info(self, message: str, /) -> object: ...
    def error(self, message: str, /) -> object: ...


class _Stderr:
    """What ``sys.stderr`` is at the time of a write: programs replace it."""

    def write(self, text: str) -> int:
        stderr = sys.stderr
        return len(text) if stderr is None else stderr.write(text)

    def writelines(self, lines: list[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()


class LoggerFile:
    """A logger as a file: each write is a message (as ``gevent.pywsgi.LoggingLogAdapter``)."""

    def __init__(self, logger: Logger, *, is_error_log: bool) -> None:
        self._log = logger.error if is_error_log else logger.info

    def write(self, text: str) -> int:
        message = text.rstrip("\n")
        if message:
            self._log(message)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        """Do nothing: a logger does not buffer."""


def log_file(
    log: Literal["default"] | Writable | Logger | None, *, is_error_log: bool = False
) -> Writable | None:
    """The file for the argument ``log`` or ``error_log`` of a server."""
    if log is None:
        return None
    if isinstance(log, str):
        if log != "default":
            raise ValueError(f'a log must be "default", a file, a logger or None, not {log!r}')
        return _Stderr()
    if isinstance(log, Logger):
        return LoggerFile(log, is_error_log=is_error_log)
    if hasattr(log, "write"):
        return log
    raise TypeError(f'a log must be "default", a file, a logger or None, not {log!r}')
