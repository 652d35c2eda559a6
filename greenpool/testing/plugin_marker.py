"""The arguments of ``@pytest.mark.greenpool``, of the options and of the configuration, for one test.

*Threads*: pytest's own thread runs all of this.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, replace
from typing import Any

import pytest

from .arguments import Clock

_SCHEDULE = re.compile(r"\d+(:(\d+=\d+(,\d+=\d+)*)?)?")


@dataclass(frozen=True)
class Settings:
    """How the call of one test runs."""

    hubs: int = 2
    explore: int | None = None
    clock: Clock = "jump"
    seed: int | str | None = None
    patch: bool = False
    steps: int | None = None
    schedule: bool = True

    @property
    def only_clock(self) -> bool:
        """Whether the test asks for a clock, and for nothing else."""
        return not self.hubs and self.explore is None and self.seed is None and self.steps is None

    @property
    def has_schedule(self) -> bool:
        """Whether the test runs under a schedule, be it for the clock only."""
        return self.schedule and not (self.only_clock and self.clock == "real")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


# For each argument: whether a value is right, and what it must be.
_CHECKS: dict[str, tuple[Any, str]] = {
    "hubs": (lambda value: _is_count(value, 0), "a number of hubs, or 0 for the one of the test"),
    "explore": (lambda value: value is None or _is_count(value, 1), "a number of schedules, or None"),
    "clock": (lambda value: value in ("jump", "real"), '"jump" or "real"'),
    "seed": (
        lambda value: value is None or _is_count(value, 0) or (isinstance(value, str) and is_schedule(value)),
        "a seed, a schedule as text, or None",
    ),
    "patch": (lambda value: isinstance(value, bool), "True or False"),
    "steps": (lambda value: value is None or _is_count(value, 1), "a number of steps, or None"),
    "schedule": (lambda value: isinstance(value, bool), "True or False"),
}


def is_schedule(text: str) -> bool:
    """Whether *text* is a seed, or a schedule as ``testing.replay`` takes it."""
    return _SCHEDULE.fullmatch(text) is not None


def read_seed(text: str) -> int | str:
    """The seed or the schedule of ``--greenpool-seed``."""
    if not is_schedule(text):
        raise pytest.UsageError(
            f"--greenpool-seed must be a seed (12) or a schedule (12:2=1,4=1), not {text!r}"
        )
    return text if ":" in text else int(text)


def settings_of(item: pytest.Function, clock: str | None, real: bool) -> Settings | None:
    """The settings of a test; None if it has none.

    *clock* is that of the configuration, and *real* says that ``--greenpool-clock=real`` is given.
    """
    marker = item.get_closest_marker("greenpool")
    if marker is None:
        if clock != "jump" or "greenpool_runtime" in item.fixturenames or _is_async(item):
            return None
        settings = Settings(hubs=0)
    else:
        settings = _read(item, marker)
        seed = item.config.getoption("greenpool_seed")
        if seed is not None and settings.schedule:
            settings = replace(settings, seed=read_seed(seed), explore=None)
    if real and settings.explore is None and settings.seed is None and settings.steps is None:
        # It needs no schedule either.  Its hubs are those of a pool as any other.
        settings = replace(settings, clock="real", schedule=False)
    return settings if settings.has_schedule or settings.hubs or settings.patch else None


def _is_async(item: pytest.Function) -> bool:
    return inspect.iscoroutinefunction(item.obj) or inspect.isasyncgenfunction(item.obj)


def _read(item: pytest.Function, marker: pytest.Mark) -> Settings:
    def refuse(text: str) -> pytest.UsageError:
        return pytest.UsageError(f"{item.nodeid}: the marker greenpool {text}")

    if marker.args:
        raise refuse(f"takes named arguments only, not {', '.join(map(repr, marker.args))}")
    for name, value in marker.kwargs.items():
        if name not in _CHECKS:
            raise refuse(f"has no argument {name!r} (it is {value!r})")
        is_right, expected = _CHECKS[name]
        if not is_right(value):
            raise refuse(f"has {name}={value!r}, which must be {expected}")
    settings = Settings(**marker.kwargs)
    if not settings.schedule:
        others = {**marker.kwargs, "clock": None} if settings.clock == "real" else dict(marker.kwargs)
        wrong = [
            f"{name}={value!r}"
            for name, value in others.items()
            if name not in ("schedule", "patch") and value is not None
        ]
        if not settings.patch or wrong:
            raise refuse(
                "takes schedule=False together with patch=True and without "
                f"{', '.join(wrong) or 'any other argument'}"
            )
        settings = replace(settings, clock="real", hubs=0)
    if isinstance(settings.seed, str) and settings.explore is not None:
        raise refuse(f"takes explore={settings.explore} with a number for seed, not {settings.seed!r}")
    if _is_async(item) and not settings.patch:
        raise refuse("takes an async test with patch=True only: asyncio waits in the kernel otherwise")
    if "greenpool_runtime" in item.fixturenames and settings.schedule:
        raise refuse("does not go with the fixture greenpool_runtime, whose hubs are outside of the run")
    return settings
