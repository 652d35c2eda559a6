"""Cancel scopes under schedules: a plain calculation says when each block ends and which scope catches.

Time in a run is exact, so the calculation is, too. No two things happen at the same time: each deadline and
each cancellation by another hub has a fraction of a second of its own, and waits last whole seconds.
"""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import testing
from greenpool.cancel import CancelScope, current_time

from .programs import HUBS, SCHEDULES

TREES: st.SearchStrategy[Any] = st.deferred(
    lambda: st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 3)),
        # Of the scope that is so many further out.
        st.tuples(st.just("cancel"), st.integers(0, 2)),
        st.tuples(st.just("sequence"), st.lists(TREES, max_size=3)),
        st.tuples(st.just("scope"), st.none() | st.integers(0, 4), st.booleans(), TREES),
        st.tuples(st.just("cleanup"), TREES, TREES),
    )
)
# When another hub cancels, and which scope, by the order in which they are entered.
MOST_CANCELLED = 4
CANCELS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, MOST_CANCELLED)), max_size=3)

Log = list[tuple[str, float]]


def moment(second: int, number: int, fraction: float) -> float:
    return second + (number + 1) * fraction


class Expected(Exception):
    """The exception that the calculation has in the place of Cancelled."""

    def __init__(self, path: list[Block]) -> None:
        self.path = path


class Block:
    """A scope of the calculation: when it is cancelled, and whether it has a shield."""

    def __init__(self) -> None:
        self.at = inf
        self.shield = False


class Calculation:
    """Goes through a tree as one greenlet does, with a clock that is a number."""

    def __init__(self, cancels: list[tuple[int, int]], count: int) -> None:
        self.now = 0.0
        self.blocks = [Block() for _ in range(count)]
        self.entered = 0
        self.open: list[Block] = []
        # The exceptions that are being handled, by clean-ups that wait.
        self.handling: list[Expected] = []
        self.log: Log = []
        for place, (second, number) in enumerate(cancels):
            block = self.blocks[number]
            block.at = min(block.at, moment(second, place, 0.0001))

    def note(self, what: str) -> None:
        self.log.append((what, round(self.now, 4)))

    def run(self, tree: Any) -> None:
        getattr(self, tree[0])(*tree[1:])

    def visible(self) -> list[Block]:
        """The open scopes, from the innermost one to the first shield."""
        found = []
        for block in reversed(self.open):
            found.append(block)
            if block.shield:
                break
        return found

    def due(self) -> list[Block]:
        """The scopes that a Cancelled would unwind now."""
        handled = [block for one in self.handling for block in one.path]
        path = self.visible()
        while path and (path[-1].at > self.now or path[-1] in handled):
            path.pop()
        return path

    def wait(self, seconds: int) -> None:
        handled = [block for one in self.handling for block in one.path]
        end = self.now + seconds
        next_one = min((block.at for block in self.visible() if block not in handled), default=inf)
        self.now = min(end, max(self.now, next_one))
        path = self.due()
        if path:
            raise Expected(path)
        self.note("waited")

    def cancel(self, further: int) -> None:
        if further < len(self.open):
            block = self.open[-1 - further]
            block.at = min(block.at, self.now)

    def sequence(self, trees: list[Any]) -> None:
        for tree in trees:
            self.run(tree)

    def scope(self, seconds: int | None, shield: bool, tree: Any) -> None:
        number = self.entered
        self.entered += 1
        block = self.blocks[number]
        block.shield = shield
        if seconds is not None:
            block.at = min(block.at, self.now + moment(seconds, number, 0.001))
        self.open.append(block)
        try:
            self.run(tree)
        except Expected as error:
            self.open.pop()
            if error.path[-1] is block and not shield:
                # One further out may have been cancelled meanwhile: then the exception goes on to there.
                error.path += self.due()
            if error.path[-1] is not block:
                raise
            self.note(f"scope {number} caught")
        else:
            self.open.pop()
            self.note(f"scope {number} left")

    def cleanup(self, tree: Any, cleanup: Any) -> None:
        try:
            self.run(tree)
        except Expected as error:
            self.handling.append(error)
            try:
                self.run(cleanup)
            finally:
                self.handling.pop()
            raise
        self.run(cleanup)


class Program:
    """Goes through a tree with scopes and waits."""

    def __init__(self, cancels: list[tuple[int, int]], count: int) -> None:
        self.begun = current_time()
        self.scopes = [CancelScope() for _ in range(count)]
        self.entered = 0
        self.open: list[CancelScope] = []
        self.log: Log = []
        handle = greenpool.current_handle()
        assert handle is not None
        self.cancelling = [
            handle.spawn_on(1, self.cancel_later, moment(second, place, 0.0001), number)
            for place, (second, number) in enumerate(cancels)
        ]

    def cancel_later(self, seconds: float, number: int) -> None:
        greenpool.sleep(self.begun + seconds - current_time())
        self.scopes[number].cancel()

    def note(self, what: str) -> None:
        self.log.append((what, round(current_time() - self.begun, 4)))

    def run(self, tree: Any) -> None:
        getattr(self, tree[0])(*tree[1:])

    def wait(self, seconds: int) -> None:
        greenpool.sleep(seconds)
        self.note("waited")

    def cancel(self, further: int) -> None:
        if further < len(self.open):
            self.open[-1 - further].cancel()

    def sequence(self, trees: list[Any]) -> None:
        for tree in trees:
            self.run(tree)

    def scope(self, seconds: int | None, shield: bool, tree: Any) -> None:
        number = self.entered
        self.entered += 1
        scope = self.scopes[number]
        if seconds is not None:
            scope.deadline = current_time() + moment(seconds, number, 0.001)
        scope.shield = shield
        self.open.append(scope)
        try:
            with scope:
                self.run(tree)
        finally:
            self.open.pop()
        self.note(f"scope {number} {'caught' if scope.cancelled_caught else 'left'}")

    def cleanup(self, tree: Any, cleanup: Any) -> None:
        try:
            self.run(tree)
        finally:
            self.run(cleanup)


def scopes_in(tree: Any) -> int:
    """How many scopes *tree* has; hypothesis draws some with more than forty."""
    if isinstance(tree, list):
        return sum(map(scopes_in, tree))
    return isinstance(tree, tuple) and (tree[0] == "scope") + sum(map(scopes_in, tree[1:]))


def compare(tree: Any, cancels: list[tuple[int, int]]) -> None:
    whole = ("scope", None, False, tree)
    # One may be cancelled that is never entered.
    count = scopes_in(whole) + MOST_CANCELLED
    calculation = Calculation(cancels, count)
    calculation.run(whole)
    program = Program(cancels, count)
    handle = greenpool.current_handle()
    assert handle is not None
    handle.spawn_on(0, program.run, whole).get()
    assert program.log == calculation.log
    # Nothing is left that would end a wait, and no deadline holds up the end of the run.
    greenpool.joinall(program.cancelling, raise_error=True)
    assert all(scope.greenlet is None and scope._timer is None for scope in program.scopes)


@settings(deadline=None, max_examples=8 * SCHEDULES)
@given(TREES, CANCELS, testing.schedules())
def test_drawn_trees(tree: Any, cancels: list[tuple[int, int]], schedule: str) -> None:
    testing.replay(lambda: compare(tree, cancels), schedule, hubs=HUBS)


FIXED: dict[str, tuple[Any, list[tuple[int, int]]]] = {
    "an outer deadline waits for the end of a shield": (
        ("scope", 1, False, ("sequence", [("scope", None, True, ("wait", 3)), ("wait", 1)])),
        [],
    ),
    "a clean-up waits while a scope further out is cancelled": (
        ("scope", 2, False, ("scope", 1, False, ("cleanup", ("wait", 3), ("wait", 3)))),
        [(3, 0)],
    ),
    "another hub cancels before the block, in it and after it": (
        ("sequence", [("wait", 1), ("scope", None, False, ("wait", 2)), ("scope", 1, False, ("wait", 3))]),
        [(0, 1), (2, 2), (2, 1)],
    ),
}


@pytest.mark.parametrize(("tree", "cancels"), FIXED.values(), ids=FIXED)
def test_fixed_trees(tree: Any, cancels: list[tuple[int, int]]) -> None:
    testing.explore(lambda: compare(tree, cancels), schedules=SCHEDULES, hubs=HUBS)
