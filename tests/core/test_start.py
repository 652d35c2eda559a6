"""The start of a greenlet that several threads share: it starts once, and no link, join or kill is lost."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import Greenlet, Runtime, SpawnError
from greenpool._core.current import current_hub

pytestmark = pytest.mark.usefixtures("leak_check", "fast_switching")

ROUNDS = 200

Act = Callable[[Greenlet], object]


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=2) as runtime:
        yield runtime


class Threads:
    """OS threads that all act on one greenlet at the same time, then on the next one."""

    def __init__(self, *acts: Act) -> None:
        self.acts = acts
        self.greenlet: Any = None
        self.errors: list[BaseException] = []
        self.barrier = threading.Barrier(len(acts) + 1)
        self.threads = [threading.Thread(target=self.run, args=(act,)) for act in acts]
        for thread in self.threads:
            thread.start()

    def run(self, act: Act) -> None:
        while True:
            self.barrier.wait()
            if self.greenlet is None:
                return
            try:
                act(self.greenlet)
            except BaseException as error:
                self.errors.append(error)
            self.barrier.wait()

    def use(self, greenlet: Greenlet) -> None:
        self.greenlet = greenlet
        self.barrier.wait()
        self.barrier.wait()
        assert not self.errors, self.errors

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.greenlet = None
        self.barrier.wait()
        for thread in self.threads:
            thread.join()


def test_threads_that_start_it_at_once(runtime: Runtime) -> None:
    """``place`` starts it on any hub of the pool, ``start`` on the thread's own hub."""
    runs: list[int] = []
    acts: list[Act] = [runtime.handle().place] * 3

    def start_and_wait(greenlet: Greenlet) -> None:
        greenlet.start()
        greenlet.join()

    with Threads(*acts, start_and_wait, start_and_wait) as threads:
        for number in range(ROUNDS):
            greenlet = Greenlet(runs.append, number)
            threads.use(greenlet)
            greenlet.join()
            assert greenlet.successful()
    assert sorted(runs) == list(range(ROUNDS))


def test_joined_linked_and_killed_while_another_thread_starts_it(runtime: Runtime) -> None:
    linked: list[object] = []
    calm = random.Random(1)

    def join(greenlet: Greenlet) -> None:
        greenlet.join()
        assert greenlet.ready()

    def join_briefly(greenlet: Greenlet) -> None:
        greenlet.join(0.0001)

    # A greenlet that was killed before its start has no hub. The linking thread's own hub makes the call once
    # that thread waits.

    def link(greenlet: Greenlet) -> None:
        greenlet.rawlink(linked.append)
        greenpool.sleep(0)

    def link_and_unlink(greenlet: Greenlet) -> None:
        greenlet.rawlink(threads.errors.append)  # type: ignore[arg-type]
        greenlet.unlink(threads.errors.append)  # type: ignore[arg-type]
        greenlet.join()

    def maybe_kill(greenlet: Greenlet) -> None:
        if calm.random() < 0.5:
            greenlet.kill(block=False)
            greenpool.sleep(0)

    def place(greenlet: Greenlet) -> None:
        runtime.handle().place(greenlet)

    with Threads(join, join_briefly, link, link, maybe_kill, place) as threads:
        for number in range(ROUNDS):
            greenlet = Greenlet(greenpool.sleep, 0.001 * (number % 2))
            # Link here, before the start.
            greenlet.rawlink(linked.append)
            threads.use(greenlet)
            greenlet.join()
            assert greenlet.successful()
            while linked.count(greenlet) < 3:
                greenpool.sleep(0.001)
            assert linked.count(greenlet) == 3
    assert [hub["live"] for hub in runtime.statistics()] == [0, 0]


def test_a_refused_start_loses_no_link(runtime: Runtime) -> None:
    """In each round one thread tries a closed pool while others link. Then this thread starts it."""
    closed = Runtime(pool_size=1)
    closed.shutdown()
    linked: list[object] = []

    def be_refused(greenlet: Greenlet) -> None:
        try:
            closed.handle().place(greenlet)
        except SpawnError:
            return
        raise AssertionError("accepted")

    def link(greenlet: Greenlet) -> None:
        greenlet.rawlink(linked.append)

    with Threads(be_refused, link, link) as threads:
        for _ in range(ROUNDS):
            greenlet = Greenlet(int)
            threads.use(greenlet)
            assert not greenlet.started
            greenlet.start()
            greenlet.join()
            greenpool.sleep(0)
            assert linked.count(greenlet) == 2


def test_a_hub_that_stops_while_greenlets_are_placed_on_it() -> None:
    """The greenlets that the hub refused can still be killed, joined, and started elsewhere."""
    for _ in range(20):
        runtime = Runtime(pool_size=1)
        hub = runtime.spawn(current_hub).get()
        greenlets = [Greenlet(int) for _ in range(30)]
        refused: list[Greenlet] = []

        def place_all(handle: greenpool.Handle, greenlets: list[Greenlet], refused: list[Greenlet]) -> None:
            for greenlet in greenlets:
                try:
                    handle.place(greenlet)
                except SpawnError:
                    refused.append(greenlet)

        def kill_all(greenlets: list[Greenlet]) -> None:
            for greenlet in greenlets[::2]:
                greenlet.kill(block=False)

        threads = [
            threading.Thread(target=place_all, args=(runtime.handle(), greenlets, refused)),
            threading.Thread(target=kill_all, args=(greenlets,)),
        ]
        for thread in threads:
            thread.start()
        runtime.shutdown()
        for thread in threads:
            thread.join()
        for greenlet in refused:
            greenlet.start()
        greenpool.joinall(greenlets)
        assert all(greenlet.successful() for greenlet in greenlets)
        assert hub.live == 0


def test_a_join_that_times_out_while_another_thread_starts_it(runtime: Runtime) -> None:
    """When the join begins, it is not known yet which thread will wake it."""
    woken = 0
    for _ in range(ROUNDS):
        greenlet = Greenlet(int)
        thread = threading.Thread(target=runtime.handle().place, args=(greenlet,))
        thread.start()
        greenlet.join(0.0002)
        woken += greenlet.ready()
        thread.join()
        greenlet.join()
        assert greenlet.value == 0
    # None of these waits found a stray wake or lost one.
    assert greenpool.spawn(lambda: greenpool.sleep(0) or 5).get() == 5


def test_a_greenlet_that_was_killed_before_its_start_never_runs(runtime: Runtime) -> None:
    runs: list[int] = []
    greenlet = Greenlet(runs.append, 1)
    thread = threading.Thread(target=greenlet.kill)
    thread.start()
    thread.join()
    runtime.handle().place(greenlet)
    greenlet.start()
    greenlet.start_later(0)
    assert isinstance(greenlet.get(), greenpool.GreenletExit)
    assert not runs


def test_placed_while_its_kill_is_still_on_the_way(runtime: Runtime) -> None:
    """Each greenlet ends on the hub that it was started on, no matter where it was linked before."""
    greenlet = Greenlet(greenpool.sleep, 60)
    ended: list[object] = []
    greenlet.rawlink(lambda _: ended.append(current_hub()))
    killer = threading.Thread(target=greenlet.kill, kwargs={"block": False})
    runtime.handle().place(greenlet)
    killer.start()
    killer.join()
    greenlet.join()
    greenpool.sleep(0)
    runtime.spawn_all([int, int])
    runtime.shutdown()
    assert ended == [greenlet.hub]


@pytest.mark.parametrize("wait", [Greenlet.join, lambda greenlet: greenpool.joinall([greenlet])])
def test_waited_for_from_another_thread_that_goes_on_without_its_hub(wait: Act) -> None:
    """A plain thread's hub runs only while that thread waits. No wait may depend on it running again."""
    waited = [threading.Event() for _ in range(ROUNDS)]

    def run_and_go_on() -> None:
        # Join each greenlet here, so that the thread leaves its hub as soon as the greenlet has ended.
        for number in range(ROUNDS):
            greenlet = Greenlet(int)
            greenlets.put(greenlet)
            greenlet.start()
            greenlet.join()
            waited[number].wait()

    greenlets: queue.SimpleQueue[Greenlet] = queue.SimpleQueue()
    thread = threading.Thread(target=run_and_go_on)
    thread.start()
    for number in range(ROUNDS):
        greenlet = greenlets.get()
        while greenlet.hub is None:
            pass
        wait(greenlet)
        assert greenlet.ready()
        waited[number].set()
    thread.join()
