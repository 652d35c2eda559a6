"""Registrations and descriptors: which event wakes which greenlet, and what is left behind."""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

import greenpool
from greenpool import GreenletExit, Timeout, socket
from greenpool._core.current import current_greenlet, current_hub
from greenpool._core.descriptor import Descriptor, wait_any, wait_descriptor
from greenpool._core.pollers import Poller, make_poller
from greenpool._core.pollers.events import ERR, HUP, IN, OUT, PRI, RDHUP, READ, WRITE
from greenpool._core.pollers.selector import SelectorPoller
from greenpool._core.registration import Registration

pytestmark = pytest.mark.usefixtures("leak_check")

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def fill(writer: int) -> None:
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 65536)


# Registration: one per descriptor and hub.


def test_registered_once_per_hub(pipe: Pipe) -> None:
    descriptor = Descriptor(pipe[0])
    here = descriptor.registration()
    assert descriptor.registration() is here
    with greenpool.Runtime(pool_size=1) as runtime:
        there = runtime.spawn(descriptor.registration).get()
        assert there is not here
        assert runtime.spawn(descriptor.registration).get() is there
        descriptor.close()
    assert here.fd not in current_hub().registrations


def test_a_closed_descriptor_registers_nowhere(pipe: Pipe) -> None:
    descriptor = Descriptor(pipe[0])
    descriptor.close()
    with pytest.raises(OSError) as raised:
        descriptor.registration()
    assert raised.value.errno == errno.EBADF


def test_registering_races_with_close(fast_switching: None) -> None:
    """The registration comes first and is taken back, or it is refused. No hub keeps a closed number."""
    with greenpool.Runtime(pool_size=2) as runtime:
        hubs = runtime._hubs.hubs
        for _ in range(150):
            reader, writer = os.pipe()
            descriptor = Descriptor(reader)
            outcomes = [runtime.spawn(descriptor.registration) for _ in range(2)]
            for outcome in outcomes:
                outcome.quiet = True
            descriptor.close()
            os.close(reader)
            os.close(writer)
            for outcome in outcomes:
                outcome.join()
                assert outcome.successful() or outcome.exception.errno == errno.EBADF
        for hub in hubs:
            runtime.handle().spawn_on(hub.index, int).get()
            assert not hub.registrations


# Events.


@pytest.mark.parametrize("mask", [IN, PRI, HUP, ERR, RDHUP, IN | RDHUP])
def test_what_wakes_a_reader(mask: int, pipe: Pipe) -> None:
    hub = current_hub()
    registration = Descriptor(pipe[0]).registration()
    waiting = greenpool.spawn(lambda: registration.wait_read(current_greenlet()))
    greenpool.sleep(0)
    hub.call_soon(hub._dispatch, [(pipe[0], mask)])
    assert waiting.get() is True
    assert registration.readable
    assert registration.hung_up is bool(mask & ~IN)
    hub.poller.unregister(pipe[0])
    registration.close()


@pytest.mark.parametrize("mask", [OUT, HUP, ERR])
def test_what_wakes_a_writer(mask: int, pipe: Pipe) -> None:
    hub = current_hub()
    fill(pipe[1])
    registration = Descriptor(pipe[1]).registration()
    waiting = greenpool.spawn(lambda: registration.wait_write(current_greenlet()))
    greenpool.sleep(0)
    hub.call_soon(hub._dispatch, [(pipe[1], mask)])
    assert waiting.get() is True
    hub.poller.unregister(pipe[1])
    registration.close()


def test_a_reader_is_not_woken_by_room_to_write(pipe: Pipe) -> None:
    hub = current_hub()
    registration = Descriptor(pipe[0]).registration()
    waiting = greenpool.spawn(lambda: registration.wait_read(current_greenlet(), 0.01))
    greenpool.sleep(0)
    hub.call_soon(hub._dispatch, [(pipe[0], OUT)])
    assert waiting.get() is False
    hub.poller.unregister(pipe[0])
    registration.close()


def test_events_of_unknown_numbers_are_nobody_s() -> None:
    current_hub()._dispatch([(12345, READ | WRITE)])


def test_several_greenlets_wait_for_each_direction() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        readers = [greenpool.spawn(socket.wait_read, ours, 20) for _ in range(3)]
        greenpool.sleep(0)
        theirs.send(b"x")
        for reader in readers:
            reader.get()


# Ways in which a wait ends.


def test_a_timeout_of_the_wait(pipe: Pipe) -> None:
    assert wait_descriptor(pipe[0], IN, 0.001) is False
    assert wait_descriptor(pipe[0], IN, 0) is False
    assert pipe[0] not in current_hub().registrations


def test_a_timeout_around_the_wait(pipe: Pipe) -> None:
    with pytest.raises(Timeout), Timeout(0.001):
        wait_descriptor(pipe[0], IN, None)
    assert pipe[0] not in current_hub().registrations


def test_a_kill(pipe: Pipe) -> None:
    waiting = greenpool.spawn(wait_descriptor, pipe[0], IN, None)
    greenpool.sleep(0)
    waiting.kill()
    assert isinstance(waiting.value, GreenletExit)
    assert pipe[0] not in current_hub().registrations
    # This event resumes nobody: the greenlet that waited is dead.
    os.write(pipe[1], b"x")
    greenpool.sleep(0.001)


def test_a_kill_that_was_pending_before_the_wait(pipe: Pipe) -> None:
    ended: list[str] = []

    def wait() -> None:
        # A kill of a greenlet that runs is raised where the greenlet parks next.
        greenpool.getcurrent()._kill(ValueError("pending"))
        try:
            wait_descriptor(pipe[0], IN, None)
        except ValueError:
            ended.append("raised")

    greenpool.spawn(wait).get()
    assert ended == ["raised"]


def test_an_event_and_a_kill_in_one_pass(pipe: Pipe) -> None:
    """The event came first, so it ends the wait. The kill is not lost: it comes at the next park."""
    events: list[str] = []
    hub = current_hub()

    def wait() -> None:
        wait_descriptor(pipe[0], IN, None)
        events.append("woken")
        greenpool.sleep(60)
        events.append("not reached")

    waiting = greenpool.spawn(wait)
    greenpool.sleep(0)
    os.write(pipe[1], b"x")
    hub.call_soon(hub._dispatch, [(pipe[0], IN)])
    hub.call_soon(waiting._kill, GreenletExit())
    waiting.join()
    assert events == ["woken"]


def test_an_event_and_a_timeout_in_one_pass(pipe: Pipe) -> None:
    hub = current_hub()
    registration = Descriptor(pipe[0]).registration()
    waiting = greenpool.spawn(lambda: registration.wait_read(current_greenlet(), 0.001))
    greenpool.sleep(0)
    hub.call_soon(hub._dispatch, [(pipe[0], IN)])
    assert waiting.get() is True
    greenpool.sleep(0.002)
    assert len(registration.__repr__()) > 0
    assert not registration.waiters()
    hub.poller.unregister(pipe[0])
    registration.close()


@pytest.mark.parametrize("from_other_thread", [False, True])
def test_close_wakes_with_ebadf(pipe: Pipe, from_other_thread: bool) -> None:
    descriptor = Descriptor(pipe[0])
    registration = descriptor.registration()
    waiting = [greenpool.spawn(lambda: registration.wait_read(current_greenlet())) for _ in range(3)]
    for greenlet in waiting:
        greenlet.quiet = True
    greenpool.sleep(0)
    if from_other_thread:
        thread = threading.Thread(target=descriptor.close)
        thread.start()
        thread.join()
    else:
        descriptor.close()
    greenpool.joinall(waiting)
    assert {each.exception.errno for each in waiting} == {errno.EBADF}


def test_a_bare_number_is_forgotten_when_its_last_wait_ends(pipe: Pipe) -> None:
    hub = current_hub()
    waiting = [greenpool.spawn(wait_descriptor, pipe[0], IN, None) for _ in range(2)]
    greenpool.sleep(0)
    waiting[0].kill()
    assert pipe[0] in hub.registrations
    os.write(pipe[1], b"x")
    waiting[1].get()
    assert pipe[0] not in hub.registrations


# Several owners of one number.


@pytest.fixture(params=["epoll or kqueue", "selector"])
def runtime(request: pytest.FixtureRequest) -> Iterator[greenpool.Runtime]:
    """A pool of one hub with an edge-triggered or a level-triggered poller."""
    poller: Callable[[], Poller] = SelectorPoller if request.param == "selector" else make_poller
    with greenpool.Runtime(pool_size=1, poller=poller) as made:
        yield made


def parked(wait: Callable[..., bool]) -> greenpool.Greenlet:
    """Spawn a greenlet that waits for 20 seconds at most."""
    waiting = greenpool.spawn(lambda: wait(current_greenlet(), 20))
    greenpool.sleep(0)
    return waiting


def test_a_reader_and_a_writer_share_what_the_hub_knows(runtime: greenpool.Runtime) -> None:
    """For example, two file objects of one terminal or socket, each with its own descriptor."""

    def both_wait() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            fill(ours.fileno())
            reading, writing = Descriptor(ours.fileno()), Descriptor(ours.fileno())
            reader = parked(reading.registration().wait_read)
            writer = parked(writing.registration().wait_write)
            theirs.recv(1_000_000)
            assert writer.get() is True
            theirs.send(b"x")
            assert reader.get() is True
            reading.close()
            writing.close()
            assert ours.fileno() not in current_hub().registrations

    runtime.spawn(both_wait).get()


def test_one_of_several_owners_is_closed(runtime: greenpool.Runtime) -> None:
    """The close wakes the reader, as the file may be closed too. The reader then waits for the same file."""

    def the_other_waits() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            one, other = Descriptor(ours.fileno()), Descriptor(ours.fileno())
            one.registration()
            reader = parked(other.registration().wait_read)
            one.close()
            assert reader.get() is True
            with pytest.raises(OSError, match="Bad file descriptor"):
                one.registration()
            reader = parked(other.registration().wait_read)
            assert not reader.ready()
            theirs.send(b"x")
            assert reader.get() is True
            other.close()
            assert ours.fileno() not in current_hub().registrations

    runtime.spawn(the_other_waits).get()


def test_one_of_several_owners_is_closed_on_another_thread(
    runtime: greenpool.Runtime, on_new_thread: Callable[..., None]
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one, other = Descriptor(ours.fileno()), Descriptor(ours.fileno())
        runtime.spawn(one.registration).get()
        registration = runtime.spawn(other.registration).get()
        for wake in (lambda: on_new_thread(one.close), lambda: theirs.send(b"x")):
            reader = runtime.spawn(lambda: registration.wait_read(current_greenlet(), 20))
            while not registration.waiters():
                greenpool.sleep(0)
            wake()
            assert reader.get() is True
        runtime.spawn(other.close).get()


def test_an_owner_that_was_dropped_is_none(runtime: greenpool.Runtime) -> None:
    """The dropped owner was not told of the close, and its number belongs to another file by now."""

    def replace() -> None:
        ours, theirs = socket.socketpair()
        number = ours.detach()
        dropped = Descriptor(number)
        stale = weakref.ref(dropped.registration())
        del dropped
        with theirs:
            os.dup2(theirs.fileno(), number)
        owner = Descriptor(number)
        registration = owner.registration()
        assert stale() is None and registration.owners == 1
        owner.close()
        os.close(number)

    runtime.spawn(replace).get()


def test_a_number_used_anew_behind_its_owner_s_back(runtime: greenpool.Runtime) -> None:
    """The owner lives, but the kernel does not know the new file until the owner registers it."""

    def replace() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            number = ours.detach()
            before = Descriptor(number)
            before.registration()
            other, peer = socket.socketpair()
            os.dup2(other.fileno(), number)
            other.close()
            owner = Descriptor(number)
            reader = parked(owner.registration().wait_read)
            with peer:
                peer.send(b"x")
                assert reader.get() is True
            before.close()
            owner.close()
            os.close(number)

    runtime.spawn(replace).get()


# Signal handlers.


def test_closed_by_a_signal_handler_while_a_crowd_is_woken(pipe: Pipe) -> None:
    """Each greenlet is woken once, and no event of the batch is lost."""
    descriptor = Descriptor(pipe[0])
    registration = descriptor.registration()
    waiting = [greenpool.spawn(wait_in_crowd, registration) for _ in range(4)]
    greenpool.sleep(0)

    class ClosingMask(int):
        """A mask that closes the descriptor when it is first read."""

        def __rand__(self, bits: int) -> int:
            descriptor.close()
            return bits & int(self)

    registration.wake_crowd(ClosingMask(IN))
    greenpool.joinall(waiting)
    assert [each.value for each in waiting] == [errno.EBADF] * 4


def wait_in_crowd(registration: Registration) -> int | None:
    try:
        registration.wait_read(current_greenlet())
    except OSError as error:
        # A greenlet that is woken twice would come through this sleep.
        greenpool.sleep(0.001)
        return error.errno
    return None


def test_the_last_look_at_a_wait_s_end(pipe: Pipe) -> None:
    """An event that came while the hub was busy came in time."""
    waiting = greenpool.spawn(wait_descriptor, pipe[0], IN, 0.1)
    greenpool.sleep(0)
    os.write(pipe[1], b"x")
    # Block the whole hub, its timers and its poller, until the time is over.
    time.sleep(0.11)
    assert waiting.get() is True


# Waits for several descriptors at once.


def test_wait_any_ends_with_the_first(pipe: Pipe) -> None:
    other_reader, other_writer = os.pipe()
    waiting = greenpool.spawn(wait_any, [(pipe[0], READ), (other_reader, READ)], None)
    greenpool.sleep(0)
    os.write(other_writer, b"x")
    assert waiting.get() is True
    assert not {pipe[0], other_reader} & set(current_hub().registrations)
    os.close(other_reader)
    os.close(other_writer)


def test_wait_any_is_woken_once_by_several(pipe: Pipe) -> None:
    fill(pipe[1])
    waiting = greenpool.spawn(wait_any, [(pipe[0], READ), (pipe[0], READ)], None)
    assert waiting.get() is True
    assert wait_any([(pipe[1], WRITE)], 0.001) is False


def test_wait_any_times_out(pipe: Pipe) -> None:
    assert wait_any([(pipe[0], READ)], 0.001) is False
    assert wait_any([], 0.001) is False
    assert pipe[0] not in current_hub().registrations


def test_many_descriptors_of_one_wait_become_ready_together(pipe: Pipe) -> None:
    """The ready queue then holds 1000 entries for one waiter. The next greenlet to park skips all but one."""
    pairs = [socket.socketpair() for _ in range(200)]
    # Wait for each descriptor five times.
    wanted = [(near.fileno(), READ) for near, _ in pairs] * 5
    waiting = greenpool.spawn(wait_any, wanted, None)
    greenpool.sleep(0)
    for _, far in pairs:
        far.send(b"x")
    passing = greenpool.spawn(lambda: [greenpool.sleep(0) for _ in range(50)])
    assert waiting.get()
    assert len(passing.get()) == 50
    for pair in pairs:
        for end in pair:
            end.close()
