"""Real threads for calls that would block a hub: ``blocking``, ThreadPool, ThreadPoolExecutor.

*A call* goes to an idle thread; where there is none, to a new one; where there are *maxsize* threads, it
waits its turn.  A thread that has run a call and finds none waiting is idle and kept.

*Why these are not the threads of the standard ThreadPoolExecutor* (a subclass of which is offered here):

- The interpreter does not exit before those have ended.  A call that nobody waits for any more, say one
  that asks a dead name server, would hold up the exit.
- From CPython 3.12 on, a worker that has just taken a call may be counted as idle.  The next call then
  waits behind it, though there could be more threads; for ever, if it waits for that next call.
- They are ``threading.Thread``, so in a patched program greenlets, and would block the hub after all.

*Exit.*  The threads are daemons: an idle one sleeps in C and touches nothing any more; a call that is still
running is cut off.

*Who guards what.*  All fields of ``_Workers`` are guarded by its lock.  It is reentrant, because a signal
handler may kill a greenlet, and so claim its waiter, between any two bytecodes.
"""

from __future__ import annotations

import sys
import weakref
from _queue import Empty
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor as _StandardExecutor
from concurrent.futures.thread import BrokenThreadPool
from contextvars import copy_context
from functools import partial
from math import inf
from typing import Any, Generic, ParamSpec, TypeVar, TypeVarTuple, overload

from ._core.current import thread_hub
from ._core.fork import at_fork
from ._core.native import RLock, SimpleQueue, get_ident, start_new_thread
from ._core.seconds import check_seconds
from ._core.waiter import Waiter
from .event import AsyncResult
from .futures import Future
from .greenlet import Greenlet, spawn
from .pool import _OutcomeIterator, _Outcomes

__all__ = ["ThreadPool", "ThreadPoolExecutor", "blocking", "blocking_pool"]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Ts = TypeVarTuple("Ts")

# As many as tokio's blocking pool may have.  Such calls mostly wait (for a name server, a child process, a
# lock), and with too few threads those that wait for each other would never end.
BLOCKING_THREADS = 512

# How long a thread of it is kept for the next call.
IDLE_SECONDS = 10.0


class _Call(Generic[T]):
    """A function call on its way to a thread, with those who are to be told.

    *begin*, if any, is asked before the call; where it says no, the call is passed over.
    """

    __slots__ = ("context", "function", "args", "kwargs", "succeed", "fail", "begin", "begun")

    # Whether telling the outcome may call what others have written, and so wait.
    calls_others = False

    def __init__(
        self,
        function: Callable[..., T],
        args: Iterable[object],
        kwargs: Mapping[str, object],
        succeed: Callable[[T], object],
        fail: Callable[[BaseException], object],
        begin: Callable[[], bool] | None = None,
    ) -> None:
        self.context = copy_context()
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.succeed = succeed
        self.fail = fail
        self.begin = begin
        self.begun = False

    def run(self) -> Callable[[], object]:
        """Call the function; returns what is to be called to tell the outcome."""
        try:
            if self.begin is not None and not self.begin():
                return _nobody
            self.begun = True
            value = self.context.run(self.function, *self.args, **self.kwargs)
        except BaseException as exception:
            return partial(self.fail, exception)
        return partial(self.succeed, value)


def _nobody() -> None:
    """There is nobody to tell."""


def _tell(tell: Callable[[], object]) -> None:
    try:
        tell()
    except BaseException:
        # A callback of a Future or an AsyncResult failed; that must not cost a thread.
        sys.excepthook(*sys.exc_info())


Handover = SimpleQueue["_Call[Any] | None"]


class _Workers:
    """The threads of one pool.  They do not refer to the ThreadPool, so that it can be dropped."""

    def __init__(self, maxsize: int, idle_timeout: float | None = None) -> None:
        self.maxsize = maxsize
        # Seconds.
        self.idle_timeout = idle_timeout
        self.reset()
        with _every_lock:
            _every.add(self)

    def reset(self) -> None:
        """Begin without threads and calls; also in the child of a fork, where those of the parent are not."""
        self.lock = RLock()
        self.pending: deque[_Call[Any]] = deque()
        # The identifiers of all threads, and how many of them were not told to end.
        self.threads: set[int] = set()
        self.size = 0
        # Of each idle thread what it waits at: for its call, or for None, at which it ends.  The last to
        # become idle is the next to be called, so the others reach their timeout.
        self.idle: deque[Handover] = deque()
        # More threads than the least of these end as soon as no call is waiting.
        self.limits: list[int] = []
        # Calls whose outcome was not told yet.
        self.unfinished = 0
        self.watchers: list[tuple[Callable[[], bool], Waiter]] = []

    # Any thread.

    def submit(self, call: _Call[T]) -> None:
        """Take *call*.  Raises RuntimeError, and forgets it, where a new thread cannot be started."""
        with self.lock:
            # Before a thread can have begun with it.
            self.unfinished += 1
            if self.idle:
                self.idle.pop().put(call)
            elif self.size < self.maxsize:
                try:
                    self.start_thread().put(call)
                except BaseException:
                    self.unfinished -= 1
                    raise
            else:
                self.pending.append(call)

    def start_thread(self) -> Handover:
        """Start a thread that waits at what is returned; the lock is held."""
        handover: Handover = SimpleQueue()
        self.size += 1
        try:
            # (A call among the arguments would stay referenced as long as the thread lives.)
            start_new_thread(self._work, (handover,))
        except BaseException:
            self.size -= 1
            raise
        return handover

    def withdraw(self, call: _Call[T], tell: Callable[[], object] = _nobody) -> None:
        """Forget *call*, and *tell* so, unless a thread has taken it."""
        with self.lock:
            if call not in self.pending:
                return
            self.pending.remove(call)
        try:
            tell()
        finally:
            self._finished()

    def call(self, function: Callable[..., T], args: Iterable[object], kwargs: Mapping[str, object]) -> T:
        """Park the calling greenlet until a thread has run *function*."""
        waiter = Waiter(RLock())
        call = _Call(function, args, kwargs, waiter.wake, waiter.fail, partial(_is_waiting, waiter))
        self.submit(call)
        try:
            waiter.park()
        finally:
            if not call.begun:
                self.withdraw(call)
        value: T = waiter.value
        return value

    def set_maxsize(self, maxsize: int) -> None:
        with self.lock:
            self.maxsize = maxsize
            self.end_surplus()
            while self.pending and self.size < maxsize:
                self.start_thread().put(self.pending.popleft())

    def end_surplus(self) -> None:
        """Tell idle threads that are too many to end; the others see it when their call has ended."""
        with self.lock:
            surplus = self.size - min((self.maxsize, *self.limits))
            for _ in range(min(surplus, len(self.idle))):
                self.size -= 1
                self.idle.popleft().put(None)

    def end(self) -> None:
        """Let every thread end when no call is waiting."""
        with self.lock:
            self.limits.append(0)
            self.end_surplus()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Park until *condition*, which is asked whenever a call has ended."""
        waiter = Waiter(self.lock)
        watcher = (condition, waiter)
        with self.lock:
            if condition():
                return
            self.watchers.append(watcher)
        try:
            waiter.park()
        finally:
            with self.lock:
                if watcher in self.watchers:
                    self.watchers.remove(watcher)

    def _finished(self) -> None:
        with self.lock:
            self.unfinished -= 1
            met = [watcher for watcher in self.watchers if watcher[0]()]
            for watcher in met:
                self.watchers.remove(watcher)
            claimed = [waiter for _, waiter in met if waiter.claim()]
        for waiter in claimed:
            waiter.resume()

    # The threads.

    def _work(self, handover: Handover) -> None:
        ident = get_ident()
        with self.lock:
            self.threads.add(ident)
        self._work_until_told_to_end(handover)
        with self.lock:
            self.threads.discard(ident)

    def _work_until_told_to_end(self, handover: Handover) -> None:
        lock = self.lock
        call = self._take(handover)
        while call is not None:
            tell = call.run()
            if self.lock is not lock:
                # The call has forked and this is the child, where nobody waits for it.
                return
            if call.calls_others:
                # A callback may wait for a later call, which is not to be given to this thread.
                _tell(tell)
                tell = _nobody
            # First idle, then told: so whoever is told finds this thread idle and starts no other.
            with lock:
                call = None
                idle = False
                if self.size <= self.maxsize and self.pending:
                    call = self.pending.popleft()
                elif self.size <= min((self.maxsize, *self.limits)):
                    self.idle.append(handover)
                    idle = True
                else:
                    self.size -= 1
            _tell(tell)
            # An idle thread keeps no outcome alive.
            del tell
            self._finished()
            if idle:
                call = self._take(handover)

    def _take(self, handover: Handover) -> _Call[Any] | None:
        """Wait for the call that this thread is chosen for; None when it is to end."""
        try:
            return handover.get(timeout=self.idle_timeout)
        except Empty:
            with self.lock:
                if handover in self.idle:
                    self.idle.remove(handover)
                    self.size -= 1
                    return None
            # It has just been chosen for something.
            return handover.get()


def _is_waiting(waiter: Waiter) -> bool:
    with waiter.guard:  # type: ignore[union-attr]
        return not waiter.state


_every: weakref.WeakSet[_Workers] = weakref.WeakSet()
_every_lock = RLock()


def _after_fork_in_child() -> None:
    global _every_lock
    _every_lock = RLock()
    for workers in list(_every):
        workers.reset()


at_fork("workers", in_child=_after_fork_in_child)


def _check_callable(value: object) -> None:
    if not callable(value):
        raise TypeError(f"function must be callable, not {value!r}")


def _check_count(name: str, count: int, least: int, most: float = inf) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name} must be an int, not {count!r}")
    if not least <= count <= most:
        limits = f"at least {least}" if most == inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be {limits}, not {count!r}")


def blocking(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call *function* on a thread that is no hub, park the calling greenlet, and return the value.

    An exception comes out here.  The function runs in a copy of the caller's ``contextvars`` context.  A
    thread that has no hub, and so no greenlet to hold up, calls it itself.  Raises RuntimeError where a
    thread is needed and cannot be started.

    A caller that is killed, or whose Timeout strikes, goes on at once.  The function is then not called at
    all if no thread had begun with it, else it runs to its end and its outcome is dropped.

    The threads are those of ``blocking_pool``, whose ``maxsize`` may be set.  Calls beyond that wait their
    turn.
    """
    _check_callable(function)
    if thread_hub() is None:
        return copy_context().run(function, *args, **kwargs)
    return blocking_pool._workers.call(function, args, kwargs)


class ThreadPool:
    """A pool of real threads for functions that would block a hub (as ``gevent.threadpool.ThreadPool``).

    *maxsize*: how many threads it may have; they are started when needed.
    *idle_task_timeout*: an idle thread ends after so many seconds; never, if None or -1.

    Every method may be called from any greenlet and any thread, and parks only the calling greenlet.  Each
    function runs in a copy of its caller's ``contextvars`` context.  The length is the number of calls that
    have not ended.  The threads end when the pool is dropped.
    """

    def __init__(self, maxsize: int, idle_task_timeout: float | None = None) -> None:
        _check_count("maxsize", maxsize, 1)
        if idle_task_timeout == -1:
            idle_task_timeout = None
        check_seconds("idle_task_timeout", idle_task_timeout)
        self._workers = _Workers(maxsize, idle_task_timeout)
        weakref.finalize(self, self._workers.end).atexit = False

    def __repr__(self) -> str:
        workers = self._workers
        return (
            f"<{type(self).__name__} at {id(self):#x}: {workers.unfinished} calls, "
            f"{workers.size} of at most {workers.maxsize} threads>"
        )

    def __len__(self) -> int:
        return self._workers.unfinished

    @property
    def maxsize(self) -> int:
        """How many threads there may be; assignable.  Those that are too many end after their call."""
        return self._workers.maxsize

    @maxsize.setter
    def maxsize(self, maxsize: int) -> None:
        _check_count("maxsize", maxsize, 1)
        self._workers.set_maxsize(maxsize)

    @property
    def size(self) -> int:
        """How many threads there are.  Assigning starts new ones, up to *maxsize*, or waits until the
        surplus ones have ended."""
        return self._workers.size

    @size.setter
    def size(self, size: int) -> None:
        workers = self._workers
        _check_count("size", size, 0, workers.maxsize)
        with workers.lock:
            while workers.size < size:
                workers.idle.append(workers.start_thread())
            # Beside those of others who are waiting, in other greenlets and threads.
            workers.limits.append(size)
        try:
            workers.end_surplus()
            workers.wait_until(lambda: workers.size <= size)
        finally:
            with workers.lock:
                workers.limits.remove(size)

    def join(self) -> None:
        """Wait until every call has ended."""
        workers = self._workers
        workers.wait_until(lambda: not workers.unfinished)

    def kill(self) -> None:
        """Wait until every call and every thread has ended: a thread cannot be interrupted.

        The pool may be used again; that starts new threads.
        """
        self.size = 0
        self.join()

    def spawn(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T]:
        """Run *function* on a thread; returns an AsyncResult.

        While all *maxsize* threads are busy, it waits until one of them has begun with this call; if it is
        killed meanwhile, the function is never called.
        """
        _check_callable(function)
        workers = self._workers
        result: AsyncResult[T] = AsyncResult()
        call = _Call(function, args, kwargs, result.set, result.set_exception)
        waiter = None
        with workers.lock:
            if not workers.idle and workers.size >= workers.maxsize:
                waiter = Waiter(RLock())
                call.begin = waiter.wake
            workers.submit(call)
        if waiter is not None:
            try:
                waiter.park()
            finally:
                if not call.begun:
                    workers.withdraw(call)
        return result

    def apply(
        self,
        function: Callable[..., T],
        args: Iterable[object] | None = None,
        kwds: Mapping[str, object] | None = None,
    ) -> T:
        """Run *function* on a thread and return its value, as ``blocking`` does.

        Called on one of the pool's own threads it calls *function* there, since all others may be waiting
        in the same way.
        """
        _check_callable(function)
        args, kwds = args or (), kwds or {}
        if get_ident() in self._workers.threads:
            return function(*args, **kwds)
        return self._workers.call(function, args, kwds)

    def apply_cb(
        self,
        function: Callable[..., T],
        args: Iterable[object] | None = None,
        kwds: Mapping[str, object] | None = None,
        callback: Callable[[T], object] | None = None,
    ) -> T:
        """As ``apply``; if that raises nothing, call *callback* with the value."""
        value = self.apply(function, args, kwds)
        if callback is not None:
            callback(value)
        return value

    def apply_async(
        self,
        function: Callable[..., T],
        args: Iterable[object] | None = None,
        kwds: Mapping[str, object] | None = None,
        callback: Callable[[T], object] | None = None,
    ) -> Greenlet[T]:
        """As ``apply_cb``, but do not wait: returns a greenlet that will have the value."""
        _check_callable(function)
        return spawn(self.apply_cb, function, args, kwds, callback)

    def map(self, function: Callable[[A], T], iterable: Iterable[A]) -> list[T]:
        """``[function(item) for item in iterable]``, the calls on the threads.

        Raises the exception of the first item whose call failed; the other calls go on.
        """
        return [result.get() for result in [self.spawn(function, item) for item in iterable]]

    def map_cb(
        self,
        function: Callable[[A], T],
        iterable: Iterable[A],
        callback: Callable[[list[T]], object] | None = None,
    ) -> list[T]:
        """As ``map``; if that raises nothing, call *callback* with the list."""
        values = self.map(function, iterable)
        if callback is not None:
            callback(values)
        return values

    def map_async(
        self,
        function: Callable[[A], T],
        iterable: Iterable[A],
        callback: Callable[[list[T]], object] | None = None,
    ) -> Greenlet[list[T]]:
        """As ``map_cb``, but do not wait: returns a greenlet that will have the list."""
        _check_callable(function)
        return spawn(self.map_cb, function, iterable, callback)

    @overload
    def imap(
        self, function: Callable[[A], T], iterable: Iterable[A], /, *, maxsize: int | None = None
    ) -> Iterator[T]: ...
    @overload
    def imap(
        self,
        function: Callable[[A, B], T],
        iterable: Iterable[A],
        iterable2: Iterable[B],
        /,
        *,
        maxsize: int | None = None,
    ) -> Iterator[T]: ...
    @overload
    def imap(
        self,
        function: Callable[[A, B, C], T],
        iterable: Iterable[A],
        iterable2: Iterable[B],
        iterable3: Iterable[C],
        /,
        *,
        maxsize: int | None = None,
    ) -> Iterator[T]: ...
    @overload
    def imap(
        self,
        function: Callable[..., T],
        iterable: Iterable[object],
        iterable2: Iterable[object],
        iterable3: Iterable[object],
        iterable4: Iterable[object],
        /,
        *iterables: Iterable[object],
        maxsize: int | None = None,
    ) -> Iterator[T]: ...
    def imap(
        self, function: Callable[..., T], *iterables: Iterable[object], maxsize: int | None = None
    ) -> Iterator[T]:
        """``map(function, *iterables)``, the calls on the threads and the values in order.

        ``next()`` raises the exception of a call that failed, and can then be called on.  With *maxsize*,
        that many calls at most have been begun whose value was not taken; without it, all are begun.
        """
        return self._imap(True, function, iterables, maxsize)

    @overload
    def imap_unordered(
        self, function: Callable[[A], T], iterable: Iterable[A], /, *, maxsize: int | None = None
    ) -> Iterator[T]: ...
    @overload
    def imap_unordered(
        self,
        function: Callable[[A, B], T],
        iterable: Iterable[A],
        iterable2: Iterable[B],
        /,
        *,
        maxsize: int | None = None,
    ) -> Iterator[T]: ...
    @overload
    def imap_unordered(
        self,
        function: Callable[[A, B, C], T],
        iterable: Iterable[A],
        iterable2: Iterable[B],
        iterable3: Iterable[C],
        /,
        *,
        maxsize: int | None = None,
    ) -> Iterator[T]: ...
    @overload
    def imap_unordered(
        self,
        function: Callable[..., T],
        iterable: Iterable[object],
        iterable2: Iterable[object],
        iterable3: Iterable[object],
        iterable4: Iterable[object],
        /,
        *iterables: Iterable[object],
        maxsize: int | None = None,
    ) -> Iterator[T]: ...
    def imap_unordered(
        self, function: Callable[..., T], *iterables: Iterable[object], maxsize: int | None = None
    ) -> Iterator[T]:
        """As ``imap``, but the values come as soon as there are any."""
        return self._imap(False, function, iterables, maxsize)

    def _imap(
        self,
        ordered: bool,
        function: Callable[..., T],
        iterables: tuple[Iterable[object], ...],
        maxsize: int | None,
    ) -> Iterator[T]:
        _check_callable(function)
        if not iterables:
            raise TypeError("imap needs at least one iterable")
        if maxsize is not None:
            _check_count("maxsize", maxsize, 1)
        outcomes: _Outcomes[T] = _Outcomes(ordered, maxsize)
        spawn(outcomes.feed, partial(self.spawn, function), zip(*iterables, strict=False))
        return _OutcomeIterator(outcomes)


class _FutureCall(_Call[T]):
    __slots__ = ("future",)

    calls_others = True

    def __init__(
        self,
        future: Future[T],
        function: Callable[..., T],
        args: Iterable[object],
        kwargs: Mapping[str, object],
    ) -> None:
        super().__init__(
            function,
            args,
            kwargs,
            future.set_result,
            future.set_exception,
            future.set_running_or_notify_cancel,
        )
        self.future = future

    def cancel(self) -> None:
        self.future.cancel()
        self.future.set_running_or_notify_cancel()


class ThreadPoolExecutor(_StandardExecutor):
    """A ``concurrent.futures.ThreadPoolExecutor`` of real threads, also in a patched program (as in gevent).

    Its Futures' ``result`` and ``exception``, and ``shutdown``, park the calling greenlet.  Each function
    runs in a copy of its caller's ``contextvars`` context.  The threads are daemons without a name
    (*thread_name_prefix* is not used), and the interpreter's exit does not wait for them.
    """

    @overload
    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[[], object] | None = None,
        initargs: tuple[()] = (),
    ) -> None: ...
    @overload
    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        *,
        initializer: Callable[[*Ts], object],
        initargs: tuple[*Ts],
    ) -> None: ...
    @overload
    def __init__(
        self,
        max_workers: int | None,
        thread_name_prefix: str,
        initializer: Callable[[*Ts], object],
        initargs: tuple[*Ts],
    ) -> None: ...
    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(max_workers, thread_name_prefix, initializer, initargs)
        self._workers = _Workers(self._max_workers)
        self._initialize = None if initializer is None else partial(initializer, *initargs)
        self._initialized: set[int] = set()
        self._failure: str | None = None
        self._closed = False
        weakref.finalize(self, self._workers.end).atexit = False

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread call *function*; never waits.  Raises RuntimeError after ``shutdown``."""
        _check_callable(function)
        future: Future[T] = Future()
        call = _FutureCall(future, function, args, kwargs)
        if self._initialize is not None:
            call.function = partial(self._call_initialized, function)
        with self._workers.lock:
            if self._failure is not None:
                raise BrokenThreadPool(self._failure)
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._workers.submit(call)
        return future

    def _call_initialized(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._failure is not None:
            raise BrokenThreadPool(self._failure)
        if get_ident() not in self._initialized:
            try:
                self._initialize()  # type: ignore[misc]
            except BaseException as exception:
                self._failure = f"the initializer raised {exception!r}"
                raise BrokenThreadPool(self._failure) from exception
            self._initialized.add(get_ident())
        return function(*args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with *cancel_futures* cancel those that no thread has begun with.

        With *wait*, return when all the others have ended.
        """
        workers = self._workers
        with workers.lock:
            self._closed = True
            pending = list(workers.pending) if cancel_futures else []
        for call in pending:
            if isinstance(call, _FutureCall):
                workers.withdraw(call, call.cancel)
        workers.end()
        if wait:
            workers.wait_until(lambda: not workers.unfinished)

    kill = shutdown


# The threads of ``blocking``, which it shares with nobody.
blocking_pool = ThreadPool(BLOCKING_THREADS, idle_task_timeout=IDLE_SECONDS)
