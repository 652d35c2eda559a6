"""greenpool.inspect: what every hub and greenlet is doing."""

from __future__ import annotations

import gc
import json
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

import greenpool
from greenpool import Greenlet, Runtime, socket
from greenpool._core import native
from greenpool._core.current import current_hub
from greenpool._core.frames import frames_of_greenlets
from greenpool._core.native import HAS_GIL
from greenpool._core.survey import survey
from greenpool.event import Event
from greenpool.inspect import GreenletInfo, Snapshot, note_origins, snapshot
from greenpool.lock import Condition, Lock

pytestmark = pytest.mark.usefixtures("leak_check")


@pytest.fixture(autouse=True)
def origins() -> Iterator[None]:
    """Without the C extension they are noted only if somebody asks for them."""
    note_origins()
    yield
    note_origins(False)


def info_of(greenlet: Greenlet[object], taken: Snapshot | None = None) -> GreenletInfo:
    found = snapshot() if taken is None else taken
    return next(each for each in found.greenlets if each.ident == id(greenlet))


@pytest.fixture
def parked() -> Iterator[Callable[..., Greenlet[object]]]:
    """Spawn a greenlet that parks; it is killed at the end."""
    greenlets = []

    def spawn(function: Callable[..., object], *args: object) -> Greenlet[object]:
        greenlet = greenpool.spawn(function, *args)
        greenlets.append(greenlet)
        greenpool.sleep(0.01)
        return greenlet

    yield spawn
    greenpool.killall(greenlets)


def test_a_parked_greenlet(parked: Callable[..., Greenlet[object]]) -> None:
    event = Event()

    def wait_for_event() -> None:
        event.wait()

    info = info_of(parked(wait_for_event))
    assert (info.state, info.call) == ("parked", "Event.wait")
    assert "to be set" in info.waits_for
    assert info.hub == greenpool.get_hub().name
    assert info.stack is not None
    assert [frame.function.rpartition(".")[2] for frame in info.stack] == ["wait_for_event"]


def test_since_when() -> None:
    greenlet = greenpool.spawn(Event().wait)
    greenpool.sleep(0.1)
    first = info_of(greenlet)
    greenpool.sleep(0.1)
    second = info_of(greenlet)
    greenlet.kill()
    assert first.age is not None and first.parked is not None
    assert second.age is not None and second.parked is not None
    # The clock may be coarse: a few milliseconds.
    assert second.age - first.age > 0.09
    assert 0.09 < first.parked <= first.age + 0.01
    assert second.parked - first.parked > 0.09


def test_a_greenlet_that_has_parked_again_is_parked_since_then(
    parked: Callable[..., Greenlet[object]],
) -> None:
    def wait_twice() -> None:
        greenpool.sleep(0.2)
        Event().wait()

    greenlet = parked(wait_twice)
    greenpool.sleep(0.3)
    info = info_of(greenlet)
    assert info.age is not None and info.parked is not None
    assert info.call == "Event.wait"
    assert info.age - info.parked > 0.15


def test_the_holder_of_a_lock(parked: Callable[..., Greenlet[object]]) -> None:
    lock = Lock()

    def hold() -> None:
        with lock:
            Event().wait()

    holder = parked(hold)
    waiting = parked(lock.acquire)
    assert info_of(waiting).held_by == (holder.name,)


def test_the_holder_of_a_lock_that_computes() -> None:
    lock = Lock()
    began = threading.Event()
    over: list[bool] = []

    def hold() -> None:
        with lock:
            began.set()
            while not over:
                pass

    with Runtime(pool_size=2) as runtime:
        holder = runtime.handle().spawn_on(0, hold)
        assert began.wait(30)
        waiting = runtime.handle().spawn_on(1, lock.acquire)
        while (info := info_of(waiting)).state != "parked":
            greenpool.sleep(0.001)
        taken = snapshot()
        over.append(True)
        waiting.join()
        lock.release()
    assert info_of(holder, taken).state == "running"
    (hub,) = (hub for hub in taken.hubs if hub.name == "greenpool-1")
    assert hub.runs == holder.name
    if HAS_GIL:
        assert info.held_by == (holder.name,)
        assert hub.answered
        assert hub.since is not None
    else:
        # Its hub does not answer, and no other thread may look at the variables of its greenlets.
        assert not hub.answered


def test_a_descriptor(parked: Callable[..., Greenlet[object]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        info = info_of(parked(ours.recv, 1))
    assert info.call in ("", "socket.recv")
    assert "waits for" in info.waits_for


def test_many_waits_for_different_objects(parked: Callable[..., Greenlet[object]]) -> None:
    events = [Event() for _ in range(5)]
    greenlets = [parked(event.wait) for event in events]
    taken = snapshot()
    for event, greenlet in zip(events, greenlets, strict=True):
        assert repr(event) in info_of(greenlet, taken).waits_for


def test_waits_for_the_same_and_for_others_in_turn(parked: Callable[..., Greenlet[object]]) -> None:
    """What is noted of one greenlet holds for the next one only if that waits for the same object."""

    class Signal(Event):
        pass

    events = [Event(), Event(), Signal()]

    def wait_for(event: Event) -> None:
        event.wait()

    greenlets = [(parked(wait_for, event), event) for event in (*events, events[2], *events)]
    taken = snapshot()
    for greenlet, event in greenlets:
        info = info_of(greenlet, taken)
        assert repr(event) in info.waits_for
        assert info.call == f"{type(event).__name__}.wait"


def test_a_method_of_another_object_is_told_from_one_of_its_own(
    parked: Callable[..., Greenlet[object]],
) -> None:
    """A condition waits for a lock of its own making, and then for the program's."""
    condition = Condition()
    other = Condition(Lock())

    def wait_for(condition: Condition) -> None:
        with condition:
            condition.wait()

    first, second = parked(wait_for, condition), parked(wait_for, other)
    taken = snapshot()
    assert repr(condition) in info_of(first, taken).waits_for
    assert repr(other) in info_of(second, taken).waits_for
    assert info_of(first, taken).held_by == info_of(second, taken).held_by == ()


def test_who_has_spawned_it_and_where(parked: Callable[..., Greenlet[object]]) -> None:
    children = []

    def parent() -> None:
        children.append(greenpool.spawn(Event().wait))
        Event().wait()

    spawner = parked(parent)
    greenpool.sleep(0.01)
    info = info_of(children[0])
    children[0].kill()
    assert (info.spawner, info.spawner_ident) == (spawner.name, id(spawner))
    assert info.spawned_at is not None
    assert info.spawned_at.file == __file__
    assert info.spawned_at.function.endswith("parent")


def test_a_greenlet_keeps_no_spawner_alive() -> None:
    children = []
    greenlet = greenpool.spawn(lambda: children.append(greenpool.spawn(Event().wait)))
    greenlet.join()
    reference = weakref.ref(greenlet)
    del greenlet
    gc.collect()
    greenpool.sleep(0)
    assert reference() is None
    info = info_of(children[0])
    assert info.spawner is None
    assert info.spawned_at is not None
    children[0].kill()


def test_a_snapshot_keeps_nothing_alive() -> None:
    class Thing:
        def wait(self) -> None:
            event.wait()

    event = Event()
    thing = Thing()
    greenlet = greenpool.spawn(thing.wait)
    references = [weakref.ref(greenlet), weakref.ref(thing)]
    greenpool.sleep(0.01)
    taken = snapshot()
    event.set()
    greenlet.join()
    del greenlet, thing
    greenpool.sleep(0)
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert taken.greenlets


def test_the_collector_has_nothing_to_look_through(parked: Callable[..., Greenlet[object]]) -> None:
    """Collections would take half as long as the snapshot.  So what is found of a greenlet is not tracked."""
    for _ in range(20):
        parked(Event().wait)
    taken = snapshot()
    gc.collect()
    assert not any(isinstance(each, GreenletInfo) for each in gc.get_objects())
    parts = [part for part in gc.get_referents(taken.greenlets) if isinstance(part, list)]
    (rows,) = (part for part in parts if len(part) == len(taken.greenlets))
    assert not any(map(gc.is_tracked, rows))


def test_the_greenlets_are_a_sequence(parked: Callable[..., Greenlet[object]]) -> None:
    for _ in range(3):
        parked(Event().wait)
    taken = snapshot()
    found = list(taken.greenlets)
    assert len(found) == len(taken.greenlets) >= 4
    assert taken.greenlets[-1] == found[-1]
    assert taken.greenlets[1:3] == found[1:3]
    assert found[2] in taken.greenlets
    assert repr(taken.greenlets) == repr(found)
    assert taken.greenlets == found
    assert pickle.loads(pickle.dumps(taken)) == taken


def test_greenlets_that_have_not_started(parked: Callable[..., Greenlet[object]]) -> None:
    later = greenpool.spawn_later(60, print)
    now = greenpool.spawn(int)
    taken = snapshot()
    assert info_of(later, taken).state == "not started"
    assert info_of(now, taken).state == "not started"
    later.kill()
    now.join()


def test_the_caller_runs() -> None:
    hub = greenpool.get_hub().name
    (info,) = (each for each in snapshot().greenlets if (each.hub, each.state) == (hub, "running"))
    assert info.stack is not None
    assert info.stack[0].function == "test_the_caller_runs"
    assert info.age is None


def test_all_hubs_of_a_pool_are_there() -> None:
    with Runtime(pool_size=3, name_prefix="seen-") as runtime:
        event = Event()
        greenlets = [runtime.spawn(event.wait) for _ in range(6)]
        while True:
            taken = snapshot()
            if [info_of(each, taken).state for each in greenlets] == ["parked"] * 6:
                break
            greenpool.sleep(0.001)
        event.set()
    hubs = {hub.name: hub for hub in taken.hubs}
    assert {"seen-1", "seen-2", "seen-3"} <= set(hubs)
    assert [hubs[f"seen-{number}"].counts["live"] for number in (1, 2, 3)] == [2, 2, 2]
    assert {info_of(each, taken).hub for each in greenlets} == {"seen-1", "seen-2", "seen-3"}


def test_on_a_thread_without_a_hub(
    on_new_thread: Callable[..., Snapshot], parked: Callable[..., Greenlet[object]]
) -> None:
    with Runtime(pool_size=1) as runtime:
        event = Event()
        greenlet = runtime.spawn(event.wait)
        while info_of(greenlet, on_new_thread(snapshot)).call != "Event.wait":
            greenpool.sleep(0.001)
        event.set()


def test_a_thread_in_a_native_wait_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain thread that has had a hub, say one of a pool, may wait for hours for its next call."""
    monkeypatch.setattr("greenpool._core.survey.PATIENCE", 1000)
    monkeypatch.setattr("greenpool._core.frames.PATIENCE", 1000)
    has_hub, over = native.Lock(), native.Lock()
    has_hub.acquire()
    over.acquire()
    names = []

    def use_and_wait() -> None:
        greenpool.sleep(0)
        greenpool.spawn(greenpool.sleep, 0).get()
        names.append(current_hub().name)
        has_hub.release()
        over.acquire()

    thread = threading.Thread(target=use_and_wait)
    thread.start()
    has_hub.acquire()
    taken = snapshot()
    hub = next(hub for hub in taken.hubs if hub.name == names[0])
    assert hub.answered == HAS_GIL
    assert [each.state for each in taken.greenlets if each.hub == hub.name] == ["running"]
    list(frames_of_greenlets({}))
    over.release()
    thread.join()


def test_hubs_go_on_while_snapshots_are_taken(fast_switching: None) -> None:
    """Greenlets that switch all the time are found, and each is described whole."""
    over: list[bool] = []

    def switch(event: Event) -> None:
        while not over:
            event.wait(0.0001)
            sorted([2, 1], key=lambda number: greenpool.sleep(0) or number)

    with Runtime(pool_size=2) as runtime:
        greenlets = [runtime.spawn(switch, Event()) for _ in range(20)]
        for _ in range(30):
            taken = snapshot()
            for greenlet in greenlets:
                assert info_of(greenlet, taken).state in ("not started", "ready", "parked", "running")
        over.append(True)


def test_greenlets_that_start_meanwhile_are_found(fast_switching: None) -> None:
    """From the inbox to the ready queue, and from there to a carrier."""

    def switch(over: list[bool]) -> None:
        while not over:
            greenpool.sleep(0.0001)

    with Runtime(pool_size=2) as runtime:
        for _ in range(300):
            over: list[bool] = []
            greenlets = [runtime.spawn(switch, over) for _ in range(20)]
            for _ in range(3):
                found = {each.ident for each in snapshot().greenlets}
                assert found.issuperset(map(id, greenlets))
            over.append(True)


@pytest.mark.skipif(not HAS_GIL, reason="without a GIL a hub that computes does not answer")
def test_a_hub_that_computes_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves no task meanwhile, and a second look would have to wait for the GIL."""

    def goes_on(*args: object) -> bool:
        raise AssertionError("it is to be looked at again")

    monkeypatch.setattr("greenpool._core.survey._Look._goes_on", goes_on)
    over: list[bool] = []

    def compute() -> None:
        over.append(False)
        while len(over) == 1:
            pass

    with Runtime(pool_size=1) as runtime:
        greenlet = runtime.spawn(compute)
        while not over:
            native.sleep(0.001)
        native.sleep(0.05)
        taken = snapshot()
        over.append(True)
    assert info_of(greenlet, taken).state == "running"


@pytest.mark.skipif(HAS_GIL, reason="a look at the frames of other threads stops them only without a GIL")
def test_a_look_stops_no_threads_unless_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_all() -> dict[int, FrameType]:
        raise AssertionError("all threads are stopped")

    with Runtime(pool_size=2) as runtime:
        over = Event()
        greenlets = [runtime.spawn(over.wait) for _ in range(4)]
        monkeypatch.setattr("greenpool._core.survey.current_frames", stop_all)
        for stacks in (True, False):
            _, found = survey(stacks, may_stop_threads=False)
            assert {each.ident for each in found}.issuperset(map(id, greenlets))
        monkeypatch.undo()
        over.set()


def test_equal_stacks_are_counted(parked: Callable[..., Greenlet[object]]) -> None:
    event = Event()
    for _ in range(7):
        parked(event.wait)
    taken = snapshot()
    group = taken.groups()[0]
    assert len(group.greenlets) == 7
    assert "7 greenlets parked" in taken.text()
    assert "(7 times)" in taken.text()


def test_json(parked: Callable[..., Greenlet[object]]) -> None:
    greenlet = parked(Event().wait)
    read = json.loads(snapshot().json())
    (info,) = (each for each in read["greenlets"] if each["ident"] == id(greenlet))
    assert info["state"] == "parked"
    assert isinstance(read["stacks"][info["stack"]], list)
    (hub,) = (each for each in read["hubs"] if each["name"] == info["hub"])
    assert hub["counts"]["live"] >= 1


def test_a_representation_that_fails(parked: Callable[..., Greenlet[object]]) -> None:
    class Bad(Event):
        def __repr__(self) -> str:
            raise ValueError("no")

    assert "Bad" in info_of(parked(Bad().wait)).waits_for
