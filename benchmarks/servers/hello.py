"""The HTTP/1.1 of the hello-world servers: every request is taken for one without a body."""

END_OF_HEAD = b"\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"


def split_requests(received: bytes) -> tuple[int, bytes]:
    """How many whole requests are in ``received``, and what is left over of the next one."""
    *heads, rest = received.split(END_OF_HEAD)
    return len(heads), rest
