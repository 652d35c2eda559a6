"""The side of the console that looks: it connects to the socket of a process, and asks.

On CPython 3.14 and newer a process needs nothing prepared: ``sys.remote_exec`` has it open its console.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from .place import ROOT, paths_of, peer_user

# Executed in the process that is looked into.
REMOTE_SCRIPT = "import greenpool.console\ngreenpool.console.listen()\n"

# Seconds for the process to open its console, and to run any Python code at all.
PATIENCE = 10.0
SIGN_OF_LIFE = 5.0

RemoteExec = Callable[[int, str], object]


class ConsoleError(Exception):
    """The process cannot be looked into; the text says why."""


class NoAnswer(ConsoleError):
    """The process runs no Python code."""


def connect(target: str, remote_exec: RemoteExec | None = None) -> socket.socket:
    """Connect to the console of *target*: the number of a process, or the path of a socket.

    It has the process answer once, because the kernel connects to a process that hangs, too.  Raises
    ConsoleError, and NoAnswer if there is no answer in time.
    """
    path = _path_of(int(target), remote_exec) if target.isdigit() else target
    await_sign_of_life(target, path)
    return _connect_to(path)


def await_sign_of_life(target: str, path: str) -> None:
    """Have the process answer something short, and raise NoAnswer if it does not."""
    with _connect_to(path) as connection:
        connection.settimeout(SIGN_OF_LIFE)
        try:
            connection.sendall(b'{"command": "ping"}\n')
            connection.recv(1)
        except TimeoutError:
            raise NoAnswer(_why_no_answer(target)) from None
        except ConnectionError:
            pass  # it lives, and the request will find out why it is refused


def _path_of(pid: int, remote_exec: RemoteExec | None) -> str:
    if remote_exec is None:
        remote_exec = getattr(sys, "remote_exec", None)
    paths = list(paths_of(pid))
    found = next((path for path in paths if os.path.exists(path)), None)
    if found is None and remote_exec is not None:
        found = open_remotely(pid, paths, remote_exec)
    if found is None:
        raise ConsoleError(
            f"process {pid} has no console: start it with `python -m greenpool` or GREENPOOL_CONSOLE=1, "
            "or have it call greenpool.console.listen()"
        )
    return found


def _connect_to(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
        user = peer_user(connection)
        if user not in (os.stat(path).st_uid, os.geteuid(), ROOT):
            raise ConsoleError(f"the process behind {path} is another user's")
    except OSError as error:
        connection.close()
        raise ConsoleError(f"cannot connect to {path}: {error.strerror}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_remotely(pid: int, paths: list[str], remote_exec: RemoteExec) -> str | None:
    """Have process *pid* open its console; returns its path, or None if none comes in time.

    The process executes the script when its main thread next executes Python code.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(REMOTE_SCRIPT)
        script.flush()
        os.chmod(script.name, 0o600)
        if os.geteuid() == ROOT:
            os.chown(script.name, os.stat(f"/proc/{pid}").st_uid, -1)
        try:
            remote_exec(pid, script.name)
        except (OSError, RuntimeError) as error:
            raise ConsoleError(f"cannot look into process {pid}: {error}") from error
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for path in paths:
                if os.path.exists(path):
                    return path
            time.sleep(0.02)
    return None


def ask(target: str, request: dict[str, Any], remote_exec: RemoteExec | None = None) -> dict[str, Any]:
    """Send *request* to the console of *target* and return the answer.

    An answer may take its time.  While it does, the process has to give signs of life.  Raises ConsoleError,
    and NoAnswer if there is none.
    """
    with connect(target, remote_exec) as connection:
        path = connection.getpeername()
        connection.settimeout(SIGN_OF_LIFE)
        parts: list[bytes] = []
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            while not (parts and parts[-1].endswith(b"\n")):
                try:
                    part = connection.recv(1 << 20)
                except TimeoutError:
                    await_sign_of_life(target, path)
                    continue
                if not part:
                    break
                parts.append(part)
        except ConnectionError:
            pass  # as if it had ended
    if not (parts and parts[-1].endswith(b"\n")):
        raise ConsoleError("the process has closed the connection: it is another user's, or it has ended")
    answer: dict[str, Any] = json.loads(b"".join(parts))
    if "error" in answer:
        raise ConsoleError(answer["error"])
    return answer


def _why_no_answer(target: str) -> str:
    """What can be told from outside of a process that runs no Python code."""
    process = f"process {target}" if target.isdigit() else "the process"
    threads = _states_of_threads(target) if target.isdigit() else {}
    if any(state in "Tt" for state in threads.values()):
        return f"{process} does not answer: it is stopped, by a signal or by a debugger"
    computing = [thread for thread, state in threads.items() if state == "R"]
    text = f"{process} has run no Python code for {SIGN_OF_LIFE:.0f} s, so it cannot answer.\n"
    text += "Most likely a function in C does not return"
    text += f" (thread {' and '.join(computing)} computes)" if computing else ""
    pid = target if target.isdigit() else "PID"
    return (
        f"{text}.  With a GIL it keeps that.\n"
        "Without one, the others have stopped for the garbage collection, which waits for this thread.\n"
        f"`py-spy dump --pid {pid}` shows from outside which line has called it (not without a GIL), and\n"
        f"`kill -USR1 {pid}` does, if the program has called faulthandler.register(signal.SIGUSR1)."
    )


def _states_of_threads(pid: str) -> dict[str, str]:
    """The states of the threads of a process, as one letter each, by their numbers and names; Linux only."""
    found = {}
    directory = f"/proc/{pid}/task"
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        try:
            with open(f"{directory}/{name}/stat", encoding="utf-8", errors="replace") as file:
                # Behind the name in parentheses, which may have any characters.
                head, _, tail = file.read().rpartition(")")
            found[f"{name} {head.partition('(')[2]}"] = tail.split()[0]
        except OSError:
            continue  # it has ended
    return found
