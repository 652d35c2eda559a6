"""greenpool.config: it tells which implementations are in use."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

import greenpool.socket
from documents import ROOT
from greenpool import config
from greenpool._core.speedups import speedups

BUILT = importlib.util.find_spec("greenpool._speedups") is not None


def printed(**environment: str) -> list[str]:
    """Return the lines that ``python -m greenpool.config`` prints."""
    process = subprocess.run(
        [sys.executable, "-m", "greenpool.config"],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return process.stdout.splitlines()


def test_it_says_what_this_process_uses() -> None:
    assert config.speedups is (speedups is not None)
    # The twin in Python is a function and has code. The method in C has none.
    assert config.speedups is not hasattr(greenpool.socket.socket.recv, "__code__")


@pytest.mark.skipif(not BUILT, reason="the C extension is not built")
def test_the_extension_is_used_where_it_is_built() -> None:
    assert "speedups: in use" in printed(GREENPOOL_PUREPYTHON="")
    assert "speedups: in use" in printed(GREENPOOL_PUREPYTHON="0")


def test_the_environment_refuses_it() -> None:
    assert "speedups: not in use" in printed(GREENPOOL_PUREPYTHON="1")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another poller")
def test_the_poller_of_linux() -> None:
    assert config.poller() == "epoll"
    assert "poller: epoll" in printed()
