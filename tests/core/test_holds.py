"""What the code of a suspended frame tells of the locks that it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FrameType, GeneratorType

import pytest

from greenpool._core.holds import held_by
from greenpool.lock import Lock


class Owner:
    def __init__(self) -> None:
        self.lock = Lock()

    @property
    def changing(self) -> Lock:
        return Lock()


first, second = Lock(), Lock()
owner = Owner()
locks = [first, second]
by_name = {"second": second}


def nothing() -> Iterator[None]:
    yield


def one_with() -> Iterator[None]:
    with first:
        yield


def after_the_with() -> Iterator[None]:
    with first:
        pass
    yield


def nested_with() -> Iterator[None]:
    with first:
        with owner.lock as _:
            yield


def both_in_one_with() -> Iterator[None]:
    with first, second:
        yield


def with_in_a_try() -> Iterator[None]:
    try:
        with first:
            try:
                yield
            except ValueError:
                pass
    finally:
        owner.changing.locked()


def with_of_items() -> Iterator[None]:
    with locks[0], by_name["second"]:
        yield


def with_of_a_variable(index: int = 1) -> Iterator[None]:
    for lock in locks[index:]:
        with lock:
            yield


def with_of_a_closure() -> Iterator[None]:
    lock = first

    def inner() -> Iterator[None]:
        with lock:
            yield

    return inner()


def with_of_a_property() -> Iterator[None]:
    with owner.changing:
        yield


def acquired() -> Iterator[None]:
    owner.lock.acquire()
    try:
        yield
    finally:
        owner.lock.release()


def acquired_and_released() -> Iterator[None]:
    first.acquire()
    second.acquire()
    first.release()
    yield
    second.release()


def acquired_later() -> Iterator[None]:
    yield
    first.acquire()
    first.release()


def perhaps_acquired() -> Iterator[None]:
    taken = first.acquire(False)
    yield
    if taken:
        first.release()


def only_named() -> Iterator[None]:
    acquire = first.acquire
    acquire()
    yield
    first.release()


def released_in_a_with() -> Iterator[None]:
    with first:
        first.release()
        yield
        first.acquire()


@pytest.mark.parametrize(
    ("function", "held"),
    [
        (nothing, []),
        (one_with, [first]),
        (after_the_with, []),
        (nested_with, [first, owner.lock]),
        (both_in_one_with, [first, second]),
        (with_in_a_try, [first]),
        (with_of_items, [first, second]),
        (with_of_a_variable, [second]),
        (with_of_a_closure, [first]),
        (with_of_a_property, []),
        (acquired, [owner.lock]),
        (acquired_and_released, [second]),
        (acquired_later, []),
        (released_in_a_with, []),
        (perhaps_acquired, []),
        (only_named, []),
    ],
)
def test_held(function: Callable[[], Iterator[None]], held: list[object]) -> None:
    suspended = function()
    next(suspended)
    assert isinstance(suspended, GeneratorType)
    frame = suspended.gi_frame
    assert isinstance(frame, FrameType)
    assert held_by(frame) == held
    for _ in suspended:
        pass
    assert not first.locked() and not second.locked() and not owner.lock.locked()
