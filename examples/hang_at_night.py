"""A small service that hangs, in three ways at once: what to look for is in docs/hang-at-night.md.

    GREENPOOL_STALL=0.5 python -m greenpool --pool-size=2 examples/hang_at_night.py
    greenpool ps PID

Two of its jobs take the same two locks in opposite order, one asks a database that does not answer, and one
computes.  It ends with Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

accounts = threading.Lock()
ledger = threading.Lock()
midnight = threading.Barrier(2)

# It accepts connections, as the kernel does that for it, and never answers.
database = socket.create_server(("127.0.0.1", 0))


def transfer() -> None:
    with accounts:
        midnight.wait()
        with ledger:
            print("transferred")


def close_the_day() -> None:
    with ledger:
        midnight.wait()
        with accounts:
            print("closed")


def fetch_prices() -> None:
    with socket.create_connection(database.getsockname()) as connection:
        connection.sendall(b"select price from prices\n")
        print("prices", connection.recv(4096))


def forecast() -> None:
    day = 0
    while day < 10**12:
        day += 1
    print("it will be fine")


def main() -> None:
    for job in (transfer, close_the_day, fetch_prices):
        threading.Thread(target=job, name=job.__name__, daemon=True).start()
    time.sleep(1)
    threading.Thread(target=forecast, name=forecast.__name__, daemon=True).start()
    print("service of process", os.getpid(), flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
