"""Fixtures that the tests of the core share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from documents import ROOT


@pytest.fixture
def run_script() -> Callable[[str], str]:
    """Run a program in a process of its own and return its stdout. Fail if its exit status is not 0."""

    def run(script: str) -> str:
        process = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-W", "error", "-c", script],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
        return process.stdout

    return run
