"""greenpool under gevent's name: ``import gevent`` and its submodules give greenpool's modules.

A finder at the head of ``sys.meta_path`` answers for the names in ``MODULES``.  The module under gevent's
name is the very module of greenpool, with greenpool's own ``__name__`` and ``__spec__``, so a class exists
once.  An installed gevent is not touched, and none of its modules is loaded.

*Threads*: ``install_as_gevent`` is called by one thread, before others import gevent.  The import system's
own locks guard what follows.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

__all__ = ["install_as_gevent"]

_OWN = "greenpool._gevent"

# The modules of gevent, and where they are found: a module of greenpool with the same API, or one in _gevent.
MODULES = {
    "gevent": _OWN,
    "gevent._config": f"{_OWN}.settings",
    "gevent._hub_local": f"{_OWN}.hub_local",
    "gevent._monitor": f"{_OWN}.monitor",
    "gevent.backdoor": "greenpool.backdoor",
    "gevent.baseserver": f"{_OWN}.baseserver",
    "gevent.builtins": f"{_OWN}.builtins",
    "gevent.contextvars": f"{_OWN}.contextvars",
    "gevent.core": f"{_OWN}.core",
    "gevent.event": "greenpool.event",
    "gevent.events": f"{_OWN}.events",
    "gevent.exceptions": f"{_OWN}.exceptions",
    "gevent.fileobject": f"{_OWN}.fileobject",
    "gevent.greenlet": "greenpool.greenlet",
    "gevent.hub": f"{_OWN}.hub",
    "gevent.local": "greenpool.local",
    "gevent.lock": "greenpool.lock",
    "gevent.monkey": f"{_OWN}.monkey",
    "gevent.monkey.__main__": f"{_OWN}.monkey",
    "gevent.monkey.api": f"{_OWN}.monkey",
    "gevent.os": "greenpool.os",
    "gevent.pool": "greenpool.pool",
    "gevent.pywsgi": f"{_OWN}.pywsgi",
    "gevent.queue": "greenpool.queue",
    "gevent.resolver": f"{_OWN}.resolver",
    "gevent.resolver.blocking": f"{_OWN}.resolver.blocking",
    "gevent.resolver.thread": f"{_OWN}.resolver.thread",
    "gevent.resolver_thread": f"{_OWN}.resolver.thread",
    "gevent.select": "greenpool.select",
    "gevent.selectors": f"{_OWN}.selectors",
    "gevent.server": "greenpool.server",
    "gevent.signal": "greenpool.signal",
    "gevent.socket": "greenpool.socket",
    "gevent.ssl": "greenpool.ssl",
    "gevent.subprocess": "greenpool.subprocess",
    "gevent.thread": "greenpool.thread",
    "gevent.threading": "greenpool.threading",
    "gevent.threadpool": f"{_OWN}.threadpool",
    "gevent.time": "greenpool.time",
    "gevent.timeout": "greenpool.timeout",
    "gevent.util": "greenpool.util",
}
_PACKAGES = ("gevent", "gevent.monkey", "gevent.resolver")


class _Loader:
    """Hands out the module of greenpool in the place of gevent's."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._target)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has given the module the spec of gevent's name.
        module.__spec__ = self._spec

    def get_code(self, name: str) -> CodeType:
        """The program for ``python -m gevent.monkey``."""
        return compile(f"from {self._target} import main; main()", f"<{name}>", "exec")

    def is_package(self, name: str) -> bool:
        return name in _PACKAGES


class _Finder:
    """Finds the modules of gevent in greenpool."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = MODULES.get(name)
        if found is None:
            return None
        loader: Any = _Loader(found)
        return importlib.util.spec_from_loader(name, loader, is_package=name in _PACKAGES)


def install_as_gevent() -> None:
    """Have ``import gevent``, and the import of its public submodules, give greenpool's from now on.

    For libraries that look for gevent by its name.  Call it first in the program, before anything imports
    gevent or them; a second call has no effect.  An installed gevent is not touched.  Raises RuntimeError if
    gevent itself was imported already, and changes nothing then.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    present = sys.modules.get("gevent")
    if present is not None:
        place = getattr(present, "__file__", None)
        raise RuntimeError(
            f"gevent itself was imported already, from {place}: "
            "call greenpool.install_as_gevent() before anything imports gevent"
        )
    sys.meta_path.insert(0, _Finder())


# Programs import it from here.
install_as_gevent.__module__ = "greenpool"
