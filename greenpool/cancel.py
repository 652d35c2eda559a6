"""Cancel scopes: a limit in time, or a way out from elsewhere, for whatever a block of code waits for.

The names and meanings are trio's.  A scope belongs to one greenlet; what that greenlet spawns is cancelled
only by the TaskGroup that it waits in.

*Once or again.*  There are two ways to end a wait from outside, and they differ in what happens to code
that goes on regardless:

- A kill, a Timeout and a TaskGroup that cancels its greenlets raise **once**.  Whoever swallows the
  exception has taken the decision to live on.
- A cancelled scope raises Cancelled **at every wait** in its block, so that the block does end, whatever
  ``except BaseException`` there is on the way.

*Clean-up may wait.*  Both hold for ``finally`` blocks, ``except`` clauses and ``__exit__`` methods: while
code handles a Cancelled, the scopes that this Cancelled is unwinding do not raise another.  (In trio such
code needs a shield to wait; here it needs a scope of its own to be sure that it ends.)  Other scopes still
do: one inside the clean-up code, and one further out that is cancelled only now.  What is being handled is
what ``sys.exception()`` says, with its contexts.

*Which scope is it.*  Where several are cancelled, Cancelled unwinds to the outermost one up to the
innermost shield, as in trio.  So a scope catches only what was meant for it.

*How it is delivered.*  A greenlet that is about to park takes what ``greenlet.interrupts`` has for it.  While
a scope of the greenlet is cancelled, a ``_ScopeInterrupts`` stands there, which asks the scopes in its
``take``. So no cancellation is ever stored, and none can leak out of a block that has been left.  A greenlet
that is parked already is interrupted there and then.

*Threads.*  ``cancel``, ``deadline`` and ``shield`` may be used from any thread.  Whether the scope is
cancelled and in which greenlet it is open are guarded by its lock; all else is touched by the thread of
that greenlet's hub only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from math import inf, isnan
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, cast

from greenlet import GreenletExit

from ._core.current import current_greenlet, getcurrent, thread_hub
from ._core.interrupts import Interrupts
from ._core.native import RLock
from ._core.state import GreenThread

if TYPE_CHECKING:
    from ._core.timers import Timer

__all__ = [
    "CancelScope",
    "Cancelled",
    "TooSlowError",
    "current_time",
    "fail_after",
    "fail_at",
    "move_on_after",
    "move_on_at",
]


class Cancelled(GreenletExit):
    """Raised where a greenlet waits in a block that is cancelled; the block's scope catches it.

    It derives from BaseException, so that ``except Exception`` does not swallow it, by way of
    GreenletExit, so that code which cleans up after a kill does so after this as well.
    """

    def __init__(self, scopes: tuple[CancelScope, ...] = ()) -> None:
        GreenletExit.__init__(self)
        # It unwinds these: from the scope in which it was raised to the one that catches it.
        self._scopes = scopes

    def __str__(self) -> str:
        return f"by {self._scopes[-1]!r}" if self._scopes else ""

    def _is_for(self, scope: CancelScope) -> bool:
        return bool(self._scopes) and self._scopes[-1] is scope

    def raise_again(self) -> None:
        """It was lost on the way: raise another at the next wait, if the block has not been left."""
        if self._scopes:
            self._scopes[-1]._armed = True


class TooSlowError(TimeoutError):
    """The block of a ``fail_after`` or ``fail_at`` took too long."""


def current_time() -> float:
    """The clock that deadlines are on: seconds, as ``time.monotonic()``."""
    return monotonic()


class _Scoped(Protocol):
    """A task in which a scope was opened."""

    cancel_scope: CancelScope | None


class CancelScope:
    """A block of code that can be cancelled, as ``trio.CancelScope``; used in one ``with`` statement, once.

    *deadline*: when it is cancelled, on the clock of ``current_time()``; ``math.inf`` for never.
    *relative_deadline*: the same in seconds from the moment at which the block is entered.
    *shield*: nothing in the block is cancelled by a scope around it, nor by a TaskGroup that the greenlet
    belongs to.  (A kill, a Timeout and the shutdown of the runtime get through.)

    ``cancelled_caught`` tells whether the block was ended by this scope.
    """

    __slots__ = (
        "cancelled_caught",
        # Under this name a timer's owner survives a fork.
        "greenlet",
        "_armed",
        "_cancel_called",
        "_deadline",
        "_entered",
        "_lock",
        "_outer",
        "_relative_deadline",
        "_shield",
        "_timer",
        "__weakref__",
    )

    def __init__(
        self, *, deadline: float = inf, relative_deadline: float = inf, shield: bool = False
    ) -> None:
        if deadline != inf:
            _check_time("deadline", deadline)
        if relative_deadline != inf:
            _check_seconds("relative_deadline", relative_deadline)
            if deadline != inf:
                raise ValueError(
                    "give either deadline or relative_deadline, "
                    f"not both {deadline!r} and {relative_deadline!r}"
                )
        if shield is not False:
            _check_bool("shield", shield)
        self.cancelled_caught = False
        # The greenlet in which the block is open.
        self.greenlet: GreenThread | None = None
        # False once a Cancelled of a scope that raises only once has been raised.
        self._armed = True
        self._cancel_called = False
        self._deadline = deadline
        self._entered = False
        # Reentrant, because a signal handler may cancel a scope between any two bytecodes.
        self._lock = RLock()
        self._outer: CancelScope | None = None
        self._relative_deadline = relative_deadline
        self._shield = shield
        self._timer: Timer | None = None

    def __repr__(self) -> str:
        binding = "open" if self.greenlet is not None else "left" if self._entered else "unused"
        if self._cancel_called:
            state = ", cancelled"
        elif self._relative_deadline != inf:
            state = f", deadline {self._relative_deadline:.2f} seconds after it is entered"
        elif self._deadline != inf:
            state = f", deadline in {self._deadline - monotonic():.2f} seconds"
        else:
            state = ""
        return f"<{type(self).__name__} at {id(self):#x}: {binding}{state}>"

    # Any thread.

    def cancel(self) -> None:
        """Cancel the block, now or, if it has not been entered yet, when it first waits."""
        with self._lock:
            if self._cancel_called:
                return
            self._cancel_called = True
        self._on_hub(self._strike)

    @property
    def cancel_called(self) -> bool:
        """True once ``cancel`` was called or the deadline has passed, whether the block noticed or not."""
        if not self._cancel_called and (self.greenlet is not None or not self._entered):
            if self._deadline <= monotonic():
                self.cancel()
        return self._cancel_called

    @property
    def deadline(self) -> float:
        """When the block is cancelled, on the clock of ``current_time()``; assignable at any time."""
        if self._relative_deadline != inf:
            raise RuntimeError(f"{self!r} has no deadline before it is entered")
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        _check_time("deadline", deadline)
        if self._relative_deadline != inf:
            raise RuntimeError(f"{self!r} has no deadline before it is entered")
        self._deadline = deadline
        self._on_hub(self._set_timer)

    @property
    def shield(self) -> bool:
        """Whether the scopes around leave this block alone; assignable at any time."""
        return self._shield

    @shield.setter
    def shield(self, shield: bool) -> None:
        _check_bool("shield", shield)
        self._shield = shield
        self._on_hub(self._strike)

    def _on_hub(self, callback: Callable[[], object]) -> None:
        """Call it on the thread of the greenlet in which the block is open, if it is."""
        with self._lock:
            greenlet = self.greenlet
        if greenlet is None:
            return
        if greenlet.hub is thread_hub():
            callback()
        else:
            greenlet.hub.post(callback)

    # The hub's thread.

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.greenlet is None or self._cancel_called or self._deadline == inf:
            return
        if self._deadline <= monotonic():
            self.cancel()
        else:
            # It looks again: another thread may have moved the deadline in the meantime.
            self._timer = self.greenlet.hub.call_at(self._deadline, self._set_timer)

    def _strike(self) -> None:
        """Something has changed: see whether the greenlet is to be interrupted."""
        greenlet = self.greenlet
        if greenlet is None:
            return
        interrupts = greenlet.interrupts
        if not isinstance(interrupts, _ScopeInterrupts):
            if not self._cancel_called:
                return
            interrupts = greenlet.interrupts = _ScopeInterrupts(greenlet)
        waiter = greenlet.waiter
        if waiter is not None:
            cancelled = interrupts.due()
            if cancelled is not None and waiter.throw(cancelled):
                cancelled._scopes[-1]._raised()

    def _raised(self) -> None:
        """A Cancelled of this scope has been raised."""

    # The greenlet itself.

    def __enter__(self) -> Self:
        greenlet = current_greenlet()
        with self._lock:
            if self._entered:
                raise RuntimeError(f"{self!r} can be used in only one 'with' statement, once")
            self._entered = True
            self.greenlet = greenlet
        if self._relative_deadline != inf:
            self._deadline = monotonic() + self._relative_deadline
            self._relative_deadline = inf
        task = cast("_Scoped", greenlet.task)
        self._outer = _innermost(task)
        task.cancel_scope = self
        if self._cancel_called:
            self._strike()
        elif self._deadline != inf:
            self._set_timer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._close()
        if exception is None or not self._cancel_called:
            return False
        caught = [leaf for leaf in _cancellations(exception) if leaf._is_for(self)]
        if not caught:
            return False
        if not self._shield:
            # Meanwhile a scope further out may have been cancelled; then this goes on to there.
            handled = {scope for leaf in caught for scope in _being_handled(leaf.__context__)}
            further = _path_to_due(self._outer, handled)
            if further:
                for leaf in caught:
                    leaf._scopes += further
                return False
        self.cancelled_caught = True
        if not isinstance(exception, BaseExceptionGroup):
            return True
        _, rest = exception.split(lambda leaf: isinstance(leaf, Cancelled) and leaf._is_for(self))
        if rest is None:
            return True
        context = rest.__context__
        try:
            raise rest
        finally:
            rest.__context__ = context  # not the group that it was a part of
            del rest, exception  # the traceback's frame must not refer to the traceback

    def _close(self) -> None:
        greenlet = self.greenlet
        if greenlet is None or greenlet is not getcurrent():
            raise RuntimeError(f"{self!r} cannot be left here: it is not open in this greenlet")
        task = cast("_Scoped", greenlet.task)
        innermost = _innermost(task)
        scope = innermost
        while scope is not None and scope is not self:
            scope._forget()
            scope = scope._outer
        task.cancel_scope = self._outer
        self._forget()
        if isinstance(greenlet.interrupts, _ScopeInterrupts):
            greenlet.interrupts.retire_if_unneeded()
        if innermost is not self:
            raise RuntimeError(f"{self!r} was left before {innermost!r}, which was entered inside it")

    def _forget(self) -> None:
        with self._lock:
            self.greenlet = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class CancelOnce(CancelScope):
    """A scope that raises once, as a kill does; for what the standard library says is cancelled so."""

    __slots__ = ()

    def _strike(self) -> None:
        # A hub that is stopping has told all its greenlets to end; their clean-up is not to be disturbed.
        greenlet = self.greenlet
        if greenlet is not None and not greenlet.hub.is_stopping():
            CancelScope._strike(self)

    def _raised(self) -> None:
        self._armed = False


class _ScopeInterrupts(Interrupts):
    """Stands in as ``greenlet.interrupts`` while a scope of the greenlet is cancelled."""

    __slots__ = ("greenlet", "handled")

    def __init__(self, greenlet: GreenThread) -> None:
        Interrupts.__init__(self, greenlet.interrupts)
        self.greenlet = greenlet
        # The scopes whose cancellation the greenlet was handling when it parked.
        self.handled: Collection[CancelScope] = ()

    def __bool__(self) -> bool:
        # There may be something to take, which only take can tell.
        return True

    def due(self) -> Cancelled | None:
        path = _path_to_due(_innermost(self.greenlet.task), self.handled)
        return Cancelled(path) if path else None

    def take(self) -> BaseException | None:
        if len(self):
            return self.popleft()
        if self.retire_if_unneeded():
            return None
        self.handled = _being_handled(sys.exception())
        cancelled = self.due()
        if cancelled is not None:
            cancelled._scopes[-1]._raised()
        return cancelled

    def put_back(self, exception: BaseException) -> None:
        if isinstance(exception, Cancelled):
            exception.raise_again()
        else:
            self.appendleft(exception)

    def retire_if_unneeded(self) -> bool:
        """Give way to plain Interrupts, if no scope of the greenlet is cancelled any more."""
        if any(scope._cancel_called for scope in _outwards(_innermost(self.greenlet.task))):
            return False
        self.greenlet.interrupts = Interrupts(self)
        return True


def _innermost(task: object) -> CancelScope | None:
    return getattr(task, "cancel_scope", None)


def _outwards(scope: CancelScope | None) -> Iterator[CancelScope]:
    while scope is not None:
        yield scope
        scope = scope._outer


def _path_to_due(innermost: CancelScope | None, handled: Collection[CancelScope]) -> tuple[CancelScope, ...]:
    """The scopes from *innermost* to the one whose Cancelled is to be raised; none if nothing is."""
    path: list[CancelScope] = []
    length = 0
    for scope in _outwards(innermost):
        path.append(scope)
        if scope._cancel_called and scope._armed and scope not in handled:
            length = len(path)
        if scope._shield:
            break
    return tuple(path[:length])


def _being_handled(exception: BaseException | None) -> set[CancelScope]:
    """The scopes that are being unwound by *exception* or by one in whose handling it was raised."""
    scopes: set[CancelScope] = set()
    for cancelled in _cancellations(exception, contexts=True):
        scopes.update(cancelled._scopes)
    return scopes


def _cancellations(exception: BaseException | None, contexts: bool = False) -> Iterator[Cancelled]:
    """Every Cancelled that *exception* is or contains, or, with *contexts*, was raised after."""
    seen: set[int] = set()
    pending = [exception]
    while pending:
        exception = pending.pop()
        if exception is None or id(exception) in seen:
            continue
        seen.add(id(exception))
        if isinstance(exception, Cancelled):
            yield exception
        if isinstance(exception, BaseExceptionGroup):
            pending.extend(exception.exceptions)
        if contexts:
            pending.append(exception.__context__)


def move_on_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """A scope that is cancelled at *deadline* (see ``current_time``), whose block then is just left."""
    return CancelScope(deadline=deadline, shield=shield)


def move_on_after(seconds: float, *, shield: bool = False) -> CancelScope:
    """A scope that is cancelled *seconds* after it was entered, and whose block then is just left."""
    _check_seconds("seconds", seconds)
    return CancelScope(relative_deadline=seconds, shield=shield)


@contextmanager
def fail_at(deadline: float, *, shield: bool = False) -> Iterator[CancelScope]:
    """Do what ``move_on_at`` does, but raise TooSlowError if the deadline has ended the block."""
    with move_on_at(deadline, shield=shield) as scope:
        yield scope
    if scope.cancelled_caught:
        raise TooSlowError(f"the deadline {deadline!r} passed before the end of the block")


@contextmanager
def fail_after(seconds: float, *, shield: bool = False) -> Iterator[CancelScope]:
    """Do what ``move_on_after`` does, but raise TooSlowError if the block took longer than *seconds*."""
    with move_on_after(seconds, shield=shield) as scope:
        yield scope
    if scope.cancelled_caught:
        raise TooSlowError(f"the block took longer than {seconds} seconds")


def _check_time(name: str, time: float) -> None:
    if isinstance(time, bool) or not isinstance(time, (int, float)):
        raise TypeError(f"{name} must be a number, not {time!r}")
    if isnan(time):
        raise ValueError(f"{name} must be a time, not {time!r}")


def _check_seconds(name: str, seconds: float) -> None:
    _check_time(name, seconds)
    if seconds < 0:
        raise ValueError(f"{name} must not be negative, not {seconds!r}")


def _check_bool(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {value!r}")
