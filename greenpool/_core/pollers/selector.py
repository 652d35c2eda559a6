"""Anywhere: a selector of ``selectors2``, or of the standard ``selectors`` where it is missing.

These are level-triggered.  A descriptor is watched only while it is armed, and each readiness disarms it,
so a ready descriptor that nobody reads does not spin the loop.

selectors2 2.0.2, its last release, does not import on Python 3.10 and newer (it takes ``Mapping`` from
``collections``); that ImportError too means the standard module.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..native import Lock, fresh_copy
from ..wakers import Waker
from .events import ERR, IN, OUT

if TYPE_CHECKING:
    from selectors import BaseSelector

try:
    import selectors2 as selectors  # type: ignore[import-not-found,unused-ignore]  # optional
except ImportError:
    # A copy, because patching makes the standard selectors green.
    selectors = fresh_copy("selectors")


class SelectorPoller:
    __slots__ = ("_make_selector", "_selector", "_lock", "_wakers")

    keeps_gil = False

    def __init__(self, make_selector: Callable[[], BaseSelector] | None = None) -> None:
        self._make_selector = make_selector or _default_selector
        self._open()

    def _open(self) -> None:
        self._selector = self._make_selector()
        # The selector's table is changed by other threads too (unregister).
        self._lock = Lock()
        self._wakers: dict[int, Waker] = {}

    def register(self, fd: int) -> None:
        # Selectors cannot hold a descriptor with no direction, so there is nothing to do until it is
        # armed; but say at once what epoll would say.
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        self.unregister(fd)

    def arm(self, fd: int, bits: int) -> None:
        events = (selectors.EVENT_READ if bits & IN else 0) | (selectors.EVENT_WRITE if bits & OUT else 0)
        with self._lock:
            key = self._selector.get_map().get(fd)
            if key is None:
                self._selector.register(fd, events)
            elif events & ~key.events:
                self._selector.modify(fd, key.events | events)

    def unregister(self, fd: int) -> None:
        with self._lock:
            self._disarm(fd, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _disarm(self, fd: int, events: int) -> None:
        table = self._selector.get_map()
        key = table.get(fd) if table is not None else None
        if key is None:
            return
        remaining = key.events & ~events
        if remaining:
            self._selector.modify(fd, remaining)
        else:
            self._selector.unregister(fd)

    def register_waker(self, waker: Waker) -> None:
        self._wakers[waker.fd] = waker
        self._selector.register(waker.fd, selectors.EVENT_READ)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        ready = []
        try:
            selected = self._selector.select(timeout)
        except OSError as error:
            # Only select() raises it: another thread has closed a descriptor since it was called.
            if error.errno != errno.EBADF:
                raise
            return self._forget_closed()
        for key, events in selected:
            if key.fd in self._wakers:
                self._wakers[key.fd].drain()
                continue
            with self._lock:
                self._disarm(key.fd, events)
            ready.append(
                (
                    key.fd,
                    (IN if events & selectors.EVENT_READ else 0)
                    | (OUT if events & selectors.EVENT_WRITE else 0),
                )
            )
        return ready

    def _forget_closed(self) -> list[tuple[int, int]]:
        forgotten = []
        with self._lock:
            for fd in [key.fd for key in self._selector.get_map().values()]:
                try:
                    os.fstat(fd)
                except OSError:
                    self._selector.unregister(fd)
                    forgotten.append((fd, ERR))
        return forgotten

    def reopen(self) -> None:
        self._selector.close()
        self._open()

    def close(self) -> None:
        self._selector.close()


def _default_selector() -> BaseSelector:
    # DefaultSelector is passed over, because epoll and kqueue are used directly.
    for name in ("DevpollSelector", "PollSelector"):
        if hasattr(selectors, name):
            break
    else:
        name = "SelectSelector"
    selector: BaseSelector = getattr(selectors, name)()
    return selector
