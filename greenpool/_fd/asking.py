"""Calls that can say "not yet", and that nothing wakes: the caller asks again and again.

So it is with locks of files and of databases, which other processes hold.  To wait for them in a thread is
rejected: where the greenlet is killed meanwhile, the thread takes a lock that nobody wants any more.

*Threads*: any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from errno import EPERM
from typing import TypeVar

from .._core.current import cannot_park, thread_hub
from .._core.waiter import sleep

T = TypeVar("T")

# Seconds between two tries, at first and at most.
FIRST_SLEEP = 0.0005
LONGEST_SLEEP = 0.02

_native_sleep = time.sleep


def blocks_nobody() -> bool:
    """Whether the calling thread runs no greenlets, which a call that blocks would hold up."""
    return thread_hub() is None or cannot_park()


def until_granted(ask: Callable[[], T]) -> T:
    """Call *ask*, which asks for a lock of a file without waiting, until the lock is granted."""
    pause = pauses()
    while True:
        try:
            return ask()
        except (BlockingIOError, PermissionError) as error:
            # The lock of another process: EAGAIN on some systems, EACCES on others.  EPERM is another error.
            if error.errno == EPERM:
                raise
        pause()


def pauses(timeout: float | None = None) -> Callable[[], bool]:
    """A function that parks for a moment, longer each time; false once *timeout* seconds are over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    length = FIRST_SLEEP

    def pause() -> bool:
        nonlocal length
        seconds = length
        if deadline is not None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            seconds = min(seconds, remaining)
        length = min(2 * length, LONGEST_SLEEP)
        if blocks_nobody():
            _native_sleep(seconds)
        else:
            sleep(seconds)
        return True

    return pause
