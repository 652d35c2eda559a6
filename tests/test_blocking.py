"""``blocking``: calls that would block the hub run on threads that are not hubs."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import greenpool
from greenpool._core.current import thread_hub
from greenpool._core.native import Lock, get_ident
from greenpool.event import Event
from greenpool.threadpool import ThreadPool, blocking, blocking_pool


@pytest.fixture(autouse=True)
def on_a_hub() -> None:
    """Make a hub, because without one blocking() calls the function itself."""
    greenpool.get_hub()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let only one call run at a time."""
    before = blocking_pool.maxsize
    blocking_pool.maxsize = 1
    yield
    blocking_pool.maxsize = before


def run_script(script: str) -> str:
    """Run *script* in an interpreter of its own and return its output. Fail on any error."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=Path(greenpool.__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_the_other_greenlets_go_on() -> None:
    lock = Lock()
    lock.acquire()
    waiting = greenpool.spawn(blocking, lock.acquire)
    greenpool.spawn(lock.release)
    assert waiting.get() is True


def test_value_and_arguments() -> None:
    assert blocking(divmod, 7, 2) == (3, 1)
    assert blocking(dict, function=1, self=2, args=3) == {"function": 1, "self": 2, "args": 3}
    assert blocking(get_ident) != get_ident()


def test_exception_comes_out_with_its_traceback() -> None:
    def fail() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there") as caught:
        blocking(fail)
    assert caught.traceback[-1].name == "fail"


def test_exceptions_that_are_no_Exception_come_out_too() -> None:
    with pytest.raises(SystemExit) as caught:
        blocking(sys.exit, 3)
    assert caught.value.code == 3


def test_refuses_what_is_not_callable() -> None:
    with pytest.raises(TypeError, match="function must be callable, not 42"):
        blocking(42)  # type: ignore[arg-type]


def test_refuses_to_wait_in_the_loop() -> None:
    failures: list[str] = []
    called = Event()

    def callback(_: object) -> None:
        try:
            blocking(int)
        except RuntimeError as error:
            failures.append(str(error))
        called.set()

    greenpool.spawn(int).rawlink(callback)
    called.wait()
    assert "cannot wait in its own loop" in failures[0]


def test_a_thread_without_a_hub_calls_it_itself() -> None:
    seen: list[object] = []

    def main() -> None:
        seen.extend([blocking(get_ident) == get_ident(), thread_hub()])

    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    assert seen == [True, None]


def test_within_itself() -> None:
    assert blocking(lambda: blocking(lambda: blocking(divmod, 7, 2))) == (3, 1)


def test_from_many_hubs() -> None:
    def use(number: int) -> int:
        return sum(blocking(pow, number, 2) for _ in range(5))

    with greenpool.Runtime(pool_size=4) as runtime:
        greenlets = [runtime.spawn(use, number) for number in range(100)]
        assert [one.get() for one in greenlets] == [5 * n * n for n in range(100)]


def test_as_many_threads_as_calls_that_wait_for_each_other() -> None:
    barrier = threading.Barrier(40)
    greenlets = [greenpool.spawn(blocking, barrier.wait) for _ in range(40)]
    assert sorted(one.get() for one in greenlets) == list(range(40))


def test_calls_one_after_the_other_share_a_thread() -> None:
    assert len({blocking(get_ident) for _ in range(50)}) == 1


@pytest.mark.usefixtures("one_thread")
def test_calls_beyond_the_limit_wait_their_turn() -> None:
    order: list[int] = []
    running = Lock()

    def run(number: int) -> None:
        assert running.acquire(blocking=False)
        order.append(number)
        running.release()

    greenlets = [greenpool.spawn(blocking, run, number) for number in range(20)]
    for one in greenlets:
        one.get()
    assert order == list(range(20))


@pytest.mark.usefixtures("one_thread")
def test_a_higher_limit_helps_those_that_wait() -> None:
    barrier = threading.Barrier(3)
    greenlets = [greenpool.spawn(blocking, barrier.wait) for _ in range(3)]
    greenpool.sleep(0)
    blocking_pool.maxsize = 3
    assert sorted(one.get() for one in greenlets) == [0, 1, 2]


class Gate:
    """A function that tells when it has begun, and ends when the test opens the gate."""

    def __init__(self) -> None:
        self.begun = Event()
        self.ended = Event()
        self._lock = Lock()
        self._lock.acquire()

    def __call__(self) -> str:
        self.begun.set()
        self._lock.acquire()
        self.ended.set()
        return "passed"

    def open(self) -> None:
        self._lock.release()


@pytest.mark.usefixtures("one_thread")
def test_a_call_that_was_not_begun_when_its_caller_was_killed_never_runs() -> None:
    gate = Gate()
    calls: list[str] = []
    first = greenpool.spawn(blocking, gate)
    gate.begun.wait()
    second = greenpool.spawn(blocking, calls.append, "second")
    third = greenpool.spawn(blocking, calls.append, "third")
    greenpool.sleep(0)
    assert len(blocking_pool) == 3
    second.kill()
    assert len(blocking_pool) == 2
    gate.open()
    third.get()
    assert first.get() == "passed"
    assert calls == ["third"]


def test_a_killed_caller_goes_on_at_once_and_the_call_to_its_end() -> None:
    gate = Gate()
    caller = greenpool.spawn(blocking, gate)
    gate.begun.wait()
    caller.kill()
    assert isinstance(caller.value, greenpool.GreenletExit)
    assert not gate.ended.is_set()
    gate.open()
    gate.ended.wait()


def test_timeout() -> None:
    gate = Gate()
    with pytest.raises(greenpool.Timeout) as caught, greenpool.Timeout(0.01) as timeout:
        blocking(gate)
    assert caught.value is timeout
    gate.open()
    gate.ended.wait()


def test_the_exception_of_a_call_that_nobody_waits_for_is_dropped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    gate = Gate()

    def fail() -> None:
        gate()
        raise LookupError

    caller = greenpool.spawn(blocking, fail)
    gate.begun.wait()
    caller.kill()
    gate.open()
    gate.ended.wait()
    blocking_pool.join()
    assert capfd.readouterr().err == ""


class Canary:
    """An object whose death the test can see."""


def test_nothing_of_a_call_is_kept() -> None:
    canary = Canary()
    died = Event()
    weakref.finalize(canary, died.set)
    blocking(id, canary)
    del canary
    died.wait()


def test_an_idle_thread_ends() -> None:
    pool = ThreadPool(4, idle_task_timeout=0)
    died = Event()
    in_thread = threading.local()

    def mark() -> None:
        in_thread.canary = Canary()
        weakref.finalize(in_thread.canary, died.set)

    pool.apply(mark)
    died.wait()
    assert pool.apply(divmod, (7, 2)) == (3, 1)


def test_a_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPool(1)
    calls: list[str] = []

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("greenpool._fd.workers.start_new_thread", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.apply(calls.append, ["refused"])
        assert (len(pool), pool.size) == (0, 0)
    pool.apply(calls.append, ["accepted"])
    assert calls == ["accepted"]


def test_exit_does_not_wait_for_a_call() -> None:
    run_script(
        """
        import threading, time, greenpool
        from greenpool.threadpool import blocking

        begun = threading.Event()

        def for_long():
            begun.set()
            time.sleep(600)

        def main():
            caller = greenpool.spawn(blocking, for_long)
            blocking(begun.wait)
            caller.kill()

        greenpool.run(main)
        """
    )


def test_a_forked_child_has_threads_of_its_own() -> None:
    output = run_script(
        """
        import os, threading, warnings, greenpool
        from greenpool.threadpool import ThreadPool, blocking, blocking_pool

        # Python warns of locks that other threads may hold, which are the subject of this test.
        warnings.simplefilter("ignore", DeprecationWarning)
        greenpool.get_hub()
        gate = threading.Event()
        pool = ThreadPool(1)
        waiting = [greenpool.spawn(blocking, gate.wait), greenpool.spawn(pool.apply, gate.wait)]
        greenpool.sleep(0)
        child = os.fork()
        if child == 0:
            assert (len(blocking_pool), blocking_pool.size) == (len(pool), pool.size) == (0, 0)
            assert blocking(divmod, 7, 2) == pool.apply(divmod, (7, 2)) == (3, 1)
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        gate.set()
        print([greenlet.get() for greenlet in waiting])
        """
    )
    assert output.split("\n")[:2] == ["7", "[True, True]"]


def test_a_call_that_forks_leaves_a_child_that_ends() -> None:
    output = run_script(
        """
        import os, warnings, greenpool
        from greenpool.threadpool import blocking

        warnings.simplefilter("ignore", DeprecationWarning)
        greenpool.get_hub()
        child = blocking(os.fork)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert output == "0\n"


PATCH = "from greenpool import monkey; monkey.patch_all()"
IMPORT = "from greenpool.threadpool import ThreadPoolExecutor, blocking"
USE = "import greenpool; greenpool.get_hub(); blocking(int)"


@pytest.mark.parametrize("steps", [[PATCH, IMPORT], [IMPORT, PATCH], [IMPORT, USE, PATCH]])
def test_real_threads_in_a_patched_program(steps: list[str]) -> None:
    script = """
        import threading, greenpool
        from greenpool._core.native import Lock, get_ident

        # These locks block the whole thread that waits, so a green thread would deadlock at them.
        locks = [Lock() for _ in range(3)]
        greenpool.get_hub()
        for lock in locks:
            lock.acquire()
        with ThreadPoolExecutor(1) as executor:
            waiting = executor.submit(locks[0].acquire)
            callers = [threading.Thread(target=blocking, args=(lock.acquire,)) for lock in locks[1:]]
            for caller in callers:
                caller.start()
            greenpool.sleep(0)
            for lock in locks:
                lock.release()
            for caller in callers:
                caller.join()
            assert waiting.result()
        assert blocking(get_ident) != get_ident()
        print("done")
        """
    assert run_script("\n".join([*steps, textwrap.dedent(script)])) == "done\n"
