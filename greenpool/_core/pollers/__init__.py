"""The kernel's readiness notification: one small interface, one file per mechanism.

``make_poller`` picks the best that this system has: epoll, kqueue, else whatever ``selectors2`` or the
standard ``selectors`` offers (poll, select, devpoll).
"""

from __future__ import annotations

import select

from .poller import Poller

__all__ = ["Poller", "make_poller"]


def make_poller() -> Poller:
    if hasattr(select, "epoll"):
        from .epoll import EpollPoller

        return EpollPoller()
    if hasattr(select, "kqueue"):
        from .kqueue import KqueuePoller

        return KqueuePoller()
    from .selector import SelectorPoller

    return SelectorPoller()
