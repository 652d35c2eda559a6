"""Worker threads that hand their network traffic to a pool, by a Handle that they share.

    python examples/workers.py HOST:PORT FILE ...

The workers are OS threads that compute: here, the checksums of files. Each result has to go to a collector
(``nc -lk PORT`` will do), and no worker waits for that: a greenlet of the pool connects and sends the line.
"""

from __future__ import annotations

import hashlib
import queue
import sys
import threading
from concurrent.futures import Future, as_completed

import greenpool
from greenpool import socket

WORKERS = 4
SECONDS = 10


def send(collector: tuple[str, int], line: str) -> str:
    """Runs in a greenlet of the pool; returns the line when it has been sent."""
    with socket.create_connection(collector, timeout=SECONDS) as connection:
        connection.sendall(line.encode() + b"\n")
    return line


class Worker(threading.Thread):
    """Takes names of files from *names* until there is none left."""

    def __init__(
        self, names: queue.SimpleQueue[str], handle: greenpool.Handle, collector: tuple[str, int]
    ) -> None:
        super().__init__()
        self.names = names
        self.handle = handle
        self.collector = collector
        self.sending: list[Future[str]] = []

    def run(self) -> None:
        while True:
            try:
                name = self.names.get_nowait()
            except queue.Empty:
                return
            with open(name, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self.sending.append(self.handle.submit(send, self.collector, f"{digest}  {name}"))


def main(collector: str, *files: str) -> None:
    host, port = collector.rsplit(":", 1)
    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in files:
        names.put(name)
    with greenpool.Runtime() as runtime:
        handle = runtime.handle()
        workers = [Worker(names, handle, (host, int(port))) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for future in as_completed([future for worker in workers for future in worker.sending]):
            print("sent", future.result())


if __name__ == "__main__":
    main(*sys.argv[1:])
