"""The declaration that each file in this folder makes."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Run = Callable[[int], float]
"""Does ``count`` operations and returns the seconds that they took.

For ``Kind.SIZE`` it makes ``count`` objects and returns the bytes that each takes.
"""

Body = Callable[[int], Coroutine[Any, Any, float]]


class Kind(Enum):
    """The way in which the figure that a ``Run`` returned is reported."""

    RATE = "operations/s"
    CPU_RATE = "operations/CPU s"
    """As RATE, from the user and system time that the operations took."""
    LATENCY = "us"
    SIZE = "bytes"


@dataclass(frozen=True)
class Subject:
    """Each of ``peers`` does ``count`` operations at a time. A peer's name begins with its library's."""

    title: str
    kind: Kind
    count: int
    peers: Mapping[str, Run]
    one_core: bool = True
    """Whether the process is pinned to one core. Subjects that measure several threads are not."""
    over_hubs: bool = False
    """Whether peers' names end in ", 1 hub", ", 2 hubs" ... and each is compared with its first row."""
    free_threaded: tuple[str, ...] = ()
    """The peers that are measured on a free-threaded interpreter, too."""


def on_asyncio(body: Body) -> Run:
    def run(count: int) -> float:
        return asyncio.run(body(count))

    return run


def on_uvloop(body: Body) -> Run:
    def run(count: int) -> float:
        import uvloop

        return float(uvloop.run(body(count)))

    return run


def on_trio(body: Body) -> Run:
    def run(count: int) -> float:
        import trio

        return float(trio.run(body, count))

    return run
