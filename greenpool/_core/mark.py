"""The mark: the loop's own turn in its hub's ready queue."""

from __future__ import annotations

from collections import deque

from greenlet import greenlet

from .inbox import Inbox, Turn

# Turns of others that the loop may let pass before its own (as tokio's event_interval).
MAX_PASSED_OVER = 32


class Mark:
    """The loop's entry in its own ready queue.

    While little is ready, most of the time would go into passes that find nothing: two greenlets that
    wake each other would go through one at every turn.  So the mark may be passed over for a bounded
    number of turns; if many are ready, it is not passed over more than once.
    """

    __slots__ = ("loop", "ready", "inbox", "passed_over")

    def __init__(self, loop: greenlet, ready: deque[Turn], inbox: Inbox) -> None:
        # None once the hub's thread has ended.
        self.loop: greenlet | None = loop
        self.ready = ready
        self.inbox = inbox
        # The very first turn is the one that starts the loop.
        self.passed_over = MAX_PASSED_OVER

    def switch(self) -> object:
        ready = self.ready
        if ready and self.passed_over < MAX_PASSED_OVER and not self.inbox.queue:
            self.passed_over += len(ready)
            ready.append(self)
            return ready.popleft().switch()
        self.passed_over = 0
        return self.loop.switch(self)  # type: ignore[union-attr]  # no turn comes after the end
