"""``greenpool.ssl``: TLS with the standard SSLContext, on sockets that park."""

from __future__ import annotations

import os
import ssl as standard
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from socket import SHUT_RDWR
from socket import create_connection as standard_connection
from socket import create_server as standard_server
from typing import Any

import pytest
import tls
from tls import CERTIFICATE, connected

import greenpool
from greenpool import signal, socket, ssl
from greenpool.event import Event

pytestmark = pytest.mark.usefixtures("leak_check")

certificate = tls.certificate
server_context = tls.server_context
client_context = tls.client_context
pair = tls.pair


def test_the_handshake_parks(pair: tuple[Any, Any]) -> None:
    """Both ends shook hands on one hub, each waiting for the other."""
    server, client = pair
    assert server.version() == client.version() == "TLSv1.3"
    assert client.getpeercert()["subjectAltName"][0] == ("DNS", "localhost")


def test_is_a_standard_socket_and_context(pair: tuple[Any, Any], server_context: ssl.SSLContext) -> None:
    assert isinstance(pair[0], standard.SSLSocket) and isinstance(pair[0], socket.socket)
    assert isinstance(server_context, standard.SSLContext)
    with pytest.raises(TypeError, match="public constructor"):
        ssl.SSLSocket()


def test_receiving_parks(pair: tuple[Any, Any]) -> None:
    server, client = pair
    buffer = bytearray(100)
    ways: list[Callable[[], object]] = [
        lambda: client.recv(100),
        lambda: client.read(100),
        lambda: bytes(buffer[: client.recv_into(buffer)]),
        lambda: bytes(buffer[: client.read(100, buffer)]),
        lambda: client.makefile("rb", buffering=0).read(100),
    ]
    for receive in ways:
        waiting = greenpool.spawn(receive)
        greenpool.sleep(0)
        assert not waiting.ready()
        server.send(b"word")
        assert waiting.get() == b"word"


@pytest.mark.parametrize("send", ["sendall", "makefile"])
def test_sending_parks_while_the_other_end_does_not_read(send: str, pair: tuple[Any, Any]) -> None:
    server, client = pair
    data = bytes(range(256)) * 40_000

    def send_all() -> None:
        if send == "sendall":
            server.sendall(data)
        else:
            with server.makefile("wb") as file:
                file.write(data)
        server.unwrap().close()

    sending = greenpool.spawn(send_all)
    greenpool.sleep(0.01)
    assert not sending.ready()
    with client.makefile("rb") as file:
        assert file.read() == data
    client.unwrap()
    sending.get()


def test_reading_and_writing_at_the_same_time(pair: tuple[Any, Any]) -> None:
    """Both ends of an echo read and write in greenlets of their own."""
    server, client = pair
    data = b"0123456789" * 100_000

    def echo() -> None:
        while received := server.recv(10_000):
            server.sendall(received)

    echoing = greenpool.spawn(echo)
    sending = greenpool.spawn(client.sendall, data)
    received = b""
    while len(received) < len(data):
        received += client.recv(10_000)
    assert received == data
    sending.get()
    client.shutdown(SHUT_RDWR)
    echoing.get()


def test_on_several_hubs(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    """A reader and a writer of one connection are on different hubs."""
    data = b"0123456789" * 50_000

    def receive(end: Any) -> bytes:
        received = b""
        while len(received) < len(data):
            received += end.recv(10_000)
        return received

    with connected(server_context, client_context) as (server, client):
        with greenpool.Runtime(pool_size=4) as runtime:
            runtime.spawn(server.sendall, data)
            runtime.spawn(client.sendall, data)
            receiving = [runtime.spawn(receive, server), runtime.spawn(receive, client)]
            assert [greenlet.get() for greenlet in receiving] == [data, data]


def test_many_connections(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    with server_context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True) as listener:

        def serve(connection: Any) -> None:
            with connection:
                connection.sendall(connection.recv(100).upper())

        def accept() -> None:
            for _ in range(10):
                connection, _ = listener.accept()
                greenpool.spawn(serve, connection)

        def ask(number: int) -> bytes:
            with socket.create_connection(listener.getsockname()) as plain:
                with client_context.wrap_socket(plain, server_hostname="localhost") as client:
                    client.sendall(f"word {number}".encode())
                    answer: bytes = client.recv(100)
                    return answer

        accepting = greenpool.spawn(accept)
        asking = [greenpool.spawn(ask, number) for number in range(10)]
        assert [greenlet.get() for greenlet in asking] == [b"WORD %d" % n for n in range(10)]
        accepting.get()


def test_connecting_after_wrapping(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with server_context.wrap_socket(connection, server_side=True) as server:
                server.sendall(b"word")

        for connect in ("connect", "connect_ex"):
            serving = greenpool.spawn(serve)
            with client_context.wrap_socket(socket.socket(), server_hostname="localhost") as client:
                assert not getattr(client, connect)(listener.getsockname())
                assert client.recv(100) == b"word"
            serving.get()


def test_back_to_plain(pair: tuple[Any, Any]) -> None:
    server, client = pair
    waiting = greenpool.spawn(server.unwrap)
    plain_client = client.unwrap()
    plain_server = waiting.get()
    receiving = greenpool.spawn(plain_server.recv, 100)
    plain_client.sendall(b"in the clear")
    assert receiving.get() == b"in the clear"
    with pytest.raises(ValueError, match="SSL wrapper"):
        client.unwrap()
    for use in (lambda: client.read(1), lambda: client.write(b"x")):
        with pytest.raises(ValueError, match="closed or unwrapped"):
            use()


# Timeouts.


@pytest.mark.parametrize(
    ("what", "use"),
    [
        ("read", lambda client: client.recv(1)),
        ("read", lambda client: client.recv_into(bytearray(1))),
        ("write", lambda client: client.sendall(bytes(100_000_000))),
        ("read", lambda client: client.unwrap()),
    ],
)
def test_time_outs(what: str, use: Callable[[Any], Any], pair: tuple[Any, Any]) -> None:
    _, client = pair
    client.settimeout(0.02)
    with pytest.raises(TimeoutError, match=f"The {what} operation timed out"):
        use(client)


def test_the_handshake_times_out(client_context: ssl.SSLContext) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(0.01)
        with pytest.raises(TimeoutError, match="The handshake operation timed out"):
            client_context.wrap_socket(near, server_hostname="localhost")


def test_non_blocking(pair: tuple[Any, Any]) -> None:
    server, client = pair
    client.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(1)
    with pytest.raises(ssl.SSLWantWriteError):
        while True:
            client.send(bytes(100_000))
    client.settimeout(None)
    waiting = greenpool.spawn(client.recv, 10)
    server.send(b"word")
    assert waiting.get() == b"word"


def test_a_non_blocking_handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with pytest.raises(ValueError, match="non-blocking"):
        client_context.wrap_socket(near.dup(), server_hostname="localhost")
    client = client_context.wrap_socket(near, server_hostname="localhost", do_handshake_on_connect=False)
    with client, far:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        serving = greenpool.spawn(server_context.wrap_socket, far, server_side=True)
        client.do_handshake(block=True)
        assert client.gettimeout() == 0.0
        serving.get().close()


# Ends of a wait.


def test_closed_while_somebody_waits(pair: tuple[Any, Any]) -> None:
    _, client = pair
    waiting = greenpool.Greenlet.spawn(client.recv, 1)
    waiting.quiet = True
    greenpool.sleep(0.01)
    client.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        waiting.get()


def test_shut_down_while_somebody_waits(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    # With TLS 1.3 a server sends data after the handshake, which may arrive after the shutdown.
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connected(server_context, client_context) as (_, client):
        waiting = greenpool.spawn(client.recv, 1)
        greenpool.sleep(0.01)
        client.shutdown(SHUT_RDWR)
        assert waiting.get() == b""


@pytest.mark.parametrize("suppress", [True, False])
def test_an_end_without_goodbye(
    suppress: bool, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    with connected(server_context, client_context, suppress_ragged_eofs=suppress) as (server, client):
        waiting = greenpool.Greenlet.spawn(client.recv, 1)
        waiting.quiet = True
        greenpool.sleep(0.01)
        server.shutdown(SHUT_RDWR)
        if suppress:
            assert waiting.get() == b""
            assert client.recv_into(bytearray(1)) == 0
        else:
            with pytest.raises(ssl.SSLEOFError):
                waiting.get()


def test_killed_while_waiting(pair: tuple[Any, Any]) -> None:
    server, client = pair
    waiting = greenpool.spawn(client.recv, 1)
    greenpool.sleep(0.01)
    waiting.kill()
    server.send(b"word")
    assert client.recv(10) == b"word"


def test_a_pending_timeout_loses_nothing_that_was_received(pair: tuple[Any, Any]) -> None:
    """The timeout is raised where the greenlet yields: before an operation, not after bytes have come."""
    server, client = pair
    server.sendall(bytes(range(250)))
    got = bytearray(client.recv(1))

    def receive_on() -> None:
        # The timeout has fired, but it is not raised yet, because the greenlet runs.
        greenpool.getcurrent()._kill(greenpool.Timeout())
        while True:
            got.extend(client.recv(1))

    with pytest.raises(greenpool.Timeout):
        greenpool.spawn(receive_on).get()
    while len(got) < 250:
        got.extend(client.recv(250))
    assert got == bytes(range(250))


def test_a_pending_timeout_loses_no_count(pair: tuple[Any, Any]) -> None:
    server, client = pair
    counts = []

    def send_on() -> None:
        greenpool.getcurrent()._kill(greenpool.Timeout())
        while True:
            counts.append(server.send(b"x"))

    with pytest.raises(greenpool.Timeout):
        greenpool.spawn(send_on).get()
    server.close()
    assert len(client.makefile("rb").read()) == sum(counts)


@pytest.mark.parametrize("operation", ["read", "write", "handshake"])
def test_the_timeout_error_of_somebody_else(
    operation: str, client_context: ssl.SSLContext, pair: tuple[Any, Any]
) -> None:
    """The error is not taken for the socket's own."""
    server, client = pair
    deadline = TimeoutError("the request's deadline")
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError) as raised, greenpool.Timeout(0.01, deadline):
        if operation == "read":
            client.recv(1)
        elif operation == "write":
            while True:
                client.send(b"x" * 65536)
        else:
            client_context.wrap_socket(ours, server_hostname="localhost")
    assert raised.value is deadline


def test_what_came_while_the_hub_was_busy_came_in_time(pair: tuple[Any, Any]) -> None:
    server, client = pair
    client.settimeout(0.1)
    receiving = greenpool.spawn(client.recv, 1)
    greenpool.sleep(0)
    server.send(b"x")
    # Block the whole hub, its timers and its poller, until the time is over.
    time.sleep(0.11)
    assert receiving.get() == b"x"


# Several greenlets on one connection.


def test_writers_take_turns(pair: tuple[Any, Any]) -> None:
    """OpenSSL takes a second write for the rest of a first one that waits, even if its data differs."""
    server, client = pair
    big = b"1" * 16_000
    sent = []

    def fill() -> None:
        while True:
            sent.append(server.send(big))

    filling = greenpool.spawn(fill)
    greenpool.sleep(0.01)
    # Make room for the second write before the first one is woken.
    client.settimeout(0)
    got = bytearray()
    with pytest.raises(ssl.SSLWantReadError):
        while True:
            got += client.recv(65536)
    server.settimeout(0)
    with pytest.raises(ssl.SSLWantWriteError):
        server.send(b"2" * 16_000)
    server.settimeout(None)
    assert server.send(b"2" * 16_000) == 16_000
    filling.kill()
    server.close()
    client.settimeout(None)
    got += client.makefile("rb").read()
    assert got.count(b"2") == 16_000
    assert len(got) - 16_000 == sum(sent)


def test_a_callback_that_waits_in_a_handshake(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """Other users of the connection park meanwhile, too, and the hub goes on."""
    asked, found = Event(), Event()

    def look_certificate_up(*_: object) -> None:
        asked.set()
        found.wait()

    server_context.sni_callback = look_certificate_up
    near, far = socket.socketpair()
    server = server_context.wrap_socket(far, server_side=True, do_handshake_on_connect=False)
    with server:
        shaking_hands = greenpool.spawn(server.do_handshake)
        connecting = greenpool.spawn(client_context.wrap_socket, near, server_hostname="localhost")
        asked.wait()
        server.settimeout(0.01)
        with pytest.raises(TimeoutError):
            server.write(b"goodbye")
        found.set()
        shaking_hands.get()
        with connecting.get() as client:
            assert client.version() == server.version()


class Interrupted:
    """Wraps OpenSSL's connection object and calls *interrupt* once, in the middle of its first use."""

    def __init__(self, connection: Any, interrupt: Callable[[], object]) -> None:
        self._connection = connection
        self._interrupt: Callable[[], object] | None = interrupt

    def __getattr__(self, name: str) -> Any:
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            interrupt()
        return getattr(self._connection, name)

    def read(self, *args: Any) -> Any:
        return self.__getattr__("read")(*args)

    def write(self, *args: Any) -> Any:
        return self.__getattr__("write")(*args)


def test_a_finalizer_uses_the_connection_that_it_interrupts(pair: tuple[Any, Any]) -> None:
    server, client = pair
    client.send(b"question")
    server._sslobj = Interrupted(server._sslobj, lambda: server.send(b"goodbye"))
    assert server.recv(100) == b"question"
    assert client.recv(100) == b"goodbye"


def test_a_signal_handler_uses_the_connection_that_it_interrupts(pair: tuple[Any, Any]) -> None:
    """The handler waits until the interrupted call has left OpenSSL."""
    server, client = pair
    handled = Event()

    def handler(*_: object) -> None:
        server.send(b"goodbye")
        handled.set()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        client.send(b"question")
        server._sslobj = Interrupted(server._sslobj, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        assert greenpool.spawn(server.recv, 100).get() == b"question"
        handled.wait()
        assert client.recv(100) == b"goodbye"
    finally:
        signal.signal(signal.SIGUSR1, before)


# Features of the standard module.


def test_server_names_protocols_and_sessions(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    names = []
    server_context.sni_callback = lambda sock, name, context: names.append(name)
    for context in (server_context, client_context):
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connected(server_context, client_context) as (server, client):
        assert names == ["localhost"]
        assert server.selected_alpn_protocol() == client.selected_alpn_protocol() == "h2"
        session = client.session
        assert not client.session_reused
    with connected(server_context, client_context, session=session) as (server, client):
        assert client.session_reused


def test_a_server_that_is_not_trusted(server_context: ssl.SSLContext) -> None:
    near, far = socket.socketpair()
    serving = greenpool.Greenlet.spawn(server_context.wrap_socket, far, server_side=True)
    serving.quiet = True
    with near, far, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(near, server_hostname="localhost")
    with pytest.raises(ssl.SSLError):
        serving.get()


def test_the_functions_of_the_module(server_context: ssl.SSLContext, certificate: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            server_context.wrap_socket(connection, server_side=True).close()

        serving = greenpool.spawn(serve)
        found = ssl.get_server_certificate(listener.getsockname(), ca_certs=certificate)
        assert found in CERTIFICATE
        serving.get()


def test_a_file_is_sent(pair: tuple[Any, Any], certificate: str) -> None:
    server, client = pair
    with open(certificate, "rb") as file:
        sending = greenpool.spawn(server.sendfile, file)
        received = b""
        while len(received) < len(CERTIFICATE):
            received += client.recv(10_000)
        assert sending.get() == len(CERTIFICATE)
    assert received.decode() == CERTIFICATE


def test_context_settings(client_context: ssl.SSLContext) -> None:
    client_context.minimum_version = ssl.TLSVersion.TLSv1_2
    client_context.maximum_version = ssl.TLSVersion.TLSv1_3
    client_context.options |= ssl.OP_NO_TICKET
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert client_context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert type(ssl.create_default_context()) is ssl.SSLContext


# The standard module, unpatched and patched.


def test_a_standard_socket_becomes_green(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    with standard_server(("127.0.0.1", 0)) as listener:
        near = standard_connection(listener.getsockname())
        far, _ = listener.accept()
    serving = greenpool.spawn(server_context.wrap_socket, far, server_side=True)
    with client_context.wrap_socket(near, server_hostname="localhost") as client:
        with serving.get() as server:
            waiting = greenpool.spawn(client.recv, 10)
            server.send(b"word")
            assert waiting.get() == b"word"


def test_the_standard_module_is_as_before(server_context: ssl.SSLContext, certificate: str) -> None:
    context = standard.create_default_context(cafile=certificate)
    assert type(context) is standard.SSLContext
    assert context.sslsocket_class is standard.SSLSocket
    done = Event()

    def ask(address: Any) -> None:
        with standard_connection(address) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as client:
                assert type(client) is standard.SSLSocket
                assert client.recv(10) == b"word"
        done.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=ask, args=(listener.getsockname(),))
        thread.start()
        connection, _ = listener.accept()
        with server_context.wrap_socket(connection, server_side=True) as server:
            server.sendall(b"word")
            done.wait()
        thread.join()


PATCHED = """
import ssl
import sys

{before}
from greenpool.ssl import SSLSocket, patch_standard

patch_standard()
patch_standard()
{after}

context.minimum_version = ssl.TLSVersion.TLSv1_2
context.maximum_version = ssl.TLSVersion.TLSv1_3
context.options |= ssl.OP_NO_TICKET
context.verify_mode = ssl.CERT_REQUIRED
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.load_cert_chain(sys.argv[1])

import greenpool
from greenpool import socket

near, far = socket.socketpair()
serving = greenpool.spawn(context.wrap_socket, far, server_side=True)
client = ssl.create_default_context(cafile=sys.argv[1])
with client.wrap_socket(near, server_hostname="localhost") as asking, serving.get() as server:
    assert type(server) is type(asking) is SSLSocket
    waiting = greenpool.spawn(asking.recv, 10)
    server.send(b"word")
    assert waiting.get() == b"word"
"""
CONTEXT = "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)"


@pytest.mark.parametrize(("before", "after"), [(CONTEXT, ""), ("", CONTEXT)])
def test_patching_before_and_after_a_context_is_made(before: str, after: str, certificate: str) -> None:
    script = PATCHED.format(before=before, after=after).replace("CERT_REQUIRED", "CERT_NONE")
    subprocess.run(
        [sys.executable, "-c", script, certificate],
        cwd=Path(greenpool.__file__).parent.parent,
        check=True,
        timeout=40,
    )
