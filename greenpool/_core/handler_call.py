"""The call of a signal handler on the stack of the main program, and the handlers that run beside it.

A HandlerCall is thrown into the main program where it is parked.  The functions that park catch it, make the
call outside of the ``except`` clause, and then go on waiting.  So the main program stands still until the
handler has returned, and another handler that interrupts this one runs on top of it.

signal_handler.py makes the calls.  It is not imported before ``greenpool.signal`` is.

*Threads*: the main one.
"""

from __future__ import annotations

from collections.abc import Callable

from .typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .state import GreenThread, Wait

    class RunningHandler(GreenThread):
        """The greenlet of a handler; *below* is what it has interrupted."""

        below: GreenThread | None

        def stand_still(self) -> None: ...


class HandlerCall(BaseException):
    """Carries *make*, which gets the parked greenlet and its waiter (None: it waits for its turn only)."""

    def __init__(self, make: Callable[[GreenThread, Wait | None], None]) -> None:
        self.make = make


# Handlers that run in greenlets of their own.  Each has interrupted the one before, or the main program.
running_handlers: list[RunningHandler] = []


class ForkedChild:
    """The child of a fork where the main program does not go on."""

    # Finds the greenlet that has forked.
    find_program: Callable[[], GreenThread | None] | None = None


def run_handlers_as(find_program: Callable[[], GreenThread | None]) -> None:
    """In such a child: from now on the handlers run as the greenlet that *find_program* finds."""
    running_handlers.clear()
    ForkedChild.find_program = find_program
