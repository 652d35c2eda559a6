"""psycopg (version 3) against PostgreSQL, with its own pool.

Its C speed-up waits in C. The pure Python implementation waits with ``selectors``, so it parks.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .program import run_patched

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def python_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSYCOPG_IMPL", "python")
    # A fresh interpreter imports it, because the import reads the variable.
    for module in ("psycopg", "psycopg_pool"):
        done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(done.stderr.splitlines()[-1])


PROGRAM = """
    import psycopg
    from psycopg_pool import ConnectionPool

    address = f"host=127.0.0.1 user=postgres dbname=postgres port={sys.argv[1]}"
"""


@pytest.mark.parametrize("size", [10, 50])
def test_fifty_over_a_pool(postgresql_port: int, size: int, tmp_path: Path) -> None:
    program = (
        PROGRAM
        + """
    def query(number):
        with pool.connection() as connection:
            return connection.execute("SELECT pg_sleep(0.1), %s", (number,)).fetchone()[1]

    with ConnectionPool(address, min_size=int(sys.argv[2]), open=True) as pool:
        pool.wait()
        assert fifty(query) == list(range(50))
    """
    )
    run_patched(program, postgresql_port, size, directory=tmp_path)


def test_notifications(postgresql_port: int, tmp_path: Path) -> None:
    program = (
        PROGRAM
        + """
    def listen(number):
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("LISTEN news")
            listening.release()
            for notification in connection.notifies(stop_after=1):
                heard.append(notification.payload)

    heard, listening = [], threading.Semaphore(0)
    threads = [threading.Thread(target=listen, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for _ in threads:
        listening.acquire()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("NOTIFY news, 'hello'")
    for thread in threads:
        thread.join()
    assert heard == ["hello"] * 10
    """
    )
    run_patched(program, postgresql_port, directory=tmp_path)


def test_copy(postgresql_port: int, tmp_path: Path) -> None:
    program = (
        PROGRAM
        + """
    def load(number):
        with psycopg.connect(address) as connection:
            connection.execute("CREATE TEMPORARY TABLE numbers (number integer)")
            with connection.cursor().copy("COPY numbers FROM STDIN") as copy:
                for row in range(1000):
                    copy.write_row((row,))
            return connection.execute("SELECT sum(number) FROM numbers").fetchone()[0]

    assert [load(number) for number in range(3)] == [499_500] * 3
    """
    )
    run_patched(program, postgresql_port, directory=tmp_path)
