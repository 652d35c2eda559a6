"""greenpool.queue: Queue (JoinableQueue), SimpleQueue, LifoQueue, PriorityQueue, Channel."""

from __future__ import annotations

import gc
import os
import queue as standard
import subprocess
import sys
import threading
import types
import weakref
from collections import deque
from typing import Any

import places
import pytest
from places import Start, alarms, interrupt_everywhere, until

import greenpool
from documents import ROOT
from greenpool import GreenletExit, Runtime, Timeout
from greenpool.event import Event
from greenpool.queue import (
    Channel,
    Empty,
    Full,
    JoinableQueue,
    LifoQueue,
    PriorityQueue,
    Queue,
    ShutDown,
    SimpleQueue,
)

pytestmark = pytest.mark.usefixtures("leak_check")

runtime, start, posted = places.runtime, places.start, places.posted

QUEUES = [Queue, SimpleQueue, LifoQueue, PriorityQueue]
JOINABLE = [Queue, LifoQueue, PriorityQueue]

of_each_queue = pytest.mark.parametrize("kind", QUEUES)
of_each_kind = pytest.mark.parametrize("kind", [*QUEUES, Channel])
of_each_joinable = pytest.mark.parametrize("kind", JOINABLE)


def drain(queue: Any) -> list[Any]:
    items = []
    while not queue.empty():
        items.append(queue.get_nowait())
    return items


# Behaviour that all of them share.


def test_names() -> None:
    assert JoinableQueue is Queue
    assert Empty is standard.Empty and Full is standard.Full
    assert ShutDown is getattr(standard, "ShutDown", ShutDown)


@of_each_kind
def test_get_waits_for_put(kind: Any, start: Start) -> None:
    queue = kind()
    waiting = start(queue.get)
    until(lambda: len(queue._getters) == 1)
    assert not waiting.ready()
    assert queue.put(1) is None
    assert waiting.get() == 1
    assert queue.empty() and queue.qsize() == 0


@of_each_kind
def test_nothing_there(kind: Any, start: Start) -> None:
    queue = kind()
    for call in (
        queue.get_nowait,
        lambda: queue.get(False),
        lambda: queue.get(block=False, timeout=3600),
        lambda: queue.get(timeout=0),
        lambda: queue.get(True, 0.001),
    ):
        with pytest.raises(Empty):
            start(call).get()
    assert not queue._getters


@of_each_kind
def test_no_room(kind: Any, start: Start) -> None:
    queue = kind(1)
    if kind is not Channel:
        queue.put(0)
    for call in (
        lambda: queue.put_nowait(1),
        lambda: queue.put(1, False),
        lambda: queue.put(1, block=False, timeout=3600),
        lambda: queue.put(1, timeout=0),
        lambda: queue.put(1, True, 0.001),
    ):
        with pytest.raises(Full):
            start(call).get()
    assert queue.full() and not queue._putters
    assert drain(queue) == ([] if kind is Channel else [0])


@of_each_kind
def test_put_waits_for_room(kind: Any, start: Start) -> None:
    """A channel has room for an item only while a getter waits."""
    queue = kind(1)
    if kind is not Channel:
        queue.put(1)
    waiting = start(queue.put, 2)
    until(lambda: len(queue._putters) == 1)
    assert not waiting.ready()
    if kind is not Channel:
        assert queue.get() == 1
    assert queue.get() == 2
    assert waiting.get() is None


@of_each_kind
def test_a_timeout_around_it(kind: Any, start: Start) -> None:
    queue = kind(1)

    def wait(call: Any, *args: Any) -> str:
        with Timeout(0.001, False):
            call(*args)
            return "returned"
        return "timed out"

    assert start(wait, queue.get).get() == "timed out"
    if kind is not Channel:
        queue.put(1)
    assert start(wait, queue.put, 2).get() == "timed out"
    assert drain(queue) == ([] if kind is Channel else [1])
    assert not queue._getters and not queue._putters


@of_each_kind
def test_getters_are_served_in_order(kind: Any, runtime: Runtime) -> None:
    """The order holds across hubs and threads."""
    queue = kind()
    got: list[tuple[int, int]] = []
    getters: list[Any] = []

    def get(number: int) -> None:
        got.append((number, queue.get()))

    for number in range(15):
        if number % 5 == 4:
            getters.append(threading.Thread(target=get, args=(number,)))
            getters[-1].start()
        else:
            getters.append(runtime.handle().spawn_on(number % 4, get, number))
        until(lambda number=number: len(queue._getters) == number + 1)
    for number in range(15):
        queue.put(number)
    for getter in getters:
        getter.join()
    assert sorted(got) == [(number, number) for number in range(15)]


@of_each_kind
def test_putters_are_served_in_order(kind: Any, runtime: Runtime) -> None:
    queue = kind(1)
    if kind is not Channel:
        queue.put(-1)
    putters: list[Any] = []
    for number in range(15):
        if number % 5 == 4:
            putters.append(threading.Thread(target=queue.put, args=(number,)))
            putters[-1].start()
        else:
            putters.append(runtime.handle().spawn_on(number % 4, queue.put, number))
        until(lambda number=number: len(queue._putters) == number + 1)
    assert [queue.get() for _ in range(15 + (kind is not Channel))][-15:] == list(range(15))
    for putter in putters:
        putter.join()


@of_each_kind
@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_a_getter_gives_up_as_an_item_comes(
    kind: Any, how: str, runtime: Runtime, fast_switching: None
) -> None:
    """The item goes either to that getter or to the next one."""
    queue = kind()
    handle = runtime.handle()

    def get(timeout: float | None) -> object:
        try:
            return queue.get(timeout=timeout)
        except Empty:
            return Empty

    for _ in range(50):
        victim = handle.spawn_on(0, get, 0.001 if how == "timeout" else None)
        until(lambda victim=victim: len(queue._getters) == 1 or victim.dead)
        patient = handle.spawn_on(1, get, None)
        until(lambda victim=victim: len(queue._getters) == 2 or victim.dead)
        begin = threading.Barrier(2)

        def put(begin: threading.Barrier = begin) -> None:
            begin.wait()
            queue.put("first")

        thread = threading.Thread(target=put)
        thread.start()
        begin.wait()
        if how == "kill":
            victim.kill(block=False)
        thread.join()
        if victim.get() == "first":
            queue.put("second")
            assert patient.get() == "second"
        else:
            assert victim.value is Empty or isinstance(victim.value, GreenletExit)
            assert patient.get() == "first"
        assert queue.empty()


@of_each_kind
@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_a_putter_gives_up_as_its_turn_comes(
    kind: Any, how: str, runtime: Runtime, fast_switching: None
) -> None:
    """The item is in the queue if, and only if, put returned."""
    queue = kind(1)
    handle = runtime.handle()

    def put(timeout: float | None) -> object:
        try:
            return queue.put(2, timeout=timeout)
        except Full:
            return Full

    for _ in range(50):
        if kind is not Channel:
            queue.put(1)
        victim = handle.spawn_on(0, put, 0.001 if how == "timeout" else None)
        until(lambda victim=victim: len(queue._putters) == 1 or victim.dead)
        begin = threading.Barrier(2)
        got: list[int] = []

        def get(begin: threading.Barrier = begin, got: list[int] = got) -> None:
            begin.wait()
            try:
                got.append(queue.get_nowait())
            except Empty:
                assert kind is Channel

        thread = threading.Thread(target=get)
        thread.start()
        begin.wait()
        if how == "kill":
            victim.kill(block=False)
        victim.join()
        thread.join()
        got += drain(queue)
        assert got.count(2) == (victim.value is None)
        assert len(got) == (victim.value is None) + (kind is not Channel)


@of_each_kind
def test_one_hub_posts_nothing(kind: Any, posted: list[object]) -> None:
    """Nothing is posted when nobody waits, nor when greenlets of the same hub wait."""
    queue, bounded = kind(), kind(1)
    greenlets = [
        greenpool.Greenlet(lambda: [bounded.put(queue.get()) for _ in range(20)]),
        greenpool.Greenlet(lambda: [queue.put(number) for number in range(20)]),
        greenpool.Greenlet(lambda: [bounded.get(timeout=60) for _ in range(20)]),
    ]
    for greenlet in greenlets:
        greenlet.start()
    for greenlet in greenlets:
        greenlet.join()
    assert sorted(greenlets[2].value) == list(range(20))
    assert not posted


@of_each_kind
def test_iteration(kind: Any, start: Start) -> None:
    """The iteration ends when it gets the class StopIteration."""
    queue = kind()

    def put() -> None:
        for item in (1, 2, 3):
            queue.put(item)
            until(queue.empty)
        queue.put(StopIteration)

    putting = start(put)
    assert list(queue) == [1, 2, 3]
    putting.get()


@of_each_kind
def test_attributes_and_weak_references(kind: Any) -> None:
    queue = kind()
    if kind is not Channel:
        queue.note = 1
    assert kind[int]() is not None
    reference = weakref.ref(queue)
    del queue
    gc.collect()
    assert reference() is None


# Queues.


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        (Queue, [3, 1, 2, 0]),
        (SimpleQueue, [3, 1, 2, 0]),
        (LifoQueue, [0, 2, 1, 3]),
        (PriorityQueue, [0, 1, 2, 3]),
    ],
)
def test_order(kind: Any, order: list[int]) -> None:
    for queue in (kind(), kind(4), kind(None, [3, 1])):
        for item in [3, 1, 2, 0][queue.qsize() :]:
            queue.put(item)
        assert [queue.peek(), queue.peek_nowait()] == order[:1] * 2
        assert drain(queue) == order


@of_each_queue
def test_size(kind: Any) -> None:
    for unbounded in (kind(), kind(None), kind(0), kind(-1), kind(maxsize=0)):
        for item in range(300):
            assert unbounded.qsize() == len(unbounded) == item
            unbounded.put(item)
        assert not unbounded.full() and not unbounded.empty()
    bounded = kind(2, [1])
    assert bounded.maxsize == 2 and not bounded.full() and not bounded.empty()
    bounded.put(2)
    assert bounded.full() and len(bounded) == 2
    assert bool(kind())  # gevent does the same


@of_each_queue
def test_maxsize_can_be_changed(kind: Any, start: Start) -> None:
    queue = kind(1, [1])
    waiting = [start(queue.put, item) for item in (2, 3)]
    until(lambda: len(queue._putters) == 2)
    queue.maxsize = 2
    until(lambda: waiting[0].ready() or waiting[1].ready())
    assert queue.qsize() == 2 and len(queue._putters) == 1
    queue.maxsize = None
    assert [each.get() for each in waiting] == [None, None]
    queue.put(4)
    queue.maxsize = 1
    assert queue.full() and queue.qsize() == 4
    assert sorted(drain(queue)) == [1, 2, 3, 4]


@of_each_queue
def test_peek(kind: Any, start: Start) -> None:
    """peek waits its turn and leaves the item in the queue."""
    queue = kind()
    for call in (queue.peek_nowait, lambda: queue.peek(False), lambda: queue.peek(timeout=0.001)):
        with pytest.raises(Empty):
            call()
    waiting = []
    for method in (queue.peek, queue.get, queue.peek):
        waiting.append(start(method))
        until(lambda: len(queue._getters) == len(waiting))
    queue.put("a")
    assert waiting[0].get() == waiting[1].get() == "a"
    assert not waiting[2].ready()
    queue.put("b")
    assert waiting[2].get() == queue.peek() == queue.get() == "b"


@of_each_queue
def test_copy(kind: Any) -> None:
    queue = kind(5, [1, 2])
    copy = queue.copy()
    assert type(copy) is kind and copy.maxsize == 5
    copy.put(3)
    assert (queue.qsize(), copy.qsize()) == (2, 3)
    assert sorted(drain(copy)) == [1, 2, 3]


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_copy_while_others_put_and_get(kind: Any, runtime: Runtime, fast_switching: None) -> None:
    queue = kind(0, range(50))
    finished = threading.Event()

    def move_on() -> None:
        number = 50
        while not finished.is_set():
            queue.put(number)
            queue.get()
            number += 1

    moving = runtime.handle().spawn_on(0, move_on)
    for _ in range(200):
        items = drain(queue.copy())
        assert len(items) in (50, 51) and items == list(range(items[0], items[-1] + 1))
    finished.set()
    moving.join()
    assert queue.qsize() == 50


@of_each_queue
def test_repr(kind: Any) -> None:
    queue = kind(3, [1])
    address = f"{id(queue):#x}"
    assert repr(queue) == f"<{kind.__name__} at {address}: maxsize=3 qsize=1 getters=0 putters=0>"
    assert "maxsize" not in repr(kind())


def test_a_subclass_that_keeps_its_items_by_itself() -> None:
    """A subclass does so with the methods that the standard library documents for it."""

    class SetQueue(Queue[int]):
        def _init(self, maxsize: int | None) -> None:
            self.queue = set()

        def _put(self, item: int) -> None:
            if item < 0:
                raise ValueError(item)
            self.queue.add(item)

        def _get(self) -> int:
            return self.queue.pop()  # type: ignore[no-any-return]

    queue = SetQueue()
    waiting = greenpool.spawn(queue.get)
    greenpool.sleep(0)
    for item in (1, 2, 2):
        queue.put(item)
    assert waiting.get() == 1
    with pytest.raises(ValueError):
        queue.put(-1)
    assert queue.qsize() == 1 and queue.unfinished_tasks == 3


def test_items_that_cannot_be_compared() -> None:
    queue: PriorityQueue[object] = PriorityQueue()
    queue.put(1)
    with pytest.raises(TypeError):
        queue.put("a")
    assert queue.unfinished_tasks == 1 and queue.get() == 1


@of_each_queue
def test_bad_input(kind: Any) -> None:
    for bad in ("1", 1.5, [1]):
        with pytest.raises(TypeError, match=r"maxsize must be an int or None, not ('1'|1.5|\[1\])"):
            kind(bad)
        queue = kind()
        with pytest.raises(TypeError, match=r"maxsize must be an int or None, not ('1'|1.5|\[1\])"):
            queue.maxsize = bad
        assert queue.maxsize == 0
    with pytest.raises(TypeError):
        kind(0, 5)
    for queue in (kind(), kind(1, [1])):
        for method in (queue.get, queue.peek, lambda timeout, queue=queue: queue.put(1, timeout=timeout)):
            with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not 'soon'"):
                method(timeout="soon")
            with pytest.raises(ValueError, match="timeout must be a non-negative number of seconds, not -1"):
                method(timeout=-1)
    assert not queue._getters and not queue._putters
    if kind in JOINABLE:
        with pytest.raises(TypeError, match="unfinished_tasks must be an int or None, not '1'"):
            kind(0, [], "1")
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not 'soon'"):
            kind().join("soon")


# Signal handlers and finalizers run between any two steps.


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_a_handler_puts_at_any_point(kind: Any) -> None:
    """put is reentrant: no item is lost, doubled, or out of order."""

    def operate(queue: Any) -> None:
        queue.put("a")
        taken = [queue.get()]
        queue.put("b")
        queue.put("c", timeout=1)
        taken += [queue.get(timeout=1), queue.peek(), queue.get_nowait()]
        with pytest.raises(Empty):
            while True:
                taken.append(queue.get(timeout=0))
        queue.taken = taken

    def handle(queue: Any) -> None:
        queue.handled = True
        for item in "123":
            queue.put(item)

    def check(queue: Any) -> None:
        items = queue.taken + drain(queue)
        peeked = items.pop(2)
        assert peeked in items
        expected = {"abc"} if not hasattr(queue, "handled") else {"abc", "123"}
        found = {"".join(item for item in items if item.isalpha() == alpha) for alpha in (True, False)}
        assert found - {""} == expected

    interrupt_everywhere(kind, operate, handle, check)


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_a_handler_gets_at_any_point(kind: Any) -> None:
    def operate(queue: Any) -> None:
        queue.put(1)
        queue.put(2)
        try:
            queue.taken.append(queue.get_nowait())
            queue.taken.append(queue.get(timeout=0))
            queue.taken.append(queue.get(timeout=0))
        except Empty:
            pass
        queue.put(3)

    def prepare() -> Any:
        queue = kind()
        queue.taken = []
        return queue

    def handle(queue: Any) -> None:
        if not queue.empty():
            queue.taken.append(queue.get_nowait())

    def check(queue: Any) -> None:
        assert sorted(queue.taken + drain(queue)) == [1, 2, 3]

    interrupt_everywhere(prepare, operate, handle, check)


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_a_handler_puts_while_others_wait(kind: Any) -> None:
    """The handler runs at each point of a put that serves the getters. Each gets one item, in order."""

    def prepare() -> Any:
        queue = kind()
        queue.greenlets = [greenpool.spawn(queue.get) for _ in range(3)]
        greenpool.sleep(0)
        return queue

    def operate(queue: Any) -> None:
        queue.put("a")
        queue.put("b")

    def check(queue: Any) -> None:
        queue.put("c")
        queue.put("d")
        items = [greenlet.get() for greenlet in queue.greenlets] + drain(queue)
        assert "".join(item for item in items if item != "1") == "abcd"

    interrupt_everywhere(prepare, operate, lambda queue: queue.put("1"), check)


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_a_handler_puts_what_the_main_program_waits_for(kind: Any) -> None:
    queue = kind()
    put = 0

    def handle() -> None:
        nonlocal put
        queue.put(put)
        put += 1

    with alarms(handle):
        got = [queue.get(timeout=(None, 60)[number % 2]) for number in range(200)]
    assert got + drain(queue) == list(range(put))


def test_a_handler_calls_task_done_at_any_point() -> None:
    """put may have counted later puts in advance. With too few tasks counted, join would return early."""

    def prepare() -> Any:
        queue: Any = Queue(0, range(3))
        queue.joining = greenpool.spawn(queue.join)
        greenpool.sleep(0)
        return queue

    def check(queue: Any) -> None:
        greenpool.sleep(0)
        assert not queue.joining.ready()
        while queue.unfinished_tasks:
            queue.task_done()
        assert queue.joining.get() is True

    def handle(queue: Any) -> None:
        queue.task_done()
        queue.task_done()

    interrupt_everywhere(prepare, lambda queue: queue.put(1), handle, check)


def test_a_handler_works_off_the_last_task_at_any_point_of_join() -> None:
    def finish(queue: Any) -> None:
        if queue.unfinished_tasks:
            queue.task_done()

    def join(queue: Any) -> None:
        last = greenpool.spawn(finish, queue)
        assert queue.join(timeout=60) is True
        last.join()

    interrupt_everywhere(lambda: Queue(0, [1]), join, finish, lambda queue: None)


def test_a_finalizer_puts() -> None:
    """As with the standard SimpleQueue, a finalizer may put in the middle of any other call."""
    ended: SimpleQueue[str] = SimpleQueue()

    class Resource:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            ended.put("ended")

    def operate(queue: Any) -> None:
        Resource()
        queue.put("item")
        queue.get()

    gc.collect()
    gc.disable()
    try:
        interrupt_everywhere(lambda: ended, operate, lambda queue: gc.collect(0), lambda queue: None)
    finally:
        gc.enable()
    gc.collect()
    assert {"ended"} <= set(drain(ended)) <= {"ended", "item"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork() -> None:
    """The child keeps no waiters of the parent, only its own."""
    program = """
import os, threading, warnings
import greenpool
from greenpool.queue import Channel, LifoQueue, Queue, SimpleQueue
# Python 3.12 and newer warn of a fork with several threads.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")

queues = [Queue(), SimpleQueue(), LifoQueue(), Channel(), Queue(3)]
waiting = []
for queue in queues:
    waiting.append(threading.Thread(target=queue.get))
    waiting[-1].start()
    waiting.append(greenpool.spawn(queue.get))
for queue in queues:
    while len(queue._getters) < 2:
        greenpool.sleep(0.001)
pid = os.fork()
if not pid:
    for queue in queues:
        putting = greenpool.spawn(queue.put, "item")
        assert queue.get(timeout=30) == "item"
        putting.get()
    os._exit(0)
status = os.waitpid(pid, 0)[1]
for queue in queues:
    queue.put(1)
    queue.put(2)
for each in waiting:
    each.join()
os._exit(os.waitstatus_to_exitcode(status))
"""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert (process.returncode, process.stderr) == (0, "")


# Tasks.


@of_each_joinable
def test_join(kind: Any, start: Start) -> None:
    queue = kind()
    assert queue.join() is queue.join(0) is True
    for number in range(3):
        queue.put(number)
    assert queue.unfinished_tasks == 3
    waiting = [start(queue.join) for _ in range(2)]
    until(lambda: len(queue._joiners) == 2)
    for left in (2, 1, 0):
        assert queue.join(0) is queue.join(0.001) is queue.join(-1) is False
        assert not waiting[0].ready()
        queue.get()
        assert queue.task_done() is None
        assert queue.unfinished_tasks == left
    assert waiting[0].get() is waiting[1].get() is True
    with pytest.raises(ValueError, match="task_done\\(\\) called too many times"):
        queue.task_done()
    assert queue.unfinished_tasks == 0 and not queue._joiners


def test_unfinished_tasks_of_the_beginning() -> None:
    assert Queue(0, [1, 2]).unfinished_tasks == 2
    queue = Queue(0, [1, 2], 5)
    assert queue.unfinished_tasks == queue.copy().unfinished_tasks == 5
    queue.put(3)
    assert queue.unfinished_tasks == 6


def test_tasks_are_counted_by_threads(runtime: Runtime, fast_switching: None) -> None:
    """Puts are counted without a lock."""
    queue: Queue[int] = Queue()

    def work(number: int) -> None:
        for item in range(1000):
            queue.put(item)

    workers = [runtime.handle().spawn_on(number, work, number) for number in range(4)]
    greenpool.joinall(workers)
    assert queue.unfinished_tasks == 4000
    for _ in range(4000):
        assert not queue.join(0)
        queue.get()
        queue.task_done()
    assert queue.join()


def test_who_is_killed_in_join() -> None:
    queue = Queue(0, [1])
    waiting = [greenpool.spawn(queue.join) for _ in range(2)]
    greenpool.sleep(0)
    waiting[0].kill()
    assert len(queue._joiners) == 1
    queue.task_done()
    assert waiting[1].get() is True


# Shutting down.


@of_each_joinable
def test_shutdown(kind: Any, start: Start) -> None:
    """The items that are left can still be got."""
    queue = kind(0, [1])
    assert not queue.is_shutdown
    assert queue.shutdown() is None
    assert queue.is_shutdown
    for call in (lambda: queue.put(2), lambda: queue.put_nowait(2), lambda: queue.put(2, timeout=1)):
        with pytest.raises(ShutDown):
            start(call).get()
    assert queue.peek() == queue.get() == 1
    for call in (queue.get, queue.get_nowait, queue.peek, lambda: queue.get(timeout=1)):
        with pytest.raises(ShutDown):
            start(call).get()
    queue.shutdown()
    assert queue.unfinished_tasks == 1
    queue.task_done()
    assert queue.join()


@of_each_joinable
def test_shutdown_immediate(kind: Any, start: Start) -> None:
    """The items are dropped, and join does not wait for them."""
    queue = kind(0, [1, 2, 3])
    queue.get()
    waiting = start(queue.join)
    until(lambda: queue._joiners)
    queue.shutdown(immediate=True)
    assert queue.empty() and queue.unfinished_tasks == 1
    with pytest.raises(ShutDown):
        queue.get()
    queue.task_done()
    assert waiting.get() is True


@of_each_joinable
@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_while_others_wait(kind: Any, immediate: bool, start: Start) -> None:
    empty, full = kind(), kind(1, [1])
    getting = [start(empty.get), start(empty.peek), start(lambda: empty.get(timeout=60))]
    putting = [start(full.put, 2), start(lambda: full.put(3, timeout=60))]
    until(lambda: len(empty._getters) == 3 and len(full._putters) == 2)
    empty.shutdown(immediate)
    full.shutdown(immediate)
    for each in getting + putting:
        with pytest.raises(ShutDown):
            each.get()
    assert drain(full) == ([] if immediate else [1])


@of_each_joinable
def test_shutdown_among_puts(kind: Any, runtime: Runtime, fast_switching: None) -> None:
    """Exactly the items that were put come out."""
    for _ in range(10):
        queue = kind()
        put: deque[int] = deque()

        def work(number: int, queue: Any = queue, put: deque[int] = put) -> None:
            try:
                for item in range(number, 10**9, 4):
                    queue.put(item)
                    put.append(item)
            except ShutDown:
                return

        workers = [runtime.handle().spawn_on(number, work, number) for number in range(4)]
        until(lambda put=put: len(put) > 50)
        queue.shutdown()
        greenpool.joinall(workers)
        assert sorted(drain(queue)) == sorted(put)
        assert queue.unfinished_tasks == len(put)


# Channel.


def test_channel_holds_nothing() -> None:
    channel: Channel[int] = Channel()
    assert channel.empty() and channel.full() and channel.qsize() == 0
    assert repr(channel) == f"<Channel at {id(channel):#x}: getters=0 putters=0>"
    putting = greenpool.spawn(channel.put, 1)
    greenpool.sleep(0)
    assert channel.balance == 1 and channel.empty() and channel.full()
    assert channel.get() == 1
    getting = greenpool.spawn(channel.get)
    greenpool.sleep(0)
    assert channel.balance == -1
    channel.put_nowait(2)
    assert (putting.get(), getting.get()) == (None, 2)
    assert channel.balance == 0


def test_channel_bad_input() -> None:
    for bad in (0, 2, "1", None):
        with pytest.raises(ValueError, match=f"maxsize must be 1, not {bad!r}"):
            Channel(bad)  # type: ignore[arg-type]
    channel: Channel[int] = Channel()
    for call in (channel.get, lambda timeout: channel.put(1, timeout=timeout)):
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not 'soon'"):
            call(timeout="soon")  # type: ignore[operator]
        with pytest.raises(ValueError, match="timeout must be a non-negative number of seconds, not -1"):
            call(timeout=-1)  # type: ignore[operator]
    assert channel.balance == 0


@pytest.mark.usefixtures("fast_switching")
def test_a_copy_counts_what_is_in_it() -> None:
    """Only an item that another thread is just putting may be missing."""
    for _ in range(200):
        queue: Queue[int] = Queue()
        thread = threading.Thread(target=lambda queue=queue: [queue.put(i) for i in range(100)])
        thread.start()
        seen = None
        while thread.is_alive():
            size = queue.qsize()
            if size == seen:
                continue  # one copy after another would keep the guard from the putting thread
            seen = size
            copied = queue.copy()
            assert copied.qsize() <= copied.unfinished_tasks <= copied.qsize() + 1
        thread.join()


# As the classes of the standard module, and as gevent's.


@pytest.mark.parametrize("kind", [SimpleQueue, Queue, LifoQueue, PriorityQueue, Channel])
def test_classes_can_be_subscribed(kind: Any) -> None:
    assert type(kind[int]) is types.GenericAlias
    assert isinstance(kind[int](), kind)
    assert issubclass(type("Mine", types.resolve_bases((kind[int],)), {}), kind)


def test_a_getter_of_a_channel_goes_on_before_the_putter_that_it_waited_for() -> None:
    channel: Channel[str] = Channel()
    steps: list[str] = []

    def get_two() -> None:
        steps.append(channel.get())
        steps.append(channel.get())

    getter = greenpool.spawn(get_two)
    channel.put("first")
    steps.append("put first")
    channel.put("second")
    steps.append("put second")
    getter.join()
    assert steps == ["first", "put first", "second", "put second"]


def test_a_put_that_has_handed_over_its_item_is_not_killed() -> None:
    channel: Channel[int] = Channel()
    steps: list[str] = []

    def put() -> None:
        killed.wait()
        channel.put(1)
        steps.append("put")
        greenpool.sleep(0)
        steps.append("never")

    killed = Event()
    getter = greenpool.spawn(channel.get)
    putter = greenpool.spawn(put)
    greenpool.sleep(0)
    killed.set()
    # The putter is ready, and not parked any more, so the kill stays pending.
    putter.kill(block=False)
    putter.join()
    assert steps == ["put"]
    assert getter.get() == 1
