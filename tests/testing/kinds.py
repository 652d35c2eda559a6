"""More programs of the six kinds of fault, of greenlets; each is right if it is told so."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import greenpool
from greenpool import socket
from greenpool.event import AsyncResult, Event
from greenpool.lock import Condition, Lock, Semaphore
from greenpool.pool import Pool
from greenpool.queue import Empty, Queue
from greenpool.taskgroup import TaskGroup


def go(*functions: Callable[[], object]) -> None:
    for greenlet in [greenpool.spawn(function) for function in functions]:
        greenlet.get()


# An update is lost over a park.


def counter_that_yields(right: bool) -> None:
    count, lock = [0], Lock()

    def add() -> None:
        seen = count[0]
        greenpool.sleep(0)
        count[0] = seen + 1

    def work() -> None:
        if right:
            with lock:
                add()
        else:
            add()

    go(work, work)
    assert count == [2]


def update_over_a_full_queue(right: bool) -> None:
    log: Queue[int] = Queue(1)
    total, lock = {"sum": 0}, Lock()

    def drain() -> None:
        for _ in range(4):
            log.get()

    def add() -> None:
        seen = total["sum"]
        log.put(seen)
        total["sum"] = seen + 1

    def work() -> None:
        for _ in range(2):
            if right:
                with lock:
                    add()
            else:
                add()

    go(drain, work, work)
    assert total["sum"] == 4


def counter_in_a_file(right: bool) -> None:
    lock = Lock()

    def bump(path: Path) -> None:
        number = int(path.read_text())
        greenpool.sleep(0.01)
        path.write_text(str(number + 1))

    def work() -> None:
        if right:
            with lock:
                bump(path)
        else:
            bump(path)

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "number")
        path.write_text("0")
        go(work, work, work)
        assert path.read_text() == "3"


def numbers_from_generators(right: bool) -> None:
    last, lock, drawn = [0], Lock(), []

    def numbers() -> Iterator[int]:
        while True:
            number = last[0]
            greenpool.sleep(0)
            last[0] = number + 1
            yield number

    def work() -> None:
        generator = numbers()
        for _ in range(2):
            if right:
                with lock:
                    drawn.append(next(generator))
            else:
                drawn.append(next(generator))

    go(work, work)
    assert len(set(drawn)) == 4


# Locks are taken in opposite orders.


def philosophers(right: bool) -> None:
    forks = [Lock() for _ in range(3)]

    def eat(place: int) -> None:
        first, second = place, (place + 1) % 3
        if right:
            first, second = sorted((first, second))
        with forks[first], forks[second]:
            pass

    greenpool.joinall([greenpool.spawn(eat, place) for place in range(3)])


def lock_held_over_a_full_queue(right: bool) -> None:
    lock = Lock()
    queue: Queue[int] = Queue(1)

    def produce() -> None:
        for number in range(2):
            if right:
                queue.put(number)
            else:
                with lock:
                    queue.put(number)

    def consume() -> None:
        for _ in range(2):
            with lock:
                pass
            queue.get()

    go(produce, consume)


def members_that_wait_for_members(right: bool) -> None:
    pool = Pool(4 if right else 2)

    def node() -> int:
        leaf: greenpool.Greenlet[int] = pool.spawn(int)
        return leaf.get()

    for greenlet in [pool.spawn(node) for _ in range(2)]:
        greenlet.get()


# A notify comes before the wait.


def event_that_is_cleared_late(right: bool) -> None:
    event, work, done = Event(), list[int](), list[int]()

    def produce() -> None:
        work.append(1)
        event.set()

    def consume() -> None:
        while not done:
            if right:
                event.wait()
                event.clear()
            elif not work:
                greenpool.sleep(0)
                event.clear()
                event.wait()
            while work:
                done.append(work.pop())

    go(consume, produce)


def one_is_notified_of_two_kinds(right: bool) -> None:
    condition, items, taken = Condition(), list[int](), list[int]()

    def notify() -> None:
        if right:
            condition.notify_all()
        else:
            condition.notify()

    def put(item: int) -> None:
        with condition:
            while items:
                condition.wait()
            items.append(item)
            notify()

    def get() -> None:
        with condition:
            while not items:
                condition.wait()
            taken.append(items.pop())
            notify()

    go(get, get, lambda: put(1), lambda: put(2))
    assert sorted(taken) == [1, 2]


# A timeout throws a result away.


def half_a_line(right: bool) -> None:
    ours, theirs = socket.socketpair()
    kept = bytearray()

    def read_line() -> bytes:
        line = kept if right else bytearray()
        while len(line) < 5:
            line += ours.recv(5 - len(line))
        return bytes(line)

    def read() -> None:
        for _ in range(3):
            with greenpool.Timeout(1, False):
                assert read_line() == b"hello"
                return
        raise AssertionError("half of the line is lost")

    def write() -> None:
        theirs.send(b"he")
        greenpool.sleep(1)
        theirs.send(b"llo")

    with ours, theirs:
        go(read, write)


def answer_to_the_last_question(right: bool) -> None:
    questions, answers = Queue[int](), Queue[tuple[int, int]]()

    def serve() -> None:
        for _ in range(2):
            question = questions.get()
            greenpool.sleep(0 if question else 1)
            answers.put((question, question * 10))

    def ask(question: int) -> int:
        questions.put(question)
        while True:
            asked, answer = answers.get(timeout=1)
            if asked == question or not right:
                return answer

    def work() -> None:
        try:
            ask(0)
        except Empty:
            pass
        try:
            assert ask(1) == 10
        except Empty:
            pass

    go(serve, work)


def item_that_a_scope_drops(right: bool) -> None:
    queue, seen = Queue[str](), list[str]()

    def consume() -> None:
        while len(seen) < 2:
            with greenpool.move_on_after(1):
                item = queue.get()
                if not right:
                    greenpool.sleep(0)
                seen.append(item)

    def produce() -> None:
        queue.put("first")
        greenpool.sleep(1)
        queue.put("second")

    with greenpool.Timeout(30, AssertionError("an item is lost")):
        go(consume, produce)


# Something is closed while it is in use.


def listener_that_is_closed(right: bool) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    closing = False

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

    server = greenpool.spawn(serve)
    with socket.create_connection(listener.getsockname()) as connection:
        assert connection.recv(10) == b"hi"
    closing = True
    listener.close()
    server.get()


def idle_connection_that_is_reaped(right: bool) -> None:
    class Connection:
        is_open = True

        def query(self) -> None:
            greenpool.sleep(0.1)
            assert self.is_open, "closed while a query is on"

    idle, lock = [Connection()], Lock()

    def use() -> None:
        if right:
            with lock:
                connection = idle.pop() if idle else Connection()
        else:
            connection = idle[0] if idle else Connection()
            with lock:
                if connection in idle:
                    idle.remove(connection)
        connection.query()

    def reap() -> None:
        greenpool.sleep(0)
        with lock:
            while idle:
                idle.pop().is_open = False

    go(use, reap)


# A pool overshoots.


def permit_of_a_killed_waiter(right: bool) -> None:
    free, waiting, inside, most = [1], list[AsyncResult[None]](), [0], [0]

    def acquire() -> None:
        if free[0]:
            free[0] -= 1
            return
        turn = AsyncResult[None]()
        waiting.append(turn)
        try:
            turn.get()
        except greenpool.GreenletExit:
            if turn in waiting:
                waiting.remove(turn)
                if right:
                    raise
            release()
            raise

    def release() -> None:
        if waiting:
            waiting.pop(0).set()
        else:
            free[0] += 1

    def work() -> None:
        acquire()
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        try:
            greenpool.sleep(1)
        finally:
            inside[0] -= 1
            release()

    def main() -> None:
        # On one hub, as the pool has no lock.
        greenlets = [greenpool.spawn(work) for _ in range(4)]
        greenpool.sleep(1)
        greenlets[2].kill(block=False)
        greenpool.joinall(greenlets)

    go(main)
    assert most[0] <= 1


def connections_that_take_time(right: bool) -> None:
    idle, made, lock = Queue[object](), [0], Lock()

    def get() -> object:
        try:
            return idle.get_nowait()
        except Empty:
            pass
        with lock:
            if right and made[0] < 1:
                made[0] += 1
                return object()
        if made[0] < 1:
            greenpool.sleep(0.1)
            made[0] += 1
            return object()
        return idle.get()

    def work() -> None:
        connection = get()
        greenpool.sleep(0.1)
        idle.put(connection)

    with TaskGroup() as group:
        for _ in range(3):
            group.spawn(work)
    assert made[0] <= 1


def scope_that_ends_behind_the_acquire(right: bool) -> None:
    free = Semaphore(1)

    def work() -> None:
        with greenpool.move_on_after(1):
            if right:
                with free:
                    greenpool.sleep(0.6)
            else:
                free.acquire()
                greenpool.sleep(0)
                try:
                    greenpool.sleep(0.6)
                finally:
                    free.release()

    go(work, work, work)
    assert free.acquire(timeout=5), "a permit is lost"


PROGRAMS = [
    counter_that_yields,
    update_over_a_full_queue,
    counter_in_a_file,
    numbers_from_generators,
    philosophers,
    lock_held_over_a_full_queue,
    members_that_wait_for_members,
    event_that_is_cleared_late,
    one_is_notified_of_two_kinds,
    half_a_line,
    answer_to_the_last_question,
    item_that_a_scope_drops,
    listener_that_is_closed,
    idle_connection_that_is_reaped,
    permit_of_a_killed_waiter,
    connections_that_take_time,
    scope_that_ends_behind_the_acquire,
]
