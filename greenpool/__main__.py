"""``python -m greenpool [OPTIONS] app.py args...`` or ``-m module args...``.

The options are ``--pool-size N``, ``--native MODULES`` and ``--as-gevent``.

Patches the standard library, then runs the program as the main function of a pool.  Exit status,
``sys.argv``, ``__main__``, tracebacks and Ctrl-C are as with plain ``python``.

With ``--as-gevent``, ``import gevent`` gives greenpool.  There is no pool then unless ``--pool-size`` asks
for one: the main program and all greenlets share the hub of the main thread, because programs for gevent rely
on one greenlet at a time.

*The end* has the interpreter's own order: the traceback of the main program, if an exception ends it; waiting
for all threads that are not daemons (and telling ThreadPoolExecutors to end theirs); ``atexit``.  Only then
comes the end of the pool, which the ones before may need.  Daemon threads are not killed, as that would run
their ``finally`` clauses, and one that computes would have to be waited for: their hubs just stop.
"""

from __future__ import annotations

import argparse
import atexit
import builtins
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import runpy
import sys
import threading
from types import CodeType, ModuleType, TracebackType
from typing import Any

from . import monkey, thread
from ._as_gevent import install_as_gevent
from ._core import PACKAGE
from ._core.late_end import late_end_watched
from ._same_program import SameProgram
from .console.server import listen_as_wished
from .runtime import Runtime, hubs_of_a_program


def main(arguments: list[str] | None = None) -> None:
    options, program = _parse(sys.argv[1:] if arguments is None else arguments)
    if options.as_gevent:
        # First, because the debugger, too, looks for gevent (GEVENT_SUPPORT).
        install_as_gevent()
    if options.module == "debugpy":
        _run_in_debugger(options, program)
        return
    monkey.patch_all()
    listen_as_wished(by_default=True)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _report
    if options.module:
        code, module, name = _load_module(options.module)
    else:
        code, module, name = _load_script(program.pop(0))
    _keep_native(options.native)
    sys.argv = [name, *program]
    sys.modules["__main__"] = module
    SameProgram(name, options.module, _own(options), options.native, options.as_gevent).install()
    if options.as_gevent and options.pool_size is None:
        ending = _run(code, module)
    else:
        runtime = Runtime(options.pool_size or hubs_of_a_program())
        # Before the program can register anything: so it comes last.
        atexit.register(_end, runtime)
        ending = runtime.block_on(_run, code, module)
    if ending is not None:
        if not isinstance(ending, SystemExit):
            # The interpreter's part is the exit status alone: the traceback has been printed.
            sys.excepthook = _be_silent
        raise ending


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m greenpool",
        usage=(
            "python -m greenpool [--pool-size N] [--native MODULES] [--as-gevent] "
            "(app.py | -m module) [args ...]"
        ),
        description="Run a program with green threads, on a pool of hubs.",
    )
    parser.add_argument(
        "--pool-size",
        type=_pool_size,
        metavar="N",
        help="number of hubs (default: 1, or the number of CPUs on a free-threaded Python)",
    )
    parser.add_argument(
        "--native",
        type=_module_names,
        metavar="MODULES",
        default=[],
        help="modules that keep native threads and locks: libraries that wait in C (grpc,zmq)",
    )
    parser.add_argument(
        "--as-gevent",
        action="store_true",
        help="let `import gevent` give greenpool, for libraries that look for gevent; no pool by default",
    )
    parser.add_argument("-m", dest="module", action="store_true", help="run a module, as python -m does")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="the program and its arguments")
    options = parser.parse_args(arguments)
    program = options.program
    if not program:
        parser.error("a program is needed: app.py, or -m module")
    options.module = program.pop(0) if options.module else None
    return options, program


def _pool_size(text: str) -> int:
    try:
        pool_size = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None
    if pool_size < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return pool_size


def _own(options: argparse.Namespace) -> list[str]:
    """The options of this program, as arguments."""
    own = [f"--pool-size={options.pool_size}"] if options.pool_size else []
    if options.as_gevent:
        own.append("--as-gevent")
    return own + ([f"--native={','.join(options.native)}"] if options.native else [])


# The options of debugpy that take no value.
_DEBUGPY_FLAGS = ("--disable-sys-remote-exec", "--log-to-stderr", "--wait-for-client")


def _run_in_debugger(options: argparse.Namespace, arguments: list[str]) -> None:
    """Run ``-m debugpy ... -m greenpool ...``: the debugger first, so that its threads and waits stay native.

    They have to go on while it has stopped a hub.
    """
    place = 0
    while place < len(arguments) and arguments[place].startswith("-") and arguments[place] != "-m":
        place += 1 if arguments[place] in _DEBUGPY_FLAGS else 2
    sys.argv = ["debugpy", *arguments[:place], "-m", __package__, *_own(options), *arguments[place:]]
    runpy.run_module("debugpy", run_name="__main__", alter_sys=True)


def _load_script(path: str) -> tuple[CodeType, ModuleType, str]:
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        _prepend_to_path(os.path.abspath(path), always=True)
        code, module, _ = _load_module("__main__", of_path=True)
        return code, module, path
    absolute = os.path.abspath(path)
    try:
        with io.open_code(absolute) as file:
            source = file.read()
    except OSError as error:
        print(
            f"python -m greenpool: can't open file {absolute!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        sys.exit(2)
    _prepend_to_path(os.path.dirname(os.path.realpath(path)))
    module = ModuleType("__main__")
    module.__file__ = absolute
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", absolute)
    module.__dict__["__builtins__"] = builtins
    module.__dict__["__cached__"] = None
    return compile(source, absolute, "exec", dont_inherit=True), module, path


def _module_names(text: str) -> list[str]:
    return [name for each in text.split(",") if (name := each.strip())]


def _keep_native(names: list[str]) -> None:
    # The path on which they are found is known only when the program has been loaded.
    try:
        monkey.patch_all(native=names)
    except (ValueError, ModuleNotFoundError) as error:
        print(f"python -m greenpool: {error}", file=sys.stderr)
        sys.exit(2)


def _prepend_to_path(directory: str, always: bool = False) -> None:
    """Have *directory* stand where Python itself puts that of a program."""
    if not sys.flags.safe_path:
        sys.path[0] = directory
    elif always:
        sys.path.insert(0, directory)


def _load_module(name: str, of_path: bool = False) -> tuple[CodeType, ModuleType, str]:
    if not of_path:
        _prepend_to_path(os.getcwd())
    spec = _find(name)
    loader: Any = spec.loader
    code = loader.get_code(spec.name)
    if code is None:
        sys.exit(f"python -m greenpool: no code object available for {name}")
    module = ModuleType("__main__")
    module.__file__ = spec.origin
    module.__spec__ = spec
    module.__loader__ = loader
    module.__package__ = spec.parent
    module.__dict__["__builtins__"] = builtins
    module.__dict__["__cached__"] = spec.cached
    return code, module, str(spec.origin)


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


def _run(code: CodeType, module: ModuleType) -> BaseException | None:
    """Run the program and wait for its threads; returns what ended it, already reported."""
    ending: BaseException | None = None
    try:
        exec(code, module.__dict__)
    except SystemExit as exception:
        ending = exception
    except BaseException as exception:
        ending = exception
        _flush()
        sys.excepthook(type(exception), exception, exception.__traceback__)
    if isinstance(ending, KeyboardInterrupt):
        # Nobody waits for a program that was interrupted, unless it says for what it waits itself.
        with late_end_watched("the program"):
            _wait_for_threads()
    else:
        _wait_for_threads()
    return ending


def _flush() -> None:
    """The traceback comes after what the program has printed, also where both go to one file."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()


def _wait_for_threads() -> None:
    # Exactly what the interpreter calls at its end, but while the pool that runs the threads is there.
    # By then it finds that it has been done.
    shutdown = vars(threading)["_shutdown"]
    try:
        shutdown()
    except BaseException as exception:
        # A second Ctrl-C, say.  The threads that are left are not waited for.
        _flush()
        print("Exception ignored on threading shutdown:", file=sys.stderr)
        sys.__excepthook__(type(exception), exception, exception.__traceback__)


def _end(runtime: Runtime) -> None:
    """Shut the pool down.  If threads are still alive, they just stop with the interpreter."""
    if thread._count() and runtime._open:
        runtime._open = False
    else:
        runtime.shutdown()


def _report(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
    """The default hook, without this package's own frames at the traceback's head."""
    own = traceback
    while own is not None and (own.tb_frame.f_code.co_filename.startswith((PACKAGE, "<frozen runpy>"))):
        own = own.tb_next
    if own is None and not isinstance(value, SyntaxError):
        own = traceback
    sys.__excepthook__(kind, value.with_traceback(own), own)


def _be_silent(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
    pass


if __name__ == "__main__":
    main()
