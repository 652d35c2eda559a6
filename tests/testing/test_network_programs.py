"""Unchanged programs of the standard library on a simulated network."""

from __future__ import annotations

import http.client
import http.server
import socket
import socketserver
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from greenpool.testing.network import Network

from .test_network import on_network


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.path} for {self.client_address[0]} by {socket.gethostname()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d" % size)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(network: Network, host: str, server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    with network.host(host):
        thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def web(network: Network, kind: type[http.server.HTTPServer]) -> http.server.HTTPServer:
    with network.host("web"):
        return kind(("", 80), Pages)


@pytest.mark.parametrize("kind", [http.server.HTTPServer, http.server.ThreadingHTTPServer])
def test_http(kind: type[http.server.HTTPServer]) -> None:
    def program(network: Network) -> list[object]:
        network.between("localhost", "web").delay(0.1)
        with serving(network, "web", web(network, kind)):
            begun = time.monotonic()
            client = http.client.HTTPConnection("web", timeout=5)
            client.request("GET", "/one")
            first = client.getresponse().read()
            client.request("POST", "/", bytes(300_000))
            second = client.getresponse().read()
            client.close()
            return [first, second, round(time.monotonic() - begun, 3)]

    # To connect and to get a page take 0.2 seconds each.  The upload is three times what the buffers take.
    assert on_network(program, patch=True) == [b"/one for 10.0.0.1 by web", b"300000", 0.8]


def test_urllib() -> None:
    def program(network: Network) -> bytes:
        with serving(network, "web", web(network, http.server.ThreadingHTTPServer)):
            with urllib.request.urlopen("http://web/page", timeout=5) as answer:
                body: bytes = answer.read()
            link = network.between("localhost", "web").partition()
            with pytest.raises(urllib.error.URLError, match="timed out"):
                urllib.request.urlopen("http://web/page", timeout=5)
            link.heal()
            with pytest.raises(urllib.error.URLError, match="Name or service not known"):
                urllib.request.urlopen("http://example.com/", timeout=5)
        return body

    assert on_network(program, patch=True) == b"/page for 10.0.0.1 by web"


class Shout(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


def test_socketserver() -> None:
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    def program(network: Network) -> list[bytes]:
        with network.host("shout"):
            server = Server(("", 70), Shout)
        with serving(network, "shout", server), socket.create_connection(("shout", 70)) as client:
            with client.makefile("rwb") as file:
                file.write(b"one\ntwo\n")
                file.flush()
                return [file.readline(), file.readline()]

    assert on_network(program, patch=True) == [b"ONE\n", b"TWO\n"]


class Lengths(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(b"%d" % len(data), self.client_address)


def test_socketserver_with_datagrams() -> None:
    def program(network: Network) -> bytes:
        with network.host("lengths"):
            server = socketserver.UDPServer(("", 53), Lengths)
        with serving(network, "lengths", server), socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"hello", ("lengths", 53))
            return client.recv(10)

    assert on_network(program, patch=True) == b"5"


def test_a_server_that_network_spawn_has_started_ends_with_its_threads() -> None:
    def program(network: Network) -> bytes:
        def serve() -> None:
            with http.server.ThreadingHTTPServer(("", 80), Pages) as server:
                server.serve_forever()

        network.spawn("web", serve)
        time.sleep(1)
        client = http.client.HTTPConnection("web")
        client.request("GET", "/")
        return client.getresponse().read()

    assert on_network(program, patch=True) == b"/ for 10.0.0.1 by web"
