"""The bytes of one direction of a connection, on their way: in order, and none is lost.

A segment that the path loses is sent again, later each time (see path.py), and those behind it wait.

*Threads*: as the whole network, the thread that has the run's baton.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from .fabric import Fabric
from .path import LONGEST_RESEND, MOST_RESENDS, RESEND, SEGMENT, TICK, Path

DATA, END, RESET, ESTABLISHED = range(4)


class Target(Protocol):
    """The end to which the bytes go."""

    def arrived(self, what: int, data: bytes) -> None: ...


class Source(Protocol):
    """The end from which they come."""

    def gave_up(self) -> None: ...


class Wire:
    """From one end of a connection to the other."""

    __slots__ = ("_fabric", "_source", "_target", "_segments", "_resends", "_waits", "path", "flying", "cut")

    def __init__(self, fabric: Fabric, path: Path, source: Source, target: Target) -> None:
        self._fabric = fabric
        self._source = source
        self._target = target
        self.path = path
        # With the time at which each arrives.
        self._segments: deque[tuple[float, int, bytes]] = deque()
        self._resends = 0
        # Whether a timer or the release of the path goes on with the first.
        self._waits = False
        # The bytes on their way.
        self.flying = 0
        # Whether it carries nothing any more.
        self.cut = False

    def send(self, what: int, data: bytes = b"") -> None:
        """Have *data*, or a mark, arrive behind all that was sent before."""
        if self.cut:
            return
        if not self._segments and self.path.is_instant:
            self._target.arrived(what, data)
            return
        step = SEGMENT if self.path.drop or self.path.bandwidth else max(1, len(data))
        for begin in range(0, max(1, len(data)), step):
            piece = data[begin : begin + step]
            due = self.path.segment_arrival(len(piece) or 1)
            if self._segments:
                due = max(due, self._segments[-1][0])
            self._segments.append((due, what, piece))
            self.flying += len(piece)
        self._go_on()

    def _go_on(self) -> None:
        if self._segments and not self._waits and not self.cut:
            self._waits = True
            if self.path.holds:
                self.path.wait_for_release(self)
            else:
                self._fabric.call_at(self._segments[0][0], self.released)

    def released(self) -> None:
        """Deliver what is due."""
        self._waits = False
        while self._segments and not self.cut and not self.path.holds:
            due, what, data = self._segments[0]
            now = self._fabric.now()
            if due > now + TICK:
                break
            if self.path.is_dead:
                self._send_again(now)
                break
            self._resends = 0
            self._segments.popleft()
            self.flying -= len(data)
            self._target.arrived(what, data)
        self._go_on()

    def _send_again(self, now: float) -> None:
        """The first segment is lost: put it off."""
        if self._resends > MOST_RESENDS:
            self.end()
            self._source.gave_up()
            return
        wait = min(RESEND * 2**self._resends, LONGEST_RESEND)
        self._resends += 1
        _, what, data = self._segments[0]
        self._segments[0] = (now + wait, what, data)

    def end(self) -> None:
        """Carry nothing any more."""
        self.cut = True
        self._segments.clear()
        self.flying = 0
