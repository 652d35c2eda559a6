"""The C extension: calls that never block, keep the GIL, and return None if they would have to wait."""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_speedups: Any = pytest.importorskip(
    "greenpool._speedups",
    reason="greenpool._speedups is not built: no C compiler, or GREENPOOL_PUREPYTHON=1 at install",
)

GIL_BUILD = getattr(sys, "_is_gil_enabled", lambda: True)()

pytestmark = pytest.mark.usefixtures("leak_check")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def wait_readable(sock: socket.socket) -> None:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    poller.poll()


# Errors of the system calls


CALLS: dict[str, Callable[[int], object]] = {"accept": _speedups.accept}
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


def test_accept_of_a_descriptor_that_is_no_socket_is_enotsock() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.ENOTSOCK)) as caught:
            _speedups.accept(reading)
    finally:
        os.close(reading)
        os.close(writing)
    assert caught.value.errno == errno.ENOTSOCK


# Arguments


def test_a_wrong_type_names_the_argument() -> None:
    with pytest.raises(TypeError, match="^fd must be an int, not str$"):
        _speedups.accept("0")


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**64])
def test_a_number_too_large_names_the_argument(number: int) -> None:
    with pytest.raises(OverflowError, match=rf"^fd is out of range: {number}$"):
        _speedups.accept(number)


def test_an_error_in_index_comes_out() -> None:
    class Broken:
        def __index__(self) -> int:
            raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        _speedups.accept(Broken())


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


# References


def exercise(server: socket.socket) -> None:
    """Every way through every function, errors included."""
    with socket.create_connection(server.getsockname()):
        wait_readable(server)
        os.close(_speedups.accept(server.fileno())[0])
    _speedups.accept(server.fileno())
    for call in CALLS.values():
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(-1)
    for mistake in ("0", 2**64):
        with pytest.raises((TypeError, OverflowError)):
            _speedups.accept(mistake)
    if sys.platform == "linux":
        with select.epoll() as epoll:
            epoll.register(server, select.EPOLLIN)
            _speedups.epoll_poll(epoll.fileno(), 10)


@pytest.mark.skipif(not hasattr(sys, "gettotalrefcount"), reason="needs a debug build of Python")
def test_no_reference_is_lost_or_left() -> None:
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        totals = []
        for _ in range(8):
            for _ in range(50):
                exercise(server)
            gc.collect()
            totals.append(sys.gettotalrefcount())
    # Caches fill during the first rounds. A leak of one reference a call would make 50 or more a round.
    assert abs(totals[-1] - totals[3]) < 50


def test_every_way_through_every_function() -> None:
    """For a run under a sanitizer, where each of them once is enough."""
    with listener(socket.AF_INET, ("127.0.0.1", 0)) as server:
        for _ in range(20):
            exercise(server)
