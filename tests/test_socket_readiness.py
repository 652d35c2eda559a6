"""Readiness: what the kernel reports, when it reports that, and what it leaves out.

Each fact has a test. If the code got a fact wrong, the wait in its test would last for ever.
"""

from __future__ import annotations

import array
import errno
import gc
import os
import select
import socket as standard
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import greenpool
from greenpool import socket
from greenpool._core.current import current_hub
from greenpool._core.pollers import Poller, make_poller
from greenpool._core.pollers.events import HUP, IN, OUT, PRI, RDHUP
from greenpool._core.pollers.selector import SelectorPoller

pytestmark = pytest.mark.usefixtures("leak_check")

linux = pytest.mark.skipif(sys.platform != "linux", reason="pins a fact of Linux")

Pair = tuple[socket.socket, socket.socket]


def tcp_pair() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


@pytest.fixture
def tcp() -> Iterator[Pair]:
    ours, theirs = tcp_pair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def unix() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(params=["epoll or kqueue", "selector"])
def runtime(request: pytest.FixtureRequest) -> Iterator[greenpool.Runtime]:
    """A pool of two hubs with edge-triggered or level-triggered pollers."""
    poller: Callable[[], Poller] = SelectorPoller if request.param == "selector" else make_poller
    with greenpool.Runtime(pool_size=2, poller=poller) as made:
        yield made


def on_hub(runtime: greenpool.Runtime, index: int, function: Callable[..., Any], *args: Any) -> Any:
    greenlet = runtime.handle().spawn_on(index, function, *args)
    greenlet.quiet = True
    return greenlet


def until_parked(greenlet: greenpool.Greenlet) -> None:
    """Wait until a greenlet of any hub is parked on I/O."""
    while getattr(greenlet.carrier, "waiter", None) is None:
        assert not greenlet.ready(), greenlet.exception
        greenpool.sleep(0)


def received(sock: socket.socket, size: int = 1000) -> list[bytes]:
    """Return the chunks that recv returns until the end of the stream."""
    chunks = []
    while data := sock.recv(size):
        chunks.append(data)
    return chunks


# The short-read rule, and RDHUP, which makes it safe.


def test_a_short_read_drains_a_tcp_socket(tcp: Pair) -> None:
    """The next recv then parks without asking the kernel, and later data wakes it."""
    ours, theirs = tcp
    receiver = greenpool.spawn(received, ours)
    for number in range(5):
        until_parked(receiver)
        registration = ours._registration
        assert registration is not None and not registration.readable
        theirs.send(b"%d" % number)
        greenpool.sleep(0.001)
    theirs.close()
    assert receiver.get() == [b"0", b"1", b"2", b"3", b"4"]


def test_data_and_fin_in_one_edge(runtime: greenpool.Runtime) -> None:
    """The read is short, the end is already there, and no further edge will come."""
    for _ in range(20):
        ours, theirs = tcp_pair()
        receiver = on_hub(runtime, 0, received, ours)
        until_parked(receiver)
        theirs.sendall(b"the last words")
        theirs.close()
        assert receiver.get() == [b"the last words"]
        ours.close()


def test_data_and_a_half_close_in_one_edge(runtime: greenpool.Runtime) -> None:
    ours, theirs = tcp_pair()
    receiver = on_hub(runtime, 0, received, ours)
    until_parked(receiver)
    theirs.sendall(b"request")
    theirs.shutdown(socket.SHUT_WR)
    assert receiver.get() == [b"request"]
    ours.sendall(b"answer")
    ours.close()
    assert received(theirs) == [b"answer"]
    theirs.close()


def test_data_and_a_reset_in_one_edge(runtime: greenpool.Runtime) -> None:
    ours, theirs = tcp_pair()
    receiver = on_hub(runtime, 0, received, ours)
    until_parked(receiver)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.sendall(b"x")
    theirs.close()
    try:
        assert receiver.get() == [b"x"]
    except ConnectionResetError:
        pass  # the reset may overtake the data
    ours.close()


def test_the_closed_mark_stays_over_short_reads(tcp: Pair) -> None:
    """After one edge there are several short reads. Only EAGAIN proves that nothing is left."""
    ours, theirs = tcp
    receiver = greenpool.spawn(received, ours, 4)
    until_parked(receiver)
    theirs.sendall(b"0123456789")
    theirs.shutdown(socket.SHUT_WR)
    assert receiver.get() == [b"0123", b"4567", b"89"]


@linux
def test_epoll_reports_data_and_fin_as_one_edge(tcp: Pair) -> None:
    """The kernel's own behaviour: data and FIN come as one edge."""
    ours, theirs = tcp
    poller = make_poller()
    poller.register(ours.fileno())
    poller.poll(0)
    theirs.sendall(b"x")
    theirs.shutdown(socket.SHUT_WR)
    masks = poller.poll(1)
    while masks[-1][1] & RDHUP == 0:
        masks += poller.poll(1)
    assert masks[-1][1] & (IN | RDHUP) == IN | RDHUP
    assert poller.poll(0) == []
    poller.close()


@linux
def test_an_unconnected_tcp_socket_reports_a_hang_up() -> None:
    """For this reason a socket is registered when it first waits, not when it is made."""
    poller = make_poller()
    with standard.socket() as unconnected:
        poller.register(unconnected.fileno())
        assert poller.poll(0) == [(unconnected.fileno(), OUT | HUP)]
    poller.close()


def test_a_socket_is_not_registered_before_it_waits(tcp: Pair) -> None:
    ours, theirs = tcp
    hub = current_hub()
    theirs.sendall(b"x")
    assert ours.recv(10) == b"x"
    assert theirs.fileno() not in hub.registrations


# Events that split reads.


def test_an_urgent_mark_splits_reads(runtime: greenpool.Runtime) -> None:
    """recv stops at the mark: the read is short, data is left behind the mark, and no further edge comes."""
    for _ in range(10):
        ours, theirs = tcp_pair()
        receiver = on_hub(runtime, 0, received, ours)
        until_parked(receiver)
        theirs.send(b"before")
        theirs.send(b"!", socket.MSG_OOB)
        theirs.send(b"after")
        # The test must hold if all of this comes before the receiver runs again, and also if it comes later.
        theirs.shutdown(socket.SHUT_WR)
        assert b"".join(receiver.get()) == b"beforeafter"
        ours.close()
        theirs.close()


def test_an_urgent_mark_splits_reads_without_any_end(tcp: Pair) -> None:
    """Like the test above, but no later event can wake the receiver."""
    ours, theirs = tcp
    collected = bytearray()

    def collect() -> None:
        while len(collected) < len(b"beforeafter"):
            collected.extend(ours.recv(1000))

    receiver = greenpool.spawn(collect)
    until_parked(receiver)
    theirs.send(b"before")
    theirs.send(b"!", socket.MSG_OOB)
    theirs.send(b"after")
    receiver.join(20)
    assert receiver.ready()
    assert bytes(collected) == b"beforeafter"


@linux
def test_epoll_reports_an_urgent_mark(tcp: Pair) -> None:
    """The kernel's own behaviour: PRI tells that reads may be split."""
    ours, theirs = tcp
    poller = make_poller()
    poller.register(ours.fileno())
    poller.poll(0)
    theirs.send(b"!", socket.MSG_OOB)
    assert poller.poll(1)[-1][1] & PRI
    poller.close()


@pytest.mark.skipif(not hasattr(standard, "SCM_RIGHTS"), reason="no SCM_RIGHTS here")
def test_passed_descriptors_split_reads(unix: Pair) -> None:
    """On AF_UNIX recv stops before data that carries descriptors, so the short-read rule does not hold."""
    ours, theirs = unix
    collected = bytearray()

    def collect() -> None:
        while len(collected) < 6:
            collected.extend(ours.recv(1000))

    receiver = greenpool.spawn(collect)
    until_parked(receiver)
    theirs.send(b"ab")
    theirs.sendmsg([b"cd"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
    theirs.send(b"ef")
    receiver.join(20)
    assert receiver.ready()
    assert bytes(collected) == b"abcdef"


@pytest.mark.parametrize("family", ["unix", "udp"])
def test_datagrams_are_not_drained_by_a_short_read(family: str) -> None:
    """Each recv takes one datagram, no matter how many bytes it asked for."""
    if family == "unix":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    else:
        ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        ours.bind(("127.0.0.1", 0))
        theirs.connect(ours.getsockname())
    receiver = greenpool.spawn(lambda: [ours.recv(1000) for _ in range(5)])
    until_parked(receiver)
    for number in range(5):
        theirs.send(b"%d" % number)
    assert receiver.get() == [b"0", b"1", b"2", b"3", b"4"]
    ours.close()
    theirs.close()


def test_a_listener_takes_several_connections_of_one_edge() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = greenpool.spawn(lambda: [listener.accept()[0] for _ in range(5)])
        until_parked(acceptor)
        clients = [standard.create_connection(listener.getsockname()) for _ in range(5)]
        for each in [*acceptor.get(), *clients]:
            each.close()


# Closing.


def wait_in(operation: str) -> tuple[socket.socket, Callable[[], object], list[socket.socket]]:
    """Return a socket, a call that parks on it, and the other sockets to close."""
    if operation == "accept":
        listener = socket.create_server(("127.0.0.1", 0))
        return listener, listener.accept, []
    ours, theirs = tcp_pair()
    if operation == "recv":
        return ours, lambda: ours.recv(1), [theirs]
    if operation == "recv_into":
        return ours, lambda: ours.recv_into(bytearray(1)), [theirs]
    if operation == "recv with a timeout":
        ours.settimeout(60)
        return ours, lambda: ours.recv(1), [theirs]
    return ours, lambda: ours.sendall(b"x" * 100_000_000), [theirs]


OPERATIONS = ["accept", "recv", "recv_into", "recv with a timeout", "sendall"]


@pytest.mark.parametrize("where", ["same hub", "other hub", "plain thread"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_close_wakes_who_waits(runtime: greenpool.Runtime, operation: str, where: str) -> None:
    """The kernel reports nothing, so close itself wakes the waiter with EBADF."""
    sock, wait, others = wait_in(operation)
    waiting = on_hub(runtime, 0, wait)
    until_parked(waiting)
    if where == "plain thread":
        thread = threading.Thread(target=sock.close)
        thread.start()
        thread.join()
    else:
        on_hub(runtime, 0 if where == "same hub" else 1, sock.close).get()
    with pytest.raises(OSError) as raised:
        waiting.get()
    assert raised.value.errno == errno.EBADF
    for other in others:
        other.close()


def test_close_wakes_all_who_wait(tcp: Pair) -> None:
    ours, _ = tcp
    operations: list[Callable[[], object]] = [
        lambda: ours.recv(1),
        lambda: ours.recv(1),
        lambda: ours.recv(1),
        lambda: ours.sendall(b"x" * 100_000_000),
        lambda: ours.sendall(b"y" * 100_000_000),
    ]
    waiting = [greenpool.spawn(operation) for operation in operations]
    for greenlet in waiting:
        greenlet.quiet = True
        until_parked(greenlet)
    ours.close()
    greenpool.joinall(waiting)
    assert [getattr(each.exception, "errno", None) for each in waiting] == [errno.EBADF] * 5


def test_close_wakes_waiters_on_two_hubs(runtime: greenpool.Runtime) -> None:
    ours, theirs = tcp_pair()
    waiting = [on_hub(runtime, index, ours.recv, 1) for index in (0, 1)]
    for greenlet in waiting:
        until_parked(greenlet)
    ours.close()
    for greenlet in waiting:
        greenlet.join()
        assert greenlet.exception.errno == errno.EBADF
    theirs.close()


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_RDWR])
def test_shutdown_wakes_a_reader(runtime: greenpool.Runtime, how: int) -> None:
    ours, theirs = tcp_pair()
    waiting = on_hub(runtime, 0, ours.recv, 1)
    until_parked(waiting)
    ours.shutdown(how)
    assert waiting.get() == b""
    assert on_hub(runtime, 0, ours.recv, 1).get() == b""
    ours.close()
    theirs.close()


def test_shutdown_is_seen_by_a_hub_that_has_noted_drained(runtime: greenpool.Runtime) -> None:
    """Each hub sees the shutdown, no matter which one used the socket last."""
    ours, theirs = tcp_pair()
    for index in (0, 1):
        receiver = on_hub(runtime, index, ours.recv, 10)
        until_parked(receiver)
        theirs.send(b"x")
        assert receiver.get() == b"x"
    ours.shutdown(socket.SHUT_RDWR)
    assert [on_hub(runtime, index, ours.recv, 10).get() for index in (0, 1)] == [b"", b""]
    ours.close()
    theirs.close()


def test_shutdown_of_a_listener_wakes_accept() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    waiting = greenpool.spawn(listener.accept)
    waiting.quiet = True
    until_parked(waiting)
    if sys.platform == "linux":
        listener.shutdown(socket.SHUT_RDWR)
        waiting.join()
        assert isinstance(waiting.exception, OSError)
    listener.close()
    waiting.join()


def test_detach_wakes_who_waits(tcp: Pair) -> None:
    ours, _ = tcp
    waiting = greenpool.spawn(ours.recv, 1)
    waiting.quiet = True
    until_parked(waiting)
    fd = ours.detach()
    waiting.join()
    assert waiting.exception.errno == errno.EBADF
    os.close(fd)


def test_peer_closes_while_a_writer_waits(tcp: Pair) -> None:
    ours, theirs = tcp
    waiting = greenpool.spawn(ours.sendall, b"x" * 100_000_000)
    waiting.quiet = True
    until_parked(waiting)
    theirs.close()
    waiting.join()
    assert isinstance(waiting.exception, (BrokenPipeError, ConnectionResetError))


# Numbers: a closed one is used again, and a duplicate outlives the close of the original.


def test_a_number_is_reused_while_its_old_event_is_in_the_batch() -> None:
    """The event of the closed socket does not reach the socket that has its number now."""
    trigger, trigger_peer = socket.socketpair()
    old, old_peer = tcp_pair()
    new: list[Pair] = []

    def close_and_reuse() -> None:
        trigger.recv(1)
        number = old.fileno()
        old.close()
        while True:
            pair = socket.socketpair()
            new.append(pair)
            if number in (pair[0].fileno(), pair[1].fileno()):
                return

    first = greenpool.spawn(close_and_reuse)
    second = greenpool.spawn(old.recv, 1)
    second.quiet = True
    until_parked(first)
    until_parked(second)
    # Both events are in the next batch.
    trigger_peer.send(b"x")
    old_peer.send(b"x")
    greenpool.joinall([first, second])
    assert isinstance(second.exception, OSError) or second.value == b"x"
    ours, theirs = new[-1]
    receiver = greenpool.spawn(ours.recv, 10)
    until_parked(receiver)
    theirs.send(b"new")
    assert receiver.get() == b"new"
    for sock in (trigger, trigger_peer, old_peer, *(sock for pair in new for sock in pair)):
        sock.close()


def test_a_number_is_reused_on_the_same_hub_many_times(runtime: greenpool.Runtime) -> None:
    def use() -> None:
        for _ in range(50):
            ours, theirs = socket.socketpair()
            receiver = greenpool.spawn(ours.recv, 10)
            greenpool.sleep(0)
            theirs.send(b"x")
            assert receiver.get() == b"x"
            ours.close()
            theirs.close()

    greenlets = [runtime.spawn(use) for _ in range(4)]
    for greenlet in greenlets:
        greenlet.get()


def test_a_socket_that_was_dropped_leaves_its_number_to_the_next() -> None:
    """The socket was dropped without close, so the hub was never told."""
    ours, theirs = socket.socketpair()
    with pytest.raises(TimeoutError):
        ours.settimeout(0.001)
        ours.recv(1)
    number = ours.fileno()
    with pytest.warns(ResourceWarning):
        del ours
        gc.collect()
    theirs.close()
    pair = socket.socketpair()
    ours, theirs = pair if pair[0].fileno() == number else pair[::-1]
    assert ours.fileno() == number
    receiver = greenpool.spawn(ours.recv, 10)
    until_parked(receiver)
    theirs.send(b"x")
    assert receiver.get() == b"x"
    ours.close()
    theirs.close()


def test_a_bare_number_is_waited_for_after_a_dropped_socket_had_it() -> None:
    ours, theirs = socket.socketpair()
    with pytest.raises(TimeoutError):
        ours.settimeout(0.001)
        ours.recv(1)
    number = ours.fileno()
    with pytest.warns(ResourceWarning):
        del ours
        gc.collect()
    theirs.close()
    reader, writer = os.pipe()
    assert reader == number
    waiting = greenpool.spawn(socket.wait_read, reader, 20)
    until_parked(waiting)
    os.write(writer, b"x")
    waiting.get()
    os.close(reader)
    os.close(writer)


def test_dup_and_close(tcp: Pair) -> None:
    """The duplicate goes on when the original is closed, and the original when the duplicate is closed."""
    ours, theirs = tcp
    waiting = greenpool.spawn(ours.recv, 10)
    until_parked(waiting)
    theirs.send(b"first")
    assert waiting.get() == b"first"
    with ours.dup() as second:
        ours.close()
        waiting = greenpool.spawn(second.recv, 10)
        until_parked(waiting)
        theirs.send(b"second")
        assert waiting.get() == b"second"


@linux
def test_events_that_still_name_a_closed_number_are_nobody_s(unix: Pair) -> None:
    """epoll goes on reporting a number closed behind our back while a duplicate keeps the file open."""
    ours, theirs = unix
    waiting = greenpool.spawn(ours.recv, 10)
    until_parked(waiting)
    theirs.send(b"x")
    assert waiting.get() == b"x"
    kept = os.dup(ours.fileno())
    number = ours.fileno()
    hub = current_hub()
    registration = hub.registrations.pop(number)
    theirs.send(b"an event for a number that the hub does not know")
    greenpool.sleep(0.001)
    greenpool.sleep(0.001)
    hub.registrations[number] = registration
    os.close(kept)


# Hubs.


def test_two_hubs_wait_for_one_socket(runtime: greenpool.Runtime) -> None:
    """Both hubs get the edge. The kernel gives the data to one of them, and the other waits on."""
    ours, theirs = socket.socketpair()
    receivers = [on_hub(runtime, index, ours.recv, 1) for index in (0, 1)]
    for receiver in receivers:
        until_parked(receiver)
    theirs.send(b"a")
    theirs.send(b"b")
    assert sorted(receiver.get() for receiver in receivers) == [b"a", b"b"]
    ours.close()
    theirs.close()


def test_one_hub_reads_and_the_other_writes(runtime: greenpool.Runtime) -> None:
    ours, theirs = tcp_pair()
    payload = os.urandom(3_000_000)

    def read(sock: socket.socket) -> bytes:
        data = bytearray()
        while len(data) < len(payload):
            data += sock.recv(65536)
        return bytes(data)

    greenlets = [
        on_hub(runtime, 0, read, ours),
        on_hub(runtime, 1, ours.sendall, payload),
        on_hub(runtime, 1, read, theirs),
        on_hub(runtime, 0, theirs.sendall, payload),
    ]
    values = [greenlet.get() for greenlet in greenlets]
    assert values[0] == values[2] == payload
    ours.close()
    theirs.close()


def test_a_socket_moves_from_hub_to_hub(runtime: greenpool.Runtime) -> None:
    ours, theirs = tcp_pair()
    for number in range(20):
        receiver = on_hub(runtime, number % 2, ours.recv, 10)
        until_parked(receiver)
        theirs.send(b"%d" % number)
        assert receiver.get() == b"%d" % number
    # The socket also serves this thread's own hub, which is not one of the pool's.
    receiver = greenpool.spawn(ours.recv, 10)
    until_parked(receiver)
    theirs.send(b"here")
    assert receiver.get() == b"here"
    ours.close()
    theirs.close()


def test_a_socket_outlives_the_hub_that_it_was_used_on() -> None:
    ours, theirs = tcp_pair()
    for number in range(3):
        with greenpool.Runtime(pool_size=1) as runtime:
            receiver = runtime.spawn(ours.recv, 10)
            until_parked(receiver)
            theirs.send(b"%d" % number)
            assert receiver.get() == b"%d" % number
    ours.close()
    theirs.close()


def test_a_peer_that_closes_is_seen_on_both_hubs(runtime: greenpool.Runtime) -> None:
    ours, theirs = tcp_pair()
    receivers = [on_hub(runtime, index, ours.recv, 1) for index in (0, 1)]
    for receiver in receivers:
        until_parked(receiver)
    theirs.close()
    assert [receiver.get() for receiver in receivers] == [b"", b""]
    ours.close()


def test_many_readers_of_one_socket(tcp: Pair) -> None:
    """One edge wakes all readers, and each one gets its byte in the end."""
    ours, theirs = tcp
    receivers = [greenpool.spawn(ours.recv, 1) for _ in range(10)]
    for receiver in receivers:
        until_parked(receiver)
    for number in range(10):
        theirs.send(b"%d" % number)
    assert sorted(receiver.get() for receiver in receivers) == [b"%d" % each for each in range(10)]


# Descriptors that a poller does not take.


def test_files_directories_and_null_are_always_ready(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path, Path(os.devnull)):
        fd = os.open(path, os.O_RDONLY)
        socket.wait_read(fd, 0)
        if not path.is_dir():
            socket.wait_write(fd, 0)
        os.close(fd)


def test_waiting_for_a_closed_number() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(OSError) as raised:
        socket.wait_read(reader, 1)
    assert raised.value.errno == errno.EBADF
    os.close(writer)


def test_a_pipe_is_waited_for_by_its_number() -> None:
    reader, writer = os.pipe()
    waiting = greenpool.spawn(socket.wait_read, reader)
    until_parked(waiting)
    assert reader in current_hub().registrations
    os.write(writer, b"x")
    waiting.get()
    # Nobody tells the hub when a bare number is closed, so the hub does not keep it.
    assert reader not in current_hub().registrations
    os.close(reader)
    os.close(writer)


def test_a_socket_takes_over_a_number_that_somebody_waits_for(unix: Pair) -> None:
    ours, theirs = unix
    by_number = greenpool.spawn(socket.wait_read, ours.fileno())
    until_parked(by_number)
    by_object = greenpool.spawn(ours.recv, 10)
    until_parked(by_object)
    theirs.send(b"x")
    assert by_object.get() == b"x"
    by_number.kill()
    again = greenpool.spawn(ours.recv, 10)
    until_parked(again)
    theirs.send(b"y")
    assert again.get() == b"y"


# Fairness.


def test_a_socket_that_never_says_eagain_does_not_starve_the_others(tcp: Pair) -> None:
    """A greenlet yields after a budget of operations, no matter how much there is to read."""
    ours, theirs = tcp
    turns = 0

    def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            greenpool.sleep(0)

    counter = greenpool.spawn(count_turns)
    theirs.sendall(b"x" * 2000)
    for _ in range(2000):
        ours.recv(1)
    counter.kill()
    assert turns >= 2000 // 128 - 1


@pytest.mark.parametrize("operation", ["send", "sendall", "recv_into", "recvfrom", "sendto"])
def test_every_operation_is_counted(operation: str) -> None:
    ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    ours.bind(("127.0.0.1", 0))
    theirs.connect(ours.getsockname())
    turns = []
    calls: dict[str, Callable[[], object]] = {
        "send": lambda: theirs.send(b"x"),
        "sendall": lambda: theirs.sendall(b"x"),
        "sendto": lambda: ours.sendto(b"x", theirs.getsockname()),
        "recv_into": lambda: (theirs.send(b"x"), ours.recv_into(bytearray(9))),
        "recvfrom": lambda: (theirs.send(b"x"), ours.recvfrom(9)),
    }

    def take_turns() -> None:
        while True:
            turns.append(1)
            greenpool.sleep(0)

    counter = greenpool.spawn(take_turns)
    for _ in range(300):
        calls[operation]()
    counter.kill()
    assert turns
    ours.close()
    theirs.close()


@linux
def test_modifying_with_the_same_mask_reports_the_present_readiness(unix: Pair) -> None:
    """The kernel's own behaviour, which a hub uses to resync a registration."""
    ours, theirs = unix
    theirs.send(b"x")
    with select.epoll() as epoll:
        mask = select.EPOLLIN | select.EPOLLET
        epoll.register(ours.fileno(), mask)
        for _ in range(3):
            assert epoll.poll(0) == [(ours.fileno(), select.EPOLLIN)]
            assert epoll.poll(0) == []
            epoll.modify(ours.fileno(), mask)


@pytest.mark.parametrize("bufsize", [-1, 2**70, "10", 1.5, None])
def test_a_bad_size_is_refused_before_the_wait(bufsize: Any) -> None:
    """The call refuses it even if the socket is known to have nothing to read."""
    left, right = socket.socketpair()
    with left, right:
        for call in (right.recv, right.recvfrom, right.recvmsg):
            left.send(b"x")
            assert right.recv(10) == b"x"
            with greenpool.Timeout(5), pytest.raises((ValueError, OverflowError, TypeError, MemoryError)):
                call(bufsize)


@pytest.mark.parametrize(("buffer", "nbytes"), [(b"read only", 0), (bytearray(5), -1), (bytearray(5), 6)])
def test_a_bad_buffer_is_refused_before_the_wait(buffer: Any, nbytes: int) -> None:
    left, right = socket.socketpair()
    with left, right:
        left.send(b"x")
        assert right.recv(10) == b"x"
        with greenpool.Timeout(5), pytest.raises((TypeError, ValueError)):
            right.recv_into(buffer, nbytes)


def test_nothing_asked_for_is_nothing_to_wait_for() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.send(b"x")
        assert right.recv(10) == b"x"
        with greenpool.Timeout(5):
            assert right.recv(0) == b""
            right.settimeout(1)
            assert right.recv(0) == b""
