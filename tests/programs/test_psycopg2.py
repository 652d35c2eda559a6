"""psycopg2 against PostgreSQL: it waits in C, or in a Python function if one is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import run_patched

pytest.importorskip("psycopg2")

pytestmark = pytest.mark.slow

GREEN = """
    monkey.patch_all(psycopg2=True)
    import psycopg2, psycopg2.extensions, psycopg2.pool
    address = f"host=127.0.0.1 user=postgres dbname=postgres port={sys.argv[1]}"
"""


def test_fifty_over_a_pool(postgresql_port: int, tmp_path: Path) -> None:
    program = (
        GREEN
        + """
    def query(number):
        connection = pool.getconn()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.1), %s", (number,))
                return cursor.fetchone()[1]
        finally:
            pool.putconn(connection)

    pool = psycopg2.pool.ThreadedConnectionPool(1, 50, address)
    assert fifty(query) == list(range(50))
    pool.closeall()
    """
    )
    run_patched(program, postgresql_port, directory=tmp_path)


def test_fifty_over_ten_connections(postgresql_port: int, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    program = (
        GREEN
        + """
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=lambda: psycopg2.connect(address), pool_size=10, max_overflow=0
    )

    def query(number):
        with engine.connect() as connection:
            statement = sqlalchemy.text("SELECT pg_sleep(0.1), :number")
            return connection.execute(statement, {"number": number}).one()[1]

    assert fifty(query) == list(range(50))
    engine.dispose()
    """
    )
    run_patched(program, postgresql_port, directory=tmp_path)


def test_error_and_large_result(postgresql_port: int, tmp_path: Path) -> None:
    program = (
        GREEN
        + """
    def query(number):
        with psycopg2.connect(address) as connection, connection.cursor() as cursor:
            try:
                cursor.execute("SELECT 1 / %s", (number % 2,))
            except psycopg2.errors.DivisionByZero:
                connection.rollback()
            cursor.execute("SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
            size = sum(len(text) for text, in cursor)
        connection.close()
        return size

    assert fifty(query) == [1_000_000] * 50
    """
    )
    run_patched(program, postgresql_port, directory=tmp_path)


def test_patched_after_the_import(postgresql_port: int, tmp_path: Path) -> None:
    program = """
    import psycopg2
    from greenpool.psycopg2 import patch_psycopg2, wait_callback

    patch_psycopg2()
    assert psycopg2.extensions.get_wait_callback() is wait_callback
    """
    run_patched(program, postgresql_port, directory=tmp_path)


def test_a_timeout_closes_the_connection(postgresql_port: int, tmp_path: Path) -> None:
    program = (
        GREEN
        + """
    connection = psycopg2.connect(address)
    try:
        with greenpool.Timeout(0.05):
            connection.cursor().execute("SELECT pg_sleep(30)")
    except greenpool.Timeout:
        assert connection.closed
    else:
        sys.exit("no Timeout")
    """
    )
    run_patched(program, postgresql_port, directory=tmp_path)
