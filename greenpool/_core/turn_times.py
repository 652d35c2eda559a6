"""How long a hub's polls and turns last, counted in histograms.

A *turn* is all that a hub does between two polls: what was ready, its inbox and its timers.  A hub that is
measured has a poller in the place of its own that looks at the clock before and after each poll.  Hubs that
are not measured pay nothing.

*Threads*: the hub's own thread writes.  Other threads read single numbers, which may be of two moments.
"""

from __future__ import annotations

from bisect import bisect_left
from time import monotonic

from .current import remembered
from .pollers import Poller
from .pollers.around import PollerAround
from .state import HubState

# The upper bounds of the buckets in seconds.  The last bucket has none.
BOUNDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Durations:
    """A histogram of durations."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        # One more than there are bounds.
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class TimingPoller(PollerAround):
    """The poller of a hub that is measured."""

    def __init__(self, poller: Poller) -> None:
        super().__init__(poller)
        self.polls = Durations()
        self.turns = Durations()
        self._turn_began = monotonic()

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        began = monotonic()
        self.turns.add(began - self._turn_began)
        try:
            return self.poller.poll(timeout)
        finally:
            self._turn_began = ended = monotonic()
            self.polls.add(ended - began)


def measure_all() -> None:
    """Have every hub measured from now on that is not yet; any thread."""
    for hub in remembered():
        if not isinstance(hub.poller, TimingPoller):
            hub.post(_measure, hub)


def _measure(hub: HubState) -> None:
    if not isinstance(hub.poller, TimingPoller):
        hub.poller = TimingPoller(hub.poller)


def durations_of(hub: HubState) -> tuple[Durations, Durations] | None:
    """The durations of its polls and of its turns; None if it is not measured."""
    poller = hub.poller
    return (poller.polls, poller.turns) if isinstance(poller, TimingPoller) else None
