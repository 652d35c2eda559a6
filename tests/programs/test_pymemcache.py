"""pymemcache against memcached behind a proxy that delays requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import servers
from .program import run_patched

pytest.importorskip("pymemcache")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with servers.memcached() as port:
        yield port


@pytest.fixture(scope="module")
def slow_port(port: int) -> Iterator[int]:
    with servers.python_server("delaying_proxy.py", port) as slow_port:
        yield slow_port


def test_pooled_client(slow_port: int, tmp_path: Path) -> None:
    program = """
        from pymemcache.client.base import PooledClient

        client = PooledClient(("127.0.0.1", int(sys.argv[1])), max_pool_size=50, default_noreply=False)
        assert fifty(lambda number: client.set(f"key{number}", str(number))) == [True] * 50
        values = fifty(lambda number: client.get(f"key{number}"))
        assert values == [str(number).encode() for number in range(50)]
        client.close()
    """
    run_patched(program, slow_port, directory=tmp_path)


def test_hash_client(port: int, slow_port: int, tmp_path: Path) -> None:
    program = """
        from pymemcache.client.hash import HashClient

        addresses = [("127.0.0.1", int(port)) for port in sys.argv[1:]]
        client = HashClient(addresses, use_pooling=True, max_pool_size=50)
        # Without a reply another connection could ask before the server has stored the values.
        assert client.set_many({f"hash{number}": str(number) for number in range(100)}, noreply=False) == []
        values = fifty(lambda number: client.get(f"hash{number}"))
        assert values == [str(number).encode() for number in range(50)]
        client.close()
    """
    run_patched(program, port, slow_port, directory=tmp_path)


def test_counters(port: int, tmp_path: Path) -> None:
    program = """
        from pymemcache.client.base import PooledClient

        client = PooledClient(("127.0.0.1", int(sys.argv[1])), max_pool_size=50)
        client.set("counter", "0", noreply=False)
        assert sorted(fifty(lambda number: client.incr("counter", 1))) == list(range(1, 51))
        client.close()
    """
    run_patched(program, port, directory=tmp_path)
