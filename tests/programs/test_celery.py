"""Celery's worker with greenpool.celery:TaskPool, against redis and RabbitMQ: the worker is the program."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

import greenpool
from documents import ROOT

from . import servers
from .servers import running

pytest.importorskip("celery")
pytest.importorskip("redis")

pytestmark = pytest.mark.slow

APP = """
import os
import threading
import time

from celery import Celery, chord
from celery.exceptions import SoftTimeLimitExceeded

address = os.environ["REDIS"]
app = Celery("app", broker=os.environ.get("BROKER", address + "/0"), backend=address + "/1")
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True


def inspected():
    # A worker says that it is ready before it listens to commands.
    while not app.control.ping(timeout=0.2, limit=1):
        pass
    return app.control.inspect(timeout=20, limit=1)


def wait_for_active(count):
    running = inspected()
    while sum(map(len, running.active().values())) < count:
        pass


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def stay(seconds):
    time.sleep(seconds)
    return threading.get_ident()


@app.task(soft_time_limit=0.2)
def soft():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@app.task(time_limit=0.2)
def hard():
    try:
        time.sleep(60)
    except BaseException:
        pass
    time.sleep(60)


@app.task
def nested():
    return add.delay(1, 2).get(timeout=20, disable_sync_subtasks=False)


@app.task(bind=True)
def retried(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.01)
    return self.request.retries


@app.task
def fails():
    raise ValueError("as it should")
"""

Ask = Callable[[str], object]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with servers.redis() as port:
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture
def directory(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Celery runs, with its application."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    monkeypatch.setenv("REDIS", address)
    monkeypatch.setenv("CELERY_CUSTOM_WORKER_POOL", "greenpool.celery:TaskPool")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(greenpool.__file__).parent.parent}")
    return tmp_path


@pytest.fixture
def ask(directory: Path) -> Ask:
    """Evaluates the last line of a program that uses the application, in a process of its own."""

    def ask(program: str) -> object:
        *statements, last = dedent(program).strip().splitlines()
        code = "\n".join(["from app import *", *statements, "import json", f"print(json.dumps({last}))"])
        output = subprocess.check_output([sys.executable, "-c", code], cwd=directory, text=True, timeout=40)
        return json.loads(output)

    return ask


@contextmanager
def worker(
    directory: Path, *options: str, launcher: Sequence[str] = (), end: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    """A worker, which has to end within the seconds that ``running`` gives it after *end*."""
    command = [sys.executable, *launcher, "-m", "celery", f"--workdir={directory}", "-A", "app", "worker"]
    with running([*command, "-P", "custom", "-l", "INFO", *options], "ready.", end):
        yield


PAGE = (ROOT / "docs" / "deploy-celery.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", COMMANDS, ids=["one hub", "several hubs"])
def test_the_commands_of_the_page(
    command: str, directory: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with running(["bash", "-c", f"exec env {command}"], "ready."):
        assert ask("add.delay(1, 2).get(timeout=20)") == 3


def test_many_tasks_at_once_in_greenlets_that_stay(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "20"):
        threads = ask("""
            results = [stay.delay(0.2) for _ in range(60)]
            [result.get(timeout=30) for result in results]
        """)
        assert isinstance(threads, list) and len(threads) == 60
        assert 1 < len(set(threads)) <= 20


def test_a_greenlet_is_added_only_if_all_others_have_tasks(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "20"):
        threads = ask("[stay.delay(0).get(timeout=20) for _ in range(10)]")
        assert isinstance(threads, list) and len(set(threads)) < 10


def test_under_the_launcher(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "8", launcher=["-m", "greenpool", "--pool-size", "2"]):
        assert ask("[add.delay(number, 1).get(timeout=20) for number in range(20)]") == list(range(1, 21))


def test_what_becomes_of_a_task(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "10"):
        assert ask("soft.delay().get(timeout=20)") == "cleaned up"
        # Even if it catches everything once.
        assert ask("repr(hard.delay().get(timeout=20, propagate=False))") == "TimeLimitExceeded(0.2)"
        assert ask("nested.delay().get(timeout=20)") == 3
        assert ask("chord([add.s(n, n) for n in range(10)])(total.s()).get(timeout=20)") == 90
        assert ask("retried.delay().get(timeout=20)") == 2
        assert ask("repr(fails.delay().get(timeout=20, propagate=False))") == "ValueError('as it should')"
        assert ask("add.apply_async((1, 2), countdown=0.2).get(timeout=20)") == 3


def test_revoked_with_terminate(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "2"):
        outcome = ask("""
            results = [stay.delay(600) for _ in range(2)]
            wait_for_active(2)
            for result in results: result.revoke(terminate=True)
            [type(result.get(timeout=20, propagate=False)).__name__ for result in results]
        """)
        assert outcome == ["TaskRevokedError"] * 2
        assert ask("add.delay(1, 2).get(timeout=20)") == 3


def test_grow_and_shrink(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "2"):
        size = """
            running = inspected()
            app.control.pool_{}({}, reply=True, timeout=20, limit=1)
            [stats["pool"]["max-concurrency"] for stats in running.stats().values()]
        """
        assert ask(size.format("grow", 3)) == [5]
        assert ask(size.format("shrink", 4)) == [1]
        assert ask(size.format("shrink", 1)) == [1]
        assert ask("add.delay(1, 2).get(timeout=20)") == 3


def test_autoscale(directory: Path, ask: Ask) -> None:
    with worker(directory, "--autoscale=10,2"):
        threads = ask("""
            results = [stay.delay(1) for _ in range(8)]
            [result.get(timeout=30) for result in results]
        """)
        assert isinstance(threads, list) and len(set(threads)) > 2


def test_a_warm_shutdown_waits_for_what_runs(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "1"):
        identifier = ask("""
            result = stay.delay(1.5)
            wait_for_active(1)
            result.id
        """)
    assert isinstance(ask(f"app.AsyncResult({identifier!r}).get(timeout=5)"), int)


def test_a_warm_shutdown_after_shrinking_while_all_run(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "3"):
        identifiers = ask("""
            results = [stay.delay(1.5) for _ in range(3)]
            wait_for_active(3)
            app.control.pool_shrink(2, reply=True, timeout=20, limit=1)
            [result.id for result in results]
        """)
    assert isinstance(identifiers, list)
    for identifier in identifiers:
        assert isinstance(ask(f"app.AsyncResult({identifier!r}).get(timeout=5)"), int)


def test_a_cold_shutdown_does_not(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "1", end=signal.SIGQUIT):
        ask("""
            result = stay.delay(600)
            wait_for_active(1)
            True
        """)


# The rest has RabbitMQ for its broker.


@pytest.fixture(scope="module")
def rabbitmq_port() -> Iterator[int]:
    with servers.rabbitmq() as port:
        yield port


@pytest.fixture
def rabbitmq(rabbitmq_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER", f"amqp://guest:guest@127.0.0.1:{rabbitmq_port}//")


@pytest.mark.usefixtures("rabbitmq")
def test_tasks_from_rabbitmq(directory: Path, ask: Ask) -> None:
    with worker(directory, "-c", "20"):
        threads = ask("""
            results = [stay.delay(0.2) for _ in range(60)]
            [result.get(timeout=30) for result in results]
        """)
        assert isinstance(threads, list) and 1 < len(set(threads)) <= 20
        assert ask("nested.delay().get(timeout=20)") == 3
        assert ask("chord([add.s(n, n) for n in range(10)])(total.s()).get(timeout=20)") == 90
        assert ask("add.apply_async((1, 2), countdown=0.2).get(timeout=20)") == 3
        outcome = ask("""
            result = stay.delay(600)
            wait_for_active(1)
            result.revoke(terminate=True)
            type(result.get(timeout=20, propagate=False)).__name__
        """)
        assert outcome == "TaskRevokedError"


@pytest.mark.usefixtures("rabbitmq")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGQUIT])
def test_what_has_not_begun_stays_with_rabbitmq(directory: Path, ask: Ask, end: signal.Signals) -> None:
    with worker(directory, "-c", "1", end=end):
        identifiers = ask("""
            stay.delay(1.5)
            wait_for_active(1)
            [add.delay(number, 1).id for number in range(3)]
        """)
    assert isinstance(identifiers, list)
    with worker(directory, "-c", "1"):
        ended = f"[app.AsyncResult(each).get(timeout=20) for each in {identifiers!r}]"
        assert ask(ended) == [1, 2, 3]
