"""debugpy, which VS Code and PyCharm drive, stops in green threads: over the debug adapter protocol."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

import greenpool

pytest.importorskip("debugpy")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.version_info >= (3, 12) and not greenpool.config.speedups,
        reason="from CPython 3.12 on debugpy needs the C extension",
    ),
]

LONGEST = 40.0

APP = """\
import threading
import time

results = []

def work(number):
    time.sleep(0.01)
    square = number * number
    results.append(square)
    time.sleep(0.01)
    return square

def parent():
    threads = [threading.Thread(target=work, args=(n,), name=f"worker-{n}") for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

thread = threading.Thread(target=parent, name="parent")
thread.start()
thread.join()
print(sorted(results))
"""
SQUARE = 8  # the line of APP that has the breakpoint

Message = dict[str, Any]


class Client:
    """Speaks to the debugger, as an editor does."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sent = 0
        self._events: list[Message] = []

    def send(self, command: str, **arguments: object) -> int:
        self._sent += 1
        request = {"seq": self._sent, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self._file.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._file.flush()
        return self._sent

    def _read(self) -> Message:
        length = 0
        while line := self._file.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the debugger has gone"
        message: Message = json.loads(self._file.read(length))
        return message

    def call(self, command: str, **arguments: object) -> Any:
        number = self.send(command, **arguments)
        while True:
            message = self._read()
            if message["type"] == "response" and message["request_seq"] == number:
                assert message["success"], message
                return message.get("body")
            self._events.append(message)

    def wait_for(self, event: str) -> Any:
        while True:
            message = self._events.pop(0) if self._events else self._read()
            if message["type"] == "event" and message["event"] == event:
                return message.get("body")

    def break_at(self, path: Path, *lines: int) -> None:
        places = [{"line": line} for line in lines]
        self.call("setBreakpoints", source={"path": str(path)}, breakpoints=places)

    def stack(self, thread: int) -> list[tuple[str, int]]:
        frames = self.call("stackTrace", threadId=thread)["stackFrames"]
        return [(frame["name"], frame["line"]) for frame in frames]

    def step(self, thread: int) -> tuple[str, int]:
        self.call("next", threadId=thread)
        stopped = self.wait_for("stopped")
        assert (stopped["reason"], stopped["threadId"]) == ("step", thread)
        return self.stack(thread)[0]


@contextmanager
def debugged(
    path: Path, before: list[str], after: list[str]
) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """Run the program at *path* under the debugger; it waits for the client."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = ["debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client"]
    command = [sys.executable, "-X", "frozen_modules=off", "-m", *before, *listen, *after, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            with connect(port, process) as connection, connection.makefile("rwb") as file:
                yield Client(file), process
        finally:
            process.kill()


def connect(port: int, process: subprocess.Popen[str]) -> socket.socket:
    while process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=LONGEST)
        except ConnectionRefusedError:
            continue
    raise AssertionError(process.communicate()[0])


@pytest.mark.parametrize(
    ("before", "after"),
    [(["greenpool", "-m"], []), ([], ["-m", "greenpool"])],
    ids=["greenpool -m debugpy", "debugpy -m greenpool"],
)
def test_breakpoint_in_a_green_thread(tmp_path: Path, before: list[str], after: list[str]) -> None:
    path = tmp_path / "app.py"
    path.write_text(APP)
    with debugged(path, before, after) as (client, process):
        client.call(
            "initialize", adapterID="test", pathFormat="path", linesStartAt1=True, columnsStartAt1=True
        )
        client.send("attach", name="test", type="python", request="attach", justMyCode=True)
        client.wait_for("initialized")
        client.break_at(path, SQUARE)
        client.call("configurationDone")
        thread = client.wait_for("stopped")["threadId"]

        names = {each["id"]: each["name"] for each in client.call("threads")["threads"]}
        number = int(names[thread].removeprefix("worker-"))
        assert {"MainThread", "parent"} <= set(names.values())
        assert client.stack(thread)[0] == ("work", SQUARE)
        frame = client.call("stackTrace", threadId=thread)["stackFrames"][0]
        scope = client.call("scopes", frameId=frame["id"])["scopes"][0]
        variables = client.call("variables", variablesReference=scope["variablesReference"])["variables"]
        assert [(each["name"], each["value"]) for each in variables] == [("number", str(number))]

        client.break_at(path)
        # The last of these steps parks the green thread.
        assert [client.step(thread) for _ in range(3)] == [("work", SQUARE + line) for line in (1, 2, 3)]
        client.send("continue", threadId=thread)
        client.wait_for("terminated")
        client.send("disconnect")
        output = process.communicate(timeout=LONGEST)[0]
        assert (output, process.returncode) == ("[0, 1, 4]\n", 0)


GEVENT = """\
import gevent

assert gevent.__name__ == "greenpool._gevent"

def work(number):
    gevent.sleep(0.01)
    square = number * number
    gevent.sleep(0.01)
    return square

jobs = [gevent.spawn(work, number) for number in range(3)]
gevent.joinall(jobs)
print([job.value for job in jobs])
"""


def test_gevent_support_of_a_program_under_gevents_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEVENT_SUPPORT", "True")
    path = tmp_path / "app.py"
    path.write_text(GEVENT)
    with debugged(path, ["greenpool", "--as-gevent", "-m"], []) as (client, process):
        client.call(
            "initialize", adapterID="test", pathFormat="path", linesStartAt1=True, columnsStartAt1=True
        )
        client.send("attach", name="test", type="python", request="attach", justMyCode=True)
        client.wait_for("initialized")
        client.break_at(path, 7)
        client.call("configurationDone")
        thread = client.wait_for("stopped")["threadId"]
        assert client.stack(thread)[0] == ("work", 7)
        client.break_at(path)
        assert client.step(thread) == ("work", 8)
        client.send("continue", threadId=thread)
        client.wait_for("terminated")
        client.send("disconnect")
        output = process.communicate(timeout=LONGEST)[0]
        assert (output, process.returncode) == ("[0, 1, 4]\n", 0)
