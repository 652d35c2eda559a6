"""A threaded server that knows nothing of greenpool: it uses the standard library only.

    python examples/threads.py                  an OS thread for each connection
    python -m greenpool examples/threads.py     the same file, with a greenlet for each connection
    nc 127.0.0.1 PORT

It keeps values by their keys. Its clients send lines: ``set KEY VALUE``, ``get KEY`` or ``wait KEY``, whose
answer comes when another client has set the key.
"""

from __future__ import annotations

import contextlib
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer

SECONDS_TO_WAIT = 30

values: dict[str, str] = {}
changed = threading.Condition()


def answer(line: str) -> str:
    match line.split(maxsplit=2):
        case ["set", key, value]:
            with changed:
                values[key] = value
                changed.notify_all()
            return "done"
        case ["get", key]:
            with changed:
                return values.get(key, "no such key")
        case ["wait", key]:
            with changed:
                changed.wait_for(lambda: key in values, SECONDS_TO_WAIT)
                return values.get(key, "no such key")
    return "set KEY VALUE, get KEY or wait KEY?"


class Connection(StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            for line in self.rfile:
                self.wfile.write(answer(line.decode().strip()).encode() + b"\n")


class Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1000


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Connection) as server, contextlib.suppress(KeyboardInterrupt):
        print("keys and values on port", server.server_address[1], flush=True)
        server.serve_forever()
