"""The harness itself, on tests that are known to be kept, lost, hung and crashed (sample.py)."""

import pytest

from . import baseline, count, watch

MODULE = "tests.cpython.sample"
UNPATCHED = watch.Setting()
PATCHED = watch.Setting("import sys; sys.patched = True")


@pytest.fixture(scope="module")
def names() -> list[str]:
    return watch.collect(MODULE, UNPATCHED)


def of_class(names: list[str], *classes: str) -> list[str]:
    return [name for name in names if name.split(".")[1] in classes]


def outcomes(run: watch.Run) -> dict[str, str]:
    return {name.partition(".")[2]: one.outcome for name, one in run.outcomes.items()}


def test_names_are_unique_and_in_the_order_of_unittest(names: list[str]) -> None:
    assert len(set(names)) == len(names)
    assert names[0] == "sample.Crash.test_1_before"
    assert names[-1] == "sample.Plain.test_passes#2"


def test_unpatched_outcomes(names: list[str]) -> None:
    run = watch.run(MODULE, names, UNPATCHED)
    assert {name: outcome for name, outcome in outcomes(run).items() if outcome != "passed"} == {
        "Plain.test_expected_failure_stays": "expected failure",
        "Plain.test_fails_always": "failed",
        "Plain.test_skipped_always": "skipped",
    }
    assert {one.detail for one in run.outcomes.values() if one.passed} == {""}
    assert run.outcomes["sample.Plain.test_skipped_always"].detail == "always"
    assert list(run.outcomes) == names
    assert run.outside == {}


def test_every_way_to_lose_a_test(names: list[str]) -> None:
    run = watch.run(MODULE, of_class(names, "Plain"), PATCHED)
    lost = {name: one for name, one in outcomes(run).items() if "test_lost" in name}
    assert lost == {
        "Plain.test_lost_by_error": "error",
        "Plain.test_lost_by_skip": "skipped",
        "Plain.test_lost_in_a_subtest": "failed",
        "Plain.test_lost_in_its_cleanup": "failed",
    }
    detail = run.outcomes["sample.Plain.test_lost_by_error"].detail
    assert "OSError: when patched" in detail
    assert "printed by the test" in detail


def test_a_crash_costs_one_test(names: list[str]) -> None:
    run = watch.run(MODULE, of_class(names, "Crash"), PATCHED)
    assert outcomes(run) == {
        "Crash.test_1_before": "passed",
        "Crash.test_2_crash": "crashed",
        "Crash.test_3_after": "passed",
    }
    detail = run.outcomes["sample.Crash.test_2_crash"].detail
    assert "signal 6" in detail
    assert "last words" in detail


@pytest.mark.slow
def test_a_hang_costs_one_test_and_shows_its_stack(names: list[str]) -> None:
    setting = watch.Setting(PATCHED.patch, limit=5)
    run = watch.run(MODULE, of_class(names, "Hang"), setting)
    assert outcomes(run) == {
        "Hang.test_1_before": "passed",
        "Hang.test_2_hang": "hung",
        "Hang.test_3_after": "passed",
    }
    assert "in wait_for_ever" in run.outcomes["sample.Hang.test_2_hang"].detail


@pytest.mark.slow
def test_a_hang_in_a_fixture_costs_the_tests_of_its_class(names: list[str]) -> None:
    setting = watch.Setting(PATCHED.patch, limit=5)
    tests = of_class(names, "HangInSetUpClass") + of_class(names, "Plain")[:1]
    run = watch.run(MODULE, tests, setting)
    assert outcomes(run) == {
        "HangInSetUpClass.test_1": "hung",
        "HangInSetUpClass.test_2": "not run",
        "Plain.test_expected_failure_stays": "expected failure",
    }


@pytest.mark.slow
def test_a_hang_at_exit_costs_no_test_and_is_told(names: list[str]) -> None:
    setting = watch.Setting(PATCHED.patch, limit=5)
    run = watch.run(MODULE, of_class(names, "Exit"), setting)
    assert outcomes(run) == {"Exit.test_leaves_a_thread_that_never_ends": "passed"}
    assert {where: one.outcome for where, one in run.outside.items()} == {"exit of the process": "hung"}


def test_errors_in_fixtures(names: list[str]) -> None:
    tests = of_class(names, "ErrorInSetUpClass", "ErrorInTearDownClass")
    run = watch.run(MODULE, tests, PATCHED)
    assert outcomes(run) == {
        "ErrorInSetUpClass.test_1": "not run",
        "ErrorInTearDownClass.test_1": "passed",
    }
    assert "no server" in run.outcomes["sample.ErrorInSetUpClass.test_1"].detail
    (where,) = run.outside
    assert where == "tearDownClass (tests.cpython.sample.ErrorInTearDownClass)"


def test_a_patch_that_fails_loses_every_test_with_its_traceback(names: list[str]) -> None:
    tests = of_class(names, "Plain")
    run = watch.run(MODULE, tests, watch.Setting("raise RuntimeError('no patch')"))
    assert {one.outcome for one in run.outcomes.values()} == {"crashed", "not run"}
    assert "RuntimeError: no patch" in run.outcomes[tests[0]].detail


def test_count_tells_kept_lost_and_excepted_apart() -> None:
    run = watch.Run(
        {
            "m.C.kept": watch.Outcome("passed"),
            "m.C.lost": watch.Outcome("failed"),
            "m.C.excepted": watch.Outcome("failed"),
            "m.C.hung": watch.Outcome("hung"),
            "m.C.needless": watch.Outcome("passed"),
        }
    )
    exceptions = dict.fromkeys(("m.C.excepted", "m.C.hung", "m.C.needless"), "a reason")
    one = count.Count("m", run, exceptions)
    assert (one.passes, one.kept, list(one.lost)) == (5, 2, ["m.C.lost"])
    assert list(one.excepted) == ["m.C.excepted", "m.C.hung"]
    assert one.needless == ["m.C.needless"]
    assert one.faults() == [
        "lost (failed): m.C.lost",
        "in exceptions.txt but hung: m.C.hung",
    ]


def test_a_test_that_never_waits_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = watch.Outcome("passed")
    tests = ["m.C.runs", "m.C.computes"]
    unpatched = baseline.Baseline(tests, [watch.Run(dict.fromkeys(tests, passed)) for _ in range(2)])
    monkeypatch.setattr(baseline, "measure", lambda *_: unpatched)
    monkeypatch.setattr(watch, "run", lambda module, tests, setting: watch.Run(dict.fromkeys(tests, passed)))
    reason = f"{count.NEVER_WAITS}, in a thread"
    monkeypatch.setattr(count, "read_exceptions", lambda: {"m.C.computes": reason})
    one = count.count("m", count.Selection(), PATCHED)
    assert (one.passes, one.kept, one.faults()) == (2, 1, [])
    assert [outcome.outcome for outcome in one.excepted.values()] == ["not run"]


def test_at_most_one_test_in_200_is_excepted() -> None:
    run = watch.Run({f"m.C.t{n}": watch.Outcome("passed") for n in range(400)})
    two, three = (dict.fromkeys(list(run.outcomes)[:n], "a reason") for n in (2, 3))
    assert count.too_many_exceptions([count.Count("m", run, two)]) is None
    assert count.too_many_exceptions([count.Count("m", run, three)]) is not None


def test_only_tests_that_pass_in_both_runs_count() -> None:
    passed, failed = watch.Outcome("passed", 0.5), watch.Outcome("failed", 2.0)
    measured = baseline.Baseline(
        ["m.C.always", "m.C.once"],
        [
            watch.Run({"m.C.always": passed, "m.C.once": passed}),
            watch.Run({"m.C.always": passed, "m.C.once": failed}),
        ],
    )
    assert [measured.passes(test) for test in measured.tests] == [True, False]
    assert measured.seconds("m.C.once") == 0.5


def test_the_lists_are_well_formed() -> None:
    assert all(test.partition(".")[0] in count.MODULES for test in count.read_exceptions())
    assert all(test.partition(".")[0] in count.MODULES for test in baseline.read_slow())
