"""The call of a signal handler on the stack of the main program.

Thrown into the main program where it is parked.  The functions that park catch it, make the call outside of
the ``except`` clause, and then go on waiting.  So the main program stands still until the handler has
returned, and another handler that interrupts this one runs on top of it.

*Threads*: the main one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .state import GreenThread, Wait


class HandlerCall(BaseException):
    """Carries *make*, which gets the parked greenlet and its waiter (None: it waits for its turn only)."""

    def __init__(self, make: Callable[[GreenThread, Wait | None], None]) -> None:
        self.make = make
