"""Carriers: a greenlet that has run one task runs the next, and nothing of the first task remains."""

from __future__ import annotations

import contextvars
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import greenlet
import pytest
from places import until

import greenpool
from greenpool import GreenletExit, Timeout
from greenpool._core.carrier import KEPT_FREE_CARRIERS, end_carrier
from greenpool._core.current import BUDGET, current_hub, getcurrent
from greenpool._core.hub import Hub
from greenpool._core.state import MAX_FREE_CARRIERS
from greenpool._core.task import Task
from greenpool._core.waiter import Waiter, interrupt
from greenpool.event import Event
from greenpool.local import local

pytestmark = pytest.mark.usefixtures("leak_check")

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def in_the_loop(function: Callable[[], object]) -> None:
    """Have the loop call *function*, because only the loop may end a carrier."""
    hub = current_hub()
    waiter = Waiter()
    hub.call_soon(lambda: (function(), waiter.wake()))
    waiter.park()


def end_free_carriers() -> None:
    hub = current_hub()
    while hub.free_carriers:
        end_carrier(hub.free_carriers.pop())


@pytest.fixture(autouse=True)
def no_free_carriers() -> None:
    in_the_loop(end_free_carriers)


def one_after_the_other(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Task, Task]:
    """Run two tasks on one and the same carrier."""
    carriers = []

    def on_carrier(function: Callable[[], Any]) -> Any:
        carriers.append(getcurrent())
        return function()

    tasks = []
    for function in (first, second):
        task = Task(on_carrier, function)
        task.quiet = True
        task.start()
        task.join()
        tasks.append(task)
    assert carriers[0] is carriers[1]
    return tasks[0], tasks[1]


# Nothing remains of the first task.


def test_context_of_the_first_task() -> None:
    variable.set("main")

    def first() -> str:
        assert variable.get() == "main"
        variable.set("first")
        return variable.get()

    one, two = one_after_the_other(first, variable.get)
    assert (one.value, two.value, variable.get()) == ("first", "main", "main")


def test_an_own_context_of_the_first_task() -> None:
    context = contextvars.Context()
    task = Task(variable.set, "own", context=context)
    task.start()
    second = Task(variable.get)
    second.start()
    second.join()
    assert context[variable] == "own"
    assert second.value != "own"


def test_a_free_carrier_keeps_no_context_alive() -> None:
    class Value:
        pass

    value = Value()
    gone = weakref.ref(value)
    held: contextvars.ContextVar[Value] = contextvars.ContextVar("held")

    greenpool.spawn(held.set, value).join()
    del value
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("outcome", ["returns", "raises", "is killed"])
def test_locals_and_arguments_of_the_first_task(outcome: str) -> None:
    class Value:
        pass

    argument = Value()
    dead: list[weakref.ref[Value]] = [weakref.ref(argument)]

    def first(argument: Value) -> None:
        local = Value()
        dead.append(weakref.ref(local))
        if outcome == "raises":
            raise ValueError
        if outcome == "is killed":
            greenpool.sleep(60)

    task = Task(first, argument)
    task.quiet = True
    task.start()
    greenpool.sleep(0)
    task.kill()
    if outcome == "raises":
        assert task.exception is not None
        task.exception.__traceback__ = None  # the traceback refers to the frames
    del argument
    gc.collect()
    assert [each() for each in dead] == [None, None]


def test_a_task_that_nobody_holds_dies_when_it_ends() -> None:
    tasks: list[weakref.ref[Task]] = []
    carriers = []

    def run() -> None:
        tasks.append(weakref.ref(greenpool.getcurrent()))
        carriers.append(getcurrent())

    for _ in range(5):
        greenpool.spawn(run)
    greenpool.sleep(0.001)
    gc.collect()
    assert [task() for task in tasks] == [None] * 5
    assert all(carrier.task is None for carrier in carriers)


def test_a_return_value_dies_with_its_task() -> None:
    class Value:
        pass

    task = greenpool.spawn(Value)
    task.join()
    value = weakref.ref(task.value)
    del task
    greenpool.sleep(0.001)  # the loop started the task and forgets it after its pass
    gc.collect()
    assert value() is None


def test_exception_state_of_the_first_task() -> None:
    def first() -> None:
        try:
            raise ValueError("handled, and its handler never left")
        except ValueError:
            greenpool.sleep(60)

    def second() -> Any:
        before = sys.exc_info()
        greenpool.sleep(0)
        return before, sys.exc_info()

    one = greenpool.spawn(first)
    greenpool.sleep(0)
    carrier = one.carrier
    one.kill()
    two = greenpool.spawn(second)
    greenpool.sleep(0)
    assert two.carrier is carrier
    assert two.get() == ((None, None, None), (None, None, None))


def test_a_failure_of_the_first_task_is_not_the_context_of_the_next_ones() -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    _, two = one_after_the_other(lambda: fail("first"), lambda: fail("second"))
    assert two.exception is not None
    assert two.exception.__context__ is None


def test_a_spawner_that_handles_an_exception_does_not_hand_it_down() -> None:
    try:
        raise ValueError("of the spawner")
    except ValueError:
        task = greenpool.spawn(sys.exc_info)
        assert task.get() == (None, None, None)


def test_interrupts_that_the_first_task_never_took() -> None:
    def first() -> None:
        interrupt(getcurrent(), ValueError("for the first"))

    one, two = one_after_the_other(first, lambda: greenpool.sleep(0.001))
    assert one.successful()
    assert two.successful()


def test_a_kill_of_the_first_task_that_comes_after_its_end() -> None:
    first = greenpool.spawn(int)
    second = greenpool.spawn(greenpool.sleep, 0.001)
    greenpool.sleep(0)
    first.kill()
    Task._kill(first, GreenletExit())
    second.join()
    assert second.value is None


def test_a_timeout_that_the_first_task_did_not_close() -> None:
    def first() -> None:
        Timeout.start_new(0.001)

    one, two = one_after_the_other(first, lambda: greenpool.sleep(0.01))
    assert two.successful(), two.exception


def test_a_timeout_that_fired_while_the_first_task_was_about_to_end() -> None:
    def first() -> None:
        timeout = Timeout.start_new(0)
        greenpool.sleep(0)
        greenpool.sleep(0)
        timeout.close()

    one, two = one_after_the_other(first, lambda: greenpool.sleep(0.001))
    assert two.successful(), two.exception


def test_placement_of_the_first_task() -> None:
    """A task spawns on the pool only while its own block_on runs."""
    with greenpool.Runtime(pool_size=2) as runtime:

        def spawned_on() -> Hub:
            child = greenpool.spawn(current_hub)
            return child.get()  # type: ignore[no-any-return]

        def first() -> Hub:
            carrier = getcurrent()
            hub = runtime.block_on(spawned_on)
            carrier.placement = runtime._hubs.place  # simulates a block_on that was left without its finally
            return hub

        one, two = one_after_the_other(first, spawned_on)
        assert one.get() in runtime._hubs.hubs
        assert two.get() is current_hub()


# Starting many.


def test_ten_thousand_starts_nest_no_recursion() -> None:
    """All the tasks are alive at the same time, and each has nearly the whole recursion limit."""
    reached: list[Waiter] = []

    def descend(level: int) -> None:
        if level:
            descend(level - 1)

    def park_after_a_descent(number: int) -> None:
        if number % 100 == 99:  # every hundredth only, to save memory
            descend(sys.getrecursionlimit() - 150)
        reached.append(Waiter())
        reached[-1].park()

    tasks = [greenpool.spawn(park_after_a_descent, number) for number in range(10_000)]
    while len(reached) < len(tasks):
        assert tasks[99].exception is None
        greenpool.sleep(0)
    for waiter in reached:
        waiter.wake()
    for task in tasks:
        task.join()
    assert all(task.successful() for task in tasks)


def test_a_chain_of_starts_nests_no_recursion() -> None:
    """Each task starts the next one and waits for it."""
    depths: list[int] = []

    def start_next(left: int) -> None:
        depths.append(len_of_stack())
        if left:
            child = greenpool.spawn(start_next, left - 1)
            child.join()

    def len_of_stack() -> int:
        frame: Any = sys._getframe()
        depth = 0
        while frame is not None:
            depth += 1
            frame = frame.f_back
        return depth

    greenpool.spawn(start_next, 3000).join()
    assert len(depths) == 3001
    # A greenlet's stack ends where the loop's begins.
    assert len(set(depths)) == 1


def test_starts_from_a_task_are_made_by_the_loop() -> None:
    """The loop is the parent of each carrier, even if a task spawned it."""
    carriers = []

    def spawn_others(level: int) -> None:
        carriers.append(getcurrent())
        if level:
            children = [greenpool.spawn(spawn_others, level - 1) for _ in range(3)]
            greenpool.joinall(children)

    greenpool.spawn(spawn_others, 3).join()
    assert {carrier.parent for carrier in carriers} == {current_hub().loop}


# Recycling.


def test_a_carrier_is_used_again() -> None:
    carriers = {greenpool.spawn(getcurrent).get() for _ in range(100)}
    assert len(carriers) == 1


def test_tasks_that_do_not_wait_follow_each_other_on_one_carrier() -> None:
    tasks = [greenpool.spawn(getcurrent) for _ in range(100)]
    assert len({task.get() for task in tasks}) == 1


def test_budget_is_within_its_bounds_for_a_new_task() -> None:
    assert 0 < greenpool.spawn(lambda: getcurrent().budget).get() <= BUDGET


def burst(size: int) -> None:
    """Run *size* tasks that are parked at the same time."""
    waiters: list[Waiter] = []

    def park() -> None:
        waiters.append(Waiter())
        waiters[-1].park()

    tasks = [greenpool.spawn(park) for _ in range(size)]
    while len(waiters) < size:
        greenpool.sleep(0)
    for waiter in waiters:
        waiter.wake()
    for task in tasks:
        task.join()


def test_the_free_list_is_bounded() -> None:
    hub = current_hub()
    parked = len(hub.carriers)
    burst(MAX_FREE_CARRIERS + 500)
    assert len(hub.free_carriers) <= MAX_FREE_CARRIERS
    assert len(hub.carriers) <= parked + MAX_FREE_CARRIERS


def test_the_free_list_shrinks_while_the_hub_rests() -> None:
    hub = current_hub()
    parked = len(hub.carriers)
    burst(200)
    assert len(hub.free_carriers) > 100
    counts = []
    while len(hub.free_carriers) > KEPT_FREE_CARRIERS:
        counts.append(len(hub.free_carriers))
        greenpool.sleep(0.001)
    assert counts == sorted(counts, reverse=True)
    assert len(hub.carriers) <= parked + KEPT_FREE_CARRIERS


def test_carriers_that_ended_are_dead_greenlets() -> None:
    hub = current_hub()
    burst(KEPT_FREE_CARRIERS + 50)
    carriers = list(hub.free_carriers)
    while len(hub.free_carriers) > KEPT_FREE_CARRIERS:
        greenpool.sleep(0.001)
    ended = [carrier for carrier in carriers if carrier not in hub.free_carriers]
    assert ended
    assert all(carrier.dead for carrier in ended)
    assert not any(carrier in hub.carriers for carrier in ended)


def test_a_stray_resume_of_a_free_carrier_does_no_harm() -> None:
    hub = current_hub()
    greenpool.spawn(int).join()
    (free,) = hub.free_carriers[-1:]
    hub.ready.extend([free, free])
    greenpool.sleep(0)
    assert greenpool.spawn(lambda: "runs").get() == "runs"


def test_a_stray_resume_of_a_dead_carrier_does_no_harm() -> None:
    hub = current_hub()
    greenpool.spawn(int).join()
    (carrier,) = hub.free_carriers
    in_the_loop(end_free_carriers)
    assert carrier.dead
    hub.ready.extend([carrier, carrier])
    greenpool.sleep(0.001)
    assert greenpool.spawn(lambda: "runs").get() == "runs"


def test_the_hub_of_a_thread_does_not_outlive_it(on_new_thread: Callable[..., Any]) -> None:
    """The hub's free carriers have resumed each other, so each carrier is on the stack of another one."""

    def run() -> weakref.ref[Hub]:
        burst(20)
        return weakref.ref(current_hub())

    hubs = [on_new_thread(run) for _ in range(3)]
    # greenlet frees the last thread's main greenlet only when another thread ends, and an OS thread ends
    # some time after its join. The test's time limit ends the wait.
    until(lambda: gc.collect() >= 0 and [hub() for hub in hubs[:-1]] == [None, None])


def test_a_carrier_is_switched_by_its_own_thread_only() -> None:
    """Ten thousand spawns and joins across hubs. greenlet itself raises if a foreign thread switches."""
    with greenpool.Runtime(pool_size=3) as runtime:

        def ask_others(number: int) -> int:
            return sum(runtime.spawn(int, number).get() for _ in range(30))

        tasks = [runtime.spawn(ask_others, number) for number in range(100)]
        assert [task.get() for task in tasks] == [30 * number for number in range(100)]


def test_raw_greenlets_may_wait_too() -> None:
    order = []

    def wait() -> None:
        greenpool.sleep(0.001)
        order.append("raw")

    greenpool.spawn(order.append, "task")
    # The raw greenlet's parent is the main greenlet, which goes on when the raw one ends.
    greenlet.greenlet(wait).switch()
    assert order == ["task", "raw"]


# Finalizers that wait.


class Waits:
    """An object whose finalizer waits."""

    def __init__(self, event: Event, ended: list[str]) -> None:
        self.event = event
        self.ended = ended

    def __del__(self) -> None:
        try:
            self.event.wait()
            self.ended.append("finalizer")
        except GreenletExit:
            self.ended.append("killed")


def test_the_finalizer_of_a_value_that_nobody_took_may_wait() -> None:
    """The carrier has not taken the next greenlet yet, and the finalizer may be waiting for that one."""
    event, ended = Event(), list[str]()

    def give() -> Waits:
        return Waits(event, ended)

    greenpool.spawn(give)
    greenpool.spawn(event.set)
    while not ended:
        greenpool.sleep(0.001)


@pytest.mark.parametrize("where", ["a local", "an argument"])
def test_a_finalizer_may_wait_at_the_end_of_a_greenlet_that_is_killed_meanwhile(where: str) -> None:
    """The kill reaches the finalizer, and the greenlet ends once."""
    event, ended = Event(), list[str]()
    values = local()
    hub = current_hub()
    live = hub.live

    def use(**_: object) -> int:
        if where == "a local":
            values.value = Waits(event, ended)
        return 42

    greenlet = greenpool.spawn(use, **({} if where == "a local" else {"it": Waits(event, ended)}))
    for _ in range(3):
        greenpool.sleep(0)
    greenlet.kill()
    assert ended == ["killed"]
    assert greenlet.value == 42
    assert hub.live == live


def test_a_finalizer_may_wait_where_a_greenlet_is_killed_before_its_turn() -> None:
    event, ended = Event(), list[str]()
    hub = current_hub()
    live = hub.live
    greenlet = greenpool.spawn(print, Waits(event, ended))
    greenpool.spawn(event.set)
    greenlet.kill()
    assert isinstance(greenlet.value, GreenletExit)
    while not ended:
        greenpool.sleep(0)
    assert hub.live == live
