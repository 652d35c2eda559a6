"""Waiting for several objects at once, and giving way: wait, iwait, joinall, killall, idle, sleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import Greenlet, GreenletExit, Runtime, Timeout, iwait, joinall, killall, wait
from greenpool.event import AsyncResult, Event
from greenpool.lock import Semaphore


class Failure(Exception):
    pass


def never() -> None:
    Event().wait()


def quiet(function: Callable[..., object], *args: object) -> Greenlet:
    greenlet = Greenlet(function, *args)
    greenlet.quiet = True
    greenlet.start()
    return greenlet


def fail() -> None:
    raise Failure


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=2) as runtime:
        yield runtime


@pytest.fixture(params=["main program", "other hub", "plain thread"])
def call(request: pytest.FixtureRequest, runtime: Runtime) -> Callable[..., Any]:
    """Call a function in one of the places where greenlets may be waited for."""

    def in_greenlet(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        greenlet = Greenlet(function, *args, **kwargs)
        greenlet.quiet = True
        runtime.handle().place(greenlet, 1)
        return greenlet.get()

    def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        future = AsyncResult()

        def target() -> None:
            try:
                future.set(function(*args, **kwargs))
            except BaseException as exception:
                future.set_exception(exception)

        thread = threading.Thread(target=target)
        thread.start()
        try:
            return future.get()
        finally:
            thread.join()

    if request.param == "other hub":
        return in_greenlet
    if request.param == "plain thread":
        return in_thread
    return lambda function, *args, **kwargs: function(*args, **kwargs)


def gated(runtime: Runtime, count: int) -> tuple[list[Event], list[Greenlet]]:
    gates = [Event() for _ in range(count)]
    return gates, [runtime.spawn(gate.wait) for gate in gates]


# wait and iwait


def test_iwait_yields_as_they_become_ready(runtime: Runtime, call: Callable[..., Any]) -> None:
    gates, greenlets = gated(runtime, 4)

    def collect() -> list[Greenlet]:
        order = []
        gates[2].set()
        for greenlet, gate in zip(iwait(greenlets), [gates[0], gates[3], gates[1], None], strict=True):
            order.append(greenlet)
            if gate is not None:
                gate.set()
        return order

    assert call(collect) == [greenlets[2], greenlets[0], greenlets[3], greenlets[1]]


def test_wait_takes_everything_with_a_rawlink(runtime: Runtime, call: Callable[..., Any]) -> None:
    event, result, semaphore = Event(), AsyncResult(), Semaphore(0)
    greenlet = runtime.spawn(int)

    def collect() -> Any:
        event.set()
        result.set(1)
        semaphore.release()
        return wait([event, result, greenlet, semaphore])

    assert set(call(collect)) == {event, result, greenlet, semaphore}


def test_wait_for_a_count(runtime: Runtime, call: Callable[..., Any]) -> None:
    gates, greenlets = gated(runtime, 4)
    gates[1].set()
    gates[3].set()
    assert set(call(wait, greenlets, count=2)) == {greenlets[1], greenlets[3]}
    assert call(wait, greenlets, count=0) == []
    for gate in gates:
        gate.set()
    assert set(call(wait, greenlets, count=100)) == set(greenlets)


def test_wait_with_a_timeout_returns_what_is_ready(runtime: Runtime, call: Callable[..., Any]) -> None:
    gates, greenlets = gated(runtime, 3)
    gates[1].set()
    greenlets[1].join()
    assert call(wait, greenlets, timeout=0) == [greenlets[1]]
    assert call(wait, greenlets, timeout=0.005) == [greenlets[1]]
    for gate in gates:
        gate.set()
    joinall(greenlets)


def test_wait_takes_the_ready_ones_without_blocking(runtime: Runtime) -> None:
    events = [Event() for _ in range(3)]
    events[0].set()
    assert wait(events, timeout=0) == [events[0]]
    assert wait([], timeout=0) == []
    assert wait([]) == []


def test_iwait_in_a_with_block_takes_its_links_back() -> None:
    result, never_set = AsyncResult(), AsyncResult()
    result.set(1)
    with iwait([result, never_set]) as completed:
        for each in completed:
            assert each is result
            break
    # An object that becomes ready later finds no link of the iteration.
    never_set.set(2)
    assert list(completed) == []


def test_wait_without_objects_waits_for_all_others_of_this_hub(runtime: Runtime) -> None:
    order: list[str] = []

    def main() -> None:
        for name in ("one", "two"):
            greenpool.spawn_later(0.002, order.append, name)
        assert wait() is True
        order.append("main")

    runtime.spawn(main).get()
    assert order == ["one", "two", "main"]


def test_wait_without_objects_and_with_a_timeout(runtime: Runtime) -> None:
    def main() -> object:
        other = greenpool.spawn(never)
        waited = wait(timeout=0.005)
        other.kill()
        return waited

    assert runtime.spawn(main).get() is False


@settings(max_examples=30)
@given(
    order=st.permutations(range(5)),
    count=st.one_of(st.none(), st.integers(0, 7)),
    doubled=st.booleans(),
)
def test_wait_against_a_model(runtime: Runtime, order: list[int], count: int | None, doubled: bool) -> None:
    """The objects become ready in any order. The first *count* come back in that order."""
    results = [AsyncResult() for _ in order]
    waited_for = results * 2 if doubled else results
    waiter = runtime.spawn(wait, waited_for, None, count)
    runtime.handle().spawn_on(0, int).join()
    runtime.handle().spawn_on(1, int).join()
    for index in order:
        results[index].set(index)
    found = waiter.get()
    expected = [results[index] for index in order for _ in range(2 if doubled else 1)]
    assert len(found) == min(len(waited_for), len(waited_for) if count is None else count)
    if not doubled:
        assert found == expected[: len(found)]


# joinall


def test_joinall_returns_all_that_ended(runtime: Runtime, call: Callable[..., Any]) -> None:
    greenlets = [runtime.spawn(greenpool.sleep, number / 1000) for number in (3, 0, 2, 1)]
    assert set(call(joinall, greenlets)) == set(greenlets)
    assert all(greenlet.dead for greenlet in greenlets)
    assert set(call(joinall, iter(greenlets))) == set(greenlets)
    assert call(joinall, []) == []


def test_joinall_without_raise_error_takes_failures_as_ends() -> None:
    greenlets = [quiet(fail), quiet(int)]
    assert joinall(greenlets) == greenlets
    assert [greenlet.successful() for greenlet in greenlets] == [False, True]


def test_joinall_with_raise_error(runtime: Runtime) -> None:
    slow = runtime.spawn(never)
    failing = quiet(fail)
    with pytest.raises(Failure):
        joinall([slow, failing], raise_error=True)
    assert not slow.dead
    slow.kill()


def test_joinall_with_timeout_and_count(runtime: Runtime, call: Callable[..., Any]) -> None:
    gates, greenlets = gated(runtime, 3)
    gates[1].set()
    assert call(joinall, greenlets, count=1) == [greenlets[1]]
    assert call(joinall, greenlets, timeout=0) == [greenlets[1]]
    assert call(joinall, greenlets, timeout=0.005) == [greenlets[1]]
    for gate in gates:
        gate.set()
    assert set(call(joinall, greenlets, timeout=60)) == set(greenlets)


def test_joinall_of_many_over_the_hubs(runtime: Runtime) -> None:
    assert len(joinall([runtime.spawn(int) for _ in range(2000)])) == 2000


def test_joinall_takes_the_same_one_twice() -> None:
    greenlet = greenpool.spawn(int)
    assert joinall([greenlet, greenlet]) == [greenlet, greenlet]


# killall


def test_killall_waits_for_the_end_of_all(runtime: Runtime, call: Callable[..., Any]) -> None:
    ended: list[int] = []
    reached = Semaphore(0)

    def target(number: int) -> None:
        try:
            reached.release()
            never()
        finally:
            greenpool.sleep(0.001)
            ended.append(number)

    greenlets = [runtime.spawn(target, number) for number in range(4)]
    for _ in greenlets:
        reached.acquire()
    assert call(killall, greenlets) is None
    assert sorted(ended) == [0, 1, 2, 3]
    assert all(isinstance(greenlet.value, GreenletExit) for greenlet in greenlets)
    assert call(killall, iter(greenlets)) is None


def test_killall_with_another_exception() -> None:
    greenlets = [quiet(never) for _ in range(3)]
    greenpool.sleep(0)
    killall(greenlets, Failure)
    assert all(isinstance(greenlet.exception, Failure) for greenlet in greenlets)


def test_killall_that_does_not_block() -> None:
    greenlets = [greenpool.spawn(never) for _ in range(3)]
    greenpool.sleep(0)
    killall(greenlets, block=False)
    assert not any(greenlet.dead for greenlet in greenlets)
    joinall(greenlets)
    killall([])


def test_killall_of_those_that_never_ran() -> None:
    calls: list[int] = []
    greenlets = [Greenlet(calls.append, 0), greenpool.spawn(calls.append, 1)]
    greenlets.append(greenpool.spawn_later(60, never))
    killall(greenlets)
    assert all(greenlet.dead for greenlet in greenlets)
    assert calls == []


def test_killall_raises_timeout_where_one_does_not_end() -> None:
    gate = Event()

    def stubborn() -> None:
        try:
            never()
        except GreenletExit:
            gate.wait()

    greenlets = [greenpool.spawn(never), greenpool.spawn(stubborn)]
    greenpool.sleep(0)
    with pytest.raises(Timeout):
        killall(greenlets, timeout=0.005)
    assert [greenlet.dead for greenlet in greenlets] == [True, False]
    gate.set()
    joinall(greenlets)


def test_killall_with_itself_among_them() -> None:
    others = [greenpool.spawn(never) for _ in range(2)]

    def one_of_them() -> None:
        killall([others[0], greenpool.getcurrent(), others[1]])

    greenlet = greenpool.spawn(one_of_them)
    joinall([greenlet, *others])
    assert all(isinstance(each.value, GreenletExit) for each in (greenlet, *others))


# sleep, idle, getcurrent


def test_sleep_waits_at_least_that_long(call: Callable[..., Any]) -> None:
    begin = time.monotonic()
    assert call(greenpool.sleep, 0.01) is None
    assert time.monotonic() - begin >= 0.01


def test_sleep_of_zero_lets_all_others_run_once() -> None:
    order: list[tuple[str, int]] = []

    def counter(name: str) -> None:
        for number in range(3):
            order.append((name, number))
            greenpool.sleep(0)

    joinall([greenpool.spawn(counter, name) for name in "abc"])
    assert order == [(name, number) for number in range(3) for name in "abc"]


def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    order: list[int] = []

    def sleeper(number: int) -> None:
        greenpool.sleep(number / 500)
        order.append(number)

    joinall([greenpool.spawn(sleeper, number) for number in (4, 2, 0, 3, 1)])
    assert order == [0, 1, 2, 3, 4]


def test_sleep_by_one_does_not_hold_up_others_of_the_hub(runtime: Runtime) -> None:
    handle = runtime.handle()
    sleeper = handle.spawn_on(0, greenpool.sleep, 60)
    assert handle.spawn_on(0, lambda: "ran").get() == "ran"
    sleeper.kill()


def test_a_greenlet_that_always_gives_way_does_not_starve_the_others() -> None:
    """Timers, other threads and new greenlets all get their turn."""
    stop: list[bool] = []

    def busy() -> int:
        turns = 0
        while not stop:
            greenpool.sleep(0)
            turns += 1
        return turns

    spinner = greenpool.spawn(busy)
    greenpool.sleep(0.002)
    result = AsyncResult()
    thread = threading.Thread(target=result.set, args=(1,))
    thread.start()
    assert result.get() == 1
    thread.join()
    stop.append(True)
    assert spinner.get() > 0


def test_idle_waits_until_nothing_is_ready() -> None:
    order: list[int] = []

    def counter() -> None:
        for number in range(50):
            order.append(number)
            greenpool.sleep(0)

    greenlet = greenpool.spawn(counter)
    asleep = greenpool.spawn(never)
    greenpool.idle()
    assert order == list(range(50))
    assert not asleep.dead
    asleep.kill()
    greenlet.join()


def test_getcurrent_differs_between_greenlets_and_threads(call: Callable[..., Any]) -> None:
    here = greenpool.getcurrent()
    assert here is greenpool.getcurrent()
    assert greenpool.spawn(greenpool.getcurrent).get() is not here
    assert call(lambda: greenpool.getcurrent() is greenpool.getcurrent())
