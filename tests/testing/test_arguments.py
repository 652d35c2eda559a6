"""A bad argument is refused by its name and its value, before anything runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

import greenpool
from greenpool import testing


async def coroutine() -> None: ...


def generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


FUNCTIONS = pytest.mark.parametrize(
    "function",
    [testing.run, testing.explore, partial(testing.replay, seed=1), partial(testing.replay, seed="1:")],
    ids=["run", "explore", "replay a seed", "replay a schedule"],
)


@FUNCTIONS
@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"hubs": -1}, ValueError, "hubs must be at least 0, not -1"),
        ({"hubs": True}, TypeError, "hubs must be an int, not True"),
        ({"steps": 0}, ValueError, "steps must be at least 1, not 0"),
        ({"steps": 1.5}, TypeError, "steps must be an int or None, not 1.5"),
        ({"clock": "fast"}, ValueError, """clock must be "jump" or "real", not 'fast'"""),
        ({"patch": 1}, TypeError, "patch must be True or False, not 1"),
        ({"preempt": True}, ValueError, """preempt must be "operations" or "lines", not True"""),
    ],
)
def test_settings(
    function: Callable[..., object], arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        function(lambda: None, **arguments)
    assert str(caught.value) == text


@FUNCTIONS
@pytest.mark.parametrize("program", [None, coroutine, partial(coroutine), generator, async_generator])
def test_a_program_that_would_not_run(function: Callable[..., object], program: Any) -> None:
    with pytest.raises(TypeError, match="fn must be"):
        function(program)


@pytest.mark.parametrize("schedules", [0, -1, True, 1.0, None])
def test_schedules(schedules: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"schedules must be .*not {schedules}"):
        testing.explore(lambda: None, schedules=schedules)


@pytest.mark.parametrize("function", [testing.run, testing.explore, testing.replay])
@pytest.mark.parametrize("seed", [True, 1.0, b"1"])
def test_seed(function: Callable[..., object], seed: Any) -> None:
    with pytest.raises(TypeError, match="seed must be an int"):
        function(lambda: None, seed=seed)


def test_a_run_within_a_run() -> None:
    with pytest.raises(RuntimeError, match="outside of pools"):
        testing.run(lambda: testing.run(lambda: None))


@pytest.mark.parametrize("patch", [False, True])
def test_a_run_in_a_greenlet(patch: bool) -> None:
    with pytest.raises(RuntimeError, match="outside of pools"):
        greenpool.run(lambda: greenpool.spawn(testing.explore, lambda: None, patch=patch).get())


def test_a_run_in_a_main_program_that_has_waited() -> None:
    greenpool.sleep(0)
    assert testing.run(lambda: 7) == 7
