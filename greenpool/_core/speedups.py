"""The C extension, where it is built and not refused by ``GREENPOOL_PUREPYTHON=1``.

What it offers has a twin in Python, next to which it is taken into use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType

from .typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def _load() -> ModuleType | None:
    if os.environ.get("GREENPOOL_PUREPYTHON", "") not in ("", "0"):
        return None
    try:
        from .. import _speedups
    except ImportError:
        return None
    return _speedups


speedups: Any = _load()


def replace_twins(owner: type, methods: Mapping[str, object]) -> None:
    """Put *methods*, which one of the extension's ``connect`` functions made, in the place of their twins."""
    for name, method in methods.items():
        setattr(owner, name, method)
