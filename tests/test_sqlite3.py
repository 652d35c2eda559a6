"""``greenpool.sqlite3``: waiting for a locked database parks, and all else is as in the standard module."""

from __future__ import annotations

import sqlite3 as standard
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import greenpool
from greenpool import sqlite3

pytestmark = pytest.mark.usefixtures("leak_check")

INSERT = "insert into t values (1)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    with standard.connect(path) as connection:
        connection.execute("create table t (x)")
    connection.close()
    return path


@pytest.fixture
def holder(path: Path) -> Iterator[Any]:
    """A connection within a transaction that has written."""
    connection = standard.connect(path)
    connection.execute(INSERT)
    yield connection
    connection.close()


def rows(path: Path) -> int:
    connection = standard.connect(path)
    count: int = connection.execute("select count(*) from t").fetchone()[0]
    connection.close()
    return count


def test_a_statement_parks_until_the_other_greenlet_commits(path: Path, holder: Any) -> None:
    connection = sqlite3.connect(path)
    waiting = greenpool.spawn(connection.execute, INSERT)
    greenpool.sleep(0.02)
    assert not waiting.ready()
    holder.commit()
    waiting.get()
    connection.commit()
    connection.close()
    assert rows(path) == 2


def test_a_statement_with_rows_that_commits_itself_parks_until_readers_have_gone(path: Path) -> None:
    """Its commit needs the file for itself, and would come with the last row that is fetched."""
    rows_before = [(1,), (2,)]
    reader = standard.connect(path)
    reader.executemany("insert into t values (?)", rows_before)
    reader.commit()
    reading = reader.execute("select x from t")
    assert reading.fetchone() == (1,)
    connection = sqlite3.connect(path, isolation_level=None)
    statement = "insert into t values (3), (4) returning x"
    waiting = greenpool.spawn(lambda: connection.execute(statement).fetchall())
    greenpool.sleep(0.02)
    assert not waiting.ready()
    assert reading.fetchall() == [(2,)]
    assert waiting.get() == [(3,), (4,)]
    cursor = connection.execute("insert into t values (5), (6), (7), (8) returning x")
    assert (cursor.fetchone(), next(cursor), cursor.fetchmany(1), list(cursor)) == (
        (5,),
        (6,),
        [(7,)],
        [(8,)],
    )
    assert cursor.fetchone() is None
    assert (cursor.fetchmany(3), cursor.fetchall()) == ([], [])
    assert [name for name, *_ in cursor.description] == ["x"]
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("insert into t (rowid) values (1) returning x")
    assert not connection.in_transaction
    reader.close()
    connection.close()
    assert rows(path) == 8


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_the_timeout_is_kept(path: Path, holder: Any, timeout: float) -> None:
    connection = sqlite3.connect(path, timeout=timeout)
    began = time.monotonic()
    with pytest.raises(standard.OperationalError, match="database is locked") as raised:
        connection.execute(INSERT)
    assert raised.value.sqlite_errorname == "SQLITE_BUSY"
    assert timeout <= time.monotonic() - began < timeout + 1
    connection.close()


def test_the_pragma_sets_and_tells_the_timeout(path: Path, holder: Any) -> None:
    connection = sqlite3.connect(path, timeout=7)
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (7000,)
    assert connection.execute("pragma busy_timeout = 30").fetchone() == (30,)
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (30,)
    began = time.monotonic()
    with pytest.raises(standard.OperationalError, match="locked"):
        connection.execute(INSERT)
    assert 0.03 <= time.monotonic() - began < 2
    connection.close()


def test_every_row_is_inserted_once(path: Path, holder: Any) -> None:
    connection = sqlite3.connect(path)
    waiting = greenpool.spawn(
        connection.executemany, "insert into t values (?)", ((number,) for number in range(5))
    )
    greenpool.sleep(0.02)
    holder.rollback()
    assert waiting.get().rowcount == 5
    connection.commit()
    assert connection.execute("select x from t").fetchall() == [(number,) for number in range(5)]
    connection.close()


def test_a_script_parks_before_it_begins(path: Path, holder: Any) -> None:
    connection = sqlite3.connect(path)
    waiting = greenpool.spawn(connection.executescript, f"{INSERT}; {INSERT};")
    greenpool.sleep(0.02)
    assert not waiting.ready()
    holder.commit()
    waiting.get()
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    connection.close()
    assert rows(path) == 3


def test_a_transaction_that_has_read_does_not_wait(path: Path, holder: Any) -> None:
    """Two such ones would wait for each other."""
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("begin")
    connection.execute("select * from t").fetchall()
    with pytest.raises(standard.OperationalError, match="locked"):
        connection.execute(INSERT)
    connection.rollback()
    waiting = greenpool.spawn(connection.execute, INSERT)
    greenpool.sleep(0.02)
    assert not waiting.ready()
    holder.commit()
    waiting.get()
    connection.close()


def test_a_wait_that_is_killed_leaves_no_lock(path: Path, holder: Any) -> None:
    connection = sqlite3.connect(path)
    waiting = greenpool.spawn(connection.execute, INSERT)
    greenpool.sleep(0.02)
    waiting.kill()
    connection.rollback()
    holder.commit()
    holder.execute(INSERT)
    holder.commit()
    connection.close()
    assert rows(path) == 2


def test_a_block_commits_or_rolls_back(path: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(INSERT)
    with pytest.raises(LookupError), connection:
        connection.execute(INSERT)
        raise LookupError
    connection.close()
    assert rows(path) == 1


def test_a_factory_is_used(path: Path, holder: Any) -> None:
    class Mine(sqlite3.Connection):
        pass

    class MyCursor(sqlite3.Cursor):
        pass

    connection = sqlite3.connect(path, factory=Mine)
    assert type(connection) is Mine
    cursor = connection.cursor(MyCursor)
    assert type(cursor) is MyCursor
    waiting = greenpool.spawn(cursor.execute, INSERT)
    greenpool.sleep(0.02)
    holder.commit()
    assert waiting.get() is cursor
    connection.close()


def test_a_cursor_of_a_standard_class_keeps_the_timeout(path: Path, holder: Any) -> None:
    class Old(standard.Cursor):
        pass

    connection = sqlite3.connect(path, timeout=0.05)
    cursor = connection.cursor(Old)
    began = time.monotonic()
    with pytest.raises(standard.OperationalError, match="locked"):
        cursor.execute(INSERT)
    assert time.monotonic() - began >= 0.04
    connection.close()


def test_other_errors_come_at_once(path: Path) -> None:
    connection = sqlite3.connect(path)
    with pytest.raises(standard.OperationalError, match="no such table"):
        connection.execute("select * from missing")
    connection.close()
    with pytest.raises(standard.ProgrammingError, match="closed"):
        connection.execute(INSERT)


# Patching.


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_module_is_patched_when_it_is_imported() -> None:
    program = """
from greenpool import monkey; monkey.patch_all()
import sys
assert "sqlite3" not in sys.modules
native = monkey.get_original("sqlite3", "connect")
import sqlite3, sqlite3.dbapi2
assert sqlite3.__loader__ is sqlite3.__spec__.loader
assert "Source" in repr(sqlite3.__loader__)
assert sqlite3.connect is sqlite3.dbapi2.connect is not native
assert monkey.is_module_patched("sqlite3")
connection = sqlite3.connect(":memory:")
assert isinstance(connection, sqlite3.Connection)
assert isinstance(connection.execute("select 1"), sqlite3.Cursor)
"""
    assert run(program) == ""


def test_a_class_that_was_made_before_is_named() -> None:
    program = """
import sqlite3
class Mine(sqlite3.Connection):
    pass
from greenpool import monkey; monkey.patch_all(); monkey.patch_all()
sqlite3.connect(":memory:", factory=Mine).execute("select 1")
"""
    assert run(program).count("__main__.Mine was made from sqlite3.Connection before patching") == 1
