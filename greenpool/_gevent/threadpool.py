"""``gevent.threadpool``: greenpool's pools, with gevent's parameter for the hub."""

from __future__ import annotations

from greenpool.threadpool import ThreadPool as _ThreadPool
from greenpool.threadpool import ThreadPoolExecutor

__all__ = ["ThreadPool", "ThreadPoolExecutor"]


class ThreadPool(_ThreadPool):
    """greenpool's ThreadPool.  *hub* is accepted for gevent's sake: any hub may use the pool."""

    def __init__(self, maxsize: int, hub: object = None, idle_task_timeout: float | None = -1) -> None:
        super().__init__(maxsize, idle_task_timeout)
