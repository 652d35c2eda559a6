"""preempt="lines": other threads come between the lines of a program, and within a line."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import greenpool
from greenpool import testing
from greenpool.lock import Lock


class Counter:
    def __init__(self) -> None:
        self.count = 0


def count_in_threads(right: bool) -> None:
    counter, lock = Counter(), threading.Lock()

    def work() -> None:
        for _ in range(2):
            if right:
                with lock:
                    counter.count += 1
            else:
                counter.count += 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.count == 4


def count_on_hubs(right: bool) -> None:
    counts, lock = {"all": 0}, Lock()

    def work() -> None:
        if right:
            with lock:
                counts["all"] += 1
        else:
            counts["all"] += 1

    for greenlet in [greenpool.spawn(work) for _ in range(2)]:
        greenlet.get()
    assert counts["all"] == 2


@pytest.mark.parametrize(("program", "patch"), [(count_on_hubs, False), (count_in_threads, True)])
def test_an_increment_is_lost_between_read_and_write(program: Callable[[bool], None], patch: bool) -> None:
    with pytest.raises(testing.ScheduleFailed, match="line at test_lines.py") as caught:
        testing.explore(lambda: program(False), patch=patch, preempt="lines")
    with pytest.raises(AssertionError):
        testing.replay(lambda: program(False), caught.value.seed, patch=patch, preempt="lines")
    with pytest.raises(AssertionError):
        testing.replay(lambda: program(False), caught.value.schedule, patch=patch, preempt="lines")
    testing.explore(lambda: program(True), schedules=30, patch=patch, preempt="lines")


def test_greenlets_of_one_hub_do_not_preempt_each_other() -> None:
    testing.explore(lambda: count_on_hubs(False), hubs=1, schedules=30, preempt="lines")


def test_without_it_an_increment_is_one_step() -> None:
    testing.explore(lambda: count_on_hubs(False), schedules=30)
