"""One @given draws data and schedule, and shrinks both."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import testing
from greenpool.lock import Lock


def _sum(numbers: list[int], right: bool) -> int:
    total = {"sum": 0}
    lock = Lock()

    def add(number: int) -> None:
        if right:
            with lock:
                total["sum"] += number
        else:
            seen = total["sum"]
            with lock:
                total["sum"] = seen + number

    for greenlet in [greenpool.spawn(add, number) for number in numbers]:
        greenlet.get()
    return total["sum"]


@given(st.lists(st.integers(0, 9), max_size=4), testing.schedules())
@settings(max_examples=50, deadline=None)
def test_a_right_program_holds_for_all_data_and_schedules(numbers: list[int], schedule: str) -> None:
    assert testing.replay(lambda: _sum(numbers, True), schedule) == sum(numbers)


def test_data_and_schedule_shrink() -> None:
    found: list[tuple[list[int], str]] = []

    @given(st.lists(st.integers(0, 9), max_size=4), testing.schedules())
    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    def check(numbers: list[int], schedule: str) -> None:
        if testing.replay(lambda: _sum(numbers, False), schedule) != sum(numbers):
            found.append((numbers, schedule))
            raise AssertionError

    try:
        check()
    except AssertionError:
        pass
    numbers, schedule = found[-1]
    assert sum(numbers) == 1
    assert schedule.count("=") <= 3
