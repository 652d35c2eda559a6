"""An echo server on a pool of hubs, under load from ordinary threads.

    python examples/echo.py [--hubs N] [--clients N] [--seconds S]

The server is greenpool's: the main thread accepts, and each connection is spawned onto the next
hub in turn. The clients know nothing of greenpool: each is an OS thread that uses the standard
library's blocking sockets. The whole ends by itself and prints which hub served what, and how fast.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import greenpool
import greenpool.socket

MESSAGE = b"x" * 64
CONNECTIONS_PER_CLIENT = 8


class Server:
    """Echoes what it receives, and notes for each connection which hub served how much."""

    def __init__(self) -> None:
        self.listener = greenpool.socket.create_server(("127.0.0.1", 0))
        # A client that fails must not leave the server waiting for its connections.
        self.listener.settimeout(30)
        self.served: list[tuple[str, int]] = []

    def connections(self, count: int) -> Iterator[tuple[Callable[..., None], socket.socket]]:
        for _ in range(count):
            connection, _ = self.listener.accept()
            yield self.echo, connection

    def echo(self, connection: socket.socket) -> None:
        requests = 0
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)
                requests += 1
        self.served.append((threading.current_thread().name, requests))


def client(address: tuple[str, int], seconds: float) -> None:
    for _ in range(CONNECTIONS_PER_CLIENT):
        with socket.create_connection(address) as connection:
            end = time.monotonic() + seconds / CONNECTIONS_PER_CLIENT
            while time.monotonic() < end:
                connection.sendall(MESSAGE)
                reply = connection.recv(len(MESSAGE), socket.MSG_WAITALL)
                if reply != MESSAGE:
                    raise RuntimeError(f"sent {MESSAGE!r}, got {reply!r} back")


def gil() -> str:
    # Only free-threaded builds, and only from 3.13 on, can say no.
    return "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off"


def main() -> None:
    parser = argparse.ArgumentParser(description="An echo server on a pool of hubs, under load.")
    parser.add_argument("--hubs", type=int, default=max(2, min(os.cpu_count() or 1, 8)))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()

    server = Server()
    address = server.listener.getsockname()
    print(
        f"Echo server on {address[0]}:{address[1]}: {options.hubs} hubs,"
        f" Python {platform.python_version()}, GIL {gil()}"
    )
    print(f"{options.clients} client threads, {CONNECTIONS_PER_CLIENT} connections each ...")

    threads = [
        threading.Thread(target=client, args=(address, options.seconds)) for _ in range(options.clients)
    ]
    begin = time.monotonic()
    with server.listener, greenpool.Runtime(pool_size=options.hubs, name_prefix="echo") as runtime:
        for thread in threads:
            thread.start()
        runtime.spawn_all(server.connections(options.clients * CONNECTIONS_PER_CLIENT))
    # Leaving the block has waited until all connections were served.
    elapsed = time.monotonic() - begin
    for thread in threads:
        thread.join()

    connections = Counter(hub for hub, _ in server.served)
    requests: Counter[str] = Counter()
    for hub, count in server.served:
        requests[hub] += count
    for hub in sorted(connections):
        print(f"  {hub:8}{connections[hub]:4} connections {requests[hub]:9,} requests")
    total = requests.total()
    print(f"{total:,} requests in {elapsed:.1f} s: {total / elapsed:,.0f} requests/s")


if __name__ == "__main__":
    main()
