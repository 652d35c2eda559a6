"""``greenpool.monkey``: patching the standard library. Each test patches a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def run(script: str, *options: str) -> str:
    """Run *script* and return its output, warnings and errors included."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
    )
    assert not done.returncode, done.stdout
    return done.stdout


PATCH = "from greenpool import monkey; monkey.patch_all()\n"


def run_patched(script: str) -> str:
    return run(PATCH + textwrap.dedent(script), "-W", "error")


# Patched functions and modules.


def test_descriptors_have_the_numbers_that_they_have_unpatched() -> None:
    run_patched("""
        import os, threading, time
        first = os.dup(0)
        time.sleep(0.001)
        threading.Thread(target=time.sleep, args=(0.001,)).start()
        assert [os.dup(0) for _ in range(3)] == [first + 1, first + 2, first + 3]
        """)


def test_threads_that_sleep_run_side_by_side_in_one_os_thread() -> None:
    assert (
        run_patched("""
        import threading, time
        native, idents = set(), set()
        # A thread that has ended may leave its identifier to another one.
        all_have_slept = threading.Barrier(100)
        def work():
            time.sleep(0.05)
            native.add(threading.get_native_id())
            idents.add(threading.get_ident())
            all_have_slept.wait()
        threads = [threading.Thread(target=work) for _ in range(100)]
        begin = time.monotonic()
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert time.monotonic() - begin < 4, "one after the other"
        print(len(native), len(idents))
        """)
        == "1 100\n"
    )


def test_patching_again_changes_nothing() -> None:
    assert (
        run_patched("""
        import socket, threading, time
        before = socket.socket, threading.Lock, time.sleep, threading.local
        monkey.patch_all()
        monkey.patch_thread()
        monkey.patch_socket()
        assert before == (socket.socket, threading.Lock, time.sleep, threading.local)
        print(monkey.get_original("time", "sleep"))
        """)
        == "<built-in function sleep>\n"
    )


def test_what_is_patched_can_be_asked() -> None:
    assert (
        run("""
        from greenpool import monkey
        monkey.patch_time()
        print(monkey.is_module_patched("time"), monkey.is_object_patched("time", "sleep"))
        print(monkey.is_object_patched("time", "monotonic"), monkey.is_module_patched("socket"))
        print(list(monkey.saved["time"]))
        """)
        == "True True\nFalse False\n['sleep']\n"
    )


def test_a_socket_alone_does_not_make_ssl_patched() -> None:
    assert (
        run("""
        import ssl
        from greenpool import monkey
        monkey.patch_socket()
        print(monkey.is_module_patched("ssl"), monkey.is_module_patched("socket"))
        """)
        == "False True\n"
    )


def test_originals() -> None:
    run_patched("""
        import _thread, socket, ssl, threading
        import greenpool
        assert "built-in" in repr(monkey.get_original("_thread", "allocate_lock"))
        assert monkey.get_original("socket", ["socket", "AF_INET"])[1] is socket.AF_INET
        assert monkey.get_original("socket", "socket") in socket.socket.__mro__
        # The standard SSLSocket derives from the standard socket.
        assert socket.socket not in monkey.get_original("ssl", "SSLSocket").__mro__
        assert issubclass(ssl.SSLSocket, socket.socket)
        """)


def test_real_threads_and_greenlets_share_patched_primitives() -> None:
    run_patched("""
        import queue, threading
        RealThread = monkey.get_original("threading", "Thread")
        numbers, results = queue.Queue(), queue.SimpleQueue()
        def work():
            while (number := numbers.get()) is not None:
                results.put((threading.get_native_id(), number))
        threads = [kind(target=work) for kind in (RealThread, threading.Thread) for _ in range(2)]
        for thread in threads: thread.start()
        for number in range(400): numbers.put(number)
        for _ in threads: numbers.put(None)
        # Join the real threads last, because that blocks this OS thread with its greenlets.
        for thread in reversed(threads): thread.join()
        assert sorted(results.get()[1] for _ in range(400)) == list(range(400))
        """)


def test_single_patches_and_unknown_ones() -> None:
    assert (
        run("""
        from greenpool import monkey
        monkey.patch_all(socket=False, ssl=False, aggressive=True)
        print(monkey.is_module_patched("socket"), monkey.is_module_patched("select"))
        try:
            monkey.patch_all(sockets=True)
        except TypeError as error:
            print(error)
        """)
        == "False True\npatch_all got an unknown keyword 'sockets'\n"
    )


def test_no_public_name_is_lost() -> None:
    names = "ssl select selectors subprocess threading queue time signal os socket"
    script = f"""
        import importlib
        modules = [importlib.import_module(name) for name in {names.split()!r}]
        before = [set(vars(module)) for module in modules]
        {PATCH}
        for module, names in zip(modules, before):
            assert names <= set(vars(module)), module
        """
    run(script)


# Before and after.


def test_names_that_others_have_taken() -> None:
    run("""
        from time import sleep
        from threading import Lock, get_ident
        from greenpool import monkey
        monkey.patch_all()
        import threading, time
        assert sleep is time.sleep and Lock is threading.Lock and get_ident is threading.get_ident
        assert monkey.get_original("__main__", "sleep") is monkey.get_original("time", "sleep")
        """)


def test_locks_and_locals_made_before() -> None:
    run("""
        import threading, time
        lock = threading.Lock()
        class Account:
            lock = threading.RLock()
            state = threading.local()
        Account.state.user = "root"
        from greenpool import monkey
        monkey.patch_all()
        def use(lock):
            for _ in range(3):
                with lock:
                    time.sleep(0.001)
            Account.state.user = lock
        threads = [threading.Thread(target=use, args=(each,)) for each in (lock, Account.lock) * 3]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert Account.state.user == "root"
        """)


def test_what_several_modules_have_stays_one(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("import threading\nlock = threading.Lock()\nstate = threading.local()")
    (tmp_path / "second.py").write_text("from first import lock, state")
    run(f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import first, second
        native = first.lock, first.state
        from greenpool import monkey
        monkey.patch_all()
        assert first.lock is second.lock is not native[0]
        assert first.state is second.state is not native[1]
        """)


def test_what_cannot_be_helped_is_named() -> None:
    warnings = run("""
        import socket, threading
        held = threading.Lock()
        held.acquire()
        class Special(socket.socket): pass
        class State(threading.local): pass
        go = threading.Event()
        threading.Thread(target=go.wait, name="early").start()
        from greenpool import monkey
        monkey.patch_all()
        go.set()
        """)
    assert "the lock __main__.held is held while patching" in warnings
    assert "__main__.Special was made from socket.socket before patching" in warnings
    assert "__main__.State was made from threading.local before patching" in warnings
    assert "<Thread(early, started" in warnings
    assert warnings.count("MonkeyPatchWarning") == 4


def test_a_lock_that_the_patching_thread_holds_stays_as_it_is() -> None:
    """The thread may release it by its name or by a ``with`` that began before."""
    warnings = run("""
        import logging, threading
        by_name, by_with = threading.RLock(), threading.RLock()
        handler = logging.StreamHandler()
        by_name.acquire()
        handler.acquire()
        with by_with:
            from greenpool import monkey
            monkey.patch_all()
        by_name.release()
        handler.release()
        def use():
            for lock in (by_name, by_with, handler.lock):
                with lock: pass
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        """)
    assert "the lock __main__.by_name is held while patching" in warnings
    assert "the lock __main__.by_with is held while patching" in warnings
    assert "the lock of the logging handler <StreamHandler <stderr> (NOTSET)> is held while" in warnings
    assert warnings.count("MonkeyPatchWarning") == 3


def test_a_thread_imports_the_module_that_patches_while_it_is_imported(tmp_path: Path) -> None:
    application = """
        from greenpool import monkey
        monkey.patch_all()
        import sys, threading, time
        def work():
            import application
            print("imported with", application.last)
        thread = threading.Thread(target=work)
        thread.start()
        while not sys.modules["_frozen_importlib"]._blocking_on.get(thread.ident):
            time.sleep(0)
        last = "its last line"
        """
    (tmp_path / "application.py").write_text(textwrap.dedent(application))
    script = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import application
        application.thread.join()
        """
    assert run(script) == "imported with its last line\n"


def test_a_fork_in_the_midst_of_a_submit_of_another_thread() -> None:
    script = f"""
        import concurrent.futures.thread
        {PATCH}
        import os, threading, time, warnings
        from concurrent.futures import ThreadPoolExecutor
        warnings.simplefilter("ignore", DeprecationWarning)
        lock = concurrent.futures.thread._global_shutdown_lock
        held = threading.Event()
        def hold():
            with lock:
                held.set()
                time.sleep(0.001)
        threading.Thread(target=hold).start()
        held.wait()
        child = os.fork()
        if not child:
            with ThreadPoolExecutor(1) as executor:
                os._exit(executor.submit(int, 7).result())
        assert not lock.locked()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    assert run(script) == "7\n"


def test_patching_in_another_thread_is_refused_and_changes_nothing() -> None:
    output = run("""
        import threading
        from greenpool import monkey
        def in_thread(function):
            thread = threading.Thread(target=function, name="other")
            thread.start()
            thread.join()
        def patch():
            for patch in (monkey.patch_all, monkey.patch_thread, monkey.patch_signal):
                try:
                    patch()
                except RuntimeError as error:
                    print(error)
            assert not monkey.saved
        in_thread(patch)
        # The rest can be patched there, and so can modules that are patched already.
        in_thread(lambda: monkey.patch_all(thread=False, signal=False))
        monkey.patch_all()
        in_thread(monkey.patch_all)
        """)
    assert [line.partition("(")[0] for line in output.splitlines()] == [
        "patch_all was called in <Thread",
        "patch_thread was called in <Thread",
        "patch_signal was called in <Thread",
    ]
    assert output.count("call it in the main thread, before it starts others") == 3


@pytest.mark.parametrize(
    "before",
    ["", "import ssl", "import ssl; context = ssl.create_default_context()"],
    ids=["first", "after the import", "after a context was made"],
)
def test_contexts_do_not_recurse(before: str) -> None:
    script = f"""
        {before or "pass"}
        {PATCH}
        import ssl
        contexts = [ssl.create_default_context(), globals().get("context") or ssl.SSLContext()]
        for context in contexts:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.options |= ssl.OP_NO_TLSv1_3
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            assert context.sslsocket_class is ssl.SSLSocket
        """
    run(script)


def test_a_module_imported_anew_is_green_again() -> None:
    run_patched("""
        import _queue, sys, time
        old, sleep = _queue.SimpleQueue, time.sleep
        del sys.modules["_queue"], sys.modules["time"]
        import _queue, time
        assert _queue.SimpleQueue is old and time.sleep is sleep and time.monotonic()
        """)


# Behaviour that patching leaves as it was.


def test_functions_are_not_bound_where_they_are_kept_in_a_class() -> None:
    run_patched("""
        import os, select, threading, time
        class Poller:
            sleep = time.sleep
            new_lock = threading.Lock
            ident = threading.get_ident
            select = select.select
            read = os.read
        poller = Poller()
        poller.sleep(0)
        with poller.new_lock(): pass
        assert poller.ident() == threading.get_ident()
        assert poller.select([], [], [], 0) == ([], [], [])
        """)


def test_a_serializer_does_not_take_functions_apart() -> None:
    run_patched("""
        import os, time, xmlrpc.client
        for function in (time.sleep, os.read):
            assert not hasattr(function, "__dict__")
            try:
                xmlrpc.client.dumps((function,))
            except TypeError:
                continue
            raise AssertionError(f"{function} became a structure")
        """)


def test_names_can_be_pickled_and_copied() -> None:
    run_patched("""
        import copy, os, pickle, threading, time, _thread
        names = (time.sleep, os.read, threading.local, threading.Lock, _thread.get_ident, _thread.LockType)
        for thing in names:
            assert pickle.loads(pickle.dumps(thing)) is thing, thing
            assert copy.deepcopy(thing) is thing
        assert b"greenpool" not in pickle.dumps(time.sleep), "an unpatched process reads it, too"
        """)


def test_a_thread_that_polls_lets_the_others_run() -> None:
    run_patched("""
        import queue, threading
        waiting, seen = queue.Queue(), []
        threading.Thread(target=lambda: seen.append(waiting.get())).start()
        waiting.put(1)
        while not waiting.empty():
            pass
        lock = threading.Lock()
        threading.Thread(target=lock.acquire).start()
        while lock.acquire(blocking=False):
            lock.release()
        """)


def test_the_threads_of_an_executor_end_quietly_with_their_hub() -> None:
    printed = run_patched("""
        from concurrent.futures import ThreadPoolExecutor
        from greenpool import Runtime
        runtime = Runtime(2)
        executor = ThreadPoolExecutor(2)
        assert runtime.spawn(lambda: executor.submit(pow, 2, 3).result()).get() == 8
        assert runtime.spawn(lambda: executor.submit(pow, 2, 4).result()).get() == 16
        runtime.shutdown()
        """)
    assert printed == ""


def test_asyncio_in_a_greenlet() -> None:
    assert (
        run_patched("""
        import asyncio, threading, time
        async def main():
            await asyncio.sleep(0.05)
            return threading.current_thread().name
        seen = []
        thread = threading.Thread(target=lambda: seen.append(asyncio.run(main())), name="loop")
        thread.start()
        while not seen:
            time.sleep(0.001)
        print(seen)
        """)
        == "['loop']\n"
    )


def test_asyncio_in_many_threads_at_the_same_time() -> None:
    """``asyncio.run`` would refuse to run in all threads but the first, because they share an OS thread."""
    assert (
        run_patched("""
        import asyncio, threading
        from greenpool.aio import run_coroutine
        barrier = asyncio.Barrier(3)
        async def meet():
            return await barrier.wait()
        places = []
        threads = [threading.Thread(target=lambda: places.append(run_coroutine(meet()))) for _ in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(sorted(places))
        """)
        == "[0, 1, 2]\n"
    )


def test_thread_and_process_pools() -> None:
    assert (
        run_patched("""
        import time
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
        import multiprocessing
        with ThreadPoolExecutor(50) as threads:
            begin = time.monotonic()
            list(threads.map(time.sleep, [0.1] * 50))
            assert time.monotonic() - begin < 3
        with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as processes:
            print(list(processes.map(abs, range(-3, 0))))
        """)
        == "[3, 2, 1]\n"
    )


def test_a_spawned_process_passes_its_sockets_on(tmp_path: Path) -> None:
    program = """
        import multiprocessing, socket

        def work(connection):
            ours, theirs = socket.socketpair()
            assert "greenpool" in type(ours).__module__
            connection.send(theirs)
            theirs.close()
            ours.sendall(ours.recv(100).upper())
            ours.close()
            connection.recv()  # until the other process has taken the socket

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            connection, of_child = context.Pipe()
            child = context.Process(target=work, args=(of_child,))
            child.start()
            of_child.close()
            with connection.recv() as received:
                received.sendall(b"hello")
                print(received.recv(100))
            connection.send("taken")
            child.join()
        """
    file = tmp_path / "program.py"
    file.write_text(PATCH + textwrap.dedent(program))
    run = subprocess.run(
        [sys.executable, file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=50
    )
    assert (run.stdout, run.returncode) == ("b'HELLO'\n", 0)


def test_a_spawned_process_that_patches_late_uses_the_queue_that_it_was_given(tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    program.write_text(
        textwrap.dedent("""
        import multiprocessing

        def work(queue):
            from greenpool import monkey
            monkey.patch_all()
            queue.put("sent")

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            queue = context.Queue()
            process = context.Process(target=work, args=(queue,))
            process.start()
            assert queue.get(timeout=30) == "sent"
            process.join()
        """)
    )
    subprocess.run([sys.executable, program], check=True, timeout=50)


def test_fork_goes_on_in_the_child() -> None:
    assert (
        run_patched("""
        import os, threading, time
        threading.Thread(target=time.sleep, args=(0.01,)).start()
        pid = os.fork()
        if not pid:
            thread = threading.Thread(target=time.sleep, args=(0.01,))
            thread.start()
            thread.join()
            os._exit(threading.active_count())
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """)
        == "1\n"
    )


# Signals.


def test_handlers_run_as_the_main_thread() -> None:
    run_patched("""
        import os, signal, threading
        seen = []
        def handle(number, frame):
            seen.append((number, threading.current_thread(), threading.get_ident()))
        signal.signal(signal.SIGUSR1, handle)
        assert signal.getsignal(signal.SIGUSR1) is handle
        thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
        thread.start()
        thread.join()
        assert seen == [(signal.SIGUSR1, threading.main_thread(), threading.main_thread().ident)]
        assert signal.signal(signal.SIGUSR1, signal.SIG_DFL) is handle
        """)


@pytest.mark.parametrize("set_up", ["before", "after"])
def test_ctrl_c_in_a_thread_is_raised_in_the_main_program(set_up: str) -> None:
    handler = """
        import signal
        def interrupt(number, frame):
            raise KeyboardInterrupt("mine")
        signal.signal(signal.SIGINT, interrupt)
        """
    script = f"""
        {handler if set_up == "before" else ""}
        {PATCH}
        {handler if set_up == "after" else ""}
        import os, threading, time
        ended = []
        def press():
            os.kill(os.getpid(), signal.SIGINT)
            ended.append(True)
        thread = threading.Thread(target=press)
        try:
            thread.start()
            thread.join()
            time.sleep(30)
        except KeyboardInterrupt as interrupt:
            print(interrupt)
        thread.join()
        assert ended
        """
    assert run("\n".join(line.removeprefix(" " * 8) for line in script.splitlines())) == "mine\n"


def test_finalizers_at_the_interpreter_s_end() -> None:
    """Finalizers may take locks, read locals, sleep and wait for children. Nothing can park any more."""
    assert (
        run_patched("""
        import os, subprocess, sys, threading, time

        class Late:
            def __init__(self):
                self.lock, self.rlock, self.local = threading.Lock(), threading.RLock(), threading.local()
                self.local.value = 1
                self.rlock.acquire()
                self.condition = threading.Condition()
                self.process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
                self.pid = os.posix_spawn("/bin/sleep", ["sleep", "0.01"], os.environ)
                self.pipe = os.pipe()

            def __del__(self, sys=sys, threading=threading, os=os, time=time):
                assert sys.is_finalizing()
                with self.lock, self.rlock, self.condition:
                    assert self.local.value == 1
                    assert self.rlock._recursion_count() == 2
                    self.condition.notify_all()
                    assert not self.lock.acquire(blocking=False)
                assert threading.current_thread() is threading.main_thread()
                time.sleep(0.001)
                os.write(self.pipe[1], b"x")
                assert os.read(self.pipe[0], 1) == b"x"
                assert os.waitpid(self.pid, 0) == (self.pid, 0)
                self.process.stdin.close()
                assert self.process.wait() == 0

        sys.late = Late()
        """)
        == ""
    )


def test_os_threads_that_use_greenlets_come_and_go() -> None:
    """The system gives their identifiers out again. Each thread has a hub of its own all the same."""
    assert (
        run_patched("""
        import greenpool, queue
        Thread = monkey.get_original("threading", "Thread")
        answers = queue.Queue()
        def work():
            answers.put(greenpool.spawn(pow, 2, 3).get())
        for _ in range(20):
            thread = Thread(target=work)
            thread.start()
            assert answers.get() == 8
            greenpool.blocking(thread.join)
        """)
        == ""
    )


def test_sockets_go_to_other_processes_though_multiprocessing_was_imported_before() -> None:
    assert (
        run("""
        import multiprocessing.reduction
        from greenpool import monkey; monkey.patch_all()
        import socket
        assert socket.socket in multiprocessing.reduction.ForkingPickler._extra_reducers
        """)
        == ""
    )
