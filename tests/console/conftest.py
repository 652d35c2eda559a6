"""Programs to look into, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from documents import ROOT
from greenpool import console
from greenpool._core import recorder

Target = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path of its own, because that of a Unix socket has at most 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="gp-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    yield path
    console.close()
    # The thread of a connection whose client is gone ends its recording by itself.
    while recorder._State.recording is not None:
        time.sleep(0.01)
    shutil.rmtree(path)


@pytest.fixture
def target(directory: Path) -> Iterator[Target]:
    """Start a program under ``python -m greenpool``, and wait until it says that it is ready."""
    processes = []

    def start(script: str, *options: str, **environment: str) -> subprocess.Popen[str]:
        path = directory / f"program{len(processes)}.py"
        path.write_text(script, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "greenpool", "--pool-size=2", str(path)]
            if not options
            else [*options, path],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
