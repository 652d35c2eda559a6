"""Linux: edge-triggered epoll, one epoll_ctl per descriptor and hub."""

from __future__ import annotations

import os
import select

from .. import native
from ..speedups import speedups
from ..wakers import Waker, renumbered

WATCHED = select.EPOLLIN | select.EPOLLOUT | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET

# Enough that a busy server's ready connections come in one call.
MAX_EVENTS = 1024


class EpollPoller:
    __slots__ = ("_epoll", "_fd")

    arm = None
    keeps_gil = speedups is not None

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        opened = native.epoll()
        self._fd: int = renumbered(os.dup(opened.fileno()))
        opened.close()
        self._epoll: select.epoll = native.epoll.fromfd(self._fd)

    def register(self, fd: int) -> None:
        while True:
            try:
                self._epoll.register(fd, WATCHED)
                return
            except FileExistsError:
                pass
            try:
                # A registration that outlived its owner (closed behind our back, its file kept open by a
                # dup).  Modifying reports the present readiness anew, as registering would.
                self._epoll.modify(fd, WATCHED)
                return
            except FileNotFoundError:
                pass  # another thread has unregistered it in between

    def unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):
            pass  # not registered, closed already (the kernel forgot it then), or the epoll is closed

    def register_waker(self, waker: Waker) -> None:
        self._epoll.register(waker.fd, select.EPOLLIN | select.EPOLLET)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if timeout == 0 and speedups is not None:
            # Without letting go of the GIL.
            events: list[tuple[int, int]] = speedups.epoll_poll(self._fd, MAX_EVENTS)
            return events
        return self._epoll.poll(timeout, MAX_EVENTS)

    def reopen(self) -> None:
        # Shared with the parent, whose registrations an unregister here would remove.
        self._epoll.close()
        self._open()

    def close(self) -> None:
        self._fd = -1
        self._epoll.close()
