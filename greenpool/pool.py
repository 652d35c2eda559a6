"""Groups and pools of greenlets (as ``gevent.pool``).

A group knows the greenlets that it was given and that have not ended; a pool is a group with a limit, and
makes those wait who want to exceed it.  Both may be used from every greenlet of every hub and from every
plain thread; their greenlets may be on any number of hubs.

*Where the work goes.*  With ``spread=True``, over the runtime's hubs in turn.  Otherwise where ``spawn``
would put it: on the caller's own hub, or, directly in the main function of ``run``, on the next in turn.

*What guards what.*  The members, and which of them are dying, are guarded by the lock.  A member leaves in
the loop of its own hub, a moment after it has ended; so somebody who has joined the greenlet itself may
still find it in the group.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ._core.current import current_greenlet, getcurrent
from ._core.native import RLock
from ._core.seconds import check_seconds
from ._core.task import Task
from ._core.timeout import Timeout, ends_in_time
from ._core.waits import awaited_as, awaited_lock
from ._sync.outcomes import OutcomeIterator, Outcomes
from .event import Event
from .greenlet import Greenlet, GreenletExit
from .lock import DummySemaphore, Semaphore
from .runtime import current_handle

if TYPE_CHECKING:
    from ._core.task import Raisable

__all__ = ["Group", "Pool", "PoolFull"]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class Group:
    """Greenlets that have not ended yet; without a limit to their number (as ``gevent.pool.Group``).

    ``len(group)``, ``greenlet in group`` and iteration tell which; an empty group is false.
    """

    # ``spawn`` makes an instance of this class; a subclass or an instance may set another one.
    greenlet_class: type[Greenlet] = Greenlet

    def __init__(self, greenlets: Iterable[Task[object]] = (), *, spread: bool = False) -> None:
        if not isinstance(spread, bool):
            raise TypeError(f"spread must be a bool, not {spread!r}")
        self.spread = spread
        # Plain threads, which belong to no runtime, use this one.
        self._handle = current_handle() if spread else None
        # Reentrant, because a signal handler may spawn between any two bytecodes.
        self._lock = RLock()
        # A dict as an ordered set.
        self._members: dict[Task[object], None] = {}
        # Killed by us already: nobody is killed twice.
        self._dying: set[Task[object]] = set()
        # Members that have left, and behind whose callback of this group others are due: a join goes on
        # after those.
        self._linking = 0
        # Neither members nor those.
        self._empty = Event()
        self._empty.set()
        for greenlet in greenlets:
            self.add(greenlet)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}: {len(self)} greenlets>"

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, greenlet: object) -> bool:
        return greenlet in self._members

    def __iter__(self) -> Iterator[Task[object]]:
        with self._lock:
            return iter(list(self._members))

    # Members.

    def add(self, greenlet: Task[object]) -> None:
        """Make *greenlet* a member; it should not have been started yet."""
        _check_greenlet(greenlet)
        self._admit(greenlet)

    def _admit(self, greenlet: Task[object]) -> bool:
        """False if it is a member already."""
        with self._lock:
            if greenlet in self._members:
                return False
            self._members[greenlet] = None
            self._empty.clear()
        # Only now, as one that has ended already leaves at once.
        greenlet.rawlink(self._remove)
        return True

    def discard(self, greenlet: Task[object]) -> None:
        """Forget *greenlet*, which goes on; without effect if it is no member."""
        if self._remove(greenlet):
            greenlet.unlink(self._remove)

    def _remove(self, greenlet: Task[object]) -> bool:
        with self._lock:
            try:
                # One step, as a signal handler may remove it between any two bytecodes.
                del self._members[greenlet]
            except KeyError:
                return False
            self._dying.discard(greenlet)
            # In the same step: whoever sees that it has left finds its room free.
            self._make_room()
            if greenlet.call_last(self._links_called):
                self._linking += 1
            elif not self._members and not self._linking:
                self._empty.set()
        return True

    def _links_called(self, _: Task[object]) -> None:
        with self._lock:
            self._linking -= 1
            if not self._members and not self._linking:
                self._empty.set()

    def _make_room(self) -> None:
        """A member has left; the lock is held."""

    def start(self, greenlet: Task[object]) -> None:
        """Make *greenlet*, which has not been started, a member, and start it."""
        _check_greenlet(greenlet)
        self._admit_and_start(greenlet)

    def _admit_and_start(self, greenlet: Task[object]) -> None:
        # In one step, so that a kill of all members does not come in between, where it is not settled yet
        # on which hub the greenlet will be.
        with self._lock:
            admitted = self._admit(greenlet)
            try:
                self._place(greenlet)
            except BaseException:
                if admitted:
                    self.discard(greenlet)
                raise

    def _place(self, greenlet: Task[object]) -> None:
        if not self.spread:
            greenlet.start()
        elif not greenlet.started and not greenlet.dead:
            handle = current_handle() or self._handle
            if handle is None:
                raise RuntimeError(f"spread=True needs a runtime, and {self!r} is used outside of one")
            handle.place(greenlet)

    # The first overload has no P, because nothing may stand between *args: P.args and **kwargs: P.kwargs.
    @overload
    def spawn(
        self, function: Callable[..., T], *args: object, context: Context | None, **kwargs: object
    ) -> Greenlet[T]: ...
    @overload
    def spawn(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...
    def spawn(self, *args: Any, **kwargs: Any) -> object:
        """Start a new greenlet, made with these arguments, as a member; returns it."""
        greenlet = self.greenlet_class(*args, **kwargs)
        self.start(greenlet)
        return greenlet

    # Limits: a group has none.

    def full(self) -> bool:
        """True if there is no room for another member."""
        return False

    def wait_available(self, timeout: float | Timeout | None = None) -> int:
        """Wait until there is room for another member, at most *timeout* seconds; how much there is."""
        _check_limit(timeout)
        return 1

    # The end.

    def join(self, timeout: float | Timeout | None = None, raise_error: bool = False) -> bool:
        """Wait until there is no member, at most *timeout* seconds; False if that was too short.

        With *raise_error*, the exception of a greenlet that was a member when the wait began is raised,
        if one failed.
        """
        _check_limit(timeout)
        members = list(self) if raise_error else []
        # Where only links are left it was long enough.
        empty = self._empty.wait(timeout) or not self._members
        for greenlet in members:
            if greenlet.exception is not None:
                raise greenlet.exception
        return empty

    def kill(
        self,
        exception: Raisable = GreenletExit,
        block: bool = True,
        timeout: float | Timeout | None = None,
    ) -> None:
        """Kill all members, each once, and, with *block*, wait for their end, at most *timeout* seconds.

        Those that become members in the meantime are killed as well.  A member that calls this is the last
        one: in it the exception is raised here.
        """
        if isinstance(timeout, Timeout):
            ends_in_time(timeout, self.kill, exception, block)
            return
        check_seconds("timeout", timeout)
        deadline = None if timeout is None else monotonic() + timeout
        me = _current_task()
        ended: list[Task[object]] = []
        while True:
            with self._lock:
                others = [greenlet for greenlet in self._members if greenlet is not me]
                targets = [greenlet for greenlet in others if greenlet not in self._dying]
                self._dying.update(targets)
            self._kill_now(targets, exception)
            if not others or not block or (deadline is not None and monotonic() >= deadline):
                break
            for greenlet in others:
                self._join(greenlet, deadline)
            ended += others
        for greenlet in ended:
            greenlet.join(_rest(deadline))
        if me is not None and me in self:
            me.kill(exception)

    def killone(
        self,
        greenlet: Task[object],
        exception: Raisable = GreenletExit,
        block: bool = True,
        timeout: float | Timeout | None = None,
    ) -> None:
        """Kill *greenlet* if it is a member and was not killed yet; *block* and *timeout* as for ``kill``."""
        if isinstance(timeout, Timeout):
            ends_in_time(timeout, self.killone, greenlet, exception, block)
            return
        check_seconds("timeout", timeout)
        with self._lock:
            if greenlet not in self._members or greenlet in self._dying:
                return
            self._dying.add(greenlet)
        self._kill_now([greenlet], exception)
        if block:
            deadline = None if timeout is None else monotonic() + timeout
            self._join(greenlet, deadline)
            greenlet.join(_rest(deadline))

    def _kill_now(self, targets: list[Task[object]], exception: Raisable) -> None:
        """Kill those that have been noted as dying, and do not wait."""
        for number, greenlet in enumerate(targets):
            try:
                greenlet.kill(exception, block=False)
            except BaseException:
                # A signal handler has raised an exception: no other member is dying.
                with self._lock:
                    self._dying.difference_update(targets[number:])
                raise
            if greenlet.dead and greenlet.hub is None:
                # It was never started.  This thread's hub, which may never run, calls its links.
                self._remove(greenlet)

    def _join(self, greenlet: Task[object], deadline: float | None) -> None:
        # Before its link makes room for another greenlet: a kill does not reach those that wait for room.
        greenlet.join_before_links(_rest(deadline))
        if greenlet.dead:
            self._remove(greenlet)

    # Calls.

    def apply(
        self,
        function: Callable[..., T],
        args: Iterable[object] | None = None,
        kwds: Mapping[str, object] | None = None,
    ) -> T:
        """Call *function* in a new member and return its value or raise its exception.

        A member that calls this calls *function* itself: a full pool would otherwise wait for ever.
        """
        if _current_task() in self:
            return function(*(args or ()), **(kwds or {}))
        return self.spawn(function, *(args or ()), **(kwds or {})).get()

    def apply_cb(
        self,
        function: Callable[..., T],
        args: Iterable[object] | None = None,
        kwds: Mapping[str, object] | None = None,
        callback: Callable[[T], object] | None = None,
    ) -> T:
        """Do what ``apply`` does, and call *callback* with the value in a greenlet of its own.

        If the call raises an exception, *callback* is not called.
        """
        value = self.apply(function, args, kwds)
        if callback is not None:
            Greenlet.spawn(callback, value)
        return value

    def apply_async(
        self,
        function: Callable[..., T],
        args: Iterable[object] | None = None,
        kwds: Mapping[str, object] | None = None,
        callback: Callable[[T], object] | None = None,
    ) -> Greenlet[T]:
        """Begin what ``apply_cb`` does, and return at once a greenlet that will have the value.

        If there is no room, that greenlet is no member, but waits for the room.
        """
        greenlet = self.greenlet_class(function, *(args or ()), **(kwds or {}))
        if callback is not None:
            greenlet.link_value(lambda ended: callback(ended.get()))
        if self._start_if_room(greenlet):
            return greenlet
        return self._spawn_beside(self.apply_cb, function, args, kwds, callback)

    def _start_if_room(self, greenlet: Task[object]) -> bool:
        self.start(greenlet)
        return True

    @staticmethod
    def _spawn_beside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]:
        """Run *function* in a greenlet that is no member, but spawns where the caller does."""
        placement = getattr(getcurrent(), "placement", None)

        def in_greenlet() -> T:
            current_greenlet().placement = placement
            return function(*args, **kwargs)

        return Greenlet.spawn(in_greenlet)

    def map(self, function: Callable[[A], T], iterable: Iterable[A]) -> list[T]:
        """``[function(item) for item in iterable]``, each call in a new member.

        Raises the exception of the first item whose call failed; the other calls go on.
        """
        return [greenlet.get() for greenlet in [self.spawn(function, item) for item in iterable]]

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
        return self._spawn_beside(self.map_cb, function, iterable, callback)

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
        """``map(function, *iterables)``, each call in a new member, as long as there is room.

        The values come in order.  ``next()`` raises the exception of a call that failed, and can then be
        called on.  With *maxsize*, that many calls at most have been begun whose value was not taken; and
        no more are begun when nobody has the iterator any more, but for one that waits for room in a full
        pool.  Without it, all are.
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
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        if not iterables:
            raise TypeError("imap needs at least one iterable")
        if maxsize is not None:
            _check_size("maxsize", maxsize, 1)
        outcomes: Outcomes[T] = Outcomes(ordered, maxsize)
        self._spawn_beside(outcomes.feed, partial(self.spawn, function), zip(*iterables, strict=False))
        return OutcomeIterator(outcomes)


class PoolFull(queue.Full):
    """There was no room in a Pool for another member (as in gevent)."""


class Pool(Group):
    """A group of at most *size* greenlets (as ``gevent.pool.Pool``); None is no limit.

    ``spawn`` and all that is built on it wait while the pool is full, first come, first served.
    """

    def __init__(
        self,
        size: int | None = None,
        greenlet_class: type[Greenlet] | None = None,
        *,
        spread: bool = False,
    ) -> None:
        if size is not None:
            _check_size("size", size, 0)
        Group.__init__(self, spread=spread)
        self.size = size
        if greenlet_class is not None:
            self.greenlet_class = greenlet_class
        self._room = DummySemaphore() if size is None else Semaphore(size)

    def full(self) -> bool:
        """True if there is no room for another member."""
        return self.free_count() <= 0

    def free_count(self) -> int:
        """How many members there is room for; 1 if there is no limit."""
        return 1 if self.size is None else max(0, self.size - len(self))

    def wait_available(self, timeout: float | Timeout | None = None) -> int:
        """Wait until there is room for another member, at most *timeout* seconds; return how much there is.

        It may be 0 after a successful wait, too, because another greenlet may have taken the room meanwhile.
        """
        _check_limit(timeout)
        return self._room.wait(timeout)

    def add(
        self, greenlet: Task[object], blocking: bool = True, timeout: float | Timeout | None = None
    ) -> None:
        """Make *greenlet* a member; it should not have been started yet.

        If there is no room, this waits for it, at most *timeout* seconds.  Raises PoolFull when these have
        passed, or at once if *blocking* is false.
        """
        self._enter(greenlet, self._admit, blocking, timeout)

    def start(
        self, greenlet: Task[object], blocking: bool = True, timeout: float | Timeout | None = None
    ) -> None:
        """Do what ``add`` does, and start *greenlet*."""
        self._enter(greenlet, self._admit_and_start, blocking, timeout)

    def _enter(
        self,
        greenlet: Task[object],
        admit: Callable[[Task[object]], object],
        blocking: bool,
        timeout: float | Timeout | None,
    ) -> None:
        """Wait for room and *admit* the greenlet; a member needs no more room."""
        _check_greenlet(greenlet)
        _check_limit(timeout)
        with self._lock:
            if greenlet in self._members:
                admit(greenlet)
                return
        if not self._room.acquire(blocking, timeout if blocking else None):
            raise PoolFull(f"{self!r} has no room for {greenlet!r}")
        with self._lock:
            if greenlet in self._members:
                # Somebody else was quicker.
                self._room.release()
            # A member that cannot be started gives its room back as it leaves.
            admit(greenlet)

    def _make_room(self) -> None:
        self._room.release()

    def _start_if_room(self, greenlet: Task[object]) -> bool:
        try:
            self.start(greenlet, blocking=False)
        except PoolFull:
            return False
        return True


def _check_limit(timeout: float | Timeout | None) -> None:
    if not isinstance(timeout, Timeout):
        check_seconds("timeout", timeout)


def _rest(deadline: float | None) -> float | None:
    """The seconds until *deadline*."""
    return None if deadline is None else max(0.0, deadline - monotonic())


def _current_task() -> Task[object] | None:
    """The calling task; None in a thread that has not waited yet, and in a hub's loop."""
    return getattr(getcurrent(), "task", None)


def _check_greenlet(greenlet: Task[object]) -> None:
    if not isinstance(greenlet, Task):
        raise TypeError(f"greenlet must be a Greenlet, not {greenlet!r}")


def _check_size(name: str, size: int, least: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} must be an int or None, not {size!r}")
    if size < least:
        raise ValueError(f"{name} must be {least} or more, not {size!r}")


awaited_as(Group, "to be done")
_ROOM = "to have room"
awaited_as(Pool, "to be done", add=_ROOM, spawn=_ROOM, start=_ROOM, wait_available=_ROOM)


def _members_of(pool: Pool) -> list[Task[object]]:
    # Without the lock, which a greenlet that hangs may hold: a copy of a dict is one step.
    return list(pool._members)


awaited_lock(Pool, _members_of, None, ("add", "spawn", "start", "wait_available"))
