"""The book of the live page: what it tells as changed from one look to the next."""

from __future__ import annotations

from typing import Any

from greenpool.console import book
from greenpool.console.book import Book

FRAMES = [["app.py", 3, "serve"]]


def greenlet(ident: int, state: str = "parked", age: float | None = 9.0, **fields: Any) -> list[Any]:
    """A row of an answer."""
    given = {"name": f"Greenlet-{ident}", "hub": "hub", "parked": 5.0, "waits_for": "", "stack": 0} | fields
    place = ["app.py", 1, "main"]
    start = [ident, given["name"], given["hub"], state, age, given["parked"] if state == "parked" else None]
    return [*start, None, None, place, "Event.wait", given["waits_for"], [], given["stack"]]


def hub(since: float | None = None, runs: str | None = None) -> list[Any]:
    state = "asleep" if since is None else "running"
    return [
        "hub",
        1,
        state,
        {"live": 1, "ready": 0, "descriptors": 0},
        runs,
        since,
        FRAMES if runs else [],
        True,
    ]


def answer(time: float, *greenlets: list[Any], **fields: Any) -> dict[str, Any]:
    given = {
        "hubs": [hub()],
        "turns": {},
        "stacks": [FRAMES],
        "pid": 7,
        "cost": 0.01,
        "watched": 1.0,
    } | fields
    return given | {"time": time, "greenlets": list(greenlets)}


def idents(change: dict[str, Any]) -> list[int]:
    return [row[0] for row in change["greenlets"]]


def test_the_first_look_tells_everything() -> None:
    change = Book().take(answer(100.0, greenlet(1), greenlet(2)))
    assert change["all"]
    assert idents(change) == [1, 2]
    assert change["stacks"] == {"0": FRAMES}
    # Moments in the place of ages.
    assert change["greenlets"][0][4:6] == [91.0, 95.0]


def test_a_greenlet_that_goes_on_waiting_is_not_told_again() -> None:
    taken = Book()
    taken.take(answer(100.0, greenlet(1)))
    # The hubs look at their clocks at slightly other moments.
    change = taken.take(answer(101.0, greenlet(1, age=10.01, parked=5.98)))
    assert not change["all"]
    assert (change["greenlets"], change["gone"], change["stacks"]) == ([], [], {})


def test_a_greenlet_that_waits_anew_is_told() -> None:
    taken = Book()
    taken.take(answer(100.0, greenlet(1)))
    (row,) = taken.take(answer(101.0, greenlet(1, age=10.0, parked=0.5)))["greenlets"]
    assert row[4:6] == [91.0, 100.5]


def test_another_greenlet_with_the_same_identifier_is_told() -> None:
    taken = Book()
    taken.take(answer(100.0, greenlet(1)))
    (row,) = taken.take(answer(101.0, greenlet(1, age=0.5, parked=0.5)))["greenlets"]
    assert row[4:6] == [100.5, 100.5]


def test_new_ones_other_states_and_the_end() -> None:
    taken = Book()
    taken.take(answer(100.0, greenlet(1), greenlet(2), greenlet(3)))
    change = taken.take(
        answer(101.0, greenlet(1, age=10.0, parked=6.0), greenlet(2, "ready", age=10.0), greenlet(4))
    )
    assert idents(change) == [2, 4]
    assert change["gone"] == [3]
    assert idents(taken.everything()) == [1, 2, 4]


def test_a_stack_keeps_its_number() -> None:
    taken = Book()
    taken.take(answer(100.0, greenlet(1)))
    other = [["app.py", 8, "other"]]
    change = taken.take(
        answer(
            101.0, greenlet(1, age=10.0, parked=6.0, stack=1), greenlet(2, stack=0), stacks=[other, FRAMES]
        )
    )
    assert change["stacks"] == {"1": other}
    assert [(row[0], row[12]) for row in change["greenlets"]] == [(2, 1)]
    assert taken.everything()["stacks"] == {0: FRAMES_AS_KEY, 1: (("app.py", 8, "other"),)}


FRAMES_AS_KEY = (("app.py", 3, "serve"),)


def test_a_stack_that_is_not_known() -> None:
    (row,) = Book().take(answer(100.0, greenlet(1, stack=None)))["greenlets"]
    assert row[12] is None


def test_it_begins_anew_when_it_has_seen_too_many_stacks(monkeypatch: Any) -> None:
    monkeypatch.setattr(book, "MOST_STACKS", 1)
    taken = Book()
    stacks = [[["app.py", line, "run"]] for line in range(2)]
    taken.take(answer(100.0, greenlet(1), greenlet(2, stack=1), stacks=stacks))
    change = taken.take(answer(101.0, greenlet(1, age=10.0, parked=6.0)))
    assert change["all"]
    assert idents(change) == [1]


def test_passes_are_those_of_one_second() -> None:
    turns = {"hub": [300, 0.5, 0.01, "", [], ""]}
    (told,) = Book().take(answer(100.0, turns=turns, watched=3.0))["hubs"]
    assert (told["passes"], told["busy"], told["longest"]) == (100.0, 0.5, 0.01)


# Stalls.


def stalls(change: dict[str, Any]) -> list[tuple[str, float, bool]]:
    return [(stall["runs"], stall["seconds"], stall["over"]) for stall in change["stalls"]]


def test_a_stall_grows_and_ends() -> None:
    taken = Book()
    busy = hub(0.25, "Greenlet-7")
    assert stalls(taken.take(answer(100.0, hubs=[busy]))) == [("Greenlet-7", 0.25, False)]
    busy = hub(1.25, "Greenlet-7")
    assert stalls(taken.take(answer(101.0, hubs=[busy]))) == [("Greenlet-7", 1.25, False)]
    turns = {"hub": [3, 0.5, 0.4, "Greenlet-7", FRAMES, ""]}
    assert stalls(taken.take(answer(102.0, turns=turns))) == [("Greenlet-7", 1.25, True)]
    assert stalls(taken.take(answer(103.0))) == [("Greenlet-7", 1.25, True)]


def test_a_stall_between_two_looks() -> None:
    turns = {"hub": [3, 0.5, 0.4, "Greenlet-8", FRAMES, "time.sleep waits"]}
    change = Book().take(answer(100.0, turns=turns))
    assert stalls(change) == [("Greenlet-8", 0.4, True)]
    assert change["stalls"][0]["stack"] == FRAMES
    assert change["stalls"][0]["blocked_by"] == "time.sleep waits"


def test_short_turns_are_no_stalls() -> None:
    turns = {"hub": [3, 0.5, 0.05, "", [], ""]}
    assert stalls(Book().take(answer(100.0, hubs=[hub(0.01, "Greenlet-7")], turns=turns))) == []


def test_the_last_stalls_are_kept() -> None:
    taken = Book()
    for number in range(book.MOST_STALLS + 5):
        turns = {"hub": [3, 0.5, 0.4, f"Greenlet-{number}", FRAMES, ""]}
        change = taken.take(answer(100.0 + number, turns=turns))
    assert len(change["stalls"]) == book.MOST_STALLS
    assert change["stalls"][-1]["runs"] == f"Greenlet-{number}"


def test_a_hub_that_ends_ends_its_stall() -> None:
    taken = Book()
    taken.take(answer(100.0, hubs=[hub(0.25, "Greenlet-7")]))
    assert stalls(taken.take(answer(101.0, hubs=[]))) == [("Greenlet-7", 0.25, True)]
