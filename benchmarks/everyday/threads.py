"""Threads that start and end, an executor, two threads over a socketpair, and a logger."""

from time import process_time

from benchmarks.everyday.subjects import everyday, in_thread

WORKERS = 10


def start_and_join(count: int) -> float:
    from threading import Thread

    started = process_time()
    for _ in range(count):
        thread = Thread(target=int)
        thread.start()
        thread.join()
    return process_time() - started


def executor_map(count: int) -> float:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(WORKERS) as executor:
        started = process_time()
        for _ in executor.map(abs, range(count)):
            pass
        return process_time() - started


def socketpair(count: int) -> float:
    from socket import socketpair
    from threading import Thread

    here, there = socketpair()

    def answer() -> None:
        while data := there.recv(64):
            there.sendall(data)

    with here, there:
        thread = Thread(target=answer)
        thread.start()
        started = process_time()
        for _ in range(count):
            here.sendall(b"ping")
            here.recv(64)
        taken = process_time() - started
        here.close()
        thread.join()
    return taken


def logging_info(count: int) -> float:
    import logging
    import os

    with open(os.devnull, "w") as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.Logger("everyday", logging.INFO)
        logger.addHandler(handler)
        started = process_time()
        for number in range(count):
            logger.info("request %d", number)
        return process_time() - started


SUBJECTS = {
    "thread": everyday("threading.Thread, start and join", 500, in_thread(start_and_join)),
    "executor": everyday("ThreadPoolExecutor.map over 10 workers", 2000, in_thread(executor_map)),
    "socketpair": everyday("Ping-pong over a socketpair, round trips", 5000, in_thread(socketpair)),
    "logging": everyday("logging.info to a StreamHandler", 5000, in_thread(logging_info)),
}
