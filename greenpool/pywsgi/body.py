"""``wsgi.input``: the body of a request as a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

# Bytes that a line or a read of all may take from the connection at a time are the reader's to choose.


class Body:
    """The body of a request that has not come as a whole, read as the application asks for it.

    *receive* returns some bytes, or ``b""`` at the end.  It raises OSError if the body is malformed or the
    client has gone.  A file of PEP 3333: ``read``, ``readline``, ``readlines`` and iteration.
    """

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = b""

    def read(self, size: int | None = -1) -> bytes:
        """Return *size* bytes, fewer only at the end; all that is left if *size* is negative or None."""
        parts = [self._buffer]
        have = len(self._buffer)
        self._buffer = b""
        whole = size is None or size < 0
        limit = 0 if size is None else size
        while whole or have < limit:
            part = self._receive()
            if not part:
                break
            parts.append(part)
            have += len(part)
        data = b"".join(parts)
        if whole or have <= limit:
            return data
        self._buffer = data[limit:]
        return data[:limit]

    def read1(self, size: int = -1) -> bytes:
        """Return what there is, at most *size* bytes; wait only if there is nothing."""
        data = self._buffer or self._receive()
        if size < 0:
            size = len(data)
        self._buffer = data[size:]
        return data[:size]

    def readline(self, size: int | None = -1) -> bytes:
        """Return a line with its end, or at most *size* bytes of it."""
        limit = None if size is None or size < 0 else size
        parts: list[bytes] = []
        have = 0
        while limit is None or have < limit:
            data = self._buffer or self._receive()
            if not data:
                break
            end = data.find(b"\n") + 1
            take = end or len(data)
            if limit is not None:
                take = min(take, limit - have)
            parts.append(data[:take])
            self._buffer = data[take:]
            have += take
            if take == end:
                break
        return b"".join(parts)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Return the lines that are left, or those up to *hint* bytes."""
        lines = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line
