"""What a test sets between hosts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .fabric import Connection
from .path import Path


class Link:
    """The connections between some hosts; every method changes them from now on, and returns the link."""

    __module__ = "greenpool.testing.network"

    def __init__(
        self, paths: Callable[[], Sequence[Path]], connections: Callable[[], Sequence[Connection]]
    ) -> None:
        self._paths = paths
        self._connections = connections

    def _set(self, **conditions: object) -> Link:
        for path in self._paths():
            for name, value in conditions.items():
                setattr(path, name, value)
        return self

    def delay(self, seconds: float, jitter: float = 0.0) -> Link:
        """Everything takes so many *seconds*, and up to *jitter* more, which the seed draws."""
        _check("seconds", seconds)
        _check("jitter", jitter)
        return self._set(delay=seconds, jitter=jitter)

    def drop(self, chance: float) -> Link:
        """Packets are lost with this *chance*, from 0 to 1.

        A datagram is gone.  The bytes of a TCP connection are sent again, so they arrive later.
        """
        _check("chance", chance)
        if chance > 1:
            raise ValueError(f"chance must be at most 1, not {chance}")
        return self._set(drop=chance)

    def bandwidth(self, bytes_per_second: float | None) -> Link:
        """At most so many bytes get through in each direction; None is no limit."""
        if bytes_per_second is not None:
            _check("bytes_per_second", bytes_per_second)
            if not bytes_per_second:
                raise ValueError("bytes_per_second must be more than 0")
        return self._set(bandwidth=bytes_per_second)

    def partition(self) -> Link:
        """Nothing gets through: datagrams are lost, and connections try again and again."""
        return self._set(parted=True)

    def heal(self) -> Link:
        """End a partition.  What was sent over a connection meanwhile arrives when it is sent again."""
        return self._set(parted=False)

    def hold(self) -> Link:
        """Keep everything back, until ``release``."""
        return self._set(holds=True)

    def release(self) -> Link:
        """Let go of what was kept back, in order."""
        for path in self._paths():
            path.release()
        return self

    def reset(self) -> Link:
        """Reset every TCP connection: both ends get ECONNRESET."""
        for connection in self._connections():
            connection.reset()
        return self

    def half_close(self) -> Link:
        """End every TCP stream that goes this way, as if its sender had called ``shutdown(SHUT_WR)``."""
        for connection in self._connections():
            connection.end_stream()
        return self


def _check(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number that is not negative, not {value!r}")
