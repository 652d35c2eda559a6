"""``examples/fleet.py``, and what the pages about Celery and Dask show, with real workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from test_examples import EXAMPLES, site

import greenpool
from documents import ROOT

from . import servers

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "deploy-dask.md").read_text(encoding="utf-8")
PAGES = {
    "/": '<a href="/one">1</a> <a href="/two">2</a>',
    "/one": '<a href="/">back</a> <a href="/one/deep">3</a>',
    "/two": '<a href="/missing">4</a>',
    "/one/deep": "",
}
SECONDS = 40


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setenv("PYTHONPATH", f"{EXAMPLES}{os.pathsep}{Path(greenpool.__file__).parent.parent}")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def url() -> Iterator[str]:
    with site(PAGES) as url:
        yield f"{url}/"


def command(words: str, replaced: dict[str, str]) -> list[str]:
    """Return the one command of the page that has these words, for the shell, with other addresses."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (line,) = [line for block in blocks for line in block.splitlines() if words in line]
    for address, other in replaced.items():
        line = line.replace(address, other)
    return ["bash", "-c", f"exec env {line}"]


def crawled(where: str, url: str, **addresses: str) -> list[str]:
    words = command(f"fleet.py {where} ", {"http://localhost:8000/": url, **addresses})
    process = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    assert process.returncode == 0, process.stderr
    return sorted(line.replace(url, "/") for line in process.stdout.splitlines())


PRINTED = [
    "200     0 links  /one/deep",
    "200     1 links  /two",
    "200     2 links  /",
    "200     2 links  /one",
    "404     0 links  /missing",
]


def test_here(url: str) -> None:
    assert crawled("here", url) == PRINTED


def test_by_celery(url: str) -> None:
    pytest.importorskip("celery")
    pytest.importorskip("redis")
    with servers.redis() as port:
        broker = {"localhost:6379": f"127.0.0.1:{port}"}
        with servers.running(command("celery -A fleet_tasks", broker), "ready."):
            assert crawled("celery", url, **broker) == PRINTED


def dask(words: str, ready: str, port: int) -> AbstractContextManager[list[str]]:
    return servers.running(command(words, {"8786": str(port)}), ready, alone=True)


def test_by_dask(url: str) -> None:
    pytest.importorskip("distributed")
    port = servers.free_port()
    with dask("dask scheduler", "Scheduler at:", port), dask("dask worker", "Registered to:", port):
        assert crawled("dask", url, **{"8786": str(port)}) == PRINTED


PROGRAMS = re.findall(r"^```py\n(.*?)^```\n\s*^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("code", "output"), PROGRAMS, ids=["cluster", "threads", "joblib"])
def test_programs_of_the_page(code: str, output: str, tmp_path: Path) -> None:
    for library in ("distributed", "joblib"):
        if library in code:
            pytest.importorskip(library)
    program = tmp_path / "app.py"
    program.write_text(code, encoding="utf-8")
    words = [sys.executable, "-W", "error", program]
    process = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    # On stderr is Dask's log, such as that of a heartbeat which its end has cut off.
    assert (process.returncode, process.stdout) == (0, output), process.stderr
