"""explore draws the shortest schedule that fails as the tracer does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import greenpool
from greenpool import testing
from greenpool.lock import Lock


def deadlock() -> None:
    first, second = Lock(), Lock()

    def work(one: Lock, other: Lock) -> None:
        greenpool.sleep(60)
        with one, other:
            pass

    greenpool.spawn(work, first, second)
    greenpool.spawn(work, second, first)


def test_the_file_has_what_each_greenlet_did_in_the_time_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "failed.json"
    with pytest.raises(testing.ScheduleFailed):
        testing.explore(deadlock, page=path)
    events = json.loads(path.read_text())["traceEvents"]
    lanes = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert lanes == {"hub main", "hub hub-1", "hub hub-2"}
    waits = [event["args"]["parks_in"] for event in events if "parks_in" in event.get("args", {})]
    assert sum("Lock.acquire" in wait for wait in waits) == 2
    microseconds = max(event["ts"] + event.get("dur", 0) for event in events)
    assert 60e6 <= microseconds < 61e6


def test_the_page_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "failed.html"
    with pytest.raises(testing.ScheduleFailed):
        testing.explore(deadlock, page=path)
    assert "hub-2" in path.read_text()


def test_nothing_is_written_if_nothing_fails(tmp_path: Path) -> None:
    testing.explore(lambda: None, schedules=2, page=tmp_path / "failed.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("page", "error"), [("failed.txt", ValueError), (7, TypeError)])
def test_a_name_that_is_none_is_refused(page: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="page must"):
        testing.explore(lambda: None, page=page)
