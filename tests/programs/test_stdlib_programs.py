"""Patched programs that use the standard library's other ways to run things side by side.

These are fork, multiprocessing, the pools of concurrent.futures, and asyncio.run() in a greenlet.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import run_patched


@pytest.fixture(
    params=[
        "fork",
        pytest.param("spawn", marks=pytest.mark.slow),
        pytest.param("forkserver", marks=pytest.mark.slow),
    ]
)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# multiprocessing's children import the program, so it has to contain the functions that they call.
MULTIPROCESSING = """
    import concurrent.futures, multiprocessing, os

    def square(number):
        return number * number

    def echo(incoming, outgoing):
        # A child has green threads, too.
        def work(number):
            for item in iter(incoming.get, None):
                time.sleep(0.01)
                outgoing.put((item, os.getpid()))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def count(lock, counter):
        for _ in range(100):
            with lock:
                counter.value += 1

    def until_told():
        while not os.path.exists("told"):
            time.sleep(0.01)

    def progress_during(function):
        # Count the beats of another greenlet while *function* waits. The children end once it has made
        # progress.
        ended, beats = threading.Event(), []
        def beat():
            while not ended.wait(0.001):
                beats.append(None)
                if len(beats) == 6:
                    open("told", "w").close()
        thread = threading.Thread(target=beat)
        thread.start()
        try:
            function()
        finally:
            ended.set()
            thread.join()
        return len(beats)

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
"""


def test_process(method: str, tmp_path: Path) -> None:
    program = (
        MULTIPROCESSING
        + """
        child = context.Process(target=until_told)
        child.start()
        assert progress_during(child.join) > 5
        assert child.exitcode == 0

        sleeper = context.Process(target=time.sleep, args=(60,))
        sleeper.start()
        sleeper.join(0.05)
        assert sleeper.is_alive()
        sleeper.terminate()
        sleeper.join()
        assert sleeper.exitcode == -15
    """
    )
    run_patched(program, method, directory=tmp_path)


def test_queues(method: str, tmp_path: Path) -> None:
    program = (
        MULTIPROCESSING
        + """
        incoming, outgoing = context.Queue(), context.Queue()
        children = [context.Process(target=echo, args=(incoming, outgoing)) for _ in range(2)]
        for child in children:
            child.start()
        for number in range(40):
            incoming.put(number)
        got = [outgoing.get() for _ in range(40)]
        for _ in range(4):
            incoming.put(None)
        for child in children:
            child.join()
            assert child.exitcode == 0
        assert sorted(item for item, _ in got) == list(range(40))
        assert os.getpid() not in {pid for _, pid in got}
    """
    )
    run_patched(program, method, directory=tmp_path)


def test_locks(method: str, tmp_path: Path) -> None:
    program = (
        MULTIPROCESSING
        + """
        lock, counter = context.Lock(), context.Value("i", 0, lock=False)
        children = [context.Process(target=count, args=(lock, counter)) for _ in range(3)]
        with lock:
            for child in children:
                child.start()
            # No process gets the lock meanwhile, and waiting for it blocks no other greenlet.
            def acquire_in_vain():
                while not os.path.exists("told"):
                    assert not lock.acquire(timeout=0.1)
            assert progress_during(acquire_in_vain) > 5
            threads = [threading.Thread(target=count, args=(lock, counter)) for _ in range(3)]
            for thread in threads:
                thread.start()
        for runner in (*threads, *children):
            runner.join()
        assert counter.value == 600

        # A greenlet owns the lock, not the OS thread that greenlets share.
        lock = context.RLock()
        def try_it():
            got.append(lock.acquire(block=False))
        got = []
        with lock, lock:
            thread = threading.Thread(target=try_it)
            thread.start()
            thread.join()
        assert got == [False]
    """
    )
    run_patched(program, method, directory=tmp_path)


def test_pool(method: str, tmp_path: Path) -> None:
    program = (
        MULTIPROCESSING
        + """
        with context.Pool(2) as pool:
            assert pool.map(square, range(20)) == [number * number for number in range(20)]
            result = pool.apply_async(until_told)
            assert progress_during(result.get) > 5
        pool.join()
    """
    )
    run_patched(program, method, directory=tmp_path)


def test_manager(method: str, tmp_path: Path) -> None:
    program = (
        MULTIPROCESSING
        + """
        with context.Manager() as manager:
            numbers = manager.dict()
            def fill(number):
                # Each thread has a connection of its own to the manager's process.
                for repetition in range(10):
                    numbers[number] = repetition
            threads = [threading.Thread(target=fill, args=(number,)) for number in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert dict(numbers) == dict.fromkeys(range(5), 9)
    """
    )
    run_patched(program, method, directory=tmp_path)


def test_process_pool_executor(method: str, tmp_path: Path) -> None:
    program = (
        MULTIPROCESSING
        + """
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            assert list(executor.map(square, range(20))) == [number * number for number in range(20)]
            future = executor.submit(until_told)
            assert progress_during(future.result) > 5
    """
    )
    run_patched(program, method, directory=tmp_path)


def test_thread_pool_executor(tmp_path: Path) -> None:
    program = """
        from concurrent.futures import ThreadPoolExecutor, as_completed, wait

        with ThreadPoolExecutor(50) as executor:
            futures = [executor.submit(time.sleep, 0.1) for _ in range(50)]
            assert fifty(lambda number: futures[number].result()) == [None] * 50
            assert set(as_completed(futures)) == wait(futures).done == set(futures)
            assert list(executor.map(abs, range(-100, 0))) == list(range(100, 0, -1))
    """
    run_patched(program, directory=tmp_path)


def test_fork(tmp_path: Path) -> None:
    program = """
        import os

        def child(number):
            # Only the greenlet that forked goes on. New threads, locks and pipes work.
            results = []
            thread = threading.Thread(target=lambda: (time.sleep(0.01), results.append(number)))
            thread.start()
            thread.join()
            os._exit(results[0] if threading.active_count() == 1 else 99)

        def fork(number):
            pid = os.fork()
            if not pid:
                child(number)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        assert fork(7) == 7
        assert fifty(fork) == list(range(50))
    """
    run_patched(program, directory=tmp_path)


def test_register_at_fork(tmp_path: Path) -> None:
    program = """
        import os

        calls = []
        os.register_at_fork(
            before=lambda: calls.append("before"),
            after_in_parent=lambda: calls.append("parent"),
            after_in_child=lambda: calls.append("child"),
        )
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(write, " ".join(calls).encode())
            os._exit(0)
        assert os.read(read, 100) == b"before child"
        assert os.waitpid(pid, 0) == (pid, 0)
        assert calls == ["before", "parent"]
    """
    run_patched(program, directory=tmp_path)


@pytest.mark.slow
def test_subprocesses(tmp_path: Path) -> None:
    program = """
        import subprocess

        def run(number):
            return subprocess.run(
                ["sh", "-c", "sleep 0.1; cat; exit 3"], input=b"x" * number, capture_output=True
            )

        for number, done in enumerate(fifty(run)):
            assert (done.returncode, done.stdout, done.stderr) == (3, b"x" * number, b"")
    """
    run_patched(program, directory=tmp_path)


@pytest.mark.slow
def test_asyncio_lets_the_other_greenlets_run(tmp_path: Path) -> None:
    program = """
        import asyncio

        async def echo(reader, writer):
            writer.write(await reader.readline())
            writer.close()
            await writer.wait_closed()

        async def client(port, number):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.1)
            writer.write(f"{number}\\n".encode())
            line = await reader.read()
            writer.close()
            await writer.wait_closed()
            return int(line)

        async def main():
            loop = asyncio.get_running_loop()
            async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                numbers = await asyncio.gather(*(client(port, number) for number in range(20)))
            assert numbers == list(range(20))
            assert await asyncio.to_thread(lambda: time.sleep(0.1) or "slept") == "slept"
            assert await loop.run_in_executor(None, sum, range(10)) == 45
            process = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
            assert (await process.communicate())[0] == b"hello\\n"
            return "done"

        beats = []

        def beat():
            while not ended.is_set():
                time.sleep(0.001)
                beats.append(None)

        ended, results = threading.Event(), []
        heart = threading.Thread(target=beat)
        runner = threading.Thread(target=lambda: results.append(asyncio.run(main())))
        heart.start()
        runner.start()
        runner.join()
        ended.set()
        heart.join()
        assert results == ["done"]
        assert len(beats) > 10
        # The main greenlet can run a loop, too, after the first one has ended.
        assert asyncio.run(asyncio.sleep(0.01, "again")) == "again"
    """
    run_patched(program, directory=tmp_path)


def test_many_threads_of_a_hub_each_run_a_loop(tmp_path: Path) -> None:
    program = """
        import asyncio

        async def request():
            loop = asyncio.get_running_loop()
            await asyncio.sleep(0.1)
            assert asyncio.get_running_loop() is loop

        fifty(lambda number: asyncio.run(request()))
    """
    run_patched(program, directory=tmp_path)
