"""A task: one call that runs as a green thread.  The public name of this class is ``Greenlet``.

A task is a light object; it runs on a carrier (see carrier.py) of its hub, for life.

*Which thread touches what.*  Only the thread of ``task.hub`` starts, runs, finishes, links and kills a
task; from any other thread these are posted to the hub's inbox, in order.  ``done`` is written last, so
whoever sees it true, on any thread, sees the result.

*Before the start* (``hub`` is None) no hub has it, and any thread may link, join, kill or start it, under one
of the locks below.  The hub is set together with the acceptance, under the lock that decides on it.  So a
thread that finds it set, even without the lock, posts behind the start; and a start that was refused leaves
no trace.  Code that makes and starts a task in one go needs no lock, because nobody else knows the task.

*The verbs of a start*, each for one situation:

- ``spawn``, ``spawn_later``, ``start`` and ``start_later`` are the public API.
- ``start_once`` has a function start the task, unless somebody has.
- ``start_unshared`` chooses the hub for a task that nobody else knows yet.
- ``HubState.admit`` puts it into the ready queue of the calling thread's hub, ``HubState.accept`` into the
  inbox of any hub.  Both follow or call ``accepted_by``.
- ``enter`` puts a task that its hub has counted into that hub's ready queue.

*Links* are called in the order in which the hub accepted them, and the joins stand among them.  Joins that
stand in front of the first callback are woken by the end itself.  The links from that callback on are *due*:
they stay in ``_links``, where ``unlink`` finds them, and the loop takes one after the other.  A link that
runs in a greenlet of its own leaves the list when that greenlet starts, which then has the loop go on with
the next ones.  On the hub of a plain thread these greenlets start before everything else that is ready,
because the main program may never wait again, and other threads may have joined behind them.
"""

from __future__ import annotations

import itertools
from _contextvars import Context, copy_context
from _weakref import ref
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from types import CodeType, GenericAlias, TracebackType

from greenlet import GreenletExit

from .current import (
    Factories,
    cannot_park,
    current_greenlet,
    current_hub,
    getcurrent,
    thread_hub,
    thread_placement,
)
from .error_report import call_reported, report_error
from .errors import SpawnError
from .inbox import Call
from .native import HAS_GIL, RLock
from .origin import Origins, note_origin
from .seconds import check_seconds
from .spawning import call_spawn_callbacks, spawn_callbacks
from .state import GreenThread, HubState
from .timeout import Timeout, call_within, ends_in_time
from .timers import Timer
from .typing import TYPE_CHECKING, overload
from .waiter import Waiter, interrupt

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any, Generic, ParamSpec, Self, TypeVar, TypeVarTuple

    from typing_extensions import TypeVar as DefaultTypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    Ts = TypeVarTuple("Ts")
    W = TypeVar("W", Waiter, "Link")
    T_co = DefaultTypeVar("T_co", covariant=True, default=Any)
else:
    # Only type checkers see a generic class.  At run time a Task has no base: C code writes its slots.
    T_co = "T_co"
    Generic = {T_co: object}

if TYPE_CHECKING:
    ExcInfo = tuple[object, object, TracebackType | None]
    Raisable = BaseException | type[BaseException] | ExcInfo

Link = Callable[..., object]
"""Is called with the task, when that has ended."""


_names: Iterator[int] = itertools.count(1)
# Without the GIL itertools.count is not atomic.  Reentrant, because a signal handler may ask for a name.
_names_lock = RLock()

# Locks for tasks that have not been started.  Few tasks would ever need a lock of their own, and hubs that
# start greenlets at the same time would wait for a lock for all.  Reentrant, because a signal handler or a
# finalizer may start another task between any two bytecodes.
_start_locks: list[AbstractContextManager[object]] = []


def renew_task_locks() -> None:
    """At the start, and in the child of a fork, where a thread that is gone may hold one."""
    global _names_lock
    _names_lock = RLock()
    # A prime number, so that addresses, which are multiples of a size, go to all of them.
    _start_locks[:] = [RLock() for _ in range(61)]


renew_task_locks()


def _start_lock(task: Task[object]) -> AbstractContextManager[object]:
    return _start_locks[(id(task) >> 4) % len(_start_locks)]


class Task(Generic[T_co]):
    """A green thread (as ``gevent.Greenlet``); made by ``spawn``, or by hand and then started.

    For type checkers it is generic in what its function returns: ``Greenlet[int]``.

    Every method may be called from any greenlet of any hub and from any plain thread.
    """

    __slots__ = (
        "hub",
        "carrier",
        "context",
        "done",
        "quiet",
        "args",
        "_kwargs",
        "locals",
        "_function",
        "_value",
        "_exception",
        "_links",
        "_start",
        "_name",
        "_posted",
        "born",
        "spawner",
        "origin",
        "__dict__",
        "__weakref__",
    )

    # Whether it is a thread of the patched ``threading``.
    is_thread = False

    # When it was made, and where it comes from (see origin.py).
    born: float
    spawner: ref[Task[Any]] | None
    origin: tuple[CodeType, int] | None

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    # The first of these has no P, because nothing may stand between *args: P.args and **kwargs: P.kwargs.
    @overload
    def __init__(
        self, run: Callable[..., T_co], *args: object, context: Context | None, **kwargs: object
    ) -> None: ...
    @overload
    def __init__(self, run: Callable[P, T_co], *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def __init__(
        self, run: None = None, *args: object, context: Context | None = None, **kwargs: object
    ) -> None: ...
    def __init__(
        self,
        run: Callable[..., T_co] | None = None,
        *args: object,
        context: Any = None,
        **kwargs: object,
    ) -> None:
        if run is not None and not callable(run):
            raise TypeError(f"run must be callable, not {run!r}")
        if context is not None and not isinstance(context, Context):
            raise TypeError(f"context must be a contextvars.Context or None, not {context!r}")
        self._function: Callable[..., T_co] | None = run
        self.args: tuple[object, ...] = args
        self._kwargs: dict[str, object] | None = kwargs or None
        self.context: Context | None = copy_context() if context is None else context
        self.hub: HubState | None = None
        self.carrier: GreenThread | None = None
        self.done = False
        # Set by code that takes care of the exception itself; nothing is then reported on stderr.
        self.quiet = False
        self.locals: Any = None
        self._value: Any = None
        self._exception: BaseException | None = None
        # In order; a deque once they are due.  None: there are none, or all have been called.
        self._links: list[Waiter | Link] | deque[Waiter | Link] | None = None
        # False: not started; True: handed to its hub; a Timer: to be started by it.
        self._start: bool | Timer = False
        self._name: str | None = None
        # How many callbacks other threads have posted and the hub has not accepted, or a hub is to call after
        # the end.  Counted before that, so a join by the same thread knows that it stands behind them.
        self._posted = 0
        self.born = monotonic()
        self.spawner = self.origin = None
        if Origins.are_noted:
            note_origin(self, getcurrent())

    # Starting.

    @overload
    @classmethod
    def spawn(
        cls, function: Callable[..., T_co], *args: object, context: Context | None, **kwargs: object
    ) -> Self: ...
    @overload
    @classmethod
    def spawn(cls, function: Callable[P, T_co], *args: P.args, **kwargs: P.kwargs) -> Self: ...
    @overload
    @classmethod
    def spawn(cls: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @classmethod
    def spawn(cls, *args: Any, **kwargs: Any) -> object:
        """Make a greenlet of this class and start it; returns it."""
        task = cls(*args, **kwargs)
        if cls.start is Task.start:
            if spawn_callbacks:
                call_spawn_callbacks(task)
            task.start_unshared()
        else:
            task.start()
        return task

    @overload
    @classmethod
    def spawn_later(
        cls,
        seconds: float,
        function: Callable[..., T_co],
        *args: object,
        context: Context | None,
        **kwargs: object,
    ) -> Self: ...
    @overload
    @classmethod
    def spawn_later(
        cls, seconds: float, function: Callable[P, T_co], *args: P.args, **kwargs: P.kwargs
    ) -> Self: ...
    @overload
    @classmethod
    def spawn_later(cls: Callable[P, T], seconds: float, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @classmethod
    def spawn_later(cls, seconds: float, *args: Any, **kwargs: Any) -> object:
        """Do what ``spawn`` does, but start the greenlet in *seconds*."""
        if not args and "run" not in kwargs and cls._run is Task._run:
            raise TypeError(f"{cls.__name__} needs a function to run")
        task = cls(*args, **kwargs)
        task.start_later(seconds)
        return task

    def start(self) -> None:
        """Schedule the greenlet to run: in the main function of ``run``, on the pool's next hub; in a
        greenlet, on that greenlet's hub; elsewhere, on the calling thread's own hub.

        A second start has no effect.  Raises SpawnError where that hub or pool is shut down.
        """
        if spawn_callbacks and self._start is False:
            call_spawn_callbacks(self)
        self.start_once(self.start_unshared)

    def start_once(self, start: Callable[[*Ts], object], *args: *Ts) -> None:
        """Have *start(*args)* start the task, unless somebody has; with other threads, that is one step."""
        if self._start is False:
            with _start_lock(self):
                if self._start is False:
                    start(*args)

    def start_unshared(self, seconds: float | None = None) -> None:
        """Do what ``start`` does, now or in *seconds*, for a task that nobody else knows."""
        greenlet = getcurrent()
        try:
            placement = greenlet.placement
            hub = greenlet.hub
        except AttributeError:
            # The caller is a loop's own callback, a signal handler in its sleep, or a thread's first spawn.
            placement = thread_placement()
            if placement is None:
                hub = current_hub()
                hub.look_again()
        if placement is not None:
            placement(self, seconds)
        elif hub.stopping:
            raise SpawnError(f"{hub!r} is shutting down")
        else:
            self.hub = hub
            hub.live += 1
            hub.spawned += 1
            if seconds is None:
                self._start = True
                hub.ready.append(self)
            else:
                self._start = hub.timers.call_later(seconds, self.enter)

    def start_later(self, seconds: float) -> None:
        """Do what ``start`` does in *seconds*; ``kill`` before then cancels it."""
        if seconds is None:
            raise TypeError("seconds must be a number, not None")
        check_seconds("seconds", seconds)
        if spawn_callbacks and self._start is False:
            call_spawn_callbacks(self)
        self.start_once(self.start_unshared, seconds)

    def accepted_by(self, hub: HubState) -> None:
        """Mark the task as handed to *hub*; in the same step as it is put into a queue there."""
        self.hub = hub
        self._start = True

    def enter(self, seconds: float | None = None) -> None:
        """Join the ready queue of the hub, which counts it already, now or in *seconds*; on its thread."""
        hub = self._own_hub()
        if seconds is None:
            self._start = True
            hub.ready.append(self)
        else:
            self._start = hub.timers.call_later(seconds, self.enter)

    def switch(self) -> object:
        """Called when the task's turn in the ready queue comes, in whichever greenlet parks or ends.

        A free carrier takes it at once; a new carrier is only ever started by the hub's loop.
        """
        hub: HubState = self.hub  # type: ignore[assignment]  # a started task has one
        free = hub.free_carriers
        if free:
            carrier = free.pop()
            carrier.task = self
            # The caller parks below, maybe for long, and is not to keep a task that is not its own.
            del self
            return carrier.switch()
        hub.starting = self
        del self
        return hub.loop.switch(hub)

    # Running, on the carrier.

    def _run(self, *args: Any, **kwargs: Any) -> T_co:
        """Run in the place of the function that a greenlet was not given; subclasses override it."""
        return None  # type: ignore[return-value]  # such a greenlet is one of None

    def _execute(self) -> None:
        hub: HubState = self.hub  # type: ignore[assignment]  # a started task has one
        if hub.stopping and self.carrier is not None:
            # Accepted before the hub was told to stop: it runs, and ends when it first parks.
            interrupt(self.carrier, GreenletExit())
        # A call through *args or **kwargs takes another C frame, which each parked greenlet would have
        # to save (about 0.6 KiB): so the usual calls are made plainly.
        function = self._function
        if function is None:
            function = self._run
        args = self.args
        try:
            if self._kwargs:
                self._value = function(*args, **self._kwargs)
            elif not args:
                self._value = function()
            elif len(args) == 1:
                self._value = function(args[0])
            elif len(args) == 2:
                self._value = function(args[0], args[1])
            else:
                self._value = function(*args)
        except GreenletExit as exit:
            # Without the GIL a traceback cannot be changed safely while other threads may be adding to it:
            # tasks that were killed with the same instance.
            self._value = exit if hasattr(exit, "_given_to_kill") else exit.with_traceback(None)
        except BaseException as exception:
            self._exception = exception
            if not self.quiet:
                report_error(hub, self, exception)
        self._finish()

    def _finish(self) -> None:
        """Note that it has ended, and tell its waiters and links; on its hub's thread."""
        # First what may have finalizers: one that waits is killed with the task, which has not ended yet.
        self.locals = self._function = self._kwargs = None
        self.args = ()
        self.context = self.carrier = None
        self.done = True
        hub: HubState = self.hub  # type: ignore[assignment]  # a started task has one
        hub.live -= 1
        if self._links is not None:
            self._call_links()
        if hub.main is not None:
            # The hub of a plain thread runs only while that thread waits, maybe never again: what others have
            # posted comes first.  Touching the queue orders this look after ``done`` (see _post_link).
            queue = hub.inbox.queue
            queue.rotate(0)
            if queue:
                hub.take_in_next()

    def _call_links(self) -> None:
        """It has ended: wake the joins in front of the first callback; from there on the links are due.

        Until the last has been called ``_links`` is not None: a join on another thread looks at it.
        """
        links = self._links or ()
        for link in links:
            if not isinstance(link, Waiter):
                due = deque(links)
                while due[0] is not link:
                    due.popleft()
                self._links = due
                self._schedule_links()
                return
            link.wake(self)
        self._links = None

    def _own_hub(self) -> HubState:
        """The hub of a started task."""
        return self.hub  # type: ignore[return-value]  # a started task has one

    def _schedule_links(self) -> None:
        """Have the loop call the links that are due; on the hub's thread."""
        hub = self._own_hub()
        if getcurrent() is hub.loop and not hub.inbox.asleep:
            # At once: the next pass of a plain thread's hub may come too late.
            self._call_due_links()
        else:
            hub.call_soon(self._call_due_links)
            hub.look_again()

    def _call_due_links(self) -> None:
        """Call the links up to the next that runs in a greenlet of its own; in the loop of the hub.

        Calls that find nothing to do are harmless.
        """
        hub = self._own_hub()
        links = self._links
        while links:
            link = links[0]
            if isinstance(link, SpawnedLink) and link.applies_to(self) and not hub.inbox.closed:
                self._start_linked(hub, links)
                return
            del links[0]
            if isinstance(link, Waiter):
                link.wake(self)
            elif not isinstance(link, SpawnedLink):
                call_reported(hub, link, (self,))
        if links is self._links:
            self._links = None
            if hub.main is not None:
                # Its main program may never wait again (see _post_link).
                for enter in (self._accept_link, self._link_first, self._link):
                    hub.carry_out_posted(enter)

    def _start_linked(self, hub: HubState, links: list[Waiter | Link] | deque[Waiter | Link]) -> None:
        """Start a greenlet for each of the first links, as far as they run in greenlets of their own."""
        started: list[LinkedTask] = []
        for link in links:
            if not isinstance(link, SpawnedLink):
                break
            if not link.applies_to(self):
                continue
            if not started and link.task is not None and link.task in hub.ready:
                return
            # Not started yet; or it was, and a fork has left it behind.
            link.task = LinkedTask(self, link)
            # Accepted with the link: it runs even where the hub refuses spawns by now.
            link.task.accepted_by(hub)
            started.append(link.task)
        hub.live += len(started)
        hub.spawned += len(started)
        if hub.main is None:
            hub.ready.extend(started)
        else:
            hub.ready.extendleft(reversed(started))

    def take_link(self, link: SpawnedLink) -> bool:
        """Whether *link*, whose greenlet starts, is still linked; the loop goes on with the next ones."""
        links = self._links
        linked = links is not None and any(other is link for other in links)
        if not links:
            self._links = None
            return linked
        if linked:
            # Those in front of it do not apply to this end.
            while links[0] is not link:
                del links[0]
            del links[0]
        following = links[0] if links else None
        if not (isinstance(following, SpawnedLink) and following.task is not None):
            hub = self._own_hub()
            hub.call_soon(self._call_due_links)
            if hub.main is not None:
                hub.take_in_next()
        return linked

    def end_with_thread(self) -> None:
        """End it where it stands, as its hub will never run again; on that hub's thread, the last of it."""
        if not self.done:
            self._value = GreenletExit()
            self._finish()

    # The outcome.

    def ready(self) -> bool:
        """True once the greenlet has ended."""
        return self.done

    @property
    def dead(self) -> bool:
        """True once the greenlet has ended."""
        return self.done

    @property
    def started(self) -> bool:
        """True from the start until the end."""
        return self._start is not False and not self.done

    def __bool__(self) -> bool:
        return self.started

    @property
    def kwargs(self) -> dict[str, object]:
        """The keywords that the function is called with; empty once it has ended."""
        return self._kwargs or {}

    def successful(self) -> bool:
        """True if the greenlet has ended and not by an exception (GreenletExit counts as success)."""
        return self.done and self._exception is None

    @property
    def value(self) -> T_co | None:
        """The value that the function has returned, or None; the GreenletExit if one has ended it."""
        return self._value if self.done else None

    @property
    def exception(self) -> BaseException | None:
        """The exception that ended the greenlet, or None."""
        return self._exception if self.done else None

    @property
    def exc_info(
        self,
    ) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
        """The exception that ended the greenlet as ``sys.exc_info()`` gives it, or None (as in gevent)."""
        exception = self.exception
        if exception is None:
            return None
        return type(exception), exception, exception.__traceback__

    def get(self, block: bool = True, timeout: float | Timeout | None = None) -> T_co:
        """Wait for the end, and for the links added before, and return the function's value or raise its
        exception.

        Raises ``Timeout`` (or, with *block* false, at once) when it has not ended within *timeout*
        seconds.
        """
        if timeout is not None:
            if isinstance(timeout, Timeout):
                return call_within(timeout, self.get, block)
            check_seconds("timeout", timeout)
        if not self.done:
            if not block:
                raise Timeout()
            if not self._wait(timeout):
                raise Timeout(timeout)
        elif block and (self._posted or self._links is not None):
            self._wait(timeout)
        if self._exception is not None:
            raise self._exception
        value: T_co = self._value
        return value

    def join(self, timeout: float | Timeout | None = None) -> None:
        """Wait for the end, at most *timeout* seconds; whatever way it ends, join returns None.

        Links that were added before have been called by then; one of ``link`` has run until it first waited.
        """
        if timeout is not None:
            if isinstance(timeout, Timeout):
                ends_in_time(timeout, self.join)
                return
            check_seconds("timeout", timeout)
        # In this order, because a link is in the list before it is counted as accepted.
        if not self.done or self._posted or self._links is not None:
            self._wait(timeout)

    def join_before_links(self, timeout: float | None = None) -> None:
        """Do what ``join`` does, but go on before any link is called."""
        if not self.done:
            self._wait(timeout, self._link_first)

    def _wait(self, timeout: float | None, enter: Callable[[Waiter], object] | None = None) -> bool:
        if self.done and not self._may_have_links():
            return True
        greenlet = current_greenlet()
        if greenlet is self.carrier:
            raise RuntimeError(f"{self!r} cannot wait for its own end")
        if self.hub is greenlet.hub:
            waiter = Waiter()
            if enter is None:
                self._link(waiter)
            else:
                enter(waiter)
        else:
            # It may not be settled yet on which hub the task will end.  (Reentrant, because a signal handler
            # may kill this greenlet while it is being woken.)
            waiter = Waiter(RLock())
            if not self._post_link(waiter, enter or self._link):
                self._link_here(waiter)
        try:
            return waiter.park(timeout) or self.done
        finally:
            if not self.done:
                self._on_own_thread(self._unlink, waiter)

    def _may_have_links(self) -> bool:
        """It has ended: whether the caller, which joins, can wait and may have links to wait for.

        A callback in the loop cannot wait: the links that are due run behind it.
        """
        return not cannot_park() and (self.hub is not thread_hub() or self._links is not None)

    def has_links(self) -> int:
        """The number of callbacks and joins that are still to be called; on another thread a hint."""
        return self._posted + len(self._links or ())

    def call_last(self, link: Link) -> bool:
        """For a link that is being called: have *link* called behind all that were added by now.

        False, and nothing is done, where there are none, or the calling thread's hub is not to call them.
        """
        hub = self.hub
        if not self.done or hub is None or hub is not thread_hub():
            return False
        if self._posted and hub.main is None:
            # Other threads' links may already be in the inbox.  The loop of a plain thread may run no more.
            hub.call_soon(self._link, link)
        elif self._links:
            self._links.append(link)
        else:
            return False
        return True

    # Links.

    def rawlink(self, callback: Callable[[Self], object]) -> None:
        """Have the hub call *callback(greenlet)* when the greenlet has ended (soon if it has).

        It runs in the loop of the greenlet's hub and must not wait.  Where that is the hub of another plain
        thread, and the greenlet has ended, it runs in that of the calling thread.

        All links are called in the order in which they were added, and before a greenlet or a thread that
        joined later goes on.  Links that other threads add take their place when the hub accepts them.  An
        exception of a callback is reported, and the next ones are called.
        """
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        if not self.link_unless_over(callback):
            self._link_here(callback)

    def link_unless_over(self, link: Link) -> bool:
        """Do what ``rawlink`` does, where the loop of the greenlet's hub will call *link*.

        False, and nothing is done, where the greenlet has ended and that loop may never run again.
        """
        if self.hub is None:
            with _start_lock(self):
                if self.hub is None:
                    return self._link_if_loop(link)
        if self.hub is thread_hub():
            return self._link_if_loop(link)
        self._count_posted(1)
        linked = self._post_link(link, self._accept_link)
        if not linked:
            self._count_posted(-1)
        return linked

    def _link_if_loop(self, link: Link) -> bool:
        """Do as ``_link``; False, and nothing is done, where it has ended and has no loop to call *link*."""
        if self.done and self._has_no_loop():
            return False
        self._link(link)
        return True

    def link(self, callback: Callable[[Self], object]) -> None:
        """Have *callback(greenlet)* called at the end, in a greenlet of its own, so that it may wait."""
        self.rawlink(SpawnedLink(callback))

    def link_value(self, callback: Callable[[Self], object]) -> None:
        """Do what ``link`` does, but only if the greenlet succeeds."""
        self.rawlink(SpawnedLink(callback, on_failure=False))

    def link_exception(self, callback: Callable[[Self], object]) -> None:
        """Do what ``link`` does, but only if an exception ends the greenlet."""
        self.rawlink(SpawnedLink(callback, on_success=False))

    def unlink(self, callback: Callable[[Self], object]) -> None:
        """Take back what ``link``, ``link_value``, ``link_exception`` or ``rawlink`` did.

        On the greenlet's hub the callback is not called after this, even if the greenlet has ended before.
        On any other thread it may be under way.
        """
        self._on_own_thread(self._unlink, callback)

    def unlink_all(self) -> None:
        """Take back all callbacks (as in gevent); a ``Pool`` or ``Group`` then keeps the greenlet for ever.

        It does what ``unlink`` does for each.  Greenlets that join this one are not affected.
        """
        self._on_own_thread(self._unlink_all)

    def _on_own_thread(self, method: Callable[[*Ts], object], *args: *Ts) -> None:
        hub = self.hub
        if hub is None:
            with _start_lock(self):
                hub = self.hub
                if hub is None:
                    method(*args)
                    return
        if hub is thread_hub() or not hub.inbox.post(Call(method, *args)):
            # A closed hub has no running task left, so nothing of it can change any more.
            method(*args)

    def _post_link(self, link: W, enter: Callable[[W], object]) -> bool:
        """Do as ``_on_own_thread(enter, link)``; False where it has ended, and its hub may never run again.

        A closed hub never does, and that of a plain thread only while its program waits.

        We append, then read ``done`` and ``_links``.  The other side sets ``done``, then reads the queue; and
        where links are due, it sets ``_links`` to None after the last, then reads the queue.  At least one
        side sees the other.  If we can still remove our entry, nobody ran it, so we call the link ourselves.
        """
        hub = self.hub
        if hub is None or hub is thread_hub():
            self._on_own_thread(enter, link)
            return True
        call = Call(enter, link)
        if not hub.inbox.post(call):
            if self.done:
                return False
            enter(link)
        elif hub.main is not None and self.done and self._links is None:
            return not hub.inbox.take_back(call)
        return True

    def _count_posted(self, more: int) -> None:
        with _start_lock(self):
            self._posted += more

    def _accept_link(self, link: Link) -> None:
        self._link(link)
        self._count_posted(-1)

    def _link(self, link: Waiter | Link) -> None:
        links = self._links
        if not self.done:
            if links is None:
                self._links = [link]
            else:
                links.append(link)
        elif self._has_no_loop():
            self._link_here(link)
        elif links is not None:
            links.append(link)
            # In the child of a fork the call that was scheduled in the parent is gone.
            self._schedule_links()
        elif isinstance(link, Waiter):
            link.wake(self)
        else:
            self._links = deque((link,))
            self._schedule_links()

    def _link_first(self, link: Waiter) -> None:
        if self.done or self._links is None:
            self._link(link)
        else:
            self._links.insert(0, link)

    def _has_no_loop(self) -> bool:
        """Whether it never had a hub, or its hub is closed; each link is then called where it was made."""
        hub = self.hub
        return hub is None or hub.inbox.closed

    def _link_here(self, link: Waiter | Link) -> None:
        """It has ended: have the loop of the calling thread call *link*, or wake it behind earlier ones.

        Not at once, because the start lock may be held, and the link may take another lock.
        """
        if isinstance(link, Waiter) and not (self._posted and link.hub is thread_hub()):
            # Another thread does not wait for this one's loop, which may never run.
            link.wake(self)
            return
        hub = current_hub()
        if isinstance(link, Waiter):
            hub.call_soon(link.wake, self)
        else:
            self._count_posted(1)
            hub.call_soon(self._call_link, link)
        hub.look_again()

    def _call_link(self, link: Link) -> None:
        """In the loop of the thread that made the link."""
        call_reported(current_hub(), link, (self,))
        self._count_posted(-1)

    def _unlink(self, link: Waiter | Link) -> None:
        links = self._links
        if self.done and self._has_no_loop():
            if current_hub().take_back(self._call_link, link):
                self._count_posted(-1)
        elif links is not None and link in links:
            links.remove(link)

    def _unlink_all(self) -> None:
        for link in [each for each in self._links or () if not isinstance(each, Waiter)]:
            self._unlink(link)

    # Killing.

    def kill(
        self,
        exception: Raisable = GreenletExit,
        block: bool = True,
        timeout: float | Timeout | None = None,
    ) -> None:
        """Raise *exception* in the greenlet and, with *block*, wait up to *timeout* seconds for its end.

        It is raised where the greenlet is parked, or when it parks next.  A greenlet that has not run
        yet never runs.  A greenlet that kills itself has the exception raised at once.

        *exception* may also be what ``sys.exc_info()`` gives.  Any other object is wrapped in a
        BaseException (as in gevent), so that a wrong call kills the greenlet, too.
        """
        if timeout is not None and not isinstance(timeout, Timeout):
            check_seconds("timeout", timeout)
        if self.done:
            if block:
                self.join(timeout)
            return
        instance = make_exception(exception)
        if not HAS_GIL and instance is exception and isinstance(instance, GreenletExit):
            vars(instance)["_given_to_kill"] = True
        if self.carrier is not None and self.carrier is getcurrent():
            raise instance
        if self.hub is None and self._end_unstarted(instance):
            return
        self._on_own_thread(self._kill, instance)
        if block and not self._is_over():
            self.join(timeout)

    def _is_over(self) -> bool:
        """It has ended, and its links have been called."""
        return self.done and not self._posted and self._links is None

    def throw(
        self,
        exception: Raisable = GreenletExit,
        value: object = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Raise *exception* in the greenlet, and do not wait; the calling greenlet raises it at once.

        The arguments are those of ``greenlet.throw``: an exception, or its class, its value and a traceback.
        Unlike gevent's ``throw`` this may be called from everywhere, because it is a ``kill`` that does not
        block.
        """
        if value is not None or traceback is not None:
            exception = (exception, value, traceback)
        self.kill(exception, block=False)

    def _end_unstarted(self, exception: BaseException) -> bool:
        """Kill a task that has not been started; False if it has been.

        On no hub: that of the calling thread runs only while that thread waits, which may be never.
        """
        with _start_lock(self):
            if self._start is not False:
                return self.done
            self._start = True
            if isinstance(exception, GreenletExit):
                self._value = exception
            else:
                self._exception = exception
            self.done = True
            links, self._links = self._links, None
        if self._exception is not None and not self.quiet:
            report_error(current_hub(), self, exception)
        # Without the lock, as what is let go may have finalizers.
        self.context = self._function = self._kwargs = None
        self.args = ()
        for link in links or ():
            self._link(link)
        return True

    def _kill(self, exception: BaseException) -> None:
        if self.done:
            return
        if self.carrier is not None:
            interrupt(self.carrier, exception)
            return
        if isinstance(self._start, Timer):
            self._start.cancel()
        # One that is in the ready queue stays there and is passed over.
        if isinstance(exception, GreenletExit):
            self._value = exception
        else:
            self._exception = exception
            if not self.quiet:
                report_error(current_hub(), self, exception)
        # Before what it has is let go of, as a finalizer may wait, and its turn come meanwhile.
        self.done = True
        self._finish()

    # Describing.

    @property
    def name(self) -> str:
        """A name for logs; assignable."""
        if self._name is None:
            with _names_lock:
                if self._name is None:
                    self._name = f"Greenlet-{next(_names)}"
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    def _label(self) -> str:
        """The name for a list of greenlets; that of a thread has the thread's own name as well."""
        return self._name or self.name

    def __repr__(self) -> str:
        function = self._function
        what = "" if function is None else f" {getattr(function, '__qualname__', function)!s}"
        state = "ended" if self.done else "started" if self.started else "not started"
        where = "" if self.hub is None else f" on {self.hub.name}"
        return f"<{type(self).__name__} {self.name}{what}{where}: {state}>"


def make_exception(what: object) -> BaseException:
    """The exception that a kill with *what* raises."""
    if isinstance(what, BaseException):
        return what
    if isinstance(what, tuple) and len(what) == 3:
        kind, value, traceback = what
        if not isinstance(value, BaseException):
            arguments = () if value is None else value if isinstance(value, tuple) else (value,)
            value = make_exception(kind(*arguments) if isinstance(kind, type) else kind)
        return value if traceback is None else value.with_traceback(traceback)
    if isinstance(what, type) and issubclass(what, BaseException):
        return make_exception(what())
    return BaseException(what)


class MainTask(Task[None]):
    """Stands for a thread's main program, or a raw greenlet, which no hub started and none will end."""

    __slots__ = ()

    def __init__(self, greenlet: GreenThread, hub: HubState) -> None:
        Task.__init__(self)
        self.hub = hub
        self.carrier = greenlet
        self.context = None
        self._start = True
        self._name = f"main greenlet of {hub.name}"
        # Nobody has spawned it.
        self.spawner = self.origin = None


class SpawnedLink:
    """A link that runs its callback in a greenlet; equal to the callback, so that unlink finds it."""

    __slots__ = ("callback", "on_success", "on_failure", "task")

    def __init__(self, callback: Link, on_success: bool = True, on_failure: bool = True) -> None:
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        self.callback = callback
        self.on_success = on_success
        self.on_failure = on_failure
        # Runs the callback; None until the link is due.
        self.task: LinkedTask | None = None

    def applies_to(self, task: Task[object]) -> bool:
        """Whether it is to be called at this end of *task*."""
        return self.on_success if task.successful() else self.on_failure

    def __call__(self, task: Task[object]) -> None:
        """Run the callback on the calling thread's hub, because that of *task* does not run."""
        if self.applies_to(task):
            hub = current_hub()
            linked: Task[object] = Task(self.callback, task)
            linked.accepted_by(hub)
            hub.admit(linked)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SpawnedLink):
            return self.callback == other.callback
        return bool(self.callback == other)

    def __hash__(self) -> int:
        return hash(self.callback)


class LinkedTask(Task[object]):
    """Runs the callback of a SpawnedLink, unless that has been unlinked by the time it starts."""

    __slots__ = ("source", "spawned_link")

    def __init__(self, source: Task[Any], link: SpawnedLink) -> None:
        Task.__init__(self, link.callback, source)
        self.source = source
        self.spawned_link = link

    def _take_link(self) -> bool:
        return self.source.take_link(self.spawned_link)

    def _execute(self) -> None:
        if not self._take_link():
            self._function, self.args = None, ()
        Task._execute(self)

    def end_with_thread(self) -> None:
        """Let the links behind this one be called, though this one cannot be any more."""
        if not self.done:
            self._take_link()
        Task.end_with_thread(self)


Factories.main_task = MainTask
