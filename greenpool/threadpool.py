"""Real threads for calls that would block a hub: ``blocking``, ThreadPool, ThreadPoolExecutor.

Their threads are in _fd/workers.py, which says why they are not those of the standard ThreadPoolExecutor.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor as _StandardExecutor
from concurrent.futures.thread import BrokenThreadPool
from functools import partial
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, overload

from ._core.native import RLock, get_ident
from ._core.seconds import check_seconds
from ._core.waiter import Waiter
from ._fd.workers import (
    BLOCKING_THREADS,
    IDLE_SECONDS,
    Call,
    Workers,
    blocking,
    blocking_workers,
    check_callable,
    check_count,
)
from ._sync.outcomes import OutcomeIterator, Outcomes
from .event import AsyncResult
from .futures import Future
from .greenlet import Greenlet, spawn

__all__ = ["ThreadPool", "ThreadPoolExecutor", "blocking", "blocking_pool"]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Ts = TypeVarTuple("Ts")


class ThreadPool:
    """A pool of real threads for functions that would block a hub (as ``gevent.threadpool.ThreadPool``).

    *maxsize*: how many threads it may have; they are started when needed.
    *idle_task_timeout*: an idle thread ends after so many seconds; never, if None or -1.

    Every method may be called from any greenlet and any thread, and parks only the calling greenlet.  Each
    function runs in a copy of its caller's ``contextvars`` context.  The length is the number of calls that
    have not ended.  The threads end when the pool is dropped.
    """

    def __init__(self, maxsize: int, idle_task_timeout: float | None = None) -> None:
        check_count("maxsize", maxsize, 1)
        if idle_task_timeout == -1:
            idle_task_timeout = None
        check_seconds("idle_task_timeout", idle_task_timeout)
        self._workers = Workers(maxsize, idle_task_timeout)
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
        check_count("maxsize", maxsize, 1)
        self._workers.set_maxsize(maxsize)

    @property
    def size(self) -> int:
        """How many threads there are.  Assigning starts new ones, up to *maxsize*, or waits until the
        surplus ones have ended."""
        return self._workers.size

    @size.setter
    def size(self, size: int) -> None:
        workers = self._workers
        check_count("size", size, 0, workers.maxsize)
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
        check_callable(function)
        workers = self._workers
        result: AsyncResult[T] = AsyncResult()
        call = Call(function, args, kwargs, result.set, result.set_exception)
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
        check_callable(function)
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
        """Do what ``apply`` does, and call *callback* with the value, unless the call has failed."""
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
        """Begin what ``apply_cb`` does, and return at once a greenlet that will have the value."""
        check_callable(function)
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
        """Do what ``map`` does, and call *callback* with the list, unless a call has failed."""
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
        """Begin what ``map_cb`` does, and return at once a greenlet that will have the list."""
        check_callable(function)
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
        """Do what ``imap`` does, but give each value as soon as its call has ended."""
        return self._imap(False, function, iterables, maxsize)

    def _imap(
        self,
        ordered: bool,
        function: Callable[..., T],
        iterables: tuple[Iterable[object], ...],
        maxsize: int | None,
    ) -> Iterator[T]:
        check_callable(function)
        if not iterables:
            raise TypeError("imap needs at least one iterable")
        if maxsize is not None:
            check_count("maxsize", maxsize, 1)
        outcomes: Outcomes[T] = Outcomes(ordered, maxsize)
        spawn(outcomes.feed, partial(self.spawn, function), zip(*iterables, strict=False))
        return OutcomeIterator(outcomes)


class _FutureCall(Call[T]):
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
        self._workers = Workers(self._max_workers)
        self._initialize = None if initializer is None else partial(initializer, *initargs)
        self._initialized: set[int] = set()
        self._failure: str | None = None
        self._closed = False
        weakref.finalize(self, self._workers.end).atexit = False

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread call *function*; never waits.  Raises RuntimeError after ``shutdown``."""
        check_callable(function)
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
        if self._initialize is not None and get_ident() not in self._initialized:
            try:
                self._initialize()
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


#: The threads of ``blocking``, which it shares with nobody.
blocking_pool = ThreadPool(BLOCKING_THREADS, idle_task_timeout=IDLE_SECONDS)
blocking_pool._workers = blocking_workers

# Programs import it from here.
blocking.__module__ = __name__
