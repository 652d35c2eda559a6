"""Green threads for Python that use every core.

A pool of hubs, one per OS thread, each running greenlets over its own edge-triggered poller::

    import greenpool

    def main():
        greenlets = [greenpool.spawn(fetch, url) for url in urls]
        return [greenlet.get() for greenlet in greenlets]

    greenpool.run(main)
"""

from __future__ import annotations

from .greenlet import (
    Greenlet,
    GreenletExit,
    LoopExit,
    SpawnError,
    getcurrent,
    iwait,
    joinall,
    killall,
    spawn,
    spawn_later,
    wait,
)
from .hub import Hub, get_hub, idle, sleep
from .runtime import Builder, Handle, Runtime, StreamSpawnError, current_handle, run
from .timeout import Timeout, with_timeout

__version__ = "0.1.0"

__all__ = [
    "Builder",
    "Greenlet",
    "GreenletExit",
    "Handle",
    "Hub",
    "LoopExit",
    "Runtime",
    "SpawnError",
    "StreamSpawnError",
    "Timeout",
    "current_handle",
    "get_hub",
    "getcurrent",
    "idle",
    "iwait",
    "joinall",
    "killall",
    "run",
    "sleep",
    "spawn",
    "spawn_later",
    "wait",
    "with_timeout",
]
