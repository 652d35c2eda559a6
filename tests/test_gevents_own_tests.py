"""The lists of tests.gevent are well formed, and say of each test one thing.

This file is not in tests/gevent, because pytest would import that under the name of gevent.
"""

import sys
from pathlib import Path

import pytest

from documents import ROOT

sys.path.append(str(ROOT))

from tests.cpython import watch  # noqa: E402
from tests.gevent.count import EXCEPTIONS, INTERNALS, Count, Reasons, passing  # noqa: E402

TESTS = [test for tests in passing().values() for test in tests]


def test_the_tests_that_pass_are_named_once() -> None:
    assert len(TESTS) == len(set(TESTS)) > 1_700
    assert all(test.startswith("test__") and test.count(".") >= 2 for test in TESTS)


@pytest.mark.parametrize("path", [INTERNALS, EXCEPTIONS], ids=lambda path: path.stem)
def test_every_line_of_a_list_is_for_a_test_that_passes_with_gevent(path: Path) -> None:
    for pattern in Reasons.read(path).reasons:
        assert any(Reasons({pattern: "a reason"}).find(test) for test in TESTS), pattern


def test_no_test_is_in_both_lists() -> None:
    internals, exceptions = Reasons.read(INTERNALS), Reasons.read(EXCEPTIONS)
    assert [test for test in TESTS if internals.find(test) and exceptions.find(test)] == []


def test_at_most_one_counted_test_in_20_is_excepted() -> None:
    internals, exceptions = Reasons.read(INTERNALS), Reasons.read(EXCEPTIONS)
    counted = [test for test in TESTS if internals.find(test) is None]
    assert sum(exceptions.find(test) is not None for test in counted) <= len(counted) / 20


@pytest.mark.parametrize("line", ["test__x.X.test", "test__x.X.test: ", "x: reason"])
def test_a_line_without_a_test_or_a_reason_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"# a comment\n\n{line}\n")
    with pytest.raises(ValueError, match="line 3"):
        Reasons.read(path)


def test_a_count_tells_kept_lost_and_excepted_apart() -> None:
    outcomes = {
        "test__x.X.kept": watch.Outcome("passed"),
        "test__x.X.lost": watch.Outcome("failed"),
        "test__x.X.excepted": watch.Outcome("error"),
    }
    count = Count("test__x", watch.Run(outcomes), Reasons({"test__x.*.ex*": "why"}))
    assert (count.passes, count.kept) == (3, 1)
    assert list(count.lost) == ["test__x.X.lost"]
    assert list(count.excepted) == ["test__x.X.excepted"]
