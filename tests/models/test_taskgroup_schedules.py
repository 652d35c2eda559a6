"""TaskGroup under schedules: trees of groups, scopes, failures, kills and timeouts."""

from __future__ import annotations

from typing import Any

import pytest
import test_taskgroup as examples
from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import testing
from greenpool.taskgroup import TaskGroup

from .programs import SCHEDULES, STEP

# The trees spread their greenlets over so many.
HUBS = 4


def play(tree: Any, seed: int) -> None:
    """Run a tree as the tests of TaskGroup do on threads. ``Play`` checks each block at its end."""
    run = examples.Play(seed)

    def root() -> None:
        run.run_swallow(("group", [tree, tree], tree))
        # Nobody else knows this greenlet, and all scopes have ended: nothing is pending.
        greenpool.sleep(0)

    greenpool.spawn(root).get()
    assert run.problems == []
    assert run.count["begun"] == run.count["ended"]
    assert run.count["cleanups begun"] == run.count["cleanups ended"]
    assert all(greenlet.dead for greenlet in run.greenlets)
    assert all(scope.greenlet is None for scope in run.scopes)


@settings(deadline=None, max_examples=4 * SCHEDULES)
@given(examples.TREES, st.integers(0, 2**32), testing.schedules())
def test_drawn_trees(tree: Any, seed: int, schedule: str) -> None:
    testing.replay(lambda: play(tree, seed), schedule, hubs=HUBS)


WAITS = ("wait", 1)
FIXED: dict[str, Any] = {
    "a failure meets a kill and the end": ("group", [("fail",), ("kill",), WAITS], WAITS),
    "a cancelled scope meets a failure in a clean-up": (
        "scope",
        1,
        False,
        ("group", [("cleanup", WAITS, ("fail",)), ("cancel",)], WAITS),
    ),
    "a timeout meets the end of a shield": (
        "timeout",
        1,
        True,
        ("group", [("scope", 1, True, WAITS), ("sequence", [WAITS, ("cancel",)])], WAITS),
    ),
    "groups in groups": (
        "group",
        [("group", [("kill",), WAITS], ("fail",)), ("cancel",)],
        ("cleanup", WAITS, WAITS),
    ),
}


@pytest.mark.parametrize("tree", FIXED.values(), ids=FIXED)
def test_fixed_trees(tree: Any) -> None:
    testing.explore(lambda: play(tree, 1), schedules=SCHEDULES, hubs=HUBS)


def test_no_child_outlives_its_block() -> None:
    """The children spawn more while one fails, and the greenlet that waits for them is killed."""

    def main() -> None:
        alive = 0

        def child(group: TaskGroup, depth: int) -> None:
            nonlocal alive
            alive += 1
            try:
                for _ in range(2 if depth else 0):
                    try:
                        group.spawn_on(depth % HUBS, child, group, depth - 1)
                    except RuntimeError:
                        return  # it is being cancelled
                greenpool.sleep(STEP * depth)
                if depth == 1:
                    raise LookupError
            finally:
                try:
                    greenpool.sleep(STEP)
                finally:
                    alive -= 1

        def parent() -> int:
            try:
                with TaskGroup() as group:
                    group.spawn(child, group, 2)
                    group.spawn(child, group, 0)
            except (ExceptionGroup, greenpool.GreenletExit):
                return alive
            raise AssertionError("neither a failure nor the kill comes out")

        waiting = greenpool.spawn(parent)
        greenpool.spawn_later(STEP, waiting.kill)
        assert waiting.get() == 0

    testing.explore(main, schedules=SCHEDULES, hubs=HUBS)
