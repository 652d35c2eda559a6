"""requests: a Session with a pool of kept connections, over HTTP and HTTPS."""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import run_patched

pytest.importorskip("requests")

pytestmark = pytest.mark.slow

PROGRAM = """
    import requests
    from requests.adapters import HTTPAdapter

    base, certificate, pool_size = sys.argv[1], sys.argv[2], int(sys.argv[3])

    with requests.Session() as session:
        session.trust_env = False
        session.verify = certificate
        session.mount(base, HTTPAdapter(pool_connections=1, pool_maxsize=pool_size, pool_block=True))

        def connections():
            return int(session.get(base + "/connections").text)

        before = connections()
        assert session.post(base, data=b"x" * 1_000_000).content == b"x" * 1_000_000
        assert connections() == before  # kept

        for _ in range(2):
            texts = fifty(lambda number: session.get(f"{base}/slow/{number}").text)
            assert texts == [f"answer to /slow/{number}" for number in range(50)]
        assert connections() - before < pool_size
"""


@pytest.mark.parametrize("pool_size", [10, 50])
def test_http(http_port: int, pool_size: int, tmp_path: Path) -> None:
    run_patched(PROGRAM, f"http://127.0.0.1:{http_port}", "", pool_size, directory=tmp_path)


@pytest.mark.parametrize("pool_size", [10, 50])
def test_https(https_port: int, certificate: Path, pool_size: int, tmp_path: Path) -> None:
    run_patched(PROGRAM, f"https://127.0.0.1:{https_port}", certificate, pool_size, directory=tmp_path)
