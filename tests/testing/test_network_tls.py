"""TLS over simulated sockets, and HTTPS in an unchanged program."""

from __future__ import annotations

import http.client
import http.server
import ssl as standard
import threading
import time

import pytest
from tls import certificate, client_context, server_context

import greenpool
from greenpool import socket, ssl
from greenpool.testing.network import Network

from .test_network import on_network
from .test_network_programs import Pages

__all__ = ["certificate", "client_context", "server_context"]


def serve(context: standard.SSLContext) -> None:
    with socket.create_server(("", 443)) as listener:
        while True:
            plain, _ = listener.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    while data := connection.recv(1000):
                        connection.sendall(data.upper())
            except OSError:
                plain.close()


def connect(network: Network, context: standard.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("web", 443), timeout=5)
    return context.wrap_socket(plain, server_hostname="localhost")  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def contexts(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    """Both are made outside of the runs."""


def test_bytes_there_and_back(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    def program(network: Network) -> list[object]:
        network.spawn("web", serve, server_context)
        greenpool.sleep(1)
        network.between("localhost", "web").delay(0.1)
        begun = time.monotonic()
        with connect(network, client_context) as client:
            client.sendall(b"hello")
            answer = client.recv(100)
            with client.makefile("rwb") as file:
                file.write(b"line\n")
                file.flush()
                line = file.readline()
            with pytest.raises(TimeoutError):
                client.recv(1)
            return [answer, line, client.version(), round(time.monotonic() - begun, 3)]

    # To connect, the handshake, two questions, and the five seconds of the timeout.
    assert on_network(program) == [b"HELLO", b"LINE\n", "TLSv1.3", 5.8]


def test_much_over_a_slow_link(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    def program(network: Network) -> int:
        network.spawn("web", serve, server_context)
        greenpool.sleep(1)
        network.between("localhost", "web").bandwidth(1_000_000).drop(0.01)
        with connect(network, client_context) as client:
            client.settimeout(60)
            greenpool.spawn(client.sendall, bytes(300_000))
            got = 0
            while got < 300_000:
                got += len(client.recv(65536))
        return got

    assert on_network(program) == 300_000


def test_a_certificate_is_checked(server_context: ssl.SSLContext) -> None:
    def program(network: Network) -> None:
        network.spawn("web", serve, server_context)
        greenpool.sleep(1)
        with pytest.raises(standard.SSLCertVerificationError):
            connect(network, ssl.create_default_context())

    on_network(program)


def test_the_plain_socket_that_is_left(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def program(network: Network) -> bytes:
        one, other = socket.socketpair()

        def serve_once() -> None:
            with server_context.wrap_socket(one, server_side=True) as connection:
                assert connection.recv(10) == b"x"
                plain = connection.unwrap()
            with plain:
                plain.sendall(b"plain")

        server = greenpool.spawn(serve_once)
        with client_context.wrap_socket(other, server_hostname="localhost") as client:
            client.sendall(b"x")
            plain = client.unwrap()
        with plain:
            data: bytes = plain.recv(10)
        server.get()
        return data

    assert on_network(program) == b"plain"


def test_a_non_blocking_socket_says_what_it_waits_for(client_context: ssl.SSLContext) -> None:
    def program(network: Network) -> None:
        one, other = socket.socketpair()
        one.setblocking(False)
        with (
            client_context.wrap_socket(
                one, server_hostname="localhost", do_handshake_on_connect=False
            ) as client,
            other,
        ):
            with pytest.raises(standard.SSLWantReadError):
                client.do_handshake()

    on_network(program)


def test_https(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    def program(network: Network) -> list[object]:
        with network.host("localhost"):
            server = http.server.ThreadingHTTPServer(("", 443), Pages)
            server.socket = server_context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
        client = http.client.HTTPSConnection("localhost", timeout=5, context=client_context)
        client.request("GET", "/secret")
        body = client.getresponse().read()
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()
        return [body]

    assert on_network(program, patch=True) == [b"/secret for 127.0.0.1 by localhost"]
