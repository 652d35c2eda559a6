"""Packaging: what is installed, what an import costs, and which way the imports point."""

from __future__ import annotations

import ast
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


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
KNOWN = {*MODULES, "greenpool._speedups"}


def imports_of(module: str) -> set[str]:
    """Return the modules of greenpool that a module imports, at its top or in a function."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            origin = importlib.util.resolve_name(source, package)
            # A name imported from a package is a module of the package or a name in it.
            names |= {name if (name := f"{origin}.{alias.name}") in KNOWN else origin for alias in node.names}
    return {name for name in names if name.split(".")[0] == "greenpool"}


def reachable_from(module: str) -> set[str]:
    """Return all modules that a module imports, directly or through others."""
    found: set[str] = set()
    left = imports_of(module)
    while left:
        name = left.pop()
        found.add(name)
        if name in MODULES:
            left |= imports_of(name) - found
    return found


def test_version_is_the_installed_one() -> None:
    assert greenpool.__version__ == importlib.metadata.version("greenpool")


def test_greenlet_is_the_only_dependency() -> None:
    required = importlib.metadata.requires("greenpool") or []
    assert {
        re.split("[<>=;]", requirement)[0] for requirement in required if "extra ==" not in requirement
    } == {"greenlet"}


def test_extras() -> None:
    extras = importlib.metadata.metadata("greenpool").get_all("Provides-Extra")
    assert sorted(extras or ()) == ["bench", "docs", "programs", "selectors2", "test"]


def test_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_import_is_light() -> None:
    # An editable install, which tests use, loads more when the interpreter starts.
    loaded = run(
        "import sys; before = set(sys.modules); import greenpool; print(*set(sys.modules) - before)"
    ).split()
    assert "greenpool" in loaded
    assert HEAVY.isdisjoint(loaded)


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded build")
def test_gil_stays_off() -> None:
    modules = sorted(
        f"greenpool.{path.stem}" for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")
    )
    imports = "; ".join(f"import {module}" for module in ["greenpool", *modules])
    assert run(f"import sys; {imports}; print(sys._is_gil_enabled())") == "False\n"


@pytest.mark.parametrize("module", [name for name in MODULES if "._core" in name])
def test_core_knows_nothing_above_it(module: str) -> None:
    above = {name for name in imports_of(module) if not name.startswith("greenpool._core")}
    assert above <= {"greenpool._speedups"}


def test_runtime_knows_nothing_that_knows_it() -> None:
    assert "greenpool.runtime" not in reachable_from("greenpool.runtime")


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"greenpool.__main__"}))
def test_no_module_knows_the_public_face_or_patching(module: str) -> None:
    assert imports_of(module).isdisjoint({"greenpool", "greenpool.monkey"})
