"""The ``socket`` class of a simulated network, and the functions that make sockets.

The class takes the place of ``greenpool.socket.socket``, and is a subclass of it, so ``isinstance`` holds.
No descriptor of the kernel belongs to its base, whose methods are all replaced.  It makes an ordinary socket
for what is not simulated: another family than AF_INET, a descriptor of the kernel, and a thread that is none
of the run.

*Threads*: the hubs of the run, one at a time.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket as _standard
from collections.abc import Callable, Iterable
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, TypeVar, cast

from ... import socket as _green
from ..._core.seconds import LONGEST
from .descriptor import Number
from .endpoint import INTEGER, Endpoint, Shown
from .fabric import Address, Fabric, failure
from .resolver import resolve
from .tcp import Tcp, connected_pair
from .udp import Udp

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

# A socket, simulated or not.
Made = Any

_TYPE_FLAGS = getattr(_socket, "SOCK_NONBLOCK", 0) | getattr(_socket, "SOCK_CLOEXEC", 0)
_NON_BLOCKING = getattr(_socket, "SOCK_NONBLOCK", 0)
_DONT_WAIT = getattr(_socket, "MSG_DONTWAIT", 0)
_WAIT_ALL = getattr(_socket, "MSG_WAITALL", 0)
_TRUNCATE = getattr(_socket, "MSG_TRUNC", 0)
# The number of no error.
_TIMED_OUT = -1
_GiveUp: type[Exception] = getattr(_standard, "_GiveupOnSendfile")  # noqa: B009
_original = _green.socket
_original_pair: Callable[..., tuple[Made, Made]] = _green.socketpair


class Simulation:
    """The network that is on, and the numbers of its sockets; at most one in a process."""

    fabric: Fabric | None = None
    patched = False
    numbers: dict[int, Endpoint] = {}


def fabric_here() -> Fabric | None:
    """The network that is on, if the caller runs on a hub of its run."""
    fabric = Simulation.fabric
    return fabric if fabric is not None and fabric.is_here() else None


class _Kind(type):
    """The class of the simulated class: ordinary sockets are instances of that, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _original) if cls is socket else type.__instancecheck__(cls, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _original) if cls is socket else type.__subclasscheck__(cls, subclass)


class socket(_original, metaclass=_Kind):
    """A socket of the simulated network; as ``socket.socket``."""

    __slots__ = ("_end", "_number")

    _end: Endpoint | None
    _number: Number | None
    _timeout: float | None

    def __new__(cls, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> Made:
        simulated = fabric_here() is not None
        if fileno is not None:
            simulated = simulated and fileno in Simulation.numbers
        elif family not in (-1, _socket.AF_INET, _socket.AF_INET6):
            simulated = False
        if simulated or cls is not socket:
            made = super().__new__(cls)
            made._end = made._number = None
            return made
        return _original(family, type, proto, fileno)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if fileno is not None:
            self._begin(_taken(fileno))
            return
        fabric = fabric_here()
        if fabric is None:
            raise RuntimeError("a simulated socket can be made in a run of greenpool.testing only")
        kind = _socket.SOCK_STREAM if type == -1 else int(type)
        ends: dict[int, Callable[[], Endpoint]] = {
            _socket.SOCK_STREAM: lambda: Tcp(fabric, fabric.here()),
            _socket.SOCK_DGRAM: lambda: Udp(fabric, fabric.here()),
        }
        make = ends.get(kind & ~_TYPE_FLAGS)
        if make is None:
            raise failure(errno.EPROTONOSUPPORT)
        end = make()
        end.family = _socket.AF_INET if family == -1 else int(family)
        self._begin(end)
        if kind & _NON_BLOCKING:
            self._timeout = 0.0

    def _begin(self, end: Endpoint) -> None:
        self._end = end
        end.owners += 1
        self._number = None
        self._timeout = _socket.getdefaulttimeout()
        self._io_refs = 0
        self._closed = False
        # What the base has for its descriptor.
        self._fd = -1
        self._descriptor = None
        self._registration = None
        self._drains = False

    def __del__(self) -> None:
        # Without a warning: nothing of the machine is left open.
        end = self._end
        if end is not None and end.fabric.is_here():
            self._real_close()
        elif self._number is not None:
            self._number.close()

    def __repr__(self) -> str:
        end = self._end
        if end is None:
            return "<simulated socket [closed]>"
        return f"<simulated {'TCP' if end.kind == _socket.SOCK_STREAM else 'UDP'} socket {end!r}>"

    # The parts of an operation.

    def _open_end(self) -> Endpoint:
        end = self._end
        if end is None:
            raise failure(errno.EBADF)
        return end

    def _tcp(self) -> Tcp:
        end = self._open_end()
        if not isinstance(end, Tcp):
            raise failure(errno.EOPNOTSUPP)
        return end

    def _point(self, name: str, parks: bool = True) -> None:
        """Another greenlet may go on before the operation of this name; see greenpool/testing/points.py."""
        end = self._end
        if end is not None:
            scheduler = end.fabric.scheduler
            point = scheduler.may_park if parks or Simulation.patched else scheduler.may_preempt
            point(f"socket.{name}")

    def _until_done(
        self, name: str, flags: int, attempt: Callable[[], T], wait: Callable[[float | None], bool]
    ) -> T:
        """Try until *attempt* does not raise BlockingIOError; park in between."""
        self._point(name)
        timeout = 0.0 if flags & _DONT_WAIT else self._timeout
        return self._keep_trying(timeout, attempt, wait)

    def _keep_trying(
        self, timeout: float | None, attempt: Callable[[], T], wait: Callable[[float | None], bool]
    ) -> T:
        scheduler = self._open_end().fabric.scheduler
        deadline = None if timeout is None else scheduler.monotonic() + timeout
        in_time = True
        while True:
            self._open_end()
            try:
                return attempt()
            except BlockingIOError:
                if timeout == 0:
                    raise
            if not in_time:
                raise TimeoutError("timed out")
            in_time = wait(None if deadline is None else deadline - scheduler.monotonic())

    # Receiving.

    def _take(self, name: str, size: int, flags: int) -> tuple[bytes, Shown]:
        end = self._open_end()
        peek = bool(flags & _socket.MSG_PEEK)
        if isinstance(end, Udp):
            waits = self._timeout != 0 and not flags & _DONT_WAIT
            data, source = self._until_done(name, flags, lambda: end.receive(peek, waits), end.wait_to_read)
            return data[:size], end.shown(source)
        assert isinstance(end, Tcp)
        tcp = end
        if not size:
            return b"", None

        wants_all = (
            flags & _WAIT_ALL and not flags & (_socket.MSG_PEEK | _DONT_WAIT) and self._timeout is None
        )
        if not wants_all:
            return self._until_done(name, flags, lambda: tcp.receive(size, peek), tcp.wait_to_read), None
        collected = bytearray()

        def collect() -> bytes:
            while len(collected) < size and (data := tcp.receive(size - len(collected))):
                collected.extend(data)
            return bytes(collected)

        return self._until_done(name, flags, collect, tcp.wait_to_read), None

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As ``socket.recv``."""
        bufsize = index(bufsize)
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        return self._take("recv", bufsize, flags)[0]

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Shown]:
        """As ``socket.recvfrom``."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        return self._take("recvfrom", bufsize, flags)

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """As ``socket.recv_into``."""
        return self._take_into("recv_into", buffer, nbytes, flags)[0]

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Shown]:
        """As ``socket.recvfrom_into``."""
        return self._take_into("recvfrom_into", buffer, nbytes, flags)

    def _take_into(self, name: str, buffer: Buffer, nbytes: int, flags: int) -> tuple[int, Shown]:
        with memoryview(buffer) as view, view.cast("B") as octets:
            if nbytes < 0:
                raise ValueError(f"negative buffersize in {name}")
            if nbytes > len(octets):
                raise ValueError("buffer too small for requested bytes")
            data, source = self._take(name, nbytes or len(octets), flags)
            octets[: len(data)] = data
        return len(data), source

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Shown]:
        """As ``socket.recvmsg``, without ancillary data."""
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        data, source = self._take("recvmsg", bufsize, flags)
        return data, [], 0, source

    def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Shown]:
        """As ``socket.recvmsg_into``, without ancillary data."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        data, source = self._take("recvmsg_into", sum(map(len, views)), flags)
        begin = 0
        for view in views:
            part = data[begin : begin + len(view)]
            view[: len(part)] = part
            begin += len(part)
        return len(data), [], 0, source

    # Sending.

    def send(self, data: Buffer, flags: int = 0, /, *, timeout: float | None = -1) -> int:
        """As ``socket.send``; *timeout* takes the place of the socket's own (as in gevent)."""
        end = self._open_end()
        self._point("send")
        seconds = self._timeout if timeout == -1 else timeout
        with memoryview(data) as view, view.cast("B") as octets:
            return self._keep_trying(
                0.0 if flags & _DONT_WAIT else seconds, lambda: _transmit(end, octets), end.wait_to_write
            )

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        """As ``socket.sendall``."""
        end = self._open_end()
        self._point("sendall")
        timeout = 0.0 if flags & _DONT_WAIT else self._timeout
        scheduler = end.fabric.scheduler
        deadline = None if timeout is None else scheduler.monotonic() + timeout
        with memoryview(data) as view, view.cast("B") as octets:
            sent = 0
            while True:
                left = timeout if deadline is None else deadline - scheduler.monotonic()
                if timeout and left is not None and left <= 0:
                    raise TimeoutError("timed out")
                send = partial(_transmit, end, octets[sent:])
                sent += self._keep_trying(left, send, end.wait_to_write)
                if sent >= len(octets):
                    return

    def sendto(self, data: Buffer, *args: Shown) -> int:
        """As ``socket.sendto``."""
        if not 1 <= len(args) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({1 + len(args)} given)")
        flags = args[0] if len(args) == 2 else 0
        end = self._open_end()
        self._point("sendto")
        address = self._address(args[-1])
        with memoryview(data) as view, view.cast("B") as octets:
            timeout = 0.0 if flags & _DONT_WAIT else self._timeout
            return self._keep_trying(timeout, lambda: _transmit(end, octets, address), end.wait_to_write)

    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: Shown = None,
        /,
    ) -> int:
        """As ``socket.sendmsg``, without ancillary data."""
        if list(ancdata):
            raise failure(errno.EOPNOTSUPP)
        data = b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)
        if address is not None:
            return self.sendto(data, flags, address)
        return self.send(data, flags)

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> NoReturn:
        raise _GiveUp("the kernel knows nothing of a simulated socket")

    # Connecting.

    def _address(self, address: Shown) -> Address:
        end = self._open_end()
        family, most = ("AF_INET6", 4) if end.family == _socket.AF_INET6 else ("AF_INET", 2)
        if not isinstance(address, tuple):
            raise TypeError(f"{family} address must be tuple, not {type(address).__name__}")
        if not 2 <= len(address) <= most:
            raise TypeError(f"{family} address must be a pair (host, port)")
        host, port = address[:2]
        port = index(port)
        if not 0 <= port <= 65535:
            raise OverflowError("port must be 0-65535.")
        return resolve(end.fabric, host), port

    def bind(self, address: Shown, /) -> None:
        """As ``socket.bind``."""
        end = self._open_end()
        self._point("bind", parks=False)
        end.bind(self._address(address))

    def listen(self, backlog: int = 128, /) -> None:
        """As ``socket.listen``."""
        self._point("listen", parks=False)
        self._tcp().listen(backlog)

    def accept(self) -> tuple[Made, Shown]:
        """As ``socket.accept``."""
        end = self._tcp()
        accepted = self._until_done("accept", 0, end.accept, end.wait_to_accept)
        return _made(accepted), accepted.shown(accepted.remote)

    def connect(self, address: Shown, /) -> None:
        """As ``socket.connect``."""
        error = self._connect(address)
        if error == _TIMED_OUT:
            raise TimeoutError("timed out")
        if error:
            raise failure(error)

    def connect_ex(self, address: Shown, /) -> int:
        """As ``socket.connect_ex``."""
        error = self._connect(address)
        return errno.EAGAIN if error == _TIMED_OUT else error

    def _connect(self, address: Shown) -> int:
        end = self._end
        if end is None:
            return errno.EBADF
        self._point("connect")
        error: int = cast("Tcp | Udp", end).connect(self._address(address))
        if error not in (errno.EINPROGRESS, errno.EALREADY) or self._timeout == 0 or not isinstance(end, Tcp):
            return error
        scheduler = end.fabric.scheduler
        deadline = None if self._timeout is None else scheduler.monotonic() + self._timeout
        in_time = True
        while (error := end.connected()) == errno.EINPROGRESS:
            if not in_time:
                return _TIMED_OUT
            in_time = end.wait_to_connect(None if deadline is None else deadline - scheduler.monotonic())
        return error

    # Addresses and options.

    def getsockname(self) -> Shown:
        """As ``socket.getsockname``."""
        end = self._open_end()
        return end.shown(end.local)

    def getpeername(self) -> Shown:
        """As ``socket.getpeername``."""
        end = self._open_end()
        remote = end.peer_name()
        if remote is None and end.family != _socket.AF_UNIX:
            raise failure(errno.ENOTCONN)
        return end.shown(remote)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None, /) -> None:
        """As ``socket.setsockopt``."""
        if value is None:
            raise failure(errno.EINVAL)
        self._open_end().set_option(level, optname, value if isinstance(value, int) else bytes(value))

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> Any:
        """As ``socket.getsockopt``."""
        value = self._open_end().get_option(level, optname)
        if not buflen:
            return value if isinstance(value, int) else INTEGER.unpack_from(value)[0]
        return (INTEGER.pack(value) if isinstance(value, int) else value)[:buflen]

    @property
    def family(self) -> Any:
        """As ``socket.family``."""
        end = self._end
        return _standard.AF_INET if end is None else _standard.AddressFamily(end.family)

    @property
    def type(self) -> Any:
        """As ``socket.type``."""
        end = self._end
        return _standard.SOCK_STREAM if end is None else _standard.SocketKind(end.kind)

    @property
    def proto(self) -> int:
        """As ``socket.proto``."""
        return 0

    # Timeouts.

    def settimeout(self, value: SupportsIndex | float | None, /) -> None:
        """As ``socket.settimeout``."""
        if value is not None:
            seconds = float(value)
            if not seconds >= 0:
                raise ValueError("Timeout value out of range")
            if seconds > LONGEST:
                raise OverflowError("timestamp out of range for platform time_t")
            value = seconds
        self._open_end()
        self._timeout = value

    # Its number.

    def fileno(self) -> int:
        """A descriptor for ``select`` and its like, which is ready when the socket is; -1 if it is closed."""
        end = self._end
        if end is None:
            return -1
        number = self._number
        if number is None:
            number = self._number = Number()
            end.numbers.append(number)
            Simulation.numbers[number.fd] = end
            end.fabric.scheduler.in_memory.add(number.fd)
            end.show()
        return number.fd

    def detach(self) -> int:
        """As ``socket.detach``: the number is for ``socket(fileno=...)`` and ``select`` only."""
        fd = self.fileno()
        number, self._number = self._number, None
        if number is not None:
            _detached[fd] = number
        self._end = None
        self._closed = True
        return fd

    def give_away(self) -> Endpoint:
        """Close this socket, and have another one go on with its end."""
        end = self._open_end()
        number, self._number = self._number, None
        if number is not None:
            _forget(end, number)
        self._end = None
        self._closed = True
        end.owners -= 1
        return end

    @property
    def is_connected(self) -> bool:
        """Whether it is one end of a connection."""
        return self._tcp().far_host is not None

    def dup(self) -> Made:
        """As ``socket.dup``."""
        made = _made(self._open_end())
        made._timeout = self._timeout
        return made

    def get_inheritable(self) -> bool:
        """As ``socket.get_inheritable``: never, because no other process can have it."""
        self._open_end()
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """As ``socket.set_inheritable``; without effect."""
        self._open_end()

    # Closing.

    def shutdown(self, how: int, /) -> None:
        """As ``socket.shutdown``."""
        end = self._open_end()
        self._point("shutdown", parks=False)
        cast("Tcp | Udp", end).shutdown(how)

    def close(self) -> None:
        """As ``socket.close``."""
        self._point("close", parks=False)
        super().close()

    def _real_close(self, _ss: Any = None) -> None:
        end, self._end = self._end, None
        number, self._number = self._number, None
        if end is not None:
            if number is not None:
                _forget(end, number)
            end.drop()


# Numbers that ``detach`` has given away.
_detached: dict[int, Number] = {}


def _transmit(end: Endpoint, octets: memoryview, address: Address | None = None) -> int:
    if isinstance(end, Udp):
        return end.transmit(octets, address)
    assert isinstance(end, Tcp)
    return end.transmit(octets)


def _forget(end: Endpoint, number: Number) -> None:
    Simulation.numbers.pop(number.fd, None)
    end.fabric.scheduler.in_memory.discard(number.fd)
    if number in end.numbers:
        end.numbers.remove(number)
    number.close()


def _taken(fd: int) -> Endpoint:
    """The end behind the number of a detached socket, or of one that keeps it."""
    end = Simulation.numbers[fd]
    number = _detached.pop(fd, None)
    if number is not None:
        end.owners -= 1
        _forget(end, number)
    return end


def _made(end: Endpoint) -> socket:
    """A socket that has *end*."""
    made: socket = _original.__new__(socket)
    made._end = made._number = None
    made._begin(end)
    return made


def socketpair(
    family: int | None = None, type: int = _socket.SOCK_STREAM, proto: int = 0
) -> tuple[Made, Made]:
    """As ``socket.socketpair``: two connected sockets; those of datagrams are ordinary ones."""
    fabric = fabric_here()
    if fabric is None or type & ~_TYPE_FLAGS != _socket.SOCK_STREAM:
        return _original_pair(family, type, proto)
    one, other = connected_pair(fabric, _socket.AF_UNIX if family is None else family)
    return _made(one), _made(other)


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> Made:
    """As ``socket.fromfd``."""
    end = Simulation.numbers.get(fd)
    if end is None or fabric_here() is None:
        return _original(family, type, proto, fileno=os.dup(fd))
    return _made(end)
