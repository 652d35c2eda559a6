"""``gevent._hub_local``: the hub of the calling thread, and the class of hubs.

It is private in gevent, but the helpers of gevent's own tests, and some libraries, import it.
"""

from __future__ import annotations

from .hub import get_hub, get_hub_class, get_hub_if_exists, set_default_hub_class, set_hub

__all__ = [
    "get_hub",
    "get_hub_class",
    "get_hub_if_exists",
    "get_hub_noargs",
    "set_default_hub_class",
    "set_hub",
]

get_hub_noargs = get_hub
