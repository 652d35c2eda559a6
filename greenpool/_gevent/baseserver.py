"""``gevent.baseserver``: the base of all servers, which greenpool has in ``server``."""

from __future__ import annotations

from greenpool.server import BaseServer

__all__ = ["BaseServer"]
