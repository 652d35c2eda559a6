"""The Python code of standard modules, run over other names.

A green module takes the names of the standard one and replaces those that block.  The standard module's own
functions (``socket.create_connection``, ``subprocess.run``, ...) then have to find the replacements, which
they do as copies with the green module's globals.  So they are those of the running Python version.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any


def rebound(function: Any, names: dict[str, Any]) -> Any:
    """A copy of *function* with *names* for its global variables."""
    copy = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__doc__ = function.__doc__
    copy.__qualname__ = function.__qualname__
    return copy


def take_names(standard: ModuleType, names: dict[str, Any]) -> None:
    """Put the names of *standard* into *names*, its own functions rebound to *names*."""
    for name, value in list(vars(standard).items()):
        if name.startswith("__"):
            continue
        if isinstance(value, FunctionType) and value.__module__ == standard.__name__:
            value = rebound(value, names)
        names[name] = value
