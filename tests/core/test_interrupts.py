"""Interrupts: an exception that finds its greenlet running is raised when the greenlet parks next."""

from __future__ import annotations

import pytest

import greenpool
from greenpool._core.current import current_greenlet
from greenpool._core.interrupts import (
    Interrupts,
    add_interrupt,
    put_back_interrupt,
    raise_interrupt,
    take_interrupt,
)
from greenpool._core.waiter import Waiter


class Greenlet:
    """What has interrupts, without a greenlet."""

    def __init__(self) -> None:
        self.interrupts: Interrupts | tuple[()] = ()


def test_nothing_is_due_where_nothing_came() -> None:
    greenlet = Greenlet()
    assert take_interrupt(greenlet) is None
    raise_interrupt(greenlet)
    assert greenlet.interrupts == ()


def test_interrupts_are_taken_in_the_order_in_which_they_came() -> None:
    greenlet, first, second = Greenlet(), KeyError(), ValueError()
    add_interrupt(greenlet, first)
    add_interrupt(greenlet, second)
    assert take_interrupt(greenlet) is first
    with pytest.raises(ValueError):
        raise_interrupt(greenlet)
    assert take_interrupt(greenlet) is None


@pytest.mark.parametrize("others", [[], [ValueError()]])
def test_an_interrupt_that_was_put_back_is_the_next_one(others: list[BaseException]) -> None:
    greenlet, first = Greenlet(), KeyError()
    for exception in others:
        add_interrupt(greenlet, exception)
    put_back_interrupt(greenlet, first)
    assert take_interrupt(greenlet) is first
    assert take_interrupt(greenlet) is (others[0] if others else None)


def test_looking_at_the_interrupts_takes_none() -> None:
    greenlet = Greenlet()
    add_interrupt(greenlet, KeyError())
    for _ in range(3):
        assert greenlet.interrupts
    assert isinstance(take_interrupt(greenlet), KeyError)


def test_an_interrupt_waits_for_the_next_park_where_the_waiter_is_claimed_already() -> None:
    waiter = Waiter()
    waiter.wake("came first")
    add_interrupt(current_greenlet(), KeyError())
    assert waiter.park()
    assert waiter.value == "came first"
    with pytest.raises(KeyError):
        greenpool.sleep(0)
