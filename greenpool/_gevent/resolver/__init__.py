"""``gevent.resolver``: the system's resolver on threads, and one that blocks."""

from __future__ import annotations

hostname_types = (str, bytes, bytearray)
"""What a host may be given as."""
