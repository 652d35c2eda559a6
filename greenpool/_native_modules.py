"""Modules that keep native threads and locks in a patched program: ``monkey.patch_all(native=...)``.

Libraries such as grpc and pyzmq wait in C.  Their threads cannot be green, because a green thread that
waits in C stops its hub.  Their locks should be native too, because those threads take them.

*What a named module sees.*  Each patched module of the standard library has a *twin* with the originals,
and the code of a named module finds the twins in the place of the patched modules.  All other modules of
the standard library (``logging``, ``asyncio``) are shared with the rest of the program.

*How it finds them.*  A frame takes ``__import__`` from the ``__builtins__`` of its module.  The import hook
gives a named module a copy of the builtins whose ``__import__`` answers with twins, before the module's
code runs.  So ``import threading`` and ``from threading import Lock`` are right from the first line on, in
the module's functions as well, and the classes and locks that the module makes at its import are native.
Nothing global changes while the module is imported, so other threads may import at the same time.
Rejected: putting the originals into ``sys.modules`` during the import, where other threads would find them.

*Code that does not ask ``__import__``.*  Cython imports straight from ``sys.modules``, and a module that
was imported before this call has what it imported.  So the global variables of each named module are looked
through after its import (``_rebind``): patched modules become their twins, patched functions and classes
the originals, green locks native ones, and a subclass of the patched ``Thread`` a subclass of the native
one.  Objects that such a module made of patched classes stay; they work in native threads too, because
green primitives do.

*Twins.*  ``threading`` has one already, from which greenpool makes its own threads.  ``queue``,
``subprocess`` and ``concurrent.futures.thread`` are executed once more over the twins of what they import.
The exceptions stay the shared ones, so ``except queue.Full`` catches what a native queue raises.  Of
``concurrent.futures`` only the ThreadPoolExecutor is native: its futures are shared, so
``asyncio.wrap_future`` takes them, and ``result()`` parks.  Every other twin has the originals for the
patched names, and the functions of the module over those.

*Threads*: the main thread makes it all, before others run (as ``patch_all``); afterwards the tables only
grow, by one assignment each.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import cast

from . import thread
from ._at_import import find_further
from ._core import native
from ._rebound import rebound

__all__ = ["NativeModules", "check_names"]

# These are executed once more, because their classes look patched names up in global variables.
_EXECUTED = ("queue", "subprocess", "concurrent.futures.thread")


def check_names(names: Iterable[str]) -> frozenset[str]:
    """Return the names as a set; raises TypeError, ValueError or ModuleNotFoundError for a bad one."""
    if isinstance(names, str):
        raise TypeError(f"native takes a sequence of module names, such as ({names!r},), not a string")
    chosen = frozenset(names)
    for name in chosen:
        if not isinstance(name, str):
            raise TypeError(f"native takes the names of modules, not {name!r}")
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"native: {name!r} is not the name of a module")
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in ("greenpool", "greenlet", "__main__"):
            raise ValueError(
                f"native: {name!r} cannot be named; name the modules of a library that waits in C"
            )
        if top not in sys.modules and importlib.util.find_spec(top) is None:
            raise ModuleNotFoundError(f"native: no module named {top!r}", name=top)
    return chosen


class NativeModules:
    """The modules that keep the originals, and the finder that gives them those."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self._twins: dict[str, ModuleType] = {}
        # The id of a patched object, which its module keeps alive, and the original.
        self._originals: dict[int, object] = {}
        self._builtins: dict[str, object] = {**vars(builtins), "__import__": self._import}

    def includes(self, name: str) -> bool:
        """True if the module of that name was named, or a package that it is in."""
        return any(name == each or name.startswith(f"{each}.") for each in self.names)

    def install(self, saved: Mapping[str, Mapping[str, object]]) -> set[str]:
        """Serve the names from now on; returns those that were imported already.

        *saved* has the originals of the patched names, by module and name.
        """
        self._make_twins(saved)
        thread.start_os_threads_from_plain_threads()
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        for name, module in list(sys.modules.items()):
            if type(module) is ModuleType and self.includes(name):
                self._rebind(module)
        return {name for name in self.names if name in sys.modules}

    # The twins.

    def _make_twins(self, saved: Mapping[str, Mapping[str, object]]) -> None:
        for name, originals in saved.items():
            if name not in self._twins and name not in ("threading", "sys", "sys.monitoring"):
                self._twins[name] = _with_originals(importlib.import_module(name), originals)
        sockets = self._twins.get("socket")
        if sockets is not None:
            # It makes a socket of the class that its global variable has.
            kind = vars(sockets)["socket"]
            kind.accept = rebound(kind.accept, vars(sockets))
        threading = self._twins["threading"] = native.original_threading()
        # The end of the program calls what was registered with the patched module.
        vars(threading)["_register_atexit"] = vars(sys.modules["threading"])["_register_atexit"]
        for name in _EXECUTED:
            self._twins[name] = self._executed(name)
        futures = _with_originals(importlib.import_module("concurrent.futures"), {})
        workers = self._twins["concurrent.futures.thread"]
        vars(futures).update(thread=workers, ThreadPoolExecutor=vars(workers)["ThreadPoolExecutor"])
        self._twins["concurrent.futures"] = futures
        self._twins["concurrent"] = _with_originals(
            importlib.import_module("concurrent"), {"futures": futures}
        )
        for name, twin in self._twins.items():
            standard = vars(importlib.import_module(name))
            for key, original in list(vars(twin).items()):
                current = standard.get(key)
                if callable(current) and current is not original and not key.startswith("__"):
                    self._originals[id(current)] = original

    def _executed(self, name: str) -> ModuleType:
        standard = importlib.import_module(name)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        twin = importlib.util.module_from_spec(spec)
        vars(twin)["__builtins__"] = self._builtins
        spec.loader.exec_module(twin)
        for key, value in list(vars(twin).items()):
            if isinstance(value, type) and issubclass(value, BaseException):
                setattr(twin, key, getattr(standard, key))
        return twin

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """The ``__import__`` of the named modules."""
        module = builtins.__import__(name, globals, locals, fromlist or (), level)
        if level != 0:
            return module
        return self._twins.get(name if fromlist else name.partition(".")[0], module)

    # The modules.

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Part of the protocol of ``sys.meta_path``."""
        if not self.includes(name):
            return None
        return find_further(self, name, path, target, before=self._begin, after=self._rebind)

    def _begin(self, module: ModuleType) -> None:
        """Called before the module's code runs."""
        vars(module)["__builtins__"] = self._builtins

    def _rebind(self, module: ModuleType) -> None:
        """Put the originals into the global variables of a module that has found patched names."""
        self._begin(module)
        for name, value in list(vars(module).items()):
            replacement = self._replacement(value)
            if replacement is not None:
                setattr(module, name, replacement)
            elif isinstance(value, type) and value.__module__ == module.__name__:
                bases = tuple(cast("type", self._originals.get(id(base), base)) for base in value.__bases__)
                if bases != value.__bases__:
                    value.__bases__ = bases

    def _replacement(self, value: object) -> object:
        """The native object for a patched one; None for any other."""
        if isinstance(value, ModuleType):
            twin = self._twins.get(value.__name__)
            return twin if sys.modules.get(value.__name__) is value else None
        if type(value) is thread.LockType:
            return None if value.locked() else native.Lock()
        if type(value) is thread.RLock:
            return None if value.locked() else native.RLock()
        return self._originals.get(id(value))


def _with_originals(standard: ModuleType, originals: Mapping[str, object]) -> ModuleType:
    """The module once more: *originals* for its patched names, and its own functions over those."""
    twin = ModuleType(standard.__name__, standard.__doc__)
    names = vars(twin)
    names.update(vars(standard))
    names.update(originals)
    for name, value in vars(standard).items():
        if name not in originals and isinstance(value, FunctionType) and value.__globals__ is vars(standard):
            names[name] = rebound(value, names)
    # Submodules that are imported later are found in the standard module.
    names["__getattr__"] = lambda name: getattr(standard, name)
    return twin
