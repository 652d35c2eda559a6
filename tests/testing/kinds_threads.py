"""More programs of the six kinds of fault, of threads; each is right if it is told so."""

from __future__ import annotations

import concurrent.futures
import contextvars
import queue
import select
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path


def go(*functions: Callable[[], object]) -> None:
    with ThreadPoolExecutor(len(functions)) as executor:
        for future in [executor.submit(function) for function in functions]:
            future.result()


# An update is lost over a park.


def singleton_without_a_second_look(right: bool) -> None:
    made, lock = list[object](), threading.Lock()

    def get() -> object:
        if not made:
            with lock:
                if not right or not made:
                    made.append(object())
        return made[0]

    go(get, get)
    assert len(made) == 1


def sum_of_an_executor(right: bool) -> None:
    total, lock = [0], threading.Lock()

    def add(number: int) -> None:
        with lock if right else nullcontext():
            seen = total[0]
            time.sleep(0.001)
            total[0] = seen + number

    with ThreadPoolExecutor(3) as executor:
        list(executor.map(add, range(1, 5)))
    assert total == [10]


def counter_in_a_file(right: bool) -> None:
    lock = threading.Lock()

    def bump() -> None:
        with lock if right else nullcontext():
            number = int(path.read_text())
            path.write_text(str(number + 1))

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "number")
        path.write_text("0")
        go(bump, bump)
        assert path.read_text() == "2"


def list_behind_a_context_variable(right: bool) -> None:
    variable: contextvars.ContextVar[list[int]] = contextvars.ContextVar("variable")
    shared: list[int] = []

    def handle(request: int) -> None:
        variable.set([] if right else shared)
        variable.get().append(request)
        time.sleep(0)
        assert variable.get() == [request]
        variable.get().clear()

    go(lambda: handle(1), lambda: handle(2))


# Locks are taken in opposite orders.


def circle_of_three(right: bool) -> None:
    locks = [threading.Lock() for _ in range(3)]

    def work(place: int) -> None:
        first, second = place, (place + 1) % 3
        if right:
            first, second = sorted((first, second))
        with locks[first], locks[second]:
            pass

    go(lambda: work(0), lambda: work(1), lambda: work(2))


def jobs_that_wait_for_jobs(right: bool) -> None:
    with ThreadPoolExecutor(4 if right else 2) as executor:

        def node() -> int:
            return executor.submit(int).result()

        for future in [executor.submit(node) for _ in range(2)]:
            future.result()


def two_readers_that_upgrade(right: bool) -> None:
    condition, readers, turn = threading.Condition(), [0], threading.Lock()

    def read_and_upgrade() -> None:
        with condition:
            readers[0] += 1
        with condition:
            while readers[0] > 1:
                condition.wait()
            readers[0] -= 1
            condition.notify_all()

    def work() -> None:
        with turn if right else nullcontext():
            read_and_upgrade()

    go(work, work)


# A notify comes before the wait.


def condition_without_a_state(right: bool) -> None:
    condition, state = threading.Condition(), list[int]()

    def tell() -> None:
        with condition:
            state.append(1)
            condition.notify()

    def wait() -> None:
        with condition:
            if right:
                condition.wait_for(lambda: state)
            else:
                condition.wait()

    go(wait, tell)


def wake_up_that_is_drained(right: bool) -> None:
    reader, writer = socket.socketpair()
    work, done = list[int](), list[int]()

    def loop() -> None:
        while not done:
            readable, _, _ = select.select([reader], [], [], 5)
            assert readable, "a wake-up is lost"
            if right:
                reader.recv(100)
                done.extend(work)
            else:
                done.extend(work)
                reader.recv(100)

    def post() -> None:
        if right:
            work.append(1)
            writer.send(b"x")
        else:
            writer.send(b"x")
            work.append(1)

    with reader, writer:
        go(loop, post)


# A timeout throws a result away.


def answer_to_the_last_question(right: bool) -> None:
    questions: queue.Queue[int] = queue.Queue()
    answers: queue.Queue[int] = queue.Queue()

    def serve() -> None:
        for _ in range(2):
            question = questions.get()
            time.sleep(0 if question else 0.5)
            answers.put(question)

    def ask(question: int) -> None:
        questions.put(question)
        try:
            while True:
                answer = answers.get(timeout=0.5)
                if answer == question or not right:
                    break
        except queue.Empty:
            return
        assert answer == question

    def work() -> None:
        ask(0)
        ask(1)

    go(serve, work)


def job_that_has_run_all_the_same(right: bool) -> None:
    done: list[int] = []

    def job() -> None:
        time.sleep(1)
        done.append(1)

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(job)
        try:
            future.result(timeout=1)
            succeeded = True
        except concurrent.futures.TimeoutError:
            succeeded = right and future.result() is None
    assert succeeded == bool(done), "done, but reported as too late"


def byte_that_came_with_the_timeout(right: bool) -> None:
    ours, theirs = socket.socketpair()
    received: list[bytes] = []

    def read() -> None:
        readable, _, _ = select.select([ours], [], [], 1)
        if readable or right:
            received.append(ours.recv(1))

    def write() -> None:
        time.sleep(1)
        theirs.send(b"x")

    with ours, theirs:
        go(read, write)
    assert received == [b"x"]


# Something is closed while it is in use.


def listener_that_is_closed(right: bool) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    closing: list[int] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if right and closing:
                    return
                raise
            with connection:
                connection.sendall(b"hi")

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            assert connection.recv(10) == b"hi"
        closing.append(1)
        listener.close()

    go(serve, ask)


def idle_socket_that_is_reaped(right: bool) -> None:
    ours, theirs = socket.socketpair()
    idle, lock = deque([ours]), threading.Lock()

    def use() -> None:
        if right:
            with lock:
                connection = idle.popleft() if idle else None
        else:
            connection = idle[0] if idle else None
            with lock:
                if connection in idle:
                    idle.remove(connection)
        if connection is not None:
            connection.send(b"x")

    def reap() -> None:
        with lock:
            if idle:
                idle.popleft().close()

    with ours, theirs:
        go(use, reap)


# A pool overshoots.


def permits_counted_by_hand(right: bool) -> None:
    condition, used, most = threading.Condition(), [0], [0]

    def enter() -> None:
        used[0] += 1
        most[0] = max(most[0], used[0])

    def work() -> None:
        if right:
            with condition:
                condition.wait_for(lambda: not used[0])
                enter()
        else:
            with condition:
                if used[0]:
                    condition.wait()
            enter()
        time.sleep(0.1)
        with condition:
            used[0] -= 1
            condition.notify()

    go(work, work, work)
    assert most == [1]


def connections_made_on_demand(right: bool) -> None:
    idle: queue.LifoQueue[int] = queue.LifoQueue()
    made, lock = [0], threading.Lock()

    def get() -> int:
        try:
            return idle.get_nowait()
        except queue.Empty:
            pass
        with lock:
            number = made[0]
            if right and number < 1:
                made[0] = number + 1
                return number
        if number < 1:
            with lock:
                made[0] += 1
            return number
        return idle.get()

    def work() -> None:
        connection = get()
        time.sleep(0.1)
        idle.put(connection)

    go(work, work)
    assert made == [1]


PROGRAMS = [
    singleton_without_a_second_look,
    sum_of_an_executor,
    counter_in_a_file,
    list_behind_a_context_variable,
    circle_of_three,
    jobs_that_wait_for_jobs,
    two_readers_that_upgrade,
    condition_without_a_state,
    wake_up_that_is_drained,
    answer_to_the_last_question,
    job_that_has_run_all_the_same,
    byte_that_came_with_the_timeout,
    listener_that_is_closed,
    idle_socket_that_is_reaped,
    permits_counted_by_hand,
    connections_made_on_demand,
]
