"""The same kinds of fault in ordinary programs of threads."""

import queue
import socket
import threading
import time


def _run(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lost_update(right):
    account = {"balance": 0}
    lock = threading.Lock()

    def deposit():
        if right:
            with lock:
                balance = account["balance"]
                time.sleep(0.001)
                account["balance"] = balance + 1
        else:
            with lock:
                balance = account["balance"]
            with lock:
                account["balance"] = balance + 1

    _run(deposit, deposit)
    assert account["balance"] == 2, account


def opposite_locks(right):
    first, second = threading.Lock(), threading.Lock()

    def work(one, other):
        with one, other:
            pass

    _run(lambda: work(first, second), lambda: work(*((first, second) if right else (second, first))))


def early_notify(right):
    condition = threading.Condition()
    state = {"ready": False}

    def produce():
        with condition:
            state["ready"] = True
            condition.notify()

    def consume():
        if right:
            with condition:
                while not state["ready"]:
                    condition.wait()
        elif not state["ready"]:
            with condition:
                condition.wait()

    _run(consume, produce)


def thrown_away_result(right):
    answers = queue.Queue()
    event = threading.Event()
    got = []

    def ask():
        if not event.wait(1) and not right:
            return
        got.append(answers.get())

    def answer():
        time.sleep(1)
        answers.put(42)
        event.set()

    _run(ask, answer)
    assert got == [42], "the answer is thrown away"


def close_while_reading(right):
    ours, theirs = socket.socketpair()
    errors = []

    def read():
        try:
            while ours.recv(100):
                pass
        except OSError as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    theirs.sendall(b"data")
    if right:
        theirs.shutdown(socket.SHUT_WR)
        reader.join()
    ours.close()
    reader.join()
    theirs.close()
    assert not errors, errors


class Pool:
    def __init__(self, size):
        self.size = size
        self.used = self.most = 0
        self.condition = threading.Condition()

    def acquire(self, right):
        if right:
            with self.condition:
                while self.used >= self.size:
                    self.condition.wait()
                self.used += 1
                self.most = max(self.most, self.used)
            return
        with self.condition:
            if self.used >= self.size:
                self.condition.wait()
            self.used += 1
            self.most = max(self.most, self.used)

    def release(self):
        with self.condition:
            self.used -= 1
            self.condition.notify()


def overshooting_pool(right):
    pool = Pool(1)

    def work():
        pool.acquire(right)
        time.sleep(0)
        pool.release()

    _run(work, work, work)
    assert pool.most <= 1, pool.most


PROGRAMS = [
    lost_update,
    opposite_locks,
    early_notify,
    thrown_away_result,
    close_while_reading,
    overshooting_pool,
]
