"""Flask is the patched program, served by the standard library's and by Werkzeug's threaded server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import greenpool

from .program import LIMIT
from .servers import running
from .web import check_at_once, get

pytest.importorskip("flask")

pytestmark = pytest.mark.slow

APP = """
import threading
import time

import flask

import greenpool

app = flask.Flask("app")
hubs = set()


@app.get("/slow/<int:number>")
def slow(number):
    # Flask keeps the request in context variables. Each request has its own, even after a wait.
    hubs.add(greenpool.get_hub())
    time.sleep(0.1)
    assert flask.request.path == f"/slow/{number}"
    return f"answer {number}"


@app.get("/stream")
def stream():
    def parts():
        for part in range(5):
            time.sleep(0.01)
            yield f"{part}\\n"

    return parts()


@app.get("/hubs")
def count_hubs():
    return str(len(hubs))

"""

# The standard library's server, made threaded as its documentation says.
WSGIREF = (
    APP
    + """
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


class Server(ThreadingMixIn, WSGIServer):
    request_queue_size = 128
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


with Server(("127.0.0.1", 0), Handler) as server:
    server.set_app(app)
    print("port", server.server_port, flush=True)
    server.serve_forever()
"""
)

# Werkzeug's own server is a ThreadingMixIn over http.server.HTTPServer.
WERKZEUG = (
    APP
    + """
import logging
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, app, threaded=True)
print("port", server.server_port, flush=True)
server.serve_forever()
"""
)

PATCH = "from greenpool import monkey\nmonkey.patch_all()\n"


@contextmanager
def serving(code: str, arguments: Sequence[str], directory: Path) -> Iterator[int]:
    """Run the program with python and the arguments, and yield its port."""
    program = directory / "app.py"
    program.write_text(code, encoding="utf-8")
    python = ["env", f"PYTHONPATH={Path(greenpool.__file__).parent.parent}", sys.executable]
    with running([*python, *arguments, program], ready="port ") as lines:
        yield int(lines[-1].split()[1])


def check(port: int) -> None:
    """Make fifty requests of 0.1 s at once, as in program.py. Here the server is the patched program."""
    with ThreadPoolExecutor(50) as threads:
        began = time.monotonic()
        answers = list(threads.map(lambda number: get(port, f"/slow/{number}"), range(50)))
        seconds = time.monotonic() - began
        assert answers == [f"answer {number}" for number in range(50)]
        assert seconds < LIMIT
        assert set(threads.map(lambda _: get(port, "/stream"), range(10))) == {"0\n1\n2\n3\n4\n"}


@pytest.mark.parametrize("code", [WSGIREF, WERKZEUG], ids=["wsgiref", "werkzeug"])
def test_patched_by_two_lines(code: str, tmp_path: Path) -> None:
    with serving(PATCH + code, [], tmp_path) as port:
        check(port)
        assert get(port, "/hubs") == "1"


@pytest.mark.parametrize("code", [WSGIREF, WERKZEUG], ids=["wsgiref", "werkzeug"])
def test_run_by_greenpool(code: str, tmp_path: Path) -> None:
    with serving(code, ["-m", "greenpool", "--pool-size", "1"], tmp_path) as port:
        check(port)
        assert get(port, "/hubs") == "1"


def test_spread_over_the_pool(tmp_path: Path) -> None:
    with serving(WSGIREF, ["-m", "greenpool", "--pool-size", "3"], tmp_path) as port:
        check(port)
        assert get(port, "/hubs") == "3"


ASYNC = """

import asyncio


@app.get("/async/<int:number>")
async def asynchronous(number):
    await asyncio.sleep(0.01)
    assert flask.request.path == f"/async/{number}"
    return f"async {number}"


@app.get("/sync/<int:number>")
def sync(number):
    time.sleep(0.01)
    return f"sync {number}"

"""


@pytest.mark.parametrize("code", [WSGIREF, WERKZEUG], ids=["wsgiref", "werkzeug"])
@pytest.mark.parametrize("pool_size", [1, 2])
def test_async_views(code: str, pool_size: int, tmp_path: Path) -> None:
    pytest.importorskip("asgiref")
    program = code.replace(APP, APP + ASYNC)
    with serving(program, ["-m", "greenpool", "--pool-size", str(pool_size)], tmp_path) as port:
        check_at_once(port, ["async", "sync"])
