"""Greenlets: spawning them and waiting for several of them (as ``gevent.greenlet``)."""

from __future__ import annotations

from _contextvars import Context, ContextVar
from _weakref import ref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from time import monotonic
from types import TracebackType

from greenlet import GreenletExit

from ._core.carrier import Carrier
from ._core.current import current_greenlet, current_hub
from ._core.current import getcurrent as _getcurrent
from ._core.errors import LoopExit, SpawnError
from ._core.hub import Hub
from ._core.native import RLock
from ._core.seconds import check_seconds
from ._core.spawning import SpawnFrame, call_spawn_callbacks, spawn_callbacks
from ._core.speedups import speedups
from ._core.task import T_co, Task
from ._core.timeout import Timeout
from ._core.typing import TYPE_CHECKING, Protocol, overload
from ._core.waiter import Waiter

if TYPE_CHECKING:
    from typing import Any, ParamSpec, Self, TypeVar

    from ._core.task import Raisable
    from .futures import Future

    P = ParamSpec("P")
    T = TypeVar("T")
    L = TypeVar("L", bound="Linkable")
    G = TypeVar("G", bound="Task[object]")

__all__ = [
    "Greenlet",
    "GreenletExit",
    "LoopExit",
    "SpawnError",
    "getcurrent",
    "iwait",
    "joinall",
    "kill",
    "killall",
    "spawn",
    "spawn_later",
    "spawn_raw",
    "wait",
]


# Each task has a context, and so this, from the task that has spawned it.
_tree_locals: ContextVar[dict[str, Any]] = ContextVar("greenpool.spawn_tree_locals")


class Greenlet(Task[T_co]):
    __doc__ = Task.__doc__

    __slots__ = ()

    _tree_locals: dict[str, Any]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Join the greenlet; if the block raised an exception, kill the greenlet with it (as in gevent)."""
        if value is None:
            try:
                self.join()
            finally:
                self.kill()
        else:
            self.kill(value)

    @staticmethod
    def add_spawn_callback(callback: Callable[[Greenlet], object]) -> None:
        """Have *callback(greenlet)* called for each greenlet that is started from now on, just before that.

        It runs in the greenlet or thread that starts the other one, which raises what *callback* raises.  A
        callback that was added twice is called once (as in gevent).
        """
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        spawn_callbacks.add(callback)

    @staticmethod
    def remove_spawn_callback(callback: Callable[[Greenlet], object]) -> None:
        """Undo ``add_spawn_callback``; without effect if that was not called."""
        spawn_callbacks.discard(callback)

    @property
    def minimal_ident(self) -> int:
        """A small number that no other living greenlet has (as in gevent); given when first read."""
        from ._core.idents import small_ident

        return small_ident(self)

    # Where it comes from.  Without the C extension this is known only after greenpool.inspect.note_origins().

    @property
    def spawning_greenlet(self) -> ref[Task[Any]] | None:
        """A weak reference to the greenlet that has made this one; None if none has, or it is not known."""
        return self.spawner

    @property
    def spawning_stack(self) -> SpawnFrame | None:
        """The place at which this greenlet was made, as a frame for ``traceback``; None if it is not known.

        Unlike gevent's it has one entry: the innermost place outside of greenpool.
        """
        return None if self.origin is None else SpawnFrame(*self.origin)

    @property
    def spawn_tree_locals(self) -> dict[str, Any]:
        """A dict that this greenlet shares with those that it spawns, directly or not (as in gevent).

        The greenlets that the main program spawns have separate ones.
        """
        found = self.__dict__.get("_tree_locals")
        if found is None:
            found = self._find_tree_locals()
        if getcurrent() is self and _tree_locals.get(None) is not found:
            # A child's context is a copy, so the child finds it though this greenlet has ended.
            _tree_locals.set(found)
        return found

    def _find_tree_locals(self) -> dict[str, Any]:
        line: list[Greenlet] = [self]
        while "_tree_locals" not in line[-1].__dict__:
            spawner = line[-1].spawner
            above = None if spawner is None else spawner()
            if not isinstance(above, Greenlet):
                break
            line.append(above)
        first = line[-1]
        known = None if first.context is None else first.context.get(_tree_locals)
        # The first thread that comes decides.
        found = first.__dict__.setdefault("_tree_locals", {} if known is None else known)
        for greenlet in line:
            greenlet.__dict__.setdefault("_tree_locals", found)
        return self._tree_locals

    def as_future(self) -> Future[T_co]:
        """A ``concurrent.futures.Future`` of the greenlet's outcome; cancelling it kills the greenlet."""
        from .futures import as_future

        return as_future(self)


# The first overload has no P, because nothing may stand between *args: P.args and **kwargs: P.kwargs.
@overload
def spawn(
    function: Callable[..., T], *args: object, context: Context | None, **kwargs: object
) -> Greenlet[T]: ...
@overload
def spawn(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...
def spawn(function: Callable[..., T], *args: object, **kwargs: object) -> Greenlet[T]:
    """Run *function* in a new greenlet and return the greenlet (as in gevent).  Any thread may call this.

    The caller decides on the hub.  The function that ``run`` or ``block_on`` is running spawns over the
    pool's hubs in turn.  A greenlet spawns on its own hub.  Any other code spawns on the calling thread's
    own hub, which runs while that thread waits.

    ``context=`` gives a ``contextvars.Context`` instead of a copy of the current one.  Raises TypeError if
    *function* is not callable, and SpawnError after a shutdown.
    """
    if not callable(function):
        raise TypeError(f"function must be callable, not {function!r}")
    greenlet = Greenlet(function, *args, **kwargs)
    if spawn_callbacks:
        call_spawn_callbacks(greenlet)
    greenlet.start_unshared()
    return greenlet


if speedups is not None:
    spawn = speedups.connect_spawn(Greenlet, Carrier, Hub, spawn, spawn_callbacks)

spawn_raw = spawn
"""The same as ``spawn``: a Greenlet is as light as gevent's raw ones, and may be killed and joined."""


@overload
def spawn_later(
    seconds: float, function: Callable[..., T], *args: object, context: Context | None, **kwargs: object
) -> Greenlet[T]: ...
@overload
def spawn_later(
    seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Greenlet[T]: ...
def spawn_later(seconds: float, function: Callable[..., T], *args: object, **kwargs: object) -> Greenlet[T]:
    """Do what ``spawn`` does, but start the greenlet in *seconds* (as in gevent).  Any thread."""
    if not callable(function):
        raise TypeError(f"function must be callable, not {function!r}")
    greenlet = Greenlet(function, *args, **kwargs)
    greenlet.start_later(seconds)
    return greenlet


def getcurrent() -> Greenlet:
    """The greenlet that this code runs in; any thread.

    Code that runs in none gets a stand-in for its thread's main program, which has all of a Greenlet's
    methods except ``as_future``.
    """
    greenlet = _getcurrent()
    try:
        task = greenlet.task
    except AttributeError:
        task = current_greenlet().task
    return task  # type: ignore[return-value]  # the stand-in is nearly one


class Linkable(Protocol):
    """An object that calls its links when it is ready: a greenlet, an event and the like."""

    def rawlink(self, callback: Callable[[object], object], /) -> object: ...

    def unlink(self, callback: Callable[[object], object], /) -> object: ...


class _Completions:
    """Those of several objects that are ready, in order; their hubs' threads call it as a rawlink."""

    def __init__(self) -> None:
        # Reentrant, because a signal handler may kill a greenlet between any two bytecodes.
        self._lock = RLock()
        self._done: deque[Any] = deque()
        self._waiter: Waiter | None = None

    def __call__(self, completed: object) -> None:
        with self._lock:
            self._done.append(completed)
            waiter = self._waiter
            if waiter is not None and not waiter.claim():
                waiter = None
        if waiter is not None:
            waiter.resume()

    def next(self, timeout: float | None) -> Any:
        """Wait for the next one; raises IndexError when *timeout* seconds have passed without one."""
        waiter = Waiter(self._lock)
        with self._lock:
            if self._done:
                return self._done.popleft()
            self._waiter = waiter
        try:
            waiter.park(timeout)
        finally:
            with self._lock:
                self._waiter = None
        return self._done.popleft()


class _Completed(Iterator["T"]):
    """The iterator that ``iwait`` returns; a ``with`` block closes it."""

    def __init__(self, items: Generator[T]) -> None:
        self._items = items

    def __next__(self) -> T:
        return next(self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Take back the links to the objects that are not ready."""
        self._items.close()


# If the objects are of several kinds, mypy finds L by the second overload only.
@overload
def iwait(objects: Iterable[L], timeout: float | None = None, count: int | None = None) -> _Completed[L]: ...
@overload
def iwait(  # type: ignore[overload-cannot-match]  # it does match
    objects: Iterable[Linkable], timeout: float | None = None, count: int | None = None
) -> _Completed[Linkable]: ...
def iwait(objects: Iterable[L], timeout: float | None = None, count: int | None = None) -> _Completed[L]:
    """Yield *objects* (greenlets, events and all else that has ``rawlink``) as they become ready.

    Ends after *count* of them, or when *timeout* seconds have passed.  Whoever does not take them all
    should do so in a ``with`` block, which takes back the links to the rest (as in gevent).
    """
    check_seconds("timeout", timeout)
    pending = list(objects)
    for item in pending:
        if not (hasattr(item, "rawlink") and hasattr(item, "unlink")):
            raise TypeError(f"objects must be greenlets, events or the like, not {item!r}")
    if count is None:
        count = len(pending)
    elif isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"count must be an int or None, not {count!r}")
    elif count < 0:
        raise ValueError(f"count must not be negative, not {count!r}")
    return _Completed(_iwait(pending, timeout, min(count, len(pending))))


def _iwait(pending: list[L], timeout: float | None, count: int) -> Generator[L]:
    completions = _Completions()
    deadline = None if timeout is None else monotonic() + timeout

    def remaining() -> float | None:
        return None if deadline is None else max(0.0, deadline - monotonic())

    try:
        for item in pending:
            ready = getattr(item, "ready", None)
            if ready is not None and ready():
                if isinstance(item, Task):
                    # Its links may still be due.
                    item.join(remaining())
                # At once, so that also a timeout of 0 finds it, on whichever hub it is.
                completions(item)
            else:
                item.rawlink(completions)
        for _ in range(count):
            try:
                completed = completions.next(remaining())
            except IndexError:
                return
            yield completed
    finally:
        for item in pending:
            item.unlink(completions)


@overload
def wait(objects: None = None, timeout: float | None = None, count: int | None = None) -> bool: ...
@overload
def wait(objects: Iterable[L], timeout: float | None = None, count: int | None = None) -> list[L]: ...
@overload
def wait(  # type: ignore[overload-cannot-match]  # as for iwait
    objects: Iterable[Linkable], timeout: float | None = None, count: int | None = None
) -> list[Linkable]: ...
def wait(
    objects: Iterable[L] | None = None, timeout: float | None = None, count: int | None = None
) -> list[L] | bool:
    """Wait for *objects* to become ready and return those that did, in that order (as in gevent).

    Without *objects*: wait until every other greenlet of this hub has ended; True unless *timeout*
    seconds passed before.
    """
    if objects is not None:
        return list(iwait(objects, timeout, count))
    check_seconds("timeout", timeout)
    hub = current_hub()
    waiter = Waiter()
    hub.wake_at_rest(waiter)
    try:
        return waiter.park(timeout)
    finally:
        hub.forget_waiter(waiter)


def joinall(
    greenlets: Iterable[G],
    timeout: float | None = None,
    raise_error: bool = False,
    count: int | None = None,
) -> list[G]:
    """Wait for *greenlets* to end, at most *timeout* seconds, and return those that have.

    With *count*, only for so many.  With *raise_error*, the exception of the first that fails is raised
    (as in gevent).
    """
    targets = list(greenlets)
    whole = timeout is None and count is None and not raise_error
    if whole and all(isinstance(greenlet, Task) for greenlet in targets):
        # All have to end, so the order does not matter, and one waiter at a time will do.
        for greenlet in targets:
            greenlet.join()
        return targets
    done = []
    with iwait(targets, timeout, count) as completed:
        for greenlet in completed:
            if raise_error and greenlet.exception is not None:
                raise greenlet.exception
            done.append(greenlet)
    return done


def kill(greenlet: Task[object], exception: Raisable = GreenletExit) -> None:
    """The same as ``greenlet.kill(exception, block=False)`` (as in gevent)."""
    greenlet.kill(exception, block=False)


def killall(
    greenlets: Iterable[Task[object]],
    exception: Raisable = GreenletExit,
    block: bool = True,
    timeout: float | Timeout | None = None,
) -> None:
    """Kill all *greenlets*, then, with *block*, wait for their end.

    Raises Timeout when they have not all ended within *timeout* seconds (as in gevent).
    """
    if not isinstance(timeout, Timeout):
        check_seconds("timeout", timeout)
    targets = list(greenlets)
    current = getcurrent()
    for greenlet in targets:
        if greenlet is not current:
            greenlet.kill(exception, block=False)
    if current in targets:
        # Last, as this raises here.
        current.kill(exception)
    if block:
        with Timeout.start_new(timeout):
            joinall(targets)
