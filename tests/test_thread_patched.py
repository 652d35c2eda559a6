"""Threads of patched programs, each program in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from test_monkey import PATCH, run

ROOT = Path(__file__).parent.parent

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run_patched(script: str) -> str:
    return run(PATCH + textwrap.dedent(script))


@pytest.mark.slow
@needs_fork
def test_no_greenlet_of_the_parent_runs_in_the_child_of_a_fork() -> None:
    """The child's first hook is threading's, which takes locks. It must not yield at any budget."""
    assert (
        run_patched("""
        import os, time
        import greenpool
        from greenpool._core.current import getcurrent
        parent = os.getpid()
        def other():
            while os.getpid() == parent:
                time.sleep(0)
            os._exit(1)
        greenpool.spawn(other)
        time.sleep(0)
        for budget in range(10):
            getcurrent().budget = budget
            pid = os.fork()
            if not pid:
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), end="")
        """)
        == "0" * 10
    )


@needs_fork
def test_a_thread_of_the_parent_has_ended_in_the_child_of_a_fork() -> None:
    assert (
        run_patched("""
        import os, threading
        event = threading.Event()
        thread = threading.Thread(target=event.wait)
        thread.start()
        pid = os.fork()
        if not pid:
            thread.join()
            print(thread.is_alive(), len(threading.enumerate()), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print(thread.is_alive())
        event.set()
        """)
        == "False 1\nTrue\n"
    )


@needs_fork
def test_a_greenlet_that_forks_is_the_main_thread_of_the_child() -> None:
    """The greenlet is the main thread even if it asked for its thread before, for example to log."""
    assert (
        run_patched("""
        import multiprocessing, threading
        import greenpool
        def child():
            thread = threading.current_thread()
            print(thread.name, thread is threading.main_thread(), thread.daemon, flush=True)
        def parent():
            threading.current_thread()
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join()
            return process.exitcode
        print(greenpool.spawn(parent).get())
        """)
        == "MainThread True False\n0\n"
    )


@needs_fork
@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise ValueError", "work.join()"])
@pytest.mark.parametrize("daemon", [False, True])
def test_the_child_of_a_fork_ends_with_the_thread_that_forked(ending: str, daemon: bool) -> None:
    """As in plain Python: with status 0, however it ends, and after the threads that it has started."""
    assert (
        run_patched(f"""
        import os, sys, threading, time
        def fork():
            pids.append(os.fork())
            if not pids[-1]:
                threading.excepthook = lambda args: os.write(1, args.exc_type.__name__.encode() + b" ")
                work = threading.Thread(target=lambda: (time.sleep(0.01), os.write(1, b"worked ")))
                work.daemon = {daemon}
                work.start()
                {ending}
        pids = []
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        print(os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]))
        """)
        == {"raise ValueError": "ValueError ", "sys.exit(3)": "SystemExit "}.get(ending, "") + "worked 0\n"
    )


# A real thread that has to be joined while other green threads run: one of them lets it end.
REAL = """
import threading, time
event = threading.Event()
real = monkey.get_original("threading", "Thread")(target=event.wait, name="real")
real.start()
"""


@pytest.mark.parametrize("joins", ["join()", "threading.Thread(target=join).start()"])
def test_a_join_of_a_real_thread_parks(joins: str) -> None:
    assert (
        run_patched(
            f"""{REAL}
def join():
    assert real.is_alive() and real.name == "real" and real.ident and not real.daemon
    for _ in range(2):
        real.join(0.001)
        print(real.is_alive())
    joining.set()
    real.join()
    real.join()
    print(real.is_alive(), [thread.name for thread in threading.enumerate() if "Dummy" in thread.name])
def end():
    joining.wait()
    time.sleep(0.01)
    event.set()
joining = threading.Event()
threading.Thread(target=end).start()
{joins}
"""
        )
        == "True\nTrue\nFalse []\n"
    )


def test_a_join_of_a_thread_that_was_started_before_patching_parks() -> None:
    assert (
        run("""
import threading, warnings
warnings.simplefilter("ignore")
held = threading.Lock()
held.acquire()
thread = threading.Thread(target=held.acquire)
thread.start()
release = held.release
from greenpool import monkey
monkey.patch_all()
import time
threading.Thread(target=lambda: (time.sleep(0.01), release())).start()
thread.join()
print(thread.is_alive())
""")
        == "False\n"
    )


def test_a_join_of_a_real_thread_that_is_given_up() -> None:
    assert (
        run_patched(f"""{REAL}
import greenpool
with greenpool.Timeout(0.001, False):
    real.join()
    print("not reached")
joining = greenpool.spawn(real.join)
time.sleep(0.001)
joining.kill()
print(real.is_alive())
event.set()
real.join()
print(real.is_alive())
""")
        == "True\nFalse\n"
    )


@pytest.mark.parametrize("command", [[], ["-m", "greenpool"]])
def test_a_green_thread_joins_the_main_thread(command: list[str], tmp_path: Path) -> None:
    """The others run meanwhile, and the main thread has ended when the interpreter waits for the others."""
    program = tmp_path / "program.py"
    program.write_text("""
from greenpool import monkey
monkey.patch_all()
import threading, time
main = threading.main_thread()
def join():
    main.join(0.001)
    print(main.is_alive(), main.name, main.ident == main_ident, main.daemon, flush=True)
    joined.set()
    main.join()
    print(main.is_alive(), flush=True)
joined = threading.Event()
main_ident = threading.get_ident()
threading.Thread(target=join).start()
joined.wait()
print("main ends", flush=True)
""")
    output = subprocess.check_output(
        [sys.executable, *command, str(program)], cwd=ROOT, text=True, timeout=30
    )
    assert output == "True MainThread True False\nmain ends\nFalse\n"


def test_the_program_s_end_waits_for_a_thread_that_was_started_before_patching() -> None:
    """That thread may wait for a green one."""
    assert (
        run("""
import threading, warnings
warnings.simplefilter("ignore")
held = threading.Lock()
held.acquire()
threading.Thread(target=lambda: (held.acquire(), print("real"))).start()
release = held.release
from greenpool import monkey
monkey.patch_all()
import time
threading.Thread(target=lambda: (time.sleep(0.05), release()), daemon=True).start()
""")
        == "real\n"
    )


def test_the_program_ends_after_its_os_threads() -> None:
    """Its green threads go on until then, because the OS threads may wait for them."""
    assert (
        run_patched("""
        import queue, threading
        questions, answers = queue.Queue(), queue.Queue()
        def answer():
            while True:
                answers.put(questions.get() * 2)
        def ask():
            for number in range(3):
                questions.put(number)
                print(answers.get())
        threading.Thread(target=answer, daemon=True).start()
        monkey.get_original("threading", "Thread")(target=ask).start()
        """)
        == "0\n2\n4\n"
    )


def test_the_program_ends_after_the_threads_started_before_patching() -> None:
    assert (
        run(f"""
        import threading, time, warnings
        locks = [threading.Lock()]
        locks[0].acquire()
        def work(sleep):
            locks[0].acquire()
            sleep(0.2)
            print("done")
        threading.Thread(target=work, args=(time.sleep,)).start()
        warnings.simplefilter("ignore")
        {PATCH}
        locks[0].release()
        """)
        == "done\n"
    )


def test_threads_that_were_made_before_patching_are_started_after_it() -> None:
    assert (
        run(f"""
        import threading
        thread = threading.Thread(target=print, args=("thread",))
        timer = threading.Timer(0.001, print, ("timer",))
        {PATCH}
        for each in (thread, timer):
            each.start()
            each.join()
            print(each.is_alive())
        """)
        == "thread\nFalse\ntimer\nFalse\n"
    )


def test_a_queue_that_was_made_before_patching_lets_the_others_run() -> None:
    """The queue's lock is a real one, so no greenlet yields while it holds it."""
    assert (
        run(f"""
        import queue, threading
        numbers = queue.Queue()
        {PATCH}
        import time
        def consume():
            while numbers.get():
                pass
        consumer = threading.Thread(target=consume)
        consumer.start()
        for number in range(1000, -1, -1):
            numbers.put(number)
            time.sleep(0)
        consumer.join()
        print(numbers.qsize())
        """)
        == "0\n"
    )


def test_an_event_that_was_made_before_patching_lets_the_others_run() -> None:
    assert (
        run(f"""
        import threading
        event = threading.Event()
        {PATCH}
        import time
        count = 0
        def wait():
            global count
            while not event.wait(0.00001):
                count += 1
        waiter = threading.Thread(target=wait)
        waiter.start()
        while count < 300:
            event.clear()
            time.sleep(0)
        event.set()
        waiter.join()
        print("done")
        """)
        == "done\n"
    )


def test_an_exception_that_ends_a_thread_is_reported_as_ever() -> None:
    script = """
        import _thread, time
        started = []
        def fail():
            started.append(True)
            raise ValueError("broken")
        _thread.start_new_thread(fail, ())
        while not started or _thread._count():
            time.sleep(0.001)
        """
    reports = [run(first + textwrap.dedent(script)) for first in ("\n", PATCH)]
    standard, green = (re.sub("at 0x[0-9a-fA-F]+", "at ...", report) for report in reports)
    assert "ValueError: broken" in standard
    assert green == standard
