"""What is installed, what importing it costs, and which way its imports point."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import greenpool

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
    """What a fresh interpreter prints, in which nobody has asked for the GIL or against it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        check=True,
        text=True,
        timeout=50,
    ).stdout


def imported_names(path: Path) -> Iterator[str]:
    """The full name of everything that a module imports, at its top or in a function."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = [*parts[: -node.level]] if node.level else []
            origin += node.module.split(".") if node.module else []
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def upward(path: Path, allowed: tuple[str, ...]) -> list[str]:
    return [
        name
        for name in imported_names(path)
        if name.split(".")[0] == "greenpool" and not f"{name}.".startswith(allowed)
    ]


def test_version_is_the_installed_one() -> None:
    assert greenpool.__version__ == importlib.metadata.version("greenpool")


def test_greenlet_is_the_only_dependency() -> None:
    required = importlib.metadata.requires("greenpool") or []
    assert {
        re.split("[<>=;]", requirement)[0]
        for requirement in required
        if "extra ==" not in requirement
    } == {"greenlet"}


def test_extras() -> None:
    extras = importlib.metadata.metadata("greenpool").get_all("Provides-Extra")
    assert sorted(extras or ()) == ["bench", "docs", "selectors2", "test"]


def test_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_import_is_light() -> None:
    loaded = run("import sys; import greenpool; print(*sys.modules)").split()
    assert HEAVY.isdisjoint(loaded)


def test_import_patches_nothing() -> None:
    loaded = run("import sys; import greenpool; print(*sys.modules)").split()
    assert "greenpool.monkey" not in loaded


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded build"
)
def test_gil_stays_off() -> None:
    modules = sorted(
        f"greenpool.{path.stem}" for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")
    )
    imports = "; ".join(f"import {module}" for module in ["greenpool", *modules])
    assert run(f"import sys; {imports}; print(sys._is_gil_enabled())") == "False\n"


@pytest.mark.parametrize("path", sorted((PACKAGE / "_core").rglob("*.py")), ids=lambda p: p.stem)
def test_core_knows_nothing_above_it(path: Path) -> None:
    assert upward(path, ("greenpool._core.", "greenpool._speedups.")) == []


def test_runtime_knows_only_the_core() -> None:
    assert upward(PACKAGE / "runtime.py", ("greenpool._core.", "greenpool._speedups.")) == []


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.glob("*.py")) if path.stem not in ("monkey", "__main__")],
    ids=lambda p: p.stem,
)
def test_only_the_command_line_knows_about_patching(path: Path) -> None:
    assert not [name for name in imported_names(path) if f"{name}.".startswith("greenpool.monkey.")]
