"""Six programs with six kinds of fault, and the right version of each."""

from __future__ import annotations

import greenpool
from greenpool import socket
from greenpool.event import AsyncResult
from greenpool.lock import Condition, Lock, Semaphore
from greenpool.queue import Queue


def lost_update(right: bool) -> None:
    """Two greenlets read, park and write."""
    account = {"balance": 0}
    lock = Lock()

    def deposit() -> None:
        if right:
            with lock:
                balance = account["balance"]
                greenpool.sleep(0.001)
                account["balance"] = balance + 1
        else:
            balance = account["balance"]
            with lock:
                account["balance"] = balance + 1

    greenlets = [greenpool.spawn(deposit) for _ in range(2)]
    for greenlet in greenlets:
        greenlet.get()
    assert account["balance"] == 2, account


def opposite_locks(right: bool) -> None:
    """Two greenlets take two locks, in two orders."""
    first, second = Lock(), Lock()

    def work(one: Lock, other: Lock) -> None:
        with one, other:
            pass

    greenpool.spawn(work, first, second)
    greenpool.spawn(work, *((first, second) if right else (second, first)))


def early_notify(right: bool) -> None:
    """The state is looked at before the lock is taken, and the notify comes in between."""
    condition = Condition()
    state = {"ready": False}

    def produce() -> None:
        with condition:
            state["ready"] = True
            condition.notify()

    def consume() -> None:
        if right:
            with condition:
                while not state["ready"]:
                    condition.wait()
        elif not state["ready"]:
            with condition:
                condition.wait()

    greenpool.spawn(consume)
    greenpool.spawn(produce)


def thrown_away_result(right: bool) -> None:
    """A job was taken from the queue when the timeout strikes, and nobody does it."""
    jobs: Queue[int] = Queue()
    done: list[int] = []
    lock = Lock()

    def worker() -> None:
        while True:
            job = None
            try:
                with greenpool.Timeout(1):
                    job = jobs.get()
                    with lock:
                        greenpool.sleep(0)
            except greenpool.Timeout:
                if job is None or not right:
                    return
            done.append(job)

    consumer = greenpool.spawn(worker)
    producer = greenpool.spawn_later(1, jobs.put, 7)
    producer.get()
    consumer.get()
    if not jobs.qsize():
        assert done == [7], "the job is lost"


def close_while_reading(right: bool) -> None:
    """A connection is closed while another greenlet reads from it."""
    ours, theirs = socket.socketpair()
    ended = AsyncResult[None]()

    def read() -> None:
        try:
            while ours.recv(100):
                pass
        finally:
            ended.set()

    reader = greenpool.spawn(read)
    theirs.sendall(b"data")
    if right:
        theirs.shutdown(socket.SHUT_WR)
        ended.get()
    ours.close()
    theirs.close()
    reader.get()


def overshooting_pool(right: bool) -> None:
    """A killed greenlet gives back the permit that it never got, or that was given back for it."""
    free = Semaphore(1)
    inside = {"now": 0, "most": 0}

    def work() -> None:
        acquired = False
        try:
            free.acquire()
            acquired = True
            inside["now"] += 1
            inside["most"] = max(inside["most"], inside["now"])
            greenpool.sleep(0.001)
            inside["now"] -= 1
        except greenpool.GreenletExit:
            if acquired:
                inside["now"] -= 1
            raise
        finally:
            if acquired or not right:
                free.release()

    greenlets = [greenpool.spawn(work) for _ in range(4)]
    greenlets[1].kill(block=False)
    for greenlet in greenlets:
        greenlet.join()
    assert inside["most"] <= 1, inside


PROGRAMS = [
    lost_update,
    opposite_locks,
    early_notify,
    thrown_away_result,
    close_while_reading,
    overshooting_pool,
]
