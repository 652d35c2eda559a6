"""``gevent.monkey``: greenpool's patching with gevent's arguments, events and command line.

``python -m gevent.monkey [--no-MODULE] [--MODULE] [--module] PROGRAM ARGS...`` patches and runs a program.

*Threads*: as in ``greenpool.monkey``, only the main thread patches.
"""

from __future__ import annotations

import importlib
import pprint
import runpy
import sys as _sys
import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from greenpool import monkey as _monkey
from greenpool.monkey import (
    MonkeyPatchWarning,
    get_original,
    is_module_patched,
    is_object_patched,
    patch_dns,
    patch_os,
    patch_queue,
    patch_select,
    patch_selectors,
    patch_signal,
    patch_socket,
    patch_ssl,
    patch_subprocess,
    patch_sys,
    patch_thread,
    patch_time,
    saved,
)

from . import events

__all__ = [
    "MonkeyPatchWarning",
    "get_original",
    "is_anything_patched",
    "is_module_patched",
    "is_object_patched",
    "main",
    "patch_all",
    "patch_builtins",
    "patch_contextvars",
    "patch_dns",
    "patch_item",
    "patch_module",
    "patch_os",
    "patch_queue",
    "patch_select",
    "patch_selectors",
    "patch_signal",
    "patch_socket",
    "patch_ssl",
    "patch_subprocess",
    "patch_sys",
    "patch_thread",
    "patch_time",
    "remove_item",
    "saved",
]

# The arguments of the first patch_all.
_first: dict[str, bool] = {}

# The modules of the standard library that patch_all reaches, by the argument that turns them off, in order.
_TARGETS = {
    "thread": "threading",
    "queue": "queue",
    "time": "time",
    "os": "os",
    "signal": "signal",
    "select": "select",
    "socket": "socket",
    "ssl": "ssl",
    "subprocess": "subprocess",
    "sys": "sys",
}


def is_anything_patched() -> bool:
    """Whether any module was patched."""
    return bool(saved)


def patch_builtins() -> None:
    """Do nothing: imports need no patch."""


def patch_contextvars() -> None:
    """Do nothing: each greenlet runs in a context of its own."""


def patch_item(module: ModuleType, attr: str, newitem: object) -> None:
    """Replace one name of a module, and keep the original in ``saved``."""
    if hasattr(module, attr):
        saved.setdefault(module.__name__, {}).setdefault(attr, getattr(module, attr))
    setattr(module, attr, newitem)


def remove_item(module: ModuleType, attr: str) -> None:
    """Take one name of a module away, and keep the original in ``saved``."""
    if hasattr(module, attr):
        saved.setdefault(module.__name__, {}).setdefault(attr, getattr(module, attr))
        delattr(module, attr)


def patch_module(
    target_module: ModuleType, source_module: ModuleType, items: Iterable[str] | None = None
) -> bool:
    """Replace names of *target_module* by those of *source_module*.

    The default for *items* is its ``__implements__``.  Publishes the events of it.  False if a subscriber
    was against it.
    """
    names = list(vars(source_module).get("__implements__", ()) if items is None else items)
    try:
        events.notify_and_call_entry_points(
            events.GeventWillPatchModuleEvent(target_module.__name__, source_module, target_module, names)
        )
    except events.DoNotPatch:
        return False
    for name in names:
        patch_item(target_module, name, getattr(source_module, name))
    events.notify_and_call_entry_points(
        events.GeventDidPatchModuleEvent(target_module.__name__, source_module, target_module)
    )
    return True


def patch_all(
    socket: bool = True,
    dns: bool = True,
    time: bool = True,
    select: bool = True,
    thread: bool = True,
    os: bool = True,
    ssl: bool = True,
    subprocess: bool = True,
    sys: bool = False,
    aggressive: bool = True,
    Event: bool = True,
    builtins: bool = True,
    signal: bool = True,
    queue: bool = True,
    contextvars: bool = True,
    **kwargs: object,
) -> bool | None:
    """Patch the standard library, but for what is turned off, and publish the events of it (as in gevent).

    A second call with other arguments warns and changes nothing.
    """
    chosen = {name: bool(value) for name, value in locals().items() if name != "kwargs"}
    if _first and saved:
        if _first != chosen:
            warnings.warn(
                "Patching more than once will result in the union of all True parameters being patched",
                MonkeyPatchWarning,
                stacklevel=2,
            )
        new = {name: value for name, value in chosen.items() if value and not _first.get(name)}
        if not new:
            return None
    try:
        events.notify_and_call_entry_points(events.GeventWillPatchAllEvent(chosen, kwargs))
    except events.DoNotPatch:
        return False
    for name, value in chosen.items():
        _first[name] = value or _first.get(name, False)
    # Threads first: the green modules make locks when they are imported.
    for name in _TARGETS:
        if chosen[name]:
            _patch(name, dns)
    events.notify_and_call_entry_points(events.GeventDidPatchBuiltinModulesEvent(chosen, kwargs))
    events.notify_and_call_entry_points(events.GeventDidPatchAllEvent(chosen, kwargs))
    return True


def _modules(name: str) -> tuple[ModuleType, ModuleType]:
    return importlib.import_module(f"greenpool.{name}"), importlib.import_module(name)


def _patch(name: str, dns: bool) -> None:
    """Patch one module between its two events, unless a subscriber is against it."""
    source, target = _modules(_TARGETS[name])
    items = [item for item in vars(source).get("__all__", ()) if hasattr(target, item)]
    module = _TARGETS[name]
    try:
        events.notify_and_call_entry_points(events.GeventWillPatchModuleEvent(module, source, target, items))
    except events.DoNotPatch:
        return
    only: dict[str, Any] = {other: other == name for other in _TARGETS}
    _monkey.patch_all(**only, dns=dns)
    events.notify_and_call_entry_points(events.GeventDidPatchModuleEvent(module, source, target))


_OPTIONS = ("socket", "dns", "time", "select", "thread", "os", "ssl", "subprocess", "sys", "signal", "queue")
_USAGE = f"""gevent.monkey - monkey patch the standard modules to use greenpool, under gevent's name.

USAGE: ``python -m gevent.monkey [MONKEY OPTIONS] [--module] (script|module) [SCRIPT OPTIONS]``

If no MONKEY OPTIONS are present, all modules are patched, as by ``patch_all()``.
--no-<module> leaves one out.  With --<module> only those are patched that are named.

MONKEY OPTIONS: ``--verbose {", ".join(f"--[no-]{name}" for name in _OPTIONS)}``"""


def main() -> object:
    """The command line ``python -m gevent.monkey``."""
    arguments = _sys.argv[1:]
    chosen: dict[str, bool] = {}
    run: Callable[..., object] = runpy.run_path
    is_verbose = False
    while arguments and arguments[0].startswith("--"):
        option = arguments.pop(0)[2:]
        if option == "verbose":
            is_verbose = True
        elif option == "module":
            run = runpy.run_module
        elif option.removeprefix("no-") not in (*_OPTIONS, "aggressive", "Event", "builtins", "contextvars"):
            _sys.exit(f"{_USAGE}\n\nCannot patch {option!r}")
        elif option.startswith("no-"):
            chosen[option.removeprefix("no-")] = False
        else:
            chosen[option] = True
            for other in _OPTIONS:
                chosen.setdefault(other, False)
    if is_verbose:
        print(f"gevent.monkey.patch_all({', '.join(f'{name}={value}' for name, value in chosen.items())})")
        print("sys.version=" + _sys.version.strip().replace("\n", " "))
        print(f"sys.path={pprint.pformat(_sys.path)}")
        print(f"sys.modules={pprint.pformat(sorted(_sys.modules))}")
    if not arguments:
        print(_USAGE)
        return None
    _sys.argv[:] = arguments
    patch_all(**chosen)
    return run(arguments[0], run_name="__main__")
