"""``python -m greenpool [--pool-size N] app.py args...`` or ``-m module args...``.

Patches the standard library, then runs the program as the main function of a pool.  Exit status,
``sys.argv``, ``__main__``, tracebacks and Ctrl-C are as with plain ``python``: the program ends when its
main thread and all threads that are not daemons have ended.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import io
import os
import sys
from types import CodeType, ModuleType, TracebackType
from typing import Any

from . import monkey
from .runtime import Runtime


def main(arguments: list[str] | None = None) -> None:
    options, program = _parse(sys.argv[1:] if arguments is None else arguments)
    monkey.patch_all()
    if options.module:
        code, module = _load_module(options.module)
    else:
        code, module = _load_script(program.pop(0))
    sys.argv = [str(module.__file__), *program]
    sys.modules["__main__"] = module
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _report
    runtime = Runtime(options.pool_size)
    try:
        runtime.block_on(_run, code, module)
    finally:
        runtime.shutdown()


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m greenpool",
        usage="python -m greenpool [--pool-size N] (app.py | -m module) [args ...]",
        description="Run a program with green threads on every core.",
    )
    parser.add_argument("--pool-size", type=_pool_size, metavar="N", help="hubs; default: the CPUs")
    parser.add_argument("-m", dest="module", action="store_true", help="run a module, as python -m")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="the program and its arguments")
    options = parser.parse_args(arguments)
    program = options.program
    if not program:
        parser.error("a program is needed: app.py, or -m module")
    options.module = program.pop(0) if options.module else None
    return options, program


def _pool_size(text: str) -> int:
    pool_size = int(text)
    if pool_size < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return pool_size


def _load_script(path: str) -> tuple[CodeType, ModuleType]:
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        sys.path[0] = path
        return _load_module("__main__", path)
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        sys.exit(f"python -m greenpool: can't open file {path!r}: {error}")
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    module = ModuleType("__main__")
    module.__file__ = path
    module.__spec__ = None
    module.__dict__["__builtins__"] = __builtins__
    module.__dict__["__cached__"] = None
    return compile(source, path, "exec", dont_inherit=True), module


def _load_module(name: str, argument: str | None = None) -> tuple[CodeType, ModuleType]:
    if argument is None:
        sys.path[0] = os.getcwd()
    spec = _find(name)
    loader: Any = spec.loader
    code = loader.get_code(spec.name)
    if code is None:
        sys.exit(f"python -m greenpool: no code object available for {name}")
    module = ModuleType("__main__")
    module.__file__ = argument or spec.origin
    module.__spec__ = spec
    module.__loader__ = loader
    module.__package__ = spec.parent
    module.__dict__["__builtins__"] = __builtins__
    module.__dict__["__cached__"] = spec.cached
    return code, module


def _find(name: str) -> importlib.machinery.ModuleSpec:
    """The module's spec, or that of its ``__main__`` where it is a package."""
    already = sys.modules.pop("__main__", None) if name == "__main__" else None
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ModuleNotFoundError as error:
        sys.exit(f"python -m greenpool: {error}")
    finally:
        if already is not None:
            sys.modules["__main__"] = already
    if spec is None or spec.loader is None:
        sys.exit(f"python -m greenpool: No module named {name}")
    return spec


def _run(code: CodeType, module: ModuleType) -> None:
    try:
        exec(code, module.__dict__)
    finally:
        _join_threads()


def _join_threads() -> None:
    """What the interpreter does at its end, but while the pool that runs the threads is still there."""
    import threading

    me = threading.current_thread()
    while True:
        waited_for = [
            thread for thread in threading.enumerate() if not thread.daemon and thread is not me
        ]
        if not waited_for:
            return
        for thread in waited_for:
            thread.join()


def _report(
    kind: type[BaseException], value: BaseException, traceback: TracebackType | None
) -> None:
    """The default hook, without this module's own frames at the traceback's head."""
    package = os.path.dirname(os.path.abspath(__file__)) + os.sep
    own = traceback
    while own is not None and (
        own.tb_frame.f_code.co_filename.startswith((package, "<frozen runpy>"))
    ):
        own = own.tb_next
    sys.__excepthook__(kind, value.with_traceback(own or traceback), own or traceback)


if __name__ == "__main__":
    main()
