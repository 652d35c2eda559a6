"""A program with two hubs, of which something of each kind can be recorded."""

from __future__ import annotations

import time
from pathlib import Path

import greenpool
import greenpool.trace
from greenpool import Runtime, sleep, socket, spawn
from greenpool.lock import Semaphore
from greenpool.queue import Queue


def produce(queue: Queue[int | None], answers: Queue[int]) -> None:
    for number in range(5):
        sleep(0.005)
        queue.put(number)
        answers.get()
    queue.put(None)


def consume(queue: Queue[int | None], answers: Queue[int], permits: Semaphore) -> None:
    while (number := queue.get()) is not None:
        with permits:
            sleep(0.001)
        answers.put(number)


def compute_too_long() -> None:
    sleep(0.01)
    # Native, in a program that is not patched.
    time.sleep(0.5)


def talk() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        answer = spawn(ours.recv, 10)
        sleep(0.01)
        theirs.send(b"</script><b>")
        answer.join()


def record_everything(path: Path) -> None:
    """Record such a program, with a stall limit of 0.3 seconds."""
    with greenpool.trace.record(path, stall_limit=0.3), Runtime(pool_size=2) as runtime:
        handle = runtime.handle()
        queue: Queue[int | None] = Queue()
        answers: Queue[int] = Queue()
        consumer = handle.spawn_on(1, consume, queue, answers, Semaphore(1))
        handle.spawn_on(0, produce, queue, answers).join()
        consumer.join()
        handle.spawn_on(0, talk).join()
        handle.spawn_on(1, compute_too_long).join()
