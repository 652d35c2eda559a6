"""``python -m greenpool``: a program runs as with plain ``python``, but with green threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from greenpool._core.native import HAS_GIL


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """Run ``python`` with these arguments, and return its exit status, stdout and stderr."""
    with start(directory, *arguments) as process:
        out, err = process.communicate(timeout=50)
    return process.returncode, out, err


def write(file: Path, source: str) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(source), encoding="utf-8")
    return file.name


SHOW = """
    import sys
    print(sys.argv, __name__, __package__, __file__, sys.path[0])
    print(sys.modules["__main__"].__dict__ is globals(), __builtins__)
    print(__spec__ and __spec__.name, type(__loader__).__name__)
    """

ENDINGS = {
    "end": "",
    "status": "sys.exit(7)",
    "message": "sys.exit('no more')",
    "exception": "def fail(): raise KeyError('x')\nfail()",
    "chained": "try: 1 / 0\nexcept Exception as error: raise OSError(5) from error",
    "interrupt": "raise KeyboardInterrupt",
    "own hook": "sys.excepthook = lambda *args: print('hook', args[1])\n1 / 0",
    "syntax error": "x = (",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_ends_as_with_plain_python(tmp_path: Path, ending: str) -> None:
    app = write(tmp_path / "app.py", f"import sys, atexit\natexit.register(print, 'atexit')\n{ending}")
    assert run(tmp_path, "-m", "greenpool", app) == run(tmp_path, app)


@pytest.mark.parametrize("app", ["app.py", "inner/app.py", "inner"])
def test_a_script_sees_what_it_sees_with_plain_python(tmp_path: Path, app: str) -> None:
    for file in ("app.py", "inner/app.py", "inner/__main__.py"):
        write(tmp_path / file, SHOW)
    arguments = (app, "-m", "--pool-size", "x y")
    assert run(tmp_path, "-m", "greenpool", *arguments) == run(tmp_path, *arguments)


@pytest.mark.parametrize("module", ["app", "package", "package.inner"])
def test_a_module_sees_what_it_sees_with_plain_python(tmp_path: Path, module: str) -> None:
    for file in ("app.py", "package/__main__.py", "package/inner.py"):
        write(tmp_path / file, SHOW)
    write(tmp_path / "package/__init__.py", "")
    arguments = ("-m", module, "-m", "one")
    assert run(tmp_path, "-m", "greenpool", "--pool-size", "1", *arguments) == run(tmp_path, *arguments)


@pytest.mark.slow
def test_what_is_not_there(tmp_path: Path) -> None:
    status, _, err = run(tmp_path, "-m", "greenpool", "none.py")
    assert status == 2 and "can't open file" in err and "No such file" in err
    status, _, err = run(tmp_path, "-m", "greenpool", "-m", "none.such")
    assert status == 1 and "none" in err
    for wrong in ((), ("--pool-size", "0", "app.py"), ("--pool-size", "x", "app.py")):
        status, _, err = run(tmp_path, "-m", "greenpool", *wrong)
        assert status == 2 and "usage: python -m greenpool" in err


# Threads.


def test_threads_go_round_robin_over_the_pool(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app.py",
        """
        import collections, threading
        hubs = collections.Counter()
        def child():
            children.append(threading.get_native_id())
        def work():
            hubs[threading.get_native_id()] += 1
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(sorted(hubs.values()), threading.get_native_id() in hubs)
        def parent():
            # A greenlet's threads stay on its own hub.
            thread = threading.Thread(target=lambda: print(threading.get_native_id() == mine))
            mine = threading.get_native_id()
            thread.start()
            thread.join()
        thread = threading.Thread(target=parent)
        thread.start()
        thread.join()
        """,
    )
    assert run(tmp_path, "-m", "greenpool", "--pool-size", "3", app) == (0, "[2, 2, 2] False\nTrue\n", "")


@pytest.mark.slow
def test_a_program_has_one_hub_where_there_is_a_gil(tmp_path: Path) -> None:
    app = write(tmp_path / "app.py", "import greenpool; print(greenpool.current_handle().pool_size)")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    expected = 1 if HAS_GIL else cpus
    assert run(tmp_path, "-m", "greenpool", app) == (0, f"{expected}\n", "")


@pytest.mark.slow
def test_the_program_ends_with_its_last_thread_that_is_no_daemon(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app.py",
        """
        import atexit, queue, sys, threading, time
        questions, answers = queue.Queue(), queue.Queue()
        def work():
            time.sleep(0.2)
            print("worked", flush=True)
        def daemon():
            try:
                while True:
                    answers.put(questions.get())
            finally:
                print("a daemon is not ended, it just stops")
        @atexit.register
        def last():
            questions.put("atexit")
            print(answers.get())
        threading.Thread(target=work).start()
        threading.Thread(target=daemon, daemon=True).start()
        print("main ends", flush=True)
        sys.exit(3)
        """,
    )
    expected = (3, "main ends\nworked\natexit\n", "")
    assert run(tmp_path, app) == expected
    assert run(tmp_path, "-m", "greenpool", app) == expected


def test_a_daemon_that_never_waits_does_not_keep_it_alive(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app.py",
        """
        import threading
        started = threading.Event()
        def spin():
            started.set()
            while True:
                pass
        threading.Thread(target=spin, daemon=True).start()
        started.wait()
        print("done")
        """,
    )
    assert run(tmp_path, "-m", "greenpool", "--pool-size", "2", app) == (0, "done\n", "")


def test_an_executor_that_nobody_shuts_down(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app.py",
        """
        from concurrent.futures import ThreadPoolExecutor
        executor = ThreadPoolExecutor(3)
        print(executor.submit(abs, -1).result())
        executor.submit(print, "last")
        """,
    )
    assert run(tmp_path, "-m", "greenpool", app) == (0, "1\nlast\n", "")


def test_a_traceback_comes_before_the_threads_are_waited_for(tmp_path: Path) -> None:
    app = write(
        tmp_path / "app.py",
        """
        import sys, threading, time
        def work():
            while not reported:
                time.sleep(0.01)
            print("worked")
        reported = []
        threading.Thread(target=work).start()
        sys.excepthook = lambda *args: reported.append(args)
        1 / 0
        """,
    )
    assert run(tmp_path, "-m", "greenpool", app) == (1, "worked\n", "")


# Ctrl-C.


@pytest.mark.parametrize(
    "what",
    ["time.sleep(60)", "thread.join()", "[None for _ in iter(int, 1)]", "queue.Queue().get()"],
)
def test_ctrl_c_reaches_the_main_program(tmp_path: Path, what: str) -> None:
    app = write(
        tmp_path / "app.py",
        f"""
        import queue, threading, time
        thread = threading.Thread(target=time.sleep, args=(60,), daemon=True)
        thread.start()
        try:
            print("ready", flush=True)
            {what}
        except KeyboardInterrupt:
            print(threading.current_thread().name)
            raise
        """,
    )
    with start(tmp_path, "-m", "greenpool", app) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)  # lets the program get there; any earlier moment would do as well
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=50)
    assert (process.returncode, out) == (-signal.SIGINT, "MainThread\n")
    assert err.startswith('Traceback (most recent call last):\n  File "' + str(tmp_path))
    assert err.endswith("KeyboardInterrupt\n")


# Modules that keep native threads.


def test_named_modules_keep_native_threads(tmp_path: Path) -> None:
    write(tmp_path / "first.py", "import threading")
    write(tmp_path / "package" / "__init__.py", "")
    write(tmp_path / "package" / "second.py", "from time import sleep")
    app = write(
        tmp_path / "app.py",
        """
        import first, package.second, threading, time
        print(first.threading.Lock is threading.Lock, package.second.sleep is time.sleep)
        print(type(first.threading.Lock()).__module__)
        """,
    )
    assert run(tmp_path, "-m", "greenpool", "--native", "first, package", app) == (
        0,
        "False False\n_thread\n",
        "",
    )
    assert run(tmp_path, "-m", "greenpool", app)[1].startswith("True True\n")


@pytest.mark.parametrize(
    "name, error",
    [
        ("no_such", "no module named 'no_such'"),
        ("no-name", "'no-name' is not the name of a module"),
        ("threading", "'threading' cannot be named; name the modules of a library that waits in C"),
    ],
)
def test_a_bad_name_of_a_native_module_is_told(tmp_path: Path, name: str, error: str) -> None:
    app = write(tmp_path / "app.py", "print('never')")
    expected = (2, "", f"python -m greenpool: native: {error}\n")
    assert run(tmp_path, "-m", "greenpool", "--native", name, app) == expected


# Programs that start themselves again.

AGAIN = """
    import os, subprocess, sys
    from greenpool import monkey

    print(monkey.is_module_patched("threading"), sys.argv[1:], flush=True)
    if len(sys.argv) == 1:
        {start}
"""


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run([sys.executable, __file__, 'x'], check=True)",
        "subprocess.run(args=[sys.executable, '-W', 'error', '-Xdev', '-u', sys.argv[0], 'x'], check=True)",
        "subprocess.run([sys.executable, '-m', 'app', 'x'], check=True, cwd='.')",
        "subprocess.Popen((sys.executable, sys.argv[0], 'x')).wait()",
        "os.execv(sys.executable, [sys.executable, sys.argv[0], 'x'])",
        "os.execl(sys.executable, sys.executable, sys.argv[0], 'x')",
        "os.execve(sys.executable, [sys.executable, sys.argv[0], 'x'], dict(os.environ))",
        "os.spawnv(os.P_WAIT, sys.executable, [sys.executable, sys.argv[0], 'x'])",
        "subprocess.run([sys.executable, *sys.orig_argv[1:], 'x'], check=True)",
    ],
)
def test_the_same_program_is_run_by_greenpool_again(tmp_path: Path, start: str) -> None:
    write(tmp_path / "app.py", AGAIN.format(start=start))
    arguments = ["-m", "app"] if "'-m'" in start else ["app.py"]
    result = run(tmp_path, "-m", "greenpool", "--pool-size", "2", *arguments)
    assert result == (0, "True []\nTrue ['x']\n", "")


def test_it_has_the_same_options(tmp_path: Path) -> None:
    write(tmp_path / "library.py", "import threading")
    app = write(
        tmp_path / "app.py",
        """
        import subprocess, sys, threading, library
        print(sys.orig_argv[3:])
        assert library.threading is not threading
        if len(sys.argv) == 1:
            subprocess.run([sys.executable, "app.py", "x"], check=True)
        """,
    )
    status, out, err = run(tmp_path, "-m", "greenpool", "--pool-size", "3", "--native", "library", app)
    assert (status, err) == (0, "")
    assert out.splitlines()[1] == "['--pool-size=3', '--native=library', 'app.py', 'x']"


@pytest.mark.parametrize(
    "command",
    [
        "[sys.executable, 'other.py', 'x']",
        "[sys.executable, '-c', 'import runpy; runpy.run_path(\"other.py\")', 'app.py']",
        "[sys.executable, '-m', 'other', 'app.py']",
        "['env', sys.executable, 'other.py', 'app.py']",
        "f'{sys.executable} other.py'.split()",
    ],
)
def test_other_programs_are_left_alone(tmp_path: Path, command: str) -> None:
    write(tmp_path / "other.py", "from greenpool import monkey; print(monkey.is_module_patched('threading'))")
    app = write(tmp_path / "app.py", f"import subprocess, sys; subprocess.run({command}, check=True)")
    assert run(tmp_path, "-m", "greenpool", app) == (0, "False\n", "")


def test_children_of_multiprocessing_are_patched(tmp_path: Path) -> None:
    write(tmp_path / "program" / "library.py", "import threading")
    write(
        tmp_path / "program" / "app.py",
        """
        import library, multiprocessing, socket, threading
        from greenpool import monkey

        def work(queue, sock):
            sock.sendall(b"sent")
            queue.put(monkey.is_module_patched("threading") and library.threading is not threading)

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            queue = context.SimpleQueue()
            left, right = socket.socketpair()
            process = context.Process(target=work, args=(queue, right))
            process.start()
            print(queue.get(), left.recv(10))
            process.join()
            print(process.exitcode)
        """,
    )
    assert run(tmp_path, "-m", "greenpool", "--native", "library", "program/app.py") == (
        0,
        "True b'sent'\n0\n",
        "",
    )
