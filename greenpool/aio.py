"""asyncio and greenlets, both ways.

A coroutine waits for a greenlet by ``await to_asyncio(greenlet)``, in whichever thread its loop runs.  A
greenlet waits for a coroutine by ``run_coroutine(coro)``: all such coroutines share one asyncio loop, which
runs in a thread of its own, started when first needed.

*The loop's thread* is a real one, also in a patched program, and no hub of greenpool's pool.  The loop
blocks it, except in a patched program, so it runs no greenlets.  A coroutine's spawns therefore go where
those of the greenlet go that called ``run_coroutine``: the hub of that greenlet runs meanwhile.  The child
of a fork starts a new loop when it needs one.

*The loop's end*, at the interpreter's exit: it accepts no more coroutines, its tasks are cancelled, and when
the last has ended it is closed.  No greenlet is left waiting:

- a greenlet enters its waiter in ``waiters``, *then* looks whether the loop is ``accepting``, then posts;
- the loop sets ``accepting`` to false, runs until no task is left, closes, *then* empties ``waiters``, waking
  all that are in it.

Each change of the set is one step for all other threads.  A waiter that is entered before it is emptied is
woken; one that is entered after that finds the loop not accepting.  There is no lock for all of this: without
the GIL, ``a_list.extend(run_coroutine(coro) for coro in ...)`` on several threads would wait for the list
while it holds that lock, and park while it holds the list.

asyncio is imported when first needed: that takes longer than the import of all of greenpool.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Never, TypeVar, TypeVarTuple

from ._core.affinity import unpin
from ._core.current import getcurrent, set_thread_placement, thread_hub
from ._core.errors import SpawnError
from ._core.fork import at_fork
from ._core.interrupts import raise_interrupt
from ._core.native import Lock, RLock, get_ident, start_new_thread
from ._core.state import HubTask, Placement
from ._core.task import Task
from ._core.waiter import Waiter
from .futures import as_future
from .runtime import current_placement

if TYPE_CHECKING:
    import asyncio

__all__ = ["run_coroutine", "to_asyncio"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# An ``async def`` function returns one; the loop knows what it yields and is sent.
Coro = Coroutine[object, Never, T]

# Set in the context of each coroutine: where the greenlet that waits for it would spawn.
_placement: ContextVar[Placement] = ContextVar("placement")


def _place(task: HubTask, seconds: float | None = None) -> None:
    """Place what is spawned in the loop's thread."""
    placement = _placement.get(None)
    if placement is None:
        raise SpawnError("the asyncio loop's thread runs no greenlets, and no greenlet waits for this code")
    placement(task, seconds)


# At the interpreter's exit the asyncio tasks have so many seconds to end.
EXIT_SECONDS = 5.0


def to_asyncio(greenlet: Task[T]) -> asyncio.Future[T]:
    """An awaitable for *greenlet*'s outcome; called in a coroutine.

    Cancelling it, or the asyncio task that awaits it, kills the greenlet and does not wait for its end.  A
    greenlet that a kill has ended cancels it.  An exception that ends it later is carried, and not reported
    on stderr besides.

    The greenlet's hub must be able to run meanwhile.  Those of a pool can.  The hub of the thread in which
    the loop runs, be it one of a pool or not, can only in a patched program: otherwise the loop blocks the
    thread when it waits.

    Raises RuntimeError where no asyncio loop is running, and for a greenlet that can never run because its
    hub cannot.  Where the loop blocks its thread, that includes a greenlet that has not been started: a start
    in a coroutine would be one on that thread.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    if isinstance(greenlet, Task) and not greenlet.done:
        if greenlet.hub in (None, thread_hub()) and not _parks(loop):
            if greenlet.hub is None:
                raise RuntimeError(f"{greenlet!r} has not been started; start it on a pool first")
            raise RuntimeError(
                f"{greenlet!r} cannot run, because the asyncio loop blocks its thread; spawn it on a pool "
                "(by a Handle, or in greenpool.run(asyncio.run, ...)), or patch the program"
            )
    return asyncio.wrap_future(as_future(greenlet), loop=loop)


def _parks(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether *loop*, when it waits, lets other greenlets of its hub run: it has a selector of greenpool."""
    from . import selectors

    return type(getattr(loop, "_selector", None)).__module__ == selectors.__name__


def run_coroutine(coro: Coro[T]) -> T:
    """Park the calling greenlet until *coro*, run by the asyncio loop, has ended; returns its value.

    An exception comes out here, also ``asyncio.CancelledError``.  The coroutine runs in a copy of the
    caller's ``contextvars`` context.

    When the greenlet is killed, or its Timeout strikes, the coroutine is cancelled, and the greenlet goes
    on when the coroutine has ended.  Its value is then dropped; an exception other than CancelledError is
    reported by asyncio.

    Raises TypeError where *coro* is no coroutine, RuntimeError in the loop's own thread, which would wait
    for itself, and when the loop has ended, or begun to end, with the interpreter.  Any other thread.
    """
    import asyncio

    if not asyncio.iscoroutine(coro):
        raise TypeError(f"coro must be a coroutine, not {coro!r}")
    try:
        loop = _shared_loop()
        if get_ident() == loop.thread_id:
            raise RuntimeError(
                "run_coroutine was called in the thread of the asyncio loop that it would wait for; "
                "await the coroutine instead"
            )
        waiter = _CoroutineWaiter(loop)
        raise_interrupt(waiter.greenlet)
        loop.accept(waiter, coro)
    except BaseException:
        coro.close()
        raise
    waiter.park()
    if waiter.value is None:
        if waiter.task is None:
            coro.close()
        waiter.raise_interrupt()
        raise RuntimeError(f"the asyncio loop has ended before {coro!r} was done")
    waiter.raise_interrupt()
    value: T = waiter.value.result()
    return value


class _CoroutineWaiter(Waiter):
    """Parks a greenlet on an asyncio task, which becomes its value.

    A kill does not end the wait: it cancels the task, whose end does.  The kill is raised after that.
    """

    __slots__ = ("loop", "placement", "task", "interrupted")

    def __init__(self, loop: _Loop) -> None:
        super().__init__(RLock())
        self.loop = loop
        self.placement = current_placement()
        self.task: asyncio.Task[object] | None = None
        self.interrupted = False

    # In the asyncio loop's thread, and in its copy of the caller's context.

    def start(self, coro: Coro[object]) -> None:
        # Claimed already, because the loop was given up, or Ctrl-C interrupted the caller.
        if not self.state:
            _placement.set(self.placement)
            self.task = self.loop.asyncio_loop.create_task(coro)
            self.task.add_done_callback(self.end)

    def end(self, task: asyncio.Task[object]) -> None:
        self.loop.waiters.discard(self)
        self.wake(task)

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    # In the hub's thread.

    def throw(self, exception: BaseException) -> bool:
        if not self.state:
            self.interrupted = True
            self.loop.post(self.cancel)
        return False

    # The greenlet itself.

    def raise_interrupt(self) -> None:
        if self.interrupted:
            raise_interrupt(self.greenlet)


class _Loop:
    """An asyncio loop in a thread of its own."""

    def __init__(self) -> None:
        import asyncio

        self.asyncio_loop = asyncio.new_event_loop()
        self.thread_id = 0
        # Those whose coroutine has not ended.
        self.waiters: set[_CoroutineWaiter] = set()
        self.accepting = True
        # The loop's own thread's.
        self._ending = False
        # Held while the thread runs.
        self._running = Lock()
        self._running.acquire()
        try:
            start_new_thread(self._run, ())
        except BaseException:
            self.asyncio_loop.close()
            raise

    # Any thread.

    def accept(self, waiter: _CoroutineWaiter, coro: Coro[object]) -> None:
        """Run *coro* for *waiter*; RuntimeError, and nothing is done, where the loop is ending."""
        try:
            self.waiters.add(waiter)
            if not (self.accepting and self.post(waiter.start, coro)):
                raise RuntimeError(f"the asyncio loop ends with the interpreter and cannot run {coro!r}")
        except BaseException:
            self.waiters.discard(waiter)
            waiter.claim()
            raise

    def post(self, callback: Callable[[*Ts], object], *args: *Ts) -> bool:
        """Have the loop call *callback*; False where it is closed."""
        # In a patched program the socket that wakes the loop is a green one.  With this the caller has an
        # operation left, and does not yield, or get a kill raised, when the callback is posted already.
        greenlet = getcurrent()
        if getattr(greenlet, "budget", 1) < 1:
            greenlet.budget = 1
        try:
            self.asyncio_loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            return False
        return True

    def stop(self) -> None:
        """End the thread; its tasks are cancelled and get EXIT_SECONDS for their ``finally`` blocks."""
        self.accepting = False
        self.post(self._begin_to_end)
        if not self._running.acquire(timeout=EXIT_SECONDS):
            self._wake_all()

    def _wake_all(self) -> None:
        """Let everybody go who still waits for a coroutine."""
        try:
            while True:
                self.waiters.pop().wake()
        except KeyError:
            pass  # that was the last

    # The loop's thread.

    def _run(self) -> None:
        unpin()
        self.thread_id = get_ident()
        loop = self.asyncio_loop
        if not _parks(loop):
            set_thread_placement(_place)
        try:
            while not self._ending:
                try:
                    loop.run_forever()
                except (KeyboardInterrupt, SystemExit):
                    pass  # a task's; whoever waits for the task gets it like any other exception
            self._complete(self._cancel_tasks())
            self._complete(loop.shutdown_asyncgens())
        finally:
            self.accepting = False
            loop.close()
            set_thread_placement(None)
            self._wake_all()
            self._running.release()

    def _begin_to_end(self) -> None:
        self._ending = True
        self.asyncio_loop.stop()

    def _complete(self, coro: Coro[None]) -> None:
        task = self.asyncio_loop.create_task(coro)
        while not task.done():
            try:
                self.asyncio_loop.run_until_complete(task)
            except (KeyboardInterrupt, SystemExit):
                pass  # another task's, as above

    async def _cancel_tasks(self) -> None:
        import asyncio

        # A task that is cancelled may start others.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


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


at_fork("asyncio", in_child=_after_fork_in_child)
