"""The end of a pool: nothing that was accepted is lost, and nothing is left behind."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import Greenlet, GreenletExit, Runtime, SpawnError, Timeout
from greenpool._core.carrier import Carrier
from greenpool._core.pollers import Poller, make_poller
from greenpool.event import Event
from greenpool.lock import Semaphore

pytestmark = pytest.mark.usefixtures("leak_check", "no_greenlet_left")

Runtimes = Callable[..., Runtime]


def carriers() -> set[int]:
    return {id(each) for each in gc.get_objects() if isinstance(each, Carrier) and not each.dead}


@pytest.fixture
def no_greenlet_left() -> Iterator[None]:
    """Fail the test if it leaves a carrier of a pool's hub suspended."""
    mine = greenpool.get_hub()
    before = carriers()
    yield
    gc.collect()
    of_this_thread = {id(carrier) for carrier in mine.carriers}
    assert not carriers() - before - of_this_thread


def never() -> None:
    Event().wait()


class Worker:
    """A function for many greenlets that all wait until they are ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.parked = Semaphore(0)
        self.ended = 0

    def __call__(self) -> None:
        self.parked.release()
        try:
            never()
        finally:
            # A finally block may wait, even while the pool ends.
            greenpool.sleep(0.001)
            with self._lock:
                self.ended += 1

    def wait_until_parked(self, count: int) -> None:
        for _ in range(count):
            self.parked.acquire()


# shutdown


def test_shutdown_ends_what_is_unfinished() -> None:
    runtime = Runtime(pool_size=3)
    worker = Worker()
    greenlets = [runtime.spawn(worker) for _ in range(30)]
    worker.wait_until_parked(30)
    runtime.shutdown()
    assert worker.ended == 30
    assert all(isinstance(greenlet.value, GreenletExit) for greenlet in greenlets)
    runtime.shutdown()
    runtime.shutdown_on_idle()


def test_finally_blocks_may_use_everything_but_spawn() -> None:
    found: list[object] = []

    def worker() -> None:
        parked.set()
        try:
            never()
        finally:
            with pytest.raises(SpawnError):
                greenpool.spawn(int)
            with pytest.raises(SpawnError):
                greenpool.spawn_later(0, int)
            other.join()
            with Timeout(0.001, False):
                never()
            found.append(other.value)

    parked = threading.Event()
    runtime = Runtime(pool_size=2)
    other = runtime.spawn(lambda: (never(), None))
    runtime.spawn(worker)
    parked.wait()
    runtime.shutdown()
    assert isinstance(found[0], GreenletExit)


def test_those_that_are_ready_or_not_yet_started_run_and_end_at_their_next_wait() -> None:
    order: list[str] = []

    def not_yet_started() -> None:
        order.append("started")
        greenpool.sleep(60)
        order.append("not reached")

    def first() -> None:
        # On the pool's only hub shutdown does not wait, so it finds the spawn in the queue.
        greenpool.spawn(not_yet_started)
        runtime.shutdown()
        order.append("shutdown returned")

    runtime = Runtime(pool_size=1)
    runtime.spawn(first).join()
    runtime.shutdown()
    assert order == ["shutdown returned", "started"]


def test_shutdown_inside_the_pool_does_not_wait_and_ends_the_caller_too() -> None:
    steps: list[str] = []

    def inside() -> None:
        runtime.shutdown()
        steps.append("returned")
        with pytest.raises(SpawnError):
            runtime.spawn(int)
        try:
            never()
        finally:
            steps.append("ended")

    runtime = Runtime(pool_size=2)
    greenlet = runtime.spawn(inside)
    greenlet.join()
    assert steps == ["returned", "ended"]
    runtime.shutdown()


def test_shutdown_inside_block_on() -> None:
    runtime = Runtime(pool_size=2)
    worker = Worker()

    def main() -> object:
        greenlet = greenpool.spawn(worker)
        worker.wait_until_parked(1)
        runtime.shutdown()
        assert worker.ended == 1
        with pytest.raises(SpawnError):
            greenpool.spawn(int)
        return greenlet.get()

    assert isinstance(runtime.block_on(main), GreenletExit)


def test_several_threads_call_shutdown_at_once() -> None:
    runtime = Runtime(pool_size=2)
    worker = Worker()
    for _ in range(4):
        runtime.spawn(worker)
    worker.wait_until_parked(4)
    barrier = threading.Barrier(4)
    ended: list[int] = []

    def target(end: Callable[[], None]) -> None:
        barrier.wait()
        end()
        # When the call returns, the pool has ended.
        ended.append(worker.ended)

    ends = [runtime.shutdown, runtime.shutdown_on_idle] * 2
    threads = [threading.Thread(target=target, args=(end,)) for end in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [4] * 4


def test_shutdown_from_a_greenlet_of_another_pool_parks_it() -> None:
    worker = Worker()
    with Runtime(pool_size=1) as other:
        runtime = Runtime(pool_size=1)
        runtime.spawn(worker)
        worker.wait_until_parked(1)
        ends = other.spawn(runtime.shutdown)
        # The other pool's only hub goes on meanwhile.
        other.spawn(int).join()
        ends.get()
    assert worker.ended == 1


def test_joiners_outside_are_woken() -> None:
    runtime = Runtime(pool_size=1)
    worker = Worker()
    greenlet = runtime.spawn(worker)
    worker.wait_until_parked(1)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(greenlet.get()))
    thread.start()
    mine = greenpool.spawn(greenlet.get)
    greenpool.sleep(0)
    runtime.shutdown()
    thread.join()
    assert isinstance(mine.get(), GreenletExit)
    assert found == [greenlet.value]


# shutdown_on_idle


def test_shutdown_on_idle_lets_everything_complete() -> None:
    done: list[int] = []

    def tree(depth: int) -> None:
        greenpool.sleep(0.001)
        if depth:
            for _ in range(2):
                greenpool.spawn(tree, depth - 1)
        done.append(depth)

    runtime = Runtime(pool_size=2)
    for _ in range(4):
        runtime.spawn(tree, 3)
    runtime.shutdown_on_idle()
    assert sorted(done) == sorted([3, *[2] * 2, *[1] * 4, *[0] * 8] * 4)
    with pytest.raises(SpawnError):
        runtime.spawn(int)


def test_shutdown_on_idle_accepts_spawns_until_then() -> None:
    gate, done = Event(), threading.Event()
    runtime = Runtime(pool_size=2)
    runtime.spawn(gate.wait)
    ends = threading.Thread(target=runtime.shutdown_on_idle)
    ends.start()
    runtime.spawn(done.set)
    assert done.wait(10)
    assert ends.is_alive()
    gate.set()
    ends.join()


def test_shutdown_on_idle_while_another_thread_keeps_spawning() -> None:
    """The pool closes at the first moment without work, even if a thread would go on spawning."""
    runtime = Runtime(pool_size=2)
    refused = threading.Event()
    accepted: list[Greenlet] = []

    def spawner() -> None:
        try:
            while True:
                accepted.append(runtime.spawn(int))
                accepted[-1].join()
        except SpawnError:
            refused.set()

    thread = threading.Thread(target=spawner)
    thread.start()
    runtime.shutdown_on_idle()
    thread.join()
    assert refused.is_set()
    assert all(greenlet.get() == 0 for greenlet in accepted)


def test_shutdown_on_idle_in_the_pool_would_wait_for_itself() -> None:
    with Runtime(pool_size=1) as runtime:
        greenlet = Greenlet(runtime.shutdown_on_idle)
        greenlet.quiet = True
        runtime.handle().place(greenlet)
        with pytest.raises(RuntimeError, match="its own end"):
            greenlet.get()
        assert runtime.spawn(lambda: "still open").get() == "still open"


def test_timeout_of_shutdown_on_idle_leaves_the_pool_open() -> None:
    runtime = Runtime(pool_size=1)
    greenlet = runtime.spawn(never)
    with pytest.raises(Timeout), Timeout(0.005):
        runtime.shutdown_on_idle()
    assert runtime.spawn(lambda: "still open").get() == "still open"
    greenlet.kill()
    runtime.shutdown_on_idle()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupted_shutdown_on_idle_shuts_down(kind: type[BaseException]) -> None:
    runtime = Runtime(pool_size=2)
    worker = Worker()
    runtime.spawn(worker)
    worker.wait_until_parked(1)

    def interrupt() -> None:
        raise kind

    def main() -> None:
        runtime.spawn(interrupt)
        runtime.shutdown_on_idle()

    # Run it in block_on, which receives the exception no matter how early it comes.
    with pytest.raises(kind):
        runtime.block_on(main)
    assert worker.ended == 1
    with pytest.raises(SpawnError):
        runtime.spawn(int)


def test_context_manager_waits_on_a_clean_exit_and_ends_all_on_an_exception() -> None:
    ended: list[str] = []

    def work(name: str, seconds: float) -> None:
        try:
            greenpool.sleep(seconds)
            ended.append(f"{name} completed")
        except GreenletExit:
            ended.append(f"{name} ended")
            raise

    with Runtime(pool_size=1) as runtime:
        runtime.spawn(work, "clean", 0.005)
    assert ended == ["clean completed"]
    with pytest.raises(LookupError), Runtime(pool_size=1) as runtime:
        runtime.spawn(work, "failed", 60)
        runtime.spawn(int).join()
        raise LookupError
    assert ended == ["clean completed", "failed ended"]


# Spawns across the shutdown.


@pytest.mark.parametrize("ends", ["shutdown", "shutdown_on_idle"])
@pytest.mark.parametrize("round_", range(5))
def test_eight_threads_spawn_while_the_pool_shuts_down(ends: str, round_: int) -> None:
    """Every spawn either ran, or raised SpawnError and never ran."""
    runtime = Runtime(pool_size=2)
    handle = runtime.handle()
    ran: list[int] = []
    accepted: list[tuple[int, Greenlet]] = []
    refused: list[int] = []
    barrier = threading.Barrier(9)

    def work(number: int) -> None:
        ran.append(number)
        if number % 3 == 0:
            greenpool.sleep(0)
        if number % 7 == 0:
            greenpool.sleep(60 if ends == "shutdown" else 0.0001)

    def spawner(thread: int) -> None:
        barrier.wait()
        ways: list[Callable[[int], Any]] = [
            lambda number: handle.spawn(work, number),
            lambda number: runtime.spawn(work, number),
            lambda number: handle.spawn_on(number % 2, work, number),
            lambda number: runtime.block_on(greenpool.spawn, work, number),
            lambda number: runtime.block_on(greenpool.spawn_later, 0.0001, work, number),
        ]
        # shutdown_on_idle gets a bounded number, because the pool is not idle while eight threads flood it.
        for count in range(200 if ends == "shutdown_on_idle" else 20_000):
            number = 8 * count + thread
            try:
                accepted.append((number, ways[count % len(ways)](number)))
            except SpawnError:
                refused.append(number)
                return

    threads = [threading.Thread(target=spawner, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait()
    runtime.spawn(greenpool.sleep, 0.002 * round_).join()
    getattr(runtime, ends)()
    for thread in threads:
        thread.join()
    assert len(refused) == 8 or ends == "shutdown_on_idle"
    assert len(ran) == len(set(ran))
    assert set(ran) == {number for number, _ in accepted}
    assert not set(ran) & set(refused)
    assert all(greenlet.dead for _, greenlet in accepted)


def test_greenlets_that_spawn_while_the_pool_shuts_down() -> None:
    runtime = Runtime(pool_size=2)
    ran: list[int] = []
    accepted: list[int] = []
    refused: list[int] = []

    def chain(number: int) -> None:
        ran.append(number)
        try:
            greenpool.spawn(chain, number + 1000)
            accepted.append(number + 1000)
        except SpawnError:
            refused.append(number + 1000)

    for number in range(20):
        runtime.spawn(chain, number)
        accepted.append(number)
    runtime.shutdown()
    assert sorted(ran) == sorted(accepted)
    assert len(refused) == 20


def test_later_starts_that_were_accepted_run_when_the_pool_shuts_down() -> None:
    ran: list[str] = []

    def work(name: str) -> None:
        ran.append(name)
        greenpool.sleep(60)
        ran.append("not reached")

    runtime = Runtime(pool_size=2)

    def main() -> None:
        greenpool.spawn_later(60, work, "of the main program")
        greenpool.spawn(lambda: greenpool.spawn_later(60, work, "of a greenlet")).join()
        killed = greenpool.spawn_later(60, work, "killed")
        killed.kill()

    runtime.block_on(main)
    runtime.shutdown()
    assert sorted(ran) == ["of a greenlet", "of the main program"]


def test_shutdown_on_idle_waits_for_later_starts() -> None:
    ran: list[str] = []
    runtime = Runtime(pool_size=2)
    runtime.block_on(greenpool.spawn_later, 0.005, ran.append, "later")
    runtime.shutdown_on_idle()
    assert ran == ["later"]


# Threads that cannot start.


class ThreadsRunOut(RuntimeError):
    pass


@pytest.mark.parametrize("fails_at", [1, 2, 4])
def test_thread_that_cannot_start_leaves_nothing_behind(
    fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = 0
    start = threading.Thread.start

    def failing_start(self: threading.Thread) -> None:
        nonlocal started
        started += 1
        if started == fails_at:
            raise ThreadsRunOut
        start(self)

    monkeypatch.setattr(threading.Thread, "start", failing_start)
    with pytest.raises(ThreadsRunOut):
        Runtime(pool_size=4)
    assert started == fails_at


@pytest.mark.parametrize("fails_at", [1, 2, 4])
def test_poller_that_cannot_be_made_leaves_nothing_behind(fails_at: int) -> None:
    made = 0

    def failing_poller() -> Poller:
        nonlocal made
        made += 1
        if made == fails_at:
            raise OSError(24, "Too many open files")
        return make_poller()

    with pytest.raises(OSError, match="Too many open files"):
        Runtime(pool_size=4, poller=failing_poller)
    assert made == fails_at


def test_interrupt_while_a_thread_starts_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread exists already, but it has not reported yet."""
    start = threading.Thread.start

    def interrupted_start(self: threading.Thread) -> None:
        start(self)
        if self.name.endswith("2"):
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    with pytest.raises(KeyboardInterrupt):
        Runtime(pool_size=3, name_prefix="interrupted-")
    for thread in threading.enumerate():
        if thread.name.startswith("interrupted-"):
            thread.join()


# Runtimes that nobody shuts down.


def test_dropped_runtime_is_shut_down_with_a_warning() -> None:
    runtime = Runtime(pool_size=2)
    worker = Worker()
    greenlet = runtime.spawn(worker)
    worker.wait_until_parked(1)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("greenpool-")]
    with pytest.warns(ResourceWarning, match="never shut down"):
        del runtime
    greenlet.join()
    for thread in threads:
        thread.join()
    assert worker.ended == 1


def test_dropped_runtime_is_shut_down_where_the_warning_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: unraisable.append(hook.exc_type))
    runtime = Runtime(pool_size=1)
    greenlet = runtime.spawn(never)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("greenpool-")]
    del runtime
    greenlet.join()
    for thread in threads:
        thread.join()
    assert unraisable == [ResourceWarning]


def test_nothing_keeps_a_runtime_that_was_shut_down() -> None:
    runtime = Runtime(pool_size=1)
    handle = runtime.handle()
    greenlet = runtime.spawn(int)
    runtime.block_on(int)
    runtime.shutdown()
    reference = weakref.ref(runtime)
    del runtime
    gc.collect()
    assert reference() is None
    assert greenlet.get() == 0
    assert handle.pool_size == 1


def run_script(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=50,
    )


OPEN_AT_EXIT = """
    import greenpool
    from greenpool.event import Event

    def worker():
        parked.set()
        try:
            Event().wait()
        finally:
            print("finally", flush=True)

    parked = Event()
    runtime = greenpool.Runtime(pool_size=2)
    runtime.spawn(worker)
    parked.wait()
"""


@pytest.mark.parametrize("action", ["always", "error", "ignore"])
def test_runtime_open_at_exit_is_shut_down_with_a_warning(action: str) -> None:
    ended = run_script(OPEN_AT_EXIT, "-W", f"{action}::ResourceWarning")
    assert ended.stdout == "finally\n"
    assert ended.returncode == 0
    assert ("ResourceWarning" in ended.stderr) is (action != "ignore")
    assert ("still open at exit" in ended.stderr) is (action != "ignore")


def test_runtime_that_was_shut_down_exits_without_a_word() -> None:
    ended = run_script(OPEN_AT_EXIT + "    runtime.shutdown()\n", "-W", "always")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("finally\n", "", 0)


def test_dropped_runtime_in_a_script() -> None:
    script = OPEN_AT_EXIT + "    del runtime\n    print('dropped', flush=True)\n"
    ended = run_script(script, "-W", "always")
    assert "dropped" in ended.stdout
    assert "never shut down" in ended.stderr
    assert ended.returncode == 0


# Exceptions that nobody handles, at the end.


def test_exceptions_while_the_pool_ends_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())

    def worker() -> None:
        parked.set()
        try:
            never()
        finally:
            raise LookupError("in a finally block")

    parked = threading.Event()
    runtime = Runtime(pool_size=1)
    runtime.spawn(worker)
    parked.wait()
    runtime.shutdown()
    assert "LookupError: in a finally block" in stderr.getvalue()
