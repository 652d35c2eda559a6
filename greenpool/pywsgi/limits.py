"""What a client may ask of the server, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .._core.seconds import check_seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a ``WSGIServer``: sizes in bytes, times in seconds.

    A request that exceeds a size is refused and its connection closed.  A connection that exceeds a time is
    closed; if the time was for the head of a request, the client gets 408 first.  Raises ValueError if a size
    is not positive, or a time is negative.
    """

    #: The request line (else 414).
    request_line: int = 8_190
    #: The number of headers, and that of trailers (else 431).
    headers: int = 100
    #: The request line and all headers together (else 431).
    head: int = 65_536
    #: The body (else 413); None for any size.
    body: int | None = None
    #: The line of a chunk's size, or a trailer (else 400).
    chunk_line: int = 4_096
    #: The rest of a body that is read and dropped when the application has not read it.  A connection with a
    #: longer rest is closed.
    unread_body: int = 65_536
    #: How long a connection may stay between two requests, and before the first.
    idle_seconds: float = 60.0
    #: How long the head of a request may take from its first byte.
    head_seconds: float = 30.0
    #: How long each wait for more of a body may take.
    body_seconds: float = 60.0
    #: How long the client may take to receive the next megabyte of a response.
    send_seconds: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_seconds"):
                check_seconds(field.name, value)
            elif value is None and field.name == "body":
                continue
            elif isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{field.name} must be an int, not {value!r}")
            elif value < 0:
                raise ValueError(f"{field.name} must not be negative, not {value!r}")

    @property
    def shortest(self) -> float:
        """The shortest of the times."""
        return min(self.idle_seconds, self.head_seconds, self.body_seconds, self.send_seconds)
