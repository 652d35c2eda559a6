"""greenpool.util: gevent's names for looking at greenlets."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest

import greenpool
from greenpool.event import Event
from greenpool.inspect import note_origins
from greenpool.util import (
    GreenletTree,
    assert_switches,
    clear_stack_frames,
    format_run_info,
    print_run_info,
    wrap_errors,
)


@pytest.fixture(autouse=True)
def origins() -> Iterator[None]:
    greenpool.sleep(0)  # makes the main program a greenlet
    note_origins()
    yield
    note_origins(False)


def test_tree_of_greenlets() -> None:
    def parent() -> None:
        child = greenpool.spawn(Event().wait)
        try:
            Event().wait()
        finally:
            child.kill()

    greenlet = greenpool.spawn(parent)
    greenpool.sleep(0.01)
    tree = GreenletTree.current_tree()
    greenlet.kill()
    (branch,) = (each for each in tree.child_trees if each.greenlet.ident == id(greenlet))
    (leaf,) = branch.child_trees
    assert leaf.child_trees == []
    text = tree.format()
    assert f" +--- {greenlet.name} on " in text
    assert f" +--- {leaf.greenlet.name} on " in text
    assert "Spawned at " in text
    assert "Spawned at " not in str(tree)


def test_run_info_has_threads_and_greenlets() -> None:
    greenlet = greenpool.spawn(Event().wait)
    greenpool.sleep(0.01)
    lines = format_run_info()
    file = io.StringIO()
    print_run_info(file=file, thread_stacks=False, greenlet_stacks=False)
    greenlet.kill()
    assert "* Threads" in lines
    assert "* Greenlets" in lines
    assert any(greenlet.name in line for line in lines)
    assert any("test_run_info_has_threads_and_greenlets" in line for line in lines)
    assert greenlet.name in file.getvalue()


def test_a_body_that_switches() -> None:
    with assert_switches():
        greenpool.sleep(0.001)
    with assert_switches(hub_only=True):
        greenpool.sleep(0.001)


def test_a_body_that_does_not_switch() -> None:
    with pytest.raises(AssertionError, match="To any greenlet in 0"), assert_switches():
        pass


def test_a_body_may_run_for_a_while() -> None:
    with assert_switches(max_blocking_time=60):
        pass
    with pytest.raises(AssertionError), assert_switches(max_blocking_time=0):
        pass


def test_an_exception_of_the_body_comes_out() -> None:
    with pytest.raises(KeyError), assert_switches():
        raise KeyError


def test_the_hub_has_to_have_a_turn() -> None:
    with pytest.raises(AssertionError, match=r"To the hub in 0.* \(max allowed 60.0000 seconds\)"):
        with assert_switches(max_blocking_time=60, hub_only=True):
            pass
    with assert_switches(max_blocking_time=60, hub_only=True):
        greenpool.sleep(0.001)


def test_one_turn_that_was_too_long() -> None:
    with pytest.raises(AssertionError, match="To any greenlet"), assert_switches(max_blocking_time=0.01):
        greenpool.sleep(0)
        time.sleep(0.02)
        greenpool.sleep(0)


def test_nested_assertions() -> None:
    with pytest.raises(AssertionError), assert_switches():
        with assert_switches():
            greenpool.sleep(0)
        with pytest.raises(AssertionError), assert_switches():
            pass
        raise AssertionError
    with assert_switches(), assert_switches():
        greenpool.sleep(0)


def test_errors_that_are_returned() -> None:
    divide = wrap_errors((ZeroDivisionError, TypeError), divmod)
    assert divide(7, 2) == (3, 1)
    assert isinstance(divide(1, 0), ZeroDivisionError)
    assert isinstance(divide("1", 0), TypeError)
    assert (str(divide), repr(divide), divide.__name__) == (str(divmod), repr(divmod), "divmod")
    with pytest.raises(KeyError):
        wrap_errors(ValueError, {}.__getitem__)(1)


def test_clearing_the_frames_of_a_traceback() -> None:
    def fail() -> None:
        text = "text"
        raise ValueError(text)

    with pytest.raises(ValueError, match="text") as caught:
        fail()
    frame = caught.traceback[-1].frame.raw
    assert frame.f_locals == {"text": "text"}
    clear_stack_frames(frame)
    assert frame.f_locals == {}
