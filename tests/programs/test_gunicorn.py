"""``gunicorn -k greenpool.gunicorn.Worker``: the real gunicorn, its signals and its settings."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .django_site import SITE
from .servers import SECONDS_TO_END, free_port, running
from .web import check_at_once, get, python

pytest.importorskip("gunicorn")

pytestmark = pytest.mark.slow

APP = """
import os
import threading
import time

import greenpool
from greenpool import monkey

VERSION = "first"
inside = set()
barrier = threading.Barrier(20)
hubs = set()


def app(environ, start_response):
    path = environ["PATH_INFO"]
    hubs.add(greenpool.get_hub())
    body = VERSION
    if path == "/pid":
        body = str(os.getpid())
    elif path == "/hub":
        body = greenpool.get_hub().name
    elif path == "/hubs":
        body = str(len(hubs))
    elif path == "/all":
        # Twenty requests have to be here at once.
        barrier.wait(20)
    elif path == "/slow":
        print("in slow", flush=True)
        time.sleep(1)
    elif path == "/forever":
        print("in forever", flush=True)
        time.sleep(1000)
    elif path == "/block":
        monkey.get_original("time", "sleep")(1000)
    elif path.startswith("/spin/"):
        # It computes, without ever waiting, until the other one does the same on another hub.
        inside.add(path)
        while len(inside) < 2:
            pass
    elif path == "/fail":
        raise ZeroDivisionError
    elif path == "/exit":
        raise SystemExit(5)
    elif path == "/body":
        body = str(len(environ["wsgi.input"].read()))
    elif path == "/stream":
        start_response("200 OK", [])
        return (b"%d\\n" % number for number in range(5))
    elif path == "/patched":
        body = str(monkey.is_module_patched("socket"))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body.encode()]
"""


@dataclass
class Gunicorn:
    """A running gunicorn."""

    port: int
    directory: Path

    @property
    def pid(self) -> int:
        return int((self.directory / "pid").read_text())

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def wait_for(self, what: str, times: int = 1) -> None:
        """Wait until the log says it so many times."""
        until(lambda: self.log().count(what) >= times, lambda: self.log())

    def worker(self) -> int:
        return int(get(self.port, "/pid"))


def until(condition: Callable[[], bool], message: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS_TO_END
    while not condition():
        assert time.monotonic() < deadline, message()
        time.sleep(0.02)


@contextmanager
def gunicorn(directory: Path, *options: object, code: str = APP, app: str = "app:app") -> Iterator[Gunicorn]:
    port = free_port()
    (directory / "app.py").write_text(code, encoding="utf-8")
    arguments = ["-k", "greenpool.gunicorn.Worker", "-b", f"127.0.0.1:{port}", "--pid", directory / "pid"]
    arguments += ["--log-file", "-", "--access-logfile", directory / "access", "--capture-output"]
    arguments += ["--error-logfile", directory / "log", "--no-control-socket", "--chdir", directory]
    with (directory / "log").open("a"):
        pass
    ended = directory / "ended"
    config = directory / "conf.py"
    if not config.exists():
        config.write_text("def when_ready(server):\n    print('ready to serve', flush=True)\n")
    command = python("-m", "gunicorn", "-c", config, *arguments, *options, app)
    # What it prints goes to the log, so a shell tells when it has begun.
    script = f'"$@" & echo started; wait $!; echo $? > {ended}'
    with running(["bash", "-c", script, "gunicorn", *command], ready="started"):
        started = Gunicorn(port, directory)
        started.wait_for("Booting worker with pid")
        yield started


# Serving.


def test_requests_of_all_hubs_are_served_at_once(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--threads", 3) as server:
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(lambda _: get(server.port, "/all"), range(20)))
        assert answers == ["first"] * 20
        until(lambda: get(server.port, "/hubs") == "3", server.log)
        assert get(server.port, "/stream") == "0\n1\n2\n3\n4\n"
        assert get(server.port, "/patched") == "True"


def test_the_default_is_one_hub_with_a_gil_and_all_cores_without(tmp_path: Path) -> None:
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    expected = 1 if has_gil else len(os.sched_getaffinity(0))
    with gunicorn(tmp_path) as server:
        until(lambda: get(server.port, "/hubs") == str(expected), server.log)


def test_requests_that_compute_are_served_side_by_side(tmp_path: Path) -> None:
    """Each of two spins until the other one does, and so do they on two hubs."""
    with gunicorn(tmp_path, "--threads", 2) as server:
        # Connections go to the hubs as these come to accept them, so some of these may be on one hub.
        connections = []
        hubs: dict[str, http.client.HTTPConnection] = {}
        while len(hubs) < 2:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS_TO_END)
            connections.append(connection)
            connection.request("GET", "/hub")
            hubs[connection.getresponse().read().decode()] = connection
        for number, connection in enumerate(hubs.values()):
            connection.request("GET", f"/spin/{number}")
        for connection in hubs.values():
            assert connection.getresponse().read() == b"first"
        for connection in connections:
            connection.close()


def test_keep_alive_bodies_and_failures(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS_TO_END)
        for _ in range(3):
            connection.request("POST", "/body", bytes(100_000))
            assert connection.getresponse().read() == b"100000"
        connection.request("POST", "/body", iter([b"abc", b"de"]), encode_chunked=True)
        assert connection.getresponse().read() == b"5"
        connection.close()
        for path in ("/fail", "/exit"):
            connection.request("GET", path)
            assert connection.getresponse().status == 500
            connection.close()
        assert "ZeroDivisionError" in server.log()
        access = (tmp_path / "access").read_text()
        assert access.count('"POST /body HTTP/1.1" 200') == 4


def test_an_idle_connection_is_closed_after_the_keep_alive(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--keep-alive", 1) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS_TO_END) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(1000), b""))
        assert answer.endswith(b"first") and b"Connection: keep-alive" in answer


def test_connections_beyond_the_limit_wait(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--threads", 2, "--worker-connections", 4) as server:
        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(lambda _: get(server.port, "/"), range(12)))
        assert answers == ["first"] * 12


def test_a_unix_socket(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "-b", f"unix:{tmp_path}/http") as server:
        server.worker()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "http"))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"".join(iter(lambda: client.recv(1000), b"")).endswith(b"first")


def test_a_slow_handshake_holds_nobody_up(tmp_path: Path, certificate: Path) -> None:
    key = certificate.with_name("key.pem")
    with gunicorn(tmp_path, "--certfile", certificate, "--keyfile", key) as server:
        context = ssl.create_default_context(cafile=certificate)
        with socket.create_connection(("127.0.0.1", server.port)):
            client = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
            client.request("GET", "/")
            assert client.getresponse().read() == b"first"
            client.close()


# Flask and Django.

FLASK = """
import time

import flask

app = flask.Flask("app")


@app.get("/sync/<int:number>")
def sync(number):
    time.sleep(0.05)
    assert flask.request.path == f"/sync/{number}"
    return f"sync {number}"


@app.get("/async/<int:number>")
async def asynchronous(number):
    import asyncio

    await asyncio.sleep(0.05)
    assert flask.request.path == f"/async/{number}"
    return f"async {number}"
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("preload", [False, True])
def test_flask(threads: int, preload: bool, tmp_path: Path) -> None:
    pytest.importorskip("flask")
    pytest.importorskip("asgiref")
    options = ["--threads", threads, *(["--preload"] if preload else [])]
    with gunicorn(tmp_path, *options, code=FLASK) as server:
        check_at_once(server.port, ["sync", "async"])


SESSIONS = """

def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


urlpatterns.append(path("visits", visits))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_django(threads: int, site: Path) -> None:
    settings = """\
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.file",
    DATABASES={"""
    code = SITE.replace("    DATABASES={", settings)
    code = code.replace("application = get", SESSIONS + "application = get")
    (site / "site_of_test.py").write_text(code, encoding="utf-8")
    with gunicorn(site, "--threads", threads, app="site_of_test:application") as server:
        check_at_once(server.port, ["sync", "orm", "async"])
        assert json.loads(get(server.port, "/state"))["patched"] is True
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS_TO_END)
        connection.request("GET", "/visits")
        response = connection.getresponse()
        assert response.read() == b"1"
        cookie = (response.getheader("Set-Cookie") or "").partition(";")[0]
        connection.request("GET", "/visits", headers={"Cookie": cookie})
        assert connection.getresponse().read() == b"2"
        connection.close()


# Signals.


def ask_in_background(threads: ThreadPoolExecutor, server: Gunicorn, path: str) -> Any:
    """Ask, and return when the request is being served."""
    future = threads.submit(get, server.port, path)
    server.wait_for(f"in {path[1:]}")
    return future


def ended(server: Gunicorn) -> int:
    """Wait for the end of gunicorn, and return its exit status."""
    file = server.directory / "ended"
    until(lambda: file.exists() and bool(file.read_text()), server.log)
    return int(file.read_text())


def test_term_lets_requests_end(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--threads", 2) as server, ThreadPoolExecutor(1) as threads:
        slow = ask_in_background(threads, server, "/slow")
        server.signal(signal.SIGTERM)
        assert slow.result() == "first"
        assert ended(server) == 0
        assert "Worker exiting" in server.log() and "ResourceWarning" not in server.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_end_at_once(number: signal.Signals, tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--threads", 2) as server, ThreadPoolExecutor(1) as threads:
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS_TO_END)
        idle.request("GET", "/")
        assert idle.getresponse().read() == b"first"
        endless = ask_in_background(threads, server, "/forever")
        server.signal(number)
        with pytest.raises((OSError, http.client.HTTPException, AssertionError)):
            endless.result()
        assert ended(server) == 0
        idle.close()
        assert "Traceback" not in server.log()


EXECUTOR = """
from concurrent.futures import ThreadPoolExecutor

executor = ThreadPoolExecutor(2)


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "1")])
    return [b"%d" % executor.submit(pow, 2, 3).result()]
"""


def test_the_threads_of_an_executor_end_quietly(tmp_path: Path) -> None:
    with gunicorn(tmp_path, code=EXECUTOR) as server:
        assert [get(server.port, "/") for _ in range(2)] == ["8", "8"]
        server.signal(signal.SIGTERM)
        assert ended(server) == 0
        assert "Traceback" not in server.log()


def test_a_request_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--graceful-timeout", 1) as server, ThreadPoolExecutor(1) as threads:
        endless = ask_in_background(threads, server, "/forever")
        server.signal(signal.SIGTERM)
        with pytest.raises((OSError, http.client.HTTPException)):
            endless.result()
        assert ended(server) == 0
        # The arbiter and the worker wait for the same time, and either may be the first to act.
        assert "in forever" in server.log()


def test_hup_reloads_and_loses_no_request(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as server, ThreadPoolExecutor(5) as threads:
        first = server.worker()
        slow = ask_in_background(threads, server, "/slow")
        (tmp_path / "app.py").write_text(APP.replace('"first"', '"second"'))
        server.signal(signal.SIGHUP)
        server.wait_for("Booting worker", 2)
        assert slow.result() == "first"
        server.wait_for(f"Worker exiting (pid: {first})")
        assert get(server.port, "/") == "second"
        assert server.worker() != first


def test_usr1_opens_the_logs_again(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as server:
        worker = server.worker()
        (tmp_path / "access").rename(tmp_path / "access.1")
        # That of the worker, which writes the access log; the arbiter passes its own on.
        server.signal(signal.SIGUSR1)
        until((tmp_path / "access").exists, server.log)
        until(lambda: bool(get(server.port, "/") and (tmp_path / "access").read_text()), server.log)
        assert server.worker() == worker


def test_usr2_starts_another_gunicorn_on_the_same_listener(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as server:
        first = server.worker()
        old = server.pid
        server.signal(signal.SIGUSR2)
        server.wait_for("Booting worker", 2)
        second = int((tmp_path / "pid.2").read_text())
        assert second != old
        os.kill(old, signal.SIGTERM)
        server.wait_for(f"Worker exiting (pid: {first})")
        assert server.worker() != first
        os.kill(second, signal.SIGTERM)
        until(lambda: not (tmp_path / "pid").exists() and not (tmp_path / "pid.2").exists(), server.log)


# Patching.

LATE = """
def post_worker_init(worker):
    from greenpool import monkey

    monkey.patch_all()
"""


def test_patching_a_threaded_worker_too_late_warns(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(LATE, encoding="utf-8")
    with gunicorn(tmp_path, "-k", "gthread", "--threads", 2, "--graceful-timeout", 1) as server:
        server.wait_for("MonkeyPatchWarning: patching comes after gunicorn's gthread worker was set up")


def test_patching_it_in_time_does_not_warn(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text("from greenpool import monkey\nmonkey.patch_all()\n", encoding="utf-8")
    code = "from greenpool import monkey\nmonkey.patch_all()\n" + APP
    with gunicorn(tmp_path, "-k", "gthread", "--threads", 30, code=code) as server:
        assert get(server.port, "/patched") == "True"
        assert "MonkeyPatchWarning" not in server.log()


# Settings.


def test_a_worker_ends_after_its_requests(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--threads", 2, "--max-requests", 10) as server:
        first = server.worker()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: get(server.port, "/"), range(12)))
        server.wait_for("Autorestarting worker")
        server.wait_for("Booting worker", 2)
        until(lambda: server.worker() != first, server.log)


def test_a_blocked_hub_gets_its_worker_killed(tmp_path: Path) -> None:
    """One hub of two is blocked.  The other one and the main thread go on, and the worker is killed."""
    with gunicorn(tmp_path, "--threads", 2, "--timeout", 2) as server, ThreadPoolExecutor(1) as threads:
        blocked = threads.submit(get, server.port, "/block")
        server.wait_for("WORKER TIMEOUT")
        server.wait_for("is blocked")
        assert "time" in server.log() and 'get_original("time", "sleep")(1000)' in server.log()
        server.wait_for("Booting worker", 2)
        with pytest.raises((OSError, http.client.HTTPException)):
            blocked.result()
        assert get(server.port, "/") == "first"


def test_requests_that_wait_long_do_not_get_it_killed(tmp_path: Path) -> None:
    code = APP.replace("time.sleep(1)", "time.sleep(4)")
    with gunicorn(tmp_path, "--timeout", 2, code=code) as server:
        assert get(server.port, "/slow") == "first"
        assert "WORKER TIMEOUT" not in server.log()


def test_a_change_of_the_program_reloads_it(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--reload") as server:
        assert get(server.port, "/") == "first"
        (tmp_path / "app.py").write_text(APP.replace('"first"', '"second"  # changed'))
        server.wait_for("Worker reloading")
        server.wait_for("Booting worker", 2)
        until(lambda: get(server.port, "/") == "second", server.log)


def test_the_program_may_be_loaded_before_the_fork(tmp_path: Path) -> None:
    with (
        gunicorn(tmp_path, "--preload", "--threads", 2, "-w", 2) as server,
        ThreadPoolExecutor(20) as threads,
    ):
        answers = set(threads.map(lambda _: get(server.port, "/slow"), range(20)))
        assert answers == {"first"}
        assert get(server.port, "/patched") == "True"


def test_statsd_gets_the_counts(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(SECONDS_TO_END)
        host = f"127.0.0.1:{statsd.getsockname()[1]}"
        with gunicorn(tmp_path, "--statsd-host", host) as server:
            get(server.port, "/")
            seen = b""
            while b"gunicorn.request.status.200:1|c" not in seen:
                seen += statsd.recv(10_000)
