"""gevent: HTTP hello world on StreamServer. The others use no WSGI server, so this does not either."""

from gevent import socket
from gevent.server import StreamServer

from benchmarks.servers.hello import RESPONSE, split_requests
from benchmarks.servers.listening import READ_SIZE, listen


def serve_connection(connection: socket.socket, _address: object) -> None:
    rest = b""
    while data := connection.recv(READ_SIZE):
        count, rest = split_requests(rest + data)
        if count:
            connection.sendall(RESPONSE * count)


if __name__ == "__main__":
    StreamServer(socket.socket(fileno=listen().detach()), serve_connection).serve_forever()
