"""``gevent.resolver.blocking``: look-ups that block the hub."""

from __future__ import annotations

from greenpool.monkey import get_original

__all__ = ["Resolver"]


class Resolver:
    """Asks the system's resolver and blocks the hub meanwhile (as in gevent)."""

    def __init__(self, hub: object = None) -> None:
        self.getaddrinfo = get_original("socket", "getaddrinfo")
        self.gethostbyaddr = get_original("socket", "gethostbyaddr")
        self.gethostbyname = get_original("socket", "gethostbyname")
        self.gethostbyname_ex = get_original("socket", "gethostbyname_ex")
        self.getnameinfo = get_original("socket", "getnameinfo")

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
