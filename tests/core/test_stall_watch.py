"""The stall watch: which greenlet keeps its hub from the others."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import greenpool
from documents import ROOT
from greenpool._core.native import HAS_GIL

COMPUTE = """
import greenpool, time

def compute():
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        pass

with greenpool.Runtime(pool_size=1) as runtime:
    runtime.spawn(compute)
    runtime.spawn(greenpool.sleep, 0.1)
"""

# What the package has said, for programs that compute until it has: on a busy machine that takes its time.
SAID = """
import logging, time
import greenpool

said = [""]

class Said(logging.StreamHandler):
    def emit(self, record):
        super().emit(record)
        said[0] += record.getMessage()

logging.getLogger("greenpool").addHandler(Said())
"""

COMPUTE_UNTIL_SAID = (
    SAID
    + """
def compute():
    while "has been kept from its other greenlets" not in said[0]:
        pass

with greenpool.Runtime(pool_size=1) as runtime:
    runtime.spawn(compute)
    while "goes on after" not in said[0]:
        time.sleep(0.001)
"""
)


def stderr_of(script: str, *options: str, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, *options, "-c", script],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert process.returncode == 0, process.stderr
    return process.stderr


@pytest.mark.parametrize(
    ("options", "environment"),
    [(("-X", "dev"), {}), ((), {"GREENPOOL_STALL": "0.1"})],
    ids=["dev", "variable"],
)
def test_greenlet_that_computes_is_named(options: tuple[str, ...], environment: dict[str, str]) -> None:
    said = stderr_of(COMPUTE_UNTIL_SAID, *options, **environment)
    assert "<Hub greenpool-1:" in said
    assert "has been kept from its other greenlets" in said
    assert "in compute" in said
    assert re.search(r"goes on after \d+\.\d\d s", said)


def test_nothing_is_said_unless_asked_for() -> None:
    assert stderr_of(COMPUTE) == ""


def test_call_that_blocks_the_thread_is_found_too() -> None:
    said = stderr_of(
        COMPUTE.replace("while time.monotonic() < end:\n        pass", "time.sleep(0.6)"), "-X", "dev"
    )
    assert "in compute" in said


@pytest.mark.skipif(not HAS_GIL, reason="without the GIL the variables of a running frame are out of reach")
def test_known_call_is_named() -> None:
    sleeping = COMPUTE.replace("while time.monotonic() < end:\n        pass", "time.sleep(0.6)")
    said = stderr_of(sleeping, "-X", "dev")
    assert "time.sleep waits for time; it parks in a patched program" in said
    forking = "import subprocess\n" + COMPUTE.replace(
        "while time.monotonic() < end:\n        pass", "subprocess.run(['sleep', '0.6'])"
    )
    assert "waits for " in stderr_of(forking, "-X", "dev")


def test_computing_is_no_known_call() -> None:
    assert "waits for" not in stderr_of(COMPUTE, "-X", "dev")


def test_stall_is_reported_once_and_once_more_at_its_end() -> None:
    said = stderr_of(COMPUTE_UNTIL_SAID, GREENPOOL_STALL="0.05")
    assert said.count("has been kept from its other greenlets") == 1
    assert said.count("goes on after") == 1


SPIN = (
    SAID
    + """
def spin():
    while " has waited 1.00 s for " not in said[0]:
        pass

runtime = greenpool.Runtime(pool_size=2)
greenlet = runtime.spawn(spin)
greenpool.sleep(0.1)
"""
)


def test_end_that_waits_for_a_greenlet_which_never_parks_says_so() -> None:
    said = stderr_of(SPIN + "runtime.shutdown()")
    assert said.count("the end of <pool of 2 hubs> has waited 1.00 s for ") == 1
    assert "in spin" in said


def test_ctrl_c_says_so_too() -> None:
    script = (
        SPIN
        + """
runtime.shutdown()
def main():
    greenpool.spawn(spin)
    greenpool.sleep(0.2)
    raise KeyboardInterrupt

try:
    greenpool.run(main)
except KeyboardInterrupt:
    pass
"""
    )
    said = stderr_of(script.replace("greenlet = runtime.spawn(spin)", "pass"))
    assert said.count(" has waited 1.00 s for ") == 1
    assert "in spin" in said


def test_end_that_waits_for_a_greenlet_which_parks_says_nothing() -> None:
    script = """
import greenpool

def work():
    try:
        greenpool.sleep(1000)
    finally:
        greenpool.sleep(1.5)

runtime = greenpool.Runtime(pool_size=1)
runtime.spawn(work)
greenpool.sleep(0.1)
runtime.shutdown()
"""
    assert stderr_of(script) == ""


def test_main_program_that_keeps_its_greenlets_waiting() -> None:
    said = stderr_of(
        "import greenpool, time; greenpool.spawn(int).join(0); greenpool.spawn(int); time.sleep(0.5)"
    )
    assert said == ""
    script = """
greenpool.sleep(0.001)
greenpool.spawn(int)
while not said[0]:
    time.sleep(0.001)
"""
    assert "MainThread" in stderr_of(SAID + script, "-X", "dev")


def test_greenlets_that_wait_are_no_stall() -> None:
    script = """
import greenpool
with greenpool.Runtime(pool_size=2) as runtime:
    for _ in range(10):
        runtime.spawn(greenpool.sleep, 1)
"""
    assert stderr_of(script, GREENPOOL_STALL="0.3") == ""


def test_watch_keeps_no_deadlock_from_being_told() -> None:
    script = """
import greenpool
from greenpool.event import Event
try:
    Event().wait()
except greenpool.LoopExit:
    pass
"""
    assert stderr_of(script, "-X", "dev") == ""


def test_callback_is_told_of_the_beginning_and_the_end() -> None:
    script = """
import logging
logging.disable()
calls = []
runtime = greenpool.Builder().pool_size(1).stall_limit(0.1, lambda *report: calls.append(report)).build()
with runtime:
    runtime.spawn(compute)
while len(calls) < 2:
    time.sleep(0.01)
(_, first, running), (_, last, over) = calls[:2]
print(0.1 <= first < last, running, over, file=__import__("sys").stderr)
"""
    assert stderr_of(COMPUTE.partition("with")[0] + script) == "True False True\n"


@pytest.mark.parametrize("seconds", [0, -1, 0.0001, float("nan")])
def test_bad_limit(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must"):
        greenpool.Builder().stall_limit(seconds)


@pytest.mark.parametrize("text", ["soon", "0", "nan", "inf"])
def test_bad_variable(text: str) -> None:
    script = """
import greenpool
try:
    greenpool.sleep(0.001)
except ValueError as error:
    raise SystemExit(str(error))
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"GREENPOOL_STALL": text},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert process.stderr == f"GREENPOOL_STALL must be a number of seconds, at least 0.001, not {text!r}\n"


def test_bad_variable_leaves_nothing_open() -> None:
    script = """
import os, greenpool
def descriptors():
    return len(os.listdir("/dev/fd"))
before = descriptors()
try:
    greenpool.sleep(0.001)
except ValueError:
    print(descriptors() - before)
"""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env=os.environ | {"GREENPOOL_STALL": "soon"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (process.stdout, process.stderr) == ("0\n", "")


def test_callback_must_be_callable() -> None:
    not_callable: Any = 3
    with pytest.raises(TypeError, match="on_stall"):
        greenpool.Builder().stall_limit(1, not_callable)


# Every orderly end that has to wait for a greenlet which never parks.

SPINNING = (
    SAID
    + """
import signal, threading
from greenpool import socket
from greenpool.event import Event

def spin(*args):
    print("ready", flush=True)
    while "has waited 1.00 s for " not in said[0]:
        pass

def main():
    greenpool.spawn(spin)
    greenpool.sleep(1000)

def serve(server):
    server.start()
    asked_to_end = Event()
    signal.signal(signal.SIGTERM, lambda *args: asked_to_end.set())
    with socket.create_connection(server.address) as connection:
        connection.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        asked_to_end.wait()
        server.stop()
"""
)

SERVER = """
from greenpool.server import StreamServer

def server():
    return StreamServer(("127.0.0.1", 0), spin, spawn=10, hubs={hubs!r})

greenpool.run(lambda: serve(server()))
"""

WSGI_SERVER = """
from greenpool.pywsgi import WSGIServer

greenpool.run(lambda: serve(WSGIServer(("127.0.0.1", 0), spin, log=None)))
"""

PATCHED = """
threading.Thread(target=spin).start()
time.sleep(1000)
"""


def interrupted(script: str, number: int, directory: Path, *options: str) -> str:
    """What the program says on stderr when it has got the signal."""
    path = directory / "program.py"
    path.write_text(SPINNING + script, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, *options, str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        return process.communicate(timeout=50)[1]


def test_end_by_ctrl_c(tmp_path: Path) -> None:
    said = interrupted("greenpool.run(main)", signal.SIGINT, tmp_path)
    assert re.search(r"the end of <pool of \d hubs> has waited 1\.00 s for .* on <Hub greenpool-1: ", said)
    assert "in spin" in said
    assert said.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("hubs", ["current", "all"])
def test_end_of_a_server_by_sigterm(hubs: str, tmp_path: Path) -> None:
    said = interrupted(SERVER.format(hubs=hubs), signal.SIGTERM, tmp_path)
    assert said.count("the end of <StreamServer at ") == 1
    assert " has waited 1.00 s for " in said
    assert "in spin" in said


def test_end_of_a_wsgi_server_by_sigterm(tmp_path: Path) -> None:
    pytest.importorskip("httptools")
    said = interrupted(WSGI_SERVER, signal.SIGTERM, tmp_path)
    assert said.count("the end of <WSGIServer at ") == 1
    assert "in spin" in said


def test_end_of_a_patched_program_by_ctrl_c(tmp_path: Path) -> None:
    said = interrupted(PATCHED, signal.SIGINT, tmp_path, "-m", "greenpool", "--pool-size=2")
    assert said.count("the end of the program has waited 1.00 s for ") == 1
    assert "in spin" in said


def test_end_of_a_patched_program_that_waits_for_its_threads_as_usual(tmp_path: Path) -> None:
    script = """
import threading, time

def spin():
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        pass

threading.Thread(target=spin).start()
"""
    (tmp_path / "program.py").write_text(script, encoding="utf-8")
    assert stderr_of("", "-m", "greenpool", str(tmp_path / "program.py")) == ""


def test_end_says_so_of_a_greenlet_that_spins_when_it_is_killed() -> None:
    script = """
import greenpool, time

def work():
    try:
        greenpool.sleep(1000)
    finally:
        greenpool.sleep(0.5)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            pass

runtime = greenpool.Runtime(pool_size=1)
runtime.spawn(work)
greenpool.sleep(0.1)
runtime.shutdown()
"""
    said = stderr_of(script)
    assert said.count("the end of <pool of 1 hubs> has waited ") == 1
    assert "in work" in said


def test_deadlock_at_the_end_is_told() -> None:
    script = """
import greenpool
from greenpool.event import Event

def work():
    try:
        Event().wait()
    finally:
        Event().wait()

runtime = greenpool.Runtime(pool_size=1)
runtime.spawn(work)
greenpool.sleep(0.1)
try:
    runtime.shutdown()
except greenpool.LoopExit as error:
    raise SystemExit(0)
raise SystemExit("not told")
"""
    assert "not told" not in stderr_of(script)
