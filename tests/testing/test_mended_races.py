"""explore finds each race of mended.py within 1,000 schedules once its mend is taken away, and not before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .mended import RACES, Race

TESTS = Path(__file__).parent.parent

EACH = pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)


def _tried(race: Race, with_it: int, without_it: int) -> list[str]:
    command = [sys.executable, "-m", "testing.mended", race.name, str(with_it), str(without_it)]
    child = subprocess.run(
        command,
        cwd=TESTS,
        env=os.environ | {"GREENPOOL_PUREPYTHON": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return child.stdout.splitlines()


@pytest.mark.time_limit(120)
@EACH
def test_a_race_is_found_once_its_mend_is_taken_away(race: Race) -> None:
    said = _tried(race, 25, 1000)
    assert said[0] == "with the mend: passes", said
    assert said[-1].startswith("without: fails under schedule "), said


@pytest.mark.slow
@pytest.mark.time_limit(300)
@EACH
def test_a_mended_race_is_not_found_in_a_thousand_schedules(race: Race) -> None:
    assert _tried(race, 1000, 0)[0] == "with the mend: passes"
