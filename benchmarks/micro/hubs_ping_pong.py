"""Pairs of greenlets that pass 64 bytes to and fro over a socketpair, on 1, 2 and 4 hubs.

Every hub has its own pairs and shares only the process with the others. So the scaling that is missing here
is lost to the GIL, or to a lock or a reference count in the library. gevent's counterpart of a hub is its one
hub per thread.

Two processes of one hub each share nothing at all. They tell how far the machine itself scales.
"""

import multiprocessing
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from threading import Thread
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Run, Subject

HUBS = (1, 2, 4)
PROCESSES = 2
PAIRS = 20
SIZE = 64


def ping(sock: Any, trips: int) -> None:
    # Make a message per greenlet: without the GIL, hubs contend for a shared object's reference count.
    message = bytes(SIZE)
    with sock:
        for _ in range(trips):
            sock.sendall(message)
            sock.recv(SIZE)


def pong(sock: Any) -> None:
    with sock:
        while data := sock.recv(SIZE):
            sock.sendall(data)


def play(spawn: Callable[..., Any], socketpair: Callable[[], tuple[Any, Any]], trips: int) -> None:
    """Run one hub's pairs, each of which makes ``trips`` round trips."""
    greenlets = []
    for _ in range(PAIRS):
        left, right = socketpair()
        greenlets += [spawn(ping, left, trips), spawn(pong, right)]
    for greenlet in greenlets:
        greenlet.get()


def greenpool(hubs: int, count: int, pinned: bool = False) -> float:
    import greenpool
    from greenpool.socket import socketpair

    trips = count // hubs // PAIRS
    with greenpool.Runtime(pool_size=hubs, pin_to_cpus=pinned) as runtime:
        handle = runtime.handle()
        started = perf_counter()
        arguments = (play, greenpool.spawn, socketpair, trips)
        players = [handle.spawn_on(i, *arguments) for i in range(hubs)]
        for player in players:
            player.get()
        return perf_counter() - started


def greenpool_when_told(told: Connection, count: int) -> None:
    greenpool(1, count // 10)
    told.send("ready")
    told.recv()
    told.send(greenpool(1, count))


def greenpool_processes(count: int) -> float:
    context = multiprocessing.get_context("spawn")
    players = []
    for _ in range(PROCESSES):
        ours, theirs = context.Pipe()
        process = context.Process(target=greenpool_when_told, args=(theirs, count // PROCESSES))
        process.start()
        players.append((process, ours))
    for _, connection in players:
        connection.recv()
    for _, connection in players:
        connection.send("go")
    longest = 0.0
    for process, connection in players:
        longest = max(longest, connection.recv())
        process.join()
    return longest


def gevent(hubs: int, count: int) -> float:
    import gevent
    from gevent.socket import socketpair

    trips = count // hubs // PAIRS
    failures: list[BaseException] = []

    def hub() -> None:
        try:
            play(gevent.spawn, socketpair, trips)
        except BaseException as exc:
            failures.append(exc)

    threads = [Thread(target=hub) for _ in range(hubs)]
    started = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return perf_counter() - started


def on_each_number_of_hubs(name: str, run: Callable[..., float]) -> dict[str, Run]:
    return {f"{name}, {n} hub{'s' if n > 1 else ''}": partial(run, n) for n in HUBS}


PEERS = (
    on_each_number_of_hubs("greenpool", greenpool)
    | on_each_number_of_hubs("greenpool pinned", partial(greenpool, pinned=True))
    | {f"greenpool, {PROCESSES} processes": greenpool_processes}
    | on_each_number_of_hubs("gevent", gevent)
)

SUBJECT = Subject(
    title="Ping-pong pairs over socketpairs on 1, 2 and 4 hubs, round trips",
    kind=Kind.RATE,
    count=100_000,
    one_core=False,
    peers=PEERS,
    over_hubs=True,
    free_threaded=tuple(PEERS),
)
