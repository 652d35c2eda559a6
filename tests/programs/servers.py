"""Real servers on loopback: each has its own port and directory, and ends with its ``with`` block."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SECONDS_TO_END = 20


def free_port() -> int:
    """A free port below those that the system gives to connections: none takes it before the server does."""
    while True:
        port = random.randrange(10_000, 32_768)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def executable(name: str, *directories: Path) -> str:
    """Return the path of a server's program, or skip the test if it is not installed."""
    places = os.pathsep.join(map(str, [*directories, os.environ["PATH"], "/usr/sbin"]))
    found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def as_user(user: str, command: Sequence[object]) -> list[str]:
    """Return the command as *user* if this runs as root, because some servers refuse to run as root."""
    words = [str(word) for word in command]
    return ["runuser", "-u", user, "--", *words] if os.geteuid() == 0 else words


@contextmanager
def directory_of(user: str) -> Iterator[Path]:
    """A temporary directory that *user* may enter. The directories of pytest do not allow that."""
    with tempfile.TemporaryDirectory(prefix="greenpool-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:
            shutil.chown(name, user)
        yield Path(name)


@contextmanager
def running(
    command: Sequence[object], ready: str, end: signal.Signals = signal.SIGTERM, *, alone: bool = False
) -> Iterator[list[str]]:
    """Start a server, wait until it prints a line with *ready*, and yield its output up to there.

    At the end its process group gets the signal *end*, or the server *alone* if it ends its children itself.
    """
    server = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # The server gets a process group of its own, because runuser does not pass every signal on.
        start_new_session=True,
    )
    assert server.stdout is not None
    with server, server.stdout as output:
        try:
            lines: list[str] = []
            for line in output:
                lines.append(line)
                if ready in line:
                    break
            else:
                pytest.fail(f"{command[0]} did not start:\n{''.join(lines)}")
            # The server's later output must not fill the pipe.
            drain = threading.Thread(target=output.read, daemon=True)
            drain.start()
            yield lines
        finally:
            try:
                (os.kill if alone else os.killpg)(server.pid, end)
                server.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                raise
        drain.join()


@contextmanager
def python_server(name: str, *arguments: object) -> Iterator[int]:
    """Start a server of ``peers/``, which prints its port when it listens, and yield the port."""
    script = Path(__file__).parent / "peers" / name
    with running([sys.executable, script, *arguments], ready="port ") as lines:
        yield int(lines[-1].split()[1])


@contextmanager
def redis() -> Iterator[int]:
    server = executable("redis-server")
    port = free_port()
    with directory_of("nobody") as directory:
        command = [server, "--port", port, "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
        with running(as_user("nobody", command), ready="Ready to accept connections"):
            yield port


@contextmanager
def rabbitmq() -> Iterator[int]:
    # The command in /usr/sbin, which calls this one, wants to be root or rabbitmq.
    server = executable("rabbitmq-server", Path("/usr/lib/rabbitmq/bin"))
    port = free_port()
    with directory_of("rabbitmq") as directory:
        daemon = {"ERL_EPMD_PORT": str(free_port()), "HOME": str(directory)}
        settings = daemon | {
            "RABBITMQ_NODENAME": f"greenpool{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{directory}/data",
            "RABBITMQ_PID_FILE": f"{directory}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            "RABBITMQ_LOGS": "-",
        }
        command = ["env", *(f"{name}={value}" for name, value in settings.items()), server]
        try:
            with running(as_user("rabbitmq", command), ready="Server startup complete"):
                yield port
        finally:
            # Erlang's daemon has left the process group.
            subprocess.run(["epmd", "-kill"], env=os.environ | daemon, capture_output=True, check=False)


@contextmanager
def memcached() -> Iterator[int]:
    server = executable("memcached")
    port = free_port()
    command = [server, "-vv", "-l", "127.0.0.1", "-p", port, "-U", 0]
    if os.geteuid() == 0:
        command += ["-u", "nobody"]
    with running(command, ready="server listening"):
        yield port


@contextmanager
def postgresql() -> Iterator[int]:
    # Debian installs the versions beside each other.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb, server = (executable(name, *versions) for name in ("initdb", "postgres"))
    port = free_port()
    with directory_of("postgres") as directory:
        data = directory / "data"
        make = [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(as_user("postgres", make), check=True, capture_output=True, cwd=directory)
        command = [server, "-D", data, "-p", port, "-h", "127.0.0.1", "-k", directory, "-F"]
        # SIGINT ends the server at once, without waiting for its clients.
        with running(as_user("postgres", command), "ready to accept connections", signal.SIGINT):
            yield port


@contextmanager
def mariadb() -> Iterator[int]:
    server, install = executable("mariadbd"), executable("mariadb-install-db")
    port = free_port()
    with directory_of("nobody") as directory:
        place = [f"--datadir={directory}/data", f"--tmpdir={directory}"]
        make = [install, "--no-defaults", *place, "--auth-root-authentication-method=normal"]
        subprocess.run(as_user("nobody", make), check=True, capture_output=True, cwd=directory)
        command = [
            *(server, "--no-defaults", *place, f"--port={port}", "--bind-address=127.0.0.1"),
            *(f"--socket={directory}/socket", f"--pid-file={directory}/pid", "--skip-name-resolve"),
        ]
        with running(as_user("nobody", command), ready="ready for connections"):
            yield port


def wait_until_listening(port: int) -> None:
    """Wait until the port takes connections, for a server that says it is ready before it is."""
    deadline = time.monotonic() + SECONDS_TO_END
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.02)
