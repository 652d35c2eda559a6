"""The methods that the C extension has for classes written in Python.

The tests of each feature test what the methods do, because they run with and without the extension. The tests
here are about C itself: references, and the Python method that is called for an unusual case.
"""

from __future__ import annotations

import array
import errno
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import Greenlet, GreenletExit, Runtime, Timeout, config, socket, ssl, thread
from greenpool import threading as green_threading
from greenpool._core.current import getcurrent
from greenpool._core.hub import Hub
from greenpool._core.native import HAS_GIL
from greenpool._core.speedups import speedups
from greenpool.lock import BoundedSemaphore, Lock, RLock, Semaphore
from greenpool.queue import Queue, SimpleQueue

pytestmark = [
    pytest.mark.usefixtures("leak_check"),
    pytest.mark.skipif(not config.speedups, reason="the C extension is not in use"),
]

LIMIT = 64 * 1024

IN_C: list[tuple[Any, str]] = [
    (Hub, "_dispatch"),
    (socket.socket, "recv"),
    (socket.socket, "recv_into"),
    (socket.socket, "send"),
    (socket.socket, "sendall"),
    (ssl.SSLSocket, "recv"),
    (ssl.SSLSocket, "recv_into"),
    (ssl.SSLSocket, "send"),
    (ssl.SSLSocket, "sendall"),
    (SimpleQueue, "put"),
    (SimpleQueue, "get"),
    (Lock, "acquire"),
    (Lock, "release"),
    (RLock, "acquire"),
    (RLock, "release"),
    (Semaphore, "acquire"),
    (Semaphore, "release"),
    (BoundedSemaphore, "acquire"),
    (BoundedSemaphore, "release"),
    (thread.LockType, "acquire"),
    (thread.RLock, "acquire"),
    (green_threading.Event, "wait"),
    (greenpool, "spawn"),
    (Greenlet, "_finish"),
]


@pytest.mark.parametrize(("owner", "name"), IN_C)
def test_they_are_documented_as_their_twins(owner: Any, name: str) -> None:
    method = getattr(owner, name)
    assert not inspect.isfunction(method), "this is the twin"
    assert inspect.signature(method).parameters
    if owner is not socket.socket:
        assert method.__doc__


def test_spawn_belongs_to_its_module() -> None:
    assert greenpool.spawn.__module__ == "greenpool.greenlet"
    assert greenpool.spawn.__name__ == "spawn"


def nothing(*args: object, **kwargs: object) -> None:
    pass


def park_and_end(end: Callable[[Greenlet, socket.socket, socket.socket], object], *call: Any) -> None:
    """Call a method of a socket that has to wait, and end that wait by *end*."""
    left, right = socket.socketpair()
    with left, right:
        # From the second wait on, the C code parks.
        left.send(b"1")
        waiting = greenpool.spawn(lambda: (right.recv(1), right.recv(1), getattr(right, call[0])(*call[1:])))
        waiting.quiet = True
        greenpool.sleep(0)
        left.send(b"2")
        greenpool.sleep(0)
        greenpool.sleep(0)
        end(waiting, left, right)
        waiting.join()


def receive() -> None:
    for call in [("recv", 10), ("recv_into", bytearray(10))]:
        park_and_end(lambda greenlet, left, right: left.send(b"3"), *call)
        park_and_end(lambda greenlet, left, right: greenlet.kill(), *call)
        park_and_end(lambda greenlet, left, right: greenlet.kill(ValueError), *call)
        park_and_end(lambda greenlet, left, right: left.close(), *call)
        park_and_end(lambda greenlet, left, right: right.close(), *call)
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"x" * 1000)
        for size in (1, 10, 70_000):
            right.recv(size)
        right.settimeout(0.0)
        for wrong in (right.recv, right.recv_into):
            with pytest.raises((OSError, TypeError)):
                wrong(10 if wrong == right.recv else bytearray(10))
            with pytest.raises((TypeError, OverflowError)):
                wrong("10")
        right.settimeout(0.0001)
        with pytest.raises(TimeoutError):
            right.recv(10)
        right.settimeout(None)
        with Timeout(0.0001, False):
            right.recv(10)
        for bad in (-1, 2**70):
            with pytest.raises((ValueError, OverflowError)):
                right.recv(bad)
        with pytest.raises((TypeError, BufferError)):
            right.recv_into(b"read only")
        with pytest.raises(TypeError):
            right.recv()  # type: ignore[call-arg]
    with pytest.raises(OSError, match="Bad file descriptor"):
        right.recv(10)


def send() -> None:
    left, right = socket.socketpair()
    with left, right:
        for data in (b"1", bytearray(b"2"), memoryview(b"3"), array.array("i", [4]), b""):
            left.send(data)
            left.sendall(data)
        for method in (left.send, left.sendall):
            with pytest.raises(TypeError):
                method("text")  # type: ignore[operator]
            with pytest.raises(TypeError):
                method()  # type: ignore[operator]
        # This is more than the kernel takes at once.
        sender = greenpool.spawn(left.sendall, bytes(1_000_000))
        left_over = 1_000_000
        while left_over > 0:
            left_over -= len(right.recv(100_000))
        sender.join()
        right.close()
        with pytest.raises(OSError) as caught:  # noqa: PT011
            left.send(b"x")
        assert caught.value.errno == errno.EPIPE
    for method in (left.send, left.sendall):
        with pytest.raises(OSError, match="Bad file descriptor"):
            method(b"x")  # type: ignore[operator]


def spawn() -> None:
    for arguments in ((), (1,), (1, 2, 3)):
        greenpool.spawn(nothing, *arguments).join()
    greenpool.spawn(nothing, key=1).join()
    greenpool.spawn(greenpool.spawn, nothing).get().join()
    with pytest.raises(TypeError, match="function must be callable, not 5"):
        greenpool.spawn(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        greenpool.spawn()  # type: ignore[call-arg]
    killed = greenpool.spawn(nothing)
    killed.kill()
    assert isinstance(killed.value, GreenletExit)


def queues() -> None:
    for kind in (SimpleQueue, Queue):
        queue: Any = kind()
        # This is often enough to make the queue count its puts anew.
        for item in range(300):
            queue.put(item)
        assert [queue.get() for _ in range(300)] == list(range(300))
        waiting = greenpool.spawn(queue.get)
        greenpool.sleep(0)
        queue.put("item")
        assert waiting.get() == "item"
        with pytest.raises(greenpool.queue.Empty):
            queue.get(timeout=0.0001)
        with pytest.raises(TypeError):
            queue.put()
        with pytest.raises(TypeError):
            queue.get(1, 2, 3)
    bounded: Any = Queue(1)
    bounded.put(1)
    with pytest.raises(greenpool.queue.Full):
        bounded.put(2, block=False)
    bounded.shutdown()
    with pytest.raises(greenpool.queue.ShutDown):
        bounded.put(3)
    bounded.queue = None
    with pytest.raises((TypeError, AttributeError)):
        bounded.get()


def use_lock(lock: Any, error: type[Exception]) -> None:
    for _ in range(2):
        with lock:
            for arguments in ((), (False,), (True, 0.0)):
                # An RLock is free for its owner only.
                other = greenpool.spawn(lock.acquire, *arguments) if arguments else None
                assert other is None or other.get() is False
        assert lock.acquire(blocking=False) and lock.release() is None
    lock.acquire()
    waiting = greenpool.spawn(lambda: (lock.acquire(), lock.release()))
    greenpool.sleep(0)
    lock.release()
    waiting.join()
    with pytest.raises(error):
        lock.release()
    for wrong in ((1, 2, 3), ("x", "y"), (False, 1)):
        with pytest.raises((TypeError, ValueError)):
            lock.acquire(*wrong)
    with pytest.raises(AttributeError):
        type(lock).acquire(object.__new__(type(lock)))
    with pytest.raises(TypeError):
        type(lock).acquire(5)


def locks() -> None:
    for lock in (Lock(), RLock(), thread.allocate_lock(), thread.RLock()):
        use_lock(lock, RuntimeError)
    use_lock(BoundedSemaphore(), ValueError)
    # More permits than a list keeps its memory for.
    for semaphore in (Semaphore(40), BoundedSemaphore(40)):
        for _ in range(40):
            semaphore.acquire()
        assert not semaphore.acquire(False)
        for _ in range(40):
            semaphore.release()
        assert semaphore.counter == 40
        with semaphore, semaphore:
            assert semaphore.counter == 38
    rlock = RLock()
    with rlock, rlock:
        assert rlock._is_owned()
    assert not rlock._is_owned()
    event = green_threading.Event()
    waiting = greenpool.spawn(event.wait)
    assert not event.wait(0.0)
    greenpool.sleep(0)
    event.set()
    assert event.wait() and waiting.get()
    # Often enough to use up the budget.
    for _ in range(150):
        event.wait()
    assert thread.get_ident() == id(greenpool.getcurrent())


@pytest.mark.parametrize("use", [receive, send, spawn, queues, locks])
def test_no_reference_is_lost_or_left(use: Callable[[], None]) -> None:
    """Only a debug build of Python counts references. Elsewhere this only runs the code once."""
    rounds, times = (8, 30) if hasattr(sys, "gettotalrefcount") else (1, 3)

    def in_greenlet() -> list[int]:
        totals = []
        for _ in range(rounds):
            for _ in range(times):
                use()
            gc.collect()
            totals.append(sys.gettotalrefcount() if hasattr(sys, "gettotalrefcount") else 0)
        return totals

    with Runtime(pool_size=1) as runtime:
        totals = runtime.spawn(in_greenlet).get()
    # A leak of one reference a call would make 30 or more a round.
    assert abs(totals[-1] - totals[rounds // 2]) < 30


# The GIL.


@pytest.fixture
def rival() -> Iterator[tuple[threading.Lock, threading.Event]]:
    """A thread that sets the event as soon as it gets the GIL, once the lock is released.

    The interpreter does not take the GIL away from anyone in the meantime, so only a call that
    releases it lets the thread in.
    """
    if not HAS_GIL:
        pytest.skip("this interpreter runs without the GIL")
    gate, entered = threading.Lock(), threading.Event()
    gate.acquire()

    def enter() -> None:
        with gate:
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        yield gate, entered
    finally:
        sys.setswitchinterval(interval)
        thread.join()


def between_calls(use: Callable[[socket.socket, socket.socket], None]) -> None:
    """Call *use* in a greenlet whose hub knows the second socket, and which never has to yield."""

    def wait_and_use() -> None:
        assert right.recv(1) == b"!"
        getcurrent().budget = sys.maxsize
        use(left, right)

    left, right = socket.socketpair()
    with left, right:
        greenlet = greenpool.spawn(wait_and_use)
        greenpool.sleep(0)
        left.send(b"!")
        greenlet.get()


def test_small_calls_keep_the_gil(rival: tuple[threading.Lock, threading.Event]) -> None:
    gate, entered = rival
    data, buffer, large = bytes(64), bytearray(LIMIT), bytearray(16 * LIMIT)

    def call(left: socket.socket, right: socket.socket) -> None:
        gate.release()
        for _ in range(2000):
            left.send(data)
            right.recv(LIMIT)
            left.sendall(data)
            right.recv_into(buffer)
            left.send(data)
            right.recv_into(large)  # large only in what is asked for
            assert speedups.accept(server.fileno()) is None
        assert not entered.is_set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        between_calls(call)


def test_large_calls_release_the_gil(rival: tuple[threading.Lock, threading.Event]) -> None:
    gate, entered = rival
    data, buffer = bytes(2 * LIMIT), bytearray(2 * LIMIT)

    def send(left: socket.socket, right: socket.socket) -> None:
        gate.release()
        # The thread may need more than one chance to wake up in time. Were there none, this never ends.
        while not entered.is_set():
            assert left.send(data) > LIMIT
            right.recv_into(buffer)

    between_calls(send)
