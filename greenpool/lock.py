"""Locks, semaphores, conditions and barriers (as ``gevent.lock`` and ``threading``).

They may be made before there is any hub, and used from every greenlet of every hub and every plain thread.
Their bodies are in ``_sync``.
"""

from __future__ import annotations

from threading import BrokenBarrierError

from ._sync.barrier import Barrier
from ._sync.condition import Condition
from ._sync.lock import Lock
from ._sync.rlock import RLock
from ._sync.semaphore import BoundedSemaphore, DummySemaphore, Semaphore

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "DummySemaphore",
    "Lock",
    "RLock",
    "Semaphore",
]

# In reprs and pickles, the classes name the module that programs import them from.
for _class in (Barrier, BoundedSemaphore, Condition, DummySemaphore, Lock, RLock, Semaphore):
    _class.__module__ = __name__
