"""OS threads that make calls which would block a hub, while the calling greenlet parks.

threadpool.py is the public face.

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

*Who guards what.*  All fields of ``Workers`` are guarded by its lock.  It is reentrant, because a signal
handler may kill a greenlet, and so claim its waiter, between any two bytecodes.
"""

from __future__ import annotations

import sys
import weakref
from _queue import Empty
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from functools import partial
from math import inf
from typing import Any, Generic, ParamSpec, TypeVar

from .._core.affinity import unpin
from .._core.current import thread_hub
from .._core.deadlock import idle_threads
from .._core.fork import at_fork
from .._core.native import RLock, SimpleQueue, get_ident, start_new_thread
from .._core.waiter import Waiter

P = ParamSpec("P")
T = TypeVar("T")

# tokio's blocking pool may have as many.  Such calls mostly wait (for a name server, a child process, a
# lock), and with too few threads those that wait for each other would never end.
BLOCKING_THREADS = 512

# How long a thread of it is kept for the next call.
IDLE_SECONDS = 10.0


class Call(Generic[T]):
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
                return tell_nobody
            self.begun = True
            value = self.context.run(self.function, *self.args, **self.kwargs)
        except BaseException as exception:
            return partial(self.fail, exception)
        return partial(self.succeed, value)


def tell_nobody() -> None:
    """There is nobody to tell."""


def _tell(tell: Callable[[], object]) -> None:
    try:
        tell()
    except BaseException:
        # A callback of a Future or an AsyncResult failed; that must not cost a thread.
        sys.excepthook(*sys.exc_info())


AnyCall = Call[Any]
Handover = SimpleQueue[AnyCall | None]


class Workers:
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
        self.pending: deque[AnyCall] = deque()
        # The identifiers of all threads, and how many of them were not told to end.
        self.threads: set[int] = set()
        self.size = 0
        # The queue of each idle thread, where it waits for its call, or for None, at which it ends.  The last
        # to become idle is the next to be called, so the others reach their timeout.
        self.idle: deque[Handover] = deque()
        # The identifier of each thread that takes its next call now, with a token for that wait.  Only the
        # thread itself adds and removes its entry.
        self.taking: dict[Handover, tuple[int, object]] = {}
        # More threads than the least of these end as soon as no call is waiting.
        self.limits: list[int] = []
        # Calls whose outcome was not told yet.
        self.unfinished = 0
        self.watchers: list[tuple[Callable[[], bool], Waiter]] = []

    # Any thread.

    def submit(self, call: Call[T]) -> None:
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

    def withdraw(self, call: Call[T], tell: Callable[[], object] = tell_nobody) -> None:
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
        call = Call(function, args, kwargs, waiter.wake, waiter.fail, partial(_is_waiting, waiter))
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
        unpin()
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
                tell = tell_nobody
            # The thread is idle before it tells the outcome, so the caller finds it idle and starts no other.
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

    def _take(self, handover: Handover) -> AnyCall | None:
        """Wait for the call that this thread is chosen for; None when it is to end."""
        with self.lock:
            self.taking[handover] = (get_ident(), object())
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
        finally:
            with self.lock:
                self.taking.pop(handover, None)

    def find_idle(self) -> dict[int, object]:
        """The identifiers of the threads that wait for a call, with a token for each wait; any thread.

        A thread counts as idle already while it tells the outcome of its last call, and still does while it
        takes a call for which it was not chosen.  So it has to be on both lists.
        """
        with self.lock:
            return dict(self.taking[handover] for handover in self.idle if handover in self.taking)


def _is_waiting(waiter: Waiter) -> bool:
    with waiter.guard:  # type: ignore[union-attr]  # its maker gave it one
        return not waiter.state


_every: weakref.WeakSet[Workers] = weakref.WeakSet()
_every_lock = RLock()


def _after_fork_in_child() -> None:
    global _every_lock
    _every_lock = RLock()
    for workers in list(_every):
        workers.reset()


at_fork("workers", in_child=_after_fork_in_child)


def _find_idle_threads() -> dict[int, object]:
    with _every_lock:
        every = list(_every)
    return {thread: token for workers in every for thread, token in workers.find_idle().items()}


def count_unfinished_calls() -> int:
    """How many calls threads make, or are to make, at the moment."""
    with _every_lock:
        return sum(workers.unfinished for workers in _every)


# An idle thread wakes no greenlet.
idle_threads.append(_find_idle_threads)


def check_callable(value: object) -> None:
    if not callable(value):
        raise TypeError(f"function must be callable, not {value!r}")


def check_count(name: str, count: int, least: int, most: float = inf) -> None:
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
    check_callable(function)
    if thread_hub() is None:
        return copy_context().run(function, *args, **kwargs)
    return blocking_workers.call(function, args, kwargs)


# The threads of ``blocking``, which nothing else uses.
blocking_workers = Workers(BLOCKING_THREADS, IDLE_SECONDS)
