"""The calling thread's hub, and what only concerns it (as ``gevent.hub``)."""

from __future__ import annotations

from types import FrameType

from ._core.current import Factories, current_hub
from ._core.hub import Hub
from ._core.typing import cast
from ._core.waiter import Waiter, sleep

__all__ = ["Hub", "get_hub", "idle", "reinit", "sleep"]


# Programs import it from here.
sleep.__module__ = __name__


def _describe_call(frame: FrameType) -> str:
    # Imported here, because only a stall needs it.
    from ._blocking_calls import describe_call

    return describe_call(frame)


Factories.describe_call = _describe_call


def get_hub() -> Hub:
    """The hub of the calling thread; a thread that has none gets one."""
    return cast("Hub", current_hub())  # hub.py makes all of them


def idle(priority: int = 0) -> None:
    """Park the calling greenlet until no other greenlet of this hub is ready to run.

    *priority* is accepted for gevent's sake; there is one priority.
    """
    waiter = Waiter()
    waiter.hub.wake_when_idle(waiter)
    waiter.park()


def reinit() -> None:
    """Do nothing, for gevent's sake: in the child of a fork the hub is made anew by itself."""
