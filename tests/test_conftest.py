"""The time limit itself: a test that hangs ends the run, and the report shows where every thread stood.

The same holds for a run over several processes, which `-n` of pytest-xdist starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT

pytestmark = pytest.mark.slow

PARKED = """
import threading
import greenlet
import pytest

def parked_here():
    greenlet.getcurrent().parent.switch()

# One is older than the frozen heap (see fast_collections in conftest.py).
greenlets = [greenlet.greenlet(parked_here)]
greenlets[0].switch()

@pytest.mark.time_limit(0.1)
def test_that_hangs():
    greenlets.extend(greenlet.greenlet(parked_here) for _ in range(2))
    for each in greenlets[1:]:
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


DEATH_AT_THE_END = """
import os
import pytest

def test_that_passes():
    pass

@pytest.fixture(scope="session", autouse=True)
def death_of_the_process(request):
    class Plugin:
        @staticmethod
        def pytest_sessionfinish():
            os._exit(3)

    request.config.pluginmanager.register(Plugin)
"""


def run_of(test: str, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run this test with the time limit of this suite; the run must fail."""
    (directory / "tests").mkdir()
    shutil.copy(ROOT / "pyproject.toml", directory)
    shutil.copy(ROOT / "tests" / "conftest.py", directory / "tests")
    (directory / "tests" / "test_it.py").write_text(test)
    # Without what a pytest with -n tells its own processes.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert run.returncode == 1
    return run


def report_of(test: str, directory: Path) -> str:
    """What a run of this test writes to stderr."""
    return run_of(test, directory).stderr


def check_report_of_parked(report: str) -> None:
    assert "Time limit exceeded: tests/test_it.py::test_that_hangs" in report
    assert re.search(r"line \d+ in test_that_hangs", report)
    assert "Parked greenlets with this stack: 3" in report
    assert re.search(r"line \d+, in parked_here", report)


def test_hanging_test_is_ended_with_the_stacks_of_threads_and_greenlets(tmp_path: Path) -> None:
    check_report_of_parked(report_of(PARKED, tmp_path))


def test_hanging_test_ends_a_run_over_several_processes_too(tmp_path: Path) -> None:
    run = run_of(PARKED + "\ndef test_after_it():\n    pass\n", tmp_path, "-n", "1")
    check_report_of_parked(run.stderr)
    assert "FAILED tests/test_it.py::test_that_hangs" in run.stdout
    # No second process has gone on with the rest.
    assert re.search("^=+ 1 failed in", run.stdout, re.M)


def test_run_over_several_processes_fails_when_one_dies_after_its_last_test(tmp_path: Path) -> None:
    run = run_of(DEATH_AT_THE_END, tmp_path, "-n", "1")
    assert "worker gw0 crashed" in run.stdout


def test_hanging_teardown_of_a_failed_test_is_ended_too(tmp_path: Path) -> None:
    assert "Time limit exceeded: tests/test_it.py::test_that_fails" in report_of(TEARDOWN, tmp_path)
