"""Waiting for several sockets at once: select, poll, epoll, selectors and asyncio know simulated sockets."""

from __future__ import annotations

import asyncio
import os
import socket as standard
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

import greenpool
from greenpool import select, selectors, socket
from greenpool.testing.network import Network

from .test_network import echo_host, on_network

Wait = Callable[[list[object], list[object], float], tuple[list[object], list[object]]]


def with_select(
    readers: list[object], writers: list[object], seconds: float
) -> tuple[list[object], list[object]]:
    return select.select(readers, writers, [], seconds)[:2]


def with_selector(
    kind: Callable[[], selectors.BaseSelector],
) -> Wait:
    def wait(
        readers: list[object], writers: list[object], seconds: float
    ) -> tuple[list[object], list[object]]:
        with kind() as selector:
            for each in {*readers, *writers}:
                events = (each in readers) * selectors.EVENT_READ | (each in writers) * selectors.EVENT_WRITE
                selector.register(each, events)  # type: ignore[arg-type]
            found = selector.select(seconds)
        return (
            [key.fileobj for key, events in found if events & selectors.EVENT_READ],
            [key.fileobj for key, events in found if events & selectors.EVENT_WRITE],
        )

    return wait


WAITS = {"select": with_select} | {
    name: with_selector(getattr(selectors, name))
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector")
    if hasattr(selectors, name)
}


@pytest.fixture(params=WAITS)
def wait(request: pytest.FixtureRequest) -> Wait:
    found: Wait = WAITS[request.param]
    return found


def test_nothing_comes_until_the_time_is_over(wait: Wait) -> None:
    def program(network: Network) -> list[object]:
        one, other = socket.socketpair()
        begun = time.monotonic()
        with one, other:
            return [wait([one], [], 10), time.monotonic() - begun]

    found, seconds = on_network(program)
    assert found == ([], [])
    assert seconds == 10


def test_bytes_that_come_later(wait: Wait) -> None:
    def program(network: Network) -> list[object]:
        one, other = socket.socketpair()
        with one, other:
            greenpool.spawn_later(5, one.send, b"x")
            begun = time.monotonic()
            found = wait([other, one], [], 10)
            seconds = time.monotonic() - begun
            assert other.recv(1) == b"x"
            return [found == ([other], []), seconds, wait([other], [], 0)]

    assert on_network(program) == [True, 5, ([], [])]


def test_a_connection_that_waits_to_be_accepted(wait: Wait) -> None:
    def program(network: Network) -> float:
        with socket.create_server(("", 80)) as listener:
            network.between("client", "localhost").delay(2)
            network.spawn("client", socket.create_connection, (network.address("localhost"), 80))
            begun = time.monotonic()
            assert wait([listener], [], 100) == ([listener], [])
            listener.accept()[0].close()
            return time.monotonic() - begun

    assert on_network(program) == 6


def test_connecting_without_waiting(wait: Wait) -> None:
    def program(network: Network) -> list[object]:
        echo_host(network)
        network.between("localhost", "echo").delay(1)
        seen: list[object] = []
        for port in (7, 8):
            with socket.socket() as client:
                client.setblocking(False)
                client.connect_ex(("echo", port))
                begun = time.monotonic()
                found = wait([], [client], 10)
                error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                seen += [found == ([], [client]), time.monotonic() - begun, os.strerror(error)]
        return seen

    assert on_network(program) == [True, 2, "Success", True, 2, "Connection refused"]


def test_room_in_a_full_buffer(wait: Wait) -> None:
    def program(network: Network) -> list[object]:
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    one.send(bytes(1000))
            full = wait([], [one], 1)
            greenpool.spawn_later(1, other.recv, 1000)
            return [full, wait([], [one], 10) == ([], [one])]

    assert on_network(program) == [([], []), True]


def test_simulated_and_real_descriptors_together(wait: Wait) -> None:
    def program(network: Network) -> list[object]:
        one, other = socket.socketpair()
        reader, writer = os.pipe()
        with one, other, open(reader, "rb") as file, open(writer, "wb", 0) as pipe:
            seen = [wait([file, other], [], 0) == ([], [])]
            pipe.write(b"x")
            seen.append(wait([file, other], [], 10) == ([file], []))
            one.send(b"x")
            seen.append(set(wait([file, other], [], 10)[0]) == {file, other})
        return seen

    assert on_network(program) == [True, True, True]


@contextmanager
def counting_descriptors() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_a_number_is_given_back_at_the_close() -> None:
    def program(network: Network) -> int:
        one, other = socket.socketpair()
        with counting_descriptors():
            with socket.socket() as sock:
                number = sock.fileno()
                assert number == sock.fileno() >= 0
            assert sock.fileno() == -1
            one.fileno()
            taken = socket.socket(fileno=one.detach())
            with taken:
                taken.send(b"kept")
        assert other.recv(10) == b"kept"
        return number

    assert on_network(program) == on_network(program)


def test_wait_read_of_greenpool() -> None:
    def program(network: Network) -> float:
        one, other = socket.socketpair()
        with one, other:
            greenpool.spawn_later(3, one.send, b"x")
            begun = time.monotonic()
            socket.wait_read(other)
            return time.monotonic() - begun

    assert on_network(program) == 3


# Patched programs.


def test_select_of_a_patched_program() -> None:
    def program(network: Network) -> float:
        import select as patched

        one, other = standard.socketpair()
        with one, other:
            begun = time.monotonic()
            thread = threading.Timer(7, one.sendall, [b"x"])
            thread.start()
            assert patched.select([other], [], [], 10)[0] == [other]
            return time.monotonic() - begun

    assert on_network(program, patch=True) == 7


def test_asyncio() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def go(network: Network) -> list[object]:
        network.between("localhost", "web").delay(0.5)
        with network.host("web"):
            server = await asyncio.start_server(handle, "0.0.0.0", 80)
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("web", 80)
        with closing(writer):
            writer.write(b"hello\n")
            answer = await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("web", 81)
        server.close()
        return [answer, round(time.monotonic() - begun, 3)]

    def program(network: Network) -> object:
        return asyncio.run(go(network))

    assert on_network(program, patch=True) == [b"HELLO\n", 3]
