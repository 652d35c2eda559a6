"""explore finds six kinds of fault, and replay repeats what it has found."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from greenpool import testing

from . import faulty, faulty_threads

Program = Callable[[bool], None]

# 10,000 take minutes.
SCHEDULES = int(os.environ.get("GREENPOOL_TEST_SCHEDULES", "100"))

KINDS = pytest.mark.parametrize(
    ("program", "patch"),
    [(program, False) for program in faulty.PROGRAMS]
    + [(program, True) for program in faulty_threads.PROGRAMS],
    ids=lambda value: value.__name__ if callable(value) else "threads" if value else "greenlets",
)


@KINDS
def test_a_fault_is_found_and_its_seed_repeats_it(program: Program, patch: bool) -> None:
    with pytest.raises(testing.ScheduleFailed) as caught:
        testing.explore(lambda: program(False), patch=patch)
    failure = caught.value
    for _ in range(10):
        with pytest.raises(type(failure.error)):
            testing.replay(lambda: program(False), failure.seed, patch=patch)
    with pytest.raises(type(failure.error)):
        testing.replay(lambda: program(False), failure.schedule, patch=patch)
    assert "goes on" in failure.trace
    assert f"seed={failure.seed}" in str(failure)


@pytest.mark.time_limit(60 + SCHEDULES)
@KINDS
def test_the_right_version_passes(program: Program, patch: bool) -> None:
    testing.explore(lambda: program(True), schedules=SCHEDULES, patch=patch)


def test_a_program_that_never_ends_fails() -> None:
    import greenpool

    def spin() -> None:
        while True:
            greenpool.sleep(0)

    def main() -> None:
        greenpool.spawn(spin)

    with pytest.raises(testing.ScheduleFailed, match="StepsExceeded"):
        testing.explore(main, schedules=1, steps=500)


def test_a_text_that_is_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="not a schedule"):
        testing.replay(lambda: None, "nonsense")


def test_the_links_of_a_greenlet_start_in_order() -> None:
    import greenpool

    def main() -> None:
        called: list[int] = []
        greenlet = greenpool.spawn(greenpool.sleep, 0)
        for number in range(3):
            greenlet.link(lambda _, number=number: called.append(number))
        greenpool.sleep(1)
        assert called == [0, 1, 2]

    testing.explore(main, schedules=100)
