"""Test programs with greenpool: time that jumps, schedules that repeat, and races that are found."""

from __future__ import annotations

from .._core.scheduled import StepsExceeded
from . import network
from .explore import ScheduleFailed, explore, replay
from .run import run
from .strategy import schedules

__all__ = ["ScheduleFailed", "StepsExceeded", "explore", "network", "replay", "run", "schedules"]
