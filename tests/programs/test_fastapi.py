"""FastAPI under uvicorn is the patched program: its sync endpoints run in green threads of anyio."""

from __future__ import annotations

from pathlib import Path

import pytest

from .servers import free_port, running
from .web import AT_ONCE, check_at_once, python

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.slow

APP = f"""
import asyncio
import threading
import time

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI(default_response_class=PlainTextResponse)
barrier = threading.Barrier({AT_ONCE})


@app.get("/sync/{{number}}")
def sync(number: int):
    # It answers only when that many requests are here at the same time.
    barrier.wait(20)
    return f"sync {{number}}"


@app.get("/loop/{{number}}")
def loop(number: int):
    # A thread may have a loop of its own.
    async def answer():
        await asyncio.sleep(0.01)
        return f"loop {{number}}"

    return asyncio.run(answer())


@app.get("/async/{{number}}")
async def asynchronous(number: int):
    await asyncio.sleep(0.01)
    return f"async {{number}}"
"""

TWO_LINES = "from greenpool import monkey\nmonkey.patch_all()\n"

RUN = """
import sys

import uvicorn

uvicorn.run(app, port=int(sys.argv[1]), log_level="info")
"""


def check(command: list[object], port: int) -> None:
    with running(command, ready="Uvicorn running on"):
        check_at_once(port, ["sync", "async"])
        check_at_once(port, ["loop", "async"])


def test_run_by_greenpool(tmp_path: Path) -> None:
    port = free_port()
    app = tmp_path / "app.py"
    app.write_text(APP + RUN, encoding="utf-8")
    check(python("-m", "greenpool", "--pool-size", "1", app, port), port)


def test_uvicorn_run_by_greenpool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    check(python("-m", "greenpool", "-m", "uvicorn", "--port", port, "app:app"), port)


def test_patched_by_two_lines(tmp_path: Path) -> None:
    port = free_port()
    app = tmp_path / "app.py"
    # uvloop, if it is there, would block the only hub.
    run = RUN.replace("log_level", 'loop="asyncio", log_level')
    app.write_text(TWO_LINES + APP + run, encoding="utf-8")
    check(python(app, port), port)
