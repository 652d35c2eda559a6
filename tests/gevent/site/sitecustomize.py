"""Gives a test process of tests.gevent, and all that it starts, greenpool under gevent's name.

gevent's test files and their helpers come from the gevent that is installed.
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import greenpool

# Of gevent's own modules its test files need these, which do nothing but help.
FROM_THE_WHEEL = (
    "gevent.testing",
    "gevent.tests",
    "gevent._compat",
    "gevent._util",
    "gevent.resolver._addresses",
    "gevent.resolver._hostsfile",
)
# Private modules that a test file imports at its top, though few of its tests use them.
STAND_INS = ("gevent._fileobjectcommon", "gevent._fileobjectposix")


# gevent's 2 s for a test are too few on a busy machine.
SECONDS = 10


class Params:
    """Loads gevent.testing.params, and gives each test more time."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        vars(module)["LOCAL_TIMEOUT"] = SECONDS


class Finder:
    """Finds gevent's test files where the real gevent is installed."""

    folders = [
        os.path.join(entry, "gevent")
        for entry in sys.path
        if os.path.exists(os.path.join(entry, "gevent", "testing", "__init__.py"))
    ]

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in STAND_INS:
            return PathFinder.find_spec(name, [os.path.join(os.path.dirname(__file__), "stand_ins")])
        if name == "gevent.testing.params":
            spec = PathFinder.find_spec(name, [os.path.join(folder, "testing") for folder in self.folders])
            if spec is not None:
                spec.loader = Params(spec.loader)
            return spec
        if name not in FROM_THE_WHEEL:
            return None
        below = name.split(".")[1:-1]
        return PathFinder.find_spec(name, [os.path.join(folder, *below) for folder in self.folders])


greenpool.install_as_gevent()
sys.meta_path.insert(0, Finder())
