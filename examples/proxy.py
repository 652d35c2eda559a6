"""An HTTP forward proxy, with CONNECT for HTTPS and for all else that wants a tunnel.

    python examples/proxy.py [PORT]
    curl --proxy http://127.0.0.1:PORT https://www.python.org/

Each connection has a greenlet that reads the request and connects to the server. From then on two greenlets
copy, one in each direction. They are a TaskGroup: when one of them fails, the other is cancelled.
"""

from __future__ import annotations

import contextlib
import sys
from urllib.parse import urlsplit

import greenpool
from greenpool import socket

MAX_HEAD = 65_536
SECONDS_TO_CONNECT = 10


def serve(client: socket.socket) -> None:
    # A ConnectionError is a client that has gone.
    with contextlib.suppress(ConnectionError), client:
        try:
            with greenpool.fail_after(SECONDS_TO_CONNECT):
                head, body = read_head(client)
                server, to_client, to_server = connect(head)
        except ValueError:
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        except OSError:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n")
        else:
            with server:
                client.sendall(to_client)
                server.sendall(to_server + body)
                tunnel(client, server)


def read_head(client: socket.socket) -> tuple[str, bytes]:
    """The request's head, and as much of its body as has come with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = client.recv(MAX_HEAD)
        if not received or len(data) > MAX_HEAD:
            raise ValueError("the request has no end")
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def connect(head: str) -> tuple[socket.socket, bytes, bytes]:
    """A connection to the server that the request names, and what to send to either side first."""
    request, *headers = head.split("\r\n")
    method, target, _ = request.split(" ")
    url = urlsplit(f"//{target}" if method == "CONNECT" else target)
    if not url.hostname or url.scheme not in ("", "http"):
        raise ValueError(f"cannot forward {request!r}")
    server = socket.create_connection((url.hostname, url.port or 80))
    if method == "CONNECT":
        return server, b"HTTP/1.1 200 Connection established\r\n\r\n", b""
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    kept = [line for line in headers if not line.lower().startswith(("proxy-", "connection:"))]
    lines = [f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]
    return server, b"", "\r\n".join(lines).encode("latin-1")


def tunnel(client: socket.socket, server: socket.socket) -> None:
    try:
        with greenpool.TaskGroup() as group:
            group.spawn(copy, client, server)
            group.spawn(copy, server, client)
    except* OSError:
        pass  # one side has gone, and the tunnel with it


def copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65_536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def main(port: int = 0) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        print("proxy on port", listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            greenpool.spawn(serve, client)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        greenpool.run(main, *map(int, sys.argv[1:]))
