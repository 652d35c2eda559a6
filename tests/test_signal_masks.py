"""Each green thread has a signal mask of its own, and the main program's is the kernel's."""

from __future__ import annotations

import os
import signal as standard
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from test_monkey import PATCH, run

import greenpool
from greenpool import os as green_os
from greenpool import signal, subprocess, thread
from greenpool.event import Event

pytestmark = [
    pytest.mark.skipif(not hasattr(standard, "pthread_sigmask"), reason="this system has no signal masks"),
    pytest.mark.usefixtures("leak_check", "handlers_as_before"),
]


def block(*signals: int) -> set[int]:
    """The mask before."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, signals)


def mask() -> set[int]:
    return block()


def test_a_greenlet_s_mask_is_its_own() -> None:
    def work() -> list[set[int]]:
        masks = [block(signal.SIGUSR1), block(signal.SIGUSR2)]
        greenpool.sleep(0)
        masks.append(signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1]))
        masks.append(signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGTERM, signal.SIGKILL]))
        masks.append(mask())
        return masks

    before = mask()
    working = greenpool.spawn(work)
    greenpool.sleep(0)
    assert mask() == greenpool.spawn(mask).get() == before
    usr1, usr2, term = signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM
    assert working.get() == [before, before | {usr1}, before | {usr1, usr2}, before | {usr2}, {term}]
    assert all(isinstance(number, signal.Signals) for number in working.get()[2])
    assert mask() == before


def test_a_greenlet_without_a_mask_has_that_of_its_os_thread() -> None:
    before = block(signal.SIGUSR1)
    try:
        assert greenpool.spawn(mask).get() == before | {signal.SIGUSR1}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_thread_inherits_the_mask_of_its_starter() -> None:
    def start() -> None:
        block(signal.SIGUSR1)
        thread.start_new_thread(lambda: found.append(mask()) or done.set(), ())
        block(signal.SIGUSR2)

    found: list[set[int]] = []
    done = Event()
    greenpool.spawn(start)
    done.wait()
    assert found == [mask() | {signal.SIGUSR1}]


@pytest.mark.parametrize(
    ("how", "signals"),
    [
        (99, []),
        (signal.SIG_BLOCK, [0]),
        (signal.SIG_BLOCK, [65]),
        (signal.SIG_BLOCK, ["1"]),
        (signal.SIG_BLOCK, 1),
    ],
)
def test_refuses_what_the_standard_one_refuses(how: Any, signals: Any) -> None:
    def refuse() -> None:
        with pytest.raises((OSError, TypeError, ValueError)) as expected:
            standard.pthread_sigmask(how, signals)
        with pytest.raises(expected.type):
            signal.pthread_sigmask(how, signals)

    greenpool.spawn(refuse).get()


def test_what_a_green_thread_blocks_is_handled_all_the_same() -> None:
    """Handlers run as the main program, which does not block the signal."""
    event = Event()
    signal.signal(signal.SIGUSR1, lambda signum, frame: event.set())
    greenpool.spawn(
        lambda: (block(signal.SIGUSR1), os.kill(os.getpid(), signal.SIGUSR1), greenpool.sleep(0.1))
    )
    assert event.wait(10)


# Child processes.


SHOW = "grep SigBlk /proc/self/status"


def with_popen() -> str:
    return subprocess.check_output(SHOW.split(), text=True)


def with_system() -> str:
    with tempfile.NamedTemporaryFile("r") as file:
        # A shell clears the mask for what it starts, but not for what it becomes.
        green_os.system(f"exec {SHOW} > {file.name}")
        return file.read()


def with_posix_spawn() -> str:
    reading, writing = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writing, 1)]
    pid = green_os.posix_spawnp("grep", SHOW.split(), os.environ, file_actions=actions)
    green_os.waitpid(pid, 0)
    return read_all(reading, writing)


def with_fork() -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with open("/proc/self/status") as status:
            os.write(writing, next(line for line in status if line.startswith("SigBlk")).encode())
        # It is the main program of the child, so this goes to the kernel.
        standard.pthread_sigmask(signal.SIG_SETMASK, [])
        os._exit(bool(mask()))
    assert green_os.waitpid(pid, 0)[1] == 0
    return read_all(reading, writing)


def read_all(reading: int, writing: int) -> str:
    os.close(writing)
    with open(reading) as file:
        return file.read()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the mask is read from /proc")
@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("start", [with_popen, with_system, with_posix_spawn, with_fork])
def test_a_child_process_has_the_mask_of_its_starter(start: Callable[[], str]) -> None:
    def work() -> set[int]:
        signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1])
        _, bits = start().split()
        return {number for number in range(1, 65) if int(bits, 16) >> (number - 1) & 1}

    before = mask()
    assert greenpool.spawn(work).get() == {signal.SIGUSR1}
    assert mask() == before
    _, bits = start().split()
    assert bool(int(bits, 16)) == bool(before)


def test_multiprocessing_s_threads_leave_the_program_s_mask_alone() -> None:
    """The thread that hands out sockets blocks all signals."""
    assert (
        run(
            PATCH
            + """
import multiprocessing.reduction, signal, socket, subprocess, time
ours, theirs = socket.socketpair()
multiprocessing.reduction.ForkingPickler.dumps(ours)
time.sleep(0.01)
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
child = subprocess.Popen(["sleep", "30"])
child.terminate()
print(child.wait(20))
"""
        )
        == "set()\n-15\n"
    )


# Signals for one green thread.


def test_a_signal_for_a_thread_that_blocks_it_pends_there() -> None:
    def wait() -> None:
        block(signal.SIGUSR1, signal.SIGUSR2)
        blocked.set()
        sent.wait()
        found.append(signal.sigpending())
        found.append(signal.sigwait([signal.SIGUSR1]))
        found.append(signal.sigpending())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        found.append(signal.sigpending())
        done.set()

    found: list[Any] = []
    handled: list[int] = []
    blocked, sent, done = Event(), Event(), Event()
    signal.signal(signal.SIGUSR2, lambda signum, frame: handled.append(signum))
    ident = thread.start_new_thread(wait, ())
    blocked.wait()
    signal.pthread_kill(ident, signal.SIGUSR1)
    signal.pthread_kill(ident, signal.SIGUSR2)
    assert signal.sigpending() == set()
    sent.set()
    done.wait()
    assert found == [{signal.SIGUSR1, signal.SIGUSR2}, signal.SIGUSR1, {signal.SIGUSR2}, set()]
    assert handled == [signal.SIGUSR2]


def test_sigwait_learns_of_a_signal_that_is_sent_to_its_thread() -> None:
    def wait() -> None:
        block(signal.SIGUSR1)
        blocked.set()
        found.append(signal.sigwaitinfo([signal.SIGUSR1]).si_signo)
        done.set()

    found: list[int] = []
    blocked, done = Event(), Event()
    ident = thread.start_new_thread(wait, ())
    blocked.wait()
    greenpool.sleep(0.002)
    signal.pthread_kill(ident, signal.SIGUSR1)
    done.wait()
    assert found == [signal.SIGUSR1]


def test_a_signal_for_a_thread_that_lets_it_in_is_handled() -> None:
    handled = Event()
    signal.signal(signal.SIGUSR1, lambda signum, frame: handled.set())
    end = Event()
    ident = thread.start_new_thread(end.wait, ())
    greenpool.sleep(0)
    signal.pthread_kill(ident, 0)
    signal.pthread_kill(ident, signal.SIGUSR1)
    assert handled.wait(10)
    end.set()


def test_a_thread_that_has_ended_gets_no_signal() -> None:
    """An identifier of no thread is an error. The C function would crash."""
    ident = thread.start_new_thread(int, ())
    greenpool.idle()
    with pytest.raises(ProcessLookupError):
        signal.pthread_kill(ident, signal.SIGUSR1)
