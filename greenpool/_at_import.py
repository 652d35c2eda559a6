"""Calls a function when a module is imported, so that patching need not import it.

*Threads*: the function runs in the thread that imports the module, which holds the lock of its import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(name: str, function: Callable[[], object]) -> None:
    """Call *function* as soon as the module *name* has been imported: now, if it was."""
    if name in sys.modules:
        function()
    elif not any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name, function))


class _Finder:
    def __init__(self, name: str, function: Callable[[], object]) -> None:
        self.name = name
        self.function = function

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.name:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                loader: Any = _Loader(self, spec.loader)
                spec.loader = loader
                return spec
        return None


class _Loader:
    """The loader of one module, followed by the function."""

    def __init__(self, finder: _Finder, loader: Any) -> None:
        self._finder = finder
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._finder.function()
