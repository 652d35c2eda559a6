"""A program, and the live page of it, for the tests of both sides. A test module imports the fixtures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from documents import ROOT

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A short path of its own, because that of a Unix socket has at most 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="gp-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(path))
        yield path
    shutil.rmtree(path)


@contextmanager
def starting() -> Iterator[Start]:
    """Gives a function that starts programs of Python, which are killed in the end."""
    processes = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            # Closes the pipes.
            process.communicate()


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    with starting() as start:
        yield start


class Site:
    """A program, and the server of its page."""

    def __init__(self, start: Start, directory: Path, script: str) -> None:
        path = directory / "program.py"
        path.write_text(script, encoding="utf-8")
        self.process = start("-m", "greenpool", "--pool-size=2", str(path))
        self.read_line(self.process, "ready\n")
        self.server = start("-m", "greenpool.console.command", "web", str(self.process.pid))
        self.address = self.read_line(self.server).strip()
        parts = urlsplit(self.address)
        assert parts.hostname == "127.0.0.1"
        assert parts.port is not None
        self.port = parts.port
        self.path = parts.path
        self.token = self.path.strip("/")

    @staticmethod
    def read_line(process: subprocess.Popen[str], expected: str | None = None) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == expected or (expected is None and line)
        return line

    def tell(self, line: str) -> None:
        """Write a line to the program, and wait for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.read_line(self.process, "done\n")

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, HTTPResponse, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response, response.read()
        finally:
            connection.close()

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of the stream, until it ends."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", f"{self.path}events")
            with connection.getresponse() as response:
                assert response.headers["Content-Type"] == "text/event-stream"
                name = ""
                while line := response.readline().decode():
                    field, _, value = line.rstrip("\n").partition(": ")
                    if field == "event":
                        name = value
                    elif field == "data":
                        yield name, json.loads(value)


# Obeys lines of its input.
PROGRAM = """
import sys, threading, time
import greenpool
from greenpool.event import Event

event = Event()

def wait_for_letter():
    event.wait()

def compute():
    end = time.perf_counter() + 1.0
    while time.perf_counter() < end:
        pass

lock = threading.Lock()

def hold():
    with lock:
        held.set()
        event.wait()

def want():
    lock.acquire()

for index in range(20):
    threading.Thread(target=wait_for_letter, name=f"reader-{index}", daemon=True).start()
held = threading.Event()
threading.Thread(target=hold, name="holder", daemon=True).start()
held.wait()
threading.Thread(target=want, name="wanter", daemon=True).start()
time.sleep(0)
print("ready", flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "start":
        threading.Thread(target=wait_for_letter, name=words[1], daemon=True).start()
    elif words[0] == "compute":
        threading.Thread(target=compute, name="computer", daemon=True).start()
    elif words[0] == "many":
        for index in range(int(words[1])):
            greenpool.spawn(event.wait)
    elif words[0] == "wake":
        event.set()
    time.sleep(0)
    print("done", flush=True)
"""


@pytest.fixture
def site(start: Start, directory: Path) -> Site:
    return Site(start, directory, PROGRAM)


@pytest.fixture(scope="module")
def shared(directory: Path) -> Iterator[Site]:
    """A site that tests only ask."""
    with starting() as start:
        yield Site(start, directory, PROGRAM)
