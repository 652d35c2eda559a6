"""greenpool: a greenlet per connection.

With a number as its argument, it serves over a pool of that many hubs, otherwise on the thread's own hub.
"""

import sys

import greenpool
from benchmarks.servers.listening import READ_SIZE, listen
from greenpool import socket


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(READ_SIZE):
            connection.sendall(data)


def serve() -> None:
    plain = listen()
    with socket.socket(fileno=plain.detach()) as listener:
        while True:
            connection, _ = listener.accept()
            greenpool.spawn(echo, connection)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with greenpool.Runtime(pool_size=int(sys.argv[1])) as runtime:
            runtime.block_on(serve)
    else:
        serve()
