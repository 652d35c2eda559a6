"""The loop: passes of bounded length, errors that do not stop the loop, and its end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import greenpool
from greenpool import config, socket
from greenpool._core import gil
from greenpool._core import hub as hub_module
from greenpool._core.current import current_hub, thread_hub
from greenpool._core.hub import Hub
from greenpool._core.inbox import Call
from greenpool._core.native import HAS_GIL
from greenpool._core.task import Task
from greenpool._core.waiter import Waiter

pytestmark = pytest.mark.usefixtures("leak_check")


# Passes of bounded length.


def test_a_greenlet_that_always_queues_itself_does_not_starve_io() -> None:
    ours, theirs = socket.socketpair()
    turns = 0

    def spin() -> None:
        nonlocal turns
        while True:
            turns += 1
            greenpool.sleep(0)

    spinning = greenpool.spawn(spin)
    with ours, theirs:
        reader = greenpool.spawn(ours.recv, 10)
        timer = greenpool.spawn_later(0, int)
        greenpool.sleep(0)
        theirs.send(b"x")
        assert reader.get() == b"x"
        timer.join()
    spinning.kill()
    # The number of passes bounds the turns, not the time: the loop came round at once.
    assert turns < 1000


def test_spawns_that_spawn_do_not_starve_io() -> None:
    ours, theirs = socket.socketpair()
    running = True

    def spawn_the_next() -> None:
        if running:
            greenpool.spawn(spawn_the_next)

    greenpool.spawn(spawn_the_next)
    with ours, theirs:
        reader = greenpool.spawn(ours.recv, 10)
        greenpool.sleep(0)
        theirs.send(b"x")
        assert reader.get() == b"x"
    running = False
    greenpool.sleep(0.001)


class PollerThatNotes:
    """Wraps the hub's own poller and notes the timeouts that the hub passes to it."""

    def __init__(self, poller: Any) -> None:
        self.poller = poller
        self.timeouts: list[float | None] = []

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        self.timeouts.append(timeout)
        return self.poller.poll(timeout)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.poller, name)


def test_where_a_poll_keeps_the_gil_a_busy_hub_never_asks_in_another_way() -> None:
    def ping(ours: socket.socket) -> None:
        for _ in range(10):
            ours.sendall(b"x")
            ours.recv(1)

    def pong(theirs: socket.socket) -> None:
        while data := theirs.recv(1):
            theirs.sendall(data)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        answering = greenpool.spawn(pong, theirs)
        ping(ours)  # after this, both sockets are registered
        hub = current_hub()
        hub.poller = noting = PollerThatNotes(hub.poller)  # type: ignore[assignment]
        try:
            ping(ours)
        finally:
            hub.poller = noting.poller
        answering.kill()
    assert noting.timeouts
    if hub.poller.keeps_gil:
        assert {*noting.timeouts} == {0}


@pytest.mark.skipif(not (config.speedups and sys.platform == "linux"), reason="hubs release the GIL anyway")
@pytest.mark.skipif(not HAS_GIL, reason="there is no GIL")
def test_a_busy_hub_offers_the_gil_once_in_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    offers: list[int] = []
    monkeypatch.setattr(gil, "TURN", 0)
    monkeypatch.setattr(os, "sched_yield", lambda: offers.append(1))

    def pong(theirs: socket.socket) -> None:
        while data := theirs.recv(1):
            theirs.sendall(data)

    def ping(ours: socket.socket) -> int:
        """Count the offers of the GIL in many passes."""
        before = len(offers)
        for _ in range(100):
            ours.sendall(b"x")
            assert ours.recv(1) == b"x"
        return len(offers) - before

    ours, theirs = socket.socketpair()
    with ours, theirs:
        answering = greenpool.spawn(pong, theirs)
        ping(ours)
        assert ping(ours) == 0
        for _ in range(3):
            # Pretend that another hub has run in between.
            monkeypatch.setattr(gil, "_keeper", 0)
            assert ping(ours) == 1
        answering.kill()


def test_callbacks_that_call_again_do_not_starve_io() -> None:
    hub = current_hub()
    ours, theirs = socket.socketpair()
    running = True

    def again() -> None:
        if running:
            hub.call_soon(again)

    hub.call_soon(again)
    with ours, theirs:
        reader = greenpool.spawn(ours.recv, 10)
        greenpool.sleep(0)
        theirs.send(b"x")
        assert reader.get() == b"x"
    running = False
    greenpool.sleep(0.001)


def test_a_flood_of_spawns_from_other_threads_does_not_starve_io() -> None:
    """The loop takes the posts that the inbox held when it looked, and polls before it looks again."""
    stop = threading.Event()
    with greenpool.Runtime(pool_size=1) as runtime:

        def flood() -> None:
            while not stop.is_set():
                runtime.spawn(int)

        threads = [threading.Thread(target=flood) for _ in range(2)]
        for thread in threads:
            thread.start()

        def ping() -> int:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                echo = greenpool.spawn(lambda: [theirs.send(theirs.recv(1)) for _ in range(20)])
                for _ in range(20):
                    ours.send(b"x")
                    assert ours.recv(1) == b"x"
                echo.get()
            greenpool.sleep(0.001)
            return 20

        try:
            assert runtime.spawn(ping).get() == 20
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_a_flood_is_taken_in_whole_batches() -> None:
    """Posts that come in while a batch is taken in wait for the next pass."""
    hub = current_hub()
    passes = []

    def post_another(left: int) -> None:
        passes.append(hub.passes)
        if left:
            hub.inbox.post(Call(post_another, left - 1))

    hub.inbox.post(Call(post_another, 4))
    while len(passes) < 5:
        greenpool.sleep(0.001)
    assert len(set(passes)) == 5


# The order of things.


def test_greenlets_run_in_the_order_of_their_spawns() -> None:
    order: list[int] = []
    greenpool.joinall([greenpool.spawn(order.append, number) for number in range(50)])
    assert order == list(range(50))


def test_sleep_0_lets_every_other_greenlet_run_once() -> None:
    order: list[str] = []

    def take_turns(name: str) -> None:
        for _ in range(3):
            order.append(name)
            greenpool.sleep(0)

    greenpool.joinall([greenpool.spawn(take_turns, name) for name in "abc"])
    assert order == list("abcabcabc")


def test_posts_arrive_in_order() -> None:
    hub = current_hub()
    taken: list[int] = []
    waiter = Waiter(threading.Lock())

    def post() -> None:
        for number in range(100):
            hub.inbox.post(Call(taken.append, number))
        waiter.wake()

    thread = threading.Thread(target=post)
    thread.start()
    waiter.park()
    thread.join()
    assert taken == list(range(100))


def test_idle_waits_until_nothing_is_ready() -> None:
    order: list[object] = []

    def busy() -> None:
        for number in range(3):
            order.append(number)
            greenpool.sleep(0)

    greenpool.spawn(busy)
    greenpool.idle()
    order.append("idle")
    assert order == [0, 1, 2, "idle"]


# Errors.


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_error_of_a_callback_does_not_stop_the_loop(
    error: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    hub = current_hub()

    def fail() -> None:
        raise error("from a callback")

    ran: list[int] = []
    hub.call_soon(fail)
    hub.call_soon(ran.append, 1)
    try:
        greenpool.sleep(0.001)
    except (SystemExit, KeyboardInterrupt) as raised:
        assert type(raised) is error
        greenpool.sleep(0.001)
    else:
        assert "ValueError: from a callback" in capsys.readouterr().err
    assert ran == [1]


def test_what_the_poller_said_is_not_lost_when_a_signal_handler_raises() -> None:
    """For example, a Ctrl-C that comes together with the data."""
    hub = current_hub()

    class Struck:
        def __getattr__(self, name: str) -> Any:
            return getattr(poller, name)

        def poll(self, timeout: float | None) -> list[tuple[int, int]]:
            events = poller.poll(timeout)
            if any(fd == ours.fileno() for fd, _ in events):
                hub.poller = poller
                raise KeyboardInterrupt
            return events

    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = greenpool.spawn(ours.recv, 10)
        greenpool.sleep(0.001)
        poller, hub.poller = hub.poller, Struck()  # type: ignore[assignment]
        theirs.send(b"x")
        with pytest.raises(KeyboardInterrupt):
            greenpool.sleep(60)
        assert reader.get() == b"x"


def test_a_task_is_not_lost_when_a_signal_handler_raises_before_it_has_a_carrier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = current_hub()
    monkeypatch.setattr(hub, "free_carriers", [])
    make = hub_module.Carrier

    def struck(hub: Hub) -> Any:
        monkeypatch.setattr(hub_module, "Carrier", make)
        raise KeyboardInterrupt

    started = greenpool.spawn(lambda: 7)
    monkeypatch.setattr(hub_module, "Carrier", struck)
    with pytest.raises(KeyboardInterrupt):
        started.join()
    assert started.get() == 7


def test_the_report_of_an_error_names_greenlet_and_hub(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("as raised")

    greenlet = greenpool.spawn(fail)
    greenlet.name = "the failing one"
    greenlet.join()
    report = capsys.readouterr().err
    assert report.startswith("Traceback (most recent call last):")
    assert "ValueError: as raised" in report
    assert "the failing one" in report and current_hub().name in report


def test_no_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    greenpool.spawn(lambda: 1 / 0).join()


def test_waiting_in_the_loop_itself_raises(capsys: pytest.CaptureFixture[str]) -> None:
    current_hub().call_soon(greenpool.sleep, 1)
    greenpool.sleep(0.001)
    assert "cannot wait in its own loop" in capsys.readouterr().err


def test_a_callback_may_spawn_now_and_later() -> None:
    done: list[str] = []
    hub = current_hub()
    hub.call_soon(greenpool.spawn, done.append, "now")
    hub.call_soon(greenpool.spawn_later, 0.001, done.append, "later")
    while len(done) < 2:
        greenpool.sleep(0.001)
    assert done == ["now", "later"]


# Making and ending.


def test_each_thread_has_a_hub_of_its_own(on_new_thread: Callable[..., Any]) -> None:
    hubs = {current_hub(), *(on_new_thread(current_hub) for _ in range(3))}
    assert len(hubs) == 4


def test_a_thread_that_never_waits_has_none(on_new_thread: Callable[..., Any]) -> None:
    assert on_new_thread(thread_hub) is None


def test_a_hub_that_cannot_be_made_leaves_nothing(on_new_thread: Callable[..., Any]) -> None:
    """leak_check looks for the hub's descriptors."""

    class Broken:
        arm = None
        closed = False

        def register_waker(self, waker: object) -> None:
            raise OSError("no room")

        def close(self) -> None:
            Broken.closed = True

    def make() -> None:
        with pytest.raises(OSError, match="no room"):
            Hub("broken", poller=Broken)  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError):
            Hub("broken", poller=lambda: 1 // 0)  # type: ignore[arg-type, return-value]

    on_new_thread(make)
    assert Broken.closed


def test_a_closed_hub_accepts_nothing() -> None:
    with greenpool.Runtime(pool_size=1) as runtime:
        hub = runtime.spawn(current_hub).get()
    assert not hub.inbox.post(Call(print, "never"))
    assert not hub.accept(Task(print, "never"))


def test_what_was_posted_before_a_hub_ends_is_carried_out() -> None:
    ran: list[int] = []
    with greenpool.Runtime(pool_size=1) as runtime:
        hub = runtime.spawn(current_hub).get()
        accepted = sum(hub.inbox.post(Call(ran.append, number)) for number in range(100))
    assert ran == list(range(accepted))
    assert accepted == 100


def test_stop_ends_what_is_parked_and_runs_what_was_accepted() -> None:
    events: list[str] = []

    def parked() -> None:
        try:
            Waiter().park()
        finally:
            greenpool.sleep(0.001)  # a finally block may wait
            events.append("finally")

    runtime = greenpool.Runtime(pool_size=1)
    greenlets = [runtime.spawn(parked) for _ in range(3)]
    later = runtime.spawn(greenpool.spawn_later, 60, events.append, "accepted").get()
    runtime.shutdown()
    assert sorted(events) == ["accepted", "finally", "finally", "finally"]
    assert all(greenlet.successful() for greenlet in [*greenlets, later])


def test_a_hub_ends_also_those_that_were_claimed_and_never_resumed() -> None:
    """A KeyboardInterrupt can leave them so, for example in the middle of an ``Event.set``."""
    waiters: list[Waiter] = []

    def parked() -> None:
        waiters.append(Waiter(threading.Lock()))
        waiters[0].park()
        greenpool.sleep(60)

    with greenpool.Runtime(pool_size=1) as runtime:
        greenlet = runtime.spawn(parked)
        while not waiters:
            greenpool.sleep(0.001)
        runtime.spawn(int).join()
        assert waiters[0].claim()
        runtime.shutdown()
    assert greenlet.successful()


def test_a_thread_that_ends_gives_its_descriptors_back(on_new_thread: Callable[..., Any]) -> None:
    """leak_check counts the descriptors."""

    def use() -> None:
        ours, theirs = socket.socketpair()
        greenpool.spawn(theirs.send, b"x")
        assert ours.recv(1) == b"x"
        ours.close()
        theirs.close()

    for _ in range(5):
        on_new_thread(use)


def test_statistics_count_what_is_there() -> None:
    hub = current_hub()
    before = hub.statistics()
    sleepers = [greenpool.spawn(greenpool.sleep, 60) for _ in range(3)]
    greenpool.sleep(0)
    ours, theirs = socket.socketpair()
    reader = greenpool.spawn(ours.recv, 1)
    greenpool.sleep(0)
    now = hub.statistics()
    assert now["live"] - before["live"] == 4
    assert now["timers"] - before["timers"] == 3
    assert now["descriptors"] - before["descriptors"] == 1
    assert now["passes"] >= before["passes"]
    greenpool.killall([*sleepers, reader])
    ours.close()
    theirs.close()
    after = hub.statistics()
    assert (after["live"], after["timers"], after["descriptors"]) == (
        before["live"],
        before["timers"],
        before["descriptors"],
    )


def test_a_spurious_wake_of_the_loop_does_nothing() -> None:
    hub = current_hub()
    waiter = Waiter(threading.Lock())

    def wake_often() -> None:
        for _ in range(100):
            hub.inbox.waker.wake()
        waiter.wake("done")

    thread = threading.Thread(target=wake_often)
    thread.start()
    assert waiter.park()
    thread.join()
