"""explore finds each race of mended.py within 1,000 schedules once its mend is taken away, and not before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenpool._core.native import HAS_GIL
from greenpool._core.speedups import speedups

from .mended import RACES, Race

TESTS = Path(__file__).parent.parent

# Each race runs in a child without the C extension, so one of the runs of .ci/run is enough.
pytestmark = pytest.mark.skipif(
    speedups is None or not HAS_GIL, reason="the run with the C extension and a GIL has these tests"
)

# Under which a race passes as long as its mend is there.
SCHEDULES = int(os.environ.get("GREENPOOL_TEST_SCHEDULES", "25"))

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


@pytest.mark.time_limit(120 + SCHEDULES)
@EACH
def test_a_race_is_found_once_its_mend_is_taken_away(race: Race) -> None:
    said = _tried(race, SCHEDULES, 1000)
    assert said[0] == "with the mend: passes", said
    assert said[-1].startswith("without: fails under schedule "), said
