"""greenpool: HTTP hello world, a greenlet per connection, on the thread's own hub."""

import greenpool
from benchmarks.servers.hello import RESPONSE, split_requests
from benchmarks.servers.listening import READ_SIZE, listen
from greenpool import socket


def serve_connection(connection: socket.socket) -> None:
    rest = b""
    with connection:
        while data := connection.recv(READ_SIZE):
            count, rest = split_requests(rest + data)
            if count:
                connection.sendall(RESPONSE * count)


if __name__ == "__main__":
    with socket.socket(fileno=listen().detach()) as listener:
        while True:
            accepted, _ = listener.accept()
            greenpool.spawn(serve_connection, accepted)
