"""eventlet: ``eventlet.serve`` with room for every connection of the benchmark."""

import eventlet
from eventlet.greenio import GreenSocket

from benchmarks.servers.listening import READ_SIZE, listen


def echo(connection: GreenSocket, _address: object) -> None:
    while data := connection.recv(READ_SIZE):
        connection.sendall(data)


if __name__ == "__main__":
    eventlet.serve(GreenSocket(listen()), echo, concurrency=20_000)
