"""Ten thousand connections at the same time: each gets its echo, and none is lost."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from documents import ROOT

WANTED = 10_000

# The descriptors that each of the two processes has open besides the connections.
SPARE = 200

SERVER = """
import resource, sys, threading
import greenpool
from greenpool import socket

lock = threading.Lock()
now = most = 0

def count(change):
    global now, most
    with lock:
        now += change
        most = max(now, most)

def serve(connection):
    with connection:
        count(1)
        connection.sendall(b"welcome")
        while data := connection.recv(100):
            connection.sendall(data)
        count(-1)

def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        served = [greenpool.spawn(serve, listener.accept()[0]) for _ in range(int(sys.argv[1]))]
        greenpool.joinall(served)
    print(most, sum(greenlet.successful() for greenlet in served), flush=True)

greenpool.run(main)
"""

CLIENTS = """
import resource, sys
import greenpool
from greenpool import socket
from greenpool.event import Event
from greenpool.lock import Semaphore

connecting = Semaphore(256)
all_connected = Event()
connected = 0

def ask(number, count, address):
    global connected
    with connecting:
        connection = socket.create_connection(address)
    with connection:
        assert connection.recv(100) == b"welcome"
        connected += 1
        if connected == count:
            all_connected.set()
        all_connected.wait()
        connection.sendall(b"%d" % number)
        assert connection.recv(100) == b"%d" % number
    return 1

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
count, address = int(sys.argv[1]), ("127.0.0.1", int(sys.argv[2]))
asking = [greenpool.spawn(ask, number, count, address) for number in range(count)]
print(sum(greenlet.get() for greenlet in asking))
"""


@pytest.mark.slow
@pytest.mark.time_limit(120)
def test_ten_thousand_connections_each_get_their_echo() -> None:
    """Server and clients each run in a process of their own, because descriptors are limited per process."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = WANTED if limit == resource.RLIM_INFINITY else min(WANTED, limit - SPARE)
    if count < WANTED:
        print(f"RLIMIT_NOFILE allows {limit} descriptors: only {count} connections")
    python = [sys.executable, "-W", "error", "-c"]
    with subprocess.Popen(
        [*python, SERVER, str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        try:
            clients = subprocess.run(
                [*python, CLIENTS, str(count), port], cwd=ROOT, capture_output=True, text=True
            )
            assert (clients.returncode, clients.stderr) == (0, "")
            assert int(clients.stdout) == count
            most, ended_well = map(int, server.stdout.read().split())
        finally:
            server.kill()
    # No client goes on before all have been welcomed.
    assert most == ended_well == count
