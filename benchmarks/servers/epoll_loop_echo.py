"""A bare ``epoll.poll()`` loop with callbacks: the most that Python itself allows, without green threads."""

import select
import socket
from collections.abc import Callable

from benchmarks.servers.listening import READ_SIZE, listen

poller = select.epoll()
callbacks: dict[int, Callable[[int], None]] = {}


class Connection:
    """Echoes the data that it reads. While some of it is unsent, it reads nothing more."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.unsent = b""

    def on_readable(self, fd: int) -> None:
        try:
            data = self.socket.recv(READ_SIZE)
            if not data:
                return self.close(fd)
        except ConnectionError:
            return self.close(fd)
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            return self.close(fd)
        if sent < len(data):
            self.unsent = data[sent:]
            callbacks[fd] = self.on_writable
            poller.modify(fd, select.EPOLLOUT)

    def on_writable(self, fd: int) -> None:
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except ConnectionError:
            return self.close(fd)
        if not self.unsent:
            callbacks[fd] = self.on_readable
            poller.modify(fd, select.EPOLLIN)

    def close(self, fd: int) -> None:
        del callbacks[fd]
        self.socket.close()


if __name__ == "__main__":
    listener = listen()

    def on_connection(_fd: int) -> None:
        sock, _ = listener.accept()
        sock.setblocking(False)
        callbacks[sock.fileno()] = Connection(sock).on_readable
        poller.register(sock, select.EPOLLIN)

    callbacks[listener.fileno()] = on_connection
    poller.register(listener, select.EPOLLIN)
    poll = poller.poll
    while True:
        for ready, _event in poll():
            callbacks[ready](ready)
