"""Event and AsyncResult on two hubs under schedules, against models that know no concurrency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

import greenpool
from greenpool import testing
from greenpool.event import AsyncResult, Event

from .programs import HUBS, KILLS, PAUSES, SCHEDULES, STEP, Program, Subject, drawn, explored
from .sequential import EventModel, ResultModel

LIMITS = st.integers(0, 2)

EVENT = Subject(
    Event,
    EventModel(),
    {
        "wait": lambda event: event.wait(),
        "try": lambda event, steps: event.wait(steps * STEP),
        "is_set": lambda event: event.is_set(),
        "set": lambda event: event.set(),
        "clear": lambda event: event.clear(),
    },
    st.one_of(
        st.tuples(st.just("wait")),
        st.tuples(st.just("set")),
        st.tuples(st.just("try"), LIMITS),
        st.tuples(st.just("clear")),
        st.tuples(st.just("is_set")),
        PAUSES,
        KILLS,
    ),
    [[("set",), ("wait",), ("clear",), ("try", 1)]],
)

RESULT = Subject(
    AsyncResult,
    ResultModel(),
    {
        "get": lambda result: result.get(),
        "try": lambda result, steps: _value_in_time(result, steps),
        "ready": lambda result: result.ready(),
        "set": lambda result, value: result.set(value),
        "set_exception": lambda result, kind: result.set_exception(kind()),
    },
    st.one_of(
        st.tuples(st.just("get")),
        st.tuples(st.just("try"), LIMITS),
        st.tuples(st.just("set"), st.integers(1, 3)),
        st.tuples(st.just("set_exception"), st.just(LookupError)),
        st.tuples(st.just("ready")),
        PAUSES,
        KILLS,
    ),
    [[("set", 9), ("get",)]],
)


def _value_in_time(result: AsyncResult[Any], steps: int) -> Any:
    try:
        return result.get(timeout=steps * STEP)
    except greenpool.Timeout:
        # A BaseException, which a history takes for a kill.
        return greenpool.Timeout


SUBJECTS = {"Event": EVENT, "AsyncResult": RESULT}
PROGRAMS: dict[str, Program] = {
    "Event": [
        [("wait",), ("clear",), ("wait",)],
        [("try", 1), ("is_set",), ("wait",)],
        [("set",), ("clear",), ("sleep", 1), ("set",)],
        [("kill", 1), ("sleep", 1), ("clear",)],
    ],
    "AsyncResult": [
        [("get",), ("ready",)],
        [("try", 1), ("get",)],
        [("sleep", 1), ("set", 1), ("get",)],
        [("sleep", 1), ("kill", 1), ("set_exception", LookupError)],
    ],
}
of_each_kind = pytest.mark.parametrize("kind", SUBJECTS)


@of_each_kind
def test_a_program_of_meetings(kind: str) -> None:
    explored(SUBJECTS[kind], PROGRAMS[kind])


@of_each_kind
def test_drawn_programs(kind: str) -> None:
    drawn(SUBJECTS[kind])


def of_hub(hub: int, numbers: list[int]) -> list[int]:
    return [number for number in numbers if number % HUBS == hub]


def test_a_set_ends_the_wait_of_all_that_came_before_it() -> None:
    """The event is cleared at once, some waiters are killed or give up, and links are called."""

    def main() -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        event = Event()
        woken: list[int] = []
        came: list[int] = []
        linked: list[int] = []

        def come(number: int) -> None:
            came.append(number)
            event.rawlink(lambda _: linked.append(number))
            # Number 3 gives up when the event is set.
            if event.wait(STEP if number == 3 else None):
                woken.append(number)

        def pulse() -> None:
            event.set()
            event.clear()

        waiting = [handle.spawn_on(number % HUBS, come, number) for number in range(6)]
        greenpool.sleep(STEP)
        assert not woken and not linked
        pulsing = handle.spawn_on(1, pulse)
        waiting[2].kill(block=False)
        greenpool.sleep(STEP)
        assert pulsing.ready()
        # Hubs do not wait for each other, so the order is that of each hub.
        for hub in range(HUBS):
            assert of_hub(hub, linked) == of_hub(hub, came)
        assert {0, 1, 4, 5} <= set(woken)
        assert all(greenlet.dead for greenlet in waiting)

    testing.explore(main, schedules=SCHEDULES, hubs=HUBS)
