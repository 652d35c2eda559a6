"""What every simulated socket has: greenlets that wait for it, options, and numbers that show its state.

*Threads*: as the whole network, the thread that has the run's baton.
"""

from __future__ import annotations

import _socket
import errno
import struct
from typing import Any

from ..._core.waiter import Waiter
from .descriptor import Number, State
from .fabric import ANY, Address, Fabric, Host, failure
from .resolver import shown_as_ipv6

# An address as programs give and get it, in the form of its family.
Shown = Any

INTEGER = struct.Struct("i")
LINGER = struct.Struct("ii")

_LEVELS = (_socket.SOL_SOCKET, _socket.IPPROTO_TCP, _socket.IPPROTO_IP, _socket.IPPROTO_IPV6)
_BUFFERS = (_socket.SO_RCVBUF, _socket.SO_SNDBUF)
# The smallest that Linux takes.
_SMALLEST = {_socket.SO_RCVBUF: 2304, _socket.SO_SNDBUF: 4608}
# These are one or zero.
_FLAGS = (_socket.SO_REUSEADDR, _socket.SO_KEEPALIVE, _socket.SO_BROADCAST, _socket.SO_OOBINLINE)


class Endpoint:
    """What a socket and its duplicates share."""

    kind = 0
    family = _socket.AF_INET

    def __init__(self, fabric: Fabric, host: Host) -> None:
        self.fabric = fabric
        self.host = host
        self.local: Address | None = None
        self.remote: Address | None = None
        # The error that the next operation raises.
        self.error = 0
        # The sockets that have it.
        self.owners = 0
        self.closed = False
        self.numbers: list[Number] = []
        self.lingers = False
        self.linger = 0
        self.options: dict[tuple[int, int], int] = {
            (_socket.SOL_SOCKET, _socket.SO_RCVBUF): 131072,
            (_socket.SOL_SOCKET, _socket.SO_SNDBUF): 131072,
        }
        self._readers: list[Waiter] = []
        self._writers: list[Waiter] = []

    def __repr__(self) -> str:
        """The addresses, with the names of their hosts."""
        local, remote = self.local, self.remote
        text = f"{self.host.name}:-" if local is None else f"{self.host.name}:{local[1]}"
        return text if remote is None else f"{text} -> {self.fabric.name_of(remote, self.host)}"

    # Waiting.

    def wait_to_read(self, timeout: float | None) -> bool:
        """Park until something may have come; False after *timeout* seconds."""
        return self._park(self._readers, timeout)

    def wait_to_write(self, timeout: float | None) -> bool:
        """Park until there may be room; False after *timeout* seconds."""
        return self._park(self._writers, timeout)

    def wait_to_accept(self, timeout: float | None) -> bool:
        """Park until a connection may have come; False after *timeout* seconds."""
        return self._park(self._readers, timeout)

    def wait_to_connect(self, timeout: float | None) -> bool:
        """Park until the peer may have answered; False after *timeout* seconds."""
        return self._park(self._writers, timeout)

    def _park(self, line: list[Waiter], timeout: float | None) -> bool:
        waiter = Waiter(self.fabric.guard)
        line.append(waiter)
        try:
            return waiter.park(timeout)
        finally:
            if waiter in line:
                line.remove(waiter)

    def changed(self) -> None:
        """Have every greenlet that waits try again, and the numbers show the state."""
        for line in (self._readers, self._writers):
            while line:
                line.pop(0).wake()
        self.show()

    def show(self) -> None:
        """Have the numbers show the state."""
        if self.numbers and not self.closed:
            state = self.state()
            for number in self.numbers:
                number.show(state)

    def state(self) -> State:
        """What ``poll`` reports."""
        raise NotImplementedError

    def take_error(self) -> int:
        """The pending error, which is reported once; 0 if there is none."""
        error, self.error = self.error, 0
        if error:
            self.show()
        return error

    # Addresses.

    def bind(self, address: Address) -> None:
        """Take a local address."""
        if self.local is not None:
            raise failure(errno.EINVAL)
        if not self.host.has(address[0]):
            raise failure(errno.EADDRNOTAVAIL)
        self.host.bind(self, *address)

    def source_for(self, target: str) -> str:
        """The address from which this host reaches *target*."""
        return target if self.host.has(target) else self.host.address

    def bind_towards(self, target: str) -> None:
        """Have the local address be that from which this host reaches *target*, if none was chosen."""
        if self.local is None:
            self.host.bind(self, self.source_for(target), 0)
        elif self.local[0] == ANY:
            self.host.release(self)
            self.host.take(self, (self.source_for(target), self.local[1]))

    def release(self, wait: bool = False) -> None:
        """Give the local port back."""
        self.host.release(self, wait)

    def peer_name(self) -> Address | None:
        """The address of the peer; None if there is none."""
        return self.remote

    def shown(self, address: Address | None) -> Shown:
        """An address as the functions of a socket of this family give it."""
        if self.family == _socket.AF_INET6:
            return shown_as_ipv6(address or (ANY, 0))
        if self.family == _socket.AF_INET:
            return address or (ANY, 0)
        return ""

    # Options.

    @property
    def listening(self) -> bool:
        """Whether it takes connections."""
        return False

    @property
    def reuse_address(self) -> bool:
        """Whether SO_REUSEADDR is set."""
        return bool(self.options.get((_socket.SOL_SOCKET, _socket.SO_REUSEADDR)))

    @property
    def reuse_port(self) -> bool:
        """Whether SO_REUSEPORT is set."""
        return bool(self.options.get((_socket.SOL_SOCKET, getattr(_socket, "SO_REUSEPORT", -1))))

    def buffer(self, option: int) -> int:
        """The bytes that a buffer takes; the option counts twice as many (as in Linux)."""
        return self.options[_socket.SOL_SOCKET, option] // 2

    def set_option(self, level: int, option: int, value: int | bytes) -> None:
        """As ``setsockopt``."""
        if level not in _LEVELS:
            raise failure(errno.ENOPROTOOPT)
        if (level, option) == (_socket.SOL_SOCKET, _socket.SO_LINGER):
            if not isinstance(value, bytes) or len(value) < LINGER.size:
                raise failure(errno.EINVAL)
            on, self.linger = LINGER.unpack_from(value)
            self.lingers = bool(on)
            return
        if not isinstance(value, int):
            if len(value) < INTEGER.size:
                raise failure(errno.EINVAL)
            value = int(INTEGER.unpack_from(value)[0])
        if level == _socket.SOL_SOCKET:
            if option in _BUFFERS:
                value = max(2 * value, _SMALLEST[option])
            elif option in _FLAGS:
                value = int(bool(value))
        self.options[level, option] = value

    def get_option(self, level: int, option: int) -> int | bytes:
        """As ``getsockopt``: an int, or the bytes of a structure."""
        if level not in _LEVELS:
            raise failure(errno.ENOPROTOOPT)
        if level == _socket.SOL_SOCKET:
            if option == _socket.SO_ERROR:
                return self.take_error()
            if option == _socket.SO_LINGER:
                return LINGER.pack(self.lingers, self.linger)
            if option == _socket.SO_TYPE:
                return self.kind
            if option == _socket.SO_ACCEPTCONN:
                return int(self.listening)
            if option == getattr(_socket, "SO_DOMAIN", None):
                return self.family
            if option == getattr(_socket, "SO_PROTOCOL", None):
                return _socket.IPPROTO_TCP if self.kind == _socket.SOCK_STREAM else _socket.IPPROTO_UDP
        return self.options.get((level, option), 0)

    # Closing.

    def drop(self) -> None:
        """One socket has it no more; the last one closes it."""
        self.owners -= 1
        if not self.owners and not self.closed:
            self.close()
            self.closed = True
        self.changed()

    def close(self) -> None:
        """No socket has it any more."""
        self.release()
