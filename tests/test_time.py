"""``greenpool.time``: sleep parks, and refuses the arguments that the standard sleep refuses."""

from __future__ import annotations

import signal
import time as standard
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

import greenpool
from greenpool import time
from greenpool.event import Event


def test_sleep_lets_the_others_run() -> None:
    order = []

    def sleeper(seconds: float) -> None:
        time.sleep(seconds)
        order.append(seconds)

    greenpool.joinall([greenpool.spawn(sleeper, seconds) for seconds in (0.03, 0.01, 0.02)])
    assert order == [0.01, 0.02, 0.03]


def test_sleep_of_nothing_lets_the_others_run_once() -> None:
    order = []

    def turn(name: str) -> None:
        for number in range(3):
            order.append(f"{name}{number}")
            time.sleep(0)

    greenpool.joinall([greenpool.spawn(turn, "a"), greenpool.spawn(turn, "b")])
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_sleep_takes_its_time() -> None:
    before = standard.monotonic()
    time.sleep(0.02)
    assert standard.monotonic() - before >= 0.02


class One:
    def __index__(self) -> int:
        return 0


@pytest.mark.parametrize("seconds", [0, 0.0, -0.0, False, One(), 1e-9])
def test_what_counts_as_a_number(seconds: Any) -> None:
    time.sleep(seconds)


@pytest.mark.parametrize(
    "seconds", ["1", None, [], 1j, Fraction(1, 2), -1, -1e-9, float("nan"), float("-inf")]
)
def test_refuses_what_the_standard_one_refuses(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)) as expected:
        standard.sleep(seconds)
    with pytest.raises(expected.type) as caught:
        time.sleep(seconds)
    assert str(caught.value) == str(expected.value) or caught.type is OverflowError


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 2**63])
def test_refuses_what_no_clock_can_hold(seconds: Any) -> None:
    with pytest.raises(OverflowError):
        time.sleep(seconds)


def test_refuses_keywords() -> None:
    with pytest.raises(TypeError):
        time.sleep(seconds=1)  # type: ignore[call-arg]


@pytest.fixture
def alarm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_a_signal_handler_that_finds_the_hub_waiting_can_sleep() -> None:
    slept = Event()

    def handler(signum: int, frame: object) -> None:
        time.sleep(0.001)
        slept.set()

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    assert slept.wait()
