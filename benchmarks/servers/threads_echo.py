"""Plain threads: an OS thread per connection, with a small stack so that 10,000 of them fit."""

import socket
import threading

from benchmarks.servers.listening import READ_SIZE, listen


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(READ_SIZE):
            connection.sendall(data)


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    listener = listen()
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=echo, args=(accepted,), daemon=True).start()
