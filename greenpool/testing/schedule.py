"""Schedules: which candidate goes on at each point of a run.

Every schedule is a list of numbers in the end: the indices of the candidates that were chosen.  Index 0 is
the candidate that goes on by default (the running greenlet, or the next in turn), so a list of zeros is the
schedule without any surprise.  A shorter list goes on with zeros.

``schedule_of_seed`` makes the schedule of a seed.  Even seeds give draws, in the manner of POS ("Partial
Order Aware Concurrency Sampling", Yuan and others, 2018): a greenlet that was passed over keeps its number,
so it stays behind for some steps and then goes on.  Odd seeds give PCT ("A Randomized Scheduler with
Probabilistic Guarantees of Finding Bugs", Burckhardt and others, 2010): each greenlet has a random priority,
the highest goes on, and at a few random points the one that would go on falls behind all others.  The first
finds faults that need many switches; the second those that need one greenlet to stay behind for long.
``random.Random`` gives the same numbers for the same integer on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol


class Schedule(Protocol):
    """Decides at each point."""

    def choose(self, actors: list[int], yields: bool) -> int:
        """The index of the candidate that goes on.

        *actors* has the number of each candidate's greenlet, the default in front.  *yields* says that the
        running greenlet is none of them, because it parks or has ended.
        """


class Draws:
    """Each greenlet has a random number, the highest goes on, and then often draws anew."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._numbers: dict[int, float] = {}
        # The chance that a greenlet which goes on draws anew, and from what: below 1, it mostly falls behind.
        self._chance = random.choice((0.2, 0.5, 1.0))
        self._highest = random.choice((0.3, 0.7, 1.0))

    def choose(self, actors: list[int], yields: bool) -> int:
        random, numbers = self._random.random, self._numbers
        for actor in actors:
            if actor not in numbers:
                numbers[actor] = random()
        chosen = max(actors, key=numbers.__getitem__)
        if random() < self._chance:
            numbers[chosen] = random() * self._highest
        return actors.index(chosen)


class Priorities:
    """PCT: priorities with few changes."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._priorities: dict[int, float] = {}
        depth = random.randrange(4)
        length = random.choice((10, 20, 40, 100, 300, 1000))
        self._changes = {random.randrange(length) for _ in range(depth)}
        self._count = 0
        self._lowest = 0.0

    def choose(self, actors: list[int], yields: bool) -> int:
        priorities = self._priorities
        for actor in actors:
            if actor not in priorities:
                priorities[actor] = self._random.random()
        if self._count in self._changes:
            self._lowest -= 1.0
            priorities[max(actors, key=priorities.__getitem__)] = self._lowest
        self._count += 1
        return max(range(len(actors)), key=lambda index: priorities[actors[index]])


class Recorded:
    """Chooses as a list says, then the default; an index that is too large is the last candidate's."""

    def __init__(self, choices: Sequence[int] = ()) -> None:
        self._choices = choices
        self._next = 0

    def choose(self, actors: list[int], yields: bool) -> int:
        place = self._next
        if place >= len(self._choices):
            return 0
        self._next = place + 1
        return min(self._choices[place], len(actors) - 1)


def schedule_of_seed(seed: int) -> Schedule:
    """The schedule of *seed*, the same on every machine."""
    random = Random(seed)
    return Priorities(random) if seed % 2 else Draws(random)
