"""Checks of what the functions of greenpool.testing are called with."""

from __future__ import annotations

import inspect
from typing import Literal

from .._core.carrier import Carrier
from .._core.current import getcurrent
from .clock import Current

Clock = Literal["jump", "real"]
Preempt = Literal["operations", "lines"]


def check_caller() -> None:
    """Raise RuntimeError in a greenlet, also in one of a run."""
    run = Current.scheduler
    # The main program of a plain thread may block its hub.
    if isinstance(getcurrent(), Carrier) or (run is not None and run.is_here()):
        text = "a run of greenpool.testing would block the hub of this greenlet: call it outside of pools"
        raise RuntimeError(text)


def check_program(fn: object) -> None:
    """Raise TypeError if a call of *fn* would not run a program."""
    if not callable(fn):
        raise TypeError(f"fn must be callable, not {fn!r}")
    target = fn if inspect.isroutine(fn) or hasattr(fn, "func") else getattr(fn, "__call__", fn)  # noqa: B004
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(f"fn must be a plain function, not {fn!r}, whose call only makes a coroutine")
    if inspect.isgeneratorfunction(target):
        raise TypeError(f"fn must be a plain function, not {fn!r}, whose call only makes a generator")


def check_settings(hubs: int, clock: str, steps: int | None, patch: bool, preempt: str) -> None:
    """Raise TypeError or ValueError for an argument that is none of its kind."""
    _check_count("hubs", hubs, least=0)
    if steps is not None:
        _check_count("steps", steps, " or None")
    if clock not in ("jump", "real"):
        raise ValueError(f'clock must be "jump" or "real", not {clock!r}')
    if not isinstance(patch, bool):
        raise TypeError(f"patch must be True or False, not {patch!r}")
    if preempt not in ("operations", "lines"):
        raise ValueError(f'preempt must be "operations" or "lines", not {preempt!r}')


def check_schedules(schedules: int) -> None:
    """Raise TypeError or ValueError for a number of schedules that is none."""
    _check_count("schedules", schedules)


def check_seed(seed: int, also: str = "") -> None:
    """Raise TypeError for a seed that is no int; *also* says what else the argument may be."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be an int{also}, not {seed!r}")


def _check_count(name: str, count: int, also: str = "", least: int = 1) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name} must be an int{also}, not {count!r}")
    if count < least:
        raise ValueError(f"{name} must be at least {least}, not {count}")
