"""asyncio and greenlets, both ways.

A coroutine waits for a greenlet by ``await to_asyncio(greenlet)``, in whichever thread its loop runs.  A
greenlet waits for a coroutine by ``run_coroutine(coro)``: all such coroutines share one asyncio loop, which
runs in a thread of its own, started when first needed.

*The loop's thread* is a real one, also in a patched program, and no hub of greenpool's pool.  At the
interpreter's exit its tasks are cancelled and the thread ends.  The child of a fork starts a new loop when
it needs one.

asyncio is imported when first needed: that takes longer than the import of all of greenpool.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ._core.native import Lock, RLock, get_ident, start_new_thread
from ._core.task import Task
from ._core.waiter import Waiter
from .futures import as_future

if TYPE_CHECKING:
    import asyncio

__all__ = ["run_coroutine", "to_asyncio"]

T = TypeVar("T")

# What a task may take to end at the interpreter's exit.
EXIT_SECONDS = 5.0


def to_asyncio(greenlet: Task) -> asyncio.Future[Any]:
    """An awaitable for *greenlet*'s outcome; called in a coroutine.

    Cancelling it, or the asyncio task that awaits it, kills the greenlet and does not wait for its end.  A
    greenlet that a kill has ended cancels it.  An exception that ends it later is carried, and not reported
    on stderr besides.

    The greenlet's hub must be able to run meanwhile.  Where the asyncio loop has taken over a thread,
    that thread's own greenlets stand still; those of a pool do not.

    Raises RuntimeError where no asyncio loop is running.
    """
    import asyncio

    return asyncio.wrap_future(as_future(greenlet), loop=asyncio.get_running_loop())


def run_coroutine(coro: Coroutine[Any, Any, T]) -> T:
    """Park the calling greenlet until *coro*, run by the asyncio loop, has ended; returns its value.

    An exception comes out here, also ``asyncio.CancelledError``.  The coroutine runs in a copy of the
    caller's ``contextvars`` context.

    When the greenlet is killed, or its Timeout strikes, the coroutine is cancelled, and the greenlet goes
    on when the coroutine has ended.  Its value is then dropped; an exception other than CancelledError is
    reported by asyncio.

    Raises TypeError where *coro* is no coroutine, RuntimeError in the loop's own thread, which would wait
    for itself.  Any other thread.
    """
    import asyncio

    if not asyncio.iscoroutine(coro):
        raise TypeError(f"coro must be a coroutine, not {coro!r}")
    try:
        loop = _shared_loop()
        if get_ident() == loop.thread_id:
            raise RuntimeError(
                "run_coroutine would wait for the asyncio loop in whose thread it was called; "
                "await the coroutine instead"
            )
        waiter = _CoroutineWaiter(loop.asyncio_loop)
        if waiter.greenlet.interrupts:
            raise waiter.greenlet.interrupts.popleft()
        loop.asyncio_loop.call_soon_threadsafe(waiter.start, coro)
    except BaseException:
        coro.close()
        raise
    waiter.park()
    value: T = waiter.outcome()
    return value


class _CoroutineWaiter(Waiter):
    """Parks a greenlet on an asyncio task.

    A kill does not end the wait: it cancels the task, whose end does.  The kill is raised after that.
    """

    __slots__ = ("asyncio_loop", "task", "interrupted")

    def __init__(self, asyncio_loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(RLock())
        self.asyncio_loop = asyncio_loop
        self.task: asyncio.Task[Any] | None = None
        self.interrupted = False

    # In the asyncio loop's thread, and in its copy of the caller's context.

    def start(self, coro: Coroutine[Any, Any, Any]) -> None:
        self.task = self.asyncio_loop.create_task(coro)
        self.task.add_done_callback(self.wake)

    def cancel(self) -> None:
        # It was called for after ``start``, so there is a task.
        self.task.cancel()  # type: ignore[union-attr]

    # In the hub's thread.

    def throw(self, greenlet: object, exception: BaseException) -> bool:
        if not self.state:
            self.interrupted = True
            self.asyncio_loop.call_soon_threadsafe(self.cancel)
        return False

    # The greenlet itself.

    def outcome(self) -> Any:
        greenlet = self.greenlet
        if self.interrupted and greenlet.interrupts:
            raise greenlet.interrupts.popleft()
        return self.value.result()


class _Loop:
    """An asyncio loop in a thread of its own."""

    def __init__(self) -> None:
        import asyncio

        self.asyncio_loop = asyncio.new_event_loop()
        self.thread_id = 0
        self._stopping = False
        # Held while the thread runs.
        self._running = Lock()
        self._running.acquire()
        try:
            start_new_thread(self._run, ())
        except BaseException:
            self.asyncio_loop.close()
            raise

    def _run(self) -> None:
        self.thread_id = get_ident()
        loop = self.asyncio_loop
        try:
            while not self._stopping:
                try:
                    loop.run_forever()
                except (KeyboardInterrupt, SystemExit):
                    pass  # a task's; whoever waits for the task gets it like any other exception
            self._cancel_tasks()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        finally:
            self._running.release()

    def _cancel_tasks(self) -> None:
        import asyncio

        tasks = asyncio.all_tasks(self.asyncio_loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.asyncio_loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    def stop(self) -> None:
        """End the thread; its tasks are cancelled and get EXIT_SECONDS for their ``finally`` blocks."""
        self._stopping = True
        self.asyncio_loop.call_soon_threadsafe(self.asyncio_loop.stop)
        self._running.acquire(timeout=EXIT_SECONDS)


class _Shared:
    """The one loop of this process."""

    loop: _Loop | None = None
    lock = Lock()
    # Loops of the parent of a fork.  Their epolls and sockets are shared with the parent, so they must not
    # be closed, as their finalizers would.
    left_behind: list[_Loop | None] = []


def _shared_loop() -> _Loop:
    with _Shared.lock:
        if _Shared.loop is None:
            _Shared.loop = _Loop()
        return _Shared.loop


@atexit.register
def _stop_at_exit() -> None:
    if _Shared.loop is not None:
        _Shared.loop.stop()


def _after_fork_in_child() -> None:
    _Shared.left_behind.append(_Shared.loop)
    _Shared.loop = None
    _Shared.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
