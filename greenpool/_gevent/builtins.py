"""``gevent.builtins``: nothing is green there, because Python's locks of imports are green once patched."""

from __future__ import annotations

__all__: list[str] = []
