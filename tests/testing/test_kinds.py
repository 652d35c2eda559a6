"""explore finds the faults of programs that were not written with it in mind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greenpool import testing

from . import kinds, kinds_threads

Program = Callable[[bool], None]

KINDS = pytest.mark.parametrize(
    ("program", "patch"),
    [(program, False) for program in kinds.PROGRAMS]
    + [pytest.param(program, True, marks=pytest.mark.slow) for program in kinds_threads.PROGRAMS],
    ids=lambda value: value.__name__ if callable(value) else "threads" if value else "greenlets",
)


@KINDS
def test_a_fault_is_found_and_its_seed_repeats_it(program: Program, patch: bool) -> None:
    with pytest.raises(testing.ScheduleFailed) as caught:
        testing.explore(lambda: program(False), patch=patch)
    failure = caught.value
    for schedule in (failure.seed, failure.schedule):
        with pytest.raises(type(failure.error)):
            testing.replay(lambda: program(False), schedule, patch=patch)


@KINDS
def test_the_right_version_passes(program: Program, patch: bool) -> None:
    testing.explore(lambda: program(True), schedules=50, patch=patch)
