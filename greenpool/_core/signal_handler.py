"""A signal handler of a patched program: it runs as the main program, and may wait.

Python calls a handler on the main thread, between any two bytecodes: in whatever greenlet runs there, in the
hub's loop, or inside a poll.

- *The main program's own code* runs: the handler is just called.
- *The main program is parked*: the handler is called on its stack (see handler_call.py).
- *This package's code runs for the main program*, or the hub has no main program that is parked: the
  handler runs in a greenlet of its own.  The interrupted code may hold what the handler waits for, so it goes
  on.  The main program stands still when that code parks or has returned.

So the main program stands still until the handler has returned, as in plain Python, and all other greenlets
go on.  If a second handler interrupts one that waits, it runs on top of that.

*Threads*: the main one.  fork.py says what happens when a handler forks and returns in the child.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from sys import _getframe, gettrace, settrace
from types import FrameType
from typing import TYPE_CHECKING

from greenlet import greenlet

from . import PACKAGE
from .current import getcurrent, thread_hub
from .handler_call import ForkedChild, HandlerCall, running_handlers
from .interrupts import add_interrupt
from .registration import Registration
from .state import GreenThread, HubState, Wait
from .waiter import QuickWaiter, Waiter, yield_now

if TYPE_CHECKING:
    from .handler_call import RunningHandler

Handler = Callable[[int, FrameType | None], object]

_CORE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def run_handler(handler: Handler, signalnum: int, frame: FrameType | None, in_program: bool) -> None:
    """Run *handler* as the main program; *in_program*: the signal has interrupted a program's own code."""
    hub = thread_hub()
    current = getcurrent()
    program = None if hub is None else _find_program(hub)
    if hub is None or (in_program and current is program):
        handler(signalnum, frame)
        return
    # The interrupted greenlet goes on as soon as the handler waits.  It may hold what the handler waits for.
    # Or it is the hub, or was about to switch to the next turn, and no other may run instead.
    hub.ready.appendleft(current)
    if program is not None and program is not current and _is_parked(program):
        program.throw(HandlerCall(_Call(handler, signalnum, frame, current, in_program).make))
        hub.look_again()
    else:
        _run_beside(hub, program, handler, signalnum, frame)
    if in_program:
        _stand_still()


def _find_program(hub: HubState) -> GreenThread | None:
    """What a handler interrupts."""
    if running_handlers:
        return running_handlers[-1]
    if hub.main is None and ForkedChild.find_program is not None:
        return ForkedChild.find_program()
    return hub.main


def _is_parked(program: GreenThread) -> bool:
    """Whether *program*, which does not run, is in one of the functions that take a HandlerCall.

    It may also have switched to a raw greenlet, be interrupted by another handler, or be parked in C code, as
    a main program never is.
    """
    frame = program.gr_frame
    while frame is not None and frame.f_code is not _run_beside.__code__:
        if frame.f_code in _PARKS:
            return True
        if not frame.f_code.co_filename.startswith(_CORE):
            break
        frame = frame.f_back
    return False


_PARKS = {
    getattr(function, "__wrapped__", function).__code__
    for function in (Waiter.park, QuickWaiter.receive, Registration.wait_read, yield_now)
}


# On the main program's stack.


class _Call:
    """One call of a handler on the main program's stack."""

    __slots__ = ("handler", "signalnum", "frame", "interrupted", "in_program")

    def __init__(
        self,
        handler: Handler,
        signalnum: int,
        frame: FrameType | None,
        interrupted: GreenThread,
        in_program: bool,
    ) -> None:
        self.handler = handler
        self.signalnum = signalnum
        self.frame = frame
        self.interrupted = interrupted
        self.in_program = in_program

    def make(self, main: GreenThread, waiter: Wait | None) -> None:
        try:
            _stand_still()
            self.handler(self.signalnum, self.frame)
        except BaseException as exception:
            raised = exception
        else:
            _wait_on(main, waiter)
            return
        ready = main.hub.ready
        at_once = self.in_program and self.interrupted in ready
        if at_once:
            # As in a main thread that waits.  The interrupted greenlet, which may compute for long, goes on
            # later.
            ready.remove(self.interrupted)
            ready.append(self.interrupted)
        _raise_in_wait(main, waiter, raised, at_once)


def _wait_on(main: GreenThread, waiter: Wait | None) -> None:
    """Have the wait go on that a handler has interrupted.

    A handler that waited may have taken the resume that was for that wait.
    """
    main.waiter = waiter
    hub = main.hub
    if waiter is not None and not waiter.state:
        return
    with hub.inbox.lock:
        is_due = main in hub.ready or main in hub.inbox.queue
    if not is_due:
        hub.ready.append(main)


def _raise_in_wait(
    main: GreenThread, waiter: Wait | None, exception: BaseException, at_once: bool = False
) -> None:
    """End the wait that a handler has interrupted with the *exception* that the handler has raised."""
    _wait_on(main, waiter)
    if waiter is None:
        if not at_once:
            yield_now()
        raise exception
    if not waiter.throw(exception):
        # It has ended meanwhile, and what it has got is not to be lost.
        add_interrupt(main, exception)
        if _stop_outside(_getframe()):
            _due.append(exception)
    elif at_once:
        main.hub.ready.appendleft(main)


# In a greenlet of its own.


class HandlerGreenlet(greenlet):
    """Runs one call of a handler; fork.py knows it by ``signalnum``.

    *below* is what it has interrupted: the main program, or another handler.
    """

    def __init__(self, handler: Handler, signalnum: int, below: GreenThread | None) -> None:
        greenlet.__init__(self, None, greenlet.getcurrent())
        self.handler = handler
        self.signalnum = signalnum
        self.below = below
        self.ended = False
        # The waiters of what is below, while that stands still, and what the handler has raised then.
        self._held: list[Waiter] = []
        self._raised: BaseException | None = None

    def run(self, signalnum: int, frame: FrameType | None) -> None:
        this: HandlerThread = self  # type: ignore[assignment]  # it is adopted when it first parks
        running_handlers.append(this)
        try:
            self.handler(signalnum, frame)
        except BaseException as exception:
            if not self._held:
                raise
            self._raised = exception
        finally:
            self.ended = True
            running_handlers.remove(this)
            # One that has struck since the handler returned goes on above what this one has interrupted.
            for above in running_handlers:
                if above.below is this:
                    above.below = self.below
            for waiter in self._held:
                waiter.wake()

    def hold_parked(self, hub: HubState) -> None:
        """Have what is below, if it is parked, stand still until the handler has ended; in the loop."""
        below = self.below
        if not (self.ended or self._held) and below is not None and _is_parked(below):
            hub.ready.appendleft(hub.loop)
            below.throw(HandlerCall(self._hold))

    def _hold(self, below: GreenThread, waiter: Wait | None) -> None:
        self._wait_for_end(below)
        raised, self._raised = self._raised, None
        if raised is None:
            _wait_on(below, waiter)
        else:
            _raise_in_wait(below, waiter, raised)

    def stand_still(self) -> None:
        """Wait for the end of the handler, and raise what it has raised; in the code of the program below."""
        self._wait_for_end(getcurrent())
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def _wait_for_end(self, below: GreenThread) -> None:
        interrupts = []
        while not self.ended:
            waiter = Waiter()
            self._held.append(waiter)
            try:
                waiter.park()
            except BaseException as exception:
                # A kill or a Timeout of the main program.
                interrupts.append(exception)
        try:
            _stand_still()
        except BaseException as exception:
            interrupts.append(exception)
        for interruption in interrupts:
            add_interrupt(below, interruption)


if TYPE_CHECKING:

    class HandlerThread(HandlerGreenlet, RunningHandler):
        """A HandlerGreenlet that can park."""


def _stand_still() -> None:
    """Wait for the handler that has interrupted the calling program, if there is one."""
    current = getcurrent()
    for above in list(running_handlers):
        if above.below is current:
            above.stand_still()


# Stopping the program where this package's code returns to it, or calls it.  The program's next line or call
# is found by tracing.  Where a debugger has the trace function, the program goes on until it parks.


# The program's frames that are traced.
_traced: list[FrameType] = []

# What handlers have raised and is to be raised there, if no park has raised it before.
_due: list[BaseException] = []


def _stop_outside(frame: FrameType | None) -> bool:
    """Have the program, which is at *frame* in this package, stop at the next line of its own code.

    There it stands still for a handler that waits, and raises what is due.  False where a debugger traces.
    """
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None or gettrace() not in (None, _trace_call):
        return False
    frame.f_trace = _trace_line
    _traced.append(frame)
    settrace(_trace_call)
    return True


def _trace_call(frame: FrameType, _event: str, _argument: object) -> None:
    current = getcurrent()
    is_program = not frame.f_code.co_filename.startswith(PACKAGE)
    if is_program and any(above.below is current for above in running_handlers):
        _end_tracing()
        _stand_still()
        _raise_due(current)


def _trace_line(_frame: FrameType, _event: str, _argument: object) -> None:
    _end_tracing()
    _stand_still()
    _raise_due(getcurrent())


def _raise_due(program: GreenThread) -> None:
    while _due:
        exception = _due.pop(0)
        if exception in program.interrupts:
            program.interrupts.remove(exception)  # type: ignore[union-attr]  # it is not empty
            raise exception


def _end_tracing() -> None:
    if gettrace() is _trace_call:
        settrace(None)
    while _traced:
        _traced.pop().f_trace = None


def _run_beside(
    hub: HubState, program: GreenThread | None, handler: Handler, signalnum: int, frame: FrameType | None
) -> None:
    ready = hub.ready
    current = ready[0]
    running = HandlerGreenlet(handler, signalnum, program)
    try:
        running.switch(signalnum, frame)
    except BaseException as exception:
        ready.remove(current)
        hub.post(hub.on_system_error, exception)
        return
    if running.dead:
        ready.remove(current)
        return
    running.parent = hub.loop
    hub.look_again()
    hub.call_soon(running.hold_parked, hub)
    if program is current:
        _stop_outside(frame)
