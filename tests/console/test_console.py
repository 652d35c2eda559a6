"""The console: looking into a process from another one, and who may do so."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import greenpool
from console.conftest import Target
from console.hung_programs import SPIN
from documents import ROOT
from greenpool import console
from greenpool.console import client, place
from greenpool.console.command import main
from greenpool.event import Event

NOBODY = 65534


def mode_of(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


# Opening and closing it.


def test_the_socket_is_the_users_own(directory: Path) -> None:
    path = console.listen()
    assert path == str(directory / "greenpool" / f"{os.getpid()}.sock")
    assert mode_of(path) == 0o600
    assert mode_of(directory / "greenpool") == 0o700
    assert console.listen() == path
    console.close()
    assert not os.path.exists(path)
    console.close()


def test_it_leaves_nothing_behind(leak_check: None) -> None:
    before = _descriptors()
    console.listen()
    client.ask(str(os.getpid()), {"command": "snapshot", "stacks": False})
    console.close()
    # Its thread closes the descriptor.
    while any("socket" in target for target in _descriptors() - before):
        greenpool.sleep(0.001)


def _descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # the one that has listed the directory
    return found


def test_a_directory_that_others_may_enter_is_refused(directory: Path) -> None:
    (directory / "greenpool").mkdir(mode=0o755)
    (directory / "greenpool").chmod(0o755)
    with pytest.raises(PermissionError, match="is open to other users"):
        console.listen()


def test_a_link_in_the_place_of_the_directory_is_refused(directory: Path) -> None:
    (directory / "elsewhere").mkdir(mode=0o700)
    (directory / "greenpool").symlink_to(directory / "elsewhere")
    with pytest.raises(PermissionError, match="is no directory"):
        console.listen()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(directory: Path) -> None:
    (directory / "greenpool").mkdir(mode=0o700)
    os.chown(directory / "greenpool", NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="belongs to another user"):
        console.listen()


def test_sockets_of_processes_that_are_gone_are_removed(directory: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (directory / "greenpool").mkdir(mode=0o700)
    stale = directory / "greenpool" / f"{process.pid}.sock"
    stale.touch()
    console.listen()
    assert not stale.exists()


# Nobody of another user gets in.


def connect_as_nobody(path: str) -> str:
    script = f"""
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
try:
    connection.connect({path!r})
    connection.sendall(b'{{"command": "snapshot"}}\\n')
    print(connection.recv(100))
except OSError as error:
    print(type(error).__name__)
"""
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    return process.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_reach_the_socket() -> None:
    assert connect_as_nobody(console.listen()) == "PermissionError"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_sent_away_even_if_the_modes_are_wide_open(directory: Path) -> None:
    path = console.listen()
    directory.chmod(0o755)
    (directory / "greenpool").chmod(0o755)
    os.chmod(path, 0o666)
    assert connect_as_nobody(path) in ("b''", "ConnectionResetError", "BrokenPipeError")


def test_who_may_enter() -> None:
    assert place.may_enter(os.geteuid())
    assert place.may_enter(place.ROOT)
    assert not place.may_enter(os.geteuid() + 1)


# Requests.


@pytest.mark.parametrize(
    "request_line",
    [b"", b"\n", b"nonsense\n", b"[]\n", b"{}\n", b'{"command": 1}\n', b'{"command": "no"}\n', b"\xff\n"],
)
def test_bad_requests_harm_nobody(request_line: bytes) -> None:
    path = console.listen()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(request_line)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1000)
    assert answer == b"" or "error" in json.loads(answer)
    assert client.ask(path, {"command": "snapshot"})["pid"] == os.getpid()


def test_a_process_without_a_console() -> None:
    with pytest.raises(client.ConsoleError, match="has no console"):
        client.ask(str(os.getpid()), {"command": "snapshot"}, lambda pid, path: None)


def test_a_process_that_needs_nothing_prepared() -> None:
    """As with sys.remote_exec of CPython 3.14, by a function that does the same here."""
    asked = []

    def remote_exec(pid: int, path: str) -> None:
        asked.append((pid, mode_of(path)))
        exec(Path(path).read_text(encoding="utf-8"), {})

    answer = client.ask(str(os.getpid()), {"command": "snapshot"}, remote_exec)
    assert answer["pid"] == os.getpid()
    assert asked == [(os.getpid(), 0o600)]


def test_a_process_that_cannot_be_prepared() -> None:
    def remote_exec(pid: int, path: str) -> None:
        raise PermissionError("not yours")

    with pytest.raises(client.ConsoleError, match="not yours"):
        client.ask(str(os.getpid()), {"command": "snapshot"}, remote_exec)


# Which programs have one.

PLAIN = """
import greenpool, time
greenpool.get_hub()
print("ready", flush=True)
time.sleep(1000)
"""


def test_a_plain_program_has_a_console_if_asked_for(
    target: Target, capsys: pytest.CaptureFixture[str], directory: Path
) -> None:
    process = target(PLAIN, sys.executable, GREENPOOL_CONSOLE="1", PYTHONPATH=str(ROOT))
    assert main(["ps", str(process.pid)]) == 0
    assert "MainThread" in capsys.readouterr().out


@pytest.mark.skipif(hasattr(sys, "remote_exec"), reason="this Python needs nothing prepared")
def test_no_console_if_refused(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps", str(target(SPIN, GREENPOOL_CONSOLE="0").pid)]) == 1
    assert "has no console" in capsys.readouterr().err


def test_the_child_of_a_fork_has_a_console_of_its_own(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    script = """
import os, time
if not os.fork():
    print("ready", flush=True)
time.sleep(1000)
"""
    process = target(script)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    try:
        for pid in (str(process.pid), children[0]):
            assert main(["ps", "--json", pid]) == 0
            assert json.loads(capsys.readouterr().out)["pid"] == int(pid)
    finally:
        os.kill(int(children[0]), signal.SIGKILL)


def test_a_console_keeps_no_deadlock_from_being_told() -> None:
    script = """
import greenpool, greenpool.console
from greenpool.event import Event
greenpool.console.listen()
try:
    Event().wait()
except greenpool.LoopExit:
    print("told")
"""
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert (process.stdout, process.stderr) == ("told\n", "")


# The prompt.


def type_in(pid: int, lines: str) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "greenpool.console.command", "repl", str(pid)],
        cwd=ROOT,
        input=lines,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def test_prompt_in_a_program_whose_hub_is_blocked(target: Target) -> None:
    process = target(SPIN)
    said = type_in(process.pid, "6 * 7\nprint('printed')\nmain.compute.__name__\n1 / 0\nexit()\n")
    assert "42" in said
    assert "printed" in said
    assert "'compute'" in said
    assert "ZeroDivisionError" in said
    assert process.poll() is None


def test_the_end_of_the_input_ends_the_prompt(target: Target) -> None:
    assert "'last'" in type_in(target(SPIN).pid, "'last'\n")


def test_output_of_the_program_does_not_go_to_the_prompt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from greenpool.console.repl import interact

    before = sys.stdout
    written: list[str] = []
    lines = iter(["event.set(); done.wait()\n", "print('theirs')\n", ""])
    event, done = Event(), Event()

    def other() -> None:
        event.wait()
        print("ours")
        done.set()

    greenlet = greenpool.spawn(other)
    names: dict[str, Any] = {"event": event, "done": done}
    greenpool.spawn(interact, names, lambda: next(lines), written.append).join()
    greenlet.join()
    assert "theirs\n" in "".join(written)
    assert capsys.readouterr().out == "ours\n"
    assert sys.stdout is before
