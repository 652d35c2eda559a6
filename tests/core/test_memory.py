"""Memory comes back: after a burst of greenlets has ended, an idle hub gives back what it has left."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

import greenpool
from greenpool._core.carrier import KEPT_FREE_CARRIERS
from greenpool._core.current import current_hub
from greenpool._core.memory import BURST, REST, give_back_slice
from greenpool._core.speedups import speedups
from greenpool._core.waiter import Waiter
from greenpool.event import Event

ON_GLIBC = sys.platform == "linux" and "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or "")

BLOCK = 4000
"""Bytes of a small object that malloc makes."""


def burst(size: int) -> None:
    event = Event()
    tasks = [greenpool.spawn(event.wait) for _ in range(size)]
    greenpool.sleep(0)
    event.set()
    greenpool.joinall(tasks)


def in_the_loop(function: Callable[[], object]) -> None:
    """Have the loop call *function*, because only the loop may end a carrier."""
    waiter = Waiter()
    current_hub().call_soon(lambda: (function(), waiter.wake()))
    waiter.park()


def give_back_everything() -> int:
    """Give back, slice by slice, and return the number of slices."""
    hub = current_hub()
    slices = 1
    in_the_loop(lambda: give_back_slice(hub))
    while hub.leftovers is not None or len(hub.free_carriers) > KEPT_FREE_CARRIERS:
        slices += 1
        in_the_loop(lambda: give_back_slice(hub))
    return slices


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_an_idle_hub_gives_back_what_a_burst_has_left() -> None:
    burst(BURST + 500)
    hub = current_hub()
    assert len(hub.free_carriers) > KEPT_FREE_CARRIERS
    while hub.ended_carriers or hub.leftovers is not None or len(hub.free_carriers) > KEPT_FREE_CARRIERS:
        greenpool.sleep(4 * REST)
    assert len(hub.free_carriers) == KEPT_FREE_CARRIERS


def test_a_hub_with_little_left_sleeps_as_long_as_before() -> None:
    give_back_everything()
    hub = current_hub()
    burst(KEPT_FREE_CARRIERS)
    passes = hub.passes
    greenpool.sleep(4 * REST)
    assert hub.passes <= passes + 3
    assert hub.leftovers is None


def test_the_memory_of_greenlets_that_live_on_stays_as_it_is() -> None:
    """Blocks of many sizes lie between the free ones."""
    event = Event()

    def hold(number: int) -> int:
        kept = bytes([number % 251]) * (600 + number % BLOCK)
        event.wait()
        return kept.count(number % 251) - len(kept)

    living = []
    for number in range(300):
        living.append(greenpool.spawn(hold, number))
        burst(20)
    give_back_everything()
    event.set()
    assert [task.get() for task in living] == [0] * 300


@pytest.mark.skipif(not ON_GLIBC or speedups is None, reason="only the extension knows glibc's malloc")
@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="CPython has no malloc there")
def test_the_free_memory_of_malloc_goes_back_to_the_kernel() -> None:
    give_back_everything()
    kept = []
    blocks = []
    for _ in range(10_000):
        blocks.append(bytearray(BLOCK))
        blocks.append(bytearray(BLOCK))
    # The last one pins the end of the heap, so free() alone gives nothing back.
    kept = blocks[::200]
    before = resident_bytes()
    del blocks
    assert resident_bytes() > before - 10_000 * BLOCK
    assert give_back_everything() > 1
    assert resident_bytes() < before - 15_000 * BLOCK
    assert not any(map(any, kept))


@pytest.mark.skipif(speedups is None, reason="the extension only")
def test_free_memory_may_be_dropped_in_the_middle() -> None:
    burst(BURST)
    memory = speedups.find_free_memory()
    if ON_GLIBC:
        assert speedups.give_back(memory, 0.0) is True
    del memory
    memory = speedups.find_free_memory()
    while speedups.give_back(memory, 0.01):
        pass
    assert speedups.give_back(memory, 0.0) is False


@pytest.mark.skipif(speedups is None, reason="the extension only")
def test_give_back_refuses_what_is_no_free_memory() -> None:
    if ON_GLIBC:
        with pytest.raises(ValueError, match="PyCapsule"):
            speedups.give_back(None, 0.1)
