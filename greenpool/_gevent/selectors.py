"""``gevent.selectors``: greenpool's selectors, and gevent's name for the default one."""

from __future__ import annotations

from greenpool.selectors import *  # noqa: F403
from greenpool.selectors import DefaultSelector

__all__ = ["DefaultSelector", "GeventSelector"]

GeventSelector = DefaultSelector
