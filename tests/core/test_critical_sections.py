"""Without the GIL, a greenlet that parks inside C code keeps no other greenlet of its hub from that object.

The C code holds the lock of the object that it works on. All greenlets of a hub share one thread, so a
greenlet that waited for that lock would wait for ever.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import config, socket
from greenpool._core.native import HAS_GIL
from greenpool.event import Event
from greenpool.fileobject import FileObject
from greenpool.lock import Semaphore

pytestmark = [
    pytest.mark.usefixtures("leak_check"),
    pytest.mark.skipif(
        not HAS_GIL and not config.speedups, reason="only the C extension can let go of such locks"
    ),
]


def parked_in(function: Callable[..., object], *args: Any) -> greenpool.Greenlet:
    greenlet = greenpool.spawn(function, *args)
    greenpool.sleep(0)
    assert not greenlet.ready()
    return greenlet


def test_a_cached_function() -> None:
    event = Event()

    @functools.lru_cache
    def look_up(name: str) -> str:
        event.wait()
        return name.upper()

    first = parked_in(look_up, "a")
    second = parked_in(look_up, "b")
    event.set()
    assert (first.get(), second.get(), look_up("a")) == ("A", "B", "A")
    assert look_up.cache_info().currsize == 2


@pytest.mark.parametrize(
    "container, extend, add",
    [([], "extend", "append"), (deque(), "extend", "append"), (set(), "update", "add")],
    ids=["list", "deque", "set"],
)
def test_a_container_that_takes_from_a_generator(container: Any, extend: str, add: str) -> None:
    event = Event()

    def items() -> Iterator[int]:
        yield 1
        event.wait()
        yield 2

    extending = parked_in(getattr(container, extend), items())
    getattr(container, add)(9)
    event.set()
    extending.get()
    assert set(container) >= {1, 2}


def test_a_list_that_is_sorted() -> None:
    event = Event()
    numbers = [3, 1, 2]

    def key(number: int) -> int:
        event.wait()
        return number

    sorting = parked_in(lambda: numbers.sort(key=key))
    assert numbers == []  # a list looks empty while it is sorted
    event.set()
    sorting.get()
    assert numbers == [1, 2, 3]


def test_locks_within_locks() -> None:
    """Each greenlet gets back the locks that it held when it parked, and releases all of them at the end."""
    turn = Semaphore(0)
    outer: list[int] = []
    inner: list[int] = []

    def of_inner() -> Iterator[int]:
        for number in range(3):
            turn.acquire()
            yield number

    def of_outer() -> Iterator[int]:
        inner.extend(of_inner())
        turn.acquire()
        yield from inner

    extending = parked_in(outer.extend, of_outer())
    other = parked_in(lambda: [turn.acquire() for _ in range(4)])
    for _ in range(8):
        turn.release()
        # Both lists can be used in between.
        outer.append(7)
        inner.count(7)
        greenpool.sleep(0)
    extending.get()
    other.get()
    assert [number for number in outer if number != 7] == [0, 1, 2]


def test_a_buffered_file_that_is_read() -> None:
    reading, writing = os.pipe()
    with FileObject(reading, "rb") as reader, FileObject(writing, "wb", 0) as writer:
        waiting = parked_in(reader.readline)
        assert not reader.closed
        assert reader.fileno() == reading
        assert str(reading) in repr(reader)
        writer.write(b"line\n")
        assert waiting.get() == b"line\n"


def test_a_socket_s_file_that_is_read() -> None:
    near, far = socket.socketpair()
    with near, far, near.makefile("rb") as reader:
        waiting = parked_in(reader.readline)
        assert not reader.closed
        far.sendall(b"line\n")
        assert waiting.get() == b"line\n"


def test_one_that_yields_in_there() -> None:
    """After many operations that did not have to wait, a greenlet lets the others run."""
    near, far = socket.socketpair()
    numbers: list[int] = []
    seen: list[bool] = []

    def items() -> Iterator[int]:
        for number in range(500):
            near.send(b"x")
            far.recv(1)
            yield number

    def look() -> None:
        while len(numbers) < 500:
            seen.append(len(numbers) < 500)
            greenpool.sleep(0)

    with near, far:
        extending = greenpool.spawn(numbers.extend, items())
        greenpool.joinall([extending, greenpool.spawn(look)], raise_error=True)
    assert len(numbers) == 500
    assert any(seen)
