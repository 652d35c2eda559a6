"""The pool of hubs: ``run``, Builder, Runtime, Handle (the API of the Rust crate tokio-io-pool).

*Hubs* start together and end together.  A spawn from outside is counted (``_outstanding``) when it is
accepted, and settled when its hub has come to rest: a hub that runs any task, also a child of a child,
does not rest.  So the pool is idle exactly when the count is zero.

*A spawn either raises or runs.*  Whether spawns are still accepted, the choice of the hub and the count
are one step under the pool's lock; whether the hub still accepts, the append and its wake-up are one step
under the inbox's lock.  A spawn that the first lock let pass and the second refused is taken off the count
again and raises.

*Threads*: all of the public API may be called from any greenlet and any thread.  The locks are reentrant,
because a Runtime may be dropped, and so shut down, by a garbage collection in the middle of anything.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import os
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypedDict, TypeVar, overload

from ._core import PACKAGE
from ._core.current import current_greenlet, current_owner, getcurrent, set_thread_hub, thread_hub
from ._core.errors import LoopExit, SpawnError
from ._core.fork import at_fork
from ._core.hub import Hub
from ._core.late_end import QUIET_END, LateEnd
from ._core.native import HAS_GIL, RLock, SimpleQueue, get_ident, original_threading
from ._core.pollers import Poller, make_poller
from ._core.seconds import check_stall_limit
from ._core.spawning import call_spawn_callbacks, spawn_callbacks
from ._core.state import GreenThread, HubState, HubTask, Placement
from ._core.task import Task
from ._core.thread_end import ask_to_stop, close
from ._core.thread_names import forget_thread, name_thread
from ._core.waiter import Waiter, interrupt
from ._core.waits import awaited_as
from .greenlet import Greenlet

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from ._core.affinity import Pins
    from ._core.stall_watch import OnStall
    from .futures import Future

__all__ = [
    "Builder",
    "Handle",
    "Runtime",
    "SpawnError",
    "StreamSpawnError",
    "current_handle",
    "run",
]

P = ParamSpec("P")
T = TypeVar("T")
Hook = Callable[[], object]
Spawnable = Callable[[], object] | tuple[Callable[..., object], *tuple[object, ...]]

MAX_POOL_SIZE = 32_768


class StreamSpawnError(RuntimeError):
    """``spawn_all`` ended early; ``__cause__`` is the original exception."""

    Stream: type[StreamSpawnError]
    Spawn: type[StreamSpawnError]


class _StreamFailed(StreamSpawnError):
    """The iterable given to ``spawn_all`` raised."""


class _SpawnRefused(StreamSpawnError):
    """A spawn was refused: the pool is shut down, or the item was no callable."""


for _kind, _name in ((_StreamFailed, "Stream"), (_SpawnRefused, "Spawn")):
    _kind.__name__ = _name
    _kind.__qualname__ = f"StreamSpawnError.{_name}"
StreamSpawnError.Stream = _StreamFailed
StreamSpawnError.Spawn = _SpawnRefused


def _check_callable(name: str, value: object) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {value!r}")


def _check_pool_size(pool_size: int) -> None:
    if isinstance(pool_size, bool) or not isinstance(pool_size, int):
        raise TypeError(f"pool_size must be an int, not {pool_size!r}")
    if not 1 <= pool_size <= MAX_POOL_SIZE:
        raise ValueError(f"pool_size must be from 1 to {MAX_POOL_SIZE:,}, not {pool_size!r}")


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hubs_of_a_program() -> int:
    """How many hubs a program gets that asks for no number: one where there is a GIL, else one for each CPU.

    Hubs that share a GIL run one after the other.  A request that passes from hub to hub waits for a turn at
    each: with two hubs on two cores a new connection waits 2.5 times as long as with one, with four 5 times.
    """
    return 1 if HAS_GIL else _usable_cpus()


class _Hubs:
    """The pool itself.  Runtime owns it, Handles refer to it, and no thread keeps a Runtime alive."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.hubs: list[Hub] = []
        self.threads: list[threading.Thread] = []
        self.pins: Pins | None = None
        # The rest is guarded by the lock.
        self._accepting = True
        self._next = 0
        self._outstanding = 0
        self._running = 0
        self._idle_waiters: list[Waiter] = []
        self._end_waiters: list[Waiter] = []
        # Greenlets that are in block_on or wait for the end: KeyboardInterrupt and SystemExit go there.
        self._main_programs: list[GreenThread] = []

    def __repr__(self) -> str:
        return f"<pool of {len(self.hubs)} hubs>"

    # Starting.

    def start(
        self,
        pool_size: int,
        name_prefix: str,
        after_start: Hook | None,
        before_stop: Hook | None,
        poller: Callable[[], Poller],
        pins: Pins | None,
    ) -> None:
        """Start all threads, or none: on an error those already started are ended again."""
        self.pins = pins
        try:
            reports: SimpleQueue[BaseException | None] = SimpleQueue()
            for index in range(pool_size):
                name = f"{name_prefix}{index + 1}"
                threads = original_threading()
                args = (name, index, before_stop, poller, reports, threads.current_thread)
                thread = threads.Thread(target=self._run_hub, args=args, name=name)
                # A runtime that is still open at exit is ended by atexit, which comes after the
                # interpreter has waited for all threads that are not daemons.
                thread.daemon = True
                thread.start()
                self.threads.append(thread)
                report = reports.get()
                if report is not None:
                    raise report
            if after_start is not None:
                starting = []
                for index in range(pool_size):
                    task = Greenlet(after_start)
                    task.quiet = True
                    self.place(task, index=index)
                    starting.append(task)
                for task in starting:
                    task.join()
                for task in starting:
                    task.get()
        except BaseException:
            self.shutdown()
            self._release_pins()
            raise

    def _release_pins(self) -> None:
        if self.pins is not None:
            self.pins.release()

    def _run_hub(
        self,
        name: str,
        index: int,
        before_stop: Hook | None,
        poller: Callable[[], Poller],
        reports: SimpleQueue[BaseException | None],
        find_thread: Callable[[], threading.Thread],
    ) -> None:
        try:
            if self.pins is not None:
                self.pins.pin_hub(index)
            hub = Hub(name, index, poller, in_main_greenlet=True)
        except BaseException as exception:
            reports.put(exception)
            return
        set_thread_hub(hub)
        thread = find_thread()
        name_thread(thread)
        hub.belong_to(self, self._settle, self.system_error)
        with self.lock:
            accepting = self._accepting
            if accepting:
                # Here and not in start(), which a KeyboardInterrupt may end while it waits for the report.
                self.hubs.append(hub)
                self._running += 1
        if not accepting:
            close(hub)
            return
        reports.put(None)
        try:
            hub.run_until_stopped(before_stop)
        finally:
            # Done after an exception has ended the loop, too: this thread's identifier will be another's.
            set_thread_hub(None)
            forget_thread(thread)
            with self.lock:
                self._running -= 1
                was_last = not self._running
                waiters = self._claim(self._end_waiters) if was_last else []
            if was_last:
                self._release_pins()
            for waiter in waiters:
                waiter.resume()

    # Spawning.

    def place(self, task: HubTask, seconds: float | None = None, index: int | None = None) -> None:
        """Hand *task* to hub *index*, or to the next in turn, to start now or in *seconds*."""
        with self.lock:
            if not self._accepting:
                raise SpawnError("the runtime is shut down")
            if index is None:
                index = self._next
                self._next = (index + 1) % len(self.hubs)
            self._outstanding += 1
        if not self.hubs[index].accept(task, seconds):
            self._settle(1)
            raise SpawnError("the runtime is shut down")

    def _settle(self, tasks: int) -> None:
        with self.lock:
            self._outstanding -= tasks
            waiters = self._claim(self._idle_waiters) if not self._outstanding else []
            if waiters:
                # At this very moment: others who go on spawning must not keep the pool from its end.
                self._accepting = False
        for waiter in waiters:
            waiter.resume()

    @staticmethod
    def _claim(waiters: list[Waiter]) -> list[Waiter]:
        claimed = [waiter for waiter in waiters if waiter.claim()]
        waiters.clear()
        return claimed

    # The main program.

    @contextmanager
    def main_program(self) -> Iterator[None]:
        greenlet = current_greenlet()
        with self.lock:
            self._main_programs.append(greenlet)
        try:
            yield
        finally:
            with self.lock:
                self._main_programs.remove(greenlet)

    def system_error(self, exception: BaseException) -> None:
        """Raise a KeyboardInterrupt or SystemExit of a hub in the main program that waits for the pool."""
        with self.lock:
            greenlet = self._main_programs[-1] if self._main_programs else None
        if greenlet is None:
            sys.excepthook(type(exception), exception, exception.__traceback__)
        else:
            greenlet.hub.post(self._interrupt_main_program, greenlet, exception)

    def _interrupt_main_program(self, greenlet: GreenThread, exception: BaseException) -> None:
        with self.lock:
            waits = greenlet in self._main_programs
        if waits:
            interrupt(greenlet, exception)
        else:
            # It has ended meanwhile, and its greenlet may be running something else.
            self.system_error(exception)

    # Ending.

    def refuse_spawns_when_idle(self) -> None:
        """Wait until nothing that was spawned is left, and refuse spawns from that moment on."""
        self._refuse_inside("shutdown_on_idle")
        while True:
            waiter = Waiter(self.lock)
            with self.lock:
                if not self._outstanding or not self._accepting:
                    self._accepting = False
                    return
                self._idle_waiters.append(waiter)
            self._park(waiter, self._idle_waiters)

    def stop(self) -> None:
        """Refuse spawns and tell every hub to end what it runs; does not wait."""
        with self.lock:
            self._accepting = False
        for hub in self.hubs:
            ask_to_stop(hub)

    def shutdown(self) -> None:
        """Stop, and wait until all threads have ended; inside the pool, without waiting."""
        self.stop()
        if thread_hub() in self.hubs:
            return
        late = LateEnd(repr(self), lambda: self.hubs)
        patience: float | None = QUIET_END
        while True:
            waiter = Waiter(self.lock)
            with self.lock:
                if not self._running:
                    break
                self._end_waiters.append(waiter)
            if not self._park(waiter, self._end_waiters, patience) and not late.look():
                # Without a timer, so that a deadlock of ``finally`` blocks is found.
                patience = None
        for thread in self.threads:
            thread.join()

    def _park(self, waiter: Waiter, waiters: list[Waiter], timeout: float | None = None) -> bool:
        try:
            return waiter.park(timeout)
        finally:
            with self.lock:
                if waiter in waiters:
                    waiters.remove(waiter)

    def _refuse_inside(self, what: str) -> None:
        if thread_hub() in self.hubs:
            raise RuntimeError(f"{what} in a greenlet of the pool would wait for its own end")

    def after_fork(self) -> None:
        """In the child: the hubs' threads do not exist here."""
        self.lock = RLock()
        self._accepting = False
        self._running = self._outstanding = 0
        self.threads = []
        if self.pins is not None:
            self.pins.release_in_child()
        hub = thread_hub()
        self._main_programs = [greenlet for greenlet in self._main_programs if greenlet.hub is hub]
        for waiter in self._claim(self._idle_waiters) + self._claim(self._end_waiters):
            waiter.resume()


awaited_as(_Hubs, "to be idle", shutdown="to end")


class Handle(Executor):
    """Spawns greenlets onto a Runtime, from any thread.

    Cheap, and shared by as many threads as you like; a copy is as good as the original.  It does not keep
    the Runtime open.  It is also a ``concurrent.futures.Executor``, so it goes wherever one is asked for
    (``asyncio``'s ``loop.run_in_executor(handle, fn)``, dask's ``pool=handle``).
    """

    def __init__(self, hubs: _Hubs) -> None:
        self._hubs = hubs
        # Guarded by the lock of the hubs.
        self._futures: set[concurrent.futures.Future[Any]] = set()
        self._is_shut_down = False

    def __copy__(self) -> Handle:
        return Handle(self._hubs)

    def __repr__(self) -> str:
        return f"<Handle of {len(self._hubs.hubs)} hubs>"

    @property
    def pool_size(self) -> int:
        """The number of hubs."""
        return len(self._hubs.hubs)

    # The first overloads have no P, because nothing may stand between *args: P.args and **kwargs: P.kwargs.

    @overload
    def spawn(
        self, function: Callable[..., T], *args: object, context: Context | None, **kwargs: object
    ) -> Greenlet[T]: ...
    @overload
    def spawn(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...
    def spawn(self, function: Callable[..., T], *args: object, **kwargs: object) -> Greenlet[T]:
        """Run *function* in a greenlet on the next hub in turn.  Raises SpawnError after a shutdown."""
        _check_callable("function", function)
        greenlet = Greenlet(function, *args, **kwargs)
        if spawn_callbacks:
            call_spawn_callbacks(greenlet)
        self._hubs.place(greenlet)
        return greenlet

    def place(self, greenlet: Task[object], index: int | None = None) -> None:
        """Start a greenlet that was made but not started, on hub *index* or the next in turn.

        A second start has no effect.  Raises SpawnError after a shutdown.
        """
        if index is not None:
            self._check_index(index)
        if spawn_callbacks and not greenlet.started and not greenlet.dead:
            call_spawn_callbacks(greenlet)
        greenlet.start_once(self._hubs.place, greenlet, None, index)

    @overload
    def spawn_on(
        self,
        index: int,
        function: Callable[..., T],
        *args: object,
        context: Context | None,
        **kwargs: object,
    ) -> Greenlet[T]: ...
    @overload
    def spawn_on(
        self, index: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Greenlet[T]: ...
    def spawn_on(
        self, index: int, function: Callable[..., T], *args: object, **kwargs: object
    ) -> Greenlet[T]:
        """Run *function* in a greenlet on the hub with that *index*, from 0 to ``pool_size - 1``; any thread.

        Raises ValueError if there is no such hub, and SpawnError after a shutdown.
        """
        _check_callable("function", function)
        self._check_index(index)
        greenlet = Greenlet(function, *args, **kwargs)
        if spawn_callbacks:
            call_spawn_callbacks(greenlet)
        self._hubs.place(greenlet, index=index)
        return greenlet

    def _check_index(self, index: int) -> None:
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"index must be an int, not {index!r}")
        if not 0 <= index < self.pool_size:
            raise ValueError(f"index must be from 0 to {self.pool_size - 1}, not {index!r}")

    def spawn_all(self, iterable: Iterable[Spawnable]) -> None:
        """Spawn every item of *iterable*, in turn over the hubs, as it comes; return when it ends.

        An item is a callable or a tuple ``(function, *args)``.  The iterable may wait between items: a
        generator around ``listener.accept()`` makes a server.  Raises ``StreamSpawnError.Stream`` where
        the iterable raised, ``StreamSpawnError.Spawn`` where a spawn was refused.
        """
        if not hasattr(iterable, "__iter__") and not hasattr(iterable, "__getitem__"):
            raise TypeError(f"iterable must be iterable, not {iterable!r}")
        items = None
        while True:
            try:
                if items is None:
                    items = iter(iterable)
                item = next(items)
            except StopIteration:
                return
            except Exception as exception:
                raise StreamSpawnError.Stream(
                    f"the iterable given to spawn_all raised {exception!r}"
                ) from exception
            function, *args = item if isinstance(item, tuple) and item else (item,)
            try:
                self.spawn(function, *args)
            except (SpawnError, TypeError) as exception:
                raise StreamSpawnError.Spawn(
                    f"spawn_all could not spawn {item!r}: {exception}"
                ) from exception

    # concurrent.futures.Executor

    @property
    def _max_workers(self) -> int:
        """The number of hubs.  dask and other callers of a ThreadPoolExecutor read this attribute of it."""
        return self.pool_size

    def executor(self) -> ThreadPoolExecutor:
        """An executor over the same pool for ``asyncio``'s ``loop.set_default_executor``; any thread.

        ``asyncio.to_thread`` and ``loop.run_in_executor(None, ...)`` then run their functions in greenlets.
        asyncio accepts no other class than ``ThreadPoolExecutor`` there.  This one starts no thread, and its
        ``shutdown``, which ``asyncio.run`` calls at its end, concerns neither this handle nor the Runtime.
        """
        from ._executor import HandleExecutor

        return HandleExecutor(Handle(self._hubs), self.pool_size)

    @overload
    def submit(
        self, function: Callable[..., T], /, *args: object, context: Context | None, **kwargs: object
    ) -> Future[T]: ...
    @overload
    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    def submit(self, function: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        """Do what ``spawn`` does, and return a Future (as ``concurrent.futures.Executor.submit``).

        Any thread may call this.  Raises RuntimeError after ``shutdown`` of this handle, and SpawnError after
        that of the Runtime.
        """
        _check_callable("function", function)
        greenlet = Greenlet(function, *args, **kwargs)
        future = greenlet.as_future()
        with self._hubs.lock:
            if self._is_shut_down:
                raise RuntimeError("cannot submit to a handle after its shutdown")
            self._futures.add(future)
        future.add_done_callback(self._forget)
        try:
            # By a shutdown on another thread it may have been cancelled already.
            self.place(greenlet)
        except BaseException:
            # So nobody who shuts the handle down waits for it.
            future.cancel()
            raise
        return future

    def _forget(self, future: concurrent.futures.Future[T]) -> None:
        with self._hubs.lock:
            self._futures.discard(future)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End this handle's life as an Executor: no more ``submit``.  The Runtime goes on.

        With *wait*, return when all that was submitted through it has ended.
        """
        with self._hubs.lock:
            self._is_shut_down = True
            futures = set(self._futures)
        for future in futures:
            if cancel_futures:
                future.cancel()
        if wait:
            from .futures import wait_future

            for future in futures:
                wait_future(future)


class Runtime:
    """A pool of hubs, each on a thread of its own.

    A context manager: a clean exit waits until all that was spawned has ended (``shutdown_on_idle``), an
    exception ends it at once (``shutdown``).  One that is dropped, or still open at interpreter exit, is
    shut down with a ResourceWarning.

    *pool_size*: the number of hubs, 1 to 32,768; by default the CPUs that this process may use.
    *name_prefix*: the threads are named prefix1, prefix2, ...
    *after_start*, *before_stop*: called in a greenlet on every hub, first and last.  An exception in
    after_start comes out of the constructor, with every thread ended again.
    *stall_limit*, *on_stall*: as ``Builder.stall_limit``.
    *pin_to_cpus*: as ``Builder.pin_to_cpus``.
    """

    def __init__(
        self,
        pool_size: int | None = None,
        name_prefix: str = "greenpool-",
        after_start: Hook | None = None,
        before_stop: Hook | None = None,
        *,
        stall_limit: float | None = None,
        on_stall: OnStall | None = None,
        pin_to_cpus: bool = False,
        poller: Callable[[], Poller] = make_poller,
    ) -> None:
        self._open = False
        if pool_size is None:
            pool_size = _usable_cpus()
        _check_pool_size(pool_size)
        if not isinstance(name_prefix, str):
            raise TypeError(f"name_prefix must be a str, not {name_prefix!r}")
        for name, hook in (("after_start", after_start), ("before_stop", before_stop)):
            if hook is not None:
                _check_callable(name, hook)
        if stall_limit is not None:
            check_stall_limit("stall_limit", stall_limit)
            if on_stall is not None:
                _check_callable("on_stall", on_stall)
            # Imported here, because few programs need it.
            from ._core.stall_watch import watch_stalls

            watch_stalls(stall_limit, on_stall)
        pins = _make_pins() if pin_to_cpus else None
        self._hubs = _Hubs()
        self._hubs.start(pool_size, name_prefix, after_start, before_stop, poller, pins)
        self._handle = Handle(self._hubs)
        self._open = True
        _open_runtimes.add(self)

    def __repr__(self) -> str:
        state = "open" if self._open else "shut down"
        return f"<Runtime of {len(self._hubs.hubs)} hubs: {state}>"

    @property
    def pool_size(self) -> int:
        """The number of hubs."""
        return self._handle.pool_size

    def handle(self) -> Handle:
        """A Handle, which spawns from any thread."""
        return Handle(self._hubs)

    @overload
    def spawn(
        self, function: Callable[..., T], *args: object, context: Context | None, **kwargs: object
    ) -> Greenlet[T]: ...
    @overload
    def spawn(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...
    def spawn(self, function: Callable[..., T], *args: object, **kwargs: object) -> Greenlet[T]:
        """Run *function* in a greenlet on the next hub in turn; any thread.

        Raises SpawnError after a shutdown.
        """
        return self._handle.spawn(function, *args, **kwargs)

    def spawn_all(self, iterable: Iterable[Spawnable]) -> None:
        """Do what ``Handle.spawn_all`` does."""
        self._handle.spawn_all(iterable)

    def block_on(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call *function* here, on the calling thread, and return its value.

        Its own spawns go over the pool's hubs in turn; the spawns of those greenlets stay on their hubs.  A
        KeyboardInterrupt or SystemExit that no greenlet of the pool has handled is raised in *function* where
        it waits.
        """
        _check_callable("function", function)
        greenlet = current_greenlet()
        outer = greenlet.placement
        greenlet.placement = self._hubs.place
        try:
            with self._hubs.main_program(), _deferred_interrupts(greenlet):
                return function(*args, **kwargs)
        finally:
            greenlet.placement = outer

    def shutdown_on_idle(self) -> None:
        """Wait until all that was spawned has ended, then end the threads.

        Until then spawns are accepted.  A KeyboardInterrupt or SystemExit ends the pool at once and comes
        out, and so does a LoopExit, because the greenlets wait for ever then.  A Timeout that strikes before
        then leaves it open.  Raises RuntimeError in a greenlet of the pool, which would wait for its own end.
        """
        try:
            with self._hubs.main_program(), _deferred_interrupts(current_greenlet()):
                self._hubs.refuse_spawns_when_idle()
                self.shutdown()
        except (KeyboardInterrupt, SystemExit, LoopExit):
            self.shutdown()
            raise

    def shutdown(self) -> None:
        """End the pool as soon as possible, and wait for its threads.

        No new spawn is accepted.  Unfinished greenlets get GreenletExit where they wait, so that their
        ``finally`` blocks run; those may still wait.  Called in a greenlet of the pool, it does not wait.
        """
        self._open = False
        self._hubs.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.shutdown()
            return
        try:
            self.shutdown_on_idle()
        except BaseException:
            self.shutdown()
            raise

    def statistics(self) -> list[dict[str, int]]:
        """Return the counts of each hub, a snapshot (see ``Hub.statistics``); any thread."""
        return [hub.statistics() for hub in self._hubs.hubs]

    def __del__(self) -> None:
        if self._open:
            # First, as the warning may be an error.  Not waited for: this may run on one of its own
            # threads, or while a lock is held.
            self._hubs.stop()
            warnings.warn(f"{self!r} was never shut down", ResourceWarning, source=self, stacklevel=2)


class _Settings(TypedDict, total=False):
    pool_size: int
    name_prefix: str
    after_start: Hook
    before_stop: Hook
    stall_limit: float
    on_stall: OnStall
    pin_to_cpus: bool


class Builder:
    """Settings for a Runtime, chained: ``Builder().pool_size(4).name_prefix("io-").build()``."""

    def __init__(self) -> None:
        self._settings: _Settings = {}

    def pool_size(self, pool_size: int) -> Builder:
        """The number of hubs, 1 to 32,768; by default the CPUs that this process may use."""
        _check_pool_size(pool_size)
        self._settings["pool_size"] = pool_size
        return self

    def name_prefix(self, name_prefix: str) -> Builder:
        """The threads are named prefix1, prefix2, ..."""
        if not isinstance(name_prefix, str):
            raise TypeError(f"name_prefix must be a str, not {name_prefix!r}")
        self._settings["name_prefix"] = name_prefix
        return self

    def after_start(self, after_start: Hook) -> Builder:
        """Have *after_start* called on every hub before ``build`` returns."""
        _check_callable("after_start", after_start)
        self._settings["after_start"] = after_start
        return self

    def before_stop(self, before_stop: Hook) -> Builder:
        """Have *before_stop* called on every hub as the last thing it does."""
        _check_callable("before_stop", before_stop)
        self._settings["before_stop"] = before_stop
        return self

    def stall_limit(self, seconds: float, on_stall: OnStall | None = None) -> Builder:
        """Have a thread report each greenlet that keeps a hub for *seconds*, at least 0.001, without parking.

        It covers all hubs of the process.  A report is a warning of the logger "greenpool", with the stack of
        the greenlet; a second one says that the hub goes on.  *on_stall* is called as well, on that thread:
        with the text, the seconds, and whether it is over.  (``GREENPOOL_STALL=0.1`` in the environment and
        ``python -X dev`` do the same for an unchanged program.)
        """
        check_stall_limit("seconds", seconds)
        self._settings["stall_limit"] = seconds
        if on_stall is not None:
            _check_callable("on_stall", on_stall)
            self._settings["on_stall"] = on_stall
        return self

    def pin_to_cpus(self, pin: bool = True) -> Builder:
        """Pin the hubs to CPUs, as thread-per-core runtimes do.

        With a GIL all hubs go to one CPU, together with the thread that builds the pool, which gets back all
        of its CPUs when the pool has ended.  The number of the process decides which CPU, so that the worker
        processes of a server go to different ones.  Without a GIL each hub goes to a CPU of its own, as far
        as there are any.  Threads that run blocking calls are not pinned.  Threads and processes that the
        program itself starts on a hub inherit its CPU.

        Raises NotImplementedError where the system cannot do it (``os.sched_setaffinity`` is missing).
        """
        if pin:
            _check_pinning()
        self._settings["pin_to_cpus"] = pin
        return self

    def build(self) -> Runtime:
        """Start the pool.  An exception in after_start comes out here, with every thread ended again."""
        return Runtime(**self._settings)


def _check_pinning() -> None:
    if not hasattr(os, "sched_setaffinity"):
        raise NotImplementedError("pin_to_cpus needs os.sched_setaffinity, which this system does not have")


def _make_pins() -> Pins:
    _check_pinning()
    # Imported here, because few programs need it.
    from ._core.affinity import Pins

    return Pins()


def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Build a Runtime, call *function* here, wait until the pool is idle, and return its value.

    The Runtime has a hub for each CPU that this process may use or, where there is a GIL, one hub: hubs that
    share a GIL run one after the other, and a request that passes from hub to hub waits for each.

    An exception of *function* is raised after the same orderly end.  On Ctrl-C *function* gets
    KeyboardInterrupt, the pool is shut down at once, and the exception comes out.  The same happens with
    LoopExit, if *function* waits, or this waits for the pool, and nothing can end that wait any more.
    """
    _check_callable("function", function)
    runtime = Runtime(hubs_of_a_program())
    try:
        # Without a gap in which a SystemExit of the pool would find nobody who waits.
        with runtime._hubs.main_program():
            try:
                value = runtime.block_on(function, *args, **kwargs)
            except (KeyboardInterrupt, SystemExit, LoopExit):
                raise
            except BaseException:
                runtime.shutdown_on_idle()
                raise
            runtime.shutdown_on_idle()
            return value
    finally:
        # A second time does nothing.
        runtime.shutdown()


class Turns(Protocol):
    """Has the hubs of a pool run one at a time (see _core/scheduled.py)."""

    def begin(self) -> None:
        """All hubs of the pool have been made."""

    def wait_for_hubs(self) -> None:
        """Wait until all hubs of the pool have ended."""

    def end(self) -> None:
        """From here on every thread runs by itself."""


def run_in_turns(function: Callable[[], T], pool_size: int, poller: Callable[[], Poller], turns: Turns) -> T:
    """Do what ``run`` does, on hubs that run one at a time; for greenpool.testing."""
    runtime = Runtime(pool_size, "hub-", poller=poller)
    try:
        turns.begin()
        try:
            value = runtime.block_on(function)
            runtime._hubs.refuse_spawns_when_idle()
        finally:
            runtime._hubs.stop()
            turns.wait_for_hubs()
        return value
    finally:
        turns.end()
        runtime.shutdown()


def current_handle() -> Handle | None:
    """A Handle of the pool that the calling code belongs to, or None outside of any."""
    greenlet = getcurrent()
    hubs = getattr(getattr(greenlet, "placement", None), "__self__", None)
    if hubs is None:
        hubs = current_owner()
    return Handle(hubs) if isinstance(hubs, _Hubs) else None


def current_placement() -> Placement:
    """A function that puts a task where the spawns of the calling greenlet go; any thread may call it.

    It raises SpawnError after a shutdown, and when the calling thread has ended.
    """
    greenlet = current_greenlet()
    hub = greenlet.hub
    owner = current_owner()
    if greenlet.placement is not None:
        return greenlet.placement
    if isinstance(owner, _Hubs):
        return partial(owner.place, index=hub.index)
    return partial(_place_on, hub)


def _place_on(hub: HubState, task: HubTask, seconds: float | None = None) -> None:
    if not hub.accept(task, seconds):
        raise SpawnError(f"the thread of {hub!r} has ended")


# KeyboardInterrupt can strike between any two bytecodes of the main thread, also between the two that take
# a greenlet out of the ready queue and switch to it, and that greenlet would be lost.  So while a main
# program runs on a pool, a Ctrl-C that finds this package's own code running is delivered like a kill: where
# the main program waits, or when it waits next.


@contextmanager
def _deferred_interrupts(greenlet: GreenThread) -> Iterator[None]:
    if (
        threading.main_thread().ident != get_ident()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
            greenlet.hub.post(interrupt, greenlet, KeyboardInterrupt())
        else:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


_open_runtimes: weakref.WeakSet[Runtime] = weakref.WeakSet()


@atexit.register
def _shutdown_open_runtimes() -> None:
    for runtime in list(_open_runtimes):
        if runtime._open:
            message = f"{runtime!r} was still open at exit"
            # First, as the warning may be an error.
            runtime.shutdown()
            warnings.warn(message, ResourceWarning, source=runtime, stacklevel=1)


def _after_fork_in_child() -> None:
    for runtime in list(_open_runtimes):
        runtime._open = False
        runtime._hubs.after_fork()


at_fork("runtimes", in_child=_after_fork_in_child)
