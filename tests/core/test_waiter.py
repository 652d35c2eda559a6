"""Waiters: each is woken exactly once, no matter which wakes come at the same time, and nothing is lost."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

import greenpool
import greenpool.socket
from greenpool import GreenletExit, Timeout
from greenpool._core.current import current_hub
from greenpool._core.hub import Hub
from greenpool._core.inbox import Call
from greenpool._core.waiter import Waiter

pytestmark = pytest.mark.usefixtures("leak_check")


# One thread.


def test_the_first_wake_wins() -> None:
    waiter = Waiter()
    assert waiter.wake("first")
    assert not waiter.wake("second")
    assert not waiter.fail(ValueError())
    assert waiter.park()
    assert waiter.value == "first"


def test_fail_raises_in_the_parked_greenlet() -> None:
    waiter = Waiter()
    failure = ValueError("as given")
    greenpool.spawn(waiter.fail, failure)
    with pytest.raises(ValueError, match="as given") as raised:
        waiter.park()
    assert raised.value is failure
    assert waiter.value is None


def test_a_timeout_is_told_from_a_wake() -> None:
    waiter = Waiter()
    assert waiter.park(0.001) is False
    assert not waiter.wake()


def test_a_timeout_of_zero_lets_the_others_run_first() -> None:
    waiter = Waiter()
    ran = []
    greenpool.spawn(ran.append, 1)
    assert waiter.park(0) is False
    assert ran == [1]


def test_a_waiter_that_was_woken_before_it_parks_beats_a_timeout_of_zero() -> None:
    waiter = Waiter()
    waiter.wake("value")
    assert waiter.park(0) is True
    assert waiter.value == "value"


def test_park_outlasts_a_stray_resume() -> None:
    """KeyboardInterrupt can leave a stray resume behind."""
    waiter = Waiter()
    greenlet = waiter.greenlet
    hub = waiter.hub
    hub.ready.extend([greenlet, greenlet])
    ran = []
    greenpool.spawn(lambda: (ran.append(1), hub.ready.append(greenlet), waiter.wake("value")))
    assert waiter.park()
    assert (ran, waiter.value) == ([1], "value")
    # One stray resume is left. A yield would return early with it, but this sleep outlasts it.
    greenpool.sleep(0.001)


def test_a_kill_after_the_wake_waits_for_the_next_park() -> None:
    """A value that came with the wake is not lost, for example an item of a queue."""
    received: list[object] = []

    def receive(waiters: list[Waiter]) -> None:
        waiter = Waiter()
        waiters.append(waiter)
        waiter.park()
        received.append(waiter.value)
        greenpool.sleep(0)
        received.append("not reached")

    waiters: list[Waiter] = []
    greenlet = greenpool.spawn(receive, waiters)
    greenpool.sleep(0)
    assert waiters[0].wake("item")
    greenlet.kill()
    assert received == ["item"]
    assert isinstance(greenlet.value, GreenletExit)


def test_a_wake_after_the_kill_is_refused() -> None:
    """A producer whose wake is refused can give its item to the next waiter."""
    waiters: list[Waiter] = []

    def wait() -> None:
        waiters.append(Waiter())
        waiters[0].park()

    greenlet = greenpool.spawn(wait)
    greenpool.sleep(0)
    greenlet.kill(block=False)
    assert not waiters[0].wake("item")
    greenlet.join()


def test_several_interrupts_arrive_in_order_one_at_each_park() -> None:
    caught: list[str] = []

    def wait() -> None:
        while len(caught) < 3:
            try:
                greenpool.sleep(60)
            except ValueError as exception:
                caught.append(str(exception))

    greenlet = greenpool.spawn(wait)
    greenpool.sleep(0)
    for text in "abc":
        greenlet.kill(ValueError(text), block=False)
    greenlet.join()
    assert caught == ["a", "b", "c"]


def test_repr_says_whose_it_is_and_its_state() -> None:
    waiter = Waiter()
    assert "waiting" in repr(waiter)
    waiter.wake()
    assert "woken" in repr(waiter)
    waiter.park()


# Many threads.


def test_eight_threads_race_for_each_wake(fast_switching: None) -> None:
    """Exactly one of eight wakes of a waiter wins, and its value is the one that arrives."""
    rounds, racers = 300, 8
    waiters: list[Waiter] = []
    begin = threading.Barrier(racers + 1)
    won: list[list[int]] = [[] for _ in range(rounds)]

    def race(racer: int) -> None:
        for number in range(rounds):
            begin.wait()
            if waiters[number].wake((number, racer)):
                won[number].append(racer)

    threads = [threading.Thread(target=race, args=(racer,)) for racer in range(racers)]
    for thread in threads:
        thread.start()
    received = []
    for _ in range(rounds):
        waiter = Waiter(threading.Lock())
        waiters.append(waiter)
        begin.wait()
        assert waiter.park()
        received.append(waiter.value)
    for thread in threads:
        thread.join()
    assert [[racer] for _, racer in received] == won
    assert [number for number, _ in received] == list(range(rounds))


@pytest.mark.parametrize("seed", range(3))
def test_wakes_race_with_kills_and_timeouts(seed: int, fast_switching: None) -> None:
    """Each item goes to one waiter that lives to see it, or its wake is refused. None is lost or doubled."""
    items, waiting = 600, 8
    lock = threading.Lock()
    line: list[Waiter] = []
    received: list[int] = []
    refused: list[int] = []
    finished = threading.Event()

    def wait_for_items(own: random.Random) -> None:
        while not finished.is_set():
            waiter = Waiter(lock)
            with lock:
                line.append(waiter)
            try:
                if waiter.park(own.choice([None, 0, 0.0001, 0.001])):
                    received.append(waiter.value)
            except (Timeout, ValueError):
                assert waiter.state == 2
            finally:
                with lock:
                    if waiter in line:
                        line.remove(waiter)

    with greenpool.Runtime(pool_size=2) as runtime:
        greenlets = [
            runtime.spawn(wait_for_items, random.Random(seed * 100 + number)) for number in range(waiting)
        ]

        def hand_over(first: int) -> None:
            for item in range(first, items, 2):
                with lock:
                    waiter = line.pop(0) if line else None
                    claimed = waiter is not None and waiter.claim(item)
                if claimed:
                    assert waiter is not None
                    waiter.resume()
                else:
                    refused.append(item)

        def interrupt_them() -> None:
            own = random.Random(seed)
            for _ in range(items):
                own.choice(greenlets).kill(ValueError("a kill"), block=False)

        threads = [
            threading.Thread(target=hand_over, args=(0,)),
            threading.Thread(target=hand_over, args=(1,)),
            threading.Thread(target=interrupt_them),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        finished.set()
        for greenlet in greenlets:
            while not greenlet.ready():
                greenlet.kill(ValueError("the end"), timeout=0.01)
    assert sorted(received + refused) == list(range(items))


def test_joins_of_other_threads_race_with_the_end(fast_switching: None) -> None:
    """A greenlet ends while threads begin to wait for it, and each of them learns of the end."""
    with greenpool.Runtime(pool_size=2) as runtime:
        for _ in range(100):
            greenlet = runtime.spawn(int)
            values: list[int] = []

            def get(greenlet: greenpool.Greenlet, values: list[int]) -> None:
                values.append(greenlet.get())

            threads = [threading.Thread(target=get, args=(greenlet, values)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert values == [0, 0, 0]


# Signal handlers run in the main thread, at any point of its program.


@pytest.fixture
def on_alarm() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Install an action for SIGALRM."""
    before = signal.getsignal(signal.SIGALRM)

    def install(action: Callable[[], object]) -> None:
        def handler(number: int, frame: FrameType | None) -> None:
            action()

        signal.signal(signal.SIGALRM, handler)

    yield install
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_wakes_while_the_hub_sleeps(
    on_alarm: Callable[[Callable[[], object]], None],
) -> None:
    waiter = Waiter()
    on_alarm(lambda: waiter.wake("signal"))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    assert waiter.park()
    assert waiter.value == "signal"


def test_a_signal_handler_spawns_while_the_hub_sleeps(
    on_alarm: Callable[[Callable[[], object]], None],
) -> None:
    waiter = Waiter()
    on_alarm(lambda: greenpool.spawn(waiter.wake, "spawned"))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    assert waiter.park()
    assert waiter.value == "spawned"


def test_a_signal_handler_spawns_later_while_the_hub_sleeps(
    on_alarm: Callable[[Callable[[], object]], None],
) -> None:
    waiter = Waiter()
    on_alarm(lambda: greenpool.spawn_later(0.001, waiter.wake, "spawned"))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    assert waiter.park()
    assert waiter.value == "spawned"


@pytest.mark.parametrize("what", ["sleep", "recv"])
def test_a_signal_handler_kills_while_the_hub_sleeps(
    what: str, on_alarm: Callable[[Callable[[], object]], None]
) -> None:
    ours, theirs = greenpool.socket.socketpair()
    with ours, theirs:
        wait = (lambda: greenpool.sleep(60)) if what == "sleep" else (lambda: ours.recv(1))
        greenlet = greenpool.spawn(wait)
        on_alarm(lambda: greenlet.kill(block=False))
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        greenlet.join()
        assert isinstance(greenlet.value, GreenletExit)


def test_a_signal_handler_closes_a_socket_while_the_hub_sleeps(
    on_alarm: Callable[[Callable[[], object]], None],
) -> None:
    """For example, a server's SIGTERM handler closes its listener."""
    listener = greenpool.socket.create_server(("127.0.0.1", 0))
    accepting = greenpool.spawn(listener.accept)
    accepting.quiet = True
    on_alarm(listener.close)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    accepting.join()
    assert isinstance(accepting.exception, OSError)


def test_a_signal_just_before_the_hub_goes_to_sleep(
    monkeypatch: pytest.MonkeyPatch, on_alarm: Callable[[Callable[[], object]], None]
) -> None:
    """The handler runs after the loop has found nothing ready, and before the loop says that it is asleep."""
    hub: Hub = current_hub()
    waiter = Waiter()
    on_alarm(lambda: waiter.wake("signal"))
    # The loop calls on_rest in between.
    monkeypatch.setattr(hub, "on_rest", lambda _received: signal.raise_signal(signal.SIGALRM))
    monkeypatch.setattr(hub, "received", 1)
    assert waiter.park()
    assert waiter.value == "signal"


def test_a_call_that_another_thread_posts_while_the_hub_sleeps() -> None:
    waiter = Waiter()
    hub = waiter.hub
    thread = threading.Thread(target=lambda: hub.inbox.post(Call(waiter.wake, "posted")))
    greenpool.spawn_later(0.01, thread.start)
    assert waiter.park()
    thread.join()
    assert waiter.value == "posted"
