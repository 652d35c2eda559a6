"""Steps before and after the code of a module that is imported, so that patching need not import it.

*Threads*: a step runs in the thread that imports the module, which holds the lock of its import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Step = Callable[[ModuleType], object]


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
        return find_further(self, name, path, target, after=self._after) if name == self.name else None

    def _after(self, _module: ModuleType) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self.function()


def find_further(
    finder: object,
    name: str,
    path: Sequence[str] | None,
    target: ModuleType | None,
    *,
    before: Step | None = None,
    after: Step | None = None,
) -> ModuleSpec | None:
    """What the other finders of ``sys.meta_path`` find, with steps before and after the module's code."""
    for other in sys.meta_path:
        if other is not finder and (spec := other.find_spec(name, path, target)) is not None:
            if spec.loader is not None:
                loader: Any = _Loader(spec.loader, before, after)
                spec.loader = loader
            return spec
    return None


class _Loader:
    """Executes a module between two steps; afterwards the module and its spec have their own loader."""

    def __init__(self, loader: Any, before: Step | None, after: Step | None) -> None:
        self._loader = loader
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__loader__"] = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        if self._before is not None:
            self._before(module)
        self._loader.exec_module(module)
        if self._after is not None:
            self._after(module)
