"""The guard of queues: a reentrant lock, the standard one or the extension's."""

from __future__ import annotations

import pickle
import signal
import threading

import pytest

from greenpool._sync.simple_queue import Guard


def test_its_owner_may_enter_again() -> None:
    guard = Guard()
    entered = threading.Event()

    def enter() -> None:
        with guard:
            entered.set()

    thread = threading.Thread(target=enter)
    with guard:
        with guard:
            thread.start()
        assert not entered.wait(0.02)
    assert entered.wait(10)
    thread.join()


def test_only_its_owner_may_leave() -> None:
    guard = Guard()
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        guard.__exit__(None, None, None)


def test_many_threads_enter_one_after_the_other() -> None:
    guard = Guard()
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(500):
            with guard, guard:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no pthread_kill")
def test_signal_handlers_run_while_a_thread_waits() -> None:
    guard = Guard()
    held, handled = threading.Event(), threading.Event()
    main = threading.get_ident()

    def hold() -> None:
        with guard:
            held.set()
            signal.pthread_kill(main, signal.SIGUSR1)
            assert handled.wait(10)

    before = signal.signal(signal.SIGUSR1, lambda *_: handled.set())
    try:
        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(10)
        with guard:
            assert handled.is_set()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_it_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(Guard())
