"""The commands of the documentation, word for word, with the files that their pages show.

Servers get a port of their own by their environment, or, where they know no variable for it, by one more
argument. ``tests/test_commands.py`` says which test runs which command.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import greenpool
from documents import ROOT, commands_in, files_in

from .servers import executable, free_port, running, wait_until_listening
from .web import get

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"


def command(page: str, beginning: str) -> str:
    """The only command of the page that begins so."""
    [found] = [each for each in commands_in(DOCS / page) if each.startswith(beginning)]
    return found


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of the commands, whose ``python`` is the one that runs the tests."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("python", "python3"):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (commands / name).chmod(0o755)
    places = [str(commands), str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
    monkeypatch.setenv("PATH", os.pathsep.join(places))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["site", str(Path(greenpool.__file__).parent.parent)]))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    made = tmp_path / "work"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port for the server, by all variables that servers know."""
    number = free_port()
    # With one worker, whose first answer tells that it handles signals by now.
    monkeypatch.setenv("GUNICORN_CMD_ARGS", f"--bind 127.0.0.1:{number} --workers 1 --no-control-socket")
    for name in ("FLASK_RUN_PORT", "UVICORN_PORT", "PORT"):
        monkeypatch.setenv(name, str(number))
    return number


def write_files(page: str) -> None:
    for name, text in files_in(DOCS / page).items():
        Path(name).write_text(text, encoding="utf-8")


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


@contextmanager
def serving(text: str, port: int, ready: str = "Booting worker") -> Iterator[None]:
    with running(["bash", "-c", text], ready=ready):
        wait_until_listening(port)
        yield


def output(text: str) -> str:
    """Run a command that ends by itself, and return what it prints."""
    return subprocess.run(
        ["bash", "-c", text],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
    ).stdout


# The landing page.


def test_the_landing_page_with_what_is_installed(port: int) -> None:
    pytest.importorskip("gunicorn")
    pytest.importorskip("flask")
    write_files("index.md")
    text = command("index.md", ".venv/bin/gunicorn").removeprefix(".venv/bin/")
    with serving(text, port):
        assert get(port, "/") == "hello from a green thread\n"


needs_installs = pytest.mark.skipif(
    not os.environ.get("GREENPOOL_TEST_INSTALLS"),
    reason="GREENPOOL_TEST_INSTALLS is not set (.ci/run sets it)",
)


@pytest.fixture
def this_greenpool(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pip take this tree where a command says "greenpool"."""
    # The commands bring everything themselves.
    monkeypatch.delenv("PYTHONPATH")
    wheels = directory.parent / "wheels"
    # pip builds in the tree, where other tests are at work.
    tree = directory.parent / "tree"
    shutil.copytree(
        ROOT / "greenpool", tree / "greenpool", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "csrc", tree / "csrc")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(tree)]
    subprocess.run(pip, check=True, timeout=200)
    [wheel] = wheels.glob("greenpool-*.whl")
    constraint = directory.parent / "constraint.txt"
    constraint.write_text(f"greenpool @ {wheel.as_uri()}\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(constraint))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")


@needs_installs
@pytest.mark.time_limit(400)
def test_the_landing_page_in_a_fresh_environment(this_greenpool: None, port: int) -> None:
    write_files("index.md")
    make, install, serve = commands_in(DOCS / "index.md")[1:]
    subprocess.run(["bash", "-c", make], check=True, timeout=100)
    subprocess.run(["bash", "-c", install], check=True, timeout=200)
    with serving(serve, port):
        assert get(port, "/") == "hello from a green thread\n"


@needs_installs
@pytest.mark.time_limit(400)
def test_the_dockerfile_in_a_fresh_environment(
    this_greenpool: None, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Docker: its RUN and its CMD in an environment of their own."""
    write_files("deploy.md")
    subprocess.run([sys.executable, "-m", "venv", "image"], check=True, timeout=100)
    monkeypatch.setenv("PATH", f"{Path.cwd()}/image/bin{os.pathsep}{os.environ['PATH']}")
    for line in ("pip install greenpool", "pip install greenpool gunicorn flask"):
        subprocess.run(["bash", "-c", line], check=True, timeout=200)
    subprocess.run(["bash", "-c", dockerfile()["RUN"]], check=True, timeout=200)
    with serving(shlex.join(json.loads(dockerfile()["CMD"])), port):
        assert get(port, "/") == "hello\n"


# Deploy.


def dockerfile() -> dict[str, str]:
    lines = files_in(DOCS / "deploy.md")["Dockerfile"].splitlines()[1:]
    return dict(line.split(" ", 1) for line in lines)


@pytest.fixture
def served_by(port: int) -> int:
    pytest.importorskip("gunicorn")
    pytest.importorskip("flask")
    write_files("deploy.md")
    return port


def test_gunicorn_by_its_configuration(served_by: int) -> None:
    with serving(command("deploy.md", "gunicorn app"), served_by):
        with ThreadPoolExecutor(20) as threads:
            assert set(threads.map(lambda _: get(served_by, "/slow"), range(20))) == {"at last\n"}


def test_the_command_of_the_dockerfile(served_by: int) -> None:
    words = json.loads(dockerfile()["CMD"])
    # What the image has is what the command needs.
    assert {"app.py", "gunicorn.conf.py"} <= set(dockerfile()["COPY"].split())
    assert dockerfile()["RUN"].endswith("-r requirements.txt")
    with serving(shlex.join(words), served_by):
        assert get(served_by, "/") == "hello\n"


SLOW = """

@app.get("/begun")
def begun():
    return str(len(slow_requests))


slow_requests = []


@app.before_request
def count():
    from flask import request

    if request.path == "/slow":
        slow_requests.append(None)
"""


@pytest.mark.parametrize("beginning", ["gunicorn app", "python serve.py"])
def test_draining(beginning: str, served_by: int) -> None:
    """At SIGTERM requests under way are served, and later connections are refused."""
    pytest.importorskip("httptools")
    app = files_in(DOCS / "deploy.md")["app.py"]
    # Held until the test has seen that nobody gets in any more.
    held = "import pathlib\n    while not pathlib.Path('go').exists():\n        time.sleep(0.02)"
    assert "time.sleep(1)" in app
    write("app.py", app.replace("time.sleep(1)", held) + SLOW)
    server = subprocess.Popen(
        ["bash", "-c", f"exec {command('deploy.md', beginning)}"], start_new_session=True
    )
    try:
        wait_until_listening(served_by)
        with ThreadPoolExecutor(5) as threads:
            slow = [threads.submit(get, served_by, "/slow") for _ in range(5)]
            while get(served_by, "/begun") != "5":
                pass
            server.terminate()
            wait_until_refused(served_by)
            assert server.poll() is None
            write("go", "")
            assert [each.result() for each in slow] == ["at last\n"] * 5
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()


def wait_until_refused(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=20).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            # The listener was closed in the middle of this one.
            continue


def test_the_unit_of_systemd() -> None:
    unit = files_in(DOCS / "deploy.md")["app.service"]
    # It verifies that the program is there.
    program = Path.cwd() / ".venv" / "bin" / "gunicorn"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    write("app.service", unit.replace("/srv/app", str(Path.cwd())))
    executable("systemd-analyze")
    said = output(command("deploy.md", "systemd-analyze"))
    assert "app.service" not in said, said


def test_the_unit_waits_longer_than_gunicorn() -> None:
    files = files_in(DOCS / "deploy.md")
    graceful = int(re.search(r"graceful_timeout = (\d+)", files["gunicorn.conf.py"])[1])  # type: ignore[index]
    assert int(re.search(r"TimeoutStopSec=(\d+)", files["app.service"])[1]) > graceful  # type: ignore[index]


VIEW = """

def patched(request):
    from django.http import HttpResponse
    from greenpool import monkey

    return HttpResponse(str(monkey.is_module_patched("threading")))


urlpatterns.append(path("patched", patched))
"""


def test_django(port: int) -> None:
    pytest.importorskip("django")
    output(command("deploy.md", "django-admin"))
    urls = Path("mysite/urls.py")
    runserver = command("deploy.md", "python -m greenpool manage.py")
    assert runserver == command("monkey.md", "python -m greenpool manage.py")
    with serving(f"{runserver} 127.0.0.1:{port}", port, ready="Quit the server with"):
        # A change of the program: the reloader starts a process that has the view, and is patched.
        write("mysite/urls.py", urls.read_text() + VIEW)
        wait_for(port, "/patched", urls)
        assert get(port, "/patched") == "True"
    pytest.importorskip("gunicorn")
    for page, beginning in (
        ("deploy.md", "gunicorn -k greenpool.gunicorn.Worker mysite"),
        ("monkey.md", "python -m greenpool -m gunicorn"),
    ):
        with serving(command(page, beginning), port):
            assert get(port, "/patched") == "True"


def wait_for(port: int, path: str, file: Path) -> None:
    """Ask until the page is there, as the reloader looks at the files once a second.

    It may look for the first time only after the file was written, so the file is touched again and again.
    """
    while True:
        file.touch()
        try:
            get(port, path)
        except (OSError, AssertionError):
            continue
        return


# Servers, and existing programs.

FLASK = """
from flask import Flask

app = Flask(__name__)


@app.get("/")
def patched():
    from greenpool import monkey

    return str(monkey.is_module_patched("threading"))
"""


def test_gunicorn_with_two_hubs(port: int) -> None:
    pytest.importorskip("gunicorn")
    pytest.importorskip("flask")
    write("app.py", FLASK)
    with serving(command("servers.md", "gunicorn"), port):
        assert get(port, "/") == "True"


def test_flask_run(port: int) -> None:
    pytest.importorskip("flask")
    write("app.py", FLASK)
    with serving(command("monkey.md", "python -m greenpool -m flask"), port, ready="Running on"):
        assert get(port, "/") == "True"


ASGI = """
from greenpool import monkey


async def app(scope, receive, send):
    if scope["type"] == "http":
        body = str(monkey.is_module_patched("threading")).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""


def test_uvicorn(port: int) -> None:
    pytest.importorskip("uvicorn")
    write("app.py", ASGI)
    with serving(command("monkey.md", "python -m greenpool -m uvicorn"), port, ready="Uvicorn running on"):
        assert get(port, "/") == "True"


REPORT = """
import sys

import greenpool
from greenpool import monkey

print(monkey.is_module_patched("threading"), *sys.argv[1:])
"""


def test_programs_and_modules() -> None:
    write("app.py", REPORT)
    write("site/module.py", REPORT)
    said = [output(command("monkey.md", f"python -m greenpool {each}")) for each in ("app", "--pool-size 4")]
    assert said == ["True arguments\n"] * 2
    assert output(command("tutorial.md", "python -m greenpool app")) == "True --port 8080\n"


def test_a_module_of_the_standard_library(port: int) -> None:
    write("hello.txt", "hello\n")
    text = command("tutorial.md", "python -m greenpool --pool-size")
    with serving(f"{text} {port}", port, ready="Serving HTTP on"):
        assert get(port, "/hello.txt") == "hello\n"


def test_native_modules() -> None:
    pytest.importorskip("grpc")
    pytest.importorskip("zmq")
    write("app.py", "import grpc, zmq\n" + REPORT)
    assert output(command("monkey.md", "python -m greenpool --native")) == "True\n"


CELERY = """
from celery import Celery
from celery.signals import worker_ready

app = Celery("app", broker="memory://")
app.conf.broker_connection_retry_on_startup = True
worker_ready.connect(lambda sender, **_: print(f"pool: {sender.pool}", flush=True), weak=False)
"""


@pytest.mark.parametrize("number", [0, 1])
def test_celery(number: int) -> None:
    pytest.importorskip("celery")
    write("app.py", CELERY)
    with running(["bash", "-c", commands_in(DOCS / "deploy-celery.md")[number]], ready="pool:") as lines:
        assert "greenpool.celery.TaskPool" in lines[-1]
