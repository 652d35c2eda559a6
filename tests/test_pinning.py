"""Hubs pinned to CPUs: ``Builder.pin_to_cpus``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from greenpool import Builder, Runtime
from greenpool._core import affinity
from greenpool._core.native import HAS_GIL
from greenpool.threadpool import ThreadPool

pytestmark = pytest.mark.usefixtures("leak_check")


@pytest.fixture
def cpus() -> Iterator[set[int]]:
    """The CPUs of the test's thread, which has them at its end, too."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot pin threads")
    before = os.sched_getaffinity(0)
    yield before
    assert os.sched_getaffinity(0) == before
    assert affinity._unpinned is None


def cpus_of(runtime: Runtime) -> list[set[int]]:
    handle = runtime.handle()
    return [handle.spawn_on(index, os.sched_getaffinity, 0).get() for index in range(runtime.pool_size)]


@pytest.mark.skipif(not HAS_GIL, reason="with a GIL")
def test_hubs_that_share_a_gil_share_a_cpu_with_the_thread_that_builds_them(cpus: set[int]) -> None:
    with Builder().pool_size(3).pin_to_cpus().build() as runtime:
        (cpu,) = os.sched_getaffinity(0)
        assert cpu in cpus
        assert cpus_of(runtime) == [{cpu}] * 3
    assert os.sched_getaffinity(0) == cpus


@pytest.mark.skipif(HAS_GIL, reason="without a GIL")
def test_hubs_without_a_gil_have_a_cpu_each(cpus: set[int]) -> None:
    hubs = len(cpus) + 1
    with Runtime(hubs, pin_to_cpus=True) as runtime:
        assert os.sched_getaffinity(0) == cpus
        *different, again = cpus_of(runtime)
        assert set().union(*different) == cpus
        assert again == different[0]


def test_hubs_are_not_pinned_unless_asked_for(cpus: set[int]) -> None:
    for runtime in (Runtime(2), Builder().pool_size(2).pin_to_cpus(False).build()):
        with runtime:
            assert cpus_of(runtime) == [cpus] * 2


def test_threads_for_blocking_calls_are_not_pinned(cpus: set[int]) -> None:
    with Runtime(1, pin_to_cpus=True) as runtime:
        # A thread that was there before may get the call, so there is a pool of threads of its own.
        def on_new_thread() -> set[int]:
            threads = ThreadPool(1)
            try:
                return threads.apply(os.sched_getaffinity, (0,))
            finally:
                threads.kill()

        assert runtime.handle().spawn(on_new_thread).get() == cpus


def test_pools_may_end_in_any_order(cpus: set[int]) -> None:
    first = Runtime(1, pin_to_cpus=True)
    second = Runtime(1, pin_to_cpus=True)
    first.shutdown()
    with second:
        assert len(cpus_of(second)[0]) == 1
    assert os.sched_getaffinity(0) == cpus


def test_a_pool_that_another_thread_ends(cpus: set[int]) -> None:
    runtime = Runtime(1, pin_to_cpus=True)
    thread = threading.Thread(target=runtime.shutdown)
    thread.start()
    thread.join()
    assert os.sched_getaffinity(0) == cpus


def test_a_pool_whose_builder_has_ended(cpus: set[int]) -> None:
    runtimes: list[Runtime] = []
    thread = threading.Thread(target=lambda: runtimes.append(Runtime(1, pin_to_cpus=True)))
    thread.start()
    thread.join()
    runtimes[0].shutdown()


def test_a_pool_that_does_not_start(cpus: set[int]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Builder().pool_size(2).pin_to_cpus().after_start(fail).build()


def test_the_child_of_a_fork_is_not_pinned(cpus: set[int]) -> None:
    program = (
        "import os, greenpool\n"
        "before = os.sched_getaffinity(0)\n"
        "def fork():\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        os._exit(os.sched_getaffinity(0) != before)\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "with greenpool.Runtime(1, pin_to_cpus=True) as runtime:\n"
        "    print(fork(), runtime.handle().spawn(fork).get())\n"
    )
    output = subprocess.check_output([sys.executable, "-W", "ignore", "-c", program], text=True, timeout=30)
    assert output.split() == ["0", "0"]


def test_a_system_that_cannot_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(NotImplementedError, match=r"pin_to_cpus needs os\.sched_setaffinity"):
        Builder().pin_to_cpus()
    with pytest.raises(NotImplementedError, match=r"pin_to_cpus needs os\.sched_setaffinity"):
        Runtime(1, pin_to_cpus=True)
