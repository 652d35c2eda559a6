"""The HTTP/1.1 of the hello-world servers, which assume that no request has a body."""

END_OF_HEAD = b"\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"


def split_requests(received: bytes) -> tuple[int, bytes]:
    """Return how many whole requests are in ``received``, and the part of the next one that is left over."""
    *heads, rest = received.split(END_OF_HEAD)
    return len(heads), rest
