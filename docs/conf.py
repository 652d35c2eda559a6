"""Sphinx configuration: the pages are MyST Markdown, the reference comes from the docstrings."""

from __future__ import annotations

import importlib
import os
import sys
import typing

from sphinx.application import Sphinx

# In Python every function has its signature, and those in C have twins in Python.
os.environ["GREENPOOL_PUREPYTHON"] = "1"
# The bare import then also imports what its type hints name. The other modules always do.
typing.TYPE_CHECKING = True
import greenpool  # noqa: E402

typing.TYPE_CHECKING = False
from greenpool import monkey  # noqa: E402

project = "greenpool"
author = "greenpool developers"
project_copyright = f"2026, {author}"
release = greenpool.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
html_theme = "furo"
html_title = f"greenpool {release}"
exclude_patterns = ["_build"]
myst_heading_anchors = 3

# The programs that greenpool works with need not be installed to read about that.
autodoc_mock_imports = ["celery", "distributed", "gunicorn", "httptools", "joblib", "pytest"]
autodoc_default_options = {"members": True, "inherited-members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# The standard library documents the methods that a cooperative subclass inherits from it.
autodoc_inherit_docstrings = False
autosummary_generate = False

STANDARD = "As in the standard module. Where that one blocks the thread, this one parks the greenlet."


def standard_twin(module: str, name: str) -> object:
    """What the standard module has under this name, if the module of greenpool is a twin of one."""
    package, _, own = module.partition(".")
    own = "_thread" if own == "thread" else own
    if package == "greenpool" and own in sys.stdlib_module_names:
        # The page about Celery imports a module that patches.
        return monkey.get_original(own, name) if hasattr(importlib.import_module(own), name) else None
    return None


def defining_module(member: object) -> str:
    function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
    owner = getattr(function, "__objclass__", None)
    return getattr(function, "__module__", None) or getattr(owner, "__module__", None) or "greenpool"


def skip_standard(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: typing.Any
) -> bool | None:
    """Leave out what is the standard library's: names of a module, and inherited methods."""
    if name in (options.exclude_members or ()):
        return True
    if what == "module":
        # Without a docstring a name would be left out by default.
        return member is standard_twin(app.env.current_document.autodoc_module, name)
    if isinstance(member, type) and issubclass(member, BaseException):
        return True  # those of StreamSpawnError, each of which has itself as a member
    return skip or not defining_module(member).startswith("greenpool")


def shorten(app: Sphinx, what: str, name: str, member: object, options: object, lines: list[str]) -> None:
    """Leave out the heads of modules, which are for people who change them: a page has its own."""
    module, _, own = name.rpartition(".")
    doc = getattr(member, "__doc__", None)
    if what == "module":
        lines.clear()
    elif doc is not None and doc == getattr(standard_twin(module, own), "__doc__", None):
        lines[:] = [STANDARD]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-skip-member", skip_standard)
    app.connect("autodoc-process-docstring", shorten)
