"""The kernel's readiness notification: one small interface, one file per mechanism.

``make_poller`` picks the best that this system has: epoll, kqueue, else whatever ``selectors2`` or the
standard ``selectors`` offers (poll, select, devpoll).
"""

from __future__ import annotations

from .. import native
from .poller import Poller

# Imported with this module: in the child of a fork, one that another thread was just importing never comes.
if native.epoll is not None:
    from .epoll import EpollPoller

__all__ = ["Poller", "make_poller"]


def make_poller() -> Poller:
    if native.epoll is not None:
        return EpollPoller()
    if native.kqueue is not None:
        from .kqueue import KqueuePoller

        return KqueuePoller()
    from .selector import SelectorPoller

    return SelectorPoller()
