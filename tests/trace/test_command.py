"""The command ``greenpool trace``: it records another process, whatever that does."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from console import conftest
from console.conftest import Target

import greenpool
from documents import ROOT
from greenpool import console
from greenpool._core.recorder import Recording
from greenpool.console.command import main
from greenpool.console.recording import lines_of, read_lines

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs AF_UNIX")]

directory = conftest.directory
target = conftest.target

TICKER = """
import threading, time

def tick():
    while True:
        time.sleep(0.01)

threading.Thread(target=tick, name="ticker").start()
print("ready", flush=True)
time.sleep(1000)
"""


def test_a_page_of_another_process(
    target: Target, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = target(TICKER)
    path = directory / "t.html"
    assert main(["trace", str(process.pid), "--seconds=0.3", "-o", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{path}: 0.")
    assert "recording for 0.3 s" in said.err
    page = path.read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "ticker" in page
    assert process.poll() is None


def test_the_event_format_of_another_process(target: Target, directory: Path) -> None:
    process = target(TICKER)
    path = directory / "t.json"
    assert main(["trace", str(process.pid), "--seconds=0.3", "-o", str(path)]) == 0
    events = json.loads(path.read_text("utf-8"))["traceEvents"]
    assert {event["pid"] for event in events} == {process.pid}
    runs = [event for event in events if event["ph"] == "X" and "ticker" in event["name"]]
    assert len(runs) > 3
    assert any("sleep" in event["args"].get("parks_in", "") for event in runs)
    # Once more, as it is not recorded any longer.
    assert main(["trace", str(process.pid), "--seconds=0.05", "-o", str(path)]) == 0


def test_without_a_name_the_file_is_a_page(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = target(TICKER)
    monkeypatch.chdir(tmp_path)
    assert main(["trace", str(process.pid), "--seconds=0.05"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"trace-{process.pid}.html"]


def test_a_name_that_does_not_say_what_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "1", "-o", "trace.txt"]) == 1
    assert "must end in .html (a page) or .json" in capsys.readouterr().err


def test_ctrl_c_ends_it_early_and_the_file_is_written(target: Target, directory: Path) -> None:
    process = target(TICKER)
    path = directory / "t.json"
    command = [sys.executable, "-m", "greenpool.console.command", "trace", str(process.pid)]
    traced = subprocess.Popen(
        [*command, "--seconds=1000", "-o", str(path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    with traced:
        assert traced.stderr is not None
        assert "recording for 1000 s" in traced.stderr.readline()
        time.sleep(0.1)
        traced.send_signal(signal.SIGINT)
        assert traced.stderr.read() == ""
        assert traced.wait(30) == 0
    assert json.loads(path.read_text("utf-8"))["traceEvents"]


SPIN = """
import threading, time

def compute():
    print("ready", flush=True)
    while True:
        pass

threading.Thread(target=compute, name="spinner").start()
time.sleep(1000)
"""


def test_a_hub_that_computes_is_a_stall_with_its_stack(target: Target, directory: Path) -> None:
    path = directory / "t.json"
    assert main(["trace", str(target(SPIN).pid), "--seconds=0.5", "-o", str(path)]) == 0
    events = json.loads(path.read_text("utf-8"))["traceEvents"]
    (stall,) = (event for event in events if event["ph"] == "i" and event.get("cat") == "stall")
    assert stall["args"]["seconds"] > 0.2
    assert "compute" in stall["args"]["stack"]


def test_a_process_that_ends_meanwhile(
    target: Target, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = target('import threading, os, time\nprint("ready", flush=True)\ntime.sleep(1)\nos._exit(0)\n')
    path = directory / "t.json"
    assert main(["trace", str(process.pid), "--seconds=1000", "-o", str(path)]) == 1
    assert "nothing is written: the process has ended" in capsys.readouterr().err
    assert not path.exists()


def test_a_process_that_is_recorded_already(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = console.listen()
    recording = Recording(1000, 1)
    recording.start()
    try:
        assert main(["trace", path, "--seconds=0.1", "-o", str(directory / "t.json")]) == 1
        assert "recorded already" in capsys.readouterr().err
    finally:
        recording.stop()


def test_a_command_that_is_killed_leaves_the_process_unrecorded(directory: Path) -> None:
    path = console.listen()
    connection = socket.socket(socket.AF_UNIX)
    with connection:
        connection.connect(path)
        request = {"command": "trace", "seconds": 1000, "stall_limit": 0.1, "limit": 1000}
        connection.sendall(json.dumps(request).encode() + b"\n")
    # Its thread notices that nobody listens any more.
    while recorder_is_busy():
        greenpool.sleep(0.01)


def recorder_is_busy() -> bool:
    recording = Recording(1000, 1)
    try:
        recording.start()
    except RuntimeError:
        return True
    recording.stop()
    return False


# On the way.


def recorded() -> Any:
    recording = Recording(1000, 1)
    recording.start()
    greenpool.spawn(greenpool.sleep, 0.01).join()
    return recording.stop()


def test_what_arrives_is_what_was_sent() -> None:
    sent = recorded()._replace(wakes=[(1.0, 2, "thread")])
    assert read_lines(lines_of(sent)) == sent


def test_a_recording_without_its_end() -> None:
    *lines, _ = lines_of(recorded())
    with pytest.raises(EOFError, match="before the recording was complete"):
        read_lines(lines)
    with pytest.raises(EOFError):
        read_lines([])
