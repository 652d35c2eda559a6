"""``greenpool.selectors``: every selector parks, and asyncio runs over them in a greenlet."""

from __future__ import annotations

import asyncio
import os
import selectors as standard
from collections.abc import Iterator
from typing import Any

import pytest

import greenpool
from greenpool import selectors, socket
from greenpool.event import Event

pytestmark = pytest.mark.usefixtures("leak_check")

KINDS = [
    name
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector", "DefaultSelector")
    if hasattr(standard, name)
]
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


@each_kind
def test_parks_until_ready(kind: str, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with getattr(selectors, kind)() as selector:
        key = selector.register(reading, selectors.EVENT_READ)
        greenpool.spawn(os.write, writing, b"x")
        assert selector.select() == [(key, selectors.EVENT_READ)]


@each_kind
@pytest.mark.parametrize("timeout", [0, -1, 0.002])
def test_times_out(kind: str, timeout: float, pipe: tuple[int, int]) -> None:
    with getattr(selectors, kind)() as selector:
        selector.register(pipe[0], selectors.EVENT_READ)
        assert selector.select(timeout) == []


@each_kind
def test_is_a_subclass_of_the_standard_one_and_named_as_it(kind: str) -> None:
    green, original = getattr(selectors, kind), getattr(standard, kind)
    assert issubclass(green, original) and green is not original
    assert green.__name__ == original.__name__


@each_kind
def test_several_greenlets_each_with_its_own(kind: str) -> None:
    """Each greenlet runs a little echo server, and all are on one hub."""

    def serve(connection: Any) -> None:
        with connection, getattr(selectors, kind)() as selector:
            selector.register(connection, selectors.EVENT_READ)
            while True:
                selector.select()
                data = connection.recv(100)
                if not data:
                    return
                connection.send(data.upper())

    def ask(connection: Any) -> list[bytes]:
        with connection:
            answers = []
            for word in (b"one", b"two"):
                connection.send(word)
                answers.append(connection.recv(100))
            return answers

    pairs = [socket.socketpair() for _ in range(10)]
    servers = [greenpool.spawn(serve, near) for near, _ in pairs]
    clients = [greenpool.spawn(ask, far) for _, far in pairs]
    assert [client.get() for client in clients] == [[b"ONE", b"TWO"]] * 10
    greenpool.joinall(servers, raise_error=True)


def run_asyncio(main: Any) -> Any:
    """Do what asyncio.run does in a patched program, whose loops use green selectors."""

    def make_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.DefaultSelector())

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(main)


def test_asyncio_in_a_greenlet() -> None:
    near, far = socket.socketpair()

    async def exchange() -> bytes:
        reader, writer = await asyncio.open_connection(sock=near)
        writer.write(b"question")
        answer = await reader.read(100)
        writer.close()
        await writer.wait_closed()
        return answer

    def answer() -> None:
        with far:
            assert far.recv(100) == b"question"
            far.send(b"answer")

    asking = greenpool.spawn(run_asyncio, exchange())
    answering = greenpool.spawn(answer)
    assert asking.get() == b"answer"
    answering.get()


def test_asyncio_sleeps_while_greenlets_go_on() -> None:
    stop = Event()

    async def wait_for_the_others() -> int:
        turns = 0
        while not stop.is_set():
            await asyncio.sleep(0.001)
            turns += 1
        return turns

    running = greenpool.spawn(run_asyncio, wait_for_the_others())
    for _ in range(5):
        greenpool.sleep(0.001)
    stop.set()
    assert running.get() > 0


def test_a_second_running_loop_on_the_same_hub_is_refused() -> None:
    stop = Event()

    async def first() -> None:
        while not stop.is_set():
            await asyncio.sleep(0.001)

    async def second() -> None:
        pass

    running = greenpool.spawn(run_asyncio, first())
    greenpool.sleep(0.002)
    refused = second()
    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        asyncio.run(refused)
    refused.close()
    stop.set()
    running.get()


def test_asyncio_on_every_hub_of_a_pool() -> None:
    async def main() -> int:
        await asyncio.sleep(0.001)
        return 7

    with greenpool.Runtime(pool_size=3) as runtime:
        loops = [runtime.spawn(lambda: run_asyncio(main())) for _ in range(3)]
        assert [loop.get() for loop in loops] == [7, 7, 7]
