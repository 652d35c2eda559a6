"""Cooperative ``sqlite3``: every name of the standard module; waiting for a locked database parks.

SQLite waits for a lock in C, for *timeout* seconds, and so holds up the greenlet of the same hub that is to
commit.  Here SQLite is told not to wait.  It says SQLITE_BUSY, and the statement has changed nothing.  So it
is tried again after a few milliseconds, until *timeout* is over.  ``PRAGMA busy_timeout`` still sets and
tells the timeout.  SQLite does not wait in a transaction that has read, because two such ones could wait for
each other.  There the error comes at once, as from the standard module.

*Outside of a transaction* a statement with RETURNING commits when its last row is fetched.  A fetch that
finds the database locked loses the statement.  So such a statement runs in a transaction of its own, whose
commit is tried again, and the cursor keeps the rows.

*What blocks*: what SQLite computes, and what it reads from the disk; ``backup``.  A cursor of a class that
was made before patching waits in C.

*Threads*: as the standard module.  ``check_same_thread`` tells OS threads apart, not green ones.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef, misc"

from __future__ import annotations

import functools as _functools
import itertools as _itertools
import re as _re
import sqlite3 as _standard
from collections import deque as _deque
from collections.abc import Callable as _Callable
from collections.abc import Iterable as _Iterable
from collections.abc import Iterator as _Iterator
from types import TracebackType as _TracebackType
from typing import Any as _Any
from typing import Literal as _Literal
from typing import TypeVar as _TypeVar

from ._rebound import take_names as _take_names

_take_names(_standard, globals())

from ._fd.asking import pauses as _pauses  # noqa: E402

__all__ = [name for name in vars(_standard) if not name.startswith("_")]

_BUSY = 5
# What a transaction has read has changed since: it has to begin anew.
_BUSY_SNAPSHOT = 5 | 2 << 8

# From CPython 3.12 on there are others.
_LEGACY = getattr(_standard, "LEGACY_TRANSACTION_CONTROL", -1)

_native_connect: _Callable[..., _standard.Connection] = _standard.connect
_Error = _standard.OperationalError
_BUSY_TIMEOUT = _re.compile(r"\s*PRAGMA\s+(\w+\.)?busy_timeout\b", _re.IGNORECASE)
_BEGINS = _re.compile(r"\s*BEGIN\b", _re.IGNORECASE)
_RETURNS = _re.compile(
    r"\s*(INSERT|UPDATE|DELETE|REPLACE|WITH)\b.*\bRETURNING\b", _re.IGNORECASE | _re.DOTALL
)
_COMMITS = _re.compile(r"\s*(COMMIT|END)\b", _re.IGNORECASE)

_T = _TypeVar("_T")
_native_cursor = _standard.Cursor
_native_connection = _standard.Connection

# What they take is theirs to check.
_execute: _Callable[..., object] = _native_cursor.execute
_next: _Callable[..., object] = _native_cursor.__next__
_executemany: _Callable[..., object] = _native_cursor.executemany
_initialize: _Callable[..., None] = _native_connection.__init__
_blobopen: _Callable[..., object] = _native_connection.blobopen


def _is_busy(error: BaseException) -> bool:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == _BUSY and code != _BUSY_SNAPSHOT


class Cursor(_native_cursor):
    """As ``sqlite3.Cursor``; waiting for a locked database parks the greenlet."""

    # The rows of a statement that has been committed.
    _rows: _deque[_Any] | None = None

    def execute(self, sql: str, parameters: object = (), /) -> Cursor:
        self._rows = None
        connection = getattr(self, "connection", None)
        if not isinstance(connection, Connection):
            _execute(self, sql, parameters)
            return self
        before = connection.in_transaction
        if not before:
            connection._has_read = False
            if connection._commits_each() and isinstance(sql, str) and _RETURNS.match(sql):
                return self._execute_and_commit(connection, sql, parameters)
        try:
            if _BUSY_TIMEOUT.match(sql):
                connection._with_its_timeout(lambda: _execute(self, sql, parameters))
                return self
            _execute(self, sql, parameters)
        except _Error as error:
            if not _is_busy(error) or (connection._has_read and not _COMMITS.match(sql)):
                raise
            connection._retry(error, lambda: _execute(self, sql, parameters))
        if connection.in_transaction and (before or not _BEGINS.match(sql)):
            connection._has_read = True
        return self

    def _execute_and_commit(self, connection: Connection, sql: str, parameters: object) -> Cursor:
        native = _native_connection.cursor(connection, _native_cursor)
        connection._wait_for(lambda: native.execute("BEGIN IMMEDIATE"))
        try:
            _execute(self, sql, parameters)
            rows = _deque(_native_cursor.fetchall(self))
            connection._wait_for(lambda: native.execute("COMMIT"))
        except BaseException:
            if connection.in_transaction:
                native.execute("ROLLBACK")
            raise
        self._rows = rows
        return self

    def close(self) -> None:
        self._rows = None
        _native_cursor.close(self)

    def fetchone(self) -> _Any:
        if self._rows is None:
            return _native_cursor.fetchone(self)
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[_Any]:
        size = self.arraysize if size is None else size
        if self._rows is None:
            return _native_cursor.fetchmany(self, size)
        # As there, a size that is not positive means all rows.
        return [self._rows.popleft() for _ in range(size)] if 0 < size < len(self._rows) else self.fetchall()

    def fetchall(self) -> list[_Any]:
        if self._rows is None:
            return _native_cursor.fetchall(self)
        rows = list(self._rows)
        self._rows.clear()
        return rows

    def __next__(self) -> _Any:
        if self._rows is None:
            return _next(self)
        if self._rows:
            return self._rows.popleft()
        raise StopIteration

    def executemany(self, sql: str, parameters: _Iterable[object], /) -> Cursor:
        self._rows = None
        connection = getattr(self, "connection", None)
        if not isinstance(connection, Connection):
            _executemany(self, sql, parameters)
            return self
        if not connection.in_transaction:
            connection._has_read = False
        left = _Replayed(parameters)
        try:
            _executemany(self, sql, left)
        except _Error as error:
            if not _is_busy(error) or connection._has_read:
                raise
            connection._retry(error, lambda: _executemany(self, sql, left.again()))
        connection._has_read = connection.in_transaction
        return self

    def executescript(self, sql_script: str, /) -> Cursor:
        self._rows = None
        connection = getattr(self, "connection", None)
        if isinstance(connection, Connection):
            # A script cannot be tried again.  It runs with the lock just seen free, and no other greenlet of
            # this hub can take it in between; for the locks of other threads and processes it waits in C.
            if getattr(connection, "autocommit", _LEGACY) == _LEGACY:
                connection.commit()
            connection._wait_until_free()
            connection._with_its_timeout(lambda: _native_cursor.executescript(self, sql_script))
            connection._has_read = connection.in_transaction
        else:
            super().executescript(sql_script)
        return self


class _Replayed(_Iterator[object]):
    """Parameters of ``executemany``, which can go on with the row that met a locked database."""

    def __init__(self, parameters: _Iterable[object]) -> None:
        self.left = iter(parameters)
        self.taken: tuple[object, ...] = ()

    def __next__(self) -> object:
        row = next(self.left)
        self.taken = (row,)
        return row

    def again(self) -> _Replayed:
        self.left = _itertools.chain(self.taken, self.left)
        self.taken = ()
        return self


class Connection(_native_connection):
    """As ``sqlite3.Connection``; waiting for a locked database parks the greenlet."""

    # Whether the open transaction has read: SQLite does not wait then.
    _has_read = False
    _seconds = 0.0

    def __init__(self, database: object, timeout: float = 5.0, *args: object, **kwargs: object) -> None:
        if args:
            # Deprecated from CPython 3.13 on, and there named as the caller's.
            _initialize(self, database, 0, *args, **kwargs)
        else:
            _initialize(self, database, timeout=0, **kwargs)
        self._seconds = float(timeout)

    def cursor(self, factory: _Any = Cursor) -> _Any:
        made = super().cursor(factory)
        if not isinstance(made, Cursor):
            # It cannot try again.
            self._set_native_timeout(self._seconds)
        return made

    def execute(self, sql: str, parameters: object = (), /) -> Cursor:
        cursor: Cursor = self.cursor()
        return cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: _Iterable[object], /) -> Cursor:
        cursor: Cursor = self.cursor()
        return cursor.executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> Cursor:
        cursor: Cursor = self.cursor()
        return cursor.executescript(sql_script)

    def _commits_each(self) -> bool:
        """Whether each statement is committed by itself, outside of an explicit transaction."""
        autocommit = getattr(self, "autocommit", _LEGACY)
        return self.isolation_level is None if autocommit == _LEGACY else bool(autocommit)

    def commit(self) -> None:
        self._wait_for(super().commit)
        self._has_read = False

    def rollback(self) -> None:
        self._wait_for(super().rollback)
        self._has_read = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: _TracebackType | None,
        /,
    ) -> _Literal[False]:
        if kind is not None:
            _native_connection.rollback(self)
            return False
        try:
            Connection.commit(self)
        except BaseException:
            _native_connection.rollback(self)
            raise
        return False

    def blobopen(self, *args: object, **kwargs: object) -> _Any:
        return self._wait_for(_functools.partial(_blobopen, self, *args, **kwargs))

    def _wait_for(self, function: _Callable[[], _T]) -> _T:
        try:
            return function()
        except _Error as error:
            if not _is_busy(error):
                raise
            return self._retry(error, function)

    def _retry(self, error: _Error, function: _Callable[[], _T]) -> _T:
        pause = _pauses(self._seconds)
        while pause():
            try:
                return function()
            except _Error as again:
                if not _is_busy(again):
                    raise
                error = again
        raise error

    def _wait_until_free(self) -> None:
        def look() -> None:
            native = _native_connection.cursor(self, _native_cursor)
            native.execute("BEGIN IMMEDIATE")
            native.execute("ROLLBACK")

        try:
            self._wait_for(look)
        except _Error as error:
            if _is_busy(error):
                raise
            # The database is only to be read, say; the script finds that out, or not.

    def _set_native_timeout(self, seconds: float) -> None:
        native = _native_connection.cursor(self, _native_cursor)
        native.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def _with_its_timeout(self, function: _Callable[[], _T]) -> _T:
        """Call *function* while SQLite itself has the timeout, and take over the one that it leaves."""
        self._set_native_timeout(self._seconds)
        try:
            return function()
        finally:
            native = _native_connection.cursor(self, _native_cursor)
            self._seconds = native.execute("PRAGMA busy_timeout").fetchone()[0] / 1000
            self._set_native_timeout(0)


def connect(*args: object, **kwargs: object) -> _standard.Connection:
    """As ``sqlite3.connect``; waiting for a locked database parks the greenlet."""
    if len(args) < 6:  # the sixth is the factory
        kwargs.setdefault("factory", Connection)
    return _native_connect(*args, **kwargs)


connect.__doc__ = _native_connect.__doc__
