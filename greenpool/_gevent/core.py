"""``gevent.core``: the classes of ``hub.loop``, as far as they exist here."""

from __future__ import annotations

from .loop import READ, WRITE
from .loop import Callback as callback
from .loop import Loop as loop

__all__ = ["READ", "WRITE", "callback", "loop"]
