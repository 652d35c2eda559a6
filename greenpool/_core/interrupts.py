"""Interrupts: the exceptions that a greenlet is to raise when it parks next.

A kill or a timeout that finds its greenlet parked ends that wait (see waiter.py).  One that finds it running,
or woken but not resumed yet, stays pending here.

Only the thread of the greenlet's hub touches them.  A signal handler may add one between any two bytecodes of
that thread, so each step below is a single method call.
"""

from __future__ import annotations

from collections import deque

from .typing import Protocol


class Interrupts(deque[BaseException]):
    """The pending exceptions of one greenlet, in order.  Its truth says whether there may be one to take."""

    __slots__ = ()

    def take(self) -> BaseException | None:
        """Take the exception that is due now; None if none is."""
        return self.popleft() if self else None

    def put_back(self, exception: BaseException) -> None:
        """Undo a ``take`` whose exception could not be raised."""
        self.appendleft(exception)


class Interruptible(Protocol):
    """A greenlet, as this module sees it."""

    interrupts: Interrupts | tuple[()]
    """An empty tuple until there is one: an empty deque takes 600 bytes, and most greenlets never need it."""


def take_interrupt(greenlet: Interruptible) -> BaseException | None:
    """Take the exception that *greenlet*, which is about to park, has to raise; None if there is none.

    A cancelled scope decides here whether it raises another Cancelled (see cancel.py).
    """
    pending = greenlet.interrupts
    return pending.take() if pending else None


def raise_interrupt(greenlet: Interruptible) -> None:
    """Raise what ``take_interrupt`` finds, if anything."""
    exception = take_interrupt(greenlet)
    if exception is not None:
        raise exception


def put_back_interrupt(greenlet: Interruptible, exception: BaseException) -> None:
    """Undo a ``take_interrupt`` whose exception could not be raised: the next park raises it."""
    pending = greenlet.interrupts
    if isinstance(pending, tuple):
        add_interrupt(greenlet, exception)
    else:
        pending.put_back(exception)


def add_interrupt(greenlet: Interruptible, exception: BaseException) -> None:
    """Have *greenlet* raise *exception* when it parks next."""
    pending = greenlet.interrupts
    if isinstance(pending, tuple):
        pending = greenlet.interrupts = Interrupts()
    pending.append(exception)
