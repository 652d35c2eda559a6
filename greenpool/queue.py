"""Queues and channels (as ``gevent.queue`` and ``queue``).

They may be made before there is any hub, and used from every greenlet of every hub and every plain thread.
Their bodies are in ``_sync``.
"""

from __future__ import annotations

from queue import Empty, Full

from ._sync.channel import Channel
from ._sync.queue import JoinableQueue, LifoQueue, PriorityQueue, Queue
from ._sync.simple_queue import ShutDown, SimpleQueue

__all__ = [
    "Channel",
    "Empty",
    "Full",
    "JoinableQueue",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]

# In reprs and pickles, the classes name the module that programs import them from.
for _class in (Channel, LifoQueue, PriorityQueue, Queue, SimpleQueue):
    _class.__module__ = __name__
