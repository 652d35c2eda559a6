"""A signal handler of a patched program: it runs as the main program, and may wait.

Python calls a handler on the main thread, between any two bytecodes: in whatever greenlet runs there, in the
hub's loop, or inside a poll.  If that is the main program's own code, the handler is just called.  Anywhere
else it runs in a greenlet of its own, so that it may wait without stopping what it has interrupted.

*Threads*: the main one.  fork.py says what happens when a handler forks and returns in the child.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType

from greenlet import greenlet

from .carrier import Carrier
from .current import getcurrent, thread_hub


class HandlerGreenlet(greenlet):
    """Runs one call of a handler; fork.py knows it by ``signalnum``."""

    def __init__(self, handler: Callable[[int, FrameType | None], object], signalnum: int) -> None:
        greenlet.__init__(self, handler, greenlet.getcurrent())
        self.signalnum = signalnum


def run_handler(
    handler: Callable[[int, FrameType | None], object],
    signalnum: int,
    frame: FrameType | None,
    in_program: bool,
) -> None:
    """Run *handler* as the main program; *in_program*: the signal has interrupted the program's own code."""
    hub = thread_hub()
    current = getcurrent()
    if hub is None or (current is hub.main and in_program):
        handler(signalnum, frame)
        return
    ready = hub.ready
    running = HandlerGreenlet(handler, signalnum)
    # The interrupted greenlet goes on as soon as the handler waits.  It may hold what the handler waits for.
    # Or it is the hub, or was about to switch to the next turn, and no other may run instead.
    ready.appendleft(current)
    try:
        running.switch(signalnum, frame)
    except BaseException as exception:
        ready.remove(current)
        if type(current) is Carrier and in_program:
            # Raised now, as it would be in a main thread that waits; the interrupted greenlet goes on later.
            ready.append(current)
            hub.main.throw(exception)  # type: ignore[union-attr]  # the main thread's hub has one
        else:
            hub.post(hub.on_system_error, exception)
        return
    if running.dead:
        ready.remove(current)
    else:
        running.parent = hub.loop
        hub.look_again()
