"""A simulated UDP socket: datagrams, which may be lost and overtake each other.

*Threads*: as the whole network, the thread that has the run's baton.
"""

from __future__ import annotations

import _socket
import errno
from collections import deque
from functools import partial

from ..._core.waits import awaited_as
from .descriptor import State
from .endpoint import Endpoint
from .fabric import ANY, LOOPBACK, Address, Fabric, Host, failure

LARGEST = 65507
# What the kernel counts for a datagram besides its bytes.
OVERHEAD = 256
# The bytes of the headers.
HEADERS = 28


class Udp(Endpoint):
    """What a datagram socket and its duplicates share."""

    kind = _socket.SOCK_DGRAM

    def __init__(self, fabric: Fabric, host: Host) -> None:
        super().__init__(fabric, host)
        self.queue: deque[tuple[bytes, Address]] = deque()
        self._queued = 0
        self.sends_no_more = False
        self.reads_no_more = False

    def connect(self, address: Address) -> int:
        """Take datagrams of *address* only, and send to it; 0, or the number of an error."""
        target, port = address
        if target == ANY:
            target = LOOPBACK
        if self.fabric.at(target, self.host) is None:
            return errno.ENETUNREACH
        self.bind_towards(target)
        self.remote = (target, port)
        self.show()
        return 0

    def disconnect(self) -> None:
        """Take datagrams of all addresses again."""
        self.remote = None

    def transmit(self, data: bytes | memoryview, address: Address | None = None) -> int:
        """Send a datagram; it is never waited for."""
        if len(data) > LARGEST:
            raise failure(errno.EMSGSIZE)
        target = self.remote if address is None else address
        if target is None:
            raise failure(errno.EDESTADDRREQ)
        if not target[1]:
            raise failure(errno.EINVAL)
        if target[0] == ANY:
            target = (LOOPBACK, target[1])
        if target[0] == "255.255.255.255":
            raise failure(errno.EACCES)
        host = self.fabric.at(target[0], self.host)
        if host is None:
            raise failure(errno.ENETUNREACH)
        if self.error or self.sends_no_more:
            raise failure(self.take_error() or errno.EPIPE)
        if self.local is None:
            self.host.bind(self, ANY, 0)
        assert self.local is not None
        source = self.local
        if source[0] == ANY:
            source = (self.source_for(target[0]), source[1])
        path = self.fabric.path(self.host, host)
        path.carry(len(data) + HEADERS, partial(self._reached, host, bytes(data), source, target))
        return len(data)

    def _reached(self, host: Host, data: bytes, source: Address, target: Address) -> None:
        found = [end for end in host.ends_at(self.kind, *target) if isinstance(end, Udp)]
        # One that is connected to the sender comes before those that are not.
        takers = [end for end in found if end.remote == source] or [
            end for end in found if end.remote is None
        ]
        if takers:
            takers[0]._take(data, source)
        else:
            back = self.fabric.path(host, self.host)
            back.carry(HEADERS, partial(self._unreachable, target))

    def _take(self, data: bytes, source: Address) -> None:
        size = len(data) + OVERHEAD
        if self._queued + size <= self.options[_socket.SOL_SOCKET, _socket.SO_RCVBUF]:
            self._queued += size
            self.queue.append((data, source))
            self.changed()

    def _unreachable(self, target: Address) -> None:
        """Nobody has the port; only a connected socket learns it (as in Linux)."""
        if self.remote == target and not self.closed:
            self.error = errno.ECONNREFUSED
            self.changed()

    def receive(self, peek: bool, waits: bool) -> tuple[bytes, Address]:
        """The next datagram; raises BlockingIOError if there is none.

        *waits*: the caller waits then, which a shutdown ends.
        """
        if self.error:
            raise failure(self.take_error())
        if not self.queue:
            if self.reads_no_more and waits:
                return b"", (ANY, 0)
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if peek:
            return self.queue[0]
        data, source = self.queue.popleft()
        self._queued -= len(data) + OVERHEAD
        self.show()
        return data, source

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``."""
        if how not in (_socket.SHUT_RD, _socket.SHUT_WR, _socket.SHUT_RDWR):
            raise failure(errno.EINVAL)
        if how != _socket.SHUT_WR:
            self.reads_no_more = True
        if how != _socket.SHUT_RD:
            self.sends_no_more = True
        self.changed()
        if self.remote is None:
            raise failure(errno.ENOTCONN)

    def state(self) -> State:
        readable = bool(self.queue or self.error) or self.reads_no_more
        return State(readable=readable, writable=True, ended=self.reads_no_more)


awaited_as(Udp, "to be ready", wait_to_read="to have a datagram")
