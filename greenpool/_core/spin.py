"""Spinning: a hub looks at its queue for a moment, without the GIL, before it blocks in its poller.

inbox.py says when this pays.  While the hub spins it must not hold the GIL, or nobody could post.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from time import monotonic

from .native import HAS_GIL
from .speedups import speedups

# About 20 us of work for crc32, which releases the GIL for it.  Pure Python code has no other way to spin
# without the GIL.
BUSY_WORK_SIZE = 32 * 1024


def make_await_post_in_python() -> Callable[[Sized, float], bool]:
    # Imported here, because it is a library of its own that only pure Python needs.
    from binascii import crc32

    busy_work = bytes(BUSY_WORK_SIZE)

    def await_post(queue: Sized, seconds: float) -> bool:
        """Spin for about *seconds*, or until *queue* has an item; return whether it has one."""
        end = monotonic() + seconds
        while monotonic() < end:
            if HAS_GIL:
                crc32(busy_work)
            if queue:
                return True
        return False

    return await_post


await_post: Callable[[Sized, float], bool] = (
    make_await_post_in_python() if speedups is None else speedups.await_post
)
