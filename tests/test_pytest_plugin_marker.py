"""The marker greenpool: the call of a test runs under schedules, and under a clock that jumps."""

from __future__ import annotations

import pytest

from greenpool.testing.plugin_marker import read_seed, settings_of
from inner_pytest import run

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.slow, pytest.mark.time_limit(180)]


RACE = """
import greenpool
import pytest
from greenpool.lock import Lock

def book(seats, lock):
    if seats["free"]:
        with lock:
            seats["free"] -= 1

@pytest.mark.greenpool(explore=200)
def test_booking():
    seats, lock = {"free": 1}, Lock()
    for _ in range(2):
        greenpool.spawn(book, seats, lock)
    greenpool.sleep(60)
    assert seats["free"] >= 0, "the seat was sold twice"
"""


def test_a_race_is_found_and_the_report_has_its_schedule(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(RACE)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*assert seats*",
            "*AssertionError: the seat was sold twice",
            "*greenpool: the schedule*",
            "failed under schedule * of 200, that of seed *",
            "*main on main: parks or ends at *.py:15, in test_booking; book #* goes on",
            "replay it: *pytest *.py::test_booking --greenpool-seed=*",
            "shortest schedule: *--greenpool-seed=*:*=*",
        ]
    )
    # The traceback begins in the test.
    result.stdout.no_fnmatch_line("*runtime.py*")


def test_the_commands_of_the_report_replay_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(RACE)
    lines = [line.split() for line in run(pytester).outlines if "--greenpool-seed=" in line]
    assert len(lines) == 2
    for line in lines:
        again = run(pytester, *line[line.index("pytest") + 1 :])
        again.assert_outcomes(failed=1)
        again.stdout.fnmatch_lines(["failed under the schedule *", "replay it: *"])


def test_a_seed_is_for_marked_tests_only(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(RACE + "\ndef test_not_marked():\n    greenpool.sleep(0.001)\n")
    # Under this schedule nothing of note happens.
    run(pytester, "--greenpool-seed=0:").assert_outcomes(passed=2)


INSIDE = """
import logging
import time
import unittest

import greenpool
import pytest

@pytest.fixture(params=[1, 2])
def number(request):
    return request.param

@pytest.mark.greenpool
@pytest.mark.parametrize("word", ["a", "b"])
def test_fixtures(number, word, capsys, caplog, monkeypatch, tmp_path):
    begun = time.monotonic()
    time.sleep(3600)
    assert time.monotonic() - begun == 3600
    print(word * number)
    assert capsys.readouterr().out == word * number + "\\n"
    logging.getLogger().warning("seen")
    assert caplog.messages == ["seen"]
    monkeypatch.setattr(time, "sleep", None)
    with pytest.raises(ZeroDivisionError):
        greenpool.spawn(lambda: 1 / 0).get()
    (tmp_path / "file").write_text(word)

class TestMethod:
    @pytest.mark.greenpool(hubs=0)
    def test_in_a_class(self):
        assert isinstance(self, TestMethod)
        greenpool.sleep(3600)

class Case(unittest.TestCase):
    def setUp(self):
        self.made = "once"

    @pytest.mark.greenpool(explore=3)
    def test_method_of_a_test_case(self):
        greenpool.sleep(3600)
        self.assertEqual(self.made, "once")

@pytest.mark.greenpool(explore=3)
def test_that_skips():
    pytest.skip("not here")

@pytest.mark.greenpool(explore=3)
@pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
def test_that_fails_as_expected():
    greenpool.spawn(lambda: 1 / 0)
"""


def test_what_pytest_has_works_inside(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(INSIDE)
    run(pytester).assert_outcomes(passed=6, skipped=1, xfailed=1)


def test_a_module_and_processes_of_xdist(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_module="""
        import time
        import pytest

        pytestmark = pytest.mark.greenpool

        def test_an_hour():
            time.sleep(3600)

        @pytest.mark.greenpool(clock="real", hubs=0)
        def test_the_nearest_marker_counts():
            begun = time.monotonic()
            time.sleep(0.01)
            assert time.monotonic() - begun < 3000
        """,
        test_race=RACE,
    )
    result = run(pytester, "-n", "1")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["shortest schedule: *"])


FAILURES = """
import greenpool
import pytest
from greenpool.lock import Lock

@pytest.mark.greenpool(explore=3)
def test_deadlock():
    lock = Lock()
    lock.acquire()
    lock.acquire()

@pytest.mark.greenpool(explore=3)
def test_fail():
    pytest.fail("no good")

@pytest.mark.greenpool(explore=3)
def test_fail_in_a_greenlet():
    greenpool.spawn(pytest.fail, "no good there")

@pytest.mark.greenpool(explore=3)
def test_with_a_cause():
    try:
        1 / 0
    except ZeroDivisionError:
        raise KeyError("that followed")
"""


def test_how_a_test_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILURES)
    result = run(pytester)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            ">*lock.acquire()",
            "*LoopExit: every greenlet of the run waits, and nothing can wake one; parked:",
            "*.py:9: LoopExit",
            "replay it: *",
            '>*pytest.fail("no good")',
            "shortest schedule: *",
            "*Failed: no good there",
            "replay it: *::test_fail_in_a_greenlet --greenpool-seed=0",
            "*ZeroDivisionError: division by zero",
            "*KeyError: 'that followed'",
        ]
    )
    result.stdout.no_fnmatch_line("*waiter.py*")


def test_a_fixture_that_the_schedules_share_is_noticed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def basket():
            return []

        @pytest.fixture
        def make_basket():
            return list

        @pytest.mark.greenpool(explore=3)
        def test_that_shares(basket):
            basket.append(1)
            assert len(basket) < 3

        @pytest.mark.greenpool(explore=3)
        def test_that_makes_its_own(make_basket):
            make_basket().append(1)
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1, passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*test_that_shares changes the value of its fixture 'basket'*"])


def test_hypothesis_draws_the_data_of_each_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import greenpool
        import pytest
        from hypothesis import given, note, settings
        from hypothesis import strategies as st

        @pytest.mark.greenpool(seed=1)
        @given(st.data())
        @settings(database=None, derandomize=True, deadline=None)
        def test_numbers(data):
            number = data.draw(st.integers())
            note("a note")
            greenpool.sleep(3600)
            assert number < 100
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 100 < 100", "failed under the schedule 1", "Draw 1: 100", "a note"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("hubs='two'", "has hubs='two', which must be a number of hubs"),
        ("hubs=True", "has hubs=True, which must be a number of hubs"),
        ("explore=0", "has explore=0, which must be a number of schedules"),
        ("clock='fast'", "has clock='fast', which must be"),
        ("seed='x'", "has seed='x', which must be a seed"),
        ("patch=1", "has patch=1, which must be True or False"),
        ("steps=0", "has steps=0, which must be"),
        ("threads=2", "has no argument 'threads'"),
        ("5", "takes named arguments only, not 5"),
        ("explore=5, seed='1:2=1'", "takes explore=5 with a number for seed, not '1:2=1'"),
        ("schedule=False", "takes schedule=False together with patch=True"),
        (
            "schedule=False, patch=True, hubs=3",
            "takes schedule=False together with patch=True and without hubs=3",
        ),
    ],
)
def test_a_wrong_argument_is_refused(request: pytest.FixtureRequest, arguments: str, text: str) -> None:
    test: pytest.Function = request.node
    test.add_marker(eval(f"pytest.mark.greenpool({arguments})"))
    with pytest.raises(pytest.UsageError) as caught:
        settings_of(test, None, False)
    assert str(caught.value).startswith(f"{test.nodeid}: the marker greenpool {text}")


def test_a_wrong_argument_ends_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.greenpool(hubs=-1)\ndef test_it(): pass\n")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "::test_it: the marker greenpool has hubs=-1, which must be" in result.stderr.str()


def test_what_cannot_run_under_a_schedule_is_refused(pytester: pytest.Pytester) -> None:
    test = "import pytest\n@pytest.mark.greenpool\n{}: pass\n"
    pytester.makepyfile(test.format("async def test_it()"))
    assert "takes an async test with patch=True only" in run(pytester).stderr.str()
    pytester.makepyfile(test.format("def test_it(greenpool_runtime)"))
    result = run(pytester)
    assert "does not go with the fixture greenpool_runtime" in result.stderr.str()
    # A process of pytest-xdist can only report it.
    result = run(pytester, "-n", "1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*does not go with the fixture greenpool_runtime*"])


@pytest.mark.parametrize("seed", ["soon", "1:2", ":", "1=2", "-1"])
def test_a_seed_that_is_none_is_refused(seed: str) -> None:
    with pytest.raises(pytest.UsageError, match=f"--greenpool-seed must be a seed .* not '{seed}'"):
        read_seed(seed)


def test_a_wrong_seed_ends_the_session(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--greenpool-seed=soon")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--greenpool-seed must be a seed" in result.stderr.str()


ALL_JUMP = """
import time
import greenpool
import pytest

def test_that_knows_nothing_of_it():
    seen = []
    greenpool.spawn(seen.append, 1)
    greenpool.sleep(0)
    assert seen == [1]
    begun = time.monotonic()
    assert not greenpool.spawn(time.sleep, 3600).join(1800)
    assert time.monotonic() - begun == 1800

def test_an_exception_of_a_greenlet_is_reported_only(capsys):
    greenpool.spawn(lambda: 1 / 0).join()
    assert "ZeroDivisionError" in capsys.readouterr().err

def test_a_pool_of_its_own(greenpool_runtime):
    assert greenpool_runtime.block_on(lambda: 1) == 1
"""


def test_the_clock_of_all_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ALL_JUMP)
    pytester.makeini("[pytest]\ngreenpool_clock = jump\n")
    run(pytester).assert_outcomes(passed=3)


def test_the_real_clock_may_be_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngreenpool_clock = jump\n")
    pytester.makepyfile(
        """
        import threading
        import time
        import greenpool
        import pytest

        # Each simulated run begins in January 2024.
        def is_real():
            return time.gmtime(time.time()).tm_year > 2024

        @pytest.mark.greenpool(hubs=3)
        def test_of_a_pool():
            assert is_real()
            assert len({greenpool.spawn(threading.get_ident).get() for _ in range(3)}) == 3

        @pytest.mark.greenpool(explore=3)
        def test_explored():
            assert not is_real()

        @pytest.mark.greenpool(hubs=0)
        def test_of_a_clock():
            assert threading.current_thread() is threading.main_thread()

        def test_not_marked():
            assert threading.current_thread() is threading.main_thread()
        """
    )
    run(pytester, "--greenpool-clock=real").assert_outcomes(passed=4)
    run(pytester).assert_outcomes(passed=1, failed=3)


def test_a_clock_that_is_none_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngreenpool_clock = fast\n")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 'greenpool_clock must be "jump" or "real", not \'fast\'' in result.stderr.str()
