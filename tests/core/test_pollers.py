"""Pollers: each one answers the same interface in the same way, and selectors2 comes first if it imports."""

from __future__ import annotations

import errno
import importlib.util
import os
import select
import selectors as standard_selectors
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import greenpool
import greenpool.socket
from greenpool._core import native
from greenpool._core.pollers import Poller, kqueue, make_poller
from greenpool._core.pollers import selector as selector_module
from greenpool._core.pollers.events import ERR, HUP, IN, OUT, RDHUP
from greenpool._core.pollers.selector import SelectorPoller
from greenpool._core.wakers import PipeWaker, make_waker

pytestmark = pytest.mark.usefixtures("leak_check")

needs_epoll = pytest.mark.skipif(native.epoll is None, reason="this system has no epoll")
needs_kqueue = pytest.mark.skipif(native.kqueue is None, reason="this system has no kqueue")
needs_poll = pytest.mark.skipif(not hasattr(select, "poll"), reason="this system has no poll")


def make_epoll() -> Poller:
    from greenpool._core.pollers.epoll import EpollPoller

    return EpollPoller()


def with_selector(name: str) -> Poller:
    return SelectorPoller(getattr(selector_module.selectors, name))


def load_selector_module() -> types.ModuleType:
    """Load pollers/selector.py anew, so that it looks for selectors2 again."""
    spec = importlib.util.find_spec("greenpool._core.pollers.selector")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stand_in_for_selectors2() -> types.ModuleType:
    """Make a module that has the names of the standard one, as selectors2 has."""
    module = types.ModuleType("selectors2")
    vars(module).update(
        {name: value for name, value in vars(standard_selectors).items() if not name.startswith("_")}
    )
    return module


def with_selectors2() -> Poller:
    before = sys.modules.get("selectors2")
    sys.modules["selectors2"] = stand_in_for_selectors2()
    try:
        return load_selector_module().SelectorPoller()  # type: ignore[no-any-return]
    finally:
        del sys.modules["selectors2"]
        if before is not None:
            sys.modules["selectors2"] = before


POLLERS = [
    pytest.param(make_epoll, id="epoll", marks=needs_epoll),
    pytest.param(lambda: kqueue.KqueuePoller(), id="kqueue", marks=needs_kqueue),
    pytest.param(lambda: with_selector("PollSelector"), id="PollSelector", marks=needs_poll),
    pytest.param(lambda: with_selector("SelectSelector"), id="SelectSelector"),
    pytest.param(SelectorPoller, id="default selector"),
    pytest.param(with_selectors2, id="selectors2"),
]


@pytest.fixture(params=POLLERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Poller]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def poller(make: Callable[[], Poller]) -> Iterator[Poller]:
    made = make()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def arm(poller: Poller, fd: int, bits: int) -> None:
    """Do what a registration does before it parks."""
    if poller.arm is not None:
        poller.arm(fd, bits)


def reported(poller: Poller, fd: int, timeout: float = 0) -> int:
    mask = 0
    for number, bits in poller.poll(timeout):
        if number == fd:
            mask |= bits
    return mask


# The interface.


def test_nothing_is_reported_of_an_idle_descriptor(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    fd = pair[0].fileno()
    poller.register(fd)
    arm(poller, fd, IN)
    assert not reported(poller, fd) & IN


def test_data_is_reported(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    reported(poller, ours.fileno())
    arm(poller, ours.fileno(), IN)
    theirs.send(b"x")
    assert reported(poller, ours.fileno(), 1) & IN


def test_each_new_data_is_reported_anew(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    fd = ours.fileno()
    poller.register(fd)
    reported(poller, fd)
    for _ in range(3):
        arm(poller, fd, IN)
        theirs.send(b"x")
        assert reported(poller, fd, 1) & IN
        assert ours.recv(10) == b"x"
        assert not reported(poller, fd) & IN


def test_ready_data_that_nobody_reads_does_not_spin_the_loop(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    arm(poller, ours.fileno(), IN)
    theirs.send(b"x")
    assert reported(poller, ours.fileno(), 1) & IN
    assert poller.poll(0) == []


def test_data_that_was_there_before_is_reported(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    poller.register(ours.fileno())
    arm(poller, ours.fileno(), IN)
    assert reported(poller, ours.fileno(), 1) & IN


def test_registering_again_reports_the_present_readiness_again(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    """With epoll this is EPOLL_CTL_MOD with the same mask, which is the way to resync."""
    ours, theirs = pair
    theirs.send(b"x")
    for _ in range(3):
        poller.register(ours.fileno())
        arm(poller, ours.fileno(), IN)
        assert reported(poller, ours.fileno(), 1) & IN
        assert poller.poll(0) == []


def test_room_to_write_is_reported(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    fd = ours.fileno()
    with pytest.raises(BlockingIOError):
        while True:
            ours.send(b"x" * 65536)
    poller.register(fd)
    arm(poller, fd, OUT)
    assert not reported(poller, fd) & OUT
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            theirs.recv(65536)
    assert reported(poller, fd, 1) & OUT


def test_both_directions_at_once(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    poller.register(ours.fileno())
    arm(poller, ours.fileno(), IN)
    arm(poller, ours.fileno(), OUT)
    assert reported(poller, ours.fileno(), 1) & (IN | OUT) == IN | OUT


def test_one_direction_does_not_disarm_the_other(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    fd = ours.fileno()
    poller.register(fd)
    arm(poller, fd, IN)
    arm(poller, fd, OUT)
    assert reported(poller, fd, 1) & (IN | OUT) == OUT
    theirs.send(b"x")
    assert reported(poller, fd, 1) & IN


def test_a_peer_that_closes_is_reported_to_a_reader(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    reported(poller, ours.fileno())
    arm(poller, ours.fileno(), IN)
    theirs.close()
    assert reported(poller, ours.fileno(), 1) & (IN | HUP | RDHUP)


def test_a_peer_that_closes_is_reported_to_a_writer(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    with pytest.raises(BlockingIOError):
        while True:
            ours.send(b"x" * 65536)
    poller.register(ours.fileno())
    reported(poller, ours.fileno())
    arm(poller, ours.fileno(), OUT)
    theirs.close()
    assert reported(poller, ours.fileno(), 1) & (OUT | HUP | ERR)


def test_an_unregistered_descriptor_is_not_reported(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.register(ours.fileno())
    arm(poller, ours.fileno(), IN)
    poller.unregister(ours.fileno())
    theirs.send(b"x")
    assert poller.poll(0) == []


def test_unregistering_what_is_unknown_or_closed_is_no_error(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    fd = pair[0].fileno()
    poller.unregister(fd)
    poller.register(fd)
    arm(poller, fd, IN)
    pair[0].close()
    poller.unregister(fd)
    poller.unregister(fd)
    assert poller.poll(0) == []


def test_a_closed_number_is_refused(poller: Poller) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    with pytest.raises(OSError) as raised:
        poller.register(ours.fileno() if ours.fileno() >= 0 else 900)
    assert raised.value.errno == errno.EBADF


def test_a_reused_number_is_a_new_descriptor(poller: Poller) -> None:
    """The number was closed while registered. The next descriptor with it is registered like any other."""
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    poller.register(fd)
    arm(poller, fd, IN)
    ours.close()
    other, others_peer = socket.socketpair()
    assert fd in (other.fileno(), others_peer.fileno())
    if others_peer.fileno() == fd:
        other, others_peer = others_peer, other
    poller.register(fd)
    arm(poller, fd, IN)
    others_peer.send(b"x")
    assert reported(poller, fd, 1) & IN
    for each in (theirs, other, others_peer):
        each.close()


def test_a_number_that_is_closed_while_armed_is_reported_and_forgotten(poller: Poller) -> None:
    """If the kernel reports the close, the greenlet that waits tries its call again and gets EBADF."""
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    poller.register(fd)
    arm(poller, fd, IN)
    reported(poller, fd)
    os.close(ours.detach())
    assert reported(poller, fd, 0.01) & IN == 0 or poller.arm is not None
    assert poller.poll(0) == []
    theirs.close()


def test_files_and_directories_are_always_ready(poller: Poller, tmp_path: Path) -> None:
    """epoll answers EPERM for them, and so do all the other pollers."""
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file", tmp_path):
        fd = os.open(path, os.O_RDONLY)
        with pytest.raises(PermissionError):
            poller.register(fd)
        os.close(fd)


def test_poll_waits_no_longer_than_asked(poller: Poller) -> None:
    before = time.monotonic()
    assert poller.poll(0.01) == []
    assert time.monotonic() - before >= 0.009


def test_the_waker_ends_a_poll_from_another_thread(poller: Poller) -> None:
    waker = make_waker()
    poller.register_waker(waker)
    for _ in range(3):
        thread = threading.Thread(target=waker.wake)
        thread.start()
        poller.poll(None)
        thread.join()
        assert poller.poll(0) == []
    poller.close()
    waker.close()


def test_a_pipe_as_the_waker(poller: Poller) -> None:
    waker = PipeWaker()
    poller.register_waker(waker)
    for _ in range(3):
        waker.wake()
        poller.poll(None)
        assert poller.poll(0) == []
    poller.close()
    waker.close()


def test_another_thread_unregisters_during_a_poll(
    poller: Poller, pair: tuple[socket.socket, socket.socket], fast_switching: None
) -> None:
    """For example, one hub closes a socket while another hub waits for it."""
    waker = make_waker()
    poller.register_waker(waker)
    ours, theirs = pair
    finished = False

    def unregister() -> None:
        for _ in range(300):
            poller.unregister(ours.fileno())
            waker.wake()

    thread = threading.Thread(target=unregister)
    thread.start()
    while not finished:
        finished = not thread.is_alive()
        poller.register(ours.fileno())
        arm(poller, ours.fileno(), IN)
        poller.poll(0.001)
    thread.join()
    theirs.send(b"x")
    poller.register(ours.fileno())
    arm(poller, ours.fileno(), IN)
    assert reported(poller, ours.fileno(), 1) & IN
    poller.close()
    waker.close()


# A pool with each of the pollers.


def test_a_pool_runs_on_it(make: Callable[[], Poller]) -> None:
    """Servers and clients, big transfers, timers, wakes across hubs."""
    payload = bytes(range(256)) * 2000

    def serve(connection: greenpool.socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    def ask(address: Any) -> bytes:
        with greenpool.socket.create_connection(address) as connection:
            sender = greenpool.spawn(connection.sendall, payload)
            received = b""
            while len(received) < len(payload):
                received += connection.recv(65536)
            sender.get()
        greenpool.sleep(0.001)
        return received

    with greenpool.Runtime(pool_size=2, poller=make) as runtime:
        listener = greenpool.socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            while True:
                connection, _ = listener.accept()
                runtime.spawn(serve, connection)

        acceptor = runtime.spawn(accept)
        clients = [runtime.spawn(ask, listener.getsockname()) for _ in range(6)]
        assert all(client.get() == payload for client in clients)
        acceptor.kill()
        listener.close()


def test_a_timeout_and_a_close_end_a_wait_on_it(make: Callable[[], Poller]) -> None:
    def run() -> None:
        ours, theirs = greenpool.socket.socketpair()
        ours.settimeout(0.001)
        with pytest.raises(TimeoutError):
            ours.recv(1)
        ours.settimeout(None)
        waiting = greenpool.spawn(ours.recv, 1)
        waiting.quiet = True
        greenpool.sleep(0)
        ours.close()
        with pytest.raises(OSError) as raised:
            waiting.get()
        assert raised.value.errno == errno.EBADF
        theirs.close()

    with greenpool.Runtime(pool_size=1, poller=make) as runtime:
        runtime.spawn(run).get()


# The choice of the poller.


@needs_epoll
def test_epoll_is_the_first_choice() -> None:
    poller = make_poller()
    assert type(poller).__name__ == "EpollPoller"
    poller.close()


def test_kqueue_is_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "epoll", None)
    monkeypatch.setattr(native, "kqueue", lambda: "a kqueue")
    assert type(make_poller()).__name__ == "KqueuePoller"


def test_a_selector_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "epoll", None)
    monkeypatch.setattr(native, "kqueue", None)
    poller = make_poller()
    assert type(poller).__name__ == "SelectorPoller"
    poller.close()


def test_selectors2_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = stand_in_for_selectors2()
    monkeypatch.setitem(sys.modules, "selectors2", stand_in)
    assert load_selector_module().selectors is stand_in


def test_selectors2_that_does_not_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """selectors2 2.0.2 fails to import on Python 3.10 and newer."""
    (tmp_path / "selectors2.py").write_text("from collections import Mapping\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "selectors2", raising=False)
    module = load_selector_module()
    assert module.selectors.__name__ == "selectors"
    module.SelectorPoller().close()


def test_no_selectors2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "selectors2", None)  # importing it raises ModuleNotFoundError
    module = load_selector_module()
    assert module.selectors.__name__ == "selectors"
    # This is a copy, which patching the standard module leaves alone.
    assert module.selectors is not standard_selectors


def test_the_best_selector_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        def __init__(self) -> None:
            self.name = type(self).__name__

    for name in ("SelectSelector", "PollSelector", "DevpollSelector"):
        stand_in = types.ModuleType("selectors2")
        for known in ("SelectSelector", "PollSelector", "DevpollSelector"):
            setattr(stand_in, known, type(known, (Named,), {}))
            if known == name:
                break
        monkeypatch.setitem(sys.modules, "selectors2", stand_in)
        assert load_selector_module().SelectorPoller()._selector.name == name


# kqueue's translation, with a stand-in for the module.


class Kevent:
    def __init__(self, ident: int, filter: int, flags: int = 0) -> None:
        self.ident = ident
        self.filter = filter
        self.flags = flags


class Kqueue:
    """Records the changes and reports the events that the test gives."""

    def __init__(self) -> None:
        self.changes: list[tuple[int, int, int]] = []
        self.events: list[Kevent] = []
        self.timeouts: list[float | None] = []
        self.refused: dict[int, OSError] = {}
        self.closed = False

    def control(
        self, changes: list[Kevent] | None, max_events: int, timeout: float | None = None
    ) -> list[Kevent]:
        for change in changes or []:
            if change.filter in self.refused:
                raise self.refused[change.filter]
            self.changes.append((change.ident, change.filter, change.flags))
        if max_events:
            self.timeouts.append(timeout)
        events, self.events = self.events[:max_events], self.events[max_events:]
        return events

    def close(self) -> None:
        self.closed = True


# The values of macOS.
READ_FILTER, WRITE_FILTER, ADD, DELETE, CLEAR, EOF, ERROR = -1, -2, 0x1, 0x2, 0x20, 0x8000, 0x4000


@pytest.fixture
def fake_kqueue(monkeypatch: pytest.MonkeyPatch) -> tuple[kqueue.KqueuePoller, Kqueue]:
    stand_in = types.SimpleNamespace(
        kevent=Kevent,
        KQ_FILTER_READ=READ_FILTER,
        KQ_FILTER_WRITE=WRITE_FILTER,
        KQ_EV_ADD=ADD,
        KQ_EV_DELETE=DELETE,
        KQ_EV_CLEAR=CLEAR,
        KQ_EV_EOF=EOF,
        KQ_EV_ERROR=ERROR,
    )
    monkeypatch.setattr(kqueue, "select", stand_in)
    monkeypatch.setattr(native, "kqueue", Kqueue)
    poller = kqueue.KqueuePoller()
    return poller, poller._kqueue


def test_kqueue_registers_both_filters_edge_triggered(
    fake_kqueue: tuple[kqueue.KqueuePoller, Kqueue],
) -> None:
    poller, queue = fake_kqueue
    assert poller.arm is None
    poller.register(7)
    assert queue.changes == [(7, READ_FILTER, ADD | CLEAR), (7, WRITE_FILTER, ADD | CLEAR)]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EPIPE])
def test_kqueue_takes_what_can_only_be_read(
    number: int, fake_kqueue: tuple[kqueue.KqueuePoller, Kqueue]
) -> None:
    poller, queue = fake_kqueue
    queue.refused[WRITE_FILTER] = OSError(number, os.strerror(number))
    poller.register(7)
    assert queue.changes == [(7, READ_FILTER, ADD | CLEAR)]


@pytest.mark.parametrize("which", [READ_FILTER, WRITE_FILTER])
def test_kqueue_refuses_a_closed_number(which: int, fake_kqueue: tuple[kqueue.KqueuePoller, Kqueue]) -> None:
    poller, queue = fake_kqueue
    queue.refused[which] = OSError(errno.EBADF, os.strerror(errno.EBADF))
    with pytest.raises(OSError):
        poller.register(7)


def test_kqueue_unregisters_both_filters_whatever_they_say(
    fake_kqueue: tuple[kqueue.KqueuePoller, Kqueue],
) -> None:
    poller, queue = fake_kqueue
    poller.unregister(7)
    assert queue.changes == [(7, READ_FILTER, DELETE), (7, WRITE_FILTER, DELETE)]
    queue.refused = dict.fromkeys((READ_FILTER, WRITE_FILTER), OSError(errno.ENOENT, "unknown"))
    poller.unregister(7)
    queue.refused = {READ_FILTER: ValueError("closed")}  # type: ignore[dict-item]
    poller.unregister(7)


def test_kqueue_registers_the_waker_for_reading(
    fake_kqueue: tuple[kqueue.KqueuePoller, Kqueue],
) -> None:
    poller, queue = fake_kqueue
    waker = make_waker()
    poller.register_waker(waker)
    assert queue.changes == [(waker.fd, READ_FILTER, ADD | CLEAR)]
    waker.close()


@pytest.mark.parametrize(
    ("which", "flags", "mask"),
    [
        (READ_FILTER, 0, IN),
        (READ_FILTER, EOF, IN | RDHUP),
        (READ_FILTER, ERROR, IN | ERR),
        (WRITE_FILTER, 0, OUT),
        (WRITE_FILTER, EOF, OUT | HUP),
        (WRITE_FILTER, EOF | ERROR, OUT | HUP | ERR),
    ],
)
def test_kqueue_translates_its_events(
    which: int, flags: int, mask: int, fake_kqueue: tuple[kqueue.KqueuePoller, Kqueue]
) -> None:
    poller, queue = fake_kqueue
    queue.events = [Kevent(7, which, flags)]
    assert poller.poll(1.5) == [(7, mask)]
    assert queue.timeouts == [1.5]


def test_kqueue_is_closed(fake_kqueue: tuple[kqueue.KqueuePoller, Kqueue]) -> None:
    poller, queue = fake_kqueue
    poller.close()
    assert queue.closed
