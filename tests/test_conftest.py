"""The time limit itself: a test that hangs ends the run, and the report shows where every thread stood."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from documents import ROOT

PARKED = """
import threading
import greenlet
import pytest

@pytest.mark.time_limit(0.1)
def test_that_hangs():
    def parked_here():
        greenlet.getcurrent().parent.switch()
    greenlets = [greenlet.greenlet(parked_here) for _ in range(3)]
    for each in greenlets:
        each.switch()
    threading.Event().wait()
"""

TEARDOWN = """
import threading
import pytest

@pytest.fixture
def hanging_teardown():
    yield
    threading.Event().wait()

@pytest.mark.time_limit(0.1)
def test_that_fails(hanging_teardown):
    raise ValueError
"""


def report_of(test: str, directory: Path) -> str:
    """Run this test with the time limit of this suite, and return what the run writes to stderr."""
    (directory / "tests").mkdir()
    shutil.copy(ROOT / "pyproject.toml", directory)
    shutil.copy(ROOT / "tests" / "conftest.py", directory / "tests")
    (directory / "tests" / "test_it.py").write_text(test)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert run.returncode == 1
    return run.stderr


def test_hanging_test_is_ended_with_the_stacks_of_threads_and_greenlets(tmp_path: Path) -> None:
    report = report_of(PARKED, tmp_path)
    assert "Time limit exceeded: tests/test_it.py::test_that_hangs" in report
    assert re.search(r"line \d+ in test_that_hangs", report)
    assert "Parked greenlets with this stack: 3" in report
    assert re.search(r"line \d+, in parked_here", report)


def test_hanging_teardown_of_a_failed_test_is_ended_too(tmp_path: Path) -> None:
    assert "Time limit exceeded: tests/test_it.py::test_that_fails" in report_of(TEARDOWN, tmp_path)
