"""The hosts of a simulated network, their addresses and ports, and the paths between them.

*Threads*: everything of a simulated network belongs to the thread that has the baton of the run (see
greenpool/_core/scheduled.py), which hands its memory over.  Waiters have a guard all the same, because a
greenlet of one hub wakes those of others.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextvars import ContextVar
from random import Random
from typing import Protocol

from ..._core.current import thread_hub
from ..._core.native import RLock
from ..._core.scheduled import Scheduler
from ..._core.timers import Timer
from .path import Path

Address = tuple[str, int]

LOCALHOST = "localhost"
LOOPBACK = "127.0.0.1"
ANY = "0.0.0.0"
EPHEMERAL = range(49152, 65536)
# Seconds for which a port of a connection cannot be bound after the host has closed it first.
TIME_WAIT = 60.0

# The name of the host to which the running code belongs.
host_name: ContextVar[str] = ContextVar("greenpool.testing.network.host", default=LOCALHOST)


def failure(number: int) -> OSError:
    """The OSError of an errno."""
    return OSError(number, os.strerror(number))


class Bound(Protocol):
    """An end that has a port."""

    kind: int
    local: Address | None

    @property
    def listening(self) -> bool:
        """Whether it takes connections."""

    @property
    def reuse_address(self) -> bool:
        """Whether SO_REUSEADDR is set."""

    @property
    def reuse_port(self) -> bool:
        """Whether SO_REUSEPORT is set."""


class Connection(Protocol):
    """One end of a TCP connection between hosts."""

    host: Host

    @property
    def far_host(self) -> Host | None:
        """The host of the other end."""

    def reset(self) -> None:
        """Have it fail."""

    def end_stream(self) -> None:
        """End what it sends."""


class Host:
    """A name, an address, and the ports that are in use."""

    def __init__(self, fabric: Fabric, name: str, address: str) -> None:
        self._fabric = fabric
        self.name = name
        self.address = address
        self._bound: dict[tuple[int, int], list[Bound]] = {}
        self._waits: dict[int, float] = {}
        self._next = 0

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    def has(self, address: str) -> bool:
        """Whether *address* is one of this host."""
        return address in (ANY, self.address) or address.startswith("127.")

    def bind(self, end: Bound, address: str, port: int) -> None:
        """Give *end* the port, or any free one for 0; raises OSError(EADDRINUSE)."""
        if not port:
            port = self._free_port(end, address)
        elif self._is_taken(end, address, port):
            raise failure(errno.EADDRINUSE)
        self.take(end, (address, port))

    def take(self, end: Bound, address: Address) -> None:
        """Note that *end* has *address*, which others may have, too."""
        end.local = address
        self._bound.setdefault((end.kind, address[1]), []).append(end)

    def _free_port(self, end: Bound, address: str) -> int:
        for _ in EPHEMERAL:
            port = EPHEMERAL[self._next % len(EPHEMERAL)]
            self._next += 1
            if (end.kind, port) not in self._bound and not self._is_taken(end, address, port):
                return port
        raise failure(errno.EADDRINUSE)

    def _is_taken(self, end: Bound, address: str, port: int) -> bool:
        if not end.reuse_address and self._waits.get(port, 0.0) > self._fabric.now():
            return True
        for other in self._bound.get((end.kind, port), ()):
            assert other.local is not None
            if ANY not in (address, other.local[0]) and address != other.local[0]:
                continue
            if end.reuse_port and other.reuse_port:
                continue
            if end.reuse_address and other.reuse_address and not other.listening:
                continue
            return True
        return False

    def may_listen(self, end: Bound) -> bool:
        """Whether no other end listens at the address of *end*."""
        assert end.local is not None
        address, port = end.local
        return not any(
            other.listening and other is not end and not (end.reuse_port and other.reuse_port)
            for other in self._bound.get((end.kind, port), ())
            if other.local is not None and (ANY in (address, other.local[0]) or address == other.local[0])
        )

    def release(self, end: Bound, wait: bool = False) -> None:
        """Take the port of *end* back; with *wait* no end may bind it for a minute."""
        if end.local is None:
            return
        key = (end.kind, end.local[1])
        others = self._bound.get(key, [])
        if end in others:
            others.remove(end)
            if not others:
                del self._bound[key]
            if wait:
                self._waits[end.local[1]] = self._fabric.now() + TIME_WAIT

    def ends_at(self, kind: int, address: str, port: int) -> list[Bound]:
        """The ends that are bound to this address, those of exactly this one in front."""
        ends = self._bound.get((kind, port), ())
        exact = [end for end in ends if end.local is not None and end.local[0] == address]
        return exact + [end for end in ends if end.local is not None and end.local[0] == ANY]


class Fabric:
    """All hosts of one run, and what connects them."""

    def __init__(self, scheduler: Scheduler, random: Random) -> None:
        self.scheduler = scheduler
        self.guard = RLock()
        # The ends of connections that are open, in the order in which they were made.
        self.connections: dict[Connection, None] = {}
        self._random = random
        self._hosts: dict[str, Host] = {}
        self._paths: dict[tuple[str, str], Path] = {}
        # The conditions of paths that nothing was said about.
        self._usual = Path(self, random)
        self.host_named(LOCALHOST)

    def is_here(self) -> bool:
        """Whether the caller runs on a hub of the run, which has not ended."""
        return not self.scheduler.ended and self.scheduler.is_here()

    def now(self) -> float:
        """The time of the run."""
        return self.scheduler.monotonic()

    def call_at(self, deadline: float, function: Callable[[], object]) -> Timer:
        """Call *function*, which must not wait, at *deadline*."""
        hub = thread_hub()
        assert hub is not None
        return hub.call_at(deadline, function)

    def host_named(self, name: str) -> Host:
        """The host of this name; it is a new one if there was none."""
        host = self._hosts.get(name)
        if host is None:
            number = len(self._hosts) + 1
            host = self._hosts[name] = Host(
                self, name, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            )
        return host

    def here(self) -> Host:
        """The host of the running code."""
        return self.host_named(host_name.get())

    def known(self, name: str) -> Host | None:
        """The host of this name, if there is one."""
        return self._hosts.get(name)

    def at(self, address: str, here: Host) -> Host | None:
        """The host that has *address*, as *here* sees it."""
        if here.has(address):
            return here
        return next((host for host in self._hosts.values() if host.address == address), None)

    def name_of(self, address: Address, here: Host) -> str:
        """An address with the host's name, for reports."""
        host = self.at(address[0], here)
        return f"{address[0] if host is None else host.name}:{address[1]}"

    def path(self, source: Host, target: Host) -> Path:
        """The path from one host to another."""
        key = (source.name, target.name)
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = Path(self, self._random)
            if source is not target:
                path.like(self._usual)
        return path

    def all_paths(self) -> list[Path]:
        """The paths between different hosts, and what new ones begin with."""
        return [self._usual, *(path for (source, target), path in self._paths.items() if source != target)]
