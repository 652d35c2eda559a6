"""ThreadPool and ThreadPoolExecutor: OS threads that work for greenlets."""

from __future__ import annotations

import asyncio
import concurrent.futures
import concurrent.futures.thread
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import greenpool
from greenpool._core.native import Lock, SimpleQueue, get_ident
from greenpool.event import Event
from greenpool.threadpool import ThreadPool, ThreadPoolExecutor


@pytest.fixture(autouse=True)
def on_a_hub() -> None:
    greenpool.get_hub()


class Gate:
    """A function that tells when it has begun, and ends when the test opens the gate."""

    def __init__(self) -> None:
        self.begun = Event()
        self._lock = Lock()
        self._lock.acquire()

    def __call__(self, value: object = None) -> Any:
        self.begun.set()
        self._lock.acquire()
        return value

    def open(self) -> None:
        self._lock.release()


def fail(value: object = None) -> None:
    raise LookupError(f"nothing there: {value}")


def square(number: int) -> int:
    return number * number


# spawn


def test_spawn() -> None:
    pool = ThreadPool(2)
    result = pool.spawn(divmod, 7, 2)
    assert result.get() == (3, 1)
    assert result.successful()
    failed = pool.spawn(fail, "x")
    with pytest.raises(LookupError, match="nothing there: x"):
        failed.get()


def test_spawn_waits_while_all_threads_are_busy() -> None:
    pool = ThreadPool(1)
    gate = Gate()
    first = pool.spawn(gate, "first")
    spawning = greenpool.spawn(pool.spawn, square, 3)
    greenpool.sleep(0)
    assert not spawning.dead
    assert len(pool) == 2
    gate.open()
    assert spawning.get().get() == 9
    assert first.get() == "first"


def test_killed_while_it_waits_the_function_is_never_called() -> None:
    pool = ThreadPool(1)
    calls: list[str] = []
    gate = Gate()
    pool.spawn(gate)
    gate.begun.wait()
    spawning = greenpool.spawn(pool.spawn, calls.append, "called")
    greenpool.sleep(0)
    spawning.kill()
    assert len(pool) == 1
    gate.open()
    pool.join()
    assert calls == []


def test_links_of_a_result_run_on_the_linkers_hub() -> None:
    linked: SimpleQueue[int] = SimpleQueue()
    called = Event()

    def link(_: object) -> None:
        linked.put(get_ident())
        called.set()

    ThreadPool(1).spawn(int).rawlink(link)
    called.wait()
    assert linked.get() == get_ident()


# apply and map


def test_apply() -> None:
    pool = ThreadPool(1)
    assert pool.apply(divmod, (7, 2)) == (3, 1)
    assert pool.apply(dict, kwds={"function": 1}) == {"function": 1}
    with pytest.raises(LookupError):
        pool.apply(fail)


def test_apply_on_a_thread_of_the_pool_itself() -> None:
    pool = ThreadPool(1)
    assert pool.apply(pool.apply, (pool.apply, (square, (3,)))) == 9


def test_apply_async() -> None:
    pool = ThreadPool(1)
    seen: list[int] = []
    greenlet = pool.apply_async(square, (3,), callback=seen.append)
    assert (greenlet.get(), seen) == (9, [9])
    assert pool.apply_cb(square, (4,), callback=seen.append) == 16
    assert seen == [9, 16]


def test_map() -> None:
    pool = ThreadPool(3)
    assert pool.map(square, range(50)) == [n * n for n in range(50)]
    assert pool.map_async(square, range(5), callback=len).get() == [0, 1, 4, 9, 16]
    with pytest.raises(LookupError, match="nothing there: 1"):
        pool.map(lambda n: fail(n) if n in (1, 3) else n, range(5))


def test_imap_keeps_the_order() -> None:
    pool = ThreadPool(2)
    gates = [Gate(), Gate()]
    values = pool.imap(lambda gate, value: gate(value), gates, "ab")
    gates[1].begun.wait()
    gates[1].open()
    gates[0].open()
    assert list(values) == ["a", "b"]


def test_imap_unordered_takes_what_comes_first() -> None:
    pool = ThreadPool(2)
    gates = [Gate(), Gate()]
    values = pool.imap_unordered(lambda gate, value: gate(value), gates, "ab")
    gates[1].open()
    assert next(values) == "b"
    gates[0].open()
    assert list(values) == ["a"]


def test_imap_goes_on_after_a_failure() -> None:
    values = ThreadPool(2).imap(lambda n: fail(n) if n == 1 else n, range(3))
    assert next(values) == 0
    with pytest.raises(LookupError):
        next(values)
    assert list(values) == [2]


def test_imap_runs_no_further_ahead_than_it_is_told() -> None:
    begun: SimpleQueue[int] = SimpleQueue()
    values = ThreadPool(8).imap(begun.put, range(8), maxsize=2)
    for taken in range(1, 9):
        next(values)
        assert begun.qsize() <= taken + 2


# Threads


def test_threads_are_started_on_demand_and_kept() -> None:
    pool = ThreadPool(10)
    assert pool.size == 0
    idents = {pool.apply(get_ident) for _ in range(20)}
    assert (len(idents), pool.size) == (1, 1)
    barrier = threading.Barrier(10)
    assert sorted(pool.map(lambda _: barrier.wait(), range(10))) == list(range(10))
    assert pool.size == pool.maxsize == 10


def test_size() -> None:
    pool = ThreadPool(4)
    pool.size = 3
    assert pool.size == 3
    assert pool.apply(square, (3,)) == 9
    pool.size = 1
    assert pool.size == 1
    gate = Gate()
    pool.spawn(gate)
    shrinking = greenpool.spawn(setattr, pool, "size", 0)
    greenpool.sleep(0)
    assert not shrinking.dead
    gate.open()
    shrinking.get()
    assert pool.size == 0


def test_maxsize() -> None:
    pool = ThreadPool(4)
    barriers = {parties: threading.Barrier(parties) for parties in (2, 3, 4)}
    running = threading.BoundedSemaphore(4)

    def meet(parties: int) -> None:
        assert running.acquire(blocking=False)
        barriers[parties].wait()
        running.release()

    pool.map(meet, [4] * 4)
    pool.maxsize = 2
    assert pool.size == 2
    running = threading.BoundedSemaphore(2)
    pool.map(meet, [2] * 10)
    pool.maxsize = 3
    running = threading.BoundedSemaphore(3)
    pool.map(meet, [3] * 9)
    assert pool.size == 3


def test_kill_waits_for_the_calls_and_the_pool_can_be_used_again() -> None:
    pool = ThreadPool(1)
    gate = Gate()
    results = [pool.spawn(gate, "first")]
    spawning = greenpool.spawn(lambda: results.append(pool.spawn(square, 3)))
    greenpool.sleep(0)
    killing = greenpool.spawn(pool.kill)
    greenpool.sleep(0)
    assert not killing.dead
    gate.open()
    killing.get()
    spawning.get()
    assert [result.get() for result in results] == ["first", 9]
    assert (pool.size, len(pool)) == (0, 0)
    assert pool.apply(square, (3,)) == 9


def test_join() -> None:
    pool = ThreadPool(2)
    pool.join()
    results = [pool.spawn(square, number) for number in range(20)]
    pool.join()
    assert all(result.ready() for result in results)
    assert not pool


def test_repr() -> None:
    pool = ThreadPool(2)
    pool.apply(int)
    pool.join()
    assert repr(pool).endswith(": 0 calls, 1 of at most 2 threads>")


class Canary:
    """An object whose death the test can see."""


def thread_end() -> tuple[Event, Callable[[], None]]:
    """Return an event and a function. The event is set when the thread that has called the function ends."""
    ended = Event()
    in_thread = threading.local()

    def mark() -> None:
        in_thread.canary = Canary()
        weakref.finalize(in_thread.canary, ended.set)

    return ended, mark


def test_the_threads_of_a_dropped_pool_end_after_its_calls() -> None:
    pool = ThreadPool(2)
    ended, mark = thread_end()
    pool.apply(mark)
    gate = Gate()
    result = pool.spawn(gate, "told")
    del pool
    gate.open()
    assert result.get() == "told"
    ended.wait()


def test_from_many_hubs_and_plain_threads() -> None:
    pool = ThreadPool(3)
    running = threading.BoundedSemaphore(3)
    totals: SimpleQueue[int] = SimpleQueue()

    def call(number: int) -> int:
        assert running.acquire(blocking=False)
        running.release()
        return number

    def use() -> int:
        return sum(pool.apply(call, (number,)) for number in range(50)) + sum(pool.map(call, range(50)))

    threads = [threading.Thread(target=lambda: totals.put(use())) for _ in range(3)]
    for thread in threads:
        thread.start()
    with greenpool.Runtime(pool_size=4) as runtime:
        greenlets = [runtime.spawn(use) for _ in range(12)]
        assert {one.get() for one in greenlets} == {2 * 1225}
    for thread in threads:
        thread.join()
        assert totals.get() == 2 * 1225
    assert pool.size <= 3


NONSENSE: Any = 42


@pytest.mark.parametrize(
    ("kind", "call", "message"),
    [
        (TypeError, lambda: ThreadPool(NONSENSE / 2), "maxsize must be an int, not 21.0"),
        (ValueError, lambda: ThreadPool(-1), "maxsize must be at least 0, not -1"),
        (ValueError, lambda: ThreadPool(1, -2), "idle_task_timeout must not be negative, not -2"),
        (TypeError, lambda: ThreadPool(1).spawn(NONSENSE), "function must be callable, not 42"),
        (TypeError, lambda: ThreadPool(1).apply(NONSENSE), "function must be callable, not 42"),
        (TypeError, lambda: ThreadPool(1).apply_async(NONSENSE), "function must be callable, not 42"),
        (TypeError, lambda: ThreadPool(1).imap(square), "imap needs at least one iterable"),
        (ValueError, lambda: ThreadPool(1).imap(square, [1], maxsize=0), "maxsize must be at"),
        (ValueError, lambda: setattr(ThreadPool(2), "size", 3), "size must be from 0 to 2, not 3"),
        (ValueError, lambda: ThreadPoolExecutor(0), "max_workers must be greater than 0"),
        (TypeError, lambda: ThreadPoolExecutor(1).submit(NONSENSE), "function must be callable"),
    ],
)
def test_nonsense_is_refused(kind: type[Exception], call: Callable[[], object], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


# A pool against its model.


class Calls(RuleBasedStateMachine):
    """Calls begin in order, and as many run at once as there may be threads."""

    def __init__(self) -> None:
        super().__init__()
        greenpool.get_hub()
        self.pool = ThreadPool(2)
        self.begun: SimpleQueue[int] = SimpleQueue()
        self.gates: list[Any] = []
        self.callers: list[greenpool.Greenlet] = []
        # The model.
        self.running: list[int] = []
        self.pending: list[int] = []

    def function(self, number: int) -> int:
        self.begun.put(number)
        self.gates[number].acquire()
        return number

    def begin(self) -> None:
        """Check that as many calls have begun as there is room for."""
        room = max(0, self.pool.maxsize - len(self.running))
        beginning, self.pending = self.pending[:room], self.pending[room:]
        assert {self.begun.get() for _ in beginning} == set(beginning)
        self.running += beginning

    @rule(kind=st.sampled_from(["apply", "spawn"]))
    def call(self, kind: str) -> None:
        number = len(self.callers)
        gate = Lock()
        gate.acquire()
        self.gates.append(gate)

        def caller() -> Any:
            if kind == "apply":
                return self.pool.apply(self.function, (number,))
            return self.pool.spawn(self.function, number).get()

        self.callers.append(greenpool.spawn(caller))
        greenpool.sleep(0)
        self.pending.append(number)
        self.begin()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.running))
        self.gates[number].release()
        outcome = self.callers[number].get()
        assert outcome == number or isinstance(outcome, greenpool.GreenletExit)
        self.running.remove(number)
        self.begin()

    @precondition(lambda self: self.running or self.pending)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.running + self.pending))
        self.callers[number].kill()
        if number in self.pending:
            self.pending.remove(number)

    @rule(maxsize=st.integers(1, 4))
    def set_maxsize(self, maxsize: int) -> None:
        self.pool.maxsize = maxsize
        self.begin()

    @invariant()
    def counts(self) -> None:
        unfinished = len(self.running) + len(self.pending)
        # A call leaves the count a moment after its caller was told.
        self.pool._workers.wait_until(lambda: len(self.pool) == unfinished)
        assert len(self.running) <= self.pool.size <= max(self.pool.maxsize, len(self.running))
        assert self.begun.empty()

    def teardown(self) -> None:
        for gate in self.gates:
            if gate.locked():
                gate.release()
        self.pool.kill()
        assert (len(self.pool), self.pool.size) == (0, 0)


Calls.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
test_against_a_model = Calls.TestCase


# ThreadPoolExecutor


def test_submit_parks_the_greenlet_only() -> None:
    gate = Gate()
    with ThreadPoolExecutor(1) as executor:
        waiting = greenpool.spawn(lambda: executor.submit(gate, "passed").result())
        greenpool.spawn(gate.open)
        assert waiting.get() == "passed"
        with pytest.raises(LookupError):
            executor.submit(fail).result()
        assert isinstance(executor.submit(fail).exception(), LookupError)


def test_submit_never_waits() -> None:
    gate = Gate()
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(gate, "first")
        others = [executor.submit(square, number) for number in range(20)]
        gate.open()
        assert first.result() == "first"
        assert [future.result() for future in others] == [n * n for n in range(20)]


def test_executor_map() -> None:
    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(square, range(10), timeout=60)) == [n * n for n in range(10)]


def test_cancelling_a_call_that_was_not_begun() -> None:
    calls: list[str] = []
    gate = Gate()
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(gate)
        gate.begun.wait()
        second = executor.submit(calls.append, "second")
        assert not first.cancel()
        assert second.cancel()
        gate.open()
    assert (first.cancelled(), second.cancelled(), calls) == (False, True, [])


def test_shutdown() -> None:
    executor = ThreadPoolExecutor(1)
    gate = Gate()
    first, second = executor.submit(gate, "first"), executor.submit(square, 3)
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(square, 3)
    greenpool.spawn(gate.open)
    executor.shutdown()
    assert first.done() and second.done()
    assert (first.result(), second.result()) == ("first", 9)


def test_shutdown_cancels_what_was_not_begun() -> None:
    executor = ThreadPoolExecutor(1)
    gate = Gate()
    first, second = executor.submit(gate, "first"), executor.submit(square, 3)
    gate.begun.wait()
    greenpool.spawn(gate.open)
    executor.shutdown(cancel_futures=True)
    assert first.result() == "first"
    # wait() returns it, so the future was told that it is cancelled.
    assert concurrent.futures.wait([second], timeout=0).done == {second}
    assert second.cancelled()


def test_the_threads_of_a_dropped_executor_end() -> None:
    executor = ThreadPoolExecutor(2)
    ended, mark = thread_end()
    executor.submit(mark).result()
    del executor
    ended.wait()


def test_initializer() -> None:
    in_thread = threading.local()

    def initialize(value: str) -> None:
        in_thread.values = [*getattr(in_thread, "values", []), value]

    with ThreadPoolExecutor(2, initializer=initialize, initargs=("once",)) as executor:
        futures = [executor.submit(lambda: in_thread.values) for _ in range(20)]
        assert [future.result() for future in futures] == [["once"]] * 20


def test_an_initializer_that_fails() -> None:
    with ThreadPoolExecutor(1, initializer=fail) as executor:
        future = executor.submit(int)
        with pytest.raises(concurrent.futures.BrokenExecutor, match="the initializer raised"):
            future.result()
        with pytest.raises(concurrent.futures.BrokenExecutor, match="the initializer raised"):
            executor.submit(int)


def test_asyncio_runs_on_it() -> None:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        return await asyncio.gather(*(asyncio.to_thread(square, number) for number in range(10)))

    assert asyncio.run(main()) == [n * n for n in range(10)]


def test_a_callback_that_fails_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[type[BaseException]] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, *_: reported.append(kind))

    def callback(_: object) -> None:
        raise KeyboardInterrupt

    gate = Gate()
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(gate)
        future.add_done_callback(callback)
        gate.open()
        assert executor.submit(square, 3).result() == 9
    assert reported == [KeyboardInterrupt]


@pytest.mark.parametrize("other", ["size", "kill"])
def test_a_kill_goes_on_waiting_when_another_resize_has_returned(other: str) -> None:
    pool = ThreadPool(4)
    release, begun = threading.Event(), Event()

    def call() -> None:
        begun.set()
        release.wait()

    pool.spawn(call)
    begun.wait()
    killing = greenpool.spawn(pool.kill)
    greenpool.sleep(0)
    if other == "size":
        pool.size = 1
    else:
        with greenpool.Timeout(0.001, False):
            pool.kill()
    assert not killing.ready()
    release.set()
    killing.get()
    assert pool.size == 0


def test_a_callback_of_a_future_may_wait_for_a_later_call() -> None:
    with ThreadPoolExecutor(2) as executor:
        later: concurrent.futures.Future[int] = concurrent.futures.Future()
        release = threading.Event()
        first = executor.submit(release.wait)
        first.add_done_callback(lambda _: later.set_result(executor.submit(int, "7").result()))
        release.set()
        assert later.result() == 7


def test_calls_that_wait_while_the_initializer_fails() -> None:
    calls: list[int] = []
    release = threading.Event()

    def fail() -> None:
        calls.append(1)
        release.wait()
        raise LookupError

    executor = ThreadPoolExecutor(1, initializer=fail)
    futures = [executor.submit(int) for _ in range(3)]
    release.set()
    for future in futures:
        assert isinstance(future.exception(), concurrent.futures.thread.BrokenThreadPool)
    executor.shutdown()
    assert len(calls) == 1


def test_a_pool_of_no_threads_runs_nothing_until_it_may_have_some() -> None:
    pool = ThreadPool(0)
    results: list[int] = []
    greenlets = [greenpool.spawn(pool.spawn, results.append, number) for number in range(2)]
    greenpool.sleep(0.005)
    assert (results, pool.size) == ([], 0)
    pool.maxsize = 1
    for greenlet in greenlets:
        greenlet.get().get()
    assert results == [0, 1]
    pool.maxsize = 0
    pool.join()
    assert pool.size == 0
