"""A chat server: what one member writes, all the others read.

    python examples/chat.py [PORT]
    nc 127.0.0.1 PORT                  in as many other terminals as you like

Each connection has two greenlets on one hub: one reads the member's lines, the other writes what is in the
member's queue. A member who does not read holds up nobody; lines for which the queue has no room are dropped.
The members are spread over all hubs, so the room that they share has a lock.
"""

from __future__ import annotations

import contextlib
import sys

import greenpool
from greenpool import socket
from greenpool.lock import Lock
from greenpool.queue import Full, Queue

MAX_UNREAD = 1000


class Room:
    """The members, each with the queue of the lines that are still to be written to it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._unread: dict[str, Queue[str]] = {}

    def enter(self, name: str) -> Queue[str] | None:
        """The new member's queue, or None where the name is taken."""
        with self._lock:
            if name in self._unread:
                return None
            queue = self._unread[name] = Queue(MAX_UNREAD)
            queue.put_nowait(f"* here: {', '.join(self._unread)}")
        self.say(name, f"* {name} is here")
        return queue

    def leave(self, name: str) -> None:
        with self._lock:
            del self._unread[name]
        self.say(name, f"* {name} has left")

    def say(self, speaker: str, line: str) -> None:
        # Under the lock, so that all members read the lines in the same order.
        with self._lock:
            for name, queue in self._unread.items():
                if name != speaker:
                    with contextlib.suppress(Full):
                        queue.put_nowait(line)


def serve(connection: socket.socket, room: Room) -> None:
    # A ConnectionError is a member who has gone.
    with (
        contextlib.suppress(ConnectionError),
        connection,
        connection.makefile("r", encoding="utf-8", errors="replace") as lines,
    ):
        connection.sendall(b"Your name?\n")
        while name := lines.readline().strip():
            queue = room.enter(name)
            if queue is not None:
                break
            connection.sendall(b"That name is taken. Another one?\n")
        else:
            return
        writer = greenpool.spawn(write, connection, queue)
        try:
            for line in lines:
                room.say(name, f"{name}: {line.rstrip()}")
        finally:
            room.leave(name)
            writer.kill()


def write(connection: socket.socket, queue: Queue[str]) -> None:
    with contextlib.suppress(ConnectionError):
        for line in queue:
            connection.sendall(line.encode() + b"\n")


def main(port: int = 0) -> None:
    room = Room()
    with socket.create_server(("127.0.0.1", port)) as listener:
        print("chat on port", listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            greenpool.spawn(serve, connection, room)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        greenpool.run(main, *map(int, sys.argv[1:]))
