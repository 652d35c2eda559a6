"""Sphinx configuration: the pages are MyST Markdown, the reference comes from the docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys

from sphinx.application import Sphinx

import greenpool

project = "greenpool"
author = "greenpool developers"
project_copyright = f"2026, {author}"
release = greenpool.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"greenpool {release}"
exclude_patterns = ["_build"]
myst_heading_anchors = 3

# The programs that greenpool works with need not be installed to read about that.
autodoc_mock_imports = ["celery", "gunicorn", "httptools"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# The standard library documents the methods that a cooperative subclass inherits from it.
autodoc_inherit_docstrings = False


def import_for_types() -> None:
    """Give the modules of the bare import what they import, and define, for type checkers only.

    Otherwise Sphinx cannot tell which class a signature names.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("greenpool.") and getattr(module, "TYPE_CHECKING", None) is False:
            for node in ast.parse(inspect.getsource(module)).body:
                if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                    exec(compile(ast.Module(node.body, []), module.__file__ or name, "exec"), vars(module))


import_for_types()

MODULE = """
## greenpool.{0}

```{{eval-rst}}
.. automodule:: greenpool.{0}
   :members:
   :ignore-module-all:
```
"""


def list_modules(app: Sphinx, document: str, source: list[str]) -> None:
    """Add a section for each public module to the reference.

    Most of these modules repeat the names of a standard module, so a section shows only the names that
    the module defines itself. The names of ``runtime`` are in the section of greenpool itself.
    """
    if document == "api":
        for module in pkgutil.iter_modules(greenpool.__path__):
            if not module.name.startswith("_") and module.name != "runtime":
                source[0] += MODULE.format(module.name)


def skip_standard(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Leave out a member that has the docstring of its namesake in the standard module."""
    package, _, module = (getattr(member, "__module__", None) or "").partition(".")
    if package == "greenpool" and module in sys.stdlib_module_names:
        standard = getattr(importlib.import_module(module), name, None)
        if member.__doc__ is not None and member.__doc__ == standard.__doc__:
            return True
    return None


def setup(app: Sphinx) -> None:
    app.connect("source-read", list_modules)
    app.connect("autodoc-skip-member", skip_standard)
