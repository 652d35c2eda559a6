"""``greenpool.server``: stream and datagram servers, on one hub and on all."""

from __future__ import annotations

import errno
import os
import ssl as standard_ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket as standard_socket
from typing import Any

import pytest
from test_ssl import CERTIFICATE

import greenpool
from greenpool import Runtime, socket, ssl
from greenpool.event import Event
from greenpool.pool import Pool
from greenpool.server import BaseServer, DatagramServer, StreamServer, parse_address

pytestmark = pytest.mark.usefixtures("leak_check")

LOCAL = ("127.0.0.1", 0)


def echo(connection: socket.socket, address: object) -> None:
    while data := connection.recv(1000):
        connection.sendall(data)


def ask(address: Any, data: bytes = b"hello") -> bytes:
    """Send *data*, and return what comes back until the server closes."""
    family, _ = parse_address(address)
    with socket.socket(family) as client:
        client.connect(address)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1000), b""))


# Addresses.


@pytest.mark.parametrize(
    ("listener", "parsed"),
    [
        (("127.0.0.1", 80), (socket.AF_INET, ("127.0.0.1", 80))),
        (("::1", 80), (socket.AF_INET6, ("::1", 80))),
        (("", 80), (socket.AF_INET6, ("", 80))),
        ("127.0.0.1:80", (socket.AF_INET, ("127.0.0.1", 80))),
        ("*:80", (socket.AF_INET, ("", 80))),
        ("[::1]:80", (socket.AF_INET6, ("::1", 80))),
        (80, (socket.AF_INET6, ("", 80))),
        ("80", (socket.AF_INET6, ("", 80))),
        ("/run/app.sock", (socket.AF_UNIX, "/run/app.sock")),
        ("unix:/run/app.sock", (socket.AF_UNIX, "/run/app.sock")),
        (Path("app.sock"), (socket.AF_UNIX, "app.sock")),
    ],
)
def test_a_listener_is_an_address_a_port_or_a_path(listener: Any, parsed: object) -> None:
    assert parse_address(listener) == parsed


@pytest.mark.parametrize("listener", ["localhost", "127.0.0.1:http", ""])
def test_a_text_that_is_no_address_is_refused(listener: str) -> None:
    with pytest.raises(ValueError, match="listener must be an address"):
        parse_address(listener)


@pytest.mark.parametrize("listener", [None, True, 1.5])
def test_an_object_that_is_no_address_is_refused(listener: Any) -> None:
    with pytest.raises(TypeError, match="listener must be"):
        StreamServer(listener, echo)


# Streams.


def test_a_handler_serves_each_connection() -> None:
    server = StreamServer(LOCAL, echo)
    assert server.closed and not server.started
    server.start()
    assert server.started and not server.closed
    assert server.server_host == "127.0.0.1" and server.server_port
    clients = [greenpool.spawn(ask, server.address, b"%d" % number) for number in range(20)]
    assert [client.get() for client in clients] == [b"%d" % number for number in range(20)]
    server.stop()
    assert server.closed and not server.started
    with pytest.raises(ConnectionRefusedError):
        ask(server.address)


def test_a_subclass_may_have_the_handler() -> None:
    class Greeter(StreamServer):
        def handle(self, connection: socket.socket, address: object) -> None:
            connection.sendall(b"good day")

    with Greeter(LOCAL) as server:
        server.start()
        assert ask(server.address, b"") == b"good day"


def test_a_server_needs_a_handler() -> None:
    with pytest.raises(TypeError, match="'handle' must be provided"):
        StreamServer(LOCAL)
    with pytest.raises(TypeError, match="handle must be callable"):
        StreamServer(LOCAL, handle=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("standard", [False, True])
def test_the_listener_may_be_a_socket(standard: bool) -> None:
    listener: Any = standard_socket() if standard else socket.socket()
    listener.bind(LOCAL)
    listener.listen()
    with StreamServer(listener, echo) as server:
        server.start()
        assert server.address == listener.getsockname()
        assert ask(server.address) == b"hello"
    assert listener.fileno() == -1


def test_a_socket_comes_with_its_backlog() -> None:
    with socket.create_server(LOCAL) as listener, pytest.raises(TypeError, match="backlog"):
        StreamServer(listener, echo, backlog=5)


def test_a_unix_socket_is_removed_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "echo"
    with StreamServer(path, echo) as server:
        server.start()
        assert ask(str(path)) == b"hello"
    assert not path.exists()


def test_a_unix_socket_that_a_dead_server_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "echo"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with StreamServer(path, echo) as server:
        server.start()
        assert ask(str(path)) == b"hello"


def test_a_unix_socket_of_a_living_server_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "echo"
    with StreamServer(path, echo) as server:
        server.start()
        with pytest.raises(OSError, match="in use"):
            StreamServer(path, echo).start()
        assert ask(str(path)) == b"hello"


def test_an_address_in_use_is_reported_with_the_address() -> None:
    with StreamServer(LOCAL, echo) as server:
        server.start()
        with pytest.raises(OSError, match="127.0.0.1") as caught:
            StreamServer(server.address, echo).start()
        assert caught.value.errno == errno.EADDRINUSE


def test_a_handler_that_fails_is_reported_and_its_connection_closed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(connection: socket.socket, address: object) -> None:
        raise ZeroDivisionError("on purpose")

    with StreamServer(LOCAL, fail) as server:
        server.start()
        assert ask(server.address, b"") == b""
        assert ask(server.address, b"") == b""
    assert capsys.readouterr().err.count("ZeroDivisionError: on purpose") == 2


def test_serve_forever_returns_when_another_greenlet_stops_the_server() -> None:
    server = StreamServer(LOCAL, echo)
    serving = greenpool.spawn(server.serve_forever)
    while not server.started:
        greenpool.sleep(0)
    assert ask(server.address) == b"hello"
    server.stop()
    serving.get()


def test_a_handler_in_the_acceptor_may_stop_the_server() -> None:
    server = StreamServer(LOCAL, lambda connection, address: server.stop(), spawn=None)
    server.start()
    assert ask(server.address, b"") == b""
    assert server.closed


@pytest.mark.parametrize("spawn", ["default", None, 10])
def test_the_end_of_accepting_reaches_no_handler(spawn: Any) -> None:
    with StreamServer(LOCAL, echo, spawn=spawn) as server, socket.socket() as client:
        server.start()
        client.connect(server.address)
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        server.stop_accepting()
        server.join_acceptors()
        client.sendall(b"b")
        assert client.recv(1) == b"b"
    greenpool.wait()


def test_another_thread_may_stop_the_server() -> None:
    server = StreamServer(LOCAL, echo)
    thread = threading.Thread(target=server.stop)
    serving = greenpool.spawn(server.serve_forever)
    while not server.started:
        greenpool.sleep(0)
    thread.start()
    serving.get()
    thread.join()
    assert server.closed


# Ways to spawn.


@pytest.mark.parametrize("spawn", ["default", "raw", 10, None, greenpool.spawn])
def test_ways_to_spawn(spawn: Any) -> None:
    with StreamServer(LOCAL, echo, spawn=spawn) as server:
        server.start()
        assert ask(server.address) == b"hello"
        assert ask(server.address) == b"hello"


@pytest.mark.parametrize("spawn", ["other", 0.5, True, object()])
def test_other_ways_to_spawn_are_refused(spawn: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="spawn must be"):
        StreamServer(LOCAL, echo, spawn=spawn)


def test_a_full_pool_lets_connections_wait_in_the_backlog() -> None:
    served: list[object] = []
    go_on = Event()

    def handle(connection: socket.socket, address: object) -> None:
        served.append(address)
        go_on.wait()

    pool = Pool(2)
    with StreamServer(LOCAL, handle, spawn=pool) as server:
        server.start()
        clients = [greenpool.spawn(ask, server.address, b"") for _ in range(5)]
        while len(served) < 2:
            greenpool.sleep(0)
        greenpool.sleep(0.01)
        assert server.full() and len(served) == 2
        go_on.set()
        assert [client.get() for client in clients] == [b""] * 5
        assert len(served) == 5


def test_stop_waits_for_the_handlers_of_a_pool_and_kills_those_that_are_left() -> None:
    ended: list[str] = []
    begun = Event()

    def handle(connection: socket.socket, address: object) -> None:
        begun.set()
        try:
            connection.recv(1)
            ended.append("served")
        except greenpool.GreenletExit:
            ended.append("killed")
            raise

    with socket.socket() as slow:
        server = StreamServer(LOCAL, handle, spawn=10)
        server.start()
        slow.connect(server.address)
        begun.wait()
        server.stop(timeout=0.01)
    assert ended == ["killed"]


def test_without_a_pool_handlers_survive_the_stop() -> None:
    with socket.socket() as client:
        server = StreamServer(LOCAL, echo)
        server.start()
        client.connect(server.address)
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        server.stop()
        client.sendall(b"b")
        assert client.recv(1) == b"b"
    greenpool.wait()


# Accepting.


def test_accepting_can_pause() -> None:
    with StreamServer(LOCAL, echo, spawn=1) as server, socket.socket() as client:
        server.start()
        server.stop_accepting()
        client.connect(server.address)
        client.sendall(b"a")
        client.settimeout(0.02)
        with pytest.raises(TimeoutError):
            client.recv(1)
        server.start_accepting()
        client.settimeout(None)
        assert client.recv(1) == b"a"


def test_a_subclass_may_say_that_it_is_full() -> None:
    class OneAtATime(StreamServer):
        serving = 0

        def full(self) -> bool:
            return self.serving > 0

        def handle(self, connection: socket.socket, address: object) -> None:
            self.serving += 1
            most.append(self.serving)
            greenpool.sleep(0)
            self.serving -= 1
            self.start_accepting()

    most: list[int] = []
    OneAtATime.max_accept = 1
    with OneAtATime(LOCAL) as server:
        server.start()
        clients = [greenpool.spawn(ask, server.address, b"") for _ in range(5)]
        greenpool.joinall(clients, raise_error=True)
    assert most == [1] * 5


def test_max_accept_gives_the_handlers_a_turn() -> None:
    order: list[str] = []

    class Watched(StreamServer):
        max_accept = 2

        def do_read(self, listener: socket.socket) -> tuple[object, ...]:
            accepted = super().do_read(listener)
            order.append("accepted")
            return accepted

    with StreamServer(LOCAL, echo) as server:
        server.start()
        server.stop()
    server = Watched(LOCAL, lambda connection, address: order.append("served"))
    with server:
        server.init_socket()
        with socket.socket() as a, socket.socket() as b, socket.socket() as c:
            for client in (a, b, c):
                client.connect(server.address)
            server.start()
            while order.count("served") < 3:
                greenpool.sleep(0)
    assert order == ["accepted", "accepted", "served", "served", "accepted", "served"]


def test_max_accept_must_be_positive() -> None:
    class Never(StreamServer):
        max_accept = 0

    with pytest.raises(ValueError, match="max_accept"):
        Never(LOCAL, echo)


def test_running_out_of_descriptors_pauses_accepting_and_loses_nothing(
    run_script: Callable[[str], str],
) -> None:
    output = run_script("""
import io, os, resource, sys
import greenpool
from greenpool import socket
from greenpool.server import StreamServer

def echo(connection, address):
    connection.sendall(connection.recv(10))

server = StreamServer(("127.0.0.1", 0), echo)
server.start()
clients = [socket.socket() for _ in range(30)]
reports = sys.stderr = io.StringIO()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
highest = max(map(int, os.listdir("/dev/fd")))
resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
for number, client in enumerate(clients):
    client.connect(server.address)
    client.sendall(b"%d" % number)
while reports.getvalue().count("Too many open files") < 2:
    greenpool.sleep(0.001)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
answers = [client.recv(10) for client in clients]
assert answers == [b"%d" % number for number in range(30)], answers
for client in clients:
    client.close()
server.stop()
greenpool.wait()
sys.stderr = sys.__stderr__
print("all served")
""")
    assert output == "all served\n"


def test_a_listener_that_is_of_no_use_closes_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(StreamServer):
        def do_read(self, listener: socket.socket) -> tuple[object, ...]:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    server = Broken(LOCAL, echo)
    server.serve_forever()
    assert server.closed
    assert "Bad file descriptor" in capsys.readouterr().err


# All hubs.


@pytest.fixture
def runtime(leak_check: None) -> Iterator[Runtime]:
    with Runtime(pool_size=3) as runtime:
        yield runtime


def test_with_all_hubs_each_hub_accepts_and_serves(runtime: Runtime) -> None:
    hubs: set[int | None] = set()
    all_there = Event()

    def handle(connection: socket.socket, address: object) -> None:
        hubs.add(greenpool.get_hub().index)
        # A hub that is kept busy cannot accept, so in the end each hub has one.
        connection.sendall(b"%d" % (greenpool.get_hub().index or 0))
        if len(hubs) == 3:
            all_there.set()
        connection.recv(1)

    def main() -> None:
        server = StreamServer(LOCAL, handle, hubs="all")
        server.start()
        clients = []
        while not all_there.is_set():
            client = socket.create_connection(server.address)
            clients.append(client)
            client.recv(1)
        for client in clients:
            client.close()
        server.stop()

    runtime.block_on(main)
    assert hubs == {0, 1, 2}


def test_all_hubs_of_no_runtime_are_refused() -> None:
    server = StreamServer(LOCAL, echo, hubs="all")
    with pytest.raises(RuntimeError, match="needs a runtime"):
        server.start()
    assert server.closed
    with pytest.raises(ValueError, match="hubs must be"):
        StreamServer(LOCAL, echo, hubs="some")  # type: ignore[arg-type]


def test_all_hubs_may_share_one_pool(runtime: Runtime) -> None:
    def main() -> None:
        with StreamServer(LOCAL, echo, spawn=4, hubs="all") as server:
            server.start()
            clients = [runtime.spawn(ask, server.address, b"%d" % number) for number in range(50)]
            assert [client.get() for client in clients] == [b"%d" % number for number in range(50)]

    runtime.block_on(main)


def test_a_stop_ends_the_acceptors_of_all_hubs_while_clients_come(runtime: Runtime) -> None:
    """The race of a close with the accepts of other threads: a connection is served or refused."""

    def knock(address: Any) -> bool:
        try:
            return ask(address) == b"hello"
        except OSError:
            return False

    def main() -> None:
        for _ in range(20):
            server = StreamServer(LOCAL, echo, hubs="all")
            server.start()
            clients = [runtime.spawn(knock, server.address) for _ in range(10)]
            clients[0].join()
            server.stop()
            greenpool.joinall(clients, raise_error=True)

    runtime.block_on(main)


def test_in_run_a_server_keeps_the_pool_until_it_is_stopped() -> None:
    servers: list[StreamServer] = []

    def main() -> None:
        server = StreamServer(LOCAL, echo)
        server.start()
        servers.append(server)
        greenpool.spawn_later(0.01, stop_after_a_request, server)

    def stop_after_a_request(server: StreamServer) -> None:
        assert ask(server.address) == b"hello"
        server.stop()

    greenpool.run(main)
    assert servers[0].closed


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_text(CERTIFICATE)
    return str(path)


def ask_tls(address: Any, certificate: str) -> bytes:
    context = ssl.create_default_context(cafile=certificate)
    with socket.create_connection(address) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"hello")
            return client.recv(100)


def tls_arguments(kind: str, certificate: str) -> dict[str, Any]:
    if kind == "keywords":
        return {"certfile": certificate, "keyfile": certificate}
    module: Any = standard_ssl if kind == "standard context" else ssl
    context = module.SSLContext(module.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return {"ssl_context": context}


@pytest.mark.parametrize("kind", ["context", "standard context", "keywords"])
def test_tls(kind: str, certificate: str) -> None:
    def handle(connection: ssl.SSLSocket, address: object) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        connection.sendall(connection.recv(100))

    with StreamServer(LOCAL, handle, **tls_arguments(kind, certificate)) as server:
        assert server.ssl_enabled
        server.start()
        assert ask_tls(server.address, certificate) == b"hello"


def test_a_slow_handshake_holds_nobody_up(certificate: str) -> None:
    with StreamServer(LOCAL, echo, spawn=10, certfile=certificate) as server:
        server.start()
        with socket.create_connection(server.address):
            assert ask_tls(server.address, certificate) == b"hello"


def test_tls_needs_a_certificate() -> None:
    with pytest.raises(ValueError, match="certfile"):
        StreamServer(LOCAL, echo, keyfile="key.pem")
    assert not StreamServer(LOCAL, echo).ssl_enabled


# Datagrams.


def test_a_handler_gets_each_datagram() -> None:
    class Echo(DatagramServer):
        def handle(self, data: bytes, address: Any) -> None:
            self.sendto(data.upper(), address)

    with Echo(LOCAL) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.start()
        client.connect(server.address)
        for word in (b"one", b"two"):
            client.send(word)
            assert client.recv(100) == word.upper()


def test_a_datagram_of_the_longest_size_comes_whole() -> None:
    came: list[int] = []
    arrived = Event()

    def handle(data: bytes, address: object) -> None:
        came.append(len(data))
        arrived.set()

    with DatagramServer(LOCAL, handle) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.start()
        client.sendto(bytes(65_507), server.address)
        arrived.wait()
    assert came == [65_507]


def test_the_base_does_not_know_how_to_listen() -> None:
    with pytest.raises(NotImplementedError):
        BaseServer(LOCAL, echo).start()


def test_signal_handler_may_close_the_server_also_while_its_hub_sleeps(
    run_script: Callable[[str], str],
) -> None:
    script = """
import os, signal, threading
import greenpool
from greenpool.server import StreamServer

server = StreamServer(("127.0.0.1", 0), lambda *args: None)
signal.signal(signal.SIGTERM, lambda *args: server.close())
server.start()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
server.serve_forever()
print("closed")
"""
    assert run_script(script) == "closed\n"
