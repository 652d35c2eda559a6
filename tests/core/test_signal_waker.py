"""The main thread's hub sleeps no longer than until the next signal, no matter which thread gets it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import greenpool
from greenpool._core.current import current_hub
from greenpool._core.pollers import Poller, make_poller
from greenpool._core.pollers.selector import SelectorPoller
from greenpool._core.signal_waker import SignalWaker, in_main_thread
from greenpool.event import Event

pytestmark = pytest.mark.usefixtures("leak_check")

Handle = Callable[[Callable[[], object]], None]


@pytest.fixture
def handle(handlers_as_before: None) -> Handle:
    """Have SIGALRM and SIGUSR1 call the callback that the test gives."""

    def handle(callback: Callable[[], object]) -> None:
        for number in (signal.SIGALRM, signal.SIGUSR1):
            signal.signal(number, lambda signalnum, frame: callback())

    return handle


@pytest.fixture
def wakeup_pair() -> Iterator[tuple[int, socket.socket]]:
    """The program's own wakeup descriptor, set as asyncio sets it, and the socket that reads its bytes."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.settimeout(10)
        assert signal.set_wakeup_fd(near.fileno()) == -1
        yield near.fileno(), far
        signal.set_wakeup_fd(-1)


def strike(thread: threading.Thread) -> None:
    """Have the kernel deliver a signal to *thread*. Python handles it in the main thread."""
    assert thread.ident is not None
    signal.pthread_kill(thread.ident, signal.SIGUSR1)


def soon(callback: Callable[[], object]) -> threading.Thread:
    """Call *callback* in another thread once the hub of this one is asleep."""
    hub = current_hub()

    def wait_and_call() -> None:
        while not hub.inbox.asleep:
            time.sleep(0.001)
        callback()

    thread = threading.Thread(target=wait_and_call)
    thread.start()
    return thread


def test_signals_that_come_just_before_the_sleep(handle: Handle) -> None:
    """The kernel interrupts only a wait that has begun. It may also give the signal to another thread."""
    another_ends = threading.Event()
    another = threading.Thread(target=another_ends.wait)
    another.start()
    event = Event()
    handle(event.set)
    try:
        for i in range(3000):
            event.clear()
            signal.setitimer(signal.ITIMER_REAL, (5 + i % 100) / 1e6)
            assert event.wait(20)
    finally:
        # Otherwise this thread would keep the whole test run from ending.
        another_ends.set()
        another.join()


def test_a_signal_that_another_thread_gets_ends_the_sleep(handle: Handle) -> None:
    handled = threading.Event()
    handle(handled.set)
    waits: list[bool] = []
    done = Event()

    def strike_and_wait() -> None:
        strike(threading.current_thread())
        waits.append(handled.wait(10))
        done.set()

    thread = soon(strike_and_wait)
    done.wait()
    thread.join()
    assert waits == [True]


@pytest.mark.parametrize("make", [make_poller, SelectorPoller])
def test_each_signal_ends_a_poll_once(handle: Handle, make: Callable[[], Poller]) -> None:
    handled: list[bool] = []
    handle(lambda: handled.append(True))
    waker = SignalWaker()
    poller = make()
    poller.register_waker(waker)
    for _ in range(3):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        while not handled:
            waker.poll(poller, 20)
        handled.clear()
        assert waker.poll(poller, 0) == []
    poller.close()
    waker.close()


def test_what_a_handler_raises_leaves_no_descriptor_set(handle: Handle) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    handle(fail)
    thread = soon(lambda: strike(threading.main_thread()))
    with pytest.raises(ZeroDivisionError):
        greenpool.sleep(20)
    thread.join()
    assert signal.set_wakeup_fd(-1) == -1


def test_what_comes_in_is_passed_on_to_the_descriptor_of_the_program(
    handle: Handle, wakeup_pair: tuple[int, socket.socket]
) -> None:
    own, far = wakeup_pair
    event = Event()
    handle(event.set)
    thread = soon(lambda: strike(threading.current_thread()))
    assert event.wait(20)
    thread.join()
    assert far.recv(10) == bytes([signal.SIGUSR1])
    assert signal.set_wakeup_fd(-1) == own


def test_a_descriptor_that_a_handler_sets_stays(handle: Handle) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        event = Event()

        def set_own() -> None:
            signal.set_wakeup_fd(near.fileno())
            event.set()

        handle(set_own)
        thread = soon(lambda: strike(threading.main_thread()))
        assert event.wait(20)
        thread.join()
        assert signal.set_wakeup_fd(-1) == near.fileno()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_child_of_another_threads_fork_does_not_write_to_the_parents_pipe(
    wakeup_pair: tuple[int, socket.socket],
) -> None:
    """The main hub of the parent sleeps on, and nobody writes to its pipe."""
    own, far = wakeup_pair
    statuses: list[int] = []
    event = Event()

    def fork() -> None:
        child = os.fork()
        if child == 0:
            # From Python 3.12 on, asyncio resets the wakeup descriptor in children once it has been imported.
            os._exit(0 if signal.set_wakeup_fd(-1) in (own, -1) else 1)
        statuses.append(os.waitpid(child, 0)[1])
        event.set()

    thread = soon(fork)
    assert event.wait(20)
    thread.join()
    assert statuses == [0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_goes_on_after_the_program_has_closed_its_descriptor(
    run_script: Callable[[str], str],
) -> None:
    run_script("""
import os, signal, socket, threading, time
import greenpool
from greenpool.event import Event

near, far = socket.socketpair()
with near, far:
    near.setblocking(False)
    signal.set_wakeup_fd(near.fileno())
    greenpool.sleep(0.01)
    signal.set_wakeup_fd(-1)
child = os.fork()
if child == 0:
    done = Event()

    def wake():
        time.sleep(0.05)
        done.set()

    threading.Thread(target=wake).start()
    os._exit(not done.wait(10))
assert os.waitpid(child, 0)[1] == 0
""")


def test_the_program_closes_its_descriptor_while_the_hub_sleeps() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        signal.set_wakeup_fd(near.fileno())
        event = Event()

        def close() -> None:
            near.close()
            event.set()

        thread = soon(close)
        assert event.wait(20)
        thread.join()
        assert signal.set_wakeup_fd(-1) == -1


def test_only_the_main_thread_has_one() -> None:
    found: list[tuple[bool, bool]] = []

    def look() -> None:
        found.append((in_main_thread(), current_hub().signals is not None))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    look()
    assert found == [(False, False), (True, True)]
