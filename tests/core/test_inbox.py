"""The inbox: accepted posts arrive once and in order, and a hub that sleeps is woken once."""

from __future__ import annotations

import os
import resource
import select
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from time import monotonic
from types import FrameType
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import greenpool
from greenpool import SpawnError
from greenpool._core import wakers as wakers_module
from greenpool._core.inbox import Call, Inbox
from greenpool._core.spin import make_await_post_in_python
from greenpool._core.wakers import OWN_NUMBERS, EventWaker, PipeWaker, Waker, make_waker, renumbered

pytestmark = pytest.mark.usefixtures("leak_check")


class CountingWaker:
    """Stands in for a waker that has a descriptor. Counts the writes."""

    def __init__(self) -> None:
        self.fd = -1
        self.writes = 0

    def wake(self) -> None:
        self.writes += 1

    def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


class InboxMachine(RuleBasedStateMachine):
    """An inbox beside a model of it.

    The model states what a hub relies on:

    - A post is refused only after the inbox is closed, a spawn as soon as the inbox stops accepting.
    - The hub may sleep only if it has nothing to do.
    - The first post after that writes to the waker. The next posts do not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waker = CountingWaker()
        self.inbox = Inbox(self.waker)  # type: ignore[arg-type]
        self.accepted: list[int] = []
        self.taken: list[int] = []
        self.number = 0
        self.writes = 0
        self.asleep = False
        self.accepting = True
        self.closed = False

    def put(self, post: Callable[[object], bool], allowed: bool) -> None:
        self.number += 1
        assert post(self.number) is allowed
        if allowed:
            self.accepted.append(self.number)
            self.writes += self.asleep
            self.asleep = False

    @rule(times=st.integers(1, 3))
    def post(self, times: int) -> None:
        for _ in range(times):
            self.put(self.inbox.post, not self.closed)

    @rule()
    def take(self) -> None:
        while self.inbox.queue:
            self.taken.append(self.inbox.queue.popleft())

    @precondition(lambda self: not self.closed)
    @rule()
    def go_to_sleep(self) -> None:
        self.asleep = self.taken == self.accepted
        assert self.inbox.may_sleep() is self.asleep

    @rule()
    def wake_up(self) -> None:
        self.inbox.awake()
        self.asleep = False

    @rule()
    def stop(self) -> None:
        with self.inbox.lock:
            self.inbox.accepting = False
        self.accepting = False

    @rule()
    def close(self) -> None:
        may_close = self.taken == self.accepted
        assert self.inbox.close_if_empty() is may_close
        if may_close:
            self.closed = True
            self.accepting = False

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.taken + list(self.inbox.queue) == self.accepted

    @invariant()
    def a_sleeper_has_nothing_to_do(self) -> None:
        assert self.inbox.asleep is self.asleep
        assert not (self.inbox.asleep and self.inbox.queue)

    @invariant()
    def one_write_for_each_sleep(self) -> None:
        assert self.waker.writes == self.writes


TestInbox = pytest.mark.slow(InboxMachine.TestCase)


def test_ctrl_c_in_a_wake_leaves_no_hub_asleep() -> None:
    class Interrupted(CountingWaker):
        """A waker that gets a Ctrl-C just before its first write."""

        interrupted = False

        def wake(self) -> None:
            if not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
            super().wake()

    waker = Interrupted()
    inbox = Inbox(waker)  # type: ignore[arg-type]
    assert inbox.may_sleep()
    with pytest.raises(KeyboardInterrupt):
        inbox.post("first")
    assert waker.writes == 1
    assert list(inbox.queue) == ["first"]


# Several threads post.


def test_eight_threads_post_to_a_hub_that_sleeps(fast_switching: None) -> None:
    """Each item arrives once, each thread's items in order. Each sleep of the hub costs at most one write."""

    class Counting(EventWaker if hasattr(select, "epoll") else PipeWaker):  # type: ignore[misc]
        __slots__ = ("writes",)

        def wake(self) -> None:
            self.writes += 1  # the poster holds the inbox's lock
            super().wake()

    waker = Counting()
    waker.writes = 0
    inbox = Inbox(waker)
    threads, items = 8, 2000
    refused = []

    def post(thread: int) -> None:
        for item in range(items):
            if not inbox.post((thread, item)):
                refused.append((thread, item))

    senders = [threading.Thread(target=post, args=(thread,)) for thread in range(threads)]
    for sender in senders:
        sender.start()
    taken: list[tuple[int, int]] = []
    lay_down = 0
    poll = select.poll()
    poll.register(waker.fd, select.POLLIN)
    while len(taken) < threads * items:
        while inbox.queue:
            taken.append(inbox.queue.popleft())
        if len(taken) < threads * items:
            lay_down += 1
            if inbox.may_sleep():
                poll.poll()
                waker.drain()
                inbox.awake()
    for sender in senders:
        sender.join()
    waker.close()
    assert not refused
    for thread in range(threads):
        assert [item for sender, item in taken if sender == thread] == list(range(items))
    assert waker.writes <= lay_down


def test_no_lonely_post_finds_a_hub_that_sleeps_on(fast_switching: None) -> None:
    """Each thread waits for its answer, so hubs fall asleep and are woken every time."""

    def ask() -> None:
        for number in range(500):
            assert handle.spawn(abs, -number).get(timeout=30) == number

    with greenpool.Runtime(pool_size=3) as runtime:
        handle = runtime.handle()
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_a_hub_carries_out_what_is_posted_while_others_post(fast_switching: None) -> None:
    """Without the GIL a deque cannot be copied while another thread appends to it."""
    hub = greenpool.get_hub()
    calls: list[int] = []
    ending = threading.Event()

    def post_all_the_time() -> None:
        while not ending.is_set():
            call = Call(int)
            hub.inbox.post(call)
            hub.inbox.take_back(call)

    threads = [threading.Thread(target=post_all_the_time) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(300):
            hub.call_soon(calls.append, number)
            hub.carry_out_posted(calls.append)
            hub.call_soon(calls.append, -1)
            assert hub.take_back(calls.append, -1)
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert calls == list(range(300))


def test_eight_threads_spawn_while_the_runtime_shuts_down(fast_switching: None) -> None:
    """Every spawn either raised or ran."""
    runtime = greenpool.Runtime(pool_size=2)
    handle = runtime.handle()
    ran: list[tuple[int, int]] = []
    accepted: list[tuple[int, int]] = []
    started = threading.Barrier(9)

    def spawn_until_refused(thread: int) -> None:
        started.wait()
        number = 0
        while True:
            number += 1
            try:
                handle.spawn(ran.append, (thread, number))
            except SpawnError:
                return
            accepted.append((thread, number))

    threads = [threading.Thread(target=spawn_until_refused, args=(each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    while len(ran) < 500:
        greenpool.sleep(0.001)
    runtime.shutdown()
    for thread in threads:
        thread.join()
    assert sorted(ran) == sorted(accepted)


def test_one_write_for_a_burst_of_spawns(monkeypatch: pytest.MonkeyPatch) -> None:
    with greenpool.Runtime(pool_size=1) as runtime:
        (hub,) = runtime._hubs.hubs
        asleep = threading.Event()
        go_on = threading.Event()
        # This call blocks the hub in its own loop, so the hub is awake during the whole burst.
        hub.inbox.post(greenpool._core.inbox.Call(lambda: (asleep.set(), go_on.wait())))
        asleep.wait()
        writes = []
        real = hub.inbox.waker

        class Counting:
            fd = real.fd
            close = real.close
            drain = real.drain

            def wake(self) -> None:
                writes.append(1)
                real.wake()

        hub.inbox.waker = Counting()  # type: ignore[assignment]
        greenlets = [runtime.spawn(int) for _ in range(100)]
        assert not writes
        go_on.set()
        for greenlet in greenlets:
            greenlet.join()


# Spinning.


def sleep_until_a_post(inbox: Inbox, seconds: float) -> None:
    """Sleep until a post comes after *seconds*, without spinning first."""
    inbox._short_sleeps = min(inbox._short_sleeps, inbox._spin_after - 1)
    assert inbox.may_sleep()
    inbox.post("an answer")
    # A busy machine may pause this thread here, so a sleep of no time began in the future.
    inbox._lay_down = monotonic() - seconds if seconds else inf
    inbox.awake()
    inbox.queue.clear()


def spins(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether the hub would spin before its next sleep."""
    spun: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "_comes_soon", lambda _self: spun.append(True))
        inbox.may_sleep()
    return bool(spun)


def test_a_hub_spins_after_a_short_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(CountingWaker())  # type: ignore[arg-type]
    assert not spins(inbox, monkeypatch)
    sleep_until_a_post(inbox, 0)
    assert spins(inbox, monkeypatch)
    sleep_until_a_post(inbox, 1)
    assert not spins(inbox, monkeypatch)


def test_who_spun_in_vain_spins_less_and_less_until_it_pays_again(monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(CountingWaker())  # type: ignore[arg-type]
    for short_sleeps in (1, 2, 4, 8, 16, 32, 64, 128, 256, 256):
        for _ in range(short_sleeps):
            assert not spins(inbox, monkeypatch)
            sleep_until_a_post(inbox, 0)
        assert spins(inbox, monkeypatch)
        assert not inbox._comes_soon()
    inbox.post("an answer")
    assert inbox._comes_soon()
    inbox.queue.clear()
    sleep_until_a_post(inbox, 0)
    assert spins(inbox, monkeypatch)


Spin = Callable[[deque[Any], float], bool]


@pytest.fixture(params=["twin", "extension"])
def await_post(request: pytest.FixtureRequest) -> Spin:
    if request.param == "twin":
        return make_await_post_in_python()
    return pytest.importorskip("greenpool._speedups").await_post  # type: ignore[no-any-return]


def test_a_spin_in_vain_ends(await_post: Spin) -> None:
    before = monotonic()
    assert not await_post(deque(), 0.001)
    assert monotonic() - before >= 0.001


def test_another_thread_posts_while_a_hub_spins(await_post: Spin) -> None:
    """A hub that spins does not keep the GIL."""
    queue: deque[str] = deque()
    about_to_spin = threading.Event()

    def post() -> None:
        about_to_spin.wait()
        queue.append("an answer")

    thread = threading.Thread(target=post)
    thread.start()
    about_to_spin.set()
    assert await_post(queue, 20)
    thread.join()
    assert await_post(queue, 20)


def test_only_a_deque_is_spun_at() -> None:
    speedups = pytest.importorskip("greenpool._speedups")
    with pytest.raises(TypeError, match=r"queue must be a deque, not \[1\]"):
        speedups.await_post([1], 0)


# Posts from a signal handler.


@pytest.fixture
def on_alarm() -> Iterator[Callable[[Callable[[], Any]], None]]:
    before = signal.getsignal(signal.SIGALRM)

    def install(action: Callable[[], Any]) -> None:
        def handler(number: int, frame: FrameType | None) -> None:
            action()

        signal.signal(signal.SIGALRM, handler)

    yield install
    signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_posts_in_the_middle_of_a_post(
    on_alarm: Callable[[Callable[[], Any]], None],
) -> None:
    class WakerThatIsInterrupted(CountingWaker):
        def wake(self) -> None:
            super().wake()
            signal.raise_signal(signal.SIGALRM)

    waker = WakerThatIsInterrupted()
    inbox = Inbox(waker)  # type: ignore[arg-type]
    on_alarm(lambda: inbox.post("handler"))
    assert inbox.may_sleep()
    assert inbox.post("interrupted")
    assert list(inbox.queue) == ["interrupted", "handler"]
    assert waker.writes == 1


# The wakers.


def wakers() -> list[type[Waker]]:
    return [EventWaker, PipeWaker] if hasattr(select, "epoll") else [PipeWaker]


@pytest.mark.parametrize("make", wakers())
def test_a_wake_makes_the_descriptor_readable_until_it_is_drained(make: type[Waker]) -> None:
    waker = make()
    poll = select.poll()
    poll.register(waker.fd, select.POLLIN)
    assert poll.poll(0) == []
    waker.wake()
    waker.wake()
    assert poll.poll(0) == [(waker.fd, select.POLLIN)]
    waker.drain()
    assert poll.poll(0) == []
    waker.drain()
    waker.close()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="edge-triggered: epoll only")
@pytest.mark.parametrize("make", wakers())
def test_each_wake_is_an_edge_without_any_draining(make: type[Waker]) -> None:
    waker = make()
    with select.epoll() as epoll:
        epoll.register(waker.fd, select.EPOLLIN | select.EPOLLET)
        for _ in range(1000):
            waker.wake()
            assert epoll.poll(0) == [(waker.fd, select.EPOLLIN)]
    waker.close()


def test_a_wake_through_a_full_pipe_writes_after_emptying_it() -> None:
    """kqueue with EV_CLEAR reports only a write, so a wake that wrote nothing would be lost."""
    waker = PipeWaker()
    with pytest.raises(BlockingIOError):
        while True:
            os.write(waker._write_fd, b"x" * 4096)
    waker.wake()
    assert os.read(waker.fd, 100) == b"\0"
    waker.close()


def test_wakers_are_closed_on_exec() -> None:
    waker = make_waker()
    assert not os.get_inheritable(waker.fd)
    waker.close()


@pytest.fixture(params=["as built", "Python"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python":
        monkeypatch.setattr(wakers_module, "speedups", None)


@pytest.mark.usefixtures("twin")
def test_the_low_numbers_are_left_to_the_program() -> None:
    reading, writing = os.pipe()
    moved = renumbered(writing)
    assert moved >= OWN_NUMBERS
    assert not os.get_inheritable(moved)
    os.write(moved, b"x")
    os.close(moved)
    assert os.read(reading, 2) == b"x"
    assert os.read(reading, 2) == b"", "no duplicate is left"
    os.close(reading)


@pytest.mark.usefixtures("twin")
def test_a_number_is_kept_where_the_limit_leaves_no_other() -> None:
    reading, writing = os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (OWN_NUMBERS, hard))
    try:
        moved = renumbered(writing)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    os.close(moved)
    assert os.read(reading, 2) == b"", "no duplicate is left"
    os.close(reading)
