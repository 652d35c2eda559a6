"""A running asyncio loop for each green thread, where CPython keeps one for each OS thread.

``asyncio.run`` may so be called in any number of greenlets of one hub, and no other greenlet sees its loop:
not Django's ORM, which refuses to run beside one, and not ``asyncio.run`` in the next greenlet.

*How.*  ``_core/thread_state.py`` swaps the loop where greenlets switch, as long as one runs on the hub.  Here
``asyncio.events`` is made to say when one begins to run.  Code that has taken ``asyncio._set_running_loop``
before it was patched, such as an uvloop that was imported earlier, does not say so.

asyncio is imported when first needed: that takes longer than the import of all of greenpool.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from ._core.thread_state import RunningLoop, keep_apart


def replacements(events: ModuleType) -> dict[str, object]:
    """What makes *events*, the module ``asyncio.events``, say when a loop begins to run."""
    standard: Any = events
    set_running_loop = standard._set_running_loop
    RunningLoop.get = standard._get_running_loop
    RunningLoop.set = set_running_loop
    if sys.version_info >= (3, 14):
        RunningLoop.swap_task = getattr(
            sys.modules.get("_asyncio"), "_swap_current_task", RunningLoop.swap_task
        )

    def _set_running_loop(loop: object) -> None:
        """As ``asyncio._set_running_loop``, for the calling green thread."""
        if loop is not None:
            keep_apart()
        set_running_loop(loop)

    return {"_set_running_loop": _set_running_loop}
