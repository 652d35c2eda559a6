"""The exceptions that the core itself raises."""

from __future__ import annotations

from greenlet import GreenletExit

__all__ = ["GreenletExit", "LoopExit", "SpawnError"]


class SpawnError(RuntimeError):
    """A spawn was refused: the hub or the pool that was to run the greenlet is shut down.

    A spawn that did not raise this runs; one that raised it has started nothing.
    """


class LoopExit(RuntimeError):
    """The main program waits for something that nothing can wake any more (as in gevent).

    It is raised in a main program that waits, also within ``run`` or ``block_on``.  The message lists what
    the parked greenlets of all hubs wait for, at which place, and which greenlets hold the locks among that.
    """
