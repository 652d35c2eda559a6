"""urllib3: a PoolManager over HTTP and HTTPS, and its time limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import run_patched

pytest.importorskip("urllib3")

pytestmark = pytest.mark.slow

POOL = """
    import urllib3

    base, certificate = sys.argv[1:]
    with urllib3.PoolManager(maxsize=20, block=True, ca_certs=certificate or None) as pool:
        before = int(pool.request("GET", base + "/connections").data)
        for _ in range(2):
            answers = fifty(lambda number: pool.request("GET", f"{base}/slow/{number}").data)
            assert answers == [f"answer to /slow/{number}".encode() for number in range(50)]
        assert int(pool.request("GET", base + "/connections").data) - before < 20
"""


def test_http(http_port: int, tmp_path: Path) -> None:
    run_patched(POOL, f"http://127.0.0.1:{http_port}", "", directory=tmp_path)


def test_https(https_port: int, certificate: Path, tmp_path: Path) -> None:
    run_patched(POOL, f"https://127.0.0.1:{https_port}", certificate, directory=tmp_path)


def test_time_limit(http_port: int, tmp_path: Path) -> None:
    program = """
        import urllib3

        with urllib3.PoolManager(retries=False) as pool:
            try:
                pool.request("GET", sys.argv[1] + "/slow", timeout=0.01)
            except urllib3.exceptions.ReadTimeoutError:
                pass
            else:
                raise AssertionError("no time limit")
            assert pool.request("GET", sys.argv[1] + "/slow", timeout=10).status == 200
    """
    run_patched(program, f"http://127.0.0.1:{http_port}", directory=tmp_path)
