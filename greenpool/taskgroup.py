"""TaskGroup: greenlets that all end before the block that they belong to is left.

*The order of things*, as in ``asyncio.TaskGroup``.  The first greenlet of the group that fails, or an
exception in the block itself, aborts the group: every other greenlet of it, and the block if it is still
running, are cancelled.  Leaving the block waits for all of them, whatever comes.  Then it raises, in this
order of precedence:

1. a KeyboardInterrupt or SystemExit, the first there was, as it is;
2. everything else that failed, in a (Base)ExceptionGroup;
3. what asked this greenlet to end: GreenletExit (a kill or a cancelled scope), or a Timeout.

Where 2 takes precedence over 3, a kill is not lost: it is raised when the greenlet waits next, and a
cancelled scope does so of itself.

*Cancelled once*, as a kill: see cancel.py.  A greenlet that has not begun never runs; one that is within a
shielded CancelScope is cancelled when it has left it.

*Threads.*  The greenlets of a group may be on any number of hubs.  The members and what they failed with are
guarded by the lock; each is cancelled by its own CancelOnce, which any thread may do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from ._core.current import current_greenlet
from ._core.native import RLock
from ._core.task import Task
from ._core.timeout import Timeout
from ._core.waiter import Waiter, interrupt
from ._core.waits import awaited_as
from .cancel import Cancelled, CancelOnce, CancelScope
from .greenlet import Greenlet, GreenletExit
from .runtime import Handle, current_handle

__all__ = ["TaskGroup"]


P = ParamSpec("P")
T = TypeVar("T")


class _Cancellable(Generic[T]):
    """A function that runs in a scope of its own; one that is cancelled before never runs."""

    __slots__ = ("function", "scope")

    def __init__(self, function: Callable[..., T]) -> None:
        self.function = function
        self.scope = CancelOnce()

    def __call__(self, *args: object, **kwargs: object) -> T:
        if not self.scope.cancel_called:
            with self.scope:
                return self.function(*args, **kwargs)
        raise GreenletExit("cancelled by its TaskGroup")

    def __getattr__(self, name: str) -> object:
        # Its name, above all, for the greenlet's repr.
        return getattr(self.function, name)


class TaskGroup:
    """A group of greenlets that is waited for, as ``asyncio.TaskGroup``, in a plain ``with``::

        with TaskGroup() as group:
            group.spawn(fetch, "a")
            group.spawn(fetch, "b")

    Leaving the block waits until all have ended.  If one fails, the others and the block itself are
    cancelled (once: their ``finally`` blocks may wait), and all that failed comes out in an
    ExceptionGroup, or a BaseExceptionGroup where not all of it are Exceptions.  A greenlet of the group
    that was killed has not failed.
    """

    def __init__(self) -> None:
        # Reentrant, because a signal handler may cancel, and so abort, between any two bytecodes.
        self._lock = RLock()
        # Those that have not ended, each with what cancels it.
        self._members: dict[Task[object], CancelOnce] = {}
        self._errors: list[BaseException] = []
        # The first KeyboardInterrupt or SystemExit.
        self._system_error: BaseException | None = None
        # The exceptions that asked the greenlet that runs the block to end.
        self._interruptions: list[BaseException] = []
        self._entered = False
        self._leaving = False
        self._aborting = False
        self._waiter: Waiter | None = None
        self._body = CancelOnce()
        self._handle: Handle | None = None

    def __repr__(self) -> str:
        state = (
            "aborting"
            if self._aborting
            else "leaving"
            if self._leaving
            else "open"
            if self._entered
            else "not entered"
        )
        return f"<TaskGroup of {len(self._members)} greenlets: {state}>"

    # Any thread.

    # The first overload has no P, because nothing may stand between *args: P.args and **kwargs: P.kwargs.
    @overload
    def spawn(
        self, function: Callable[..., T], *args: object, context: Context | None, **kwargs: object
    ) -> Greenlet[T]: ...
    @overload
    def spawn(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]: ...
    def spawn(
        self,
        function: Callable[..., T],
        *args: object,
        context: Any = None,
        **kwargs: object,
    ) -> Greenlet[T]:
        """Run *function* in a new greenlet of the group, on the hub that ``greenpool.spawn`` would take.

        To be called in the block, or anywhere else while the group has greenlets: by one of them, say.
        Raises RuntimeError before the block, once the group is aborting, and when all is over.
        """
        member = self._admit(function, args, context, kwargs)
        try:
            member.start()
        except BaseException:
            self._withdraw(member)
            raise
        return member

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
        self,
        index: int,
        function: Callable[..., T],
        *args: object,
        context: Any = None,
        **kwargs: object,
    ) -> Greenlet[T]:
        """Do what ``spawn`` does, on the hub with that *index* of the runtime that the block runs in.

        Raises RuntimeError if the block runs in no runtime, too.
        """
        handle = self._handle or current_handle()
        if handle is None:
            raise RuntimeError(f"spawn_on needs a runtime, and {self!r} was entered outside of one")
        member = self._admit(function, args, context, kwargs)
        try:
            handle.place(member, index)
        except BaseException:
            self._withdraw(member)
            raise
        return member

    def _admit(
        self,
        function: Callable[..., T],
        args: tuple[object, ...],
        context: Context | None,
        kwargs: dict[str, object],
    ) -> Greenlet[T]:
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        cancellable = _Cancellable(function)
        member = Greenlet(cancellable, *args, context=context, **kwargs)
        member.quiet = True
        member.rawlink(self._ended)
        with self._lock:
            if not self._entered:
                raise RuntimeError(f"{self!r} has not been entered")
            if self._aborting:
                raise RuntimeError(f"{self!r} takes no more greenlets: it is being cancelled")
            if self._leaving and not self._members:
                raise RuntimeError(f"{self!r} takes no more greenlets: its block has been left")
            self._members[member] = cancellable.scope
        return member

    def _withdraw(self, member: Task[object]) -> None:
        """It has ended, or its spawn was refused."""
        with self._lock:
            self._members.pop(member, None)
            waiter = self._claim_if_over()
        if waiter is not None:
            waiter.resume()

    def _ended(self, member: Task[object]) -> None:
        """A member has ended; in the loop of its hub."""
        exception = member.exception
        if exception is not None:
            with self._lock:
                self._note_error(exception)
            self._abort()
        # The block is left after the links of the member, as by a join.
        if not member.call_last(self._withdraw):
            self._withdraw(member)

    def _claim_if_over(self) -> Waiter | None:
        """The greenlet that waits for the last member, if that was it; resumed without the lock."""
        waiter = self._waiter
        if self._members or waiter is None or not waiter.claim():
            return None
        return waiter

    def _note_error(self, exception: BaseException) -> None:
        if isinstance(exception, (KeyboardInterrupt, SystemExit)):
            if self._system_error is None:
                self._system_error = exception
        else:
            self._errors.append(exception)

    def _abort(self) -> None:
        with self._lock:
            if self._aborting:
                return
            self._aborting = True
            scopes = list(self._members.values())
        for scope in scopes:
            scope.cancel()
        self._body.cancel()

    # The greenlet that runs the block.

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"{self!r} can be entered only once")
        self._handle = current_handle()
        self._body.__enter__()
        self._entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure = self._leave_body(kind, exception, traceback)
        self._leaving = True
        if failure is not None:
            self._note(failure)
            self._abort()
        self._wait()
        with self._lock:
            self._waiter = None
            errors, self._errors = self._errors, []
            system_error, self._system_error = self._system_error, None
            interruptions, self._interruptions = self._interruptions, []
        try:
            if errors and isinstance(failure, Timeout):
                # It need not come from a timer: raised again, it could strike code after its own block.
                interruptions.remove(failure)
                errors.append(failure)
            if system_error is None and not errors and interruptions:
                system_error = interruptions.pop(0)
            for interruption in interruptions:
                _raise_again(interruption)
            if system_error is not None:
                if system_error is exception:
                    return
                raise system_error
            if errors:
                raise BaseExceptionGroup("unhandled errors in a TaskGroup", errors) from None
        finally:
            # A traceback refers to this frame, which must not refer back to it.
            del exception, failure, errors, system_error, interruptions

    def _leave_body(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> BaseException | None:
        """Return the exception that the block was left with, apart from its own cancellation."""
        try:
            return None if self._body.__exit__(kind, exception, traceback) else exception
        except BaseException as remaining:
            return remaining

    def _wait(self) -> None:
        """Until all members have ended, whatever is raised meanwhile."""
        while True:
            try:
                waiter = Waiter(self._lock)
                with self._lock:
                    if not self._members:
                        return
                    self._waiter = waiter
                # Once all are cancelled, there is nothing more to do about being cancelled oneself, and
                # a scope would say so at every wait.
                with CancelScope(shield=self._aborting):
                    waiter.park()
            except BaseException as interruption:
                self._note(interruption)
                self._abort()

    def _note(self, exception: BaseException) -> None:
        with self._lock:
            if isinstance(exception, (GreenletExit, Timeout)):
                self._interruptions.append(exception)
            else:
                self._note_error(exception)


def _raise_again(interruption: BaseException) -> None:
    if isinstance(interruption, Cancelled):
        interruption.raise_again()
    else:
        interrupt(current_greenlet(), interruption)


awaited_as(TaskGroup, "to end")
