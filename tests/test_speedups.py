"""The C extension: calls that never block, keep the GIL, and return None if they would have to wait."""

from __future__ import annotations

import array
import errno
import gc
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

_speedups: Any = pytest.importorskip(
    "greenpool._speedups",
    reason="greenpool._speedups is not built: no C compiler, or GREENPOOL_PUREPYTHON=1 at install",
)

LIMIT = 64 * 1024
GIL_BUILD = getattr(sys, "_is_gil_enabled", lambda: True)()

pytestmark = pytest.mark.usefixtures("leak_check")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@pytest.fixture
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with client, accepted:
        yield client, accepted


def wait_readable(sock: socket.socket) -> None:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    poller.poll()


def fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more, and return how much it took."""
    total = 0
    while (count := _speedups.send(sock.fileno(), bytes(LIMIT))) is not None:
        total += count
    return total


def receive_exactly(sock: socket.socket, size: int, bufsize: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        wait_readable(sock)
        received += _speedups.recv(sock.fileno(), min(bufsize, size - len(received)))
    return bytes(received)


# recv


def test_recv_returns_what_has_arrived(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    left.sendall(b"hello")
    assert _speedups.recv(right.fileno(), 4096) == b"hello"


@pytest.mark.parametrize("bufsize", [0, 1, LIMIT, LIMIT + 1])
def test_recv_is_none_where_it_would_block(pair: tuple[socket.socket, socket.socket], bufsize: int) -> None:
    left, right = pair
    assert right.getblocking()  # the call itself does not block, no matter which mode the socket is in
    assert _speedups.recv(right.fileno(), bufsize) is None


@pytest.mark.parametrize("bufsize", [1, LIMIT, LIMIT + 1])
def test_recv_is_empty_at_the_end_of_the_stream(
    pair: tuple[socket.socket, socket.socket], bufsize: int
) -> None:
    left, right = pair
    left.close()
    assert _speedups.recv(right.fileno(), bufsize) == b""


@pytest.mark.parametrize("bufsize", [1, 100, 4096, LIMIT, LIMIT + 1, 1024 * 1024])
def test_recv_of_any_size_returns_the_stream_in_order(
    tcp_pair: tuple[socket.socket, socket.socket], bufsize: int
) -> None:
    left, right = tcp_pair
    data = os.urandom(min(bufsize * 20, 3 * 1024 * 1024))
    sender = threading.Thread(target=left.sendall, args=(data,))
    sender.start()
    received = receive_exactly(right, len(data), bufsize)
    sender.join()
    assert received == data


@given(message=st.binary(max_size=300), bufsize=st.integers(0, 300))
def test_recv_cuts_a_datagram_as_the_standard_socket_does(message: bytes, bufsize: int) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.send(message)
        left.send(message)
        assert _speedups.recv(right.fileno(), bufsize) == right.recv(bufsize)


def test_recv_takes_a_datagram_above_the_limit_whole() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    message = os.urandom(LIMIT + 1000)
    with left, right:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LIMIT)
        left.send(message)
        assert _speedups.recv(right.fileno(), 2 * LIMIT) == message


def test_recv_passes_flags_on(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    left.sendall(b"hello")
    assert _speedups.recv(right.fileno(), 3, socket.MSG_PEEK) == b"hel"
    assert _speedups.recv(right.fileno(), 4096) == b"hello"


@pytest.mark.skipif(sys.platform != "linux", reason="MSG_TRUNC has this meaning on Linux only")
def test_recv_with_msg_trunc_has_the_datagrams_length_and_nobody_elses_bytes() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.send(b"secret" * 10)
        assert _speedups.recv(right.fileno(), 4096) == b"secret" * 10
        left.send(b"0123456789")
        peek = socket.MSG_PEEK | socket.MSG_TRUNC
        assert _speedups.recv(right.fileno(), 4, peek) == b"0123" + bytes(6)
        assert _speedups.recv(right.fileno(), 0, peek) == bytes(10)
        assert _speedups.recv(right.fileno(), 20, peek) == b"0123456789"


# recv_into


def test_recv_into_fills_the_buffer(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    left.sendall(b"0123456789")
    buffer = bytearray(b"." * 6)
    assert _speedups.recv_into(right.fileno(), buffer) == 6
    assert buffer == b"012345"
    assert _speedups.recv_into(right.fileno(), buffer) == 4
    assert buffer == b"678945"


def test_recv_into_leaves_what_lies_beyond_nbytes(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair
    left.sendall(b"0123456789")
    buffer = bytearray(b"." * 6)
    assert _speedups.recv_into(right.fileno(), buffer, 3) == 3
    assert buffer == b"012..."
    assert _speedups.recv_into(right.fileno(), memoryview(buffer)[4:], 2, socket.MSG_PEEK) == 2
    assert buffer == b"012.34"


def test_recv_into_an_array_counts_bytes(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    numbers = array.array("i", [1, 2, 3])
    left.sendall(numbers.tobytes())
    target = array.array("i", [0, 0, 0])
    assert _speedups.recv_into(right.fileno(), target) == 3 * numbers.itemsize
    assert target == numbers


def test_recv_into_is_none_where_it_would_block_and_zero_at_the_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair
    assert _speedups.recv_into(right.fileno(), bytearray(10)) is None
    assert _speedups.recv_into(right.fileno(), bytearray(LIMIT + 1)) is None
    left.close()
    assert _speedups.recv_into(right.fileno(), bytearray(10)) == 0


def test_recv_into_lets_go_of_the_buffer(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    buffer = bytearray(4)
    with pytest.raises(ValueError, match="nbytes"):
        _speedups.recv_into(right.fileno(), buffer, 5)
    assert _speedups.recv_into(right.fileno(), buffer) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        _speedups.recv_into(-1, buffer)
    left.sendall(b"x")
    assert _speedups.recv_into(right.fileno(), buffer) == 1
    buffer.append(0)  # raises BufferError if the buffer is still held


# send


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_send_takes_any_bytes_like_object(
    pair: tuple[socket.socket, socket.socket], wrap: Callable[[bytes], bytes]
) -> None:
    left, right = pair
    assert _speedups.send(left.fileno(), wrap(b"hello")) == 5
    assert right.recv(10) == b"hello"


def test_send_is_none_where_it_would_block(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    assert left.getblocking()
    sent = fill(left)
    assert _speedups.send(left.fileno(), b"x") is None
    assert _speedups.send(left.fileno(), bytes(LIMIT + 1)) is None
    assert receive_exactly(right, sent, LIMIT) == bytes(sent)
    assert _speedups.send(left.fileno(), b"x") == 1


def test_send_above_the_limit_takes_what_fits(
    tcp_pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = tcp_pair
    data = os.urandom(32 * 1024 * 1024)
    sent = _speedups.send(left.fileno(), data)
    assert 0 < sent < len(data)
    assert receive_exactly(right, sent, 1024 * 1024) == data[:sent]


def test_send_to_a_closed_peer_is_epipe_and_no_signal(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair
    right.close()
    with pytest.raises(BrokenPipeError) as caught:
        _speedups.send(left.fileno(), b"x")
    assert caught.value.errno == errno.EPIPE


# Errors of the system calls


def test_a_reset_is_reported_once_and_then_the_stream_is_at_its_end(
    tcp_pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = tcp_pair
    right.sendall(b"unread")
    wait_readable(left)
    left.close()  # unread data turns the close into a reset
    wait_readable(right)
    with pytest.raises(ConnectionResetError):
        _speedups.recv(right.fileno(), 2 * LIMIT)
    assert _speedups.recv(right.fileno(), 2 * LIMIT) == b""


CALLS: dict[str, Callable[[int], object]] = {
    "recv": lambda fd: _speedups.recv(fd, 10),
    "recv, large": lambda fd: _speedups.recv(fd, LIMIT + 1),
    "recv_into": lambda fd: _speedups.recv_into(fd, bytearray(10)),
    "recv_into, large": lambda fd: _speedups.recv_into(fd, bytearray(LIMIT + 1)),
    "send": lambda fd: _speedups.send(fd, b"x"),
    "send, large": lambda fd: _speedups.send(fd, bytes(LIMIT + 1)),
    "accept": lambda fd: _speedups.accept(fd),
}
if sys.platform == "linux":
    CALLS["epoll_poll"] = lambda fd: _speedups.epoll_poll(fd, 10)


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_descriptor_is_ebadf(name: str) -> None:
    left, right = socket.socketpair()
    left.close()
    right.close()
    assert left.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        CALLS[name](left.fileno())
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("name", [name for name in CALLS if name != "epoll_poll"])
def test_a_descriptor_that_is_no_socket_is_enotsock(name: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.ENOTSOCK)) as caught:
            CALLS[name](reading)
    finally:
        os.close(reading)
        os.close(writing)
    assert caught.value.errno == errno.ENOTSOCK


# Arguments


class Index:
    """An integer that is not an int, such as numpy's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def test_integers_of_other_types_are_taken(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    assert _speedups.send(Index(left.fileno()), b"hello", Index(0)) == 5
    assert _speedups.recv(right.fileno(), Index(3)) == b"hel"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _speedups.recv(0), "recv expected at least 2 arguments, got 1"),
        (lambda: _speedups.recv(0, 1, 2, 3), "recv expected at most 3 arguments, got 4"),
        (lambda: _speedups.recv_into(0), "recv_into expected at least 2 arguments, got 1"),
        (lambda: _speedups.send(0), "send expected at least 2 arguments, got 1"),
        (lambda: _speedups.recv("0", 1), "fd must be an int, not str"),
        (lambda: _speedups.recv(None, 1), "fd must be an int, not NoneType"),
        (lambda: _speedups.recv(0, 1.5), "bufsize must be an int, not float"),
        (lambda: _speedups.recv(0, 1, "x"), "flags must be an int, not str"),
        (lambda: _speedups.recv_into(0, bytearray(1), None), "nbytes must be an int, not NoneType"),
        (
            lambda: _speedups.recv_into(0, b"1234"),
            "buffer must be a contiguous writable bytes-like object, not bytes",
        ),
        (
            lambda: _speedups.recv_into(0, memoryview(bytearray(8))[::2]),
            "buffer must be a contiguous writable bytes-like object, not memoryview",
        ),
        (
            lambda: _speedups.send(0, "text"),
            "data must be a contiguous bytes-like object, not str",
        ),
        (
            lambda: _speedups.send(0, memoryview(b"12345678")[::2]),
            "data must be a contiguous bytes-like object, not memoryview",
        ),
        (lambda: _speedups.accept("0"), "fd must be an int, not str"),
    ],
)
def test_a_wrong_type_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _speedups.recv(0, -1), "bufsize must be at least 0, not -1"),
        (lambda: _speedups.recv_into(0, bytearray(1), -1), "nbytes must be at least 0, not -1"),
        (
            lambda: _speedups.recv_into(0, bytearray(8), 9),
            "nbytes must be at most the buffer's length 8, not 9",
        ),
    ],
)
def test_a_wrong_value_names_the_argument_and_the_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: _speedups.recv(2**31, 1), "fd"),
        (lambda: _speedups.recv(-(2**31) - 1, 1), "fd"),
        (lambda: _speedups.recv(2**64, 1), "fd"),
        (lambda: _speedups.recv(0, 2**64), "bufsize"),
        (lambda: _speedups.recv(0, 1, 2**31), "flags"),
        (lambda: _speedups.accept(2**31), "fd"),
    ],
)
def test_a_number_too_large_names_the_argument(call: Callable[[], object], name: str) -> None:
    with pytest.raises(OverflowError, match=rf"^{name} is out of range: -?\d+$"):
        call()


def test_an_error_in_index_comes_out() -> None:
    class Broken:
        def __index__(self) -> int:
            raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        _speedups.recv(Broken(), 1)


# accept


def listener(family: socket.AddressFamily, address: Any) -> socket.socket:
    server = socket.socket(family)
    try:
        server.bind(address)
    except OSError as error:
        server.close()
        pytest.skip(f"cannot bind to {address!r}: {error}")
    server.listen()
    server.setblocking(False)
    return server


def accepted(server: socket.socket, client_name: str | bytes | None = None) -> tuple[bool, Any]:
    """Return whether accept() and the standard socket name a new peer alike, and the name."""
    with socket.socket(server.family) as client:
        if client_name is not None:
            client.bind(client_name)
        client.connect(server.getsockname())
        wait_readable(server)
        fd, address = _speedups.accept(server.fileno())
        with socket.socket(fileno=fd) as connection:
            return repr(address) == repr(connection.getpeername()), address


def test_accept_ipv4() -> None:
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        same, (host, port) = accepted(server)
        assert same
        assert host == "127.0.0.1"
        assert port > 0


def test_accept_ipv6() -> None:
    with listener(socket.AF_INET6, ("::1", 0)) as server:
        same, (host, port, flowinfo, scope) = accepted(server)
        assert same
        assert (host, flowinfo, scope) == ("::1", 0, 0)
        assert port > 0


def link_local_addresses() -> list[tuple[str, int, int, int]]:
    """Return this host's fe80:: addresses, each with an interface as its scope."""
    table = Path("/proc/net/if_inet6")
    found = []
    for line in table.read_text().splitlines() if table.exists() else []:
        digits, index, _, scope, *_ = line.split()
        if int(scope, 16) == 0x20:
            host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
            found.append((host, 0, 0, int(index, 16)))
    return found


def test_accept_ipv6_with_a_scope() -> None:
    addresses = link_local_addresses()
    if not addresses:
        pytest.skip("no link-local IPv6 address on this host")
    with listener(socket.AF_INET6, addresses[0]) as server:
        same, (host, _, _, scope) = accepted(server)
        assert same
        assert (host, scope) == (addresses[0][0], addresses[0][3])


def test_accept_unix_from_an_unnamed_client(tmp_path: Path) -> None:
    with listener(socket.AF_UNIX, str(tmp_path / "server")) as server:
        assert accepted(server) == (True, "")


@pytest.mark.parametrize("name", ["client", "ünïcode", "x" * 103])
def test_accept_unix_from_a_named_client(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a path in an address is 107 bytes at most, 103 on some systems
    with listener(socket.AF_UNIX, "server") as server:
        assert accepted(server, name) == (True, name)


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux's")
def test_accept_unix_from_the_abstract_namespace(tmp_path: Path) -> None:
    name = b"\0greenpool\0\xff" + str(os.getpid()).encode()
    with listener(socket.AF_UNIX, str(tmp_path / "server")) as server:
        assert accepted(server, name) == (True, name)


@pytest.mark.skipif(not hasattr(socket, "AF_VSOCK"), reason="no AF_VSOCK here")
def test_accept_of_another_family_leaves_the_address_to_the_caller() -> None:
    local = 1  # VMADDR_CID_LOCAL
    with listener(socket.AF_VSOCK, (local, socket.VMADDR_PORT_ANY)) as server:
        with socket.socket(socket.AF_VSOCK) as client:
            try:
                client.connect((local, server.getsockname()[1]))
            except OSError as error:
                pytest.skip(f"no vsock loopback: {error}")
            wait_readable(server)
            fd, address = _speedups.accept(server.fileno())
            socket.socket(fileno=fd).close()
            assert address is None


def test_accept_is_none_where_it_would_block() -> None:
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        assert _speedups.accept(server.fileno()) is None


def test_accept_gives_a_nonblocking_descriptor_that_is_not_inherited() -> None:
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            wait_readable(server)
            fd, _ = _speedups.accept(server.fileno())
            with socket.socket(fileno=fd):
                assert not os.get_blocking(fd)
                assert not os.get_inheritable(fd)


def test_accept_refuses_a_listener_that_would_block() -> None:
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        server.setblocking(True)
        fd = server.fileno()
        with pytest.raises(ValueError, match=f"fd must be in non-blocking mode, and {fd} is not"):
            _speedups.accept(fd)


def test_accept_of_a_socket_that_does_not_listen_is_einval() -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as caught:
            _speedups.accept(sock.fileno())
        assert caught.value.errno == errno.EINVAL


def test_accept_without_free_descriptors_raises_and_keeps_the_connection() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            wait_readable(server)
            # The lowest free number is the first one over the limit.
            free = os.dup(server.fileno())
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                with pytest.raises(OSError, match="Too many open files") as caught:
                    _speedups.accept(server.fileno())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert caught.value.errno == errno.EMFILE
            fd, address = _speedups.accept(server.fileno())
            socket.socket(fileno=fd).close()
            assert address == client.getsockname()


# epoll_poll


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")


@linux_only
def test_epoll_poll_returns_what_select_epoll_returns(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair
    with select.epoll() as epoll:
        epoll.register(left, select.EPOLLIN)
        epoll.register(right, select.EPOLLIN | select.EPOLLOUT)
        fd = epoll.fileno()
        assert _speedups.epoll_poll(fd, 10) == epoll.poll(0) == [(right.fileno(), select.EPOLLOUT)]
        right.sendall(b"x")
        left.shutdown(socket.SHUT_WR)
        answer = _speedups.epoll_poll(fd, 10)
        assert sorted(answer) == sorted(epoll.poll(0))
        assert [type(part) for part in answer[0]] == [int, int]
        epoll.unregister(left)
        epoll.unregister(right)
        assert _speedups.epoll_poll(fd, 10) == []


@linux_only
def test_epoll_poll_returns_event_bits_above_the_sign_bit(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair
    with select.epoll() as epoll:
        epoll.register(left, select.EPOLLOUT | select.EPOLLET | select.EPOLLONESHOT)
        assert _speedups.epoll_poll(epoll.fileno(), 1) == [(left.fileno(), select.EPOLLOUT)]
        assert _speedups.epoll_poll(epoll.fileno(), 1) == []


@linux_only
def test_epoll_poll_returns_no_more_than_asked_and_goes_on_from_there() -> None:
    with select.epoll() as epoll:
        eventfds = [os.eventfd(1) for _ in range(700)]
        try:
            for eventfd in eventfds:
                epoll.register(eventfd, select.EPOLLIN | select.EPOLLET)
            batches = [_speedups.epoll_poll(epoll.fileno(), most) for most in (3, 1000, 1000, 1)]
        finally:
            for eventfd in eventfds:
                os.close(eventfd)
    assert [len(batch) for batch in batches] == [3, 512, 185, 0]
    assert sorted(fd for batch in batches for fd, _ in batch) == sorted(eventfds)


@linux_only
@pytest.mark.parametrize("maxevents", [0, -1])
def test_epoll_poll_wants_room_for_an_event(maxevents: int) -> None:
    with select.epoll() as epoll:
        with pytest.raises(ValueError, match=f"maxevents must be at least 1, not {maxevents}"):
            _speedups.epoll_poll(epoll.fileno(), maxevents)


# Threads


def test_the_module_leaves_the_gil_off() -> None:
    if GIL_BUILD:
        pytest.skip("this interpreter runs with the GIL")
    program = "import sys, greenpool._speedups; sys.exit(sys._is_gil_enabled())"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


@pytest.fixture
def rival() -> Iterator[tuple[threading.Lock, threading.Event]]:
    """A thread that sets the event as soon as it gets the GIL, once the lock is released.

    The interpreter does not take the GIL away from any thread in the meantime. So only a call that releases
    the GIL lets this thread in.
    """
    if not GIL_BUILD:
        pytest.skip("this interpreter runs without the GIL")
    gate, entered = threading.Lock(), threading.Event()
    gate.acquire()

    def enter() -> None:
        with gate:
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        yield gate, entered
    finally:
        sys.setswitchinterval(interval)
        thread.join()


def test_small_calls_keep_the_gil(
    rival: tuple[threading.Lock, threading.Event],
    tcp_pair: tuple[socket.socket, socket.socket],
) -> None:
    gate, entered = rival
    left, right = (sock.fileno() for sock in tcp_pair)
    data, buffer = bytes(64), bytearray(LIMIT)
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        gate.release()
        for _ in range(2000):
            _speedups.send(left, data)
            _speedups.recv(right, 16 * LIMIT)  # asks for much, gets little
            _speedups.recv(right, LIMIT)
            _speedups.recv_into(right, buffer)
            _speedups.accept(server.fileno())
        assert not entered.is_set()


def test_large_calls_release_the_gil(
    rival: tuple[threading.Lock, threading.Event],
    tcp_pair: tuple[socket.socket, socket.socket],
) -> None:
    gate, entered = rival
    left, right = (sock.fileno() for sock in tcp_pair)
    data = bytes(16 * LIMIT)
    gate.release()
    # The thread may need several chances to wake up in time. If it got none, this loop would never end.
    while not entered.is_set():
        _speedups.send(left, data)
        _speedups.recv(right, len(data))


@pytest.mark.parametrize("chunk", [100, LIMIT, 3 * LIMIT])
def test_four_threads_at_once(chunk: int) -> None:
    """Each thread echoes over a pair of its own while the others do the same, and no data gets mixed up."""
    rounds = 300
    barrier = threading.Barrier(4)
    wrong: list[str] = []

    def echo(number: int) -> None:
        left, right = socket.socketpair()
        with left, right:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LIMIT)
            barrier.wait()
            for turn in range(rounds):
                message = bytes([number * 50 + turn % 50]) * chunk
                sent = _speedups.send(left.fileno(), message)
                received = receive_exactly(right, sent, chunk)
                if received != message[:sent]:
                    wrong.append(f"thread {number}, round {turn}")
                if _speedups.recv(right.fileno(), chunk) is not None:
                    wrong.append(f"thread {number}, round {turn}: something left over")

    threads = [threading.Thread(target=echo, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_four_threads_on_one_socket_share_the_stream_without_loss(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair
    total = 1_000_000
    counts: list[int] = []

    def drain() -> None:
        received = 0
        while True:
            wait_readable(right)
            data = _speedups.recv(right.fileno(), 1000)
            if data == b"":
                break
            received += len(data or b"")
        counts.append(received)

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    left.sendall(bytes(total))
    left.shutdown(socket.SHUT_WR)
    for thread in threads:
        thread.join()
    assert sum(counts) == total


# References


def exercise(left: socket.socket, right: socket.socket, server: socket.socket) -> None:
    """Take every way through every function, errors included."""
    data, buffer = b"x" * 1000, bytearray(2000)
    for size in (10, LIMIT, 2 * LIMIT):
        _speedups.send(left.fileno(), data)
        _speedups.recv(right.fileno(), size)
        _speedups.recv(right.fileno(), size)
    _speedups.send(left.fileno(), data)
    _speedups.recv_into(right.fileno(), buffer)
    _speedups.recv_into(right.fileno(), buffer)
    with socket.create_connection(server.getsockname()):
        wait_readable(server)
        os.close(_speedups.accept(server.fileno())[0])
    _speedups.accept(server.fileno())
    for call in CALLS.values():
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(-1)
    wrong: list[Callable[[], object]] = [
        lambda: _speedups.recv(0, -1),
        lambda: _speedups.recv("0", 1),
        lambda: _speedups.recv(0, 2**64),
        lambda: _speedups.recv_into(0, buffer, 5000),
        lambda: _speedups.recv_into(0, data),
        lambda: _speedups.send(0, "text"),
        lambda: _speedups.accept("0"),
    ]
    for mistake in wrong:
        with pytest.raises((TypeError, ValueError, OverflowError)):
            mistake()
    if sys.platform == "linux":
        with select.epoll() as epoll:
            epoll.register(left, select.EPOLLOUT)
            _speedups.epoll_poll(epoll.fileno(), 10)


@pytest.mark.skipif(not hasattr(sys, "gettotalrefcount"), reason="needs a debug build of Python")
def test_no_reference_is_lost_or_left(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        totals = []
        for _ in range(8):
            for _ in range(50):
                exercise(*tcp_pair, server)
            gc.collect()
            totals.append(sys.gettotalrefcount())
    # Caches fill during the first rounds. A leak of one reference a call would make 50 or more a round.
    assert abs(totals[-1] - totals[3]) < 50


def test_every_way_through_every_function(
    tcp_pair: tuple[socket.socket, socket.socket],
) -> None:
    """This is for a run under a sanitizer, for which each way once is enough."""
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        for _ in range(20):
            exercise(*tcp_pair, server)
