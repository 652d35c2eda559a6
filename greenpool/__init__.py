"""Green threads for Python that use every core.

A pool of hubs, one per OS thread, each running greenlets over its own edge-triggered poller::

    import greenpool

    def main():
        greenlets = [greenpool.spawn(fetch, url) for url in urls]
        return [greenlet.get() for greenlet in greenlets]

    greenpool.run(main)
"""

from __future__ import annotations

from importlib import import_module as _import_module
from os import environ as _environ
from os import fork

from ._core.typing import TYPE_CHECKING as _TYPE_CHECKING
from .greenlet import (
    Greenlet,
    GreenletExit,
    LoopExit,
    SpawnError,
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
from .hub import Hub, get_hub, idle, reinit, sleep
from .timeout import Timeout, with_timeout

if _TYPE_CHECKING:
    from ._as_gevent import install_as_gevent
    from ._signal_watch import signal_handler
    from .cancel import (
        Cancelled,
        CancelScope,
        TooSlowError,
        current_time,
        fail_after,
        fail_at,
        move_on_after,
        move_on_at,
    )
    from .runtime import Builder, Handle, Runtime, StreamSpawnError, current_handle, run
    from .taskgroup import TaskGroup
    from .threadpool import blocking

__version__ = "0.1.0"

# Imported when they are first asked for (PEP 562): they bring concurrent.futures and logging along, a fifth
# of the time that importing greenpool would take.
_LATER = {
    "Builder": "runtime",
    "CancelScope": "cancel",
    "Cancelled": "cancel",
    "Handle": "runtime",
    "Runtime": "runtime",
    "StreamSpawnError": "runtime",
    "TaskGroup": "taskgroup",
    "TooSlowError": "cancel",
    "blocking": "threadpool",
    "current_handle": "runtime",
    "current_time": "cancel",
    "fail_after": "cancel",
    "fail_at": "cancel",
    "install_as_gevent": "_as_gevent",
    "move_on_after": "cancel",
    "move_on_at": "cancel",
    "run": "runtime",
    "signal_handler": "_signal_watch",
}


if not _TYPE_CHECKING:
    # Type checkers would take every name for one of this module.
    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(_import_module(f"{__name__}.{_LATER[name]}"), name)
        return value


# The console costs an import, and few programs want it.
if _environ.get("GREENPOOL_CONSOLE"):
    from .console.server import listen_as_wished as _listen_as_wished

    _listen_as_wished(by_default=False)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Builder",
    "CancelScope",
    "Cancelled",
    "Greenlet",
    "GreenletExit",
    "Handle",
    "Hub",
    "LoopExit",
    "Runtime",
    "SpawnError",
    "StreamSpawnError",
    "TaskGroup",
    "Timeout",
    "TooSlowError",
    "blocking",
    "current_handle",
    "current_time",
    "fail_after",
    "fail_at",
    "fork",
    "get_hub",
    "getcurrent",
    "idle",
    "install_as_gevent",
    "iwait",
    "joinall",
    "kill",
    "killall",
    "move_on_after",
    "move_on_at",
    "reinit",
    "run",
    "signal_handler",
    "sleep",
    "spawn",
    "spawn_later",
    "spawn_raw",
    "wait",
    "with_timeout",
]
