"""The Trace Event format: what Perfetto and chrome://tracing demand of a file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .program import record_everything

Event = dict[str, Any]

# The fields that each kind of event has besides those of all.
FIELDS: dict[str, set[str]] = {
    "M": {"args"},
    "X": {"cat", "dur", "args"},
    "i": {"cat", "s"},
    "b": {"cat", "id", "args"},
    "e": {"cat", "id"},
    "s": {"cat", "id"},
    "f": {"cat", "id", "bp"},
}
OPTIONAL = {"args", "cname"}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    record_everything(path)
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def events(trace: dict[str, Any]) -> list[Event]:
    found: list[Event] = trace["traceEvents"]
    return found


def named(events: list[Event], text: str, kind: str = "X") -> list[Event]:
    return [event for event in events if event["ph"] == kind and text in event["name"]]


def test_every_event_has_the_fields_of_its_kind(trace: dict[str, Any], events: list[Event]) -> None:
    assert set(trace) == {"displayTimeUnit", "otherData", "traceEvents"}
    for event in events:
        assert {"ph", "pid", "tid", "ts", "name"} <= set(event)
        more = set(event) - {"ph", "pid", "tid", "ts", "name"}
        assert FIELDS[event["ph"]] <= more <= FIELDS[event["ph"]] | OPTIONAL
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert event["ts"] >= 0
        assert event.get("dur", 0) >= 0
        assert event.get("s", "t") in "gpt"
        assert event.get("bp", "e") == "e"
    assert {event["ph"] for event in events} == set(FIELDS)


def test_the_times_rise(events: list[Event]) -> None:
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    assert times[-1] <= 60e6


def test_every_thread_has_a_name_and_a_place(events: list[Event]) -> None:
    names = {event["tid"]: event["args"]["name"] for event in named(events, "thread_name", "M")}
    assert list(names.values()) == ["hub MainThread", "hub greenpool-1", "hub greenpool-2"] or len(names) == 3
    assert {event["tid"] for event in events if event["ph"] != "M"} <= set(names)
    assert len(named(events, "thread_sort_index", "M")) == 3
    (process,) = named(events, "process_name", "M")
    assert str(process["pid"]) in process["args"]["name"]


def test_slices_of_a_thread_lie_in_each_other_or_apart(events: list[Event]) -> None:
    lanes: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            lanes[event["tid"]].append(event)
    for found in lanes.values():
        around: list[float] = []
        for event in sorted(found, key=lambda event: (event["ts"], -event["dur"])):
            end = event["ts"] + event["dur"]
            while around and around[-1] <= event["ts"] + 0.001:
                around.pop()
            # Rounded to nanoseconds.
            assert not around or end <= around[-1] + 0.002
            around.append(end)


@pytest.mark.parametrize(("begin", "end"), ["be", "sf"])
def test_what_begins_ends_later_and_once(events: list[Event], begin: str, end: str) -> None:
    begins = {event["cat"] + str(event["id"]): event["ts"] for event in events if event["ph"] == begin}
    ends = {event["cat"] + str(event["id"]): event["ts"] for event in events if event["ph"] == end}
    assert begins
    assert begins.keys() == ends.keys()
    assert sum(event["ph"] in (begin, end) for event in events) == 2 * len(begins)
    assert all(begins[each] <= ends[each] for each in begins)


def test_each_arrow_begins_and_ends_in_a_slice(events: list[Event]) -> None:
    slices = [event for event in events if event["ph"] == "X"]
    for arrow in (event for event in events if event["ph"] in "sf"):
        assert any(
            each["tid"] == arrow["tid"]
            and each["ts"] - 0.002 <= arrow["ts"] <= each["ts"] + each["dur"] + 0.002
            for each in slices
        )


def test_parks_say_why_and_wakes_say_who(events: list[Event]) -> None:
    waits = [event for event in named(events, "consume", "b") if "Queue.get" in event["name"]]
    assert len(waits) >= 2
    for event in waits:
        assert "to have an item" in event["args"]["waits_for"]
        assert "program.py" in event["args"]["stack"]
    producer = named(events, "produce")[0]["name"].partition(" ")[0]
    assert producer in {event["args"]["woken_by"] for event in waits}


CHECKS: dict[str, Callable[[list[Event]], bool]] = {
    "spawns": lambda events: bool(named(events, "spawn ", "i")),
    "timers": lambda events: bool(named(events, "timer: end of a sleep", "i")),
    "polls": lambda events: any(event["args"]["events"] for event in events if event.get("cat") == "poll"),
    "sleeps": lambda events: bool(named(events, "asleep")),
    "descriptors": lambda events: any(
        event["args"].get("woken_by", "").startswith("descriptor") for event in events if event["ph"] == "X"
    ),
}


@pytest.mark.parametrize("what", CHECKS)
def test_there_are(events: list[Event], what: str) -> None:
    assert CHECKS[what](events)


def test_the_stall_has_its_length_and_its_stack(events: list[Event]) -> None:
    # A busy machine may add others.
    (stall,) = (each for each in named(events, "stall: ", "i") if "compute_too_long" in each["name"])
    assert stall["args"]["seconds"] >= 0.5
    assert "compute_too_long" in stall["args"]["stack"]
    assert any(event.get("cname") == "terrible" for event in named(events, "compute_too_long"))


def test_a_recording_that_its_limit_has_ended_says_so(tmp_path: Path) -> None:
    from greenpool._core.recorder import Recorded
    from greenpool.trace import write

    write(Recorded(1, 0.0, 0.0, 1.0, [], [], 0.1, 5000), tmp_path / "t.json")
    about = json.loads((tmp_path / "t.json").read_text("utf-8"))["otherData"]
    assert about["ended_early"] == "at the limit of 5,000 entries"
