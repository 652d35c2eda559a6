"""Looking at greenlets, by gevent's names (as ``gevent.util``).

Everything here is made of ``greenpool.inspect.snapshot()``, which knows more.
"""

from __future__ import annotations

import sys as _sys
import traceback as _traceback
from collections.abc import Callable as _Callable
from collections.abc import Iterator as _Iterator
from functools import update_wrapper as _update_wrapper
from time import monotonic as _monotonic
from types import FrameType as _FrameType
from types import TracebackType as _TracebackType
from typing import Any as _Any
from typing import Self as _Self
from typing import TextIO as _TextIO

import greenlet as _greenlet

from ._core.current import current_greenlet as _current_greenlet
from ._core.native import current_frames as _current_frames
from ._core.native import original_threading as _original_threading
from .inspect import GreenletInfo, snapshot

__all__ = [
    "GreenletTree",
    "assert_switches",
    "clear_stack_frames",
    "format_run_info",
    "print_run_info",
    "wrap_errors",
]

_RULE = "*" * 80


def format_run_info(
    thread_stacks: bool = True,
    greenlet_stacks: bool = True,
    limit: int | None = None,
    current_thread_ident: int | None = None,
) -> list[str]:
    """Describe all threads and greenlets, as lines (as in gevent); any thread.

    *limit*: the number of calls that are shown of each stack.  *current_thread_ident*: the thread that is
    marked as the current one; by default the calling one.
    """
    current = _original_threading().get_ident() if current_thread_ident is None else current_thread_ident
    lines = [_RULE, "* Threads"]
    names = {thread.ident: thread.name for thread in _original_threading().enumerate()}
    for ident, frame in _current_frames().items():
        mark = " (CURRENT)" if ident == current else ""
        lines += [_RULE, f"Thread {names.get(ident, '?')} {ident:#x}{mark}"]
        if thread_stacks:
            lines += "".join(_traceback.format_stack(frame, limit)).splitlines()
    lines += [_RULE, "* Greenlets"]
    for tree in GreenletTree.forest():
        lines += [
            _RULE,
            *tree.format_lines({"running_stacks": greenlet_stacks, "running_stack_limit": limit}),
        ]
    return [*lines, _RULE]


class wrap_errors:
    """Call *function*, and return an exception of the classes *errors* that it raises (as in gevent)."""

    def __init__(
        self,
        errors: type[BaseException] | tuple[type[BaseException], ...],
        function: _Callable[..., object],
    ) -> None:
        self._errors = errors
        self._function = function
        _update_wrapper(self, function)

    def __call__(self, *args: object, **kwargs: object) -> object:
        try:
            return self._function(*args, **kwargs)
        except self._errors as exception:
            return exception

    def __str__(self) -> str:
        return str(self._function)

    def __repr__(self) -> str:
        return repr(self._function)

    def __getattr__(self, name: str) -> object:
        return getattr(self._function, name)


def clear_stack_frames(frame: _FrameType | None) -> None:
    """Clear the local variables of *frame* and its callers, so far as they do not run (as in gevent)."""
    while frame is not None:
        try:
            frame.clear()
        except RuntimeError:
            pass  # it runs, or is suspended
        frame = frame.f_back


def print_run_info(
    thread_stacks: bool = True,
    greenlet_stacks: bool = True,
    limit: int | None = None,
    file: _TextIO | None = None,
) -> None:
    """Print what ``format_run_info`` returns to *file*, by default stderr (as in gevent); any thread."""
    lines = format_run_info(thread_stacks, greenlet_stacks, limit)
    print("\n".join(lines), file=_sys.stderr if file is None else file)


class GreenletTree:
    """A greenlet and those that it has spawned (as in gevent).

    A greenlet whose spawner has ended is the root of a tree.  Without the C extension spawners are known only
    if ``greenpool.inspect.note_origins()`` was called before.
    """

    def __init__(self, greenlet: GreenletInfo) -> None:
        self.greenlet = greenlet
        """What was found out about it."""
        self.child_trees: list[GreenletTree] = []
        self.is_current_tree = False
        """Whether the greenlet that has asked for the forest belongs to it."""

    @staticmethod
    def forest() -> list[GreenletTree]:
        """The trees of all greenlets; any thread."""
        # Adopted, so that it is among them.
        current = id(_current_greenlet().task)
        trees = {each.ident: GreenletTree(each) for each in snapshot().greenlets}
        roots = []
        for tree in trees.values():
            spawner = tree.greenlet.spawner_ident
            above = None if spawner is None else trees.get(spawner)
            if above is None:
                roots.append(tree)
            else:
                above.child_trees.append(tree)
        for root in roots:
            root.is_current_tree = any(tree.greenlet.ident == current for tree in root._all())
        return roots

    @classmethod
    def current_tree(cls) -> GreenletTree:
        """The tree that the calling greenlet belongs to."""
        return next(tree for tree in cls.forest() if tree.is_current_tree)

    def _all(self) -> _Iterator[GreenletTree]:
        left = [self]
        while left:
            tree = left.pop()
            yield tree
            left += tree.child_trees

    def __str__(self) -> str:
        return self.format(False)

    def format(self, details: dict[str, _Any] | bool = True) -> str:
        """The tree as text, with stacks and places of spawns if *details* is true."""
        return "\n".join(self.format_lines(details))

    def format_lines(self, details: dict[str, _Any] | bool = True) -> list[str]:
        """The lines of ``format``.

        *details* may name single ones: ``{"running_stacks": True, "running_stack_limit": 5}``.
        """
        wanted = details if isinstance(details, dict) else {"running_stacks": details, "spawning": details}
        lines: list[str] = []
        # By hand, because a chain of spawns may be deeper than Python's recursion.
        left = [(self, "", "")]
        while left:
            tree, first, rest = left.pop()
            lines.append(first + _title(tree.greenlet))
            margin = rest + (" |  " if tree.child_trees else "    ")
            lines += [margin + line for line in _details(tree.greenlet, wanted)]
            children = [(child, rest + " +--- ", rest + " |    ") for child in tree.child_trees]
            if children:
                children[-1] = (children[-1][0], rest + " +--- ", rest + "      ")
            left += reversed(children)
        return lines


def _title(greenlet: GreenletInfo) -> str:
    call = f" in {greenlet.call}" if greenlet.call else ""
    return f"{greenlet.name} on {greenlet.hub}: {greenlet.state}{call}"


def _details(greenlet: GreenletInfo, wanted: dict[str, _Any]) -> _Iterator[str]:
    if greenlet.waits_for:
        holders = f" held by {' and '.join(greenlet.held_by)}" if greenlet.held_by else ""
        yield greenlet.waits_for + holders
    if wanted.get("spawning", True) and greenlet.spawned_at is not None:
        file, line, function = greenlet.spawned_at
        yield f"Spawned at {file}:{line} in {function}"
    if wanted.get("running_stacks", True) and greenlet.stack:
        yield "Running:"
        for file, line, function in greenlet.stack[: wanted.get("running_stack_limit")]:
            yield f"  {file}:{line} in {function}"


class _FailedToSwitch(AssertionError):
    """The body of ``assert_switches`` has not switched."""


class _Tracer:
    """Times the turns of a thread's greenlets; greenlet calls it at each switch of the thread."""

    def __init__(self, greenlet: object, target: object) -> None:
        self.active_greenlet = greenlet
        self.previous_trace_function: _Callable[..., object] | None = None
        self.has_switched = False
        # The switches that count: None: all.
        self._target = target
        self._began = _monotonic()
        self._longest = 0.0

    def __call__(self, event: str, arguments: _Any) -> None:
        _, self.active_greenlet = arguments
        if self._target is None or self._target is self.active_greenlet:
            self._longest = self.longest_turn()
            self._began = _monotonic()
            self.has_switched = True
        if self.previous_trace_function is not None:
            self.previous_trace_function(event, arguments)

    def longest_turn(self) -> float:
        """The seconds of the longest turn so far, the present one included."""
        return max(self._longest, _monotonic() - self._began)


class assert_switches:
    """A context manager that raises AssertionError if its body gives no other greenlet a turn (as in gevent).

    *max_blocking_time*: for so many seconds at a time the body may run without that.
    *hub_only*: only a turn of the hub's loop counts, and there has to be one.
    """

    def __init__(self, max_blocking_time: float | None = None, hub_only: bool = False) -> None:
        self.max_blocking_time = max_blocking_time
        self.hub_only = hub_only
        self._began = 0.0
        self.tracer: _Tracer | None = None

    def __enter__(self) -> _Self:
        greenlet = _current_greenlet()
        self._began = _monotonic()
        self.tracer = _Tracer(greenlet, greenlet.hub.loop_greenlet() if self.hub_only else None)
        self.tracer.previous_trace_function = _greenlet.settrace(self.tracer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: _TracebackType | None,
    ) -> None:
        tracer, self.tracer = self.tracer, None
        if tracer is None:
            return  # it was not entered
        installed: object = _greenlet.gettrace()
        if installed is tracer:
            _greenlet.settrace(tracer.previous_trace_function)
        if kind is None and self._has_blocked(tracer):
            limit = self.max_blocking_time
            raise _FailedToSwitch(
                ("To the hub" if self.hub_only else "To any greenlet")
                + f" in {_monotonic() - self._began:.4f} seconds"
                + (f" (max allowed {limit:.4f} seconds)" if limit else "")
            )

    def _has_blocked(self, tracer: _Tracer) -> bool:
        if not self.max_blocking_time:
            return not tracer.has_switched
        if self.hub_only and not tracer.has_switched:
            return True
        return tracer.longest_turn() > self.max_blocking_time
