"""The listening socket that every server here starts from."""

import contextlib
import socket

READ_SIZE = 65536
"""The size that every server asks for in one read."""


def listen() -> socket.socket:
    """Return a listening TCP socket on a free port of 127.0.0.1, and print the port.

    Two options are set here because accepted sockets inherit them. TCP_NODELAY: some peers always set it and
    some never do. 64 KiB is slightly more than one full segment of the loopback device, so Nagle's algorithm
    would decide the result. TCP_CONGESTION: if the system's default is BBR, which paces, the result would
    include its timers. Every kernel has reno built in.
    """
    with contextlib.suppress(ImportError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_CONGESTION"):
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    return listener
