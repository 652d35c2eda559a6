"""``greenpool.select``: its calls park instead of blocking the hub, and otherwise match the standard ones."""

from __future__ import annotations

import os
import select as standard
import socket as standard_socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import greenpool
from greenpool import select, socket
from greenpool._core import native
from greenpool._core.current import current_hub
from greenpool._core.descriptor import wait_any
from greenpool._core.pollers.events import READ
from greenpool._core.pollers.selector import SelectorPoller

pytestmark = pytest.mark.usefixtures("leak_check")

needs_epoll = pytest.mark.skipif(not hasattr(standard, "epoll"), reason="no epoll on this system")
needs_poll = pytest.mark.skipif(not hasattr(standard, "poll"), reason="no poll on this system")


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    """A bare number stays registered with the hub only while a greenlet waits for it."""
    before = set(current_hub().registrations)
    yield
    assert set(current_hub().registrations) == before


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def wait_select(fd: int, timeout: float | None = None) -> bool:
    return select.select([fd], [], [], timeout) == ([fd], [], [])


def wait_poll(fd: int, timeout: float | None = None) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    found = poller.poll(None if timeout is None else timeout * 1000)
    return bool(found == [(fd, select.POLLIN)])


def wait_epoll(fd: int, timeout: float | None = None) -> bool:
    with select.epoll() as poller:
        poller.register(fd, select.EPOLLIN)
        return bool(poller.poll(timeout) == [(fd, select.EPOLLIN)])


each_way = pytest.mark.parametrize(
    "wait",
    [
        wait_select,
        pytest.param(wait_poll, marks=needs_poll),
        pytest.param(wait_epoll, marks=needs_epoll),
    ],
)
Wait = Callable[..., bool]


@each_way
def test_parks_until_ready(wait: Wait, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    waiting = greenpool.spawn(wait, reading)
    greenpool.spawn(os.write, writing, b"x")
    assert waiting.get()


@each_way
def test_the_main_program_can_wait(wait: Wait, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    greenpool.spawn(os.write, writing, b"x")
    assert wait(reading)


@each_way
def test_what_is_ready_is_found_at_once(wait: Wait, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"x")
    switched = greenpool.spawn(lambda: None)
    assert wait(reading)
    assert not switched.ready()
    switched.join()


@each_way
@pytest.mark.parametrize("timeout", [0, 0.0, 0.005])
def test_times_out(wait: Wait, pipe: tuple[int, int], timeout: float) -> None:
    assert not wait(pipe[0], timeout)


@each_way
def test_asking_in_a_loop_lets_the_others_run(wait: Wait, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    greenpool.spawn(os.write, writing, b"x")
    while not wait(reading, 0):
        pass


@each_way
def test_many_wait_for_one_descriptor(wait: Wait, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    waiting = [greenpool.spawn(wait, reading) for _ in range(5)]
    greenpool.spawn(os.write, writing, b"x")
    assert [greenlet.get() for greenlet in waiting] == [True] * 5


@each_way
def test_killed_while_waiting(wait: Wait, pipe: tuple[int, int]) -> None:
    waiting = greenpool.spawn(wait, pipe[0])
    greenpool.sleep(0)
    waiting.kill()
    assert isinstance(waiting.value, greenpool.GreenletExit)


@each_way
def test_on_every_hub_of_a_pool(wait: Wait, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with greenpool.Runtime(pool_size=3) as runtime:
        waiting = [runtime.spawn(wait, reading) for _ in range(6)]
        os.write(writing, b"x")
        assert [greenlet.get() for greenlet in waiting] == [True] * 6


@each_way
def test_over_a_level_triggered_poller(wait: Wait, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with greenpool.Runtime(pool_size=1, poller=SelectorPoller) as runtime:
        assert not runtime.spawn(wait, reading, 0.002).get()
        waiting = [runtime.spawn(wait, reading) for _ in range(3)]
        os.write(writing, b"x")
        assert [greenlet.get() for greenlet in waiting] == [True] * 3
        # The number is asked anew, and the wait does not end for an event that it did not ask for.
        assert runtime.spawn(select.select, [writing], [], [reading], 0.002).get() == ([], [], [])


@each_way
def test_a_green_socket_may_be_waited_for_and_used_at_the_same_time(wait: Wait) -> None:
    near, far = socket.socketpair()
    with near, far:
        receiving = greenpool.spawn(near.recv, 10)
        waiting = greenpool.spawn(wait, near.fileno())
        greenpool.sleep(0)
        far.send(b"hello")
        assert receiving.get() == b"hello"
        # The waiting greenlet looked second, found nothing, and waits on.
        assert not waiting.ready()
        far.send(b"more")
        assert waiting.get()


# select


def test_select_for_each_direction(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    assert select.select([reading], [writing], [reading, writing]) == ([], [writing], [])
    os.write(writing, b"x")
    assert select.select([reading], [writing], [reading]) == ([reading], [writing], [])


def test_select_wakes_for_writing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    size = os.write(writing, bytes(1 << 20))
    waiting = greenpool.spawn(select.select, [], [writing], [])
    greenpool.spawn(os.read, reading, size)
    assert waiting.get() == ([], [writing], [])


def test_select_wakes_for_urgent_data() -> None:
    with standard_socket.create_server(("127.0.0.1", 0)) as listener:
        near = standard_socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        waiting = greenpool.spawn(select.select, [], [], [near])
        greenpool.spawn(far.send, b"!", standard_socket.MSG_OOB)
        assert waiting.get() == ([], [], [near])


def test_select_takes_file_objects_and_iterators(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with os.fdopen(os.dup(reading), "rb") as file:
        waiting = greenpool.spawn(select.select, iter([file]), iter(()), iter(()))
        greenpool.spawn(os.write, writing, b"x")
        assert waiting.get() == ([file], [], [])


def test_select_of_nothing_waits_for_its_timeout() -> None:
    waiting = greenpool.spawn(select.select, [], [], [], 0.005)
    other = greenpool.spawn(lambda: None)
    assert waiting.get() == ([], [], [])
    assert other.ready()


def test_a_regular_file_is_always_ready() -> None:
    with open(__file__) as file:
        assert select.select([file], [file], []) == ([file], [file], [])
        # epoll refuses the file, and a file is never exceptional.
        assert select.select([], [], [file], 0.001) == ([], [], [])


def test_a_descriptor_that_is_closed_and_used_anew_meanwhile() -> None:
    reading, writing = os.pipe()
    first = greenpool.spawn(select.select, [reading], [], [])
    greenpool.sleep(0)
    os.close(reading)
    os.close(writing)
    again, writing = os.pipe()
    assert again == reading
    second = greenpool.spawn(select.select, [again], [], [])
    greenpool.spawn(os.write, writing, b"x")
    assert second.get() == ([again], [], [])
    first.kill()
    os.close(again)
    os.close(writing)


@pytest.mark.parametrize(
    "arguments",
    [
        ([], [], [], "1"),
        ([], [], [], -1),
        ([], [], [], float("nan")),
        ([], [], []),
        ([-1], [], [], 0),
        (["a"], [], [], 0),
        ([], [], 0, 0),
        (0, [], [], 0),
        ([10**6], [], [], 0),
    ],
)
def test_select_refuses_what_the_standard_one_refuses(arguments: tuple[Any, ...]) -> None:
    if len(arguments) == 3:
        arguments = (*arguments, 0.001)
        assert select.select(*arguments) == standard.select(*arguments)
        return
    with pytest.raises((TypeError, ValueError, OSError)) as expected:
        standard.select(*arguments)
    with pytest.raises(expected.type) as caught:
        select.select(*arguments)
    assert str(caught.value) == str(expected.value)


@given(
    filled=st.lists(st.booleans(), max_size=6),
    asked=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=6),
)
def test_finds_what_the_standard_select_finds(
    filled: list[bool], asked: list[tuple[bool, bool, bool]]
) -> None:
    pairs = [standard_socket.socketpair() for _ in filled]
    try:
        for (_, far), full in zip(pairs, filled, strict=True):
            if full:
                far.send(b"x")
        lists: list[list[Any]] = [
            [near for (near, _), wanted in zip(pairs, asked, strict=False) if wanted[which]]
            for which in range(3)
        ]
        assert select.select(*lists, 0.0) == standard.select(*lists, 0.0)
        assert select.select(*lists, 0.0005) == standard.select(*lists, 0.0)
    finally:
        for near, far in pairs:
            near.close()
            far.close()


# poll


@needs_poll
def test_poll_reports_every_event(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    poller = select.poll()
    poller.register(writing)
    poller.register(reading, 0)
    assert poller.poll() == [(writing, select.POLLOUT)]
    poller.modify(writing, 0)
    waiting = greenpool.spawn(poller.poll)
    greenpool.sleep(0)
    other = os.open(os.devnull, os.O_WRONLY)
    os.dup2(other, writing)  # closes the pipe's last writing end
    os.close(other)
    assert waiting.get() == [(reading, select.POLLHUP)]


@needs_poll
def test_poll_forgets_what_is_unregistered(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    poller = select.poll()
    poller.register(reading)
    poller.unregister(reading)
    os.write(writing, b"x")
    assert poller.poll(1) == []
    with pytest.raises(KeyError):
        poller.unregister(reading)
    with pytest.raises(FileNotFoundError):
        poller.modify(reading, select.POLLIN)


@needs_poll
def test_poll_in_two_greenlets_at_the_same_time(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    waiting = greenpool.spawn(poller.poll)
    greenpool.sleep(0)
    with pytest.raises(RuntimeError, match="concurrent poll"):
        poller.poll(0)
    os.write(writing, b"x")
    assert waiting.get() == [(reading, select.POLLIN)]
    assert poller.poll() == [(reading, select.POLLIN)]


@needs_poll
@pytest.mark.parametrize("timeout", ["1", [], float("nan"), 2**40, 2**31, 1e300])
def test_poll_refuses_what_the_standard_one_refuses(timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)) as expected:
        standard.poll().poll(timeout)
    with pytest.raises(expected.type):
        select.poll().poll(timeout)


@needs_poll
@pytest.mark.parametrize("fd", ["a", -1, None, 1.0, 2**40])
def test_poll_registers_only_descriptors(fd: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)) as expected:
        standard.poll().register(fd)
    with pytest.raises(expected.type) as caught:
        select.poll().register(fd)
    assert str(caught.value) == str(expected.value)


@needs_poll
def test_poll_objects_are_made_by_poll_only() -> None:
    with pytest.raises(TypeError, match="cannot create"):
        type(select.poll())()

    class Keeper:
        make = select.poll

    # As in the standard module, the attribute does not bind as a method.
    assert Keeper().make().poll(0) == []


# epoll


@needs_epoll
def test_epoll_is_one_registration_however_often_it_waits(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    poller = select.epoll()
    poller.register(reading, select.EPOLLIN)
    before = len(current_hub().registrations)
    for _ in range(3):
        greenpool.spawn(os.write, writing, b"x")
        assert poller.poll() == [(reading, select.EPOLLIN)]
        assert len(current_hub().registrations) == before + 1
        os.read(reading, 1)
    poller.close()
    assert len(current_hub().registrations) == before


@needs_epoll
def test_epoll_keeps_its_levels_and_edges(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with select.epoll() as poller:
        poller.register(reading, select.EPOLLIN)
        os.write(writing, b"x")
        assert poller.poll() == poller.poll() == [(reading, select.EPOLLIN)]
        poller.modify(reading, select.EPOLLIN | select.EPOLLET)
        assert poller.poll() == [(reading, select.EPOLLIN)]
        assert poller.poll(0.001) == []
        greenpool.spawn(os.write, writing, b"y")
        assert poller.poll() == [(reading, select.EPOLLIN)]


@needs_epoll
def test_epoll_in_epoll(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with select.epoll() as outer, select.epoll() as inner:
        inner.register(reading, select.EPOLLIN)
        outer.register(inner, select.EPOLLIN)
        greenpool.spawn(os.write, writing, b"x")
        assert outer.poll() == [(inner.fileno(), select.EPOLLIN)]
        assert inner.poll() == [(reading, select.EPOLLIN)]


@needs_epoll
def test_epoll_of_several_greenlets(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with select.epoll() as poller:
        poller.register(reading, select.EPOLLIN)
        waiting = [greenpool.spawn(poller.poll) for _ in range(3)]
        greenpool.spawn(os.write, writing, b"x")
        assert [greenlet.get() for greenlet in waiting] == [[(reading, select.EPOLLIN)]] * 3


@needs_epoll
def test_epoll_closed_while_somebody_waits(pipe: tuple[int, int]) -> None:
    poller = select.epoll()
    poller.register(pipe[0])
    waiting = greenpool.Greenlet.spawn(poller.poll)
    waiting.quiet = True
    greenpool.sleep(0)
    poller.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        waiting.get()


@needs_epoll
def test_a_closed_epoll() -> None:
    poller = select.epoll()
    assert not poller.closed
    poller.close()
    poller.close()
    assert poller.closed
    for use in (poller.fileno, poller.poll, poller.__enter__, lambda: poller.register(0)):
        with pytest.raises(ValueError, match="closed epoll"):
            use()


@needs_epoll
def test_epoll_from_a_descriptor(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with select.epoll() as made, select.epoll.fromfd(os.dup(made.fileno())) as poller:
        poller.register(reading, select.EPOLLIN)
        greenpool.spawn(os.write, writing, b"x")
        assert made.poll() == [(reading, select.EPOLLIN)]


@needs_epoll
@pytest.mark.parametrize(
    ("timeout", "maxevents"), [("1", -1), (float("nan"), -1), (2**40, -1), (0, 0), (0, -2)]
)
def test_epoll_refuses_what_the_standard_one_refuses(timeout: Any, maxevents: int) -> None:
    with standard.epoll() as original, select.epoll() as poller:
        with pytest.raises((TypeError, ValueError, OverflowError)) as expected:
            original.poll(timeout, maxevents)
        with pytest.raises(expected.type):
            poller.poll(timeout, maxevents)


# kqueue, with a stand-in that has an epoll inside.


class StandInKqueue:
    def __init__(self) -> None:
        self.epoll = native.epoll()
        self.closed = False

    def fileno(self) -> int:
        return int(self.epoll.fileno())

    def close(self) -> None:
        self.epoll.close()
        self.closed = True

    def control(self, changes: Any, maxevents: int, timeout: float) -> list[Any]:
        assert timeout == 0, "it must not block"
        for fd in changes or ():
            self.epoll.register(fd, standard.EPOLLIN)
        return list(self.epoll.poll(0, maxevents)) if maxevents else []


@needs_epoll
@pytest.mark.skipif(hasattr(standard, "kqueue"), reason="this system has a real kqueue")
def test_kqueue(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(standard, "kqueue", StandInKqueue, raising=False)
    monkeypatch.setattr(native, "kqueue", StandInKqueue)
    spec = importlib.util.find_spec("greenpool.select")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    reading, writing = pipe
    queue = module.kqueue()
    assert queue.control([reading], 0) == []
    greenpool.spawn(os.write, writing, b"x")
    assert queue.control(None, 10) == [(reading, standard.EPOLLIN)]
    os.read(reading, 1)
    assert queue.control(None, 10, 0.001) == []
    with pytest.raises(ValueError, match="positive"):
        queue.control(None, 1, -1)
    with pytest.raises(TypeError, match="number or None"):
        queue.control(None, 1, "1")
    queue.close()
    assert queue.closed


# The functions below them.


def test_wait_any_is_woken_once_by_several(pipe: tuple[int, int]) -> None:
    pipes = [os.pipe() for _ in range(4)]
    wakes = []

    def wait() -> None:
        wakes.append(wait_any([(reading, READ) for reading, _ in pipes], None))

    waiting = greenpool.spawn(wait)
    greenpool.sleep(0)
    for _, writing in pipes:
        os.write(writing, b"x")
    waiting.join()
    greenpool.sleep(0)
    assert wakes == [True]
    for fd in (fd for pair in pipes for fd in pair):
        os.close(fd)


# Events that a wait wakes for.


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The time left at each park."""
    waits: list[float | None] = []
    wait = select._wait_any

    def counted(wanted: list[tuple[int, int]], seconds: float | None) -> bool:
        waits.append(seconds)
        return wait(wanted, seconds)

    monkeypatch.setattr(select, "_wait_any", counted)
    return waits


@pytest.fixture
def unread() -> Iterator[standard_socket.socket]:
    """A socket with data that nobody reads."""
    near, far = standard_socket.socketpair()
    with near, far:
        far.send(b"x")
        yield near


def check_that_it_sleeps(waits: list[float | None], wait: Callable[..., object], *args: object) -> None:
    waiting = greenpool.spawn(wait, *args)
    for _ in range(200):
        greenpool.sleep(0)
    assert waits == [None]
    waiting.kill()


@needs_epoll
def test_select_for_exceptional_conditions_does_not_spin(
    unread: standard_socket.socket, waits: list[float | None]
) -> None:
    check_that_it_sleeps(waits, select.select, [], [], [unread])


@needs_epoll
@needs_poll
@pytest.mark.parametrize("mask", [0, standard.POLLPRI, getattr(standard, "POLLRDHUP", 0)])
def test_poll_for_anything_but_data_does_not_spin(
    mask: int, unread: standard_socket.socket, waits: list[float | None]
) -> None:
    poller = select.poll()
    poller.register(unread, mask)
    check_that_it_sleeps(waits, poller.poll)


@needs_epoll
@needs_poll
def test_poll_for_the_end_of_the_other_side() -> None:
    near, far = standard_socket.socketpair()
    with near, far:
        far.send(b"x")
        poller = select.poll()
        poller.register(near, select.POLLRDHUP)
        waiting = greenpool.spawn(poller.poll)
        greenpool.sleep(0)
        far.shutdown(standard_socket.SHUT_WR)
        assert waiting.get() == [(near.fileno(), select.POLLRDHUP)]


@needs_epoll
def test_a_kill_takes_no_event_away(pipe: tuple[int, int]) -> None:
    """poll sometimes lets the others run although events are there. The kill is raised there."""
    reading, writing = pipe
    os.write(writing, b"x")
    once = select.EPOLLIN | select.EPOLLONESHOT

    def look_for_ever() -> None:
        while True:
            poller.modify(reading, once)
            assert poller.poll() == [(reading, select.EPOLLIN)]

    with select.epoll() as poller:
        poller.register(reading, once)
        looking = greenpool.spawn(look_for_ever)
        greenpool.sleep(0)
        looking.kill()
        assert poller.poll(0) == [(reading, select.EPOLLIN)]
