"""Libraries that look for gevent by its name take their green paths on greenpool: ``--as-gevent``."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

import greenpool

from .program import run_by_greenpool
from .servers import free_port, running

pytestmark = pytest.mark.slow

AS_GEVENT = [sys.executable, "-m", "greenpool", "--as-gevent"]
CHECK = 'import gevent\nassert gevent.__name__ == "greenpool._gevent", gevent\n'


def need(library: str) -> None:
    """Skip the test if *library* is not installed. It is not imported, because it may import gevent."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(greenpool.__file__).parent.parent))


def run_as_gevent(code: str, *arguments: object, directory: Path) -> None:
    run_by_greenpool(CHECK + dedent(code), *arguments, directory=directory, pool=["--as-gevent"])


def test_locust_loads_a_server(http_port: int, tmp_path: Path) -> None:
    need("locust")
    (tmp_path / "locustfile.py").write_text(
        CHECK
        + dedent("""\
        from locust import FastHttpUser, HttpUser, constant, events, task

        class Standard(HttpUser):
            wait_time = constant(0.05)

            @task
            def index(self):
                with self.client.get("/slow/1", catch_response=True) as response:
                    if response.text != "answer to /slow/1":
                        response.failure(response.text)

        class Fast(FastHttpUser):
            wait_time = constant(0.05)

            @task
            def index(self):
                assert self.client.get("/fast").text == "answer to /fast"

        @events.quitting.add_listener
        def check(environment, **kwargs):
            # Ten users in a row could not make half as many requests in these seconds.
            total = environment.stats.total
            print("requests", total.num_requests, "failures", total.num_failures)
            environment.process_exit_code = 0 if total.num_requests > 40 and not total.num_failures else 3
        """)
    )
    command = [*AS_GEVENT, "-m", "locust", "--headless", "-u", "10", "-r", "10", "-t", "3s"]
    command += ["--host", f"http://127.0.0.1:{http_port}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


SOCKETIO = (
    CHECK
    + """
import sys

from flask import Flask
from flask_socketio import SocketIO, emit

app = Flask("app")
server = SocketIO(app, async_mode="gevent", cors_allowed_origins="*")


@server.on("ask")
def ask(number):
    server.sleep(0.01)
    emit("answer", number * 2)
    return number + 1


@server.on("connect")
def connect():
    server.start_background_task(lambda: (server.sleep(0.01), server.emit("later", "from a task")))


print("mode", server.async_mode, flush=True)
server.run(app, "127.0.0.1", int(sys.argv[1]))
"""
)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_flask_socketio_in_its_gevent_mode(transport: str, tmp_path: Path) -> None:
    need("flask_socketio")
    socketio = pytest.importorskip("socketio")
    pytest.importorskip("websocket" if transport == "websocket" else "requests")
    app = tmp_path / "app.py"
    app.write_text(SOCKETIO)
    port = free_port()
    with running([*AS_GEVENT, app, port], ready="mode gevent"):
        client = socketio.Client(reconnection=False)
        answers: list[object] = []
        later = threading.Event()
        client.on("answer", answers.append)
        client.on("later", lambda _: later.set())
        client.connect(f"http://127.0.0.1:{port}", transports=[transport], wait_timeout=20, retry=True)
        try:
            assert client.transport() == transport
            assert client.call("ask", 20, timeout=20) == 21
            assert later.wait(20)
            assert answers == [40]
        finally:
            client.disconnect()


def test_sentrys_profiler_has_its_gevent_scheduler(tmp_path: Path) -> None:
    need("sentry_sdk")
    run_as_gevent(
        """
        import time
        import warnings

        import sentry_sdk
        from sentry_sdk.profiler import transaction_profiler
        from sentry_sdk.transport import Transport

        items = {}

        class Kept(Transport):
            def capture_envelope(self, envelope):
                items.update({item.type: item.payload.json for item in envelope.items})

        # This way to profile is deprecated; it is the one that has a scheduler for gevent.
        warnings.simplefilter("ignore", DeprecationWarning)
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:1/1",
            transport=Kept,
            traces_sample_rate=1.0,
            profiles_sample_rate=1.0,
            profiler_mode="gevent",
            default_integrations=False,
        )

        def compute():
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                sum(range(1000))

        def job():
            with sentry_sdk.start_transaction(name="job", op="test"):
                compute()

        gevent.spawn(job).get()
        sentry_sdk.flush()
        assert type(transaction_profiler._scheduler).__name__ == "GeventScheduler"
        profile = items["profile"]["profile"]
        # The scheduler's thread has looked at the hub's thread while that computed.
        assert len(profile["samples"]) > 5, profile
        assert "compute" in {frame["function"] for frame in profile["frames"]}, profile["frames"]
        transaction_profiler.teardown_profiler()
        """,
        directory=tmp_path,
    )


def test_geventhttpclient_makes_requests_at_once(http_port: int, tmp_path: Path) -> None:
    need("geventhttpclient")
    run_as_gevent(
        """
        import sys, time

        from geventhttpclient import HTTPClient

        client = HTTPClient("127.0.0.1", int(sys.argv[1]), concurrency=50)

        def get(number):
            response = client.get(f"/slow/{number}")
            assert response.status_code == 200
            return bytes(response.read()).decode()

        began = time.monotonic()
        jobs = [gevent.spawn(get, number) for number in range(50)]
        gevent.joinall(jobs, raise_error=True)
        assert time.monotonic() - began < 2.5
        assert [job.value for job in jobs] == [f"answer to /slow/{number}" for number in range(50)]
        client.close()
        """,
        http_port,
        directory=tmp_path,
    )


def test_pymongo_waits_for_a_server_without_blocking(tmp_path: Path) -> None:
    need("pymongo")
    run_as_gevent(
        """
        import pymongo
        from pymongo.errors import ServerSelectionTimeoutError

        ticks = []

        def tick():
            while True:
                ticks.append(None)
                gevent.sleep(0.01)

        ticking = gevent.spawn(tick)
        client = pymongo.MongoClient("127.0.0.1", 1, serverSelectionTimeoutMS=500)
        try:
            client.admin.command("ping")
        except ServerSelectionTimeoutError:
            assert len(ticks) > 10, ticks
        else:
            raise AssertionError("there is a server")
        client.close()
        ticking.kill()
        """,
        directory=tmp_path,
    )


def test_celery_with_its_gevent_pool(tmp_path: Path) -> None:
    need("celery")
    (tmp_path / "queue").mkdir()
    (tmp_path / "app.py").write_text(
        dedent("""\
        import celery, gevent

        app = celery.Celery("app", broker="filesystem://", backend="file://results")
        app.conf.broker_transport_options = {
            "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"
        }

        @app.task
        def double(number):
            gevent.sleep(0.2)
            return [number * 2, gevent.__name__]
        """)
    )
    (tmp_path / "results").mkdir()
    ask = """
        import time
        from app import double

        began = time.monotonic()
        results = [double.delay(number) for number in range(30)]
        values = [result.get(timeout=30) for result in results]
        assert values == [[number * 2, "greenpool._gevent"] for number in range(30)], values
        # One after another they would take 6 s.
        assert time.monotonic() - began < 4
        """
    command = [*AS_GEVENT, "-m", "celery", f"--workdir={tmp_path}", "-A", "app", "worker", "-l", "INFO"]
    command += ["-P", "gevent", "-c", "30", "--without-mingle", "--without-gossip"]
    with running(command, "ready."):
        done = subprocess.run(
            [sys.executable, "-c", dedent(ask)], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "results")
