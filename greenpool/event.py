"""Events and results that greenlets wait for (as ``gevent.event``).

They may be made before there is any hub, and used from every greenlet of every hub and every plain thread.
Their bodies are in ``_sync``.
"""

from __future__ import annotations

from ._sync.async_result import AsyncResult
from ._sync.event import Event

__all__ = [
    "AsyncResult",
    "Event",
]

# In reprs and pickles, the classes name the module that programs import them from.
for _class in (AsyncResult, Event):
    _class.__module__ = __name__
