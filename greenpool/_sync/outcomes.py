"""The outcomes of the calls that an ``imap`` has begun, in the order of the calls or of their ends.

*Threads*: any.  The calls are begun in a greenlet of their own (``feed``).  Each call reports where it ends
(``_note``).  Any number of greenlets may take the values.  The lock is reentrant, because a signal handler
may kill a greenlet, and so claim its waiter, between any two bytecodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Generic, Protocol, TypeVar

from .._core.native import RLock
from .._core.waiter import Waiter
from .semaphore import Semaphore

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Outcome(Protocol[T_co]):
    """What a call runs in: a greenlet, or an AsyncResult that a thread sets."""

    def rawlink(self, callback: Callable[[_Outcome[T_co]], object], /) -> object: ...

    def get(self, block: bool = True) -> T_co: ...


class Outcomes(Generic[T]):
    """The outcomes of one ``imap``; any thread."""

    def __init__(self, ordered: bool, maxsize: int | None) -> None:
        self._ordered = ordered
        self._room = None if maxsize is None else Semaphore(maxsize)
        self.abandoned = False
        self._lock = RLock()
        # The lock guards all that follows.  First the calls that have ended, by their number in the order of
        # the calls or of their ends.
        self._ended: dict[int, _Outcome[T]] = {}
        self._numbers_given = 0
        self._taken = 0
        # How many calls there are, once that is known, and the exception that keeps more from being begun.
        self._total: int | None = None
        self._failure: BaseException | None = None
        self._waiters: list[Waiter] = []

    def feed(self, spawn: Callable[..., _Outcome[T]], items: Iterator[tuple[object, ...]]) -> None:
        """Begin the calls; in a greenlet of its own."""
        begun = 0
        failure = None
        try:
            for arguments in items:
                if self._room is not None:
                    self._room.acquire()
                    if self.abandoned:
                        break
                spawn(*arguments).rawlink(partial(self._note, begun))
                begun += 1
        except BaseException as exception:
            failure = exception
        with self._lock:
            self._total = begun
            self._failure = failure
            woken = self._claim_all()
        for waiter in woken:
            waiter.resume()

    def _note(self, number: int, outcome: _Outcome[T]) -> None:
        with self._lock:
            if not self._ordered:
                number = self._numbers_given
                self._numbers_given += 1
            self._ended[number] = outcome
            woken = self._claim_all()
        for waiter in woken:
            waiter.resume()

    def _claim_all(self) -> list[Waiter]:
        waiters, self._waiters = self._waiters, []
        return [waiter for waiter in waiters if waiter.claim()]

    def take(self) -> T:
        """Wait for the next value; raises what the call has raised, StopIteration after the last."""
        while True:
            waiter = Waiter(self._lock)
            with self._lock:
                outcome = self._ended.pop(self._taken, None)
                if outcome is not None:
                    self._taken += 1
                    break
                if self._taken == self._total:
                    failure, self._failure = self._failure, None
                    raise StopIteration if failure is None else failure
                self._waiters.append(waiter)
            try:
                waiter.park()
            finally:
                with self._lock:
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)
        if self._room is not None:
            self._room.release()
        # It is there, and what else is linked to the call concerns nobody here.
        return outcome.get(block=False)

    def abandon(self) -> None:
        """Begin no more calls, because nobody will take their values."""
        self.abandoned = True
        if self._room is not None:
            self._room.release()


class OutcomeIterator(Generic[T]):
    """What ``imap`` returns.

    The greenlet that begins the calls does not refer to it.  So it is let go when its user drops it, and no
    more calls are begun.
    """

    __slots__ = ("_outcomes",)

    def __init__(self, outcomes: Outcomes[T]) -> None:
        self._outcomes = outcomes

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self._outcomes.take()

    def __del__(self) -> None:
        self._outcomes.abandon()
