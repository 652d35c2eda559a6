"""macOS and the BSDs: kqueue with EV_CLEAR, which is its edge-triggered mode.

Reading and writing are two filters of one descriptor, and end-of-file is a flag on either:

    ==================  ================================
    kqueue              mask
    ==================  ================================
    EVFILT_READ         IN, and RDHUP with EV_EOF
    EVFILT_WRITE        OUT, and HUP with EV_EOF
    EV_ERROR            ERR
    ==================  ================================
"""

# typeshed has the names of kqueue for the systems that have it only.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import errno
import select as _select
from typing import Any

from .. import native
from ..wakers import Waker
from .events import ERR, HUP, IN, OUT, RDHUP

MAX_EVENTS = 1024

# Type checkers know the names that the system has on which they run.
select: Any = _select


class KqueuePoller:
    __slots__ = ("_kqueue",)

    arm = None
    keeps_gil = False

    def __init__(self) -> None:
        self._kqueue = native.kqueue()

    def _change(self, fd: int, flags: int, filters: tuple[int, ...]) -> None:
        self._kqueue.control(
            [select.kevent(fd, which, flags) for which in filters],
            0,
            0,
        )

    def register(self, fd: int) -> None:
        add = select.KQ_EV_ADD | select.KQ_EV_CLEAR
        self._change(fd, add, (select.KQ_FILTER_READ,))
        try:
            self._change(fd, add, (select.KQ_FILTER_WRITE,))
        except OSError as error:
            # A descriptor that can only be read (a pipe's reading end, a vnode).
            if error.errno not in (errno.EINVAL, errno.EPIPE):
                raise

    def unregister(self, fd: int) -> None:
        for which in (select.KQ_FILTER_READ, select.KQ_FILTER_WRITE):
            try:
                self._change(fd, select.KQ_EV_DELETE, (which,))
            except (OSError, ValueError):
                pass  # never registered for this filter, or closed already

    def register_waker(self, waker: Waker) -> None:
        add = select.KQ_EV_ADD | select.KQ_EV_CLEAR
        self._change(waker.fd, add, (select.KQ_FILTER_READ,))

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        return [
            (event.ident, mask_of(event.filter, event.flags))
            for event in self._kqueue.control(None, MAX_EVENTS, timeout)
        ]

    def reopen(self) -> None:
        try:
            self._kqueue.close()
        except OSError:
            pass  # a child does not have it; but it must not close the next one of its number at its end
        self._kqueue = native.kqueue()

    def close(self) -> None:
        self._kqueue.close()


def mask_of(which: int, flags: int) -> int:
    """The table at the head of this module."""
    ended = flags & select.KQ_EV_EOF
    if which == select.KQ_FILTER_READ:
        mask = IN | RDHUP if ended else IN
    else:
        mask = OUT | HUP if ended else OUT
    if flags & select.KQ_EV_ERROR:
        mask |= ERR
    return mask
