"""Responses: their head, their framing, and bodies that are strings, iterables or files.

*Framing.*  A body whose length is known has a Content-Length: the application's own, or the length of a list
that the application returns.  Any other body is sent in chunks to a client of HTTP/1.1, and up to the end of
the connection to one of HTTP/1.0.  Nothing is buffered: each part of an iterable is sent when it comes.

*Threads*: the greenlet of the connection alone uses a response.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from stat import S_ISREG
from types import TracebackType
from typing import IO, Protocol

from .logs import http_date

# A response is sent in blocks of this size at most, and the client has to take each in time.
BLOCK = 1_048_576
# A body up to this size is sent together with its head, which costs a copy and saves a system call.
_SMALL = 65_536

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
# What is special about a header, by its name as applications write it.
_ORDINARY, _CONTENT_LENGTH, _CONNECTION, _DATE, _TRANSFER_ENCODING = range(5)
_SPECIAL = {
    "content-length": _CONTENT_LENGTH,
    "connection": _CONNECTION,
    "date": _DATE,
    "transfer-encoding": _TRANSFER_ENCODING,
}
_known_names: dict[str, int] = {}
_STATUS = re.compile(r"[1-9][0-9][0-9]( [\t\x20-\x7e\x80-\xff]*)?\Z")
_known_statuses: set[str] = set()
# These two take so many texts and no more: an application may make new ones for ever.
_MOST_KNOWN = 1_000

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Transport(Protocol):
    """What a response is sent through."""

    def send(self, data: bytes | memoryview) -> None: ...
    def send_file(self, file: IO[bytes], offset: int, count: int) -> int: ...


class FileWrapper:
    """``wsgi.file_wrapper``: a file as a response, by the system's ``sendfile`` where that can be used.

    That is a file of the operating system and a connection without TLS.  Any other object with ``read`` is
    read and sent in blocks of *blksize* bytes.
    """

    def __init__(self, filelike: IO[bytes], blksize: int = 65_536) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self.filelike.read(self.blksize)
        if not data:
            raise StopIteration
        return data

    def span(self) -> tuple[int, int] | None:
        """The offset and the size of what is left of the file, or None if it is no regular file."""
        try:
            descriptor = self.filelike.fileno()
            offset = self.filelike.tell()
            status = os.fstat(descriptor)
        except (AttributeError, OSError, ValueError):
            return None
        if not S_ISREG(status.st_mode) or not 0 <= offset <= status.st_size:
            return None
        return offset, status.st_size - offset


class Response:
    """The answer to one request.

    *may_keep_alive*: whether the connection may serve another request afterwards.
    """

    __slots__ = (
        "_chunked",
        "_has_body",
        "_headers",
        "_is_head",
        "_is_http_1_1",
        "_left",
        "_special",
        "_transport",
        "head_sent",
        "length",
        "may_keep_alive",
        "sent",
        "status",
    )

    def __init__(self, transport: Transport, is_head: bool, is_http_1_1: bool, may_keep_alive: bool) -> None:
        self._transport = transport
        self._is_head = is_head
        self._is_http_1_1 = is_http_1_1
        self.may_keep_alive = may_keep_alive
        self.status: str | None = None
        self._headers: list[tuple[str, str]] = []
        # A bit for each kind of special header that the application has set.
        self._special = 0
        #: Whether the head has gone out.
        self.head_sent = False
        #: The length of the body, if it was said.
        self.length: int | None = None
        #: The bytes of the body that were sent.
        self.sent = 0
        self._left = 0
        self._chunked = False
        self._has_body = True

    # For the application.

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Write:
        """Take the status and the headers (PEP 3333)."""
        if exc_info is not None:
            try:
                if self.head_sent and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                # No circle by the frame of the traceback.
                exc_info = None
        elif self.status is not None:
            raise AssertionError("start_response was called twice, and without exc_info")
        if status not in _known_statuses:
            _check_status(status)
        length: int | None = None
        special = 0
        for name, value in headers:
            kind = _known_names.get(name)
            if kind is None:
                kind = _check_name(name)
            if kind:
                special |= 1 << kind
                if kind == _CONTENT_LENGTH:
                    length = _length_of(value)
                elif kind == _CONNECTION and "close" in value.lower():
                    self.may_keep_alive = False
        if special & 1 << _CONNECTION:
            # Whether the connection goes on is for the server to say.
            headers = [(name, value) for name, value in headers if _known_kind(name) != _CONNECTION]
        self.status = status
        self._headers = headers
        self._special = special
        self.length = length
        return self.write

    def write(self, data: bytes) -> None:
        """Send *data* now; the function that ``start_response`` returns."""
        if type(data) is not bytes:
            data = _as_bytes(data)
        if not self.head_sent:
            self._send_head(data)
        elif data:
            self._send_part(data)

    # For the server.

    def send(self, result: Iterable[bytes]) -> None:
        """Send all of what the application returned."""
        if isinstance(result, FileWrapper) and self._send_file(result):
            return
        if self.length is None and not self.head_sent and isinstance(result, (list, tuple)):
            parts = [part if type(part) is bytes else _as_bytes(part) for part in result]
            if self.status is not None and (parts or not self._is_head):
                self.length = sum(map(len, parts))
                if len(parts) != 1 and self.length <= _SMALL:
                    parts = [b"".join(parts)]
            result = parts
        for part in result:
            # An empty part sends nothing, not even the head: the application may still fail.
            if part:
                self.write(part)
        self.finish()

    def finish(self) -> None:
        """Send what is still missing: the head, the last chunk."""
        if not self.head_sent:
            if self.length is None:
                self.length = 0 if self._status_may_have_body() and not self._is_head else None
            self._send_head(b"")
        if self._chunked:
            self._transport.send(b"0\r\n\r\n")
        elif self._left and self._has_body:
            # Less than was promised: the client must see that.
            self.may_keep_alive = False

    def _status_may_have_body(self) -> bool:
        if self.status is None:
            raise AssertionError("the application has not called start_response")
        return not self.status.startswith(("1", "204", "304"))

    def _send_head(self, data: bytes) -> None:
        """Send the head, together with *data*, the first part of the body."""
        has_body = self._status_may_have_body()
        status = self.status
        headers = self._headers
        # A line end in a value would let the application's user write headers of his own.
        text = "\r\n".join([f"{name}: {value}" for name, value in headers])
        ends = len(headers) - 1 if headers else 0
        if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
            raise ValueError("a control character in the value of a header")
        lines = [f"HTTP/1.1 {status}"]
        if text:
            lines.append(text)
        special = self._special
        if not special & 1 << _DATE:
            lines.append(f"Date: {http_date()}")
        length = self.length
        if length is not None:
            if has_body and not special & 1 << _CONTENT_LENGTH:
                lines.append(f"Content-Length: {length}")
        elif has_body and not self._is_head:
            if self._is_http_1_1 and not special & 1 << _TRANSFER_ENCODING:
                self._chunked = True
                lines.append("Transfer-Encoding: chunked")
            else:
                self.may_keep_alive = False
        if not self.may_keep_alive:
            lines.append("Connection: close")
        elif not self._is_http_1_1:
            lines.append("Connection: keep-alive")
        lines.append("\r\n")
        head = "\r\n".join(lines).encode("latin-1")
        self._has_body = has_body and not self._is_head
        self._left = length or 0
        # From here on the status cannot be changed.
        self.head_sent = True
        if not self._has_body:
            self._chunked = False
            self._transport.send(head)
        elif self._chunked and data:
            self._transport.send(b"%b%x\r\n%b\r\n" % (head, len(data), data))
            self.sent += len(data)
        elif len(data) > _SMALL:
            self._transport.send(head)
            self._send_part(data)
        else:
            if length is not None:
                data = data[:length]
                self._left -= len(data)
            self._transport.send(head + data)
            self.sent += len(data)

    def _send_part(self, data: bytes) -> None:
        if not self._has_body:
            return
        if self._chunked:
            if len(data) <= _SMALL:
                self._transport.send(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                self._transport.send(b"%x\r\n" % len(data))
                self._transport.send(data)
                self._transport.send(b"\r\n")
            self.sent += len(data)
            return
        if self.length is not None:
            # More than was promised would be taken for the next response.
            data = data[: self._left]
            self._left -= len(data)
        self._transport.send(data)
        self.sent += len(data)

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Send a regular file; False if it is none."""
        span = wrapper.span()
        if span is None or self.status is None or self.head_sent:
            return False
        offset, size = span
        if self.length is None:
            self.length = size
        count = min(size, self.length)
        self._send_head(b"")
        if self._has_body:
            sent = self._transport.send_file(wrapper.filelike, offset, count)
            self.sent += sent
            self._left -= sent
        self.finish()
        return True


class Write(Protocol):
    """The function that ``start_response`` returns."""

    def __call__(self, data: bytes, /) -> None: ...


def _check_status(status: str) -> None:
    if type(status) is not str:
        raise TypeError(f"the status must be a str, not {status!r}")
    if not _STATUS.match(status):
        raise ValueError(f"the status must be like '200 OK', not {status!r}")
    if len(_known_statuses) < _MOST_KNOWN:
        _known_statuses.add(status)


def _known_kind(name: str) -> int:
    kind = _known_names.get(name)
    return _check_name(name) if kind is None else kind


def _check_name(name: str) -> int:
    if type(name) is not str:
        raise TypeError(f"the name of a header must be a str, not {name!r}")
    if not _NAME.match(name):
        raise ValueError(f"the name of a header must be a token, not {name!r}")
    kind = _SPECIAL.get(name.lower(), _ORDINARY)
    if len(_known_names) < _MOST_KNOWN:
        _known_names[name] = kind
    return kind


def _length_of(value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise ValueError(f"Content-Length must be a number, not {value!r}")
    return int(value)


def _as_bytes(data: object) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"an application returns bytes, not {data!r}")
