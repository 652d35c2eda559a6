"""Servers over blocking sockets, with a thread (or a greenlet) for each connection.

Under ``patch_all()`` and on plain threads the same code uses the standard library. In the native rows it uses
the library's own sockets, TLS and greenlets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.servers.everyday.certificate import certificate
from benchmarks.servers.listening import READ_SIZE, listen


@dataclass(frozen=True)
class Names:
    """The modules of one library, and its way to start a function in the background."""

    socket: Any
    ssl: Any
    start: Callable[..., object]


def unchanged() -> Names:
    import socket
    import ssl
    import threading

    threading.stack_size(256 * 1024)

    def start(function: Callable[..., object], *args: object) -> None:
        threading.Thread(target=function, args=args, daemon=True).start()

    return Names(socket, ssl, start)


def greenpool() -> Names:
    import greenpool
    from greenpool import socket, ssl

    return Names(socket, ssl, greenpool.spawn)


def gevent() -> Names:
    import gevent
    from gevent import socket, ssl

    return Names(socket, ssl, gevent.spawn)


LIBRARIES = {"unchanged": unchanged, "greenpool": greenpool, "gevent": gevent}


def echo(connection: Any) -> None:
    with connection:
        while data := connection.recv(READ_SIZE):
            connection.sendall(data)


def answer_once(connection: Any) -> None:
    with connection:
        connection.sendall(connection.recv(READ_SIZE))


def answer_lines(connection: Any) -> None:
    with connection, connection.makefile("rb") as lines:
        while line := lines.readline():
            connection.sendall(line)


def over_tls(context: Any, talk: Callable[[Any], None], connection: Any) -> None:
    """Make the handshake in the connection's own thread, so that it keeps nobody else from being served."""
    talk(context.wrap_socket(connection, server_side=True))


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"Hello, world!"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def serve_http() -> None:
    """Run ``http.server`` on a listener that is the same as the other servers'."""
    listener = listen()
    server = ThreadingHTTPServer(listener.getsockname(), Hello, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


def serve(program: str, library: str) -> None:
    if program == "http":
        serve_http()
        return
    names = LIBRARIES[library]()
    talk = {"tls": echo, "tls-handshake": answer_once, "connect": answer_once, "readline": answer_lines}[
        program
    ]
    with names.socket.socket(fileno=listen().detach()) as listener:
        if not program.startswith("tls"):
            while True:
                names.start(talk, listener.accept()[0])
        context = names.ssl.SSLContext(names.ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate())
        while True:
            names.start(over_tls, context, talk, listener.accept()[0])
