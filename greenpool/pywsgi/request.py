"""Reading requests: httptools parses them, and this module decides which bytes it gets.

*One request at a time.*  The parser never sees a byte of the next request before the answer to this one has
been sent.  So it needs no pause: the reader feeds it a head up to its empty line, then a body by its length,
or a chunked body line by line and chunk by chunk.  The reader computes the size of a chunk from a line that
the parser has accepted, so both agree where the body ends.

*What is refused on top of the parser*: a missing, repeated or malformed Host, more than one space in the
request line, versions other than 1.0 and 1.1, a target with a fragment, CONNECT, and a Transfer-Encoding
other than "chunked".  Each of these is read by some servers in one way and by others in another.

*Threads*: the greenlet of the connection alone uses a reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from .limits import Limits

_READ_SIZE = 65_536
_HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:%\[\]]*\Z")
_UPGRADE_LINE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class BadRequest(Exception):
    """A request that is refused with *status*; the connection is closed then."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Gone(Exception):
    """The client has closed the connection, or has taken too long."""


def malformed(reason: str) -> BadRequest:
    return BadRequest("400 Bad Request", reason)


class RequestReader:
    """The requests of one connection, one after another; also the protocol that httptools calls.

    *receive* returns the next bytes, at most so many, or ``b""`` at the end of the stream.
    """

    def __init__(self, receive: Callable[[int], bytes], limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._buffer = b""
        self._checked_host = b""
        self._parser = HttpRequestParser(self)
        self._feed = self._parser.feed_data
        self._begin()

    def _begin(self) -> None:
        #: The names and values of the headers; trailers come behind them.
        self.headers: list[tuple[bytes, bytes]] = []
        #: Whether the last byte of the request was read.
        self.complete = False
        self.target = b""
        self.method = b""
        self.line = b""
        self.is_http_1_1 = True
        self.keep_alive = False
        self.upgrades = False
        #: The value of Expect, in lower case.
        self.expects = b""
        self.length: int | None = None
        self.chunked = False
        self._body: list[bytes] = []
        self._head_ends = False
        self._received = 0
        # Of a chunked body: the bytes up to the end of the chunk, and the line that is being read.
        self._chunk_left = 0
        self._chunk_line = b""
        self._chunk_begins = False
        self._trailers_from = 0

    # Called by httptools.

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        # The parser forgets it when the request is complete.
        self.keep_alive = self._parser.should_keep_alive()
        self._head_ends = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_chunk_header(self) -> None:
        self._chunk_begins = True

    def on_message_complete(self) -> None:
        self.complete = True

    # The head.

    @property
    def has_begun(self) -> bool:
        """Whether some bytes of the next request have come."""
        return bool(self._buffer)

    def wait(self) -> bool:
        """Wait for the first bytes of the next request; False at the end of the stream."""
        if not self._buffer:
            self._buffer = self._receive(_READ_SIZE)
        return bool(self._buffer)

    def read_head(self) -> None:
        """Read the head of the request whose first bytes have come.

        Raises BadRequest if it is refused, and Gone if the stream ends.
        """
        self._begin()
        head = self._buffer
        if head.startswith(b"\r\n"):
            head = self._skip_empty_lines(head)
        end = head.find(b"\r\n\r\n") + 4
        try:
            if end > 3:
                self._check_size(head, end)
                self._buffer = head[end:]
                head = head[:end]
                self._feed(head)
            else:
                head = self._read_in_pieces(head)
        except HttpParserUpgrade:
            self._upgrade(head)
        except HttpParserError as error:
            raise malformed(str(error)) from None
        self._check_head(head)

    def _skip_empty_lines(self, head: bytes) -> bytes:
        """*head* from its request line on: empty lines before that are allowed."""
        for _ in range(self._limits.headers):
            head = head.removeprefix(b"\r\n")
            if not head:
                head = self._receive(_READ_SIZE)
                if not head:
                    raise Gone
            if not head.startswith(b"\r\n"):
                return head
        raise malformed("empty lines in the place of a request")

    def _check_size(self, head: bytes | bytearray, size: int) -> None:
        limit = self._limits.request_line
        if head.find(b"\n", 0, limit + 2) < 0 and size > limit:
            raise BadRequest("414 URI Too Long", "the request line is too long")
        if size > self._limits.head:
            raise BadRequest("431 Request Header Fields Too Large", "the headers are too long")

    def _read_in_pieces(self, first: bytes) -> bytes:
        """Read a head that has not come as a whole, so that an error in its first bytes shows at once."""
        head = bytearray(first)
        self._buffer = b""
        fed = 0
        end = 3
        while end < 4:
            self._check_size(head, len(head))
            # The last bytes may be the beginning of the empty line; what comes behind it must not be fed.
            safe = max(fed, len(head) - 3)
            self._feed(bytes(head[fed:safe]))
            searched, fed = max(0, len(head) - 3), safe
            more = self._receive(_READ_SIZE)
            if not more:
                raise Gone
            head += more
            end = head.find(b"\r\n\r\n", searched) + 4
        self._check_size(head, end)
        self._buffer = bytes(head[end:])
        whole = bytes(head[:end])
        try:
            self._feed(whole[fed:])
        except HttpParserUpgrade:
            self._upgrade(whole)
        return whole

    def _upgrade(self, head: bytes) -> None:
        """Let a request to upgrade to WebSocket pass, and read another one as if it did not ask."""
        protocols = [value.lower() for name, value in self.headers if name.lower() == b"upgrade"]
        if self._parser.get_method() == b"CONNECT":
            raise malformed("CONNECT is for proxies")
        if protocols == [b"websocket"] and self._parser.get_method() == b"GET":
            self.upgrades = True
            if self._buffer:
                raise malformed("data behind a request to upgrade")
            return
        self._begin()
        self._parser = HttpRequestParser(self)
        self._feed = self._parser.feed_data
        try:
            self._feed(_UPGRADE_LINE.sub(b"", head))
        except HttpParserUpgrade:
            raise malformed("an upgrade that is no upgrade") from None

    def _check_head(self, head: bytes) -> None:
        self.line = line = head[: head.index(b"\r\n")]
        parts = line.split(b" ")
        self.method = method = self._parser.get_method()
        if len(parts) != 3 or parts[0] != method or parts[1] != self.target:
            raise malformed("the request line is no request line")
        self.is_http_1_1 = parts[2] == b"HTTP/1.1"
        if not self.is_http_1_1 and parts[2] != b"HTTP/1.0":
            raise malformed("only HTTP/1.0 and HTTP/1.1 are spoken here")
        target = self.target
        if b"#" in target:
            raise malformed("a fragment in the target")
        if not target.startswith(b"/") and (method != b"OPTIONS" or target != b"*"):
            scheme = target[:8].lower()
            if not scheme.startswith((b"http://", b"https://")):
                raise malformed("the target is neither a path nor a URL")
        headers = self.headers
        if len(headers) > self._limits.headers:
            raise BadRequest("431 Request Header Fields Too Large", "too many headers")
        host: bytes | None = None
        for name, value in headers:
            # Only names of these lengths are looked at: this runs for each header of each request.
            size = len(name)
            if size == 4:
                if name.lower() == b"host":
                    if host is not None:
                        raise malformed("more than one Host")
                    host = value
            elif size == 6:
                if name.lower() == b"expect":
                    self.expects = value.lower()
            elif size == 14:
                if name.lower() == b"content-length":
                    self.length = int(value)
            elif size == 17:
                if name.lower() == b"transfer-encoding":
                    self._check_transfer_encoding(value)
        if host is None:
            if self.is_http_1_1:
                raise malformed("no Host")
        elif host != self._checked_host:
            if not _HOST.match(host):
                raise malformed("the Host is no host")
            self._checked_host = host
        self._check_body()

    def _check_transfer_encoding(self, value: bytes) -> None:
        if not self.is_http_1_1:
            raise malformed("Transfer-Encoding in HTTP/1.0")
        if value.lower() != b"chunked":
            raise BadRequest("501 Not Implemented", "the only Transfer-Encoding here is chunked")
        self.chunked = True

    def _check_body(self) -> None:
        if self.upgrades:
            self.keep_alive = False
            if self.length or self.chunked:
                raise malformed("a request to upgrade with a body")
        if not self._head_ends or not (self.complete or self.length or self.chunked):
            raise malformed("the head does not end")
        limit = self._limits.body
        if limit is not None and self.length is not None and self.length > limit:
            raise BadRequest("413 Content Too Large", "the body is too long")
        if self.expects and self.expects != b"100-continue":
            raise BadRequest("417 Expectation Failed", "an expectation that is not known")
        self._trailers_from = len(self.headers)

    # The body.

    def feed_buffered(self) -> None:
        """Parse what has come of the body; raises BadRequest if it is malformed."""
        while self._buffer and not self.complete:
            self._feed_body()

    @property
    def has_body_bytes(self) -> bool:
        """Whether anything of the body has come."""
        return bool(self._buffer) or self._received > 0

    def take_body(self) -> bytes:
        """Return what was parsed of the body and not taken yet."""
        body = self._body
        if not body:
            return b""
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        return data

    def read_body(self) -> bytes:
        """Wait for some bytes of the body; ``b""`` at its end.

        Raises BadRequest if it is malformed, and Gone if the stream ends before.
        """
        while not self._body and not self.complete:
            if not self._buffer:
                self._buffer = self._receive(_READ_SIZE)
                if not self._buffer:
                    raise Gone
            self._feed_body()
        return self.take_body()

    def _feed_body(self) -> None:
        try:
            if self.chunked:
                self._feed_chunked()
            else:
                assert self.length is not None
                piece = self._take(self.length - self._received)
                self._received += len(piece)
                self._feed(piece)
        except HttpParserError as error:
            raise malformed(str(error)) from None

    def _take(self, size: int) -> bytes:
        piece, self._buffer = self._buffer[:size], self._buffer[size:]
        return piece

    def _feed_chunked(self) -> None:
        if self._chunk_left:
            piece = self._take(self._chunk_left)
            self._chunk_left -= len(piece)
            self._feed(piece)
            return
        # The size of a chunk, or a trailer.
        piece = self._take(self._buffer.find(b"\n") + 1 or len(self._buffer))
        self._chunk_line += piece
        if len(self._chunk_line) > self._limits.chunk_line:
            raise malformed("a line of the chunked body is too long")
        self._feed(piece)
        if self._chunk_begins:
            self._chunk_begins = False
            size = int(self._chunk_line.partition(b";")[0], 16)
            self._received += size
            limit = self._limits.body
            if limit is not None and self._received > limit:
                raise BadRequest("413 Content Too Large", "the body is too long")
            # With the CRLF behind the data.  The last chunk has none, and trailers follow it.
            self._chunk_left = size + 2 if size else 0
        if piece.endswith(b"\n"):
            self._chunk_line = b""
        if len(self.headers) - self._trailers_from > self._limits.headers:
            raise BadRequest("431 Request Header Fields Too Large", "too many trailers")
