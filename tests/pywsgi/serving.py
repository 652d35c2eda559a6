"""A server for a test, and a client that sends bytes and reads bytes."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from greenpool import socket
from greenpool.pywsgi import WSGIServer

LOCAL = ("127.0.0.1", 0)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [environ["wsgi.input"].read()]


@contextmanager
def serving(application: Application, **settings: Any) -> Iterator[WSGIServer]:
    settings = {"log": None, "error_log": io.StringIO()} | settings
    with WSGIServer(settings.pop("listener", LOCAL), application, **settings) as server:
        server.start()
        yield server


def exchange(server: WSGIServer, *parts: bytes) -> bytes:
    """Send the parts, end the sending, and return all that comes back."""
    with socket.create_connection(server.address) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for part in parts:
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            # The server has refused the first parts already; its answer is there to be read.
            pass
        return b"".join(iter(lambda: client.recv(65_536), b""))


def answer_until_close(server: WSGIServer, request: bytes) -> bytes:
    """Send the request, and return all that comes until the server closes the connection by itself."""
    with socket.create_connection(server.address) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65_536), b""))


class _Stream(io.BytesIO):
    def makefile(self, *args: object) -> io.BytesIO:
        return self


def parse(data: bytes, method: str = "GET") -> http.client.HTTPResponse:
    """The first response in the data, parsed by the standard library."""
    response = http.client.HTTPResponse(_Stream(data), method=method)  # type: ignore[arg-type]
    response.begin()
    return response


def body_of(data: bytes) -> bytes:
    return parse(data).read()
