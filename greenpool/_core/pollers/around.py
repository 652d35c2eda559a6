"""A poller that stands in the place of another one and passes the calls on; subclasses change some.

*Threads*: those of the poller inside (see poller.py).
"""

from __future__ import annotations

from collections.abc import Callable

from ..wakers import Waker
from .poller import Poller


class PollerAround:
    """Does all that *poller* does but ``poll``, which a subclass has; as ``Poller``."""

    __slots__ = ("poller",)

    def __init__(self, poller: Poller) -> None:
        self.poller = poller

    @property
    def arm(self) -> Callable[[int, int], None] | None:
        return self.poller.arm

    @property
    def keeps_gil(self) -> bool:
        return self.poller.keeps_gil

    def register(self, fd: int) -> None:
        self.poller.register(fd)

    def unregister(self, fd: int) -> None:
        self.poller.unregister(fd)

    def register_waker(self, waker: Waker) -> None:
        self.poller.register_waker(waker)

    def reopen(self) -> None:
        self.poller.reopen()

    def close(self) -> None:
        self.poller.close()
