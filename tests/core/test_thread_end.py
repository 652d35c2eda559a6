"""A plain thread ends with greenlets on its hub: they end with it, and no join of them waits for ever."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import greenlet
import pytest

import greenpool
from greenpool import Greenlet, GreenletExit
from greenpool.event import Event

pytestmark = pytest.mark.usefixtures("leak_check")

OnNewThread = Callable[..., Any]


def test_a_parked_one_gets_greenlet_exit(on_new_thread: OnNewThread) -> None:
    events = []

    def parked() -> None:
        try:
            greenpool.sleep(60)
        finally:
            events.append("finally")

    def start() -> Greenlet:
        started = greenpool.spawn(parked)
        greenpool.sleep(0)
        return started

    ended = on_new_thread(start)
    assert events == ["finally"]
    assert isinstance(ended.get(timeout=5), GreenletExit)


def test_so_does_one_that_has_not_begun(on_new_thread: OnNewThread) -> None:
    def start() -> list[Greenlet]:
        return [greenpool.spawn(print, "never"), greenpool.spawn_later(60, print, "never")]

    for ended in on_new_thread(start):
        assert isinstance(ended.get(timeout=5), GreenletExit)


def test_a_finally_block_may_yield_but_not_wait(on_new_thread: OnNewThread) -> None:
    events = []

    def parked(what: Callable[[], object]) -> None:
        try:
            greenpool.sleep(60)
        finally:
            what()
            events.append("went on")

    def yields() -> None:
        for _ in range(10):
            greenpool.sleep(0)

    def start() -> list[Greenlet]:
        started = [greenpool.spawn(parked, what) for what in (yields, Event().wait)]
        greenpool.sleep(0)
        return started

    ended = on_new_thread(start)
    assert events == ["went on"]
    for each in ended:
        assert isinstance(each.get(timeout=5), GreenletExit)


def test_a_finally_block_finds_its_hub(on_new_thread: OnNewThread) -> None:
    """A lookup through a threading.local would not do: free-threaded CPython deadlocks there."""
    found = []

    def parked() -> None:
        try:
            greenpool.sleep(60)
        finally:
            found.append((greenpool.get_hub(), hub))

    def start() -> None:
        nonlocal hub
        hub = greenpool.get_hub()
        greenpool.spawn(parked)
        greenpool.sleep(0)

    hub: object = None
    on_new_thread(start)
    [(there, before)] = found
    assert there is before


def test_one_that_never_stops_yielding_does_not_keep_the_thread(on_new_thread: OnNewThread) -> None:
    def stubborn() -> None:
        while True:
            try:
                greenpool.sleep(0)
            except GreenletExit:
                continue

    ended = on_new_thread(greenpool.spawn, stubborn)
    assert ended.ready()
    ended = on_new_thread(lambda: (greenpool.spawn(stubborn), greenpool.sleep(0))[0])
    assert ended.ready()


def test_who_waits_on_another_thread_is_told() -> None:
    started = Event()
    greenlets: list[Greenlet] = []
    joined = threading.Event()

    def ends() -> None:
        greenlets.append(greenpool.spawn(Event().wait))
        greenpool.sleep(0)
        started.set()
        joined.wait()

    thread = threading.Thread(target=ends)
    thread.start()
    started.wait()
    linked: list[object] = []
    greenlets[0].rawlink(linked.append)
    joiners = [greenpool.spawn(greenlets[0].join) for _ in range(3)]
    greenpool.sleep(0)
    joined.set()
    greenpool.joinall(joiners, raise_error=True)
    thread.join()
    assert linked == greenlets


@pytest.mark.parametrize("ends", ["before", "with the thread"])
def test_a_join_behind_links_that_can_run_no_more_returns(ends: str) -> None:
    """The links in front of it would run in greenlets of their own, on the hub of a thread that has ended."""
    started, joined = threading.Event(), threading.Event()
    greenlets: list[Greenlet] = []
    linked: list[object] = []

    def run() -> None:
        go = Event()
        greenlets.append(greenpool.spawn(go.wait))
        greenlets[0].link(linked.append)
        greenlets[0].link(lambda _: greenpool.sleep(60))
        greenlets[0].rawlink(linked.append)
        greenpool.sleep(0)
        started.set()
        joined.wait()
        if ends == "before":
            go.set()
            greenpool.sleep(0)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    joiners = [greenpool.spawn(greenlets[0].join) for _ in range(3)]
    greenpool.sleep(0)
    joined.set()
    greenpool.joinall(joiners, raise_error=True)
    thread.join()
    assert linked == greenlets * (2 if ends == "before" else 1)


def test_nothing_of_them_is_left(on_new_thread: OnNewThread) -> None:
    carriers = []

    def parked() -> None:
        carriers.append(weakref.ref(greenlet.getcurrent()))
        Event().wait()

    def use() -> None:
        greenpool.spawn(parked)
        greenpool.spawn(parked)
        greenpool.sleep(0)

    for _ in range(3):
        on_new_thread(use)
    gc.collect()
    assert len(carriers) == 6
    assert not any(carrier() for carrier in carriers)


def test_greenlet_does_not_look_for_leaks_at_the_end_of_each_thread() -> None:
    """That search would look at every object in the process."""
    assert greenlet._greenlet.get_clocks_used_doing_optional_cleanup() is None  # type: ignore[attr-defined]
