"""Groups and pools: members, limits, and mapping over them."""

from __future__ import annotations

import contextvars
import gc
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import greenpool
from greenpool import Greenlet, GreenletExit, Runtime, SpawnError, Timeout
from greenpool._core.task import _start_lock
from greenpool.event import Event
from greenpool.lock import Semaphore
from greenpool.pool import Group, Pool, PoolFull

pytestmark = pytest.mark.usefixtures("leak_check")

SOON = 0.005


class Failure(Exception):
    pass


def never() -> None:
    Event().wait()


def square(number: int) -> int:
    greenpool.sleep(0)
    return number * number


def fail(*_: object) -> None:
    raise Failure


def my_hub(_: object = None) -> int | None:
    greenpool.sleep(0)
    return greenpool.get_hub().index


@pytest.fixture(params=[Group, Pool, lambda: Pool(3)], ids=["Group", "Pool()", "Pool(3)"])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    group: Group = request.param()
    yield group
    assert len(group) == 0


# Members.


def test_members_until_they_end(group: Group) -> None:
    assert not group
    assert (len(group), list(group), group.join()) == (0, [], True)
    first = group.spawn(greenpool.sleep, SOON)
    second = group.spawn(greenpool.sleep, 2 * SOON)
    assert group
    assert len(group) == 2
    assert first in group and second in group
    assert greenpool.getcurrent() not in group
    assert list(group) == [first, second]
    assert repr(group).endswith(": 2 greenlets>")
    assert group.join() is True
    assert first.dead and second.dead
    assert list(group) == []


def test_start_and_add(group: Group) -> None:
    one = Greenlet(square, 2)
    group.start(one)
    assert one in group and one.started
    other = Greenlet(square, 3)
    group.add(other)
    group.add(other)
    assert list(group) == [one, other]
    assert not other.started
    other.start()
    group.join()
    assert (one.value, other.value) == (4, 9)


def test_a_greenlet_that_has_ended_does_not_stay(group: Group) -> None:
    ended = greenpool.spawn(square, 2)
    ended.join()
    group.add(ended)
    group.join()
    unstarted = Greenlet(never)
    group.add(unstarted)
    unstarted.kill()
    group.join()


def test_discard(group: Group) -> None:
    one = group.spawn(greenpool.sleep, SOON)
    group.discard(one)
    group.discard(one)
    assert one not in group
    assert group.join() is True
    assert not one.dead
    one.join()


def test_a_group_of_greenlets_that_there_are() -> None:
    greenlets = [greenpool.spawn(square, number) for number in range(3)]
    group = Group(greenlets)
    assert list(group) == greenlets
    group.join()
    assert [one.value for one in greenlets] == [0, 1, 4]


def test_greenlet_class() -> None:
    class Special(Greenlet):
        pass

    class SpecialGroup(Group):
        greenlet_class = Special

    assert type(SpecialGroup().spawn(int)) is Special
    pool = Pool(2, greenlet_class=Special)
    assert type(pool.spawn(int)) is Special
    pool.join()


def test_a_member_can_be_started_through_the_pool_later() -> None:
    pool = Pool(1)
    one = Greenlet(square, 3)
    pool.add(one)
    pool.start(one)
    pool.start(one)
    assert one.get() == 9
    pool.join()
    assert pool.free_count() == pool.wait_available() == 1


def test_a_refused_spawn_leaves_no_member() -> None:
    runtime = Runtime(pool_size=1)
    group, pool = Group(), Pool(1)

    def main() -> None:
        runtime.shutdown()
        for one in (group, pool):
            with pytest.raises(SpawnError):
                one.spawn(never)
            assert len(one) == 0
        assert pool.free_count() == 1
        assert pool.wait_available() == 1

    runtime.block_on(main)


# The end.


def test_join_with_a_timeout(group: Group) -> None:
    one = group.spawn(never)
    assert group.join(timeout=0) is False
    assert group.join(timeout=SOON) is False
    one.kill()
    assert group.join(timeout=60) is True


def test_join_raises_errors(group: Group, capsys: pytest.CaptureFixture[str]) -> None:
    group.spawn(square, 1)
    group.spawn(fail)
    with pytest.raises(Failure):
        group.join(raise_error=True)
    group.spawn(fail)
    assert group.join() is True
    assert capsys.readouterr().err.count("Failure") >= 2


def test_kill(group: Group) -> None:
    log = []

    def cleans_up(name: str) -> None:
        try:
            never()
        finally:
            greenpool.sleep(SOON)
            log.append(name)

    running = group.spawn(cleans_up, "a")
    greenpool.sleep(0)
    unstarted = group.spawn(cleans_up, "b")
    group.kill()
    assert len(group) == 0
    assert log == ["a"]
    assert isinstance(running.value, GreenletExit)
    assert isinstance(unstarted.value, GreenletExit)
    group.kill()


def test_kill_with_an_exception(group: Group, capsys: pytest.CaptureFixture[str]) -> None:
    one = group.spawn(never)
    greenpool.sleep(0)
    group.kill(Failure)
    assert isinstance(one.exception, Failure)
    assert "Failure" in capsys.readouterr().err


def test_kill_does_not_wait_longer_than_told(group: Group) -> None:
    release = Event()

    def stubborn() -> None:
        try:
            never()
        except GreenletExit:
            release.wait()

    one = group.spawn(stubborn)
    greenpool.sleep(0)
    group.kill(block=False)
    group.kill(timeout=SOON)  # a timeout does not kill it a second time either
    assert one in group
    group.killone(one)
    release.set()
    group.join()
    assert one.value is None


def test_kill_takes_in_whoever_joins_meanwhile() -> None:
    group = Group()
    late = []

    def last_words() -> None:
        try:
            never()
        finally:
            late.append(group.spawn(never))
            greenpool.sleep(SOON)

    group.spawn(last_words)
    greenpool.sleep(0)
    group.kill()
    assert len(group) == 0
    assert isinstance(late[0].value, GreenletExit)


def test_a_kill_makes_room_for_those_who_wait() -> None:
    pool = Pool(1)
    pool.spawn(never)
    waiting = [greenpool.spawn(pool.spawn, square, number) for number in range(3)]
    greenpool.sleep(0)
    pool.kill()
    assert [spawner.get().get() for spawner in waiting] == [0, 1, 4]
    pool.join()


def test_a_member_that_kills_the_group_is_last(group: Group) -> None:
    other = group.spawn(never)

    def killer() -> None:
        group.kill()

    one = group.spawn(killer)
    group.join()
    assert isinstance(other.value, GreenletExit)
    assert isinstance(one.value, GreenletExit)


def test_killone(group: Group) -> None:
    one, other = group.spawn(never), group.spawn(never)
    greenpool.sleep(0)
    group.killone(one)
    assert one.dead
    assert list(group) == [other]
    group.killone(one)
    stranger = greenpool.spawn(greenpool.sleep, 0)
    group.killone(stranger)
    stranger.get()
    group.killone(other, block=False)
    group.join()


# Limits.


def test_spawn_waits_while_the_pool_is_full() -> None:
    pool = Pool(2)
    assert (pool.full(), pool.free_count(), pool.wait_available()) == (False, 2, 2)
    release = Event()
    pool.spawn(release.wait)
    pool.spawn(release.wait)
    assert (pool.full(), pool.free_count(), pool.wait_available(timeout=0)) == (True, 0, 0)
    with pytest.raises(Timeout):
        with Timeout(SOON):
            pool.spawn(never)
    assert len(pool) == 2
    greenpool.spawn(release.set)
    third = pool.spawn(square, 3)
    assert third.get() == 9
    pool.join()
    assert pool.free_count() == 2


def test_first_come_first_served() -> None:
    pool = Pool(1)
    order: list[int] = []
    first = pool.spawn(never)
    spawners = [greenpool.spawn(pool.spawn, order.append, number) for number in range(5)]
    greenpool.sleep(0)
    spawners[2].kill()
    first.kill()
    greenpool.joinall(spawners)
    pool.join()
    assert order == [0, 1, 3, 4]


def test_adding_without_waiting() -> None:
    pool = Pool(1)
    pool.add(Greenlet(never), blocking=False)
    with pytest.raises(PoolFull):
        pool.add(Greenlet(never), blocking=False)
    with pytest.raises(PoolFull):
        pool.start(Greenlet(never), timeout=SOON)
    with pytest.raises(queue.Full):
        pool.start(Greenlet(never), timeout=0)
    pool.kill()
    assert pool.free_count() == 1


def test_a_pool_without_a_limit_and_one_without_room() -> None:
    pool = Pool()
    for _ in range(100):
        pool.spawn(greenpool.sleep, 0)
    assert (pool.full(), pool.free_count()) == (False, 1)
    pool.join()
    none = Pool(0)
    assert (none.full(), none.free_count(), none.wait_available(timeout=SOON)) == (True, 0, 0)
    with pytest.raises(PoolFull):
        none.start(Greenlet(never), timeout=SOON)


def test_a_pool_shared_by_hubs_and_threads_never_exceeds_its_size() -> None:
    pool = Pool(3)
    counting = threading.Lock()
    running = most = done = 0

    def work() -> None:
        nonlocal running, most, done
        with counting:
            running += 1
            most = max(most, running)
        greenpool.sleep(0)
        with counting:
            running -= 1
            done += 1

    def spawn_many() -> None:
        for greenlet in [pool.spawn(work) for _ in range(50)]:
            greenlet.join()

    with Runtime(pool_size=4) as runtime:
        threads = [threading.Thread(target=spawn_many) for _ in range(3)]
        for thread in threads:
            thread.start()
        greenlets = [runtime.spawn(spawn_many) for _ in range(4)]
        for greenlet in greenlets:
            greenlet.get()
        for thread in threads:
            thread.join()
    pool.join()
    assert done == 350
    assert most <= 3
    assert pool.free_count() == 3


# Calls.


def test_apply(group: Group, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.apply(divmod, (7, 2)) == (3, 1)
    assert group.apply(int, ("11",), {"base": 2}) == 3
    with pytest.raises(Failure):
        group.apply(fail)
    assert "Failure" in capsys.readouterr().err
    group.join()


def test_apply_in_a_member_calls_at_once() -> None:
    pool = Pool(1)
    assert pool.apply(pool.apply, (greenpool.getcurrent,)) is not greenpool.getcurrent()
    pool.join()


def test_apply_with_a_callback(group: Group) -> None:
    values: list[int] = []
    assert group.apply_cb(square, (3,), callback=values.append) == 9
    group.join()
    greenpool.sleep(0)
    assert values == [9]


def test_apply_async(group: Group, capsys: pytest.CaptureFixture[str]) -> None:
    values: list[int] = []
    assert group.apply_async(square, (3,), callback=values.append).get() == 9
    with pytest.raises(Failure):
        group.apply_async(fail, callback=values.append).get()
    group.join()
    greenpool.sleep(0)
    assert values == [9]
    assert "Failure" in capsys.readouterr().err


def test_apply_async_never_waits() -> None:
    pool = Pool(1)
    first = pool.spawn(never)
    values: list[int] = []
    later = pool.apply_async(square, (3,), callback=values.append)
    assert later not in pool
    first.kill()
    assert later.get() == 9
    pool.join()
    greenpool.sleep(0)
    assert values == [9]


def test_map(group: Group, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.map(square, range(10)) == [number * number for number in range(10)]
    assert group.map(square, []) == []
    with pytest.raises(Failure):
        group.map(fail, range(3))
    group.join()
    assert "Failure" in capsys.readouterr().err


def test_map_async(group: Group) -> None:
    values: list[list[int]] = []
    mapping = group.map_async(square, range(5), callback=values.append)
    assert mapping.get() == [0, 1, 4, 9, 16]
    assert group.map_cb(square, range(2), callback=values.append) == [0, 1]
    assert values == [[0, 1, 4, 9, 16], [0, 1]]
    group.join()


def test_imap(group: Group) -> None:
    def staggered(number: int) -> int:
        greenpool.sleep(SOON * (3 - number % 3))
        return number

    assert list(group.imap(staggered, range(6))) == list(range(6))
    assert sorted(group.imap_unordered(staggered, range(6))) == list(range(6))
    assert list(group.imap(pow, [2, 3, 4], [3, 2])) == [8, 9]
    assert list(group.imap(square, [])) == []
    group.join()


def test_imap_unordered_gives_what_comes_first() -> None:
    events = [Event() for _ in range(3)]
    group = Group()

    def wait_for(number: int) -> int:
        events[number].wait()
        return number

    values = group.imap_unordered(wait_for, range(3))
    for number in (2, 0, 1):
        events[number].set()
        assert next(values) == number
    with pytest.raises(StopIteration):
        next(values)
    with pytest.raises(StopIteration):
        next(values)
    group.join()


@pytest.mark.parametrize("ordered", [True, False])
def test_imap_goes_on_after_a_failure(ordered: bool, capsys: pytest.CaptureFixture[str]) -> None:
    group = Group()

    def odd_only(number: int) -> int:
        if number % 2:
            return number
        raise Failure(number)

    imap = group.imap if ordered else group.imap_unordered
    values = imap(odd_only, range(6))
    outcomes: list[Any] = []
    while True:
        try:
            outcomes.append(next(values))
        except Failure as failure:
            outcomes.append(failure.args)
        except StopIteration:
            break
    assert outcomes == [(0,), 1, (2,), 3, (4,), 5]
    group.join()
    assert "Failure" in capsys.readouterr().err


@pytest.mark.parametrize("ordered", [True, False])
def test_imap_over_an_iterable_that_fails(ordered: bool) -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise Failure

    group = Group()
    values = (group.imap if ordered else group.imap_unordered)(square, broken())
    assert sorted([next(values), next(values)]) == [1, 4]
    with pytest.raises(Failure):
        next(values)
    with pytest.raises(StopIteration):
        next(values)
    group.join()


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("maxsize", [1, 2, 5])
def test_imap_begins_no_more_than_maxsize(ordered: bool, maxsize: int) -> None:
    begun: list[int] = []

    def begin(number: int) -> int:
        begun.append(number)
        return number

    group = Group()
    imap = group.imap if ordered else group.imap_unordered
    values = imap(begin, itertools.count(), maxsize=maxsize)
    for taken in range(10):
        for _ in range(20):
            greenpool.sleep(0)
        assert len(begun) == taken + maxsize
        assert next(values) == taken
    del values
    gc.collect()
    group.join()


def test_an_imap_that_nobody_reads_ends() -> None:
    done: list[int] = []
    with Runtime(pool_size=2) as runtime:

        def main() -> None:
            for _ in Pool(2).imap(square, itertools.count(), maxsize=3):
                break
            Pool(2).imap_unordered(done.append, range(10))

        runtime.spawn(main).get()
    # The runtime ended by itself.
    assert sorted(done) == list(range(10))


def test_two_read_one_imap() -> None:
    group = Group()
    values = group.imap(square, range(50), maxsize=3)
    with Runtime(pool_size=2) as runtime:
        readers = [runtime.spawn(list, values) for _ in range(2)]
        taken = [reader.get() for reader in readers]
    assert sorted(taken[0] + taken[1]) == [number * number for number in range(50)]
    assert taken[0] == sorted(taken[0]) and taken[1] == sorted(taken[1])


def test_a_reader_that_is_killed_loses_nothing() -> None:
    release = Event()
    group = Group()

    def wait_first(number: int) -> int:
        release.wait()
        return number

    values = group.imap(wait_first, range(3), maxsize=1)
    reader = greenpool.spawn(next, values)
    greenpool.sleep(0)
    greenpool.sleep(0)
    reader.kill()
    release.set()
    assert list(values) == [0, 1, 2]


def test_the_context_of_the_caller() -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    pool = Pool(2)

    def look(_: object) -> str:
        return variable.get()

    assert pool.map(look, range(3)) == ["inside"] * 3
    assert list(pool.imap(look, range(3))) == ["inside"] * 3
    assert pool.map_async(look, range(3)).get() == ["inside"] * 3
    pool.join()


# The hubs that the work goes to.


def each_way(pool: Group) -> list[list[int | None]]:
    return [
        pool.map(my_hub, range(4)),
        list(pool.imap(my_hub, range(4))),
        list(pool.imap_unordered(my_hub, range(4))),
        pool.map_async(my_hub, range(4)).get(),
        [pool.apply(my_hub) for _ in range(4)],
        [pool.apply_async(my_hub).get() for _ in range(4)],
        [pool.spawn(my_hub).get() for _ in range(4)],
    ]


@pytest.mark.parametrize("make", [Group, Pool, lambda **settings: Pool(2, **settings)])
def test_where_the_work_goes(make: Callable[..., Group]) -> None:
    with Runtime(pool_size=4) as runtime:
        # A greenlet's work stays on its own hub or spreads.
        for index in range(4):
            hubs = runtime.handle().spawn_on(index, lambda: each_way(make())).get()
            assert hubs == [[index] * 4] * 7
        for hubs in runtime.spawn(lambda: each_way(make(spread=True))).get():
            assert sorted(hubs) == [0, 1, 2, 3]
        # In the main function the work goes where spawn sends it there.
        for spread in (False, True):
            for hubs in runtime.block_on(lambda: each_way(make(spread=spread))):  # noqa: B023
                assert len(set(hubs)) > 1


def test_spreading_from_a_plain_thread() -> None:
    with pytest.raises(RuntimeError, match="spread=True needs a runtime"):
        Group(spread=True).spawn(never)
    pool = Pool(1, spread=True)
    with pytest.raises(RuntimeError, match="spread=True needs a runtime"):
        pool.spawn(never)
    assert pool.free_count() == 1
    with Runtime(pool_size=3) as runtime:
        # A pool that was made in a runtime knows the runtime.
        pool = runtime.spawn(lambda: Pool(3, spread=True)).get()
        assert sorted(pool.map(my_hub, range(3))) == [0, 1, 2]


# Bad input.


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Pool(-1), ValueError, "size must be 0 or more, not -1"),
        (lambda: Pool("3"), TypeError, "size must be an int or None, not '3'"),
        (lambda: Pool(True), TypeError, "size must be an int or None, not True"),
        (lambda: Pool(spread=1), TypeError, "spread must be a bool, not 1"),
        (lambda: Group().spawn("x"), TypeError, "must be callable, not 'x'"),
        (lambda: Group().add(never), TypeError, "greenlet must be a Greenlet, not <function"),
        (lambda: Pool(1).start(None), TypeError, "greenlet must be a Greenlet, not None"),
        (lambda: Group().join(timeout=-1), ValueError, "timeout must not be negative, not -1"),
        (lambda: Group().kill(timeout="1"), TypeError, "timeout must be a number"),
        (lambda: Pool(1).wait_available(-1), ValueError, "timeout must not be negative, not -1"),
        (lambda: Pool(1).start(Greenlet(never), timeout=-1), ValueError, "must not be negative"),
        (lambda: Group().imap(None, []), TypeError, "function must be callable, not None"),
        (lambda: Group().imap(square), TypeError, "at least one iterable"),
        (lambda: Group().imap(square, [], maxsize=0), ValueError, "maxsize must be 1 or more"),
    ],
)
def test_bad_input(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.slow
@pytest.mark.usefixtures("fast_switching")
def test_who_has_joined_a_pool_finds_room_in_it(four_hubs: Runtime) -> None:
    """A member leaves and makes room in one step, as other threads see it."""
    pool = four_hubs.spawn(lambda: Pool(1, spread=True)).get()
    for _ in range(3000):
        pool.start(Greenlet(), blocking=False)
        assert pool.join(timeout=60)
        pool.start(member := Greenlet(), blocking=False)
        pool.killone(member)


@pytest.mark.parametrize("one", [False, True])
def test_a_kill_that_raises_leaves_the_members_killable(group: Group, one: bool) -> None:
    greenlet = group.spawn(never)
    with pytest.raises(TypeError):
        group.killone(greenlet, UnicodeDecodeError) if one else group.kill(UnicodeDecodeError)
    assert not greenlet.dead
    group.kill()
    assert greenlet.dead


def test_a_member_that_a_plain_thread_kills_before_its_start() -> None:
    """The links wait for that thread's hub, which may never run."""
    group = Group()
    group.add(Greenlet(int))
    killed, release = threading.Event(), threading.Event()

    def kill() -> None:
        group.kill(block=False)
        killed.set()
        release.wait()

    thread = threading.Thread(target=kill)
    thread.start()
    killed.wait()
    try:
        assert not group
        assert group.join(timeout=0)
    finally:
        release.set()
        thread.join()


@pytest.mark.usefixtures("fast_switching")
def test_a_member_that_leaves_while_it_is_added_again() -> None:
    pool = Pool(1)
    member = Greenlet(int)
    running = True

    def add() -> None:
        while running:
            try:
                pool.add(member, blocking=False)
            except PoolFull:
                pass

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(5000):
        pool.discard(member)
    running = False
    for thread in threads:
        thread.join()
    pool.discard(member)
    assert pool.wait_available() == 1


def test_a_link_of_what_was_never_started_may_take_any_lock(on_new_thread: Callable[..., Any]) -> None:
    """No lock of greenpool is held in the call, because the holder of the link's lock may wait for it."""
    dead = Greenlet(int)
    dead.kill()
    lock = _start_lock(dead)
    others = [Greenlet(int) for _ in range(2000)]
    other = next(each for each in others if _start_lock(each) is lock)
    outcome: list[bool] = []

    def link(_: object) -> None:
        # Act like a thread that holds a group's lock while this link waits for that lock.
        outcome.append(on_new_thread(lambda: other.kill(block=False) is None))

    ended = Greenlet(int)
    ended.rawlink(lambda _: dead.rawlink(link))
    ended.start()
    ended.join()
    while not outcome:
        greenpool.sleep(0)
    assert outcome == [True]


# Properties.


@given(
    items=st.lists(st.integers(), max_size=20),
    size=st.none() | st.integers(1, 5),
    maxsize=st.none() | st.integers(1, 5),
    spread=st.booleans(),
)
@settings(max_examples=50)
def test_maps_are_maps(
    four_hubs: Runtime, items: list[int], size: int | None, maxsize: int | None, spread: bool
) -> None:
    expected = [item * item for item in items]

    def main() -> None:
        pool = Pool(size, spread=spread)
        assert pool.map(square, items) == expected
        assert list(pool.imap(square, items, maxsize=maxsize)) == expected
        assert sorted(pool.imap_unordered(square, items, maxsize=maxsize)) == sorted(expected)
        assert pool.map_async(square, items).get() == expected
        assert pool.join(timeout=60)

    four_hubs.spawn(main).get()


@pytest.fixture(scope="module")
def four_hubs() -> Iterator[Runtime]:
    with Runtime(pool_size=4) as runtime:
        yield runtime


class Worker:
    """A member of the pool that ends when it is told to."""

    def __init__(self) -> None:
        self.told_to_end = Event()
        self.left = Event()
        self.greenlet = Greenlet(self.told_to_end.wait)


class Spawner:
    """Starts a worker in the pool, from a greenlet or from a plain thread."""

    def __init__(self, pool: Pool, timeout: float | None) -> None:
        self.worker = Worker()
        self.pool = pool
        self.timeout = timeout
        self.outcome: str | None = None
        self.greenlet: Greenlet | None = None

    def run(self, report: Callable[[Spawner], object]) -> None:
        try:
            self.pool.start(self.worker.greenlet, timeout=self.timeout)
            self.worker.greenlet.rawlink(lambda _: self.worker.left.set())
            self.outcome = "started"
        except PoolFull:
            self.outcome = "full"
        except GreenletExit:
            self.outcome = "killed"
        report(self)


class PoolMachine(RuleBasedStateMachine):
    """A pool beside its model: the members of the pool, and the spawners that wait for room."""

    runtime: Runtime
    where: str

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Worker] = []
        self.discarded: list[Worker] = []
        self.waiting: list[Spawner] = []
        self.threads: list[threading.Thread] = []
        self.reports: queue.SimpleQueue[Spawner] = queue.SimpleQueue()
        self.reported = Semaphore(0)

    @initialize(size=st.integers(0, 3))
    def make(self, size: int) -> None:
        self.size = size
        if self.where == "threads":
            # A greenlet that a thread started on its own hub would run only while that thread waits.
            self.pool = self.runtime.spawn(lambda: Pool(size, spread=True)).get()
        else:
            self.pool = Pool(size)

    def report(self, spawner: Spawner) -> None:
        self.reports.put(spawner)
        self.reported.release()

    def next_report(self) -> Spawner:
        self.reported.acquire()
        return self.reports.get()

    def launch(self, spawner: Spawner, in_thread: bool) -> None:
        if self.where == "threads" and in_thread:
            thread = threading.Thread(target=spawner.run, args=(self.report,))
            thread.start()
            self.threads.append(thread)
        elif self.where == "one hub":
            spawner.greenlet = self.runtime.handle().spawn_on(0, spawner.run, self.report)
        else:
            spawner.greenlet = self.runtime.spawn(spawner.run, self.report)

    def somebody_gets_in(self) -> None:
        """A place has become free: one of the waiting spawners takes it, if there is one."""
        if self.waiting:
            spawner = self.next_report()
            assert spawner.outcome == "started"
            self.waiting.remove(spawner)
            self.running.append(spawner.worker)

    @precondition(lambda self: len(self.running) < self.size)
    @rule(in_thread=st.booleans())
    def spawn(self, in_thread: bool) -> None:
        spawner = Spawner(self.pool, None)
        self.launch(spawner, in_thread)
        assert self.next_report() is spawner
        assert spawner.outcome == "started"
        self.running.append(spawner.worker)

    @precondition(lambda self: len(self.running) == self.size)
    @rule(in_thread=st.booleans())
    def spawn_in_vain_for_now(self, in_thread: bool) -> None:
        spawner = Spawner(self.pool, None)
        # Nobody can kill a thread, and nobody would ever make room in a pool of size 0.
        self.launch(spawner, in_thread and self.size > 0)
        self.waiting.append(spawner)
        # The order in which they wait decides which rules hypothesis may choose later.
        while len(self.pool._room._line) < len(self.waiting):
            greenpool.sleep(0.0002)

    @precondition(lambda self: len(self.running) == self.size)
    @rule(timeout=st.sampled_from([0, 0.001]), in_thread=st.booleans())
    def spawn_in_vain(self, timeout: float, in_thread: bool) -> None:
        spawner = Spawner(self.pool, timeout)
        self.launch(spawner, in_thread)
        assert self.next_report() is spawner
        assert spawner.outcome == "full"

    @precondition(lambda self: any(spawner.greenlet for spawner in self.waiting))
    @rule(data=st.data())
    def kill_a_spawner(self, data: st.DataObject) -> None:
        killable = [spawner for spawner in self.waiting if spawner.greenlet]
        spawner = data.draw(st.sampled_from(killable))
        assert spawner.greenlet is not None
        spawner.greenlet.kill()
        self.waiting.remove(spawner)
        if spawner.outcome is not None:  # otherwise it never ran
            assert self.next_report() is spawner
            assert spawner.outcome == "killed"

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kill=st.booleans())
    def end_a_worker(self, data: st.DataObject, kill: bool) -> None:
        worker = data.draw(st.sampled_from(self.running))
        self.running.remove(worker)
        if kill:
            self.pool.killone(worker.greenlet)
        else:
            worker.told_to_end.set()
            worker.left.wait()
        assert worker.greenlet.dead
        assert worker.greenlet not in self.pool
        self.somebody_gets_in()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def discard_a_worker(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.running))
        self.running.remove(worker)
        self.discarded.append(worker)
        self.pool.discard(worker.greenlet)
        self.somebody_gets_in()

    @rule()
    def join_in_vain(self) -> None:
        assert self.pool.join(timeout=0) is (not self.running)

    @invariant()
    def as_the_model_says(self) -> None:
        if not hasattr(self, "pool"):
            return
        assert len(self.pool) == len(self.running)
        assert set(self.pool) == {worker.greenlet for worker in self.running}
        assert self.pool.free_count() == self.size - len(self.running)
        assert self.pool.full() is (len(self.running) == self.size)
        assert self.pool.wait_available(timeout=0) == self.size - len(self.running)

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        while self.waiting:
            self.pool.kill()
            self.running.clear()
            if self.size:
                self.somebody_gets_in()
            else:
                spawner = self.waiting.pop()
                assert spawner.greenlet is not None
                spawner.greenlet.kill()
        self.pool.kill()
        assert self.pool.join()
        assert self.pool.free_count() == self.size
        for worker in self.discarded:
            worker.told_to_end.set()
            worker.greenlet.join()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("where", ["one hub", "four hubs", "threads"])
def test_pool_against_its_model(four_hubs: Runtime, where: str) -> None:
    class Machine(PoolMachine):
        pass

    Machine.runtime = four_hubs
    Machine.where = where
    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=25))
