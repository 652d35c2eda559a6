"""The reference: every public module has its page, with every public name that is greenpool's own."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import greenpool
from documents import ROOT
from greenpool import monkey

PAGES = ROOT / "docs" / "api"
# They need a program that may not be installed, and to import them may patch.
MODULES_OF_EXTRAS = {"celery", "gunicorn", "pywsgi"}
MODULES = sorted(
    each.name for each in pkgutil.iter_modules(greenpool.__path__) if not each.name.startswith("_")
)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_module_has_its_page(name: str) -> None:
    page = PAGES / f"{name}.md"
    assert page.exists(), f"docs/api/{name}.md is missing; docs/api/index.md names it under its subject"
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# greenpool.{name}\n")
    assert f".. automodule:: greenpool.{name}\n" in text
    # A page says what the module is for, before it lists the names.
    assert len(text.partition("```")[0].splitlines()) >= 3


def test_every_page_is_in_the_index_once() -> None:
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    listed = [line for line in index.splitlines() if re.fullmatch(r"[a-z0-9_]+", line)]
    assert sorted(listed) == sorted([*MODULES, "greenpool"])
    assert sorted(path.stem for path in PAGES.glob("*.md")) == sorted([*listed, "index"])


def test_the_first_page_has_every_name_of_greenpool() -> None:
    text = (PAGES / "greenpool.md").read_text(encoding="utf-8")
    entries = re.findall(r"^   ~(greenpool\.\w+)\.(\w+)$", text, re.MULTILINE)
    assert sorted(name for _, name in entries) == sorted(greenpool.__all__)
    for module, name in entries:
        assert getattr(importlib.import_module(module), name) is getattr(greenpool, name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as HTML, without a warning."""
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", made]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (built.returncode, built.stderr) == (0, "")
    return made


def own_names(name: str) -> list[str]:
    """The public names of a module, without those that are the standard library's own objects."""
    if name in MODULES_OF_EXTRAS:
        spec = importlib.util.find_spec(f"greenpool.{name}")
        assert spec is not None and spec.origin is not None
        return names_in_source(Path(spec.origin))
    module = importlib.import_module(f"greenpool.{name}")
    standard = {"thread": "_thread"}.get(name, name)
    if standard not in sys.stdlib_module_names:
        return list(module.__all__)
    there = vars(importlib.import_module(standard))
    return [
        each
        for each in module.__all__
        if each not in there or monkey.get_original(standard, each) is not getattr(module, each)
    ]


def names_in_source(file: Path) -> list[str]:
    [names] = re.findall(r"^__all__ = (\[.*?\])$", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return list(ast.literal_eval(names))


@pytest.mark.slow
@pytest.mark.time_limit(400)
@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_on_its_page(name: str, site: Path) -> None:
    page = (site / "api" / f"{name}.html").read_text(encoding="utf-8")
    # An introduction may send readers to the page of the module that a name comes from.
    source = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for each in own_names(name):
        described = f'id="greenpool.{name}.{each}"' in page
        assert described or f"`{each}`" in source, f"greenpool.{name}.{each}"


@pytest.mark.slow
@pytest.mark.time_limit(400)
@pytest.mark.parametrize(
    "name",
    [
        "greenlet.Greenlet.get",
        "lock.Lock.acquire",
        "queue.Queue.put",
        "pool.Pool.map",
        "runtime.Handle.spawn",
    ],
)
def test_methods_are_there_too(name: str, site: Path) -> None:
    module = name.partition(".")[0]
    assert f'id="greenpool.{name}"' in (site / "api" / f"{module}.html").read_text(encoding="utf-8")
