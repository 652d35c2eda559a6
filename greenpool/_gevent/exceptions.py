"""The exceptions of ``gevent.exceptions``; greenpool itself raises only LoopExit."""

from __future__ import annotations

from greenlet import GreenletExit

from greenpool.greenlet import LoopExit

__all__ = [
    "BlockingSwitchOutError",
    "ConcurrentObjectUseError",
    "HubDestroyed",
    "InvalidSwitchError",
    "InvalidThreadUseError",
    "LoopExit",
]


class BlockingSwitchOutError(AssertionError):
    """gevent raises it if code in the loop waits; greenpool raises RuntimeError then."""


class InvalidSwitchError(AssertionError):
    """gevent raises it if a greenlet was resumed by the wrong party."""


class ConcurrentObjectUseError(AssertionError):
    """gevent raises it if two greenlets use one watcher; greenpool lets both wait."""


class InvalidThreadUseError(RuntimeError):
    """gevent raises it if an object is used in another thread than its own; in greenpool that is allowed."""


class HubDestroyed(GreenletExit):
    """gevent raises it in a hub that is destroyed."""

    def __init__(self, destroy_loop: bool) -> None:
        super().__init__(destroy_loop)
        self.destroy_loop = destroy_loop
