"""Green sockets: every operation gives the same results, errors and timeouts as the standard one."""

from __future__ import annotations

import array
import errno
import gc
import io
import os
import socket as standard
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import greenpool
from documents import ROOT
from greenpool import config, socket

pytestmark = pytest.mark.usefixtures("leak_check")

Pair = tuple[Any, Any]

BIG = os.urandom(5_000_000)


def has_ipv6() -> bool:
    try:
        with standard.create_server(("::1", 0), family=standard.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
FAMILIES = [
    pytest.param("tcp", id="TCP"),
    pytest.param("tcp6", id="TCP over IPv6", marks=needs_ipv6),
    pytest.param("unix", id="Unix"),
]
MODULES = [pytest.param(socket, id="green"), pytest.param(standard, id="standard")]


def make_pair(kind: str, module: Any = socket) -> Pair:
    if kind == "unix":
        return module.socketpair()  # type: ignore[no-any-return]
    family, host = (standard.AF_INET6, "::1") if kind == "tcp6" else (standard.AF_INET, "127.0.0.1")
    with module.create_server((host, 0), family=family) as listener:
        ours = module.create_connection(listener.getsockname()[:2])
        theirs, _ = listener.accept()
    return ours, theirs


@pytest.fixture(params=FAMILIES)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    ours, theirs = make_pair(request.param)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def unix() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def fill(sock: Any) -> None:
    """Send until the socket takes no more."""
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


def errno_of(function: Callable[..., Any], *args: Any) -> int | None:
    with pytest.raises(OSError) as raised:
        function(*args)
    return raised.value.errno


# The module.


def test_every_name_of_the_standard_module() -> None:
    assert set(standard.__all__) <= set(socket.__all__)
    for name in dir(standard):
        if not name.startswith("__"):
            assert hasattr(socket, name), name
    for name in socket.__all__:
        assert hasattr(socket, name), name


def test_constants_and_errors_are_the_standard_ones() -> None:
    for name, value in vars(standard).items():
        if isinstance(value, int | str) and not name.startswith("_"):
            assert getattr(socket, name) == value
    assert socket.error is OSError
    assert socket.timeout is TimeoutError
    assert socket.gaierror is standard.gaierror


def test_functions_make_green_sockets() -> None:
    for module in (socket, standard):
        with module.create_server(("127.0.0.1", 0)) as listener:
            made = [listener, *module.socketpair(), module.create_connection(listener.getsockname())]
            made.append(listener.accept()[0])
            made.append(module.fromfd(made[0].fileno(), module.AF_INET, module.SOCK_STREAM))
            made.append(made[1].dup())
            assert {type(each) for each in made} == {module.socket}
            for each in made:
                each.close()


def test_it_is_a_subclass_of_the_standard_one() -> None:
    assert issubclass(socket.socket, standard.socket)
    with socket.socket() as sock:
        assert isinstance(sock, standard.socket)
        assert sock.type == standard.SOCK_STREAM
        with pytest.raises(AttributeError):
            sock.nonsense = 1  # type: ignore[attr-defined]
    assert "closed" in repr(sock)


def test_the_descriptor_is_always_non_blocking(pair: Pair) -> None:
    for timeout in (None, 5, 0):
        pair[0].settimeout(timeout)
        assert not os.get_blocking(pair[0].fileno())


# Sending and receiving.


def test_recv_and_send_park_the_greenlet_only(pair: Pair) -> None:
    ours, theirs = pair
    receiver = greenpool.spawn(ours.recv, 100)
    greenpool.sleep(0)
    assert not receiver.ready()
    assert theirs.send(b"hello") == 5
    assert receiver.get() == b"hello"
    theirs.close()
    assert ours.recv(100) == b""


def test_all_ways_to_receive(pair: Pair) -> None:
    ours, theirs = pair
    buffer = bytearray(10)

    def one_after_the_other() -> list[Any]:
        return [
            ours.recv(3),
            (ours.recv_into(buffer), bytes(buffer[:3])),
            (ours.recv_into(memoryview(buffer)[5:], 3), bytes(buffer[5:8])),
            ours.recvfrom(3)[0],
            (ours.recvfrom_into(buffer)[0], bytes(buffer[:3])),
            ours.recvmsg(3)[0],
            (ours.recvmsg_into([buffer])[0], bytes(buffer[:3])),
            ours.recv(3, socket.MSG_PEEK),
            ours.recv(3),
        ]

    receiver = greenpool.spawn(one_after_the_other)
    for number in range(8):
        greenpool.sleep(0.001)
        theirs.sendall(b"%03d" % number)
    assert receiver.get() == [
        b"000",
        (3, b"001"),
        (3, b"002"),
        b"003",
        (3, b"004"),
        b"005",
        (3, b"006"),
        b"007",
        b"007",
    ]


def receive_into(sock: Any, size: int, flags: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: sock.recv_into(buffer, 0, flags)])


@pytest.mark.parametrize("receive", [socket.socket.recv, receive_into])
def test_waitall(receive: Callable[..., bytes], pair: Pair) -> None:
    ours, theirs = pair
    for end in (b"def", b""):
        receiving = greenpool.spawn(receive, ours, 6, socket.MSG_WAITALL)
        theirs.sendall(b"abc")
        greenpool.sleep(0.001)
        assert not receiving.ready()
        theirs.sendall(end) if end else theirs.shutdown(socket.SHUT_WR)
        assert receiving.get() == b"abc" + end


def test_waitall_with_a_timeout_is_what_is_there(pair: Pair) -> None:
    """A standard socket with a timeout is non-blocking, so it does the same."""
    ours, theirs = pair
    ours.settimeout(30)
    theirs.sendall(b"abc")
    assert ours.recv(6, socket.MSG_WAITALL) == b"abc"


def test_waitall_loses_nothing_when_it_is_interrupted(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"abc")
    with greenpool.Timeout(0.01):
        assert ours.recv(6, socket.MSG_WAITALL) == b"abc"
    with pytest.raises(greenpool.Timeout), greenpool.Timeout(0.01):
        ours.recv(6, socket.MSG_WAITALL)


def test_iterators_of_buffers_are_used_up_once(unix: Pair) -> None:
    """The iterators are read only once, although the call is tried again after the wait."""
    ours, theirs = unix
    buffer = bytearray(5)
    receiving = greenpool.spawn(ours.recvmsg_into, iter([buffer]))
    greenpool.sleep(0)
    theirs.send(b"hello")
    assert receiving.get()[0] == 5 and buffer == b"hello"
    fill(ours)
    ours.setblocking(True)
    sending = greenpool.spawn(ours.sendmsg, iter([b"hello"]))
    sending.rawlink(lambda _: ours.close())
    greenpool.sleep(0)
    assert theirs.makefile("rb").read().endswith(b"xhello")
    assert sending.get() == 5


@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sendall_of_much(pair: Pair, kind: Callable[[bytes], Any], timeout: float | None) -> None:
    ours, theirs = pair
    ours.settimeout(timeout)
    sender = greenpool.spawn(ours.sendall, kind(BIG))
    received = bytearray()
    while len(received) < len(BIG):
        received += theirs.recv(1_000_000)
    assert sender.get() is None
    assert received == BIG


def test_sendall_of_what_is_no_bytes(pair: Pair) -> None:
    """An item may have several bytes, and sendall sends all of them."""
    numbers = array.array("i", range(100_000))
    sender = greenpool.spawn(pair[0].sendall, numbers)
    received = bytearray()
    while len(received) < len(numbers) * numbers.itemsize:
        received += pair[1].recv(1_000_000)
    sender.get()
    assert received == numbers.tobytes()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("timeout", [None, 5])
def test_an_empty_datagram(module: Any, timeout: float | None) -> None:
    """sendall sends an empty datagram, too."""
    with (
        module.socket(module.AF_INET, module.SOCK_DGRAM) as ours,
        module.socket(module.AF_INET, module.SOCK_DGRAM) as theirs,
    ):
        ours.bind(("127.0.0.1", 0))
        ours.settimeout(5)
        theirs.connect(ours.getsockname())
        theirs.settimeout(timeout)
        theirs.sendall(b"")
        assert ours.recv(10) == b""


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("timeout", [None, 5, 0])
def test_sendall_of_nothing_on_a_closed_socket(module: Any, timeout: float | None) -> None:
    ours, theirs = module.socketpair()
    ours.settimeout(timeout)
    ours.close()
    assert errno_of(ours.sendall, b"") == errno.EBADF
    theirs.close()


def test_send_waits_for_room(pair: Pair) -> None:
    ours, theirs = pair
    fill(ours)
    ours.setblocking(True)
    sender = greenpool.spawn(ours.send, b"y" * 10)
    greenpool.sleep(0.001)
    assert not sender.ready()
    while not sender.ready():
        theirs.recv(1_000_000)
        greenpool.sleep(0)
    assert sender.get() == 10


def test_sendmsg_and_descriptors(unix: Pair) -> None:
    ours, theirs = unix
    reader, writer = os.pipe()
    receiver = greenpool.spawn(socket.recv_fds, ours, 100, 2)
    greenpool.sleep(0)
    socket.send_fds(theirs, [b"da", b"ta"], [reader, writer])
    data, descriptors, _, _ = receiver.get()
    assert (data, len(descriptors)) == (b"data", 2)
    for fd in (reader, writer, *descriptors):
        os.close(fd)


def test_udp() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.bind(("127.0.0.1", 0))
        theirs.bind(("127.0.0.1", 0))
        receiver = greenpool.spawn(ours.recvfrom, 100)
        greenpool.sleep(0)
        assert theirs.sendto(b"one", ours.getsockname()) == 3
        assert receiver.get() == (b"one", theirs.getsockname())
        assert theirs.sendto(b"two", 0, ours.getsockname()) == 3
        assert ours.recvmsg(100)[0] == b"two"
        theirs.sendto(b"by name", ("localhost", ours.getsockname()[1]))
        assert ours.recv(100) == b"by name"
        with pytest.raises(TypeError):
            theirs.sendto(b"no address")


def test_unix_addresses(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        acceptor = greenpool.spawn(listener.accept)
        greenpool.sleep(0)
        client.connect(path)
        accepted, address = acceptor.get()
        assert address == ""
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"
        accepted.close()


def test_a_unix_listener_whose_backlog_is_full(tmp_path: Path) -> None:
    """The kernel answers EAGAIN and reports no event."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)

        clients = [greenpool.spawn(connect) for _ in range(5)]
        greenpool.sleep(0.001)
        for _ in clients:
            listener.accept()[0].close()
        greenpool.joinall(clients, raise_error=True)


# Sizes and errors, in a greenlet whose hub knows the descriptor. The C extension does the work there.

LIMIT = 64 * 1024  # above this the C extension releases the GIL


def after_a_wait(function: Callable[..., Any], ours: Any, theirs: Any, *args: Any) -> greenpool.Greenlet:
    """Call *function* in a greenlet that has waited for *ours*."""

    def wait_and_call() -> Any:
        assert ours.recv(1) == b"!"
        return function(*args)

    greenlet = greenpool.spawn(wait_and_call)
    greenlet.quiet = True
    greenpool.sleep(0)
    theirs.send(b"!")
    while ours._registration is None:
        greenpool.sleep(0)
    return greenlet


@pytest.mark.parametrize("bufsize", [1, 100, 4096, LIMIT, LIMIT + 1, 1024 * 1024])
def test_recv_of_any_size_returns_the_stream_in_order(pair: Pair, bufsize: int) -> None:
    ours, theirs = pair
    data = os.urandom(min(bufsize * 20, 3 * 1024 * 1024))

    def receive() -> bytes:
        received = bytearray()
        while chunk := ours.recv(bufsize):
            assert len(chunk) <= bufsize
            received += chunk
        return bytes(received)

    receiver = after_a_wait(receive, ours, theirs)
    theirs.sendall(data)
    theirs.close()
    assert receiver.get() == data


@pytest.mark.parametrize("size", [10, LIMIT, LIMIT + 1])
def test_recv_and_recv_into_of_any_size_park(pair: Pair, size: int) -> None:
    ours, theirs = pair
    for receive in (ours.recv, lambda size: ours.recv_into(bytearray(size))):
        receiver = after_a_wait(receive, ours, theirs, size)
        greenpool.sleep(0)
        greenpool.sleep(0)
        assert not receiver.ready()
        theirs.send(b"hello")
        assert receiver.get() in (b"hello", 5)
    theirs.close()
    assert greenpool.spawn(ours.recv, size).get() == b""
    assert greenpool.spawn(ours.recv_into, bytearray(size)).get() == 0


@given(message=st.binary(max_size=300), bufsize=st.integers(0, 300))
def test_recv_cuts_a_datagram_as_the_standard_one_does(message: bytes, bufsize: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:

        def receive_both() -> tuple[bytes, bytes]:
            theirs.send(message)
            theirs.send(message)
            return ours.recv(bufsize), standard.socket.recv(ours, bufsize)

        green, expected = after_a_wait(receive_both, ours, theirs).get()
        assert green == expected


def test_a_datagram_above_the_limit_is_taken_whole() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    message = os.urandom(LIMIT + 1000)
    buffer = bytearray(2 * LIMIT)
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LIMIT)

        def receive() -> None:
            theirs.send(message)
            assert ours.recv(2 * LIMIT) == message
            theirs.send(message)
            assert ours.recv_into(buffer) == len(message)
            assert buffer[: len(message)] == message

        after_a_wait(receive, ours, theirs).get()


def test_recv_into_fills_the_buffer_and_no_more(pair: Pair) -> None:
    ours, theirs = pair
    buffer = bytearray(b"." * 6)
    numbers = array.array("i", [1, 2, 3])
    target = array.array("i", [0, 0, 0])

    def receive() -> None:
        theirs.sendall(b"0123456789")
        assert ours.recv_into(buffer) == 6
        assert buffer == b"012345"
        assert ours.recv_into(buffer) == 4
        assert buffer == b"678945"
        theirs.sendall(b"0123456789")
        buffer[:] = b"." * 6
        assert ours.recv_into(buffer, 3) == 3
        assert buffer == b"012..."
        assert ours.recv_into(memoryview(buffer)[4:], 2, socket.MSG_PEEK) == 2
        assert buffer == b"012.34"
        assert ours.recv_into(memoryview(buffer)[1:3]) == 2
        assert buffer == b"034.34"
        assert ours.recv(100) == b"56789"
        # Bytes are counted, not items.
        theirs.sendall(numbers.tobytes())
        assert ours.recv_into(target) == 3 * numbers.itemsize
        assert target == numbers

    after_a_wait(receive, ours, theirs).get()


def test_recv_into_lets_go_of_the_buffer(unix: Pair) -> None:
    ours, theirs = unix
    buffer = bytearray(4)

    def grow() -> None:
        gc.collect()  # the traceback of an error may be part of a cycle
        buffer.append(0)  # BufferError while somebody still holds it

    def receive() -> None:
        theirs.send(b"x")
        assert ours.recv_into(buffer) == 1
        grow()
        with pytest.raises(ValueError, match="buffer too small|nbytes"):
            ours.recv_into(buffer, 6)
        grow()
        with pytest.raises(greenpool.Timeout), greenpool.Timeout(0.001):
            ours.recv_into(buffer)
        grow()
        ours.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            ours.recv_into(buffer)
        grow()

    after_a_wait(receive, ours, theirs).get()


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_send_takes_any_bytes_like_object(unix: Pair, wrap: Callable[[bytes], Any]) -> None:
    ours, theirs = unix
    assert greenpool.spawn(ours.send, wrap(b"hello")).get() == 5
    assert theirs.recv(10) == b"hello"


def test_send_above_the_limit_takes_what_fits_and_waits_for_room(pair: Pair) -> None:
    ours, theirs = pair
    data = os.urandom(32 * 1024 * 1024)

    def drain(size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            received += theirs.recv(min(1024 * 1024, size - len(received)))
        return bytes(received)

    sent = greenpool.spawn(ours.send, data).get()
    assert 0 < sent < len(data)
    assert drain(sent) == data[:sent]
    fill(ours)
    ours.setblocking(True)
    sender = greenpool.spawn(ours.send, bytes(LIMIT + 1))
    greenpool.sleep(0)
    assert not sender.ready()
    while not sender.ready():
        theirs.recv(1_000_000)
        greenpool.sleep(0)
    assert 0 < sender.get() <= LIMIT + 1


@pytest.mark.parametrize("size", [10, 2 * LIMIT])
def test_a_reset_is_reported_once_and_then_the_stream_is_at_its_end(size: int) -> None:
    for receive in (socket.socket.recv, lambda sock, size: sock.recv_into(bytearray(size))):
        ours, theirs = make_pair("tcp")

        def meet_the_reset(ours: Any = ours, receive: Callable[..., Any] = receive) -> None:
            with pytest.raises(ConnectionResetError):
                receive(ours, size)
            assert receive(ours, size) in (b"", 0)

        with ours, theirs:
            ours.sendall(b"unread")
            receiver = after_a_wait(meet_the_reset, ours, theirs)
            socket.wait_read(theirs)
            theirs.close()  # with data unread, this resets
            receiver.get()


def test_a_descriptor_that_is_no_socket(unix: Pair) -> None:
    ours, theirs = unix
    reading, writing = os.pipe()

    def use() -> None:
        os.dup2(reading, ours.fileno())
        assert errno_of(ours.recv, 10) == errno.ENOTSOCK
        assert errno_of(ours.recv, LIMIT + 1) == errno.ENOTSOCK
        assert errno_of(ours.recv_into, bytearray(10)) == errno.ENOTSOCK
        assert errno_of(ours.recv_into, bytearray(LIMIT + 1)) == errno.ENOTSOCK
        assert errno_of(ours.send, b"x") == errno.ENOTSOCK
        assert errno_of(ours.send, bytes(LIMIT + 1)) == errno.ENOTSOCK

    after_a_wait(use, ours, theirs).get()
    os.close(reading)
    os.close(writing)


def test_integers_of_other_types(unix: Pair) -> None:
    class Index:
        """An integer that is no int, such as numpy's."""

        def __index__(self) -> int:
            return 3

    class Broken:
        def __index__(self) -> int:
            raise LookupError("broken")

    ours, theirs = unix

    def receive() -> None:
        theirs.send(b"hello")
        assert ours.recv(Index()) == b"hel"
        with pytest.raises(LookupError, match="broken"):
            ours.recv(Broken())
        assert ours.recv(10) == b"lo"

    after_a_wait(receive, ours, theirs).get()


@pytest.mark.parametrize("chunk", [100, LIMIT, 3 * LIMIT])
def test_four_hubs_at_once(chunk: int) -> None:
    """Each echoes over a pair of its own while the others do the same; nothing gets mixed up."""
    wrong: list[str] = []

    def echo(number: int) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for turn in range(300):
                message = bytes([number * 50 + turn % 50]) * chunk
                sender = greenpool.spawn(ours.sendall, message)
                received = bytearray()
                while len(received) < chunk:
                    received += theirs.recv(chunk - len(received))
                sender.get()
                if received != message:
                    wrong.append(f"hub {number}, round {turn}")

    with greenpool.Runtime(pool_size=4) as runtime:
        greenlets = [runtime.handle().spawn_on(number, echo, number) for number in range(4)]
        for greenlet in greenlets:
            greenlet.get()
    assert wrong == []


def test_four_hubs_share_the_stream_of_one_socket_without_loss(unix: Pair) -> None:
    ours, theirs = unix
    total = 1_000_000

    def drain() -> int:
        received = 0
        while data := theirs.recv(1000):
            received += len(data)
        return received

    with greenpool.Runtime(pool_size=4) as runtime:
        drains = [runtime.handle().spawn_on(number, drain) for number in range(4)]
        ours.sendall(bytes(total))
        ours.shutdown(socket.SHUT_WR)
        assert sum(greenlet.get() for greenlet in drains) == total


# sendfile.


@pytest.mark.parametrize("timeout", [None, 30])
def test_sendfile(pair: Pair, tmp_path: Path, timeout: float | None) -> None:
    ours, theirs = pair
    ours.settimeout(timeout)
    (tmp_path / "file").write_bytes(BIG)
    with open(tmp_path / "file", "rb") as file:
        sender = greenpool.spawn(ours.sendfile, file, 1000)
        received = bytearray()
        while len(received) < len(BIG) - 1000:
            received += theirs.recv(1_000_000)
        assert sender.get() == len(BIG) - 1000
        assert received == BIG[1000:]
        assert file.tell() == len(BIG)
        sender = greenpool.spawn(ours.sendfile, file, 10, 20)
        assert theirs.recv(100) == BIG[10:30]
        assert (sender.get(), file.tell()) == (20, 30)


def test_sendfile_of_what_is_no_file(pair: Pair) -> None:
    ours, theirs = pair
    assert ours.sendfile(io.BytesIO(b"from memory")) == 11
    assert theirs.recv(100) == b"from memory"


@pytest.mark.parametrize("module", MODULES)
def test_sendfile_refuses(module: Any, tmp_path: Path) -> None:
    ours, theirs = module.socketpair()
    (tmp_path / "file").write_bytes(b"x")
    with ours, theirs, open(tmp_path / "file", "rb") as file:
        for count in (0, -1):
            with pytest.raises(ValueError, match="count"):
                ours.sendfile(file, 0, count)
        assert errno_of(ours.sendfile, file, -1) == errno.EINVAL
        ours.settimeout(0)
        with pytest.raises(ValueError, match="non-blocking"):
            ours.sendfile(file)
        ours.settimeout(5)
        ours.close()
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            ours.sendfile(file)
    with open(tmp_path / "file") as text, pytest.raises(ValueError, match="binary"):
        ours.sendfile(text)


def test_the_timeout_of_sendfile_is_for_each_wait(
    unix: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow but steady reader extends the timeout, as with the standard sendfile."""
    ours, theirs = unix
    ours.settimeout(30)
    (tmp_path / "file").write_bytes(BIG)
    now = 0.0
    monkeypatch.setattr(socket, "_monotonic", lambda: now)

    def read_slowly() -> bytes:
        nonlocal now
        got = bytearray()
        while len(got) < len(BIG):
            got += theirs.recv(500_000)
            now += 20
        return bytes(got)

    reading = greenpool.spawn(read_slowly)
    with open(tmp_path / "file", "rb") as file:
        assert ours.sendfile(file) == len(BIG)
    assert reading.get() == BIG


# Connecting and accepting.


def test_accept_parks(unix: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = greenpool.spawn(listener.accept)
        greenpool.sleep(0)
        assert not acceptor.ready()
        with standard.create_connection(listener.getsockname()) as client:
            accepted, address = acceptor.get()
            assert type(accepted) is socket.socket
            assert address == client.getsockname()
            assert accepted.gettimeout() is None
            accepted.close()


@pytest.mark.parametrize("kind", FAMILIES)
def test_an_accepted_socket_is_as_the_standard_one(kind: str) -> None:
    if kind == "unix":
        address: Any = "\0greenpool" + os.urandom(8).hex() if sys.platform == "linux" else None
        if address is None:
            pytest.skip("needs the abstract namespace")
        listener = socket.socket(standard.AF_UNIX)
        listener.bind(address)
        listener.listen()
    else:
        family, host = (standard.AF_INET6, "::1") if kind == "tcp6" else (standard.AF_INET, "127.0.0.1")
        listener = socket.create_server((host, 0), family=family)
    with listener, socket.socket(listener.family) as client:
        client.connect(listener.getsockname())
        accepted, peer = listener.accept()
        with accepted, standard.socket(fileno=os.dup(accepted.fileno())) as plain:
            assert peer == plain.getpeername()
            assert (accepted.family, accepted.type) == (listener.family, listener.type)
            assert accepted.proto == listener.proto
            assert not os.get_blocking(accepted.fileno())
            assert not accepted.get_inheritable()
            # The standard methods below it find it non-blocking, too.
            assert standard.socket.gettimeout(accepted) == 0.0


@pytest.mark.skipif(not config.speedups, reason="the standard accept would block the hub")
def test_accept_parks_where_somebody_else_made_the_listener_blocking(unix: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_blocking(listener.fileno(), True)
        acceptor = greenpool.spawn(listener.accept)
        greenpool.sleep(0)
        assert not acceptor.ready()
        with standard.create_connection(listener.getsockname()):
            acceptor.get()[0].close()


@pytest.mark.parametrize("module", MODULES)
def test_timeouts_of_accepted_sockets(module: Any) -> None:
    """An accepted socket gets the default timeout, not the listener's timeout."""
    with module.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        with module.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            assert accepted.gettimeout() is None
            accepted.close()
        module.setdefaulttimeout(7)
        try:
            with module.create_connection(listener.getsockname()) as client:
                accepted, _ = listener.accept()
                assert (client.gettimeout(), accepted.gettimeout()) == (7, 7)
                accepted.close()
        finally:
            module.setdefaulttimeout(None)


@pytest.fixture
def refusing() -> Iterator[tuple[str, int]]:
    """An address that refuses connections: bound, so that no other process can listen there."""
    with standard.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("timeout", [None, 30])
def test_a_refused_connection(module: Any, timeout: float | None, refusing: tuple[str, int]) -> None:
    with module.socket() as sock:
        sock.settimeout(timeout)
        with pytest.raises(ConnectionRefusedError):
            sock.connect(refusing)
    with module.socket() as sock:
        sock.settimeout(timeout)
        assert sock.connect_ex(refusing) == errno.ECONNREFUSED
    with pytest.raises(ConnectionRefusedError):
        module.create_connection(refusing, timeout=timeout)


@pytest.mark.parametrize("module", MODULES)
def test_connecting_without_waiting(module: Any) -> None:
    with module.create_server(("127.0.0.1", 0)) as listener, module.socket() as sock:
        sock.setblocking(False)
        assert sock.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
        listener.accept()[0].close()
        assert sock.connect_ex(listener.getsockname()) in (0, errno.EISCONN)


@pytest.mark.parametrize("module", MODULES)
def test_connecting_twice(module: Any) -> None:
    with module.create_server(("127.0.0.1", 0)) as listener, module.socket() as sock:
        sock.connect(listener.getsockname())
        assert errno_of(sock.connect, listener.getsockname()) == errno.EISCONN
        assert sock.connect_ex(listener.getsockname()) == errno.EISCONN


@pytest.mark.parametrize("module", MODULES)
def test_a_connect_that_times_out(module: Any) -> None:
    """A listener with a full queue does not answer."""
    with module.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(8):
                sock = module.socket()
                waiting.append(sock)
                sock.settimeout(0.02)
                sock.connect(listener.getsockname())
        except TimeoutError:
            sock = module.socket()
            waiting.append(sock)
            sock.settimeout(0.02)
            assert sock.connect_ex(listener.getsockname()) == errno.EAGAIN
        else:
            pytest.skip("this system's queue takes more than was asked")
        finally:
            for sock in waiting:
                sock.close()


@pytest.mark.parametrize("module", MODULES)
def test_connect_to_nonsense(module: Any) -> None:
    with module.socket() as sock:
        for address in (None, "no tuple", ("127.0.0.1",), ("127.0.0.1", "port"), ()):
            with pytest.raises(TypeError):
                sock.connect(address)
        with pytest.raises(TypeError, match="null character"):
            sock.connect(("a\0b", 80))
        with pytest.raises(OverflowError):
            sock.connect(("127.0.0.1", 100_000))
        with pytest.raises(standard.gaierror):
            sock.connect(("no such host.invalid", 80))


def test_connect_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("localhost", port)) as one, socket.socket() as two:
            two.connect(("localhost", port))
            assert one.getpeername() == two.getpeername() == ("127.0.0.1", port)
        for _ in range(2):
            listener.accept()[0].close()


def test_create_connection_and_create_server_take_the_standard_arguments() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=5, reuse_port=False) as listener,
        socket.create_connection(
            listener.getsockname(), timeout=5, source_address=("127.0.0.1", 0)
        ) as client,
    ):
        assert client.gettimeout() == 5
        listener.accept()[0].close()
    with pytest.raises(ValueError):
        socket.create_server(("127.0.0.1", 0), dualstack_ipv6=True)


@needs_ipv6
def test_create_server_with_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no dual stack here")
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port)):
                listener.accept()[0].close()


# Timeouts.


def timed_operations() -> list[Any]:
    receive: dict[str, Callable[[Any], Any]] = {
        "recv": lambda sock: sock.recv(1),
        "recv with flags": lambda sock: sock.recv(1, standard.MSG_PEEK),
        "recv_into": lambda sock: sock.recv_into(bytearray(1)),
        "recvfrom": lambda sock: sock.recvfrom(1),
        "recvfrom_into": lambda sock: sock.recvfrom_into(bytearray(1)),
        "recvmsg": lambda sock: sock.recvmsg(1),
        "recvmsg_into": lambda sock: sock.recvmsg_into([bytearray(1)]),
    }
    send: dict[str, Callable[[Any], Any]] = {
        "send": lambda sock: sock.send(b"x" * 100_000),
        "sendall": lambda sock: sock.sendall(b"x" * 100_000),
        "sendmsg": lambda sock: sock.sendmsg([b"x" * 100_000]),
    }
    return [pytest.param(call, False, id=name) for name, call in receive.items()] + [
        pytest.param(call, True, id=name) for name, call in send.items()
    ]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(("operation", "writes"), timed_operations())
def test_every_operation_times_out(module: Any, operation: Callable[[Any], Any], writes: bool) -> None:
    ours, theirs = module.socketpair()
    with ours, theirs:
        if writes:
            fill(ours)
        ours.settimeout(0.005)
        with pytest.raises(TimeoutError, match="timed out"):
            operation(ours)
        ours.settimeout(0)
        with pytest.raises(BlockingIOError):
            operation(ours)


@pytest.mark.parametrize("module", MODULES)
def test_accept_times_out(module: Any) -> None:
    with module.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.005)
        with pytest.raises(TimeoutError):
            listener.accept()
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_timeout_of_sendall_is_for_the_whole(unix: Pair) -> None:
    """A slow but steady reader does not extend the timeout."""
    ours, theirs = unix
    ours.settimeout(0.05)

    def read_slowly() -> None:
        while True:
            theirs.recv(1000)
            greenpool.sleep(0.001)

    reader = greenpool.spawn(read_slowly)
    with pytest.raises(TimeoutError):
        ours.sendall(BIG)
    reader.kill()


def test_a_socket_is_as_good_after_a_timeout(pair: Pair) -> None:
    ours, theirs = pair
    ours.settimeout(0.001)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            ours.recv(1)
    theirs.send(b"x")
    ours.settimeout(None)
    assert ours.recv(1) == b"x"


@pytest.mark.parametrize("module", MODULES)
def test_settimeout(module: Any) -> None:
    with module.socket() as sock:
        assert (sock.gettimeout(), sock.timeout, sock.getblocking()) == (None, None, True)
        for value, stored, blocking in [
            (0, 0.0, False),
            (None, None, True),
            (2, 2.0, True),
            (0.5, 0.5, True),
            (True, 1.0, True),
        ]:
            sock.settimeout(value)
            assert (sock.gettimeout(), sock.timeout) == (stored, stored)
            assert sock.getblocking() is blocking
        sock.setblocking(False)
        assert sock.gettimeout() == 0.0
        sock.setblocking(True)
        assert sock.gettimeout() is None
        for wrong in (-1, -0.001, float("nan")):
            with pytest.raises(ValueError):
                sock.settimeout(wrong)
        for wrong in ("1", b"1", [], object(), 1j):
            with pytest.raises(TypeError):
                sock.settimeout(wrong)
        for wrong in (float("inf"), 1e20, 10**30):
            with pytest.raises(OverflowError):
                sock.settimeout(wrong)
        if sys.version_info < (3, 12):
            with pytest.raises(TypeError):
                sock.setblocking("no")
        assert sock.gettimeout() is None


@pytest.mark.parametrize("module", MODULES)
def test_the_default_timeout(module: Any) -> None:
    module.setdefaulttimeout(3)
    try:
        ours, theirs = module.socketpair()
        assert ours.gettimeout() == 3
        ours.close()
        theirs.close()
    finally:
        module.setdefaulttimeout(None)


def test_a_timeout_of_greenpool_around_a_socket_operation(pair: Pair) -> None:
    with pytest.raises(greenpool.Timeout), greenpool.Timeout(0.001):
        pair[0].recv(1)


def test_the_timeout_error_of_somebody_else(tmp_path: Path) -> None:
    """The error is raised as it is. connect_ex returns a number for the socket's own timeout only."""
    deadline = TimeoutError("the request's deadline")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "listener"))
        listener.listen(0)
        first.connect(str(tmp_path / "listener"))
        with socket.socket(socket.AF_UNIX) as sock, pytest.raises(TimeoutError) as raised:
            with greenpool.Timeout(0.01, deadline):
                sock.connect_ex(str(tmp_path / "listener"))
    assert raised.value is deadline


OVERDUE = [
    pytest.param(lambda sock: sock.recv(1), id="recv"),
    pytest.param(lambda sock: sock.recv_into(bytearray(1)), id="recv_into"),
    pytest.param(lambda sock: sock.recvfrom(1), id="recvfrom"),
    pytest.param(lambda sock: socket.wait_read(sock, 0.1), id="wait_read"),
]


@pytest.mark.parametrize("receive", OVERDUE)
def test_what_came_while_the_hub_was_busy_came_in_time(receive: Callable[[Any], Any], unix: Pair) -> None:
    ours, theirs = unix
    ours.settimeout(0.1)
    receiving = greenpool.spawn(receive, ours)
    greenpool.sleep(0)
    theirs.send(b"x")
    # Block the whole hub, its timers and its poller, until the time is over.
    time.sleep(0.11)
    receiving.get()


def test_room_that_came_while_the_hub_was_busy_came_in_time(unix: Pair) -> None:
    ours, theirs = unix
    fill(ours)
    ours.settimeout(0.1)
    sending = [greenpool.spawn(send, b"x") for send in (ours.send, ours.sendall)]
    greenpool.sleep(0)
    theirs.recv(1_000_000)
    time.sleep(0.11)
    greenpool.joinall(sending, raise_error=True)


# Files of sockets.


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda sock: sock.send(b"x"), id="send"),
        pytest.param(lambda sock: sock.send(b"x", standard.MSG_NOSIGNAL), id="send with flags"),
        pytest.param(lambda sock: sock.sendall(b"x") or 1, id="sendall"),
        pytest.param(lambda sock: sock.sendmsg([b"x"]), id="sendmsg"),
    ],
)
def test_a_pending_timeout_loses_no_count(send: Callable[[Any], int], unix: Pair) -> None:
    """The timeout is raised where the greenlet yields: before an operation, not after the bytes have left."""
    ours, theirs = unix
    counts = []

    def send_on() -> None:
        # The timeout has fired, but it is not raised yet, because the greenlet runs.
        greenpool.getcurrent()._kill(greenpool.Timeout())
        while True:
            counts.append(send(ours))

    with pytest.raises(greenpool.Timeout):
        greenpool.spawn(send_on).get()
    ours.close()
    assert len(theirs.makefile("rb").read()) == sum(counts)


def test_a_pending_timeout_leaves_a_file_where_sendfile_has_come(unix: Pair, tmp_path: Path) -> None:
    ours, theirs = unix
    (tmp_path / "file").write_bytes(b"x")
    counts = []

    def send_on() -> None:
        greenpool.getcurrent()._kill(greenpool.Timeout())
        while True:
            with open(tmp_path / "file", "rb") as file:
                counts.append(ours.sendfile(file))

    with pytest.raises(greenpool.Timeout):
        greenpool.spawn(send_on).get()
    ours.close()
    assert len(theirs.makefile("rb").read()) == sum(counts)


def test_makefile(pair: Pair) -> None:
    ours, theirs = pair
    reader = ours.makefile("r", encoding="utf-8", newline="\n")
    writer = theirs.makefile("w", encoding="utf-8", newline="\n")
    lines = greenpool.spawn(list, reader)
    for number in range(3):
        writer.write(f"line {number}\n")
        writer.flush()
        greenpool.sleep(0)
    writer.close()
    theirs.close()
    assert lines.get() == ["line 0\n", "line 1\n", "line 2\n"]
    reader.close()


def test_makefile_both_ways(pair: Pair) -> None:
    with pair[0].makefile("rwb", buffering=0) as ours, pair[1].makefile("rwb") as theirs:
        reader = greenpool.spawn(theirs.readline)
        greenpool.sleep(0)
        ours.write(b"question\n")
        assert reader.get() == b"question\n"
        theirs.write(b"answer\n")
        theirs.flush()
        assert ours.readline() == b"answer\n"


def test_a_file_outlives_the_close_of_its_socket(pair: Pair) -> None:
    ours, theirs = pair
    file = ours.makefile("rb")
    ours.close()
    theirs.sendall(b"still here")
    theirs.close()
    assert file.read() == b"still here"
    file.close()
    assert ours.fileno() == -1


@pytest.mark.parametrize("module", MODULES)
def test_a_file_after_a_timeout(module: Any) -> None:
    ours, theirs = module.socketpair()
    ours.settimeout(0.001)
    with ours, theirs, ours.makefile("rb") as file:
        with pytest.raises(TimeoutError):
            file.read(1)
        with pytest.raises(OSError, match="cannot read from timed out object"):
            file.read(1)


@pytest.mark.parametrize("module", MODULES)
def test_a_file_of_a_non_blocking_socket(module: Any) -> None:
    ours, theirs = module.socketpair()
    ours.setblocking(False)
    with ours, theirs, ours.makefile("rb", buffering=0) as file:
        assert file.read(1) is None
        theirs.send(b"x")
        assert file.read(1) == b"x"


# Duplicates, numbers, closing.


def test_dup(pair: Pair) -> None:
    ours, theirs = pair
    ours.settimeout(9)
    with ours.dup() as second:
        assert type(second) is socket.socket
        assert second.gettimeout() == 9
        assert second.fileno() != ours.fileno()
        ours.close()
        theirs.send(b"x")
        assert second.recv(1) == b"x"


@pytest.mark.parametrize("module", MODULES)
def test_detach(module: Any) -> None:
    """The number passes to another owner, as blocking as the standard socket would have left it."""
    ours, theirs = module.socketpair()
    for sock, blocking in ((ours, True), (theirs, False)):
        sock.setblocking(blocking)
        fd = sock.detach()
        assert sock.fileno() == -1
        assert os.get_blocking(fd) is blocking
        os.close(fd)
    assert ours.detach() == -1


@pytest.mark.parametrize("module", MODULES)
def test_a_socket_of_a_number(module: Any) -> None:
    ours, theirs = module.socketpair()
    with module.socket(fileno=ours.detach()) as again, theirs:
        assert (again.family, again.type) == (theirs.family, theirs.type)
        theirs.send(b"x")
        assert again.recv(1) == b"x"
    for wrong in (-1, 100_000):
        with pytest.raises((OSError, ValueError)):
            module.socket(fileno=wrong)
    with pytest.raises(TypeError):
        module.socket(fileno="1")


CLOSED_OPERATIONS: list[Callable[[Any], Any]] = [
    lambda sock: sock.recv(1),
    lambda sock: sock.recv(1, 0),
    lambda sock: sock.recv_into(bytearray(1)),
    lambda sock: sock.recvfrom(1),
    lambda sock: sock.recvmsg(1),
    lambda sock: sock.send(b"x"),
    lambda sock: sock.sendall(b"x"),
    lambda sock: sock.sendto(b"x", ("127.0.0.1", 9)),
    lambda sock: sock.sendmsg([b"x"]),
    lambda sock: sock.accept(),
    lambda sock: sock.connect(("127.0.0.1", 9)),
    lambda sock: sock.shutdown(standard.SHUT_RD),
    lambda sock: sock.dup(),
    lambda sock: sock.getsockname(),
    lambda sock: sock.listen(),
]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("timeout", [None, 5, 0])
def test_a_closed_socket(module: Any, timeout: float | None) -> None:
    sock = module.socket()
    sock.settimeout(timeout)
    sock.close()
    sock.close()
    for operation in CLOSED_OPERATIONS:
        assert errno_of(operation, sock) == errno.EBADF
    assert sock.connect_ex(("127.0.0.1", 9)) == errno.EBADF
    assert sock.fileno() == -1


def test_a_socket_that_was_used_and_closed() -> None:
    ours, theirs = make_pair("tcp")
    ours.settimeout(0.001)
    with pytest.raises(TimeoutError):
        ours.recv(1)
    ours.settimeout(None)
    ours.close()
    for operation in CLOSED_OPERATIONS:
        assert errno_of(operation, ours) == errno.EBADF
    theirs.close()


def test_closed_when_it_is_about_to_be_registered(unix: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler or another thread may close it. Nobody waits for the number, which may be reused."""
    ours, theirs = unix
    number = ours.fileno()
    make = socket._Descriptor

    def closed_meanwhile(fd: int) -> Any:
        ours.close()
        return make(fd)

    close = socket.socket._real_close

    def close_and_use_anew(sock: Any) -> None:
        close(sock)
        os.dup2(other.fileno(), number)

    monkeypatch.setattr(socket, "_Descriptor", closed_meanwhile)
    other, peer = standard.socketpair()
    with other, peer:
        monkeypatch.setattr(socket.socket, "_real_close", close_and_use_anew)
        with greenpool.Timeout(5):
            assert errno_of(ours.recv, 1) == errno.EBADF
        monkeypatch.undo()
        os.close(number)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_when_it_is_about_to_be_registered(unix: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may fork. Both processes go on with the interrupted operation."""
    ours, _ = unix
    ours.settimeout(0.001)
    make = socket._Descriptor
    children = []

    def forked_meanwhile(fd: int) -> Any:
        children.append(os.fork())
        return make(fd)

    monkeypatch.setattr(socket, "_Descriptor", forked_meanwhile)
    status = 1
    try:
        ours.recv(1)
    except TimeoutError:
        status = 0
    finally:
        if children == [0]:
            os._exit(status)
    assert os.waitpid(children[0], 0)[1] == status == 0


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("how", [standard.SHUT_RD, standard.SHUT_WR, standard.SHUT_RDWR])
def test_shutdown(module: Any, how: int) -> None:
    ours, theirs = make_pair("tcp", module)
    with ours, theirs:
        ours.shutdown(how)
        if how != standard.SHUT_WR:
            assert ours.recv(1) == b""
        if how != standard.SHUT_RD:
            with pytest.raises(BrokenPipeError):
                ours.send(b"x")
            assert theirs.recv(1) == b""


@pytest.mark.parametrize("module", MODULES)
def test_bad_arguments(module: Any) -> None:
    ours, theirs = module.socketpair()
    with ours, theirs:
        for call in (
            lambda: ours.recv("1"),
            lambda: ours.recv(),
            lambda: ours.send("text"),
            lambda: ours.sendall("text"),
            lambda: ours.sendall(None),
            lambda: ours.recv_into(b"not writable"),
            lambda: ours.recv_into(None),
        ):
            with pytest.raises((TypeError, BufferError)):
                call()
        for negative in (lambda: ours.recv(-1), lambda: ours.recvfrom(-1)):
            with pytest.raises(ValueError, match="negative"):
                negative()


# Names.


def test_numeric_addresses_are_looked_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "_off_thread", None)
    for arguments in (("127.0.0.1", 80), ("::1", "80"), (None, 80), (b"127.0.0.1", None)):
        assert socket.getaddrinfo(*arguments) == standard.getaddrinfo(*arguments)
    assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert socket.getnameinfo(("127.0.0.1", 80), numeric) == ("127.0.0.1", "80")


@pytest.mark.parametrize("module", MODULES)
def test_what_is_no_name(module: Any) -> None:
    with pytest.raises(TypeError, match="must be string or None"):
        module.getaddrinfo(3, 80)


def test_names_are_looked_up_off_the_hub_s_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    turns = []

    def resolver(name: str) -> Callable[..., Any]:
        def resolve(*args: Any) -> Any:
            threads.append(threading.get_ident())
            asked.wait()
            return name

        return resolve

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"):
        monkeypatch.setattr(socket, f"_native_{name}", resolver(name))
    calls: dict[str, tuple[Any, ...]] = {
        "getaddrinfo": ("example.invalid", 80),
        "gethostbyname": ("example.invalid",),
        "gethostbyname_ex": ("example.invalid",),
        "gethostbyaddr": ("127.0.0.1",),
        "getnameinfo": (("127.0.0.1", 80), 0),
    }
    for name, arguments in calls.items():
        asked = threading.Event()
        looking_up = greenpool.spawn(getattr(socket, name), *arguments)
        greenpool.sleep(0)
        turns.append(looking_up.ready())
        asked.set()
        assert looking_up.get() == name
    assert not any(turns)
    assert threading.get_ident() not in threads


def test_errors_of_the_resolver() -> None:
    with pytest.raises(standard.gaierror):
        socket.getaddrinfo("no such name.invalid", 80)
    with pytest.raises(standard.gaierror):
        socket.gethostbyname("no such name.invalid")
    assert socket.getfqdn("127.0.0.1")


# Waiting without a socket.


@pytest.mark.parametrize("wait", [socket.wait_read, socket.wait_write])
def test_wait_read_and_wait_write(wait: Callable[..., None], unix: Pair) -> None:
    ours, theirs = unix
    if wait is socket.wait_write:
        fill(ours)
    for what in (ours, ours.fileno()):
        with pytest.raises(TimeoutError):
            wait(what, 0.001)
        with pytest.raises(ValueError, match="own"):
            wait(what, timeout=0.001, timeout_exc=ValueError("own"))
    waiting = greenpool.spawn(wait, ours)
    greenpool.sleep(0)
    assert not waiting.ready()
    if wait is socket.wait_write:
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                theirs.recv(1_000_000)
    else:
        theirs.send(b"x")
    waiting.get()
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            wait(ours, wrong)
    ours.close()
    assert errno_of(wait, ours) == errno.EBADF


# Running out of descriptors.

OUT_OF_DESCRIPTORS = """
import errno, os, resource, sys
import greenpool
from greenpool import config, socket

listener = socket.create_server(("127.0.0.1", 0))
established = []
for _ in range(5):
    client = socket.create_connection(listener.getsockname())
    established.append((client, listener.accept()[0]))
late = [socket.create_connection(listener.getsockname()) for _ in range(3)]
limit = os.dup(0)
os.close(limit)
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for _ in range(3):
    try:
        listener.accept()
    except OSError as error:
        print(errno.errorcode[error.errno])
echo = [greenpool.spawn(lambda pair=pair: pair[1].send(pair[1].recv(10))) for pair in established]
greenpool.sleep(0)
for number, (client, _) in enumerate(established):
    client.send(b"%d" % number)
    print(client.recv(10))
# Once there is room again, every connection that waited in the queue is still there.
for pair in established:
    for sock in pair:
        sock.close()
for client in late:
    accepted, address = listener.accept()
    accepted.sendall(b"late")
    accepted.close()
print([client.recv(10) for client in late])
for sock in (listener, *late):
    sock.close()
"""


def test_running_out_of_descriptors_in_accept_loses_no_connection() -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", OUT_OF_DESCRIPTORS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert process.stderr == ""
    assert process.stdout.splitlines() == [
        "EMFILE",
        "EMFILE",
        "EMFILE",
        *(f"b'{number}'" for number in range(5)),
        "[b'late', b'late', b'late']",
    ]


def test_functions_of_the_module_know_its_own_names() -> None:
    """They are the standard module's functions, rebuilt over this module's globals."""
    for name, value in vars(socket).items():
        if isinstance(value, types.FunctionType) and not name.startswith("_"):
            assert value.__globals__ is vars(socket), name


def test_greenlets_take_turns_at_a_file() -> None:
    """Standard buffers would refuse the second greenlet with a "reentrant" error."""
    near, far = socket.socketpair()
    with near, far, near.makefile("rb") as reading, far.makefile("rwb") as both:
        readers = [greenpool.spawn(reading.readline) for _ in range(3)]
        greenpool.sleep(0)
        both.write(b"one\ntwo\nthree\n")
        both.flush()
        assert [reader.get() for reader in readers] == [b"one\n", b"two\n", b"three\n"]


def test_a_file_that_another_hub_reads_from_leaves_the_hub_free() -> None:
    near, far = socket.socketpair()
    with near, far, near.makefile("rb") as file, greenpool.Runtime(pool_size=2) as runtime:
        handle = runtime.handle()
        readers = [handle.spawn_on(hub, file.readline) for hub in (0, 1)]
        # Both readers wait when these return, because a later spawn runs later.
        assert [handle.spawn_on(hub, lambda: 7).get() for hub in (0, 1)] == [7, 7]
        far.send(b"one\ntwo\n")
        assert sorted(reader.get() for reader in readers) == [b"one\n", b"two\n"]


# gevent's arguments.


def test_send_with_a_timeout_of_its_own() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert one.send(b"text", timeout=60) == 4
        assert one.send(b"text", 0, timeout=None) == 4
        with pytest.raises(TimeoutError):
            while True:
                one.send(b"x" * 100_000, timeout=0.005)
        assert one.gettimeout() is None
        with pytest.raises(BlockingIOError):
            one.send(b"x" * 100_000, timeout=0)
    with pytest.raises(OSError):
        one.send(b"text", timeout=1)


def test_wait_readwrite() -> None:
    one, other = socket.socketpair()
    with one, other:
        socket.wait_readwrite(one, 60)
        with pytest.raises(BlockingIOError):
            while True:
                one.send(b"x" * 100_000, timeout=0)
        with pytest.raises(KeyError):
            socket.wait_readwrite(one, 0.005, KeyError)
        waiting = greenpool.spawn(socket.wait_readwrite, one)
        greenpool.sleep(0)
        other.send(b"text")
        waiting.get(timeout=60)


def test_waits_for_a_descriptor_with_a_timeout_object() -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(greenpool.Timeout):
        socket.wait_read(one, greenpool.Timeout(0.005))
