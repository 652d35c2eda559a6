"""Greenlet: start, outcome, links and kill, as gevent documents them, used from every kind of place."""

from __future__ import annotations

import gc
import io
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import pytest

import greenpool
from greenpool import Greenlet, GreenletExit, Runtime, Timeout
from greenpool.event import AsyncResult, Event
from greenpool.inspect import note_origins
from greenpool.thread import start_new_thread

Call = Callable[..., Any]


class Failure(Exception):
    pass


def fail() -> None:
    raise Failure("on purpose")


def never() -> None:
    Event().wait()


class Place:
    """Calls a function in a place, waits for it, and returns or raises its outcome."""

    def __init__(self, name: str, runtime: Runtime) -> None:
        self.name = name
        self.runtime = runtime

    def __call__(self, function: Call, *args: Any, **kwargs: Any) -> Any:
        if self.name == "main program":
            return function(*args, **kwargs)
        if self.name == "plain thread":
            return self._in_thread(function, args, kwargs)
        index = 0 if self.name == "same hub" else 1
        greenlet = Greenlet(function, *args, **kwargs)
        greenlet.quiet = True
        self.runtime.handle().place(greenlet, index)
        return greenlet.get()

    def _in_thread(self, function: Call, args: Any, kwargs: Any) -> Any:
        outcome: list[Any] = []
        failure: list[BaseException] = []

        def target() -> None:
            try:
                outcome.append(function(*args, **kwargs))
            except BaseException as exception:
                failure.append(exception)

        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
        if failure:
            raise failure.pop()
        return outcome[0]


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=2) as runtime:
        yield runtime


@pytest.fixture(params=["same hub", "other hub", "plain thread", "main program"])
def place(request: pytest.FixtureRequest, runtime: Runtime) -> Place:
    """The place from which the test uses the greenlet, which lives on hub 0."""
    return Place(request.param, runtime)


@pytest.fixture
def start(runtime: Runtime) -> Call:
    """Start a function in a greenlet on hub 0 without reports on stderr."""

    def start(function: Call, *args: Any) -> Greenlet:
        greenlet = Greenlet(function, *args)
        greenlet.quiet = True
        runtime.handle().place(greenlet, 0)
        return greenlet

    return start


class Parked:
    """A function that tells when it is about to wait, and how its wait has ended."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = Event()
        self.left: list[BaseException | str] = []

    def __call__(self) -> str:
        self.reached.set()
        try:
            self.go.wait()
        except BaseException as exception:
            self.left.append(exception)
            raise
        finally:
            # A finally block may wait.
            greenpool.sleep(0.001)
            self.left.append("finally")
        return "woken"


# The outcome.


def test_get_waits_for_the_value(start: Call, place: Place) -> None:
    parked = Parked()
    greenlet = start(parked)
    parked.reached.wait()
    greenpool.spawn_later(0.005, parked.go.set)
    if place.name == "plain thread":
        parked.go.set()
    assert place(greenlet.get) == "woken"


def test_get_of_one_that_has_ended(start: Call, place: Place) -> None:
    greenlet = start(lambda: "value")
    greenlet.join()
    assert place(greenlet.get) == "value"
    assert place(greenlet.get, block=False) == "value"
    assert place(greenlet.get, timeout=0) == "value"


def test_get_raises_the_exception(start: Call, place: Place) -> None:
    greenlet = start(fail)
    for _ in range(2):
        with pytest.raises(Failure) as caught:
            place(greenlet.get)
        assert caught.value is greenlet.exception


def test_get_that_does_not_block(start: Call, place: Place) -> None:
    greenlet = start(never)
    with pytest.raises(Timeout):
        place(greenlet.get, block=False)
    greenlet.kill()


def test_get_with_a_timeout(start: Call, place: Place) -> None:
    greenlet = start(never)
    with pytest.raises(Timeout) as caught:
        place(greenlet.get, timeout=0.005)
    assert caught.value.seconds == 0.005
    with pytest.raises(Timeout):
        place(greenlet.get, timeout=0)
    assert not greenlet.ready()
    greenlet.kill()


def test_join_returns_none_whatever_the_end(start: Call, place: Place) -> None:
    for function in (int, fail):
        greenlet = start(function)
        assert place(greenlet.join) is None
        assert greenlet.ready()
    greenlet = start(never)
    assert place(greenlet.join, timeout=0.005) is None
    assert place(greenlet.join, 0) is None
    assert not greenlet.ready()
    assert place(greenlet.kill) is None
    assert place(greenlet.join) is None


def test_many_wait_for_one(start: Call, runtime: Runtime) -> None:
    parked = Parked()
    greenlet = start(parked)
    parked.reached.wait()
    waiting = [runtime.spawn(greenlet.get) for _ in range(20)]
    threads: list[str] = []
    plain = [threading.Thread(target=lambda: threads.append(greenlet.get())) for _ in range(4)]
    for thread in plain:
        thread.start()
    parked.go.set()
    assert [each.get() for each in waiting] == ["woken"] * 20
    for thread in plain:
        thread.join()
    assert threads == ["woken"] * 4


def test_states_of_one_that_succeeds() -> None:
    gate = Event()
    greenlet = Greenlet(lambda: (gate.wait(), "value")[1])
    looks: list[tuple[Any, ...]] = []

    def look() -> None:
        looks.append(
            (bool(greenlet), greenlet.started, greenlet.ready(), greenlet.dead, greenlet.successful())
        )
        assert greenlet.exception is None
        assert not greenlet.exc_info
        assert greenlet.value == ("value" if greenlet.ready() else None)

    look()
    greenlet.start()
    look()
    greenpool.sleep(0)
    look()
    gate.set()
    greenlet.join()
    look()
    waiting = (True, True, False, False, False)
    assert looks == [(False,) * 5, waiting, waiting, (False, False, True, True, True)]


def test_states_of_one_that_fails(start: Call) -> None:
    greenlet = start(fail)
    greenlet.join()
    assert not greenlet
    assert not greenlet.started
    assert greenlet.ready()
    assert greenlet.dead
    assert not greenlet.successful()
    assert greenlet.value is None
    assert isinstance(greenlet.exception, Failure)
    kind, exception, traceback = greenlet.exc_info
    assert kind is Failure
    assert exception is greenlet.exception
    assert isinstance(traceback, TracebackType)


def test_greenlet_exit_counts_as_success(start: Call) -> None:
    def leave() -> None:
        raise GreenletExit("enough")

    greenlet = start(leave)
    assert isinstance(greenlet.get(), GreenletExit)
    assert greenlet.value.args == ("enough",)
    assert greenlet.successful()
    assert greenlet.exception is None
    assert not greenlet.exc_info


def test_own_end_cannot_be_waited_for() -> None:
    for method in ("join", "get"):
        greenlet = greenpool.spawn(lambda method=method: getattr(greenpool.getcurrent(), method)())
        greenlet.quiet = True
        with pytest.raises(RuntimeError, match="its own end"):
            greenlet.get()


# Starting.


class Subclass(Greenlet):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def _run(self, *args: Any) -> Any:
        assert greenpool.getcurrent() is self
        return self.factor * 2


def test_subclass_with_run(runtime: Runtime) -> None:
    one = Subclass(1)
    one.start()
    assert one.get() == 2
    assert Subclass.spawn(2).get() == 4
    assert Subclass.spawn_later(0, 3).get() == 6
    later = Subclass(4)
    later.start_later(0)
    assert later.get() == 8
    assert isinstance(runtime.block_on(Subclass.spawn, 5), Subclass)


def test_run_given_to_a_subclass_gets_arguments() -> None:
    class Doubling(Greenlet):
        def _run(self, number: int, *, plus: int = 0) -> int:
            return 2 * number + plus

    greenlet = Doubling(None, 4, plus=1)
    assert greenlet.args == (4,)
    assert greenlet.kwargs == {"plus": 1}
    greenlet.start()
    assert greenlet.get() == 9


def test_without_a_function_it_returns_none() -> None:
    assert Greenlet.spawn().get() is None


@pytest.mark.parametrize("count", range(5))
def test_arguments_arrive(count: int) -> None:
    args = tuple(range(count))
    assert greenpool.spawn(lambda *args, **kwargs: (args, kwargs), *args).get() == (args, {})
    assert greenpool.spawn(lambda *args, **kwargs: (args, kwargs), *args, key=1).get() == (args, {"key": 1})


def test_a_callable_that_is_false_is_called_all_the_same() -> None:
    class Empty(list[int]):
        def __call__(self) -> str:
            return "called"

    assert greenpool.spawn(Empty()).get() == "called"


def test_start_schedules_and_does_not_run_at_once() -> None:
    calls: list[int] = []
    greenlet = greenpool.spawn(calls.append, 1)
    assert calls == []
    greenlet.start()
    greenlet.start_later(0)
    greenlet.join()
    greenlet.start()
    greenpool.sleep(0)
    assert calls == [1]


def test_start_order_is_spawn_order() -> None:
    order: list[int] = []
    greenpool.joinall([greenpool.spawn(order.append, number) for number in range(100)])
    assert order == list(range(100))


def test_later_ones_start_by_their_delay() -> None:
    order: list[int] = []
    greenlets = [greenpool.spawn_later(number / 500, order.append, number) for number in (3, 1, 2, 0)]
    assert all(greenlet.started for greenlet in greenlets)
    greenpool.joinall(greenlets)
    assert order == [0, 1, 2, 3]


def test_kill_cancels_a_later_start(start: Call, place: Place) -> None:
    calls: list[int] = []
    greenlet = greenpool.spawn_later(60, calls.append, 1)
    if place.name == "main program":
        place(greenlet.kill)
    else:
        # The greenlet belongs to the main thread's hub, which runs only while the main program waits.
        place(greenlet.kill, block=False)
        greenlet.join()
    assert greenlet.dead
    assert isinstance(greenlet.value, GreenletExit)
    assert calls == []


def test_getcurrent_is_the_greenlet_everywhere(start: Call) -> None:
    greenlet = start(greenpool.getcurrent)
    assert greenlet.get() is greenlet
    main = greenpool.getcurrent()
    assert main is greenpool.getcurrent()
    assert isinstance(main, Greenlet | type(main))
    assert main is not greenlet
    assert main.started
    assert not main.dead


def test_hub_is_where_it_runs(start: Call) -> None:
    greenlet = start(greenpool.get_hub)
    assert greenlet.get() is greenlet.hub


def test_names() -> None:
    one, two = Greenlet(int), Greenlet(int)
    assert one.name != two.name
    assert one.name == one.name
    one.name = "renamed"
    assert one.name == "renamed"
    assert "renamed" in repr(one)
    one.start()
    one.join()
    assert one.name == "renamed"


def test_repr_says_the_state() -> None:
    greenlet = Greenlet(never)
    assert "not started" in repr(greenlet)
    greenlet.start()
    assert "never" in repr(greenlet)
    assert "not started" not in repr(greenlet)
    greenlet.kill()
    assert "ended" in repr(greenlet)


# Links.


class Notes:
    """A link's callback that the test can wait for."""

    def __init__(self) -> None:
        self.called = AsyncResult()
        self.calls: list[tuple[Greenlet, Any]] = []

    def __call__(self, greenlet: Greenlet) -> None:
        self.calls.append((greenlet, greenpool.get_hub()))
        self.called.set()


@pytest.mark.parametrize("method", ["link", "rawlink", "link_value"])
def test_link_before_and_after_the_end(start: Call, place: Place, method: str) -> None:
    parked = Parked()
    greenlet = start(parked)
    before, after = Notes(), Notes()
    place(getattr(greenlet, method), before)
    parked.go.set()
    before.called.get()
    place(getattr(greenlet, method), after)
    after.called.get()
    for notes in (before, after):
        assert notes.calls == [(greenlet, greenlet.hub)]


def test_link_runs_in_a_greenlet_that_may_wait(start: Call) -> None:
    waited = AsyncResult()

    def callback(greenlet: Greenlet) -> None:
        greenpool.sleep(0.001)
        waited.set((greenlet, greenpool.getcurrent()))

    greenlet = start(int)
    greenlet.link(callback)
    linked, ran_in = waited.get()
    assert linked is greenlet
    assert ran_in is not greenlet


def test_link_value_and_link_exception(start: Call) -> None:
    for function, succeeds in ((int, True), (fail, False)):
        value, exception, every = Notes(), Notes(), Notes()
        greenlet = start(function)
        greenlet.link_value(value)
        greenlet.link_exception(exception)
        greenlet.link(every)
        every.called.get()
        assert bool(value.calls) is succeeds
        assert bool(exception.calls) is not succeeds


@pytest.mark.parametrize("method", ["link", "rawlink", "link_value"])
def test_unlink(start: Call, place: Place, method: str) -> None:
    parked = Parked()
    greenlet = start(parked)
    taken_back, kept = Notes(), Notes()
    place(getattr(greenlet, method), taken_back)
    place(getattr(greenlet, method), kept)
    place(greenlet.unlink, taken_back)
    place(greenlet.unlink, taken_back)
    parked.go.set()
    kept.called.get()
    assert taken_back.calls == []


def test_links_made_before_the_start(runtime: Runtime) -> None:
    greenlet = Greenlet(int)
    link, rawlink, taken_back = Notes(), Notes(), Notes()
    greenlet.link(link)
    greenlet.rawlink(rawlink)
    greenlet.rawlink(taken_back)
    greenlet.unlink(taken_back)
    runtime.handle().place(greenlet, 1)
    link.called.get()
    rawlink.called.get()
    assert taken_back.calls == []
    assert rawlink.calls == [(greenlet, greenlet.hub)]


def test_link_of_a_greenlet_whose_pool_is_shut_down() -> None:
    with Runtime(pool_size=1) as closed:
        greenlet = closed.spawn(int)
    for method in ("link", "rawlink"):
        notes = Notes()
        getattr(greenlet, method)(notes)
        notes.called.get()
        assert notes.calls == [(greenlet, greenpool.get_hub())]
    assert greenlet.get() == 0
    assert greenlet.kill() is None


def test_links_run_when_the_pool_is_shut_down() -> None:
    parked, notes = Parked(), Notes()
    ending = Runtime(pool_size=1)
    greenlet = ending.spawn(parked)
    greenlet.link(notes)
    parked.reached.wait()
    ending.shutdown()
    assert notes.calls == [(greenlet, greenlet.hub)]


def test_failing_links_are_reported_and_the_others_run(monkeypatch: pytest.MonkeyPatch, start: Call) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())
    notes = Notes()
    parked = Parked()
    greenlet = start(parked)
    greenlet.rawlink(lambda _: fail())
    greenlet.rawlink(notes)
    parked.go.set()
    notes.called.get()
    assert "Failure: on purpose" in stderr.getvalue()
    assert start(int).get() == 0


def test_rawlink_must_not_wait(monkeypatch: pytest.MonkeyPatch, start: Call) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())
    notes = Notes()
    greenlet = start(int)
    greenlet.rawlink(lambda _: greenpool.sleep(1))
    greenlet.rawlink(notes)
    notes.called.get()
    assert "must not block" in stderr.getvalue()


# Kill.


def test_kill_while_parked(start: Call, place: Place) -> None:
    parked = Parked()
    greenlet = start(parked)
    parked.reached.wait()
    assert place(greenlet.kill) is None
    assert greenlet.dead
    assert isinstance(parked.left[0], GreenletExit)
    assert parked.left[1:] == ["finally"]
    assert greenlet.value is parked.left[0]
    assert greenlet.successful()


@pytest.mark.parametrize("exception", [Failure, Failure("instance")], ids=["class", "instance"])
def test_kill_with_another_exception(start: Call, place: Place, exception: Any) -> None:
    parked = Parked()
    greenlet = start(parked)
    parked.reached.wait()
    place(greenlet.kill, exception)
    assert isinstance(greenlet.exception, Failure)
    assert not isinstance(exception, Failure) or greenlet.exception is exception
    with pytest.raises(Failure):
        greenlet.get()


def test_kill_that_does_not_block(start: Call, place: Place) -> None:
    parked = Parked()
    greenlet = start(parked)
    parked.reached.wait()
    place(greenlet.kill, block=False)
    greenlet.join()
    assert parked.left[1:] == ["finally"]


def test_kill_with_a_timeout_returns_when_it_has_passed(start: Call, place: Place) -> None:
    go = Event()
    reached = threading.Event()

    def stubborn() -> str:
        reached.set()
        try:
            Event().wait()
        except GreenletExit:
            go.wait()
        return "survived"

    greenlet = start(stubborn)
    reached.wait()
    assert place(greenlet.kill, timeout=0.005) is None
    assert not greenlet.dead
    go.set()
    assert greenlet.get() == "survived"


def test_kill_before_the_start(place: Place) -> None:
    calls: list[int] = []
    greenlet = Greenlet(calls.append, 1)
    place(greenlet.kill)
    assert greenlet.dead
    assert not greenlet.started
    assert isinstance(greenlet.value, GreenletExit)
    greenlet.start()
    greenpool.sleep(0)
    assert calls == []


def test_kill_of_one_that_is_about_to_start() -> None:
    calls: list[int] = []
    greenlet = greenpool.spawn(calls.append, 1)
    notes = Notes()
    greenlet.link(notes)
    greenlet.kill()
    notes.called.get()
    assert greenlet.dead
    assert calls == []
    assert isinstance(greenlet.get(), GreenletExit)


def test_exception_that_kills_one_before_it_has_run_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())
    greenlet = greenpool.spawn(int)
    greenlet.kill(Failure("never ran"))
    assert "Failure: never ran" in stderr.getvalue()
    with pytest.raises(Failure):
        greenlet.get()


def test_kill_while_ready_comes_with_the_next_wait() -> None:
    gate = Event()
    steps: list[str] = []

    def waiter() -> None:
        gate.wait()
        steps.append("woken")
        greenpool.sleep(0)
        steps.append("went on")

    greenlet = greenpool.spawn(waiter)
    greenpool.sleep(0)
    gate.set()
    greenlet.kill()
    assert steps == ["woken"]
    assert isinstance(greenlet.value, GreenletExit)


def test_kill_of_itself() -> None:
    steps: list[str] = []

    def suicidal() -> None:
        try:
            greenpool.getcurrent().kill()
        finally:
            steps.append("finally")
        steps.append("went on")

    greenlet = greenpool.spawn(suicidal)
    assert isinstance(greenlet.get(), GreenletExit)
    assert steps == ["finally"]


def test_kill_of_one_that_catches_it(start: Call, place: Place) -> None:
    reached = threading.Event()

    def catches() -> str:
        reached.set()
        try:
            Event().wait()
        except GreenletExit:
            return "caught"
        return "not killed"

    greenlet = start(catches)
    reached.wait()
    place(greenlet.kill)
    assert greenlet.get() == "caught"


def test_several_kills_are_raised_one_after_the_other() -> None:
    caught: list[BaseException] = []

    def catches() -> None:
        for _ in range(3):
            try:
                Event().wait()
            except Failure as exception:
                caught.append(exception)

    greenlet = greenpool.spawn(catches)
    greenpool.sleep(0)
    failures = [Failure(number) for number in range(3)]
    for failure in failures:
        greenlet.kill(failure, block=False)
    greenlet.join()
    assert caught == failures


def test_kill_of_one_that_has_ended(start: Call, place: Place) -> None:
    greenlet = start(lambda: "value")
    greenlet.join()
    assert place(greenlet.kill) is None
    assert greenlet.value == "value"


def test_pending_kill_does_not_strike_the_next_task_of_the_carrier() -> None:
    def ends_without_a_wait() -> None:
        gate.wait()

    gate = Event()
    greenlet = greenpool.spawn(ends_without_a_wait)
    greenpool.sleep(0)
    gate.set()
    greenlet.kill(block=False)
    greenlet.join()
    following = [greenpool.spawn(greenpool.sleep, 0.001) for _ in range(3)]
    assert [each.get() for each in following] == [None] * 3


def test_join_is_itself_killed(start: Call, runtime: Runtime) -> None:
    parked = Parked()
    target = start(parked)
    parked.reached.wait()
    joiner = runtime.handle().spawn_on(1, target.get)
    runtime.handle().spawn_on(1, int).join()
    joiner.kill()
    assert isinstance(joiner.value, GreenletExit)
    assert not target.dead
    parked.go.set()
    assert target.get() == "woken"


# Exceptions that nobody handles.


class BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_hub_goes_on_where_stderr_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", BrokenStream())
    greenlet = greenpool.spawn(fail)
    greenlet.join()
    assert isinstance(greenlet.exception, Failure)
    assert greenpool.spawn(lambda: "goes on").get() == "goes on"


def test_one_instance_of_greenlet_exit_kills_greenlets_of_several_hubs() -> None:
    """Without the GIL this once crashed the interpreter, in with_traceback."""
    with Runtime(pool_size=4) as runtime:
        handle = runtime.handle()
        for _ in range(100):
            greenlets = [handle.spawn_on(i % 4, greenpool.sleep, 60) for i in range(32)]
            killer = GreenletExit("all")
            greenpool.killall(greenlets, killer)
            assert all(greenlet.value is killer for greenlet in greenlets)


# More of gevent's methods.


@pytest.mark.parametrize(
    "kill", [Greenlet.kill, Greenlet.throw, greenpool.kill, lambda g, e: greenpool.killall([g], e)]
)
@pytest.mark.parametrize("when", ["not started", "not run", "started later", "parked"])
def test_a_kill_with_no_exception_raises_a_base_exception(
    kill: Call, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    ended: list[Greenlet] = []
    greenlet = Greenlet(never)
    greenlet.link(ended.append)
    if when == "started later":
        greenlet.start_later(60)
    elif when != "not started":
        greenlet.start()
    if when == "parked":
        greenpool.sleep(0)
    kill(greenlet, 42)
    greenlet.join()
    assert type(greenlet.exception) is BaseException
    assert greenlet.exception.args == (42,)
    greenpool.sleep(0.001)
    assert ended == [greenlet]


def test_a_kill_takes_what_exc_info_gives() -> None:
    failure = Failure("once")
    for given, kind, args in [
        ((Failure, failure, None), Failure, ("once",)),
        ((Failure, None, None), Failure, ()),
        ((Failure, "text", None), Failure, ("text",)),
        ((Failure, (1, 2), None), Failure, (1, 2)),
    ]:
        greenlet = greenpool.spawn(never)
        greenlet.quiet = True
        greenlet.kill(given)
        assert type(greenlet.exception) is kind
        assert greenlet.exception.args == args


def test_throw_takes_the_arguments_of_greenlets_throw() -> None:
    parked = greenpool.spawn(never)
    parked.quiet = True
    greenpool.sleep(0)
    parked.throw(Failure, "text")
    parked.join()
    assert isinstance(parked.exception, Failure)
    assert parked.exception.args == ("text",)
    with pytest.raises(Failure):
        greenpool.getcurrent().throw(Failure)
    unstarted = Greenlet(never)
    unstarted.throw()
    assert isinstance(unstarted.value, GreenletExit)


def test_a_with_block_joins_the_greenlet() -> None:
    with greenpool.spawn(greenpool.sleep, 0.001) as greenlet:
        assert not greenlet.dead
    assert greenlet.successful()
    with greenpool.spawn(fail) as failing:
        failing.quiet = True
    assert isinstance(failing.exception, Failure)


@pytest.mark.parametrize("has_run", [False, True])
def test_a_with_block_that_raises_kills_the_greenlet(has_run: bool) -> None:
    with pytest.raises(Failure) as caught, greenpool.spawn(never) as greenlet:
        greenlet.quiet = True
        if has_run:
            greenpool.sleep(0)
        raise Failure
    assert greenlet.dead
    assert greenlet.exception is caught.value


def test_spawn_callbacks_see_each_start(place: Place) -> None:
    seen: list[Greenlet] = []
    Greenlet.add_spawn_callback(seen.append)
    try:
        Greenlet.add_spawn_callback(seen.append)
        made = [greenpool.spawn(int), greenpool.spawn_later(0, int), Greenlet.spawn(int)]
        made += [place.runtime.spawn(int), place.runtime.handle().spawn_on(0, int)]
        later = Greenlet(int)
        assert seen == made
        later.start()
        later.start()
        placed = Greenlet(int)
        place.runtime.handle().place(placed, 0)
        assert seen == [*made, later, placed]
    finally:
        Greenlet.remove_spawn_callback(seen.append)
    greenpool.spawn(int).join()
    greenpool.joinall([*made, later, placed])
    assert len(seen) == 7
    Greenlet.remove_spawn_callback(print)
    with pytest.raises(TypeError):
        Greenlet.add_spawn_callback(42)  # type: ignore[arg-type]


def test_spawn_callbacks_see_green_threads() -> None:
    seen: list[Any] = []
    Greenlet.add_spawn_callback(seen.append)
    try:
        ident = start_new_thread(int, ())
    finally:
        Greenlet.remove_spawn_callback(seen.append)
    assert [id(each) for each in seen] == [ident]
    seen[0].join()


def test_a_spawn_callback_that_raises_keeps_the_greenlet_from_starting() -> None:
    def refuse(_: Greenlet) -> None:
        raise Failure

    ran: list[int] = []
    Greenlet.add_spawn_callback(refuse)
    try:
        with pytest.raises(Failure):
            greenpool.spawn(ran.append, 1)
    finally:
        Greenlet.remove_spawn_callback(refuse)
    greenpool.sleep(0)
    assert not ran


def test_minimal_idents_are_small_and_used_again() -> None:
    greenlets = [Greenlet() for _ in range(20)]
    numbers = [greenlet.minimal_ident for greenlet in greenlets]
    assert len(set(numbers)) == 20
    assert [greenlet.minimal_ident for greenlet in greenlets] == numbers
    freed = numbers[3]
    del greenlets[3]
    gc.collect()
    assert Greenlet().minimal_ident <= freed


@pytest.fixture
def origins() -> Iterator[None]:
    """Without the extension they are noted only if a program asks for it."""
    greenpool.sleep(0)  # makes the main program a greenlet
    note_origins()
    yield
    note_origins(False)


@pytest.mark.usefixtures("origins")
def test_spawn_tree_locals_are_those_of_the_tree() -> None:
    def root() -> tuple[dict[str, Any], Greenlet]:
        child = Greenlet(lambda: greenpool.getcurrent().spawn_tree_locals)
        locals_ = child.spawn_tree_locals
        assert locals_ is greenpool.getcurrent().spawn_tree_locals
        grandchild = greenpool.spawn(lambda: greenpool.spawn(child.spawn_tree_locals.copy).get())
        locals_["answer"] = 42
        assert grandchild.get() == {"answer": 42}
        return locals_, child

    first, second = greenpool.spawn(root), greenpool.spawn(root)
    assert first.get()[0] is not second.get()[0]
    assert first.spawn_tree_locals is first.get()[0]
    assert not hasattr(greenpool.getcurrent(), "spawn_tree_locals")


def test_a_child_has_the_spawn_tree_locals_of_a_spawner_that_is_gone() -> None:
    def root() -> Greenlet:
        greenpool.getcurrent().spawn_tree_locals["answer"] = 42
        return Greenlet(int)

    child = greenpool.spawn(root).get()
    gc.collect()
    assert child.spawn_tree_locals == {"answer": 42}


@pytest.mark.usefixtures("origins")
def test_the_place_of_a_spawn() -> None:
    def spawn() -> Greenlet:
        return greenpool.spawn(int)

    spawner = greenpool.spawn(spawn)
    greenlet = spawner.get()
    assert greenlet.spawning_greenlet is not None
    assert greenlet.spawning_greenlet() is spawner
    stack = greenlet.spawning_stack
    assert stack is not None
    assert stack.f_code is spawn.__code__
    assert stack.f_lineno == spawn.__code__.co_firstlineno + 1
    assert "in spawn\n    return greenpool.spawn(int)\n" in traceback.format_stack(stack)[0]  # type: ignore[arg-type]


def test_raw_greenlets_are_greenlets() -> None:
    assert greenpool.spawn_raw(divmod, 7, 2).get() == (3, 1)
    with pytest.raises(TypeError):
        greenpool.spawn_raw(1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="needs a function"):
        Greenlet.spawn_later(1)
