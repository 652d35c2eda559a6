"""The plugin for pytest: a time limit with all stacks, and what a test leaves behind.

All of this holds for a run over several processes as well, which `-n` of pytest-xdist starts.
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
import gc
import threading
import greenlet
import pytest

def parked_here():
    greenlet.getcurrent().parent.switch()

# One lies in a frozen heap.
greenlets = [greenlet.greenlet(parked_here)]
greenlets[0].switch()
gc.freeze()

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


SPIN_IN_C = """
import pytest
import greenpool.pytest_plugin

greenpool.pytest_plugin.GRACE = 0.1

@pytest.fixture
def hanging_teardown():
    yield
    # It keeps the GIL. Without one the other watcher ends it.
    sum(range(10**12))

@pytest.mark.time_limit(0.4)
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


ASKED_FOR = """
[tool.pytest.ini_options]
addopts = ["--strict-markers", "--strict-config", "--max-worker-restart=0"]
greenpool_time_limit = "60"
"""


def run_of(
    test: str, directory: Path, *options: str, configuration: str = ASKED_FOR
) -> subprocess.CompletedProcess[str]:
    (directory / "pyproject.toml").write_text(configuration)
    (directory / "test_it.py").write_text(test)
    # Without what a pytest with -n tells its own processes.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )


def failed(run: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert run.returncode == 1, run.stdout + run.stderr
    return run


def check_report_of_parked(report: str) -> None:
    assert "Time limit exceeded: test_it.py::test_that_hangs" in report
    assert report.endswith("\nTime limit exceeded: test_it.py::test_that_hangs\n")
    assert re.search(r"line \d+ in test_that_hangs", report)
    assert "Parked greenlets with this stack: 3" in report
    assert re.search(r"line \d+, in parked_here", report)


def test_hanging_test_is_ended_with_the_stacks_of_threads_and_greenlets(tmp_path: Path) -> None:
    check_report_of_parked(failed(run_of(PARKED, tmp_path)).stderr)


def test_a_marker_alone_sets_a_limit(tmp_path: Path) -> None:
    check_report_of_parked(failed(run_of(PARKED, tmp_path, configuration="")).stderr)


def test_hanging_test_ends_a_run_over_several_processes_too(tmp_path: Path) -> None:
    run = failed(run_of(PARKED + "\ndef test_after_it():\n    pass\n", tmp_path, "-n", "1"))
    check_report_of_parked(run.stderr)
    assert "FAILED test_it.py::test_that_hangs" in run.stdout
    # No second process has gone on with the rest.
    assert re.search("^=+ 1 failed in", run.stdout, re.M)


def test_hanging_teardown_of_a_failed_test_is_ended_too(tmp_path: Path) -> None:
    run = failed(run_of(TEARDOWN, tmp_path))
    assert "Time limit exceeded: test_it.py::test_that_fails" in run.stderr


def test_a_call_in_c_that_never_ends_is_ended_too(tmp_path: Path) -> None:
    """faulthandler's own timer does it, even where pytest's plugin of that name has cancelled it."""
    run = failed(run_of(SPIN_IN_C, tmp_path))
    assert re.search(r"Timeout \(0:00:|Time limit exceeded", run.stderr)
    assert "in hanging_teardown" in run.stderr


@pytest.mark.parametrize("wrong", ["-1", "soon", "nan"])
def test_a_limit_that_is_no_limit_is_refused(tmp_path: Path, wrong: str) -> None:
    configuration = ASKED_FOR.replace('"60"', f'"{wrong}"')
    run = run_of(PARKED, tmp_path, configuration=configuration)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"greenpool_time_limit must be a number of seconds above 0, not '{wrong}'" in run.stderr


def test_a_marker_without_a_number_fails_its_test(tmp_path: Path) -> None:
    run = run_of(PARKED.replace("(0.1)", '("soon")'), tmp_path)
    assert run.returncode != 0
    assert "time_limit takes a number of seconds above 0, not ('soon',)" in run.stdout + run.stderr


LEAKS = """
import os
import threading
import greenpool
import pytest

kept = []

@pytest.mark.leak_check
def test_a_greenlet():
    kept.append(greenpool.spawn(greenpool.sleep, 1000))
    greenpool.sleep(0)

@pytest.mark.leak_check
def test_a_thread():
    thread = threading.Thread(target=threading.Event().wait, daemon=True, name="left here")
    thread.start()

@pytest.mark.leak_check
def test_a_descriptor():
    kept.append(os.dup(0))

@pytest.mark.leak_check
def test_nothing():
    # It ends in its next turn.
    greenpool.spawn(greenpool.sleep, 0)

def test_that_was_not_asked():
    kept.append(os.dup(0))
"""


def test_what_a_test_leaves_behind_fails_it(tmp_path: Path) -> None:
    run = failed(run_of(LEAKS, tmp_path))
    assert re.search(r"left behind: greenlet Greenlet-\d+ \(parked\)", run.stdout)
    assert "left behind: thread left here" in run.stdout
    assert re.search(r"left behind: descriptor \d+", run.stdout)
    assert "5 passed, 3 errors" in run.stdout


def test_all_tests_may_be_looked_at(tmp_path: Path) -> None:
    run = failed(run_of(LEAKS, tmp_path, configuration=ASKED_FOR + "greenpool_leak_check = true\n"))
    assert "5 passed, 4 errors" in run.stdout


QUIET = """
import sys
import threading

def test_that_asks_for_nothing(request):
    assert threading.active_count() == 1
    assert not {"greenpool.inspect", "greenpool.testing"} & set(sys.modules)

def test_a_pool(greenpool_runtime):
    assert greenpool_runtime.block_on(lambda: "on a hub") == "on a hub"
"""


def test_the_plugin_is_quiet_unless_it_is_asked(tmp_path: Path) -> None:
    run = run_of(QUIET, tmp_path, configuration="")
    assert run.returncode == 0, run.stdout
    assert run.stderr == ""


def test_run_over_several_processes_fails_when_one_dies_after_its_last_test(tmp_path: Path) -> None:
    """That is what this suite's own conftest.py adds, as xdist ignores it."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    assert "worker gw0 crashed" in failed(run_of(DEATH_AT_THE_END, tmp_path, "-n", "1")).stdout
