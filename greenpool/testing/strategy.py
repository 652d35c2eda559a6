"""A hypothesis strategy for schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

from .explore import schedule_text


def schedules(length: int = 100, surprises: int = 12) -> SearchStrategy[str]:
    """A strategy for the schedules that ``replay`` takes, so that one ``@given`` draws data and schedule.

    A schedule has at most so many *surprises*: choices, among its first *length*, that are not the
    default.  It shrinks to few surprises that come early.  Needs hypothesis.
    """
    # Imported here, because the rest works without it.
    from hypothesis import strategies

    places = strategies.integers(0, length - 1)
    return strategies.dictionaries(places, strategies.integers(1, 5), max_size=surprises).map(_text)


def _text(drawn: dict[int, int]) -> str:
    return schedule_text(0, [drawn.get(place, 0) for place in range(max(drawn, default=-1) + 1)])
