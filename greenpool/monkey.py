"""Make the standard library green, so that ordinary blocking programs run unchanged (as ``gevent.monkey``).

::

    from greenpool import monkey
    monkey.patch_all()

*What a patch is.*  A name of a standard module is set to its green version, and the original is kept in
``saved``.  The standard module's own Python code then runs over the green names: ``threading.Thread``,
``queue.Queue``, ``socketserver`` and so on stay the classes they are.

*Before or after.*  Modules that took a name before it was patched (``from time import sleep``) have it
replaced as well, and so have the locks and locals in their global variables and classes.  What cannot be
helped any more (a thread that is already running, a lock that is held, a subclass of ``threading.local`` or
``socket.socket``) is named in a MonkeyPatchWarning.

*Threads*: patch from the main thread, before other threads run.  ``patch_all``, ``patch_thread`` and
``patch_signal`` refuse to begin in another one (gevent only warns).  No other may set signal handlers; locals
would lose the main program's values; up to CPython 3.12 a copy of ``threading``, which is made here, takes
away the lock at which that thread is joined.  Every patch is idempotent.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback  # noqa: F401 - a hub that reports an exception finds it imported, and needs no green lock
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from ._at_import import find_further, when_imported
from ._core.native import get_ident, keep_original_threading, original_threading
from ._native_modules import NativeModules, check_names

__all__ = [
    "MonkeyPatchWarning",
    "get_original",
    "is_anything_patched",
    "is_module_patched",
    "is_object_patched",
    "patch_all",
    "patch_asyncio",
    "patch_dns",
    "patch_fcntl",
    "patch_io",
    "patch_module",
    "patch_multiprocessing",
    "patch_os",
    "patch_queue",
    "patch_select",
    "patch_selectors",
    "patch_signal",
    "patch_socket",
    "patch_sqlite3",
    "patch_ssl",
    "patch_subprocess",
    "patch_sys",
    "patch_thread",
    "patch_time",
    "patch_tracing",
    "saved",
]

#: The originals: module name -> name -> value.
saved: dict[str, dict[str, object]] = {}

# The same for names that a module had taken from another one before that was patched.
_taken: dict[str, dict[str, object]] = {}

# The replacements.
_green: dict[str, dict[str, object]] = {}

# The modules that keep native threads and locks.
_natives = NativeModules()

# A repeated import of these makes a new module, which gets its green names again.  They are not Python code
# over other modules.
_REPEATED = ("_queue", "select", "time")

# Names of a green module that replace those of the standard one; None: every public one that differs.
_PRIVATE_THREAD_NAMES = (
    "_ThreadHandle",
    "_count",
    "_local",
    "_make_thread_handle",
    "_set_sentinel",
    "_shutdown",
)
_DNS = ("getaddrinfo", "gethostbyaddr", "gethostbyname", "gethostbyname_ex", "getnameinfo")


class MonkeyPatchWarning(RuntimeWarning):
    """Something was made before patching and goes on blocking its thread."""


def is_anything_patched() -> bool:
    """True if any name of the standard library has been replaced."""
    return bool(saved)


def is_module_patched(module: str) -> bool:
    """True if names of the standard module with that name have been replaced."""
    return module in saved


def is_object_patched(module: str, name: str) -> bool:
    """True if that name of that standard module has been replaced."""
    return name in saved.get(module, {})


def get_original(module: str, name: str | Iterable[str]) -> Any:
    """The unpatched value of a name of a standard module; a list of values for several names.

    ``get_original("threading", "Thread")`` is a Thread that runs as an OS thread.
    """
    if not isinstance(name, str):
        return [get_original(module, each) for each in name]
    # A module that is patched when it is imported is patched now.
    standard = importlib.import_module(module)
    for originals in (saved, _taken):
        if name in originals.get(module, {}):
            return originals[module][name]
    if module == "threading" and is_module_patched("threading"):
        # Most of threading is Python code that runs over replaced names.
        return getattr(original_threading(), name)
    return getattr(standard, name)


# One module.


def patch_module(module: str, names: Iterable[str] | None = None) -> bool:
    """Replace *names* of the standard *module* by those of ``greenpool.<module>``; by default all that
    differ.  False where all of it was done before.
    """
    green = importlib.import_module(f"{__package__}.{module}")
    standard = importlib.import_module(module)
    chosen = list(_green_names(green, standard)) if names is None else list(names)
    return _replace(standard, {name: getattr(green, name) for name in chosen})


def _green_names(green: ModuleType, standard: ModuleType) -> Iterator[str]:
    for name, original in vars(standard).items():
        if name.startswith("_"):
            continue
        value = vars(green).get(name, original)
        if value is original or isinstance(value, ModuleType):
            continue
        if isinstance(value, FunctionType) and isinstance(original, FunctionType):
            # The standard function over green names, which the standard module itself has now.
            if value.__code__ is original.__code__:
                continue
        yield name


class _Unbound(staticmethod):  # type: ignore[type-arg]  # not generic at run time
    """A function in the place of one written in C, which is not bound where it is kept in a class.

    ``class Poller: sleep = time.sleep`` and then ``self.sleep(1)`` go on working, as does pickling it.
    """

    def __init__(self, function: FunctionType, module: str) -> None:
        super().__init__(function)
        self.__module__ = module

    def _no_dict(self) -> None:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute '__dict__'")

    if not TYPE_CHECKING:
        # A function written in C has none.  xmlrpc takes an object apart if it finds one.
        __dict__ = property(_no_dict)

    def __repr__(self) -> str:
        return f"<green function {self.__module__}.{self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__


_unbound: dict[FunctionType, _Unbound] = {}


def _replace(standard: ModuleType, replacements: dict[str, object]) -> bool:
    if not any(isinstance(finder, _RepeatedImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RepeatedImport())
    originals = saved.setdefault(standard.__name__, {})
    replaced: dict[int, tuple[object, object]] = {}
    for name, value in replacements.items():
        if name in originals or not hasattr(standard, name):
            continue
        current = getattr(standard, name)
        original = originals[name] = _taken.get(standard.__name__, {}).get(name, current)
        if isinstance(original, BuiltinFunctionType) and isinstance(value, FunctionType):
            value = _unbound.setdefault(value, _Unbound(value, standard.__name__))
        setattr(standard, name, value)
        _green.setdefault(standard.__name__, {})[name] = value
        if callable(original) and original is not value:
            replaced[id(original)] = (original, value)
    _replace_copies(replaced)
    return bool(replaced)


class _RepeatedImport:
    """A finder for modules that were patched and are then imported anew, from their original parts."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _REPEATED or name not in saved:
            return None
        return find_further(self, name, path, target, after=_make_green_again)


def _make_green_again(module: ModuleType) -> None:
    for name, value in _green[module.__name__].items():
        setattr(module, name, value)


def _other_modules() -> Iterator[ModuleType]:
    """Every loaded module but those that stand on the originals: our own, the native ones, and ``_io``, which
    imports use.
    """
    for name, module in list(sys.modules.items()):
        if type(module) is not ModuleType or name.partition(".")[0] in (__package__, "greenlet", "_io"):
            continue
        if module.__name__.partition(".")[0] == __package__:
            continue  # one of our own under gevent's name
        if not _natives.includes(name):
            yield module


def _replace_copies(replaced: dict[int, tuple[object, object]]) -> None:
    """Replace the originals where other modules took them into their own global variables."""
    if not replaced:
        return
    for module in _other_modules():
        for name, value in list(vars(module).items()):
            found = replaced.get(id(value))
            if found is not None and found[0] is value:
                _taken.setdefault(module.__name__, {}).setdefault(name, value)
                setattr(module, name, found[1])


def _warn(message: str) -> None:
    # At the caller of the public function.
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
        level += 1
    warnings.warn(message, MonkeyPatchWarning, stacklevel=level)


def _check_main_thread(name: str) -> None:
    threading = original_threading()
    if get_ident() != threading.main_thread().ident:
        raise RuntimeError(
            f"{name} was called in {threading.current_thread()!r} and has changed nothing: "
            "call it in the main thread, before it starts others"
        )


def _warn_of_subclasses(original: type[object], name: str) -> None:
    for subclass in original.__subclasses__():
        if subclass.__module__.partition(".")[0] not in (__package__, "asyncio", "multiprocessing", "ssl"):
            _warn(
                f"{subclass.__module__}.{subclass.__qualname__} was made from "
                f"{name} before patching and stays as it is"
            )


# The modules.


def _warn_of_running_worker() -> None:
    """Warn if gunicorn's threaded worker, which has made its selector already, is what calls this."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "init_process" and "gunicorn" in sys.modules:
            if type(frame.f_locals.get("self")).__module__ == "gunicorn.workers.gthread":
                _warn(
                    "patching comes after gunicorn's gthread worker was set up, and will block it: "
                    "patch at the top of gunicorn.conf.py, or use -k greenpool.gunicorn.Worker"
                )
                return


def patch_time() -> None:
    """``time.sleep`` parks."""
    patch_module("time")


def patch_socket(dns: bool = True) -> None:
    """``socket.socket`` and, with *dns*, the look-ups of names."""
    import socket

    # The standard ssl.SSLSocket is made from socket.socket at its import, and green ones from it.
    with contextlib.suppress(ImportError):
        importlib.import_module("ssl")
    original = socket.socket
    if patch_module("socket", ("socket",)):
        _warn_of_subclasses(original, "socket.socket")
        reduction: Any = sys.modules.get("multiprocessing.reduction")
        if reduction is not None:
            # It was imported before, and knows how to send sockets to other processes by their class.
            reduction.register(socket.socket, reduction._reduce_socket)
    if dns:
        patch_dns()


def patch_dns() -> None:
    """``socket.getaddrinfo`` and its family run off the hub's thread."""
    patch_module("socket", _DNS)


def patch_ssl() -> None:
    """Every ``ssl.SSLContext``, also one made before, wraps sockets into green ones."""
    try:
        import ssl
    except ImportError:
        return  # a Python without it
    from .ssl import patch_standard

    original = ssl.SSLSocket
    if patch_module("ssl", ("SSLSocket",)):
        patch_standard()
        _warn_of_subclasses(original, "ssl.SSLSocket")


def patch_select() -> None:
    """``select``, ``poll``, ``epoll`` and ``kqueue`` park; none is taken away."""
    patch_module("select")


def patch_selectors() -> None:
    """Every selector parks."""
    if not is_module_patched("selectors"):
        _warn_of_running_worker()
    patch_module("selectors")


def patch_os() -> None:
    """``os.read``, ``os.write``, ``os.waitpid`` and their like."""
    patch_module("os")
    os = sys.modules["os"]
    # shutil.rmtree looks there: without dir_fd it would follow a symbolic link that somebody puts in its way.
    if saved["os"].get("open") in os.supports_dir_fd:
        os.supports_dir_fd.add(os.open)
    connection = sys.modules.get("multiprocessing.connection")
    if connection is not None:
        # A spawned child has imported it before the program can patch.  CPython 3.11 to 3.14 keep os.read and
        # os.write as default arguments there.
        green = {saved["os"][name]: getattr(os, name) for name in ("read", "write")}
        for method in (connection.Connection._recv, connection.Connection._send):
            method.__defaults__ = tuple(green.get(value, value) for value in method.__defaults__)


def patch_io() -> None:
    """``open``, ``io.open``, ``io.FileIO``, ``input`` and ``sys.stdin`` of what is no regular file park."""
    import builtins

    from ._terminal import input, make_stdin_park

    patch_module("io")
    _replace(builtins, {"input": input})
    make_stdin_park()


def patch_fcntl() -> None:
    """``fcntl.flock``, ``lockf`` and ``fcntl`` wait for locks without blocking."""
    patch_module("fcntl")


def patch_sqlite3() -> None:
    """``sqlite3`` waits for locked databases without blocking; when the program imports it, if it does."""
    when_imported("sqlite3", _patch_sqlite3)


def _patch_sqlite3() -> None:
    import sqlite3

    original = sqlite3.Connection
    if patch_module("sqlite3"):
        _warn_of_subclasses(original, "sqlite3.Connection")


def patch_subprocess() -> None:
    """``subprocess.Popen`` waits without blocking."""
    patch_module("subprocess")
    with contextlib.suppress(ImportError):
        import _posixsubprocess

        from .subprocess import fork_exec

        _replace(_posixsubprocess, {"fork_exec": fork_exec})


def patch_signal() -> None:
    """What waits for a signal parks; handlers, also those set before, run as the main program.

    Raises RuntimeError outside the main thread.
    """
    if is_module_patched("signal"):
        return
    _check_main_thread("patch_signal")
    import signal

    patch_module("signal")
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, handler)


def patch_sys(stdin: bool = True, stdout: bool = True, stderr: bool = True) -> None:
    """``sys.stdin``, ``stdout`` and ``stderr`` become cooperative; not part of ``patch_all``."""
    from .fileobject import FileObject

    chosen = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    originals = saved.setdefault("sys", {})
    for name, wanted in chosen.items():
        stream = getattr(sys, name)
        if not wanted or name in originals or stream is None:
            continue
        try:
            fd = stream.fileno()
        except (OSError, ValueError, AttributeError):
            continue  # replaced by something that is no file
        originals[name] = stream
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, FileObject(fd, mode, encoding=stream.encoding, closefd=False))


def patch_multiprocessing() -> None:
    """The locks and queues that processes share park."""
    try:
        patch_module("_multiprocessing", ("SemLock",))
    except (ImportError, AttributeError):
        return  # a platform without semaphores
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # A spawned child has imported it before the program can patch.
        _replace(util, {"ForkAwareLocal": _green_local_class(util.ForkAwareLocal)})
    queues = sys.modules.get("multiprocessing.queues")
    if queues is not None:
        _patch_queues_of_child(queues.Queue)


def _patch_queues_of_child(kind: type[Any]) -> None:
    """Make the conditions of the queues that a spawned child was given green.

    ``put`` starts the queue's thread while it holds the lock.  Nothing but the collector has all of them.
    """
    import gc
    import threading

    for made in gc.get_objects():
        if issubclass(type(made), kind) and made._thread is None:
            made._notempty = threading.Condition(threading.Lock())


def _green_local_class(standard: type[object]) -> type[object]:
    """A subclass of ``threading.local`` once more, over the green one."""
    from .local import local

    members = {
        name: value for name, value in vars(standard).items() if name not in ("__dict__", "__weakref__")
    }
    return type(standard.__name__, (local,), members)


def patch_queue() -> None:
    """``queue.SimpleQueue``, and ``queue.Queue`` in place; the others are Python code over ``threading``."""
    import _queue

    from . import thread
    from ._sync.standard_queue import make_green
    from .queue import Empty, SimpleQueue

    make_green(thread._spend)

    patch_module("queue", ("SimpleQueue",))
    # Empty is what it is; with _queue imported anew it must still be the class that is raised.
    _replace(_queue, {"SimpleQueue": SimpleQueue, "Empty": Empty})


def patch_thread(threading: bool = True, existing: bool = True, logging: bool = True) -> None:
    """``_thread`` and, with *threading*, the ``threading`` module: their threads become green threads.

    *existing*: the locks and locals in the global variables and classes of other modules become green too.
    *logging*: the locks of the logging module's handlers.
    Raises RuntimeError outside the main thread.
    """
    if is_module_patched("_thread"):
        return
    _check_main_thread("patch_thread")
    import _thread
    import threading as standard

    from . import thread as green
    from ._core.pollers import make_poller
    from .threading import join_parks, replacements

    keep_original_threading()
    join_parks(original_threading())
    # Imports all that a hub needs: later the locks of imports are green, and need a hub to wait.
    make_poller().close()
    for thread in standard.enumerate():
        if thread is not standard.main_thread() and not thread.name.startswith("Dummy-"):
            _warn(f"{thread!r} was started before patching and stays an OS thread")
    lock_type, rlock_type = _thread.LockType, _thread.RLock
    names = [
        name for name in (*_green_names(green, _thread), *_PRIVATE_THREAD_NAMES) if hasattr(_thread, name)
    ]
    # Code that lists or pickles names goes by their module.
    green.LockType.__module__ = green.RLock.__module__ = "_thread"
    for name in names:
        if isinstance(getattr(green, name), BuiltinFunctionType):
            getattr(green, name).__module__ = "_thread"
    _replace(_thread, {name: getattr(green, name) for name in names})
    if threading:
        _warn_of_subclasses(get_original("threading", "local"), "threading.local")
        replaced = replacements(standard)
        for name in replaced.keys() & set(standard.__all__):
            if replaced[name] is not green.LockType and not isinstance(replaced[name], BuiltinFunctionType):
                replaced[name].__module__ = "threading"
        _replace(standard, replaced)
    if existing:
        _replace_existing(lock_type, rlock_type, get_original("_thread", "_local"))
        _replace_import_locks()
        _hold_executors_lock_in_fork()
    when_imported("concurrent.futures.thread", _let_executors_end_quietly)
    if logging and "logging" in sys.modules:
        _replace_logging_locks(rlock_type)


def _replace_existing(lock_type: type, rlock_type: type, local_type: type) -> None:
    """Make the locks and locals in the global variables of modules, and in their classes, green.

    A lock that is held right now is named and left alone, also one that the caller itself holds: whether it
    will be released by its name or by the end of a ``with`` statement, which keeps the old one, nobody knows.
    """
    from .local import local
    from .thread import RLock, allocate_lock

    # Several modules may have one lock or local, which stays one.  Each old one is kept, so that its id is
    # not that of another object meanwhile.
    replaced: dict[int, tuple[object, object]] = {}
    for owner, name, value in _variables():
        kind: Any = type(value)
        if id(value) in replaced:
            setattr(owner, name, replaced[id(value)][1])
        elif kind is local_type:
            replacement = local()
            vars(replacement).update(vars(value))
            replaced[id(value)] = value, replacement
            setattr(owner, name, replacement)
        elif kind is lock_type or kind is rlock_type:
            if not _is_held(value):
                green = allocate_lock() if kind is lock_type else RLock()
                replaced[id(value)] = value, green
                setattr(owner, name, green)
                continue
            where = f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__
            _warn(f"the lock {where}.{name} is held while patching and stays as it is")


def _is_held(lock: Any) -> bool:
    # An RLock lets its owner in.
    if getattr(lock, "_is_owned", bool)() or not lock.acquire(blocking=False):
        return True
    lock.release()
    return False


def _replace_import_locks() -> None:
    """Green threads may import what is being imported right now, such as the module that patches.

    Its lock was made before.  One that an OS thread waits for stays as it is.
    """
    import _frozen_importlib

    from .thread import RLock, allocate_lock

    private: Any = _frozen_importlib
    kind: Any = private._ModuleLock
    for reference in list(private._module_locks.values()):
        lock = reference()
        if type(lock) is kind and not lock.waiters:
            # An acquire of ``wakeup`` that does not wait comes while ``lock`` is held, and may yield.
            lock.lock = RLock() if hasattr(lock.lock, "_is_owned") else allocate_lock()
            lock.wakeup = allocate_lock()


def _hold_executors_lock_in_fork() -> None:
    """While the process forks nobody may be in the midst of ``ThreadPoolExecutor.submit``.

    Where concurrent.futures was imported before, its hooks for that have kept the lock that was replaced.
    """
    from ._core.fork import at_fork
    from .thread import LockType

    lock = getattr(sys.modules.get("concurrent.futures.thread"), "_global_shutdown_lock", None)
    if isinstance(lock, LockType):
        at_fork("executors", before=lock.acquire, in_child=lock._at_fork_reinit, in_parent=lock.release)


def _let_executors_end_quietly() -> None:
    """The threads of executors log each exception that ends them.  A hub that is shut down is no error."""
    import logging

    from greenlet import GreenletExit

    def is_no_end(record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        return kind is None or not issubclass(kind, GreenletExit)

    logging.getLogger("concurrent.futures").addFilter(is_no_end)


def _variables() -> Iterator[tuple[ModuleType | type, str, object]]:
    """The variables of other modules and of their classes: where, name, value."""
    for module in _other_modules():
        # The locks of threading's own tables are held for a few lines in which nothing waits.
        if module.__name__ in ("threading", "_thread", "_frozen_importlib"):
            continue
        for name, value in list(vars(module).items()):
            yield module, name, value
            if isinstance(value, type) and value.__module__ == module.__name__:
                for attribute, inner in list(vars(value).items()):
                    yield value, attribute, inner


def _replace_logging_locks(rlock_type: type) -> None:
    import logging

    for reference in vars(logging)["_handlerList"]:
        handler = reference()
        if handler is None or type(handler.lock) is not rlock_type:
            continue
        if _is_held(handler.lock):
            _warn(f"the lock of the logging handler {handler!r} is held while patching and stays as it is")
        else:
            handler.createLock()


def patch_asyncio() -> None:
    """Each green thread has a running loop of its own.  Nothing is imported for that."""
    when_imported("asyncio.events", _patch_asyncio)


def _patch_asyncio() -> None:
    from ._asyncio import replacements

    events: Any = sys.modules["asyncio.events"]
    if is_module_patched("asyncio.events"):
        return
    _replace(events, replacements(events))
    # Where it was imported before, the loop of each thread is kept in a local of the standard kind.
    names = ("BaseDefaultEventLoopPolicy", "_BaseDefaultEventLoopPolicy")
    policy = next((getattr(events, name) for name in names if hasattr(events, name)), None)
    if is_module_patched("threading") and policy is not None:
        policy._Local = _green_local_class(policy._Local)
        present = events._event_loop_policy
        if hasattr(present, "_local"):
            values = vars(present._local)
            present._local = policy._Local()
            vars(present._local).update(values)


def patch_tracing() -> None:
    """``sys.settrace`` and ``setprofile`` are for one green thread, and ``sys._current_frames`` knows all."""
    from . import sys as green

    _replace(sys, {name: getattr(green, name) for name in (*green.__all__, "_current_frames")})
    if sys.version_info < (3, 12):
        when_imported("cProfile", green.keep_profilers_apart)
    elif _replace(sys.monitoring, {"register_callback": green.register_callback}):
        green.wrap_callbacks()


# All of them.


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
    signal: bool = True,
    queue: bool = True,
    native: Iterable[str] = (),
    psycopg2: bool = False,
    **which: bool,
) -> None:
    """Apply every patch but those turned off; as often as you like.

    *native* names modules and packages that keep native threads and locks: libraries that wait in C, such as
    ``("grpc", "zmq")``.  Further calls add to them.  Name them before they are imported: a MonkeyPatchWarning
    tells of each that was imported in the patched program, because it may have made green objects.  Raises
    TypeError, ValueError or ModuleNotFoundError for a bad name, and changes nothing then.

    *psycopg2* has the queries of psycopg2 park (see greenpool.psycopg2).

    The keywords are gevent's; those of patches that greenpool does not need (``aggressive``, ``Event``,
    ``builtins``, ``contextvars``) are accepted and have no effect.  Any other raises TypeError.

    Raises RuntimeError outside the main thread, and changes nothing then.
    """
    for name in which:
        if name not in ("aggressive", "Event", "builtins", "contextvars"):
            raise TypeError(f"patch_all got an unknown keyword {name!r}")
    names = check_names(native)
    patched_before = is_module_patched("_thread")
    if (thread and not is_module_patched("_thread")) or (signal and not is_module_patched("signal")):
        _check_main_thread("patch_all")
    new = names - _natives.names
    # Before the patches, which leave these modules alone.
    _natives.names |= names
    # Threads first: the green modules below make locks when they are imported.
    if thread:
        patch_thread()
        patch_multiprocessing()
        patch_asyncio()
        patch_tracing()
    if queue:
        patch_queue()
    if time:
        patch_time()
    if os:
        patch_os()
        patch_io()
        patch_fcntl()
        patch_sqlite3()
    if signal:
        patch_signal()
    if select:
        patch_select()
        patch_selectors()
    if socket:
        patch_socket(dns=dns)
    if ssl:
        patch_ssl()
    if subprocess:
        patch_subprocess()
    if sys:
        patch_sys()
    if psycopg2:
        from .psycopg2 import patch_psycopg2

        patch_psycopg2()
    if new:
        loaded = _natives.install(saved)
        for name in sorted(loaded & new) if patched_before else ():
            _warn(f"{name} was imported before it was named as native and may have made green objects")
