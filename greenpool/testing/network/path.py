"""One direction between two hosts: how long bytes take, and which are lost.

*Threads*: as the whole network, the thread that has the run's baton (see fabric.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol

# Seconds until what was lost is sent again; each further loss of the same bytes doubles them, up to the
# longest (as in Linux).
RESEND = 0.2
LONGEST_RESEND = 120.0
# After this many in vain the connection fails with ETIMEDOUT, 15 minutes after the first (as in Linux).
MOST_RESENDS = 15
# Timers fire at whole microseconds, maybe at the one before.
TICK = 1e-6
# Bytes of a segment where they are counted or may be lost, one by one.
SEGMENT = 1460


class Clock(Protocol):
    """The time of the run."""

    def now(self) -> float: ...

    def call_at(self, deadline: float, function: Callable[[], object]) -> object: ...


class Held(Protocol):
    """What waits for a path to carry again."""

    def released(self) -> None: ...


class Path:
    """From one host to another; a test sets what is wrong with it."""

    __slots__ = (
        *("delay", "jitter", "drop", "bandwidth", "parted", "holds"),
        *("_clock", "_random", "_free_at", "_packets", "_held", "_sent"),
    )

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        # Seconds; up to *jitter* more are drawn for each packet.
        self.delay = 0.0
        self.jitter = 0.0
        # The chance that a packet is lost.
        self.drop = 0.0
        # Bytes in a second.
        self.bandwidth: float | None = None
        # Loses everything.
        self.parted = False
        # Keeps everything until it is released.
        self.holds = False
        # When the last packet has left.
        self._free_at = 0.0
        # Packets on their way, by the time of their arrival and then in the order in which they were sent.
        self._packets: list[tuple[float, int, Callable[[], object]]] = []
        # Streams that wait for the release.
        self._held: list[Held] = []
        # How many packets were sent.
        self._sent = 0

    def like(self, other: Path) -> Path:
        """Take over the conditions of *other*."""
        for name in ("delay", "jitter", "drop", "bandwidth", "parted", "holds"):
            setattr(self, name, getattr(other, name))
        return self

    @property
    def is_instant(self) -> bool:
        """Whether what is sent is there at once."""
        return not (self.delay or self.jitter or self.drop or self.bandwidth or self.parted or self.holds)

    @property
    def is_dead(self) -> bool:
        """Whether nothing gets through."""
        return self.parted or self.drop >= 1

    def loses(self) -> bool:
        """Whether the next packet is lost."""
        return self.parted or (self.drop > 0 and self._random.random() < self.drop)

    def arrival(self, size: int) -> float:
        """When *size* bytes arrive that are sent now."""
        leaves = self._clock.now()
        if self.bandwidth is not None:
            leaves = max(leaves, self._free_at) + size / self.bandwidth
            self._free_at = leaves
        extra = self._random.uniform(0, self.jitter) if self.jitter else 0.0
        return leaves + self.delay + extra

    def segment_arrival(self, size: int) -> float:
        """When *size* bytes of a stream arrive, which are sent again until they are not lost."""
        due = self.arrival(size)
        wait = RESEND
        while not self.is_dead and self.loses():
            due += wait
            wait = min(2 * wait, LONGEST_RESEND)
        return due

    # Packets, which may be lost and overtake each other.

    def carry(self, size: int, arrive: Callable[[], object]) -> None:
        """Call *arrive* when a packet of *size* bytes is there, if it is not lost."""
        if self.is_instant and not self._packets:
            arrive()
        elif not self.loses():
            self._sent += 1
            due = self.arrival(size)
            self._packets.append((due, self._sent, arrive))
            self._packets.sort(key=lambda packet: packet[:2])
            if not self.holds:
                self._clock.call_at(due, self._deliver)

    def _deliver(self) -> None:
        now = self._clock.now() + TICK
        while self._packets and not self.holds and self._packets[0][0] <= now:
            _, _, arrive = self._packets.pop(0)
            if not self.parted:
                arrive()

    # Holding.

    def wait_for_release(self, stream: Held) -> None:
        """Tell *stream* when this path holds nothing back any more."""
        self._held.append(stream)

    def release(self) -> None:
        """Carry on with what was held."""
        self.holds = False
        held, self._held = deque(self._held), []
        while held:
            held.popleft().released()
        for due, _, _ in self._packets:
            self._clock.call_at(due, self._deliver)
