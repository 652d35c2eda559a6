"""PyMySQL against MariaDB, over SQLAlchemy's pool, because PyMySQL has no pool.

The fifty connections use no TLS. With TLS, PyMySQL reads the system's certificates anew for each of them,
which takes the client 0.04 s of computing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import servers
from .program import run_patched

pytest.importorskip("pymysql")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with servers.mariadb() as port:
        yield port


def test_fifty_connections(port: int, tmp_path: Path) -> None:
    program = """
        import pymysql

        def query(number):
            connection = pymysql.connect(
                host="127.0.0.1", port=int(sys.argv[1]), user="root", ssl_disabled=True
            )
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT SLEEP(0.1), %s", (number,))
                return cursor.fetchone()[1]

        assert fifty(query) == list(range(50))
    """
    run_patched(program, port, directory=tmp_path)


@pytest.mark.parametrize("size", [10, 50])
def test_fifty_over_a_pool(port: int, size: int, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    program = """
        import sqlalchemy

        engine = sqlalchemy.create_engine(
            f"mysql+pymysql://root@127.0.0.1:{sys.argv[1]}",
            connect_args={"ssl_disabled": True},
            pool_size=int(sys.argv[2]),
            max_overflow=0,
        )

        def query(number):
            with engine.connect() as connection:
                statement = sqlalchemy.text("SELECT SLEEP(0.1), :number")
                return connection.execute(statement, {"number": number}).one()[1]

        assert fifty(query) == list(range(50))
        engine.dispose()
    """
    run_patched(program, port, size, directory=tmp_path)


def test_transactions(port: int, tmp_path: Path) -> None:
    program = """
        import pymysql

        def connect():
            return pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root")

        def add(number):
            with connect() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT total FROM test_programs.sums FOR UPDATE")
                total, = cursor.fetchone()
                cursor.execute("UPDATE test_programs.sums SET total = %s", (total + number,))
                connection.commit()

        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE test_programs")
            cursor.execute("CREATE TABLE test_programs.sums (total integer) ENGINE=InnoDB")
            cursor.execute("INSERT INTO test_programs.sums VALUES (0)")
            connection.commit()
            threads = [threading.Thread(target=add, args=(number,)) for number in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            cursor.execute("SELECT total FROM test_programs.sums")
            assert cursor.fetchone() == (45,)
    """
    run_patched(program, port, directory=tmp_path)
