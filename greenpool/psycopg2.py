"""psycopg2 in green threads: a query parks its greenlet (as psycogreen does for gevent).

psycopg2 waits for PostgreSQL in C, and so blocks the hub.  If a *wait callback* is set, its connections have
that function wait in the place of C.  There is one for the whole process.  It also serves threads that are
not green: each waits on a hub of its own.

psycopg2 closes a connection on which a kill or a Timeout has ended the wait, because its query is still under
way there.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from ._at_import import when_imported
from .socket import wait_read, wait_write

__all__ = ["patch_psycopg2", "wait_callback"]

# As in psycopg2.extensions.
_POLL_OK, _POLL_READ, _POLL_WRITE = range(3)


class Connection(Protocol):
    """What is used of a connection of psycopg2."""

    def poll(self) -> int: ...

    def fileno(self) -> int: ...


def wait_callback(connection: Connection) -> None:
    """Park the calling greenlet until *connection* has done what it was asked; any thread.

    For ``psycopg2.extensions.set_wait_callback``.  Raises what ``connection.poll()`` raises, and
    ``psycopg2.OperationalError`` for a state that is not known.
    """
    while (state := connection.poll()) != _POLL_OK:
        if state == _POLL_READ:
            wait_read(connection.fileno())
        elif state == _POLL_WRITE:
            wait_write(connection.fileno())
        else:
            psycopg2: Any = importlib.import_module("psycopg2")
            raise psycopg2.OperationalError(f"poll() returned {state!r}, which is not known")


def patch_psycopg2() -> None:
    """Have psycopg2 wait by ``wait_callback``, as soon as the program imports it; any thread.

    ``monkey.patch_all(psycopg2=True)`` does so, too.
    """
    when_imported("psycopg2.extensions", _set_callback)


def _set_callback() -> None:
    extensions: Any = importlib.import_module("psycopg2.extensions")
    extensions.set_wait_callback(wait_callback)
