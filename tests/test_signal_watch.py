"""``signal_handler``: a greenlet for each signal, as in gevent."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

import greenpool
from greenpool import signal_handler
from greenpool.event import Event

pytestmark = pytest.mark.usefixtures("leak_check", "handlers_as_before")


class Oops(Exception):
    pass


def send() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def test_the_handler_runs_in_a_greenlet_which_may_wait() -> None:
    begun, go_on, ended = Event(), Event(), Event()

    def handler(*args: object, **kwargs: object) -> None:
        begun.set()
        assert (args, kwargs) == ((1,), {"key": 2})
        assert greenpool.getcurrent() is not main
        go_on.wait()
        ended.set()

    main = greenpool.getcurrent()
    watch = signal_handler(signal.SIGUSR1, handler, 1, key=2)
    try:
        greenpool.spawn(send)
        assert begun.wait(60)
        go_on.set()
        assert ended.wait(60)
    finally:
        watch.cancel()


def test_what_the_handler_raises_is_raised_in_the_main_program() -> None:
    def fail() -> None:
        raise Oops

    watch = signal_handler(signal.SIGUSR1, fail)
    try:
        for _ in range(2):
            greenpool.spawn(send)
            with pytest.raises(Oops):
                greenpool.sleep(60)
    finally:
        watch.cancel()


def test_several_handlers_and_the_one_that_was_there_before() -> None:
    calls: list[str] = []
    signal.signal(signal.SIGUSR1, lambda *_: calls.append("standard"))
    first = signal_handler(signal.SIGUSR1, calls.append, "first")
    second = signal_handler(signal.SIGUSR1, calls.append, "second")

    def after_a_signal() -> list[str]:
        calls.clear()
        send()
        greenpool.sleep(0.001)
        return calls

    assert after_a_signal() == ["first", "second"]
    first.cancel()
    assert after_a_signal() == ["second"]
    first.cancel()
    second.cancel()
    assert after_a_signal() == ["standard"]


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (TypeError, lambda: signal_handler(signal.SIGUSR1, 42)),  # type: ignore[arg-type]
        (ValueError, lambda: signal_handler(10_000, print)),
    ],
)
def test_nonsense_is_refused(kind: type[Exception], call: Callable[[], object]) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(kind):
        call()
    assert signal.getsignal(signal.SIGUSR1) is before
