"""The Python code of standard modules, run over other names.

A green module takes the names of the standard one and replaces those that block.  The standard module's own
functions (``socket.create_connection``, ``subprocess.run``, ...) then have to find the replacements, which
they do as copies with the green module's globals.  So they are those of the running Python version.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any, TypeVar, cast

F = TypeVar("F")


def rebound(function: F, names: dict[str, Any]) -> F:
    """A copy of *function*, written in Python, with *names* for its global variables."""
    original = cast("FunctionType", function)
    copy = FunctionType(
        original.__code__, names, original.__name__, original.__defaults__, original.__closure__
    )
    copy.__kwdefaults__ = original.__kwdefaults__
    copy.__doc__ = original.__doc__
    copy.__qualname__ = original.__qualname__
    return cast("F", copy)


def take_names(standard: ModuleType, names: dict[str, Any]) -> None:
    """Put the names of *standard* into *names*, its own functions rebound to *names*."""
    for name, value in list(vars(standard).items()):
        if name.startswith("__"):
            continue
        if isinstance(value, FunctionType) and value.__module__ == standard.__name__:
            value = rebound(value, names)
        names[name] = value
