"""Barrier: a number of greenlets or threads wait until all of them have come."""

from __future__ import annotations

from collections.abc import Callable
from threading import BrokenBarrierError

from .._core.native import RLock as Guard
from .._core.waiter import EXPIRED, FAILED, WOKEN, Waiter
from .._core.waits import awaited_as
from .arguments import check_int, seconds


class Barrier:
    """Lets its callers pass when there are *parties* of them (as ``threading.Barrier``).

    The last caller to come calls *action*, before any of them passes.  *timeout*, in seconds, is the
    default for ``wait``.  A greenlet that is killed while it waits leaves and does not count.  Every method
    may be called from any thread.
    """

    # The caller that completes a round, or ends it by reset or abort, claims all its waiters in one step
    # under the guard and leaves an empty round for the next ones.  So nobody can time out during the action.
    __slots__ = (
        "_parties",
        "_action",
        "_timeout",
        "_guard",
        "_round",
        "_broken",
        "__dict__",
        "__weakref__",
    )

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        check_int("parties", parties)
        if parties < 1:
            raise ValueError(f"parties must be at least 1, not {parties!r}")
        if action is not None and not callable(action):
            raise TypeError(f"action must be callable, not {action!r}")
        self._parties = parties
        self._action = action
        self._timeout = seconds(timeout)
        self._guard = Guard()
        self._round: dict[Waiter, None] = {}
        self._broken = False

    def __repr__(self) -> str:
        name = f"{type(self).__module__.partition('.')[0]}.{type(self).__qualname__}"
        state = "broken" if self._broken else f"waiters={self.n_waiting}/{self._parties}"
        return f"<{name} at {id(self):#x}: {state}>"

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others; returns a number from 0 to parties - 1 that no other caller of the round gets.

        Raises BrokenBarrierError if the barrier is broken, or is reset meanwhile.  When *timeout* seconds
        have passed, or *action* raises, the barrier breaks.
        """
        timeout = self._timeout if timeout is None else seconds(timeout)
        with self._guard:
            if self._broken:
                raise BrokenBarrierError
            complete = len(self._round) + 1 >= self._parties
            if complete:
                # Waiters that were killed may not have left yet.  One that timed out stays, and will break
                # it.
                self._round = {waiter: None for waiter in self._round if waiter.state != FAILED}
                timed_out = any(waiter.state for waiter in self._round)
                complete = not timed_out and len(self._round) + 1 >= self._parties
            if complete:
                claimed = self._claim_round()
            else:
                waiter = Waiter(self._guard)
                self._round[waiter] = None
        if complete:
            self._pass(claimed)
            return self._parties - 1
        try:
            if waiter.park(timeout) and waiter.value is not None:
                return int(waiter.value)
        finally:
            if waiter.state != WOKEN:
                self._leave(waiter)
        raise BrokenBarrierError

    def _leave(self, waiter: Waiter) -> None:
        """*waiter* was killed or timed out; a timeout breaks the barrier."""
        claimed: list[Waiter] = []
        with self._guard:
            if waiter in self._round:
                del self._round[waiter]
                if waiter.state == EXPIRED:
                    self._broken = True
                    claimed = self._claim_round()
            # If this does not hold, reset or abort has ended its round, and it must not break the next one.
        self._fail(claimed)

    def _claim_round(self) -> list[Waiter]:
        """Claim every waiter, numbered; the guard is held, and the caller resumes them."""
        waiters, self._round = self._round, {}
        return [waiter for number, waiter in enumerate(waiters) if waiter.claim(number)]

    def _pass(self, claimed: list[Waiter]) -> None:
        """Call the action and let all of the round pass."""
        try:
            if self._action is not None:
                self._action()
        except BaseException:
            # It is broken first, because a waiter that learns of it may look at it, or reset it, at once.
            self.abort()
            self._fail(claimed)
            raise
        for waiter in claimed:
            waiter.resume()

    def _fail(self, claimed: list[Waiter]) -> None:
        for waiter in claimed:
            waiter.value = None
            waiter.resume()

    def _end_round(self, broken: bool) -> None:
        with self._guard:
            self._broken = broken
            claimed = self._claim_round()
        self._fail(claimed)

    def reset(self) -> None:
        """Make it as new; every waiter gets BrokenBarrierError."""
        self._end_round(False)

    def abort(self) -> None:
        """Break it: every waiter, and every caller until ``reset``, gets BrokenBarrierError."""
        self._end_round(True)

    @property
    def parties(self) -> int:
        """The number of callers that it takes to pass."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """The number of callers that wait now."""
        return len(self._round)

    @property
    def broken(self) -> bool:
        """True while it is broken."""
        return self._broken


awaited_as(Barrier, "to be full")
