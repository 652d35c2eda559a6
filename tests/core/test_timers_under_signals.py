"""A signal handler between any two bytecodes of the timers: no timer is lost, and none fires early."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from greenpool._core import timers as module
from greenpool._core.timers import SWEEP_FLOOR, Timer, Timers

# The bytecodes are the same in kind on newer ones, where tracing every one of them is not reliable.
pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13) or sys.gettrace() is not None,
    reason="this Python does not trace each bytecode, or another tracer has the trace function",
)

NOW = 5


class Strike:
    """Calls *handler* before the bytecode with *number* of timers.py, as a signal would."""

    def __init__(self, number: int, handler: Callable[[], object]) -> None:
        self.left = number
        self.handler = handler

    def __enter__(self) -> None:
        sys.settrace(self._trace_call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace_call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        return self._trace

    def _trace(self, _frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                self.handler()
        return self._trace


# Handlers.


def enter_an_earlier_one(timers: Timers, made: list[Timer]) -> None:
    made.append(timers.call_at(-1, print, -1))


def cancel_so_many_that_they_are_swept(timers: Timers, made: list[Timer]) -> None:
    for _ in range(2 * SWEEP_FLOOR):
        timers.call_at(2, print).cancel()


def cancel_all(timers: Timers, made: list[Timer]) -> None:
    for timer in made:
        timer.cancel()
    cancel_so_many_that_they_are_swept(timers, made)


def interrupt(timers: Timers, made: list[Timer]) -> None:
    raise KeyboardInterrupt


# What they strike.


def look(timers: Timers, made: list[Timer]) -> None:
    timers.next_deadline()


def expire(timers: Timers, made: list[Timer]) -> None:
    def call(callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        assert args[0] <= NOW

    timers.expire_due(NOW, call)


def sweep(timers: Timers, made: list[Timer]) -> None:
    timers.call_at(8, print).cancel()


def enter(timers: Timers, made: list[Timer]) -> None:
    made.append(timers.call_at(4, print, 4))


def attempt(
    method: Callable[[Timers, list[Timer]], None],
    cancelled: list[int],
    handler: Callable[[Timers, list[Timer]], None],
    number: int,
) -> bool:
    """Whether there was a bytecode with this number."""
    timers = Timers()
    made = []
    for deadline in (1, 2, 3, 8, 9):
        made.append(timers.call_at(deadline, print, deadline))
        if deadline in cancelled:
            made[-1].cancel()
    if method is sweep:
        for _ in range(SWEEP_FLOOR):
            timers.call_at(8, print).cancel()
    strike = Strike(number, functools.partial(handler, timers, made))
    with contextlib.suppress(KeyboardInterrupt), strike:
        method(timers, made)
    kept = [entry for _, _, entry in timers.heap if entry.pending]
    lost = [timer.args for timer in made if timer.pending and timer not in kept]
    assert not lost, f"struck before bytecode {number}"
    assert timers.heap[:1] == sorted(timers.heap)[:1]
    return strike.left <= 0


@pytest.mark.parametrize(
    "handler", [enter_an_earlier_one, cancel_so_many_that_they_are_swept, cancel_all, interrupt]
)
@pytest.mark.parametrize("cancelled", [[], [1], [1, 2], [3], [1, 2, 3, 8, 9]])
@pytest.mark.parametrize("method", [look, expire, sweep, enter])
def test_a_signal_handler_strikes_before_each_bytecode_in_turn(
    method: Callable[[Timers, list[Timer]], None],
    cancelled: list[int],
    handler: Callable[[Timers, list[Timer]], None],
) -> None:
    number = 0
    struck = True
    while struck:
        number += 1
        # On 3.12 a function's bytecodes are traced from the call on that follows the one which asks.
        attempt(method, cancelled, handler, 0)
        struck = attempt(method, cancelled, handler, number)
    assert number > 10
