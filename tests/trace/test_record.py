"""What is recorded: who ran when, why it parked, who woke it; and how the recording begins and ends."""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import greenlet
import pytest

import greenpool
import greenpool.trace
from documents import ROOT
from greenpool import Runtime, sleep, spawn
from greenpool._core import current, recorder
from greenpool._core.native import HAS_GIL
from greenpool._core.recorder import Recording, SwitchRecorder, make_recorder
from greenpool._core.speedups import speedups
from greenpool._core.task import Task
from greenpool._core.timers import Timer
from greenpool._core.waiter import Waiter
from greenpool.event import Event
from greenpool.queue import Queue
from greenpool.trace.story import NOBODY, Greenlet, Lane, Run, Story, Waiting, tell

Record = Callable[..., Story]


@pytest.fixture
def record() -> Iterator[Record]:
    """Record a call and tell its story."""
    begun: list[Recording] = []

    def record(
        function: Callable[..., object], *args: Any, limit: int = 10**6, stall_limit: float = 10
    ) -> Story:
        recording = Recording(limit, stall_limit)
        recording.start()
        begun.append(recording)
        try:
            function(*args)
        finally:
            story = tell(recording.stop())
        check(story)
        return story

    yield record


def check(story: Story) -> None:
    """What holds for every story."""
    for number, lane in enumerate(story.lanes):
        for run in lane.runs:
            assert 0 <= run.start <= run.end <= story.seconds
            assert story.greenlets[run.greenlet].hub == number
            assert story.greenlets[run.greenlet].kind != "carrier"
            if run.after != NOBODY:
                assert story.waits[run.after].greenlet == run.greenlet
                assert story.waits[run.after].end == run.start
            if run.before != NOBODY:
                assert run.outcome == "parks"
                assert story.waits[run.before].start == run.end
        for run, following in itertools.pairwise(lane.runs):
            assert run.end == following.start
            assert run.outcome in ("parks", "yields", "ends")
    for wait in story.waits:
        assert wait.end is None or wait.start <= wait.end
        if wait.woken is not None:
            assert wait.start <= wait.woken <= (wait.end or story.seconds)


def one(story: Story, name: str) -> tuple[int, Greenlet]:
    """The one greenlet of a function, and its number."""
    ((number, found),) = (
        (number, each) for number, each in enumerate(story.greenlets) if each.function.endswith(name)
    )
    return number, found


def runs_of(story: Story, number: int) -> list[Run]:
    return [run for lane in story.lanes for run in lane.runs if run.greenlet == number]


def waits_of(story: Story, number: int) -> list[Waiting]:
    return [wait for wait in story.waits if wait.greenlet == number]


def lane_of(story: Story, name: str) -> Lane:
    (lane,) = (lane for lane in story.lanes if lane.name == name)
    return lane


# Runs, parks and wakes.


def test_a_greenlet_sleeps_and_is_woken_by_a_timer(record: Record) -> None:
    def sleeper() -> None:
        sleep(0.05)

    story = record(lambda: spawn(sleeper).join())
    number, sleeper_told = one(story, "sleeper")
    first, second = runs_of(story, number)
    assert (first.outcome, second.outcome) == ("parks", "ends")
    (wait,) = waits_of(story, number)
    assert first.before == second.after == story.waits.index(wait)
    assert (wait.call, wait.waker_name) == ("sleep", "a timer")
    assert story.stacks[wait.stack][0].function.endswith("sleeper")
    assert sleeper_told.ended == second.end
    (lane,) = story.lanes
    assert [text for _, text in lane.timers] == ["end of a sleep"]
    assert any(poll.timeout for poll in lane.polls)


def test_a_wait_says_for_what_and_who_has_ended_it(record: Record) -> None:
    event = Event()

    def waiter() -> None:
        event.wait()

    def setter() -> None:
        event.set()

    story = record(lambda: greenpool.joinall([spawn(waiter), spawn(setter)]))
    (wait,) = waits_of(story, one(story, "waiter")[0])
    assert wait.call == "Event.wait"
    assert "to be set" in wait.phrase
    assert wait.waker == one(story, "setter")[0]
    assert wait.waker_name == story.greenlets[wait.waker].name


def test_a_greenlet_that_yields_stays_ready(record: Record) -> None:
    def yielder() -> None:
        for _ in range(3):
            sleep(0)

    story = record(lambda: greenpool.joinall([spawn(yielder), spawn(sleep, 0)]))
    outcomes = [run.outcome for run in runs_of(story, one(story, "yielder")[0])]
    assert outcomes == ["yields", "yields", "yields", "ends"]


def has_parked(task: Task[object]) -> bool:
    carrier = task.carrier
    return carrier is not None and carrier.waiter is not None


def test_a_wake_from_another_hub(record: Record) -> None:
    event = Event()

    def waiter() -> None:
        event.wait()

    def setter(waiting: Task[object]) -> None:
        while not has_parked(waiting):
            sleep(0.001)
        event.set()

    def both() -> None:
        with Runtime(pool_size=2) as runtime:
            handle = runtime.handle()
            waiting = handle.spawn_on(0, waiter)
            handle.spawn_on(1, setter, waiting).join()
            waiting.join()

    story = record(both)
    waits = waits_of(story, one(story, "waiter")[0])
    (wait,) = (wait for wait in waits if "to be set" in wait.phrase)
    setter_number, setter_told = one(story, "setter")
    assert (wait.waker, wait.waker_hub) == (setter_number, setter_told.hub)
    assert setter_told.hub != one(story, "waiter")[1].hub


def test_a_wake_by_a_thread_that_has_no_hub(record: Record) -> None:
    event = Event()

    def waiter() -> None:
        event.wait()

    def outside() -> None:
        thread = threading.Thread(target=event.set, name="outside")
        waiting = spawn(waiter)
        while not has_parked(waiting):
            sleep(0)
        thread.start()
        waiting.join()
        thread.join()

    story = record(outside)
    (wait,) = waits_of(story, one(story, "waiter")[0])
    assert (wait.waker, wait.waker_name) == (NOBODY, "thread outside")


@pytest.mark.parametrize("has_timeout", [False, True])
def test_a_wait_for_a_descriptor(record: Record, has_timeout: bool) -> None:
    def reader(ours: greenpool.socket.socket) -> None:  # type: ignore[name-defined]
        ours.recv(1)

    def talk() -> None:
        from greenpool import socket

        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(5 if has_timeout else None)
            task = spawn(reader, ours)
            sleep(0.005)
            theirs.send(b"x")
            task.join()
            numbers.append(ours.fileno() if ours.fileno() >= 0 else 0)

    numbers: list[int] = []
    story = record(talk)
    (wait,) = waits_of(story, one(story, "reader")[0])
    assert wait.waker_name == f"descriptor {numbers[0]}"
    assert "readable" in wait.phrase or "socket" in wait.phrase
    assert story.stacks[wait.stack][0].function.endswith("reader")


def test_spawns_say_by_whom_and_where(record: Record) -> None:
    def child() -> None:
        pass

    def parent() -> None:
        spawn(child).join()

    story = record(lambda: spawn(parent).join())
    number, told = one(story, "child")
    parent_number, parent_told = one(story, "parent")
    assert told.spawner == parent_number
    assert told.spawner_name == parent_told.name
    assert told.spawned_at is not None
    assert told.spawned_at.function.endswith("parent")
    assert told.spawned is not None
    run = next(run for run in runs_of(story, parent_number))
    assert run.start <= told.spawned <= run.end <= runs_of(story, number)[0].start


def test_one_carrier_runs_many_tasks_and_each_has_its_own_runs(record: Record) -> None:
    def task_of(number: int) -> Callable[[], None]:
        def run() -> None:
            if number % 2:
                sleep(0)

        run.__qualname__ = f"task-{number:03}"
        return run

    story = record(lambda: greenpool.joinall([spawn(task_of(number)) for number in range(40)]))
    for number in range(40):
        found, told = one(story, f"task-{number:03}")
        runs = runs_of(story, found)
        assert [run.outcome for run in runs] == ["yields"] * (number % 2) + ["ends"]
        assert told.ended == runs[-1].end


def test_a_random_program_leaves_no_gap_and_no_run_without_a_name(record: Record) -> None:
    queue: Queue[int] = Queue(maxsize=3)

    def put(count: int) -> None:
        for number in range(count):
            queue.put(number)
            if number % 3 == 0:
                sleep(0)

    def get(count: int) -> None:
        for _ in range(count):
            queue.get()

    def program() -> None:
        with Runtime(pool_size=3) as runtime:
            handle = runtime.handle()
            tasks = [handle.spawn_on(number % 3, put, 50) for number in range(6)]
            tasks += [handle.spawn_on(number % 2, get, 100) for number in range(3)]
            for task in tasks:
                task.join()

    story = record(program)
    kinds = {story.greenlets[run.greenlet].kind for lane in story.lanes for run in lane.runs}
    assert kinds <= {"task", "loop", "main"}
    assert sum(told.function.endswith(("put", "get")) for told in story.greenlets) == 9
    assert all(wait.waker_name for wait in story.waits if wait.end is not None and "Queue" in wait.call)


def test_waits_from_before_the_recording(record: Record) -> None:
    event = Event()

    def waiter() -> None:
        event.wait()

    task = spawn(waiter)
    sleep(0.01)

    def end() -> None:
        event.set()
        task.join()

    story = record(end)
    number, told = one(story, "waiter")
    (wait,) = waits_of(story, number)
    assert wait.start < 0
    assert "to be set" in wait.phrase
    assert told.spawned is None


def test_greenlets_that_have_not_ended_have_their_names(record: Record) -> None:
    event = Event()

    def waiter() -> None:
        event.wait()

    tasks: list[Any] = []

    def begin() -> None:
        tasks.append(spawn(waiter))
        sleep(0.001)

    story = record(begin)
    number, told = one(story, "waiter")
    assert told.ended is None
    (wait,) = waits_of(story, number)
    assert (wait.end, wait.waker_name) == (None, "")
    event.set()
    tasks[0].join()


def test_a_greenlet_that_was_killed_before_it_ran(record: Record) -> None:
    def never() -> None:
        raise AssertionError

    def kill() -> None:
        spawn(never).kill()

    story = record(kill)
    number, told = one(story, "never")
    assert told.ended is not None
    assert runs_of(story, number) == []


# Hubs.


def test_hubs_that_are_made_meanwhile(record: Record) -> None:
    def work() -> None:
        sleep(0.001)

    def program() -> None:
        thread = threading.Thread(target=lambda: spawn(work).join(), name="plain")
        thread.start()
        with Runtime(pool_size=2) as runtime:
            runtime.handle().spawn_on(1, work).join()
        thread.join()

    story = record(program)
    assert len(story.lanes) == 4
    assert [lane.name for lane in story.lanes][:2] == ["MainThread", "plain"]
    assert all(lane.thread for lane in story.lanes)
    assert {told.hub for told in story.greenlets if told.function.endswith("work")} == {1, 3}


def test_a_hub_that_a_greenlet_keeps_does_not_answer(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PATIENCE", 0.05)
    # Native locks.
    begun, release = threading.Event(), threading.Event()

    def keep() -> None:
        begun.set()
        release.wait()

    with Runtime(pool_size=1) as runtime:
        task = runtime.handle().spawn(keep)
        begun.wait()
        story = record(time.sleep, 0.2, stall_limit=0.05)
        release.set()
        task.join()
    (lane,) = (lane for lane in story.lanes if not lane.answered)
    (stall,) = lane.stalls
    assert stall.end - stall.start > 0.05
    names = [frame.function for frame in story.stacks[stall.stack]]
    assert any(name.endswith(("keep", "wait")) for name in names)


def test_a_stall_has_its_stack(record: Record) -> None:
    def blocker() -> None:
        sleep(0.001)
        time.sleep(0.3)

    def bystander() -> None:
        sleep(0.01)

    story = record(lambda: greenpool.joinall([spawn(blocker), spawn(bystander)]), stall_limit=0.1)
    number, _ = one(story, "blocker")
    # A busy machine may add others.
    (stall,) = (stall for lane in story.lanes for stall in lane.stalls if stall.greenlet == number)
    assert stall.end - stall.start >= 0.3
    assert story.stacks[stall.stack][0].function.endswith("blocker")
    if HAS_GIL:  # without one, the frame of another thread is out of reach
        assert stall.call.startswith("time.sleep")
    assert [run.is_stall for run in runs_of(story, number)] == [False, True]


# The recording itself.


def test_afterwards_everything_is_as_before(record: Record) -> None:
    def state() -> list[object]:
        places = [(Task, "_finish"), (Waiter, "resume"), (Waiter, "resume_behind_posts"), (Timer, "expire")]
        found = [vars(owner)[name] for owner, name in places]
        return [*found, greenlet.gettrace(), list(current.at_new_hub), recorder._State.recording]

    greenpool.get_hub()
    poll = type(greenpool._core.current.current_hub().poller).poll  # type: ignore[attr-defined]
    before = state()
    record(lambda: spawn(sleep, 0.001).join())
    assert state() == before
    assert type(greenpool._core.current.current_hub().poller).poll is poll  # type: ignore[attr-defined]


def test_it_leaves_nothing_behind(record: Record, leak_check: None) -> None:
    record(lambda: spawn(sleep, 0.001).join())


def test_it_keeps_nothing_alive(record: Record) -> None:
    class Thing:
        pass

    gone: list[bool] = []

    def holder(event: Event) -> None:
        thing = Thing()
        things.append(weakref.ref(thing))
        event.wait()

    def program() -> None:
        event = Event()
        task = spawn(holder, event)
        sleep(0)
        event.set()
        task.join()
        things.append(weakref.ref(task))
        del task, event
        gc.collect()
        gone.extend(thing() is None for thing in things)

    things: list[weakref.ref[Any]] = []
    record(program)
    assert gone == [True, True]


def test_only_one_recording_at_a_time(record: Record) -> None:
    def again() -> None:
        with pytest.raises(RuntimeError, match="recorded already"):
            Recording(1000, 1).start()

    record(again)
    record(sleep, 0)


def test_the_limit_ends_it_early(record: Record) -> None:
    def yielder() -> None:
        while not is_over():
            sleep(0)

    def is_over() -> bool:
        recording = recorder._State.recording
        return recording is not None and bool(recording.ended)

    story = record(lambda: greenpool.joinall([spawn(yielder), spawn(yielder)]), limit=5000, stall_limit=0.01)
    assert story.limit == 5000
    assert sum(len(lane.runs) for lane in story.lanes) >= 5000 / 2


def test_the_programs_own_trace_function_goes_on(record: Record) -> None:
    seen: list[str] = []

    def own(event: str, arguments: object) -> None:
        seen.append(event)

    before = greenlet.settrace(own)
    try:
        story = record(lambda: spawn(sleep, 0).join())
        assert greenlet.gettrace() is own
    finally:
        greenlet.settrace(before)
    assert len(seen) >= sum(run.outcome in ("parks", "yields") for lane in story.lanes for run in lane.runs)


def test_a_trace_function_that_is_set_meanwhile_stays(record: Record) -> None:
    def own(event: str, arguments: tuple[Any, Any]) -> None:
        if below is not None:
            below(event, arguments)

    below: Any = None

    def program() -> None:
        nonlocal below
        below = greenlet.settrace(own)
        spawn(sleep, 0).join()

    try:
        record(program)
        assert greenlet.gettrace() is own
        spawn(sleep, 0).join()
    finally:
        greenlet.settrace(None)


@pytest.mark.parametrize("make", [SwitchRecorder, make_recorder], ids=["twin", "in use"])
def test_a_recorder_and_its_twin_note_the_same(make: Any) -> None:
    class Parked:
        waiter = object()

    class Ready:
        waiter = None

    entries: list[Any] = []
    parked: list[object] = []
    followed: list[object] = []
    recorded = make(entries, parked.append, lambda *args: followed.append(args))
    first, second, unadopted = Parked(), Ready(), object()
    began = time.monotonic()
    for switch in ((first, second), (second, first), (unadopted, first)):
        assert recorded("switch", switch) is None
    assert entries[1::2] == [id(second), id(first), id(first)]
    assert all(began <= when <= time.monotonic() for when in entries[::2])
    assert parked == [first]
    assert followed == [
        ("switch", (first, second)),
        ("switch", (second, first)),
        ("switch", (unadopted, first)),
    ]
    recorded.stop()
    recorded("switch", (first, second))
    assert (len(entries), len(followed)) == (6, 4)


@pytest.mark.skipif(speedups is None, reason="needs the C extension")
def test_the_recorder_in_c_refuses_what_is_no_switch() -> None:
    recorded = make_recorder([], print, None)
    for arguments in ((), ("switch", None), ("switch", (1,)), ("switch", (1, 2), 3)):
        with pytest.raises(TypeError):
            recorded(*arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        make_recorder((), print, None)  # type: ignore[arg-type]


# The file.


def test_the_ending_of_the_name_decides(tmp_path: Path) -> None:
    for name in ("trace.html", "trace.json", "TRACE.HTML"):
        with greenpool.trace.record(tmp_path / name):
            sleep(0.001)
    assert (tmp_path / "trace.html").read_text("utf-8").startswith("<!doctype html>")
    assert json.loads((tmp_path / "trace.json").read_text("utf-8"))["traceEvents"]
    for name in ("trace", "trace.txt"):
        with pytest.raises(ValueError, match=r"must end in \.html"), greenpool.trace.record(name):
            raise AssertionError
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("arguments", [{"stall_limit": 0}, {"limit": 0}, {"stall_limit": -1}])
def test_limits_that_are_none(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="limit must"), greenpool.trace.record("t.json", **arguments):
        raise AssertionError


def test_an_exception_ends_it_and_the_file_is_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), greenpool.trace.record(tmp_path / "trace.json"):
        1 / 0  # noqa: B018
    assert json.loads((tmp_path / "trace.json").read_text("utf-8"))


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), greenpool.trace.record(tmp_path / "none" / "trace.json"):
        pass
    with greenpool.trace.record(tmp_path / "trace.json"):
        pass


def run(script: str, directory: Path) -> int:
    return subprocess.run(
        [sys.executable, "-c", script], cwd=directory, env=ENVIRONMENT, timeout=50
    ).returncode


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def test_a_program_that_ends_while_it_records(tmp_path: Path) -> None:
    script = """
import sys, greenpool.trace
def main():
    with greenpool.trace.record("trace.json"):
        greenpool.sleep(0.01)
        sys.exit(3)
greenpool.run(main)
"""
    assert run(script, tmp_path) == 3
    assert json.loads((tmp_path / "trace.json").read_text("utf-8"))["traceEvents"]


def test_a_program_that_is_cut_off_leaves_no_half_file(tmp_path: Path) -> None:
    script = """
import os, greenpool.trace
with greenpool.trace.record("trace.json"):
    greenpool.sleep(0.01)
    os._exit(4)
"""
    assert run(script, tmp_path) == 4
    assert list(tmp_path.iterdir()) == []


def test_the_child_of_a_fork_is_not_recorded_and_writes_nothing(tmp_path: Path) -> None:
    script = """
import os, sys, greenlet, greenpool.trace
from greenpool._core.waiter import Waiter
resume = Waiter.resume
child = 0
with greenpool.trace.record("trace.json"):
    greenpool.spawn(greenpool.sleep, 0.001).join()
    child = os.fork()
    if not child:
        assert Waiter.resume is resume
        assert greenlet.gettrace() is None
        with greenpool.trace.record("child.json"):
            greenpool.spawn(greenpool.sleep, 0.001).join()
    else:
        assert os.waitpid(child, 0)[1] == 0
if not child:
    os.rename("child.json", "whole.json")
    os._exit(0 if not os.path.exists("trace.json") else 1)
"""
    assert run(script, tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace.json", "whole.json"]
    pids = set()
    for path in tmp_path.iterdir():
        pids |= {event["pid"] for event in json.loads(path.read_text("utf-8"))["traceEvents"]}
    assert len(pids) == 2


def test_threads_of_a_patched_program_have_their_names(tmp_path: Path) -> None:
    script = """
import greenpool.monkey
greenpool.monkey.patch_all()
import threading, time, greenpool.trace
with greenpool.trace.record("trace.json"):
    thread = threading.Thread(target=time.sleep, args=(0.01,), name="worker bee")
    thread.start()
    thread.join()
"""
    assert run(script, tmp_path) == 0
    events = json.loads((tmp_path / "trace.json").read_text("utf-8"))["traceEvents"]
    assert any(event["ph"] == "X" and "worker bee" in event["name"] for event in events)
