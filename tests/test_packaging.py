"""Packaging: what is installed, what an import costs, and which way the imports point."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import greenpool
from greenpool import config
from greenpool._core.native import HAS_GIL

PACKAGE = Path(greenpool.__file__).parent

# Each costs more to import than greenpool itself, and no program needs it to start a pool.
HEAVY = {
    "asyncio",
    "concurrent.futures.process",
    "ctypes",
    "email",
    "http",
    "importlib.metadata",
    "multiprocessing",
    "ssl",
    "subprocess",
    "unittest",
    "urllib",
}


def run(code: str) -> str:
    """Run *code* in a fresh interpreter that may choose the GIL by itself, and return its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        check=True,
        text=True,
        timeout=50,
    ).stdout


def test_version_is_the_installed_one() -> None:
    assert greenpool.__version__ == importlib.metadata.version("greenpool")


def test_greenlet_is_the_only_dependency() -> None:
    required = importlib.metadata.requires("greenpool") or []
    assert {
        re.split("[<>=;]", requirement)[0] for requirement in required if "extra ==" not in requirement
    } == {"greenlet"}


def test_extras() -> None:
    extras = importlib.metadata.metadata("greenpool").get_all("Provides-Extra")
    assert sorted(extras or ()) == [
        "bench",
        "console",
        "docs",
        "metrics",
        "programs",
        "selectors2",
        "test",
        "wsgi",
    ]


def test_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_import_is_light() -> None:
    # An editable install, which tests use, loads more when the interpreter starts.
    loaded = run(
        "import sys; before = set(sys.modules); import greenpool; print(*set(sys.modules) - before)"
    ).split()
    assert "greenpool" in loaded
    # Free-threaded CPython cannot import it quickly at the program's end (see _core/interpreter_exit.py).
    expected: set[str] = set() if HAS_GIL or config.speedups else {"ctypes"}
    assert HEAVY.intersection(loaded) == expected


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded build")
def test_gil_stays_off() -> None:
    # These modules need a program that may not be installed.
    modules = sorted(
        f"greenpool.{path.stem}"
        for path in PACKAGE.glob("*.py")
        if not path.stem.startswith("__") and path.stem not in ("celery", "dask", "gunicorn", "joblib")
    )
    imports = "; ".join(f"import {module}" for module in ["greenpool", *modules])
    assert run(f"import sys; {imports}; print(sys._is_gil_enabled())") == "False\n"
