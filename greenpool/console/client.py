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

# Seconds for the process to open its console.
PATIENCE = 10.0

RemoteExec = Callable[[int, str], object]


class ConsoleError(Exception):
    """The process cannot be looked into; the text says why."""


def connect(target: str, remote_exec: RemoteExec | None = None) -> socket.socket:
    """Connect to the console of *target*: the number of a process, or the path of a socket.

    Raises ConsoleError.
    """
    if not target.isdigit():
        return _connect_to(target)
    pid = int(target)
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
    return _connect_to(found)


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
    """Send *request* to the console of *target* and return the answer.  Raises ConsoleError."""
    with connect(target, remote_exec) as connection:
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as file:
            line = file.readline()
    if not line:
        raise ConsoleError("the process has closed the connection: it is another user's, or it has ended")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise ConsoleError(answer["error"])
    return answer
