"""The architecture, proved from the source: arrows point down, and nobody reaches into another's room."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import greenpool
from greenpool._core.state import HubState

PACKAGE = Path(greenpool.__file__).parent

# From the ground up. A module may import those of its own room and of the rooms below.
ROOMS = ("greenpool._core", "greenpool._sync", "greenpool._fd", "greenpool")

# The attributes of a hub that its users may read.
PUBLIC_FIELDS = {"name", "index"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
KNOWN = {*MODULES, "greenpool._speedups"}


@cache
def imports_of(module: str) -> frozenset[str]:
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
    return frozenset(name for name in names if name.split(".")[0] == "greenpool")


def reachable_from(module: str) -> set[str]:
    """Return all modules that a module imports, directly or through others."""
    found: set[str] = set()
    left = set(imports_of(module))
    while left:
        name = left.pop()
        found.add(name)
        if name in MODULES:
            left |= imports_of(name) - found
    return found


def room_of(module: str) -> int:
    return next(number for number, room in enumerate(ROOMS) if f"{module}.".startswith(f"{room}."))


def circles() -> Iterator[set[str]]:
    """Yield the modules of each circle of imports, by their mutual reach."""
    reach = {module: reachable_from(module) for module in MODULES}
    seen: set[str] = set()
    for module in sorted(MODULES):
        circle = {other for other in reach[module] if module in reach.get(other, ())}
        if circle and module not in seen:
            seen |= circle
            yield circle


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports for type checkers and inside of functions count as well."""
    assert list(circles()) == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_point_down(module: str) -> None:
    above = {name for name in imports_of(module) if name in MODULES and room_of(name) > room_of(module)}
    assert above == set()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_private_name_of_another_module_is_imported(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    private = []
    for node in ast.walk(tree):
        # A private module is known in its own package, so its name may begin with an underscore.
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("greenpool")):
            package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            private += [
                alias.name
                for alias in node.names
                if alias.name.startswith("_") and f"{origin}.{alias.name}" not in KNOWN
            ]
    assert private == []


def touched_fields(path: Path) -> Iterator[str]:
    """Yield each place where *path* touches a field of a hub, going by how hubs are called in the code."""
    fields = set(HubState.__slots__) - PUBLIC_FIELDS - {"__weakref__"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in fields:
            source = ast.unparse(node.value)
            if source.split(".")[-1] in ("hub", "_hub", "home", "current_hub()", "thread_hub()", "get_hub()"):
                yield f"{path.name}: {source}.{node.attr}"


@pytest.mark.parametrize("module", [name for name in sorted(MODULES) if "._core" not in name])
def test_nothing_outside_the_core_touches_a_field_of_a_hub(module: str) -> None:
    assert list(touched_fields(MODULES[module])) == []


def test_the_core_alone_has_such_places() -> None:
    """The search above finds what it looks for."""
    assert any(touched_fields(PACKAGE / "_core" / "thread_end.py"))


def test_one_function_registers_with_the_fork() -> None:
    places = [
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "register_at_fork"
    ]
    assert places == ["fork.py"]


@pytest.mark.parametrize("module", [name for name in MODULES if "._core" in name])
def test_core_knows_nothing_above_it(module: str) -> None:
    above = {name for name in imports_of(module) if not name.startswith("greenpool._core")}
    assert above <= {"greenpool._speedups"}


def test_runtime_knows_nothing_that_knows_it() -> None:
    assert "greenpool.runtime" not in reachable_from("greenpool.runtime")


# The entry points of programs patch, and so do the modules under gevent's name.
STARTERS = {"greenpool.__main__", "greenpool.celery", "greenpool.dask", "greenpool.gunicorn"}
STARTERS |= {"greenpool.pytest_plugin", "greenpool.testing.patched"}
STARTERS |= {name for name in MODULES if name.startswith("greenpool._gevent.")}


@pytest.mark.parametrize("module", sorted(set(MODULES) - STARTERS))
def test_no_module_knows_the_public_face_or_patching(module: str) -> None:
    assert imports_of(module).isdisjoint({"greenpool", "greenpool.monkey"})
