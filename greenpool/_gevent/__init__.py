"""What ``import gevent`` gives after ``greenpool.install_as_gevent()``.

Modules of gevent that greenpool has under the same name are those of greenpool.  Here is what is gevent's
only.  ``_as_gevent.py`` has the table.  ``__version__`` is the version of gevent whose API this stands for.
"""

from __future__ import annotations

import sys as _sys
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import NamedTuple as _NamedTuple

from greenpool.greenlet import (
    Greenlet,
    GreenletExit,
    getcurrent,
    iwait,
    joinall,
    kill,
    killall,
    spawn,
    spawn_later,
    spawn_raw,
    wait,
)
from greenpool.hub import idle, sleep
from greenpool.os import fork
from greenpool.timeout import Timeout, with_timeout

from .hub import get_hub, reinit, signal_handler
from .settings import config

__all__ = [
    "Greenlet",
    "GreenletExit",
    "Timeout",
    "config",
    "fork",
    "get_hub",
    "getcurrent",
    "getswitchinterval",
    "idle",
    "iwait",
    "joinall",
    "kill",
    "killall",
    "reinit",
    "setswitchinterval",
    "signal_handler",
    "sleep",
    "spawn",
    "spawn_later",
    "spawn_raw",
    "wait",
    "with_timeout",
]

__version__ = "26.9.0"
"""The version of gevent whose API this stands for."""


class _VersionInfo(_NamedTuple):
    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: int


version_info = _VersionInfo(26, 9, 0, "final", 0)

getswitchinterval = _sys.getswitchinterval
setswitchinterval = _sys.setswitchinterval

if not _TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # gevent imports most of its modules at once, so programs use them without an import of their own.
        # And ``from gevent import NAME`` looks for a submodule by the name that this one has in greenpool.
        if not name.startswith("__"):
            try:
                return _import_module(f"gevent.{name}")
            except ModuleNotFoundError:
                pass  # there is none
        raise AttributeError(f"module 'gevent' has no attribute {name!r}")
