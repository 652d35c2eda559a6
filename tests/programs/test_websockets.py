"""WebSockets by flask-sock, simple-websocket and python-socketio over ``greenpool.pywsgi``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .servers import running
from .web import get, python

pytest.importorskip("httptools")
pytest.importorskip("flask_sock")
simple_websocket = pytest.importorskip("simple_websocket")

pytestmark = pytest.mark.slow

SERVE = """

from greenpool.pywsgi import WSGIServer

server = WSGIServer(("127.0.0.1", 0), app, log=None)
server.start()
print("port", server.server_port, flush=True)
server.serve_forever()
"""

FLASK_SOCK = """
from greenpool import monkey
monkey.patch_all()

import flask
import flask_sock

app = flask.Flask("app")
sock = flask_sock.Sock(app)


@app.get("/page")
def page():
    return "a page"


@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(f"{flask.request.args['name']} {ws.receive()}")
"""

SIMPLE_WEBSOCKET = """
from greenpool import monkey
monkey.patch_all()

import urllib.parse
import simple_websocket


def app(environ, start_response):
    if environ["PATH_INFO"] == "/page":
        start_response("200 OK", [])
        return [b"a page"]
    ws = simple_websocket.Server.accept(environ)
    name = urllib.parse.parse_qs(environ["QUERY_STRING"])["name"][0]
    try:
        while True:
            ws.send(f"{name} {ws.receive()}")
    except simple_websocket.ConnectionClosed:
        return []
"""

SOCKETIO = """
from greenpool import monkey
monkey.patch_all()

import socketio

sio = socketio.Server(async_mode="threading")


@sio.event
def ask(sid, data):
    return f"answer {data}"


@sio.event
def tell_all(sid, data):
    sio.emit("told", data)


def page(environ, start_response):
    start_response("200 OK", [])
    return [b"a page"]


app = socketio.WSGIApp(sio, page)
"""


def serve(code: str, directory: Path) -> Any:
    program = directory / "app.py"
    program.write_text(code + SERVE, encoding="utf-8")
    return running(python(program), ready="port ")


@pytest.mark.parametrize("code", [FLASK_SOCK, SIMPLE_WEBSOCKET], ids=["flask-sock", "simple-websocket"])
def test_messages_go_to_and_fro(code: str, tmp_path: Path) -> None:
    def converse(name: int) -> None:
        client = simple_websocket.Client(f"ws://127.0.0.1:{port}/echo?name={name}")
        for number in range(5):
            client.send(f"message {number}")
            assert client.receive(timeout=20) == f"{name} message {number}"
        client.close()

    with serve(code, tmp_path) as lines:
        port = int(lines[-1].split()[1])
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(converse, range(20)))
        assert get(port, "/page") == "a page"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_socketio(transport: str, tmp_path: Path) -> None:
    socketio = pytest.importorskip("socketio")
    pytest.importorskip("websocket")
    pytest.importorskip("requests")
    with serve(SOCKETIO, tmp_path) as lines:
        port = int(lines[-1].split()[1])
        with socketio.SimpleClient() as first, socketio.SimpleClient() as second:
            for client in (first, second):
                client.connect(f"http://127.0.0.1:{port}", transports=[transport])
                assert client.transport == transport
            assert first.call("ask", 1, timeout=20) == "answer 1"
            second.emit("tell_all", "news")
            assert first.receive(timeout=20) == ["told", "news"]
            assert second.receive(timeout=20) == ["told", "news"]
        assert get(port, "/page") == "a page"
