"""Type checkers accept user code that is right and report every mistake in code that is wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RIGHT = ROOT / "tests" / "typing" / "right.py"
WRONG = ROOT / "tests" / "typing" / "wrong.py"


def mypy(folder: Path) -> dict[Path, dict[int, str]]:
    output = check("mypy", "--strict", "--output=json", f"--cache-dir={folder}", str(RIGHT), str(WRONG))
    found: dict[Path, dict[int, str]] = {}
    for line in output.splitlines():
        report = json.loads(line)
        if report["severity"] == "error":
            found.setdefault(ROOT / report["file"], {})[report["line"]] = report["message"]
    return found


def pyright(folder: Path) -> dict[Path, dict[int, str]]:
    output = check("pyright", "--outputjson", "--pythonpath", sys.executable, str(RIGHT), str(WRONG))
    found: dict[Path, dict[int, str]] = {}
    for report in json.loads(output)["generalDiagnostics"]:
        if report["severity"] == "error":
            line = report["range"]["start"]["line"] + 1
            found.setdefault(Path(report["file"]), {})[line] = report["message"]
    return found


def check(tool: str, *arguments: str) -> str:
    """Return what the type checker reports; it fails for the mistakes that it is to find."""
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed")
    run = subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout


@pytest.mark.time_limit(120)
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_mistakes_are_reported_and_nothing_else_is(checker, tmp_path):
    found = checker(tmp_path)
    marked = {
        number for number, line in enumerate(WRONG.read_text().splitlines(), 1) if line.endswith("# error")
    }
    assert found.pop(WRONG, {}).keys() == marked
    assert found == {}
