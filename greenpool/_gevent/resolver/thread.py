"""``gevent.resolver.thread``: look-ups by the system's resolver, off the hub's thread."""

from __future__ import annotations

from greenpool import socket

__all__ = ["Resolver"]


class Resolver:
    """Asks the system's resolver on a thread (as in gevent); what ``greenpool.socket`` does anyway."""

    def __init__(self, hub: object = None) -> None:
        self.getaddrinfo = socket.getaddrinfo
        self.gethostbyaddr = socket.gethostbyaddr
        self.gethostbyname = socket.gethostbyname
        self.gethostbyname_ex = socket.gethostbyname_ex
        self.getnameinfo = socket.getnameinfo

    def close(self) -> None:
        """Do nothing: the threads are shared."""
