"""The names of the threads of hubs, where tools look for them.

- py-spy reads ``threading._active``.  In a patched program real threads come from a copy of ``threading``, so
  the threads of hubs are not in the table of the first one.  They are entered there, and its ``enumerate``
  leaves them out (see greenpool/threading.py).
- ``top -H``, ``perf`` and gdb show the name that the kernel has.  CPython sets it from 3.14 on.

*Threads*: each function is called on the thread in question.
"""

from __future__ import annotations

import threading
from os import O_CLOEXEC, O_WRONLY
from typing import Any

from .native import close, get_ident, open_descriptor, write

# Bytes of a name that Linux keeps.
LONGEST_NAME = 15

_table: Any = vars(threading)


def name_thread(thread: Any) -> None:
    """Give the calling thread the name of *thread*, its object, for all tools."""
    if not isinstance(thread, threading.Thread):
        with _table["_active_limbo_lock"]:
            _table["_active"][get_ident()] = thread
    try:
        descriptor = open_descriptor(
            f"/proc/self/task/{threading.get_native_id()}/comm", O_WRONLY | O_CLOEXEC
        )
    except OSError:
        return  # another system
    try:
        write(descriptor, thread.name.encode()[:LONGEST_NAME])
    except OSError:
        pass  # a sandbox forbids it
    finally:
        close(descriptor)


def forget_thread(thread: Any) -> None:
    """Undo ``name_thread`` before the calling thread ends."""
    if not isinstance(thread, threading.Thread):
        with _table["_active_limbo_lock"]:
            _table["_active"].pop(get_ident(), None)
