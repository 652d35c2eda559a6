"""Links run in the order in which they were added, before those who joined later, and never after unlink."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import Greenlet, Runtime, TaskGroup
from greenpool.event import AsyncResult, Event
from greenpool.lock import Semaphore
from greenpool.pool import Group, Pool

Start = Callable[..., Greenlet]
Join = Callable[[Greenlet], object]
OnAHub = Callable[[Callable[[], object]], object]


def fail(_: object = None) -> None:
    raise ValueError("on purpose")


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=2) as runtime:
        yield runtime


@pytest.fixture(params=["own hub", "other hub"])
def start(request: pytest.FixtureRequest, runtime: Runtime) -> Start:
    """Starts a greenlet on the caller's hub, or on one of a pool's."""
    return greenpool.spawn if request.param == "own hub" else runtime.spawn


@pytest.fixture
def on_a_hub(runtime: Runtime) -> OnAHub:
    """Calls a function on a hub of a pool, where links stay due for a turn.

    On the hub of a plain thread the loop calls them before anything else goes on.
    """
    return lambda function: runtime.spawn(function).get()


def join_by_group(greenlet: Greenlet) -> None:
    group = Group()
    group.add(greenlet)
    group.join()


def join_by_kill(greenlet: Greenlet) -> None:
    greenlet.kill()


JOINS: dict[str, Join] = {
    "join": Greenlet.join,
    "join with a timeout": lambda greenlet: greenlet.join(30),
    "get": lambda greenlet: greenlet.get(),
    "joinall": lambda greenlet: greenpool.joinall([greenlet]),
    "joinall with a count": lambda greenlet: greenpool.joinall([greenlet], count=1),
    "joinall that raises": lambda greenlet: greenpool.joinall([greenlet], raise_error=True),
    "wait": lambda greenlet: greenpool.wait([greenlet]),
    "iwait": lambda greenlet: next(greenpool.iwait([greenlet])),
    "group": join_by_group,
    "kill": join_by_kill,
    "future": lambda greenlet: greenlet.as_future().result(),
}


@pytest.mark.parametrize("join", JOINS.values(), ids=list(JOINS))
@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
def test_links_run_before_a_later_join_returns(start: Start, join: Join, ended: bool) -> None:
    called: list[object] = []
    greenlet = start(called.append, "run")
    if ended:
        while not greenlet.dead:
            greenpool.sleep(0)
    greenlet.rawlink(lambda _: called.append("rawlink"))
    greenlet.link(lambda _: called.append("link"))
    greenlet.link_exception(lambda _: called.append("never"))
    greenlet.link_value(lambda _: called.append("value"))
    greenlet.rawlink(lambda _: called.append("last"))
    join(greenlet)
    assert called[-4:] == ["rawlink", "link", "value", "last"]


@pytest.mark.parametrize("join", JOINS.values(), ids=list(JOINS))
def test_links_that_are_due_run_before_a_join_returns(on_a_hub: OnAHub, join: Join) -> None:
    """The greenlet ends while another waits for something else, and nothing has been called by then."""

    def check() -> None:
        called: list[str] = []
        greenlet = greenpool.spawn(int)
        greenlet.link(lambda _: called.append("link"))
        greenlet.rawlink(lambda _: called.append("rawlink"))
        greenpool.sleep(0)
        assert greenlet.dead
        assert called == []
        join(greenlet)
        assert called == ["link", "rawlink"]

    on_a_hub(check)


def test_a_poll_does_not_wait_for_links(on_a_hub: OnAHub) -> None:
    def check() -> None:
        called: list[object] = []
        greenlet = greenpool.spawn(int)
        greenlet.rawlink(called.append)
        greenpool.sleep(0)
        result: AsyncResult[int] = AsyncResult()
        result.rawlink(called.append)
        result.set(0)
        for target in (greenlet, result):
            assert target.get(block=False) == 0
        assert called == []
        for target in (greenlet, result):
            assert target.get() == 0
        assert called == [greenlet, result]

    on_a_hub(check)


@pytest.mark.parametrize("spawns", ["on a plain thread's hub", "on its own hub", "over a pool"])
@pytest.mark.parametrize("method", ["link", "rawlink"])
def test_links_of_a_group_run_before_its_join_returns(runtime: Runtime, spawns: str, method: str) -> None:
    def check() -> None:
        called: list[object] = []
        go = Event()
        for pool in (Group(), Pool(2)):
            getattr(pool.spawn(go.wait), method)(called.append)
            member = pool.spawn(go.wait)
            future = member.as_future()
            getattr(member, method)(called.append)
            go.set()
            assert future.result()
            assert member in called
            pool.join()
            assert len(called) == 2
            called.clear()
            go.clear()
        with TaskGroup() as group:
            for _ in range(2):
                getattr(group.spawn(go.wait), method)(called.append)
            go.set()
        assert len(called) == 2
        go.clear()
        with pytest.raises(ExceptionGroup), TaskGroup() as group:
            getattr(group.spawn(lambda: fail(go.wait())), method)(called.append)
            getattr(group.spawn(Event().wait), method)(called.append)
            go.set()
        assert len(called) == 4

    if spawns == "on its own hub":
        runtime.spawn(check).get()
    elif spawns == "over a pool":
        runtime.block_on(check)
    else:
        check()


def test_two_joins_with_a_link_between_them(on_a_hub: OnAHub) -> None:
    """The links between them are called before the second goes on."""

    def check() -> None:
        called: list[str] = []
        go = Event()

        def join(name: str) -> None:
            greenlet.join()
            called.append(name)

        greenlet = greenpool.spawn(go.wait)
        first = greenpool.spawn(join, "first")
        greenpool.sleep(0)
        greenlet.rawlink(lambda _: called.append("link"))
        second = greenpool.spawn(join, "second")
        greenpool.sleep(0)
        go.set()
        greenpool.joinall([first, second])
        assert sorted(called) == ["first", "link", "second"]
        assert called.index("link") < called.index("second")

    on_a_hub(check)


@pytest.mark.parametrize("method", ["link", "rawlink", "link_value"])
def test_what_is_due_can_be_unlinked(on_a_hub: OnAHub, method: str) -> None:
    def check() -> None:
        called: list[object] = []
        greenlet = greenpool.spawn(int)
        for callback in (called.append, called.remove):
            getattr(greenlet, method)(callback)
        greenpool.sleep(0)
        assert greenlet.dead
        greenlet.unlink(called.append)
        greenlet.unlink(called.remove)
        greenpool.sleep(0.001)
        assert called == []
        greenlet.join()

    on_a_hub(check)


@pytest.mark.parametrize(
    "methods", [("rawlink", "rawlink"), ("rawlink", "link"), ("link", "rawlink"), ("link", "link")]
)
def test_a_link_takes_back_the_next(start: Start, methods: tuple[str, str]) -> None:
    called: list[object] = []
    go = Event()

    def second(_: object) -> None:
        called.append("second")

    def first(greenlet: Greenlet) -> None:
        called.append("first")
        greenlet.unlink(second)

    greenlet = start(go.wait)
    getattr(greenlet, methods[0])(first)
    getattr(greenlet, methods[1])(second)
    go.set()
    greenlet.join()
    assert called == ["first"]


def test_a_link_that_is_started_and_then_taken_back_lets_the_next_ones_run() -> None:
    called: list[object] = []
    greenlet = greenpool.spawn(int)
    greenlet.rawlink(lambda _: greenpool.spawn(greenlet.unlink, called.append))
    greenlet.link(called.append)
    greenlet.rawlink(lambda _: called.append("next"))
    greenlet.join()
    assert called in (["next"], [greenlet, "next"])


def test_a_link_adds_a_link_and_joins(start: Start) -> None:
    called: list[object] = []

    def first(greenlet: Greenlet) -> None:
        greenlet.rawlink(lambda _: called.append("added"))
        greenlet.join()
        called.append("joined")

    go = Event()
    greenlet = start(go.wait)
    greenlet.link(first)
    greenlet.rawlink(lambda ended: called.append(ended.get()))
    go.set()
    greenlet.join()
    assert called[0] is True
    while "joined" not in called:
        greenpool.sleep(0)
    assert called == [True, "added", "joined"]


def test_links_that_raise_do_not_stop_the_next(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())
    called: list[object] = []
    greenlet = start(int)
    for method in ("link", "rawlink"):
        getattr(greenlet, method)(fail)
        getattr(greenlet, method)(called.append)
    greenlet.join()
    assert called == [greenlet, greenlet]
    assert stderr.getvalue().count("ValueError: on purpose") == 2


def test_a_link_that_waits_keeps_nobody() -> None:
    """A join behind it goes on when it first waits."""
    go = Event()
    greenlet = greenpool.spawn(int)
    greenlet.link(lambda _: go.wait())
    greenlet.join()
    assert greenpool.spawn(int).get() == 0
    go.set()


def test_links_of_an_unstarted_greenlet_run_before_a_join_returns() -> None:
    called: list[object] = []
    greenlet = Greenlet(int)
    for method in ("link", "rawlink", "link_value"):
        getattr(greenlet, method)(called.append)
    greenlet.kill(block=False)
    greenlet.rawlink(called.append)
    greenlet.unlink(called.append)
    greenlet.join()
    greenpool.sleep(0)
    assert called == [greenlet] * 3


@pytest.mark.parametrize("primitive", [Event, AsyncResult])
@pytest.mark.parametrize("setter", ["own hub", "other hub", "thread"])
def test_links_of_an_event_run_before_a_later_wait_returns(
    primitive: Any, setter: str, runtime: Runtime
) -> None:
    for _ in range(20):
        called: list[object] = []
        event = primitive()
        event.rawlink(called.append)
        event.rawlink(lambda _, called=called: called.append("first"))
        event.rawlink(lambda _, called=called: called.append("second"))
        event.unlink(called.append)
        thread = threading.Thread(target=event.set)
        if setter == "own hub":
            greenpool.spawn(event.set)
        elif setter == "other hub":
            runtime.spawn(event.set)
        else:
            thread.start()
        event.wait()
        assert called == ["first", "second"]
        if setter == "thread":
            thread.join()


@pytest.mark.parametrize("primitive", [Event, AsyncResult, Semaphore])
def test_a_link_of_a_primitive_that_is_due_can_be_unlinked(primitive: Any) -> None:
    called: list[object] = []
    event = primitive(0) if primitive is Semaphore else primitive()
    event.rawlink(called.append)
    event.rawlink(called.append)
    event.release() if primitive is Semaphore else event.set()
    event.unlink(called.append)
    greenpool.sleep(0.001)
    assert called == [event]
    event.rawlink(called.append)
    event.unlink(called.append)
    event.wait()
    greenpool.sleep(0.001)
    assert called == [event]


@pytest.mark.parametrize("primitive", [Event, AsyncResult])
def test_a_wait_for_what_is_set_lets_links_run_first(primitive: Any) -> None:
    called: list[object] = []
    event = primitive()
    event.rawlink(called.append)
    event.set()
    event.rawlink(called.append)
    assert called == []
    event.wait()
    assert called == [event, event]
    # In a link itself nothing can wait.
    event.rawlink(lambda source: called.append(source.wait()))
    event.rawlink(called.append)
    event.wait()
    assert len(called) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_join_in_the_child_of_a_fork_does_not_wait_for_what_the_parent_was_to_call() -> None:
    """The greenlet has ended before the fork, and its links were due."""
    program = """
import os, greenpool
def main():
    called = []
    greenlet = greenpool.spawn(int)
    greenlet.link(lambda _: called.append("link"))
    greenlet.rawlink(lambda _: called.append("rawlink"))
    greenpool.sleep(0)
    assert not called
    child = os.fork()
    greenlet.join()
    if child:
        os.waitpid(child, 0)
    print(called, flush=True)
    if not child:
        os._exit(0)
with greenpool.Runtime(pool_size=1) as runtime:
    runtime.spawn(main).get()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("['link', 'rawlink']\n" * 2, 0)


PROGRAM = """
import greenpool
from greenpool.event import AsyncResult
greenlet = greenpool.spawn(int)
result = AsyncResult()
result.rawlink(lambda _: print("result"))
greenlet.link(lambda _: print("link"))
greenlet.link(result)
greenlet.rawlink(lambda _: print("rawlink"))
{wait}
"""


@pytest.mark.parametrize("wait", ["greenlet.join()", "greenlet.get()", "greenpool.sleep(0); greenlet.join()"])
def test_a_program_that_ends_after_a_join_has_run_the_links(wait: str) -> None:
    program = PROGRAM.format(wait=f"{wait}; result.get()")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("link\nrawlink\nresult\n", "")


# Races.


@pytest.mark.usefixtures("fast_switching")
def test_links_from_many_threads_keep_the_order_of_each(runtime: Runtime) -> None:
    """Each thread links and joins while the greenlet ends, and finds all its links called, in its order."""
    errors: list[object] = []
    barrier = threading.Barrier(4)
    shared: list[Greenlet] = []

    def use(number: int, rounds: int) -> None:
        chance = random.Random(number)
        try:
            for _ in range(rounds):
                if barrier.wait() == 0:
                    shared[:] = [runtime.spawn(greenpool.sleep, 0)]
                barrier.wait()
                greenlet = shared[0]
                called: list[int] = []
                expected = list(range(chance.randrange(5)))
                for index in expected:
                    method = greenlet.link if chance.random() < 0.5 else greenlet.rawlink
                    method(lambda _, index=index, called=called: called.append(index))
                chance.choice([greenlet.join, greenlet.get, lambda g=greenlet: greenpool.wait([g])])()
                if called != expected:
                    errors.append((called, expected))
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=use, args=(number, 150)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.usefixtures("fast_switching")
def test_joins_of_a_plain_threads_greenlet_behind_links_all_return() -> None:
    """That thread never waits again after its greenlet has ended."""
    for round_ in range(100):
        called: list[int] = []
        ready, joined = threading.Event(), threading.Event()
        made: list[Greenlet] = []

        def own(made: list[Greenlet] = made, ready: Any = ready, joined: Any = joined) -> None:
            go = Event()
            greenlet = greenpool.spawn(go.wait)
            for index in range(3):
                greenlet.link(lambda _, index=index: called.append(index))  # noqa: B023
            made.append(greenlet)
            ready.set()
            greenpool.sleep(0.0002 * (round_ % 5))  # noqa: B023
            go.set()
            greenpool.sleep(0)
            joined.wait(30)

        thread = threading.Thread(target=own)
        thread.start()
        ready.wait()
        made[0].join()
        assert made[0].dead
        assert called == [0, 1, 2]
        joined.set()
        thread.join()


@pytest.mark.usefixtures("fast_switching")
def test_each_link_of_an_event_is_called_once_or_taken_back(runtime: Runtime) -> None:
    """Another hub sets an event while this one, which calls the links, adds them and takes one back."""
    for _ in range(300):
        event: AsyncResult[int] = AsyncResult()
        called: list[int] = []
        first, second, third = (lambda _, n=n: called.append(n) for n in range(3))  # noqa: B023
        event.rawlink(first)
        runtime.spawn(event.set, 1)
        event.rawlink(second)
        event.rawlink(third)
        event.unlink(second)
        event.get()
        assert called == [0, 2]


# Properties.

STEPS = st.sampled_from(["link", "rawlink", "unlink", "yield", "join", "end"])


@given(steps=st.lists(STEPS, max_size=30), elsewhere=st.booleans())
@settings(max_examples=100)
def test_links_against_their_model(runtime: Runtime, steps: list[str], elsewhere: bool) -> None:
    """Every link is called once, in order, by the next join at the latest, unless it was taken back before.

    The steps are those of a greenlet on the hub of the greenlet that they link to, or on another one.
    """

    def check() -> None:
        called: list[int] = []
        linked: list[tuple[int, Callable[[object], object]]] = []
        taken_back: set[int] = set()
        in_doubt: set[int] = set()
        go = Event()
        greenlet = runtime.handle().spawn_on(1, go.wait) if elsewhere else greenpool.spawn(go.wait)
        for number, step in enumerate([*steps, "end", "join"]):
            if step in ("link", "rawlink"):

                def callback(_: object, number: int = number) -> None:
                    called.append(number)

                linked.append((number, callback))
                getattr(greenlet, step)(callback)
            elif step == "unlink":
                taken, callback = linked[number % len(linked)] if linked else (-1, print)
                due = taken not in called
                greenlet.unlink(callback)
                if due:
                    # Another hub may call it before it accepts this.
                    (in_doubt if elsewhere else taken_back).add(taken)
            elif step == "end":
                go.set()
            elif step == "yield":
                greenpool.sleep(0)
            elif go.is_set():
                greenlet.join()
                expected = [number for number, _ in linked if number not in taken_back]
                assert called == [number for number in expected if number in called or number not in in_doubt]

    runtime.handle().spawn_on(0, check).get()


# All at once.


def test_unlink_all_takes_back_every_callback_and_no_join() -> None:
    called: list[object] = []
    greenlet = greenpool.spawn(greenpool.sleep, 0.001)
    for link in (greenlet.link, greenlet.rawlink, greenlet.link_value, greenlet.link_exception):
        link(called.append)
    joiner = greenpool.spawn(greenlet.join)
    greenpool.sleep(0)
    assert greenlet.has_links() == 5
    greenlet.unlink_all()
    assert greenlet.has_links() == 1
    joiner.get()
    greenpool.sleep(0)
    assert not called


def test_unlink_all_by_another_thread(on_new_thread: Callable[..., Any]) -> None:
    called: list[object] = []
    greenlet = greenpool.spawn(Event().wait)
    greenlet.link(called.append)
    on_new_thread(greenlet.unlink_all)
    greenlet.kill()
    greenpool.sleep(0)
    assert not called


def test_unlink_all_of_links_that_are_due() -> None:
    called: list[object] = []
    greenlet = greenpool.spawn(int)
    greenlet.rawlink(lambda _: greenlet.unlink_all())
    greenlet.rawlink(called.append)
    greenlet.link(called.append)
    greenlet.join()
    greenpool.sleep(0.001)
    assert not called
    assert greenlet.has_links() == 0
