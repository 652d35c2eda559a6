"""What a hub asks of its poller.

Event masks have the bits of events.py.  ``register`` asks for both directions at once.  An
edge-triggered poller then reports each change by itself and has ``arm`` None; a level-triggered one would
report a ready descriptor again and again, so it reports only what it was last armed for, once.

``unregister`` may be called by any thread, the rest by the hub's thread only.
"""

from __future__ import annotations

from collections.abc import Callable

from ..typing import Protocol
from ..wakers import Waker


class Poller(Protocol):
    @property
    def arm(self) -> Callable[[int, int], None] | None:
        """Report the next readiness of a descriptor for these bits (IN or OUT)."""

    @property
    def keeps_gil(self) -> bool:
        """Whether a poll that does not wait keeps the GIL."""

    def register(self, fd: int) -> None:
        """Watch *fd*.  Raises OSError: EPERM where it is always ready (a regular file)."""

    def unregister(self, fd: int) -> None:
        """Forget *fd*; no error where it is unknown or closed."""

    def register_waker(self, waker: Waker) -> None:
        """Let *waker* end a poll; its events may be reported and are ignored by the hub."""

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait up to *timeout* seconds (None: for ever) and return (fd, mask) pairs."""

    def reopen(self) -> None:
        """Watch nothing, and share nothing with the parent; for the child of a fork.

        In place, as a signal handler may have forked in the midst of any call.  One that was waiting in the
        kernel may then fail.
        """

    def close(self) -> None:
        """Give the poller's own descriptor back."""
