"""Replaces objects in every module that has them, by whatever name.

*Threads*: no other thread runs meanwhile that uses one of the names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType


class Names:
    """Finds the names that modules have for some objects."""

    def __init__(self, left_out: Callable[[str], bool]) -> None:
        # Says of a module's name whether the module keeps the originals.
        self._left_out = left_out
        # By module: its namespace's identity and size when it was looked through, and the names that were
        # found.
        self._found: dict[str, tuple[int, int, list[str]]] = {}

    def _taken_by(
        self, module: str, names: dict[str, object], replaced: dict[int, tuple[object, object]]
    ) -> list[str]:
        """The names under which *module* has one of the originals.

        To look through all modules takes 15 ms in a big program, so only a module that has grown is looked at
        again.
        """
        identity, size, found = self._found.get(module, (0, 0, []))
        if (identity, size) != (id(names), len(names)):
            found = [name for name, value in list(names.items()) if id(value) in replaced]
            self._found[module] = (id(names), len(names), found)
        return found

    @contextmanager
    def replaced(self, pairs: Iterable[tuple[object, object]]) -> Iterator[None]:
        """Have every module see the second of each pair in the place of the first.

        The originals are the same at each call.
        """
        replaced = {id(original): (original, replacement) for original, replacement in pairs}
        undo: list[tuple[dict[str, object], str, object]] = []
        try:
            for key, module in list(sys.modules.items()):
                if not isinstance(module, ModuleType) or self._left_out(module.__name__):
                    continue
                names = vars(module)
                for name in self._taken_by(key, names, replaced):
                    value = names.get(name)
                    pair = replaced.get(id(value))
                    if pair is not None and pair[0] is value:
                        undo.append((names, name, value))
                        names[name] = pair[1]
            yield
        finally:
            for names, name, value in undo:
                names[name] = value
