"""Placement: outside spawns take turns over the pool's hubs, and every child stays on its parent's hub."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import Greenlet, Runtime
from greenpool.event import Event

POOL_SIZE = 3


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=POOL_SIZE) as runtime:
        yield runtime


@dataclass
class Tree:
    """The children that a greenlet spawns, and the way in which it was itself spawned."""

    way: str
    children: list[Tree] = field(default_factory=list)


WAYS = ("spawn", "Greenlet.spawn", "start", "start_later", "spawn_later", "Greenlet.spawn_later")
trees = st.recursive(
    st.builds(Tree, st.sampled_from(WAYS)),
    lambda children: st.builds(Tree, st.sampled_from(WAYS), st.lists(children, max_size=4)),
    max_leaves=15,
)


def spawn(tree: Tree) -> Greenlet:
    if tree.way == "spawn":
        return greenpool.spawn(hubs_of, tree)
    if tree.way == "Greenlet.spawn":
        return Greenlet.spawn(hubs_of, tree)  # type: ignore[no-any-return]
    if tree.way == "spawn_later":
        return greenpool.spawn_later(0, hubs_of, tree)
    if tree.way == "Greenlet.spawn_later":
        return Greenlet.spawn_later(0, hubs_of, tree)  # type: ignore[no-any-return]
    greenlet = Greenlet(hubs_of, tree)
    if tree.way == "start":
        greenlet.start()
    else:
        greenlet.start_later(0)
    return greenlet


def hubs_of(tree: Tree) -> list[int | None]:
    """Return the hubs of this greenlet and all below it, each taken before and after a wait."""
    before = greenpool.get_hub().index
    children = [spawn(child) for child in tree.children]
    greenpool.sleep(0)
    found = [before, greenpool.get_hub().index]
    for child in children:
        found += child.get()
    return found


def size(tree: Tree) -> int:
    return 1 + sum(size(child) for child in tree.children)


@settings(max_examples=40)
@given(forest=st.lists(trees, max_size=8))
def test_round_robin_for_the_main_function_and_affinity_below(runtime: Runtime, forest: list[Tree]) -> None:
    def main() -> list[list[int | None]]:
        # The example before this one decides where the turn stands.
        turn.append(greenpool.spawn(lambda: greenpool.get_hub().index).get())
        return [greenlet.get() for greenlet in [spawn(tree) for tree in forest]]

    turn: list[int] = []
    for number, (tree, found) in enumerate(zip(forest, runtime.block_on(main), strict=True)):
        expected = (turn[0] + 1 + number) % POOL_SIZE
        assert found == [expected] * (2 * size(tree))


@settings(max_examples=20)
@given(forest=st.lists(trees, max_size=6), index=st.integers(0, POOL_SIZE - 1))
def test_affinity_under_spawn_on_which_leaves_the_turn_alone(
    runtime: Runtime, forest: list[Tree], index: int
) -> None:
    before = runtime.spawn(lambda: greenpool.get_hub().index).get()
    greenlets = [runtime.handle().spawn_on(index, hubs_of, tree) for tree in forest]
    for tree, greenlet in zip(forest, greenlets, strict=True):
        assert greenlet.get() == [index] * (2 * size(tree))
    assert runtime.spawn(lambda: greenpool.get_hub().index).get() == (before + 1) % POOL_SIZE


@settings(max_examples=20)
@given(forest=st.lists(trees, max_size=6))
def test_outside_of_any_pool_all_stays_on_the_threads_own_hub(forest: list[Tree]) -> None:
    greenlets = [spawn(tree) for tree in forest]
    for tree, greenlet in zip(forest, greenlets, strict=True):
        assert greenlet.get() == [None] * (2 * size(tree))
        assert greenlet.hub is greenpool.get_hub()


@settings(max_examples=10)
@given(spawns=st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_turns_of_several_threads_are_shared_evenly(runtime: Runtime, spawns: list[int]) -> None:
    """Each hub gets its share, to within one, no matter in which order the threads spawn."""
    found: list[Greenlet] = []
    found_lock = threading.Lock()

    def spawner(count: int) -> None:
        mine = [runtime.spawn(lambda: greenpool.get_hub().index) for _ in range(count)]
        with found_lock:
            found.extend(mine)

    threads = [threading.Thread(target=spawner, args=(count,)) for count in spawns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hubs = [greenlet.get() for greenlet in found]
    shares = [hubs.count(index) for index in range(POOL_SIZE)]
    assert sum(shares) == sum(spawns)
    assert max(shares) - min(shares) <= 1


def test_a_greenlet_stays_where_it_is_whoever_wakes_it(runtime: Runtime) -> None:
    """A greenlet of another hub, a plain thread and a timer wake it."""
    events = [Event(), Event()]

    def sleeper() -> list[int]:
        threads = [threading.get_ident()]
        for event in events:
            event.wait()
            threads.append(threading.get_ident())
        greenpool.sleep(0.001)
        threads.append(threading.get_ident())
        return threads

    greenlet = runtime.handle().spawn_on(0, sleeper)
    runtime.handle().spawn_on(1, events[0].set).join()
    waker = threading.Thread(target=events[1].set)
    waker.start()
    waker.join()
    assert len(set(greenlet.get())) == 1


def test_the_spawns_of_a_greenlet_that_calls_block_on_go_in_turn(runtime: Runtime) -> None:
    def index() -> int | None:
        return greenpool.get_hub().index

    def main() -> set[int | None]:
        return {greenpool.spawn(index).get() for _ in range(POOL_SIZE)}

    def caller() -> tuple[set[int | None], int | None]:
        return runtime.block_on(main), greenpool.spawn(index).get()

    everywhere, after = runtime.handle().spawn_on(2, caller).get()
    assert everywhere == set(range(POOL_SIZE))
    assert after == 2


def test_thread_with_neither_gets_a_hub_when_first_needed() -> None:
    found: list[object] = []

    def thread() -> None:
        greenlet = greenpool.spawn(greenpool.get_hub)
        found.append(greenlet.get() is greenpool.get_hub())
        found.append(greenpool.get_hub().name)

    plain = threading.Thread(target=thread, name="plain")
    plain.start()
    plain.join()
    assert found == [True, "plain"]
