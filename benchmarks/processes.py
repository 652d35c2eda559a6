"""Starts each server, load generator and subject in a fresh process, on its core."""

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
PATIENCE = 180
"""Seconds after which a measuring process is given up."""
START = 30
"""Seconds within which a server has to print its port."""


class Failed(Exception):
    """A process did not give a figure. The message is the reason in one line."""


@dataclass(frozen=True)
class Cores:
    """The core of the server (or of a subject), and that of the load. None means not pinned."""

    server: int | None
    load: int | None


def choose_cores() -> Cores:
    """Choose two different cores if the process may use two. Otherwise pin nothing."""
    if not hasattr(os, "sched_setaffinity"):
        return Cores(None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)


def _pinned(core: int | None) -> Callable[[], None] | None:
    if core is None:
        return None
    return lambda: os.sched_setaffinity(0, {core})


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("GREENPOOL_PUREPYTHON", "PYTHON_GIL")}
    return {**kept, **extra}


def _reason(errors: IO[str], fallback: str) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors if line.strip()]
    return lines[-1][:200] if lines else fallback


def _popen(
    command: Sequence[str], core: int | None, environment: Mapping[str, str], errors: IO[str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=_environment(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        preexec_fn=_pinned(core),
    )


@contextmanager
def running(
    command: Sequence[str], core: int | None, environment: Mapping[str, str]
) -> Iterator[tuple[int, str]]:
    """Start a process that prints one line and stays. Yield its pid and the line, and end it on leaving."""
    with tempfile.TemporaryFile("w+") as errors:
        process = _popen(command, core, environment, errors)
        assert process.stdout and process.stdin
        try:
            line = ""
            if select.select([process.stdout], [], [], START)[0]:
                line = process.stdout.readline().strip()
            if not line:
                process.kill()
                process.wait()
                raise Failed(_reason(errors, "it did not start"))
            yield process.pid, line
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def run_text(command: Sequence[str], core: int | None, environment: Mapping[str, str] | None = None) -> str:
    """Return the standard output of a process that ends by itself. Raises Failed."""
    with tempfile.TemporaryFile("w+") as errors:
        with _popen(command, core, environment or {}, errors) as process:
            try:
                output, _ = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Failed(f"no result within {PATIENCE} s") from None
        if process.returncode:
            raise Failed(_reason(errors, f"exit status {process.returncode}"))
        return output


def run_json(
    command: Sequence[str], core: int | None, environment: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return the JSON object that a process prints as its last line. Raises Failed."""
    lines = run_text(command, core, environment).splitlines()
    try:
        result: dict[str, float] = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise Failed("it printed no result") from None
    return result
