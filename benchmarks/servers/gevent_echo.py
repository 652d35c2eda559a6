"""gevent: its StreamServer, a greenlet per connection."""

from gevent import socket
from gevent.server import StreamServer

from benchmarks.servers.listening import READ_SIZE, listen


def echo(connection: socket.socket, _address: object) -> None:
    while data := connection.recv(READ_SIZE):
        connection.sendall(data)


if __name__ == "__main__":
    StreamServer(socket.socket(fileno=listen().detach()), echo).serve_forever()
