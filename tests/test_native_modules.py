"""``patch_all(native=...)``: modules that keep native threads. Each test patches a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

LIBRARY = """
    import concurrent.futures
    import concurrent.futures.thread
    import os, os.path, queue, select, selectors, signal, socket, subprocess, threading, time
    import threading as renamed
    from concurrent import futures
    from concurrent.futures import ThreadPoolExecutor
    from queue import Full, Queue, SimpleQueue
    from threading import Condition, Event, Lock, RLock, Thread, current_thread
    from time import sleep

    from . import inner

    lock, rlock = Lock(), RLock()


    class Worker(Thread):
        def __init__(self, function=None):
            super().__init__()
            self.function = function

        def run(self):
            self.native_ident = threading.get_native_id()
            self.result = self.function and self.function()


    def from_within():
        import threading
        from queue import Queue
        from threading import Lock
        return threading.Thread, Lock, Queue().mutex


    def call_in_thread(function):
        worker = Worker(function)
        worker.start()
        worker.join(20)
        return worker.result
"""

CHECK = """
    import threading, queue, time, socket, select, subprocess
    import library, library.inner

    original = monkey.get_original
    native_lock, native_rlock = type(original("_thread", "allocate_lock")()), original("_thread", "RLock")
    for name in ("Thread", "Lock", "RLock", "Condition", "Event", "current_thread", "local", "get_ident"):
        assert getattr(library.threading, name) is original("threading", name), name
        assert getattr(library.inner.threading, name) is original("threading", name), name
        assert getattr(library, name, original("threading", name)) is original("threading", name), name
    assert library.renamed is library.threading
    for module, name in [
        ("time", "sleep"), ("select", "select"), ("select", "epoll"), ("socket", "socket"), ("os", "read"),
        ("queue", "SimpleQueue"), ("signal", "signal"), ("selectors", "DefaultSelector"),
    ]:
        assert getattr(getattr(library, module), name) is original(module, name), (module, name)
        assert getattr(sys.modules[module], name) is not original(module, name), (module, name)
    assert library.sleep is original("time", "sleep")
    assert type(library.lock) is native_lock and type(library.rlock) is native_rlock
    assert library.Worker.__base__ is original("threading", "Thread")
    assert type(library.Queue().mutex) is native_lock and library.Queue is library.queue.Queue

    # What is not patched is shared, and so are the exceptions.
    assert library.os.environ is os.environ and library.os.path is os.path
    assert library.Full is queue.Full and library.queue.Empty is queue.Empty
    try:
        library.Queue(1).get_nowait()
    except queue.Empty:
        pass
    left, right = library.socket.socketpair()
    assert type(left) is original("socket", "socket")
    left.close(), right.close()
    with library.socket.create_server(("127.0.0.1", 0)) as server:
        with library.socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
            assert type(client) is type(accepted) is original("socket", "socket")
    assert library.subprocess.run([sys.executable, "-c", "exit(3)"]).returncode == 3

    # Its threads are OS threads.
    idents = set()
    workers = [library.Worker() for _ in range(3)]
    for worker in workers:
        worker.start()
        worker.join()
        assert worker.native_ident != threading.get_native_id()
    for executors in library.futures.ThreadPoolExecutor, library.concurrent.futures.ThreadPoolExecutor:
        with executors(2) as executor:
            future = executor.submit(threading.get_native_id)
            assert isinstance(future, futures.Future) and future.result() != threading.get_native_id()
    # It is never shut down. The end of the program tells its threads.
    library.ThreadPoolExecutor(1).submit(int).result()
    """


def write_library(directory: Path) -> None:
    (directory / "library").mkdir()
    (directory / "library" / "__init__.py").write_text(textwrap.dedent(LIBRARY), encoding="utf-8")
    (directory / "library" / "inner.py").write_text("import threading\n", encoding="utf-8")


def run(script: str, directory: Path) -> str:
    """Run *script* beside the library and return its output, warnings and errors included."""
    before = "import os, sys\nfrom concurrent import futures\nfrom greenpool import monkey\n"
    (directory / "app.py").write_text(before + textwrap.dedent(script), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, directory / "app.py"],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
    )
    assert not done.returncode, done.stdout
    return done.stdout


def test_a_module_that_is_imported_later_has_the_originals(tmp_path: Path) -> None:
    write_library(tmp_path)
    script = """
    monkey.patch_all(native=["library"])
    """
    within = """
    thread, lock, mutex = library.from_within()
    assert thread is original("threading", "Thread") and lock is original("threading", "Lock")
    assert type(mutex) is native_lock
    assert library.__spec__.loader is library.__loader__
    assert type(library.__loader__).__name__ == "SourceFileLoader"
    """
    assert run(script + CHECK + within, tmp_path) == ""


def test_a_module_that_was_imported_before_has_the_originals(tmp_path: Path) -> None:
    write_library(tmp_path)
    script = """
    import library
    monkey.patch_all(native=["library"])
    """
    assert run(script + CHECK, tmp_path) == ""


def test_a_module_that_was_imported_in_the_patched_program_is_told(tmp_path: Path) -> None:
    write_library(tmp_path)
    script = """
    monkey.patch_all()
    import library
    monkey.patch_all(native=["library"])
    monkey.patch_all(native=["library"])
    """
    output = run(script + CHECK, tmp_path)
    assert output.count("MonkeyPatchWarning: library was imported before it was named as native") == 1
    assert output.count("MonkeyPatchWarning") == 1


def test_modules_that_are_not_named_are_green(tmp_path: Path) -> None:
    write_library(tmp_path)
    (tmp_path / "library_of_others.py").write_text("import threading\nfrom time import sleep\n")
    script = """
    monkey.patch_all(native=["library.inner"])
    import library, library_of_others, threading, time
    assert library.threading is library_of_others.threading is threading
    assert library_of_others.sleep is time.sleep
    assert library.inner.threading.Thread is monkey.get_original("threading", "Thread")
    monkey.patch_all(native=["library_of_others"])
    """
    assert "MonkeyPatchWarning: library_of_others" in run(script, tmp_path)


def test_its_threads_may_start_green_threads_and_end_first(tmp_path: Path) -> None:
    """On the hub of the thread that starts them they would have no turn: it waits in C, or has ended."""
    write_library(tmp_path)
    script = """
    monkey.patch_all(native=["library"])
    import queue, threading, time
    import library

    answers, more = queue.Queue(), threading.Event()

    def work():
        inner = threading.Thread(target=lambda: (time.sleep(0.01), answers.put(threading.get_native_id())))
        inner.start()
        inner.join()
        more.wait()
        answers.put(threading.get_native_id())

    def start():
        thread = threading.Thread(target=work)
        thread.start()
        assert thread.is_alive() and thread in threading.enumerate()
        return thread, threading.get_native_id()

    thread, starter = library.call_in_thread(start)
    first = answers.get(timeout=20)
    more.set()
    assert answers.get(timeout=20) == first not in (starter, threading.get_native_id())
    thread.join(20)
    assert not thread.is_alive()

    executor = futures.ThreadPoolExecutor(2)
    future = library.call_in_thread(lambda: executor.submit(time.sleep, 0.01))
    assert future.result(20) is None
    """
    assert run(script, tmp_path) == ""


@pytest.mark.parametrize(
    "native, error",
    [
        ("'grpc'", "TypeError: native takes a sequence of module names, such as ('grpc',), not a string"),
        ("[1]", "TypeError: native takes the names of modules, not 1"),
        ("['no such']", "ValueError: native: 'no such' is not the name of a module"),
        ("['']", "ValueError: native: '' is not the name of a module"),
        ("['threading']", "ValueError: native: 'threading' cannot be named"),
        ("['greenpool.lock']", "ValueError: native: 'greenpool.lock' cannot be named"),
        ("['no_such.part']", "ModuleNotFoundError: native: no module named 'no_such'"),
    ],
)
def test_a_bad_name_raises_and_changes_nothing(native: str, error: str, tmp_path: Path) -> None:
    script = f"""
    try:
        monkey.patch_all(native={native})
    except Exception as exception:
        print(f"{{type(exception).__name__}}: {{exception}}")
    print(monkey.is_module_patched("threading"))
    """
    output = run(script, tmp_path)
    assert output.startswith(error) and output.endswith("False\n"), output
