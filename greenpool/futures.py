"""The bridge between greenlets and ``concurrent.futures.Future``, both ways.

A standard Future blocks the thread that waits for it.  So a greenlet waits for any Future by
``wait_future``, and the Futures made here do so by themselves in ``result`` and ``exception``.
``concurrent.futures.wait`` and ``as_completed`` accept all of them, but in an unpatched program these two
functions block the calling thread: right in a plain thread, wrong in a greenlet, which blocks its hub and
never returns when it waits for a greenlet of that hub.

Done callbacks run where the outcome is told: those of a greenlet's Future in the loop of its hub, those of
a thread pool in one of its threads.  They must not wait.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, TypeVar

from greenlet import GreenletExit

from ._core.current import getcurrent, thread_hub
from ._core.native import RLock, original_threading
from ._core.seconds import check_seconds
from ._core.task import Task
from ._core.waiter import Waiter, interrupt

__all__ = ["Future", "as_future", "wait_future"]

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """A Future that parks the greenlet that waits for it, and blocks a thread that has no hub."""

    def __init__(self) -> None:
        super().__init__()
        # In a patched program it would be a green one, for which a hub's loop could not wait.
        self._condition = original_threading().Condition(RLock())
        self._links: list[_Link] = []

    def rawlink(self, callback: Callable[[Future[T]], object]) -> None:
        """Have *callback(future)* called when the future is done, so that ``greenpool.wait`` can wait for it.

        It runs where the outcome is told, as a done callback does, and must not wait.
        """
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        link = _Link(callback)
        self._links.append(link)
        self.add_done_callback(link)

    def unlink(self, callback: Callable[[Future[T]], object]) -> None:
        """Take back a ``rawlink`` whose callback has not been called yet."""
        for link in self._links[:]:
            if link.callback == callback:
                link.callback = None
                self._links.remove(link)
                return

    def ready(self) -> bool:
        """The same as ``done``."""
        return self.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result and return it, or raise the exception (as the standard Future).

        Raises TimeoutError when *timeout* seconds have passed, and CancelledError if it was cancelled.
        """
        return super().result(_rest(self, timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return the exception, or None (as the standard Future).

        Raises TimeoutError when *timeout* seconds have passed, and CancelledError if it was cancelled.
        """
        return super().exception(_rest(self, timeout))


def _rest(future: Future[T], timeout: float | None) -> float | None:
    """Wait as a greenlet, if this is one; returns how long to wait otherwise."""
    if thread_hub() is None:
        return timeout
    _park(future, timeout)
    return 0


class _Link:
    """A done callback that can be taken back."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[Any], object]) -> None:
        self.callback: Callable[[Any], object] | None = callback

    def __call__(self, future: object) -> None:
        callback, self.callback = self.callback, None
        if callback is not None:
            callback(future)


class _Wake:
    """A done callback that can be let go of; a Future has no way to take one back."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: Waiter) -> None:
        self.waiter: Waiter | None = waiter

    def __call__(self, future: object) -> None:
        waiter = self.waiter
        if waiter is not None:
            waiter.wake()


def _park(future: concurrent.futures.Future[T], timeout: float | None) -> bool:
    if future.done():
        return True
    waiter = Waiter(RLock())
    wake = _Wake(waiter)
    future.add_done_callback(wake)
    try:
        return waiter.park(timeout)
    finally:
        wake.waiter = None


def wait_future(future: concurrent.futures.Future[T], timeout: float | None = None) -> bool:
    """Park the calling greenlet until *future*, of whatever kind, is done or cancelled.

    True, or False when *timeout* seconds passed before; the outcome is then what ``future.result()`` says
    at once.  A greenlet that is killed meanwhile leaves the future as it is.  Any thread.
    """
    if not isinstance(future, concurrent.futures.Future):
        raise TypeError(f"future must be a concurrent.futures.Future, not {future!r}")
    check_seconds("timeout", timeout)
    return _park(future, timeout)


def as_future(greenlet: Task[T]) -> Future[T]:
    """A Future of *greenlet*'s outcome; ``Greenlet.as_future`` is this function.  Any thread.

    ``cancel()`` kills the greenlet and does not wait for its end; a greenlet that calls it itself ends when
    it next parks.  A greenlet that a kill has ended leaves its Future cancelled.  An exception that ends it
    later is the Future's, and not reported on stderr besides.
    """
    if not isinstance(greenlet, Task):
        raise TypeError(f"greenlet must be a Greenlet, not {greenlet!r}")
    greenlet.quiet = True
    future: Future[T] = Future()

    def ended(greenlet: Task[T]) -> None:
        # Those who wait for the Future go on after the other links, as by a join.
        if not greenlet.call_last(settle):
            settle(greenlet)

    def settle(greenlet: Task[T]) -> None:
        if isinstance(greenlet.value, GreenletExit):
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        exception = greenlet.exception
        if exception is None:
            future.set_result(greenlet.get(block=False))
        else:
            future.set_exception(exception)

    # A Future keeps its callbacks, so this one must not refer to the Future in turn.
    def kill(future: concurrent.futures.Future[T]) -> None:
        if not future.cancelled():
            return
        carrier = greenlet.carrier
        if carrier is not None and carrier is getcurrent():
            # It cancels its own Future, and ends when it next parks: what is raised here would keep the
            # Future's other callbacks from being called.
            interrupt(carrier, GreenletExit())
        else:
            greenlet.kill(block=False)

    future.add_done_callback(kill)
    if greenlet.done and not greenlet.has_links():
        settle(greenlet)
    elif not greenlet.link_unless_over(ended):
        # By now it has ended.  A rawlink would leave the Future to the loop of the calling thread, and that
        # may block in ``concurrent.futures.wait``, or in an asyncio loop.
        settle(greenlet)
    return future
