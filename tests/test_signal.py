"""``greenpool.signal``: waiting for a signal parks the greenlet, and handlers run while hubs wait."""

from __future__ import annotations

import os
import signal as standard
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import greenpool
from greenpool import signal, socket, thread
from greenpool._core import PACKAGE, signal_handler
from greenpool.event import Event
from greenpool.lock import Lock
from greenpool.queue import Queue

pytestmark = pytest.mark.usefixtures("leak_check", "handlers_as_before")


def nothing(signum: int, frame: object) -> None:
    pass


class Oops(Exception):
    pass


def fail(signum: int, frame: object) -> None:
    raise Oops


# Handlers.


def sleep() -> None:
    greenpool.sleep(30)


def wait_for_an_event() -> None:
    Event().wait()


def receive() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.recv(1)


@pytest.mark.parametrize("wait", [sleep, wait_for_an_event, receive])
def test_what_a_handler_raises_is_raised_where_the_main_program_waits(
    wait: Callable[[], None],
) -> None:
    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with pytest.raises(Oops):
        wait()
    # The hub still works.
    assert greenpool.spawn(lambda: 7).get() == 7


def test_a_handler_may_wake_a_greenlet() -> None:
    event = Event()
    signal.signal(signal.SIGALRM, lambda signum, frame: event.set())
    waiting = greenpool.spawn(event.wait)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    assert waiting.get() is True


def test_a_handler_is_called_while_other_hubs_work() -> None:
    event = Event()
    signal.signal(signal.SIGUSR1, lambda signum, frame: event.set())
    with greenpool.Runtime(pool_size=2) as runtime:
        waiting = [runtime.spawn(event.wait) for _ in range(4)]
        runtime.spawn(os.kill, os.getpid(), signal.SIGUSR1)
        assert [greenlet.get() for greenlet in waiting] == [True] * 4


def test_a_handler_may_wait_for_what_it_has_interrupted() -> None:
    """A green thread holds a lock and computes. The handler that interrupts it there takes the lock."""
    lock = Lock()
    order = []

    def handler(signum: int, frame: object) -> None:
        order.append("handler")
        with lock:
            order.append("handler has the lock")

    def compute() -> None:
        with lock:
            signal.raise_signal(signal.SIGUSR1)
            order.append("computed")

    signal.signal(signal.SIGUSR1, handler)
    greenpool.spawn(compute).join()
    greenpool.idle()
    assert order == ["handler", "computed", "handler has the lock"]


def test_handlers_that_wait_strike_anywhere() -> None:
    """A handler may interrupt the hub, a park between two bytecodes, or the main program. All go on."""
    handled = []
    finished = Event()

    def handler(signum: int, frame: object) -> None:
        greenpool.sleep(0.0001)
        handled.append(greenpool.sleep(0))
        if len(handled) >= 300:
            signal.setitimer(signal.ITIMER_REAL, 0)
            finished.set()
        else:
            signal.setitimer(signal.ITIMER_REAL, 0.0003)

    def work(seconds: float) -> None:
        while not finished.is_set():
            greenpool.sleep(seconds)

    signal.signal(signal.SIGALRM, handler)
    working = [greenpool.spawn(work, seconds) for seconds in (0, 0.0001, 0.0003)]
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    while not finished.wait(0.0002):
        pass
    greenpool.joinall(working, raise_error=True)
    assert len(handled) >= 300


def test_what_a_handler_raises_after_it_has_waited_is_raised_in_the_main_program() -> None:
    def handler(signum: int, frame: object) -> None:
        greenpool.sleep(0)
        raise Oops

    signal.signal(signal.SIGUSR1, handler)
    greenpool.spawn(signal.raise_signal, signal.SIGUSR1)
    with pytest.raises(Oops):
        greenpool.sleep(30)
    assert greenpool.spawn(lambda: 7).get() == 7


def test_a_handler_stays_the_main_thread_when_it_has_waited() -> None:
    identifiers = []

    def handler(signum: int, frame: object) -> None:
        for _ in range(2):
            identifiers.append(thread.get_ident())
            greenpool.sleep(0)

    signal.signal(signal.SIGUSR1, handler)
    greenpool.spawn(signal.raise_signal, signal.SIGUSR1).join()
    greenpool.idle()
    assert identifiers == [threading.main_thread().ident] * 2


def test_a_handler_may_start_a_greenlet_and_wait_for_it_while_the_hub_waits() -> None:
    done = Event()

    def handler(signum: int, frame: object) -> None:
        if greenpool.spawn(lambda: 7).get() == 7:
            done.set()

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    assert done.wait()


# The main program stands still while a handler waits.


needs_tracing = pytest.mark.skipif(sys.gettrace() is not None, reason="another tracer has the trace function")


class Log(list[str]):
    """What a handler and the main program do, in order."""

    def handler(self, name: str, seconds: float = 0.01) -> Callable[[int, object], None]:
        def handle(signum: int, frame: object) -> None:
            self.append(f"{name} begins")
            greenpool.sleep(seconds)
            self.append(f"{name} ends")

        return handle


def test_the_main_program_stands_still_until_a_handler_has_returned() -> None:
    """What it waits for comes meanwhile. The other greenlets go on."""
    log = Log()
    event = Event()
    signal.signal(signal.SIGUSR1, log.handler("handler"))

    def interrupt() -> None:
        signal.raise_signal(signal.SIGUSR1)
        event.set()
        log.append("other")

    greenpool.spawn(interrupt)
    event.wait()
    log.append("main")
    assert log == ["handler begins", "other", "handler ends", "main"]


@pytest.mark.parametrize(
    "wait",
    [
        lambda: greenpool.sleep(0),
        lambda: greenpool.sleep(0.001),
        lambda: greenpool.spawn(int).join(),
        lambda: Event().wait(0.001),
        lambda: signal.sigtimedwait([signal.SIGUSR2], 0.001),
    ],
)
def test_whatever_the_main_program_waits_for(wait: Callable[[], object]) -> None:
    log = Log()
    signal.signal(signal.SIGUSR1, log.handler("handler"))
    greenpool.spawn(signal.raise_signal, signal.SIGUSR1)
    wait()
    log.append("main")
    assert log == ["handler begins", "handler ends", "main"]


def test_a_timeout_of_the_main_program_s_wait_passes_meanwhile() -> None:
    signal.signal(signal.SIGUSR1, Log().handler("handler", 0.02))
    greenpool.spawn(signal.raise_signal, signal.SIGUSR1)
    begin = time.monotonic()
    assert not Event().wait(0.001)
    assert time.monotonic() - begin >= 0.02


def test_a_handler_stands_still_for_the_one_that_interrupts_it() -> None:
    """In plain Python it is the same: the second one runs on top of the first."""
    log = Log()
    signal.signal(signal.SIGUSR1, log.handler("outer", 0.01))
    signal.signal(signal.SIGUSR2, log.handler("inner", 0.05))
    greenpool.spawn(signal.raise_signal, signal.SIGUSR1)
    greenpool.spawn(signal.raise_signal, signal.SIGUSR2)
    greenpool.sleep(0)
    log.append("main")
    assert log == ["outer begins", "inner begins", "inner ends", "outer ends", "main"]


@needs_tracing
@pytest.mark.parametrize("place", ["ended", "remove"])
def test_a_handler_that_strikes_at_the_end_of_another_is_waited_for(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    signal.signal(signal.SIGUSR1, log.handler("first", 0.001))
    signal.signal(signal.SIGUSR2, log.handler("second", 0.02))
    # Code of the package, as far as a signal can see.
    namespace: dict[str, Any] = {"raise_signal": standard.raise_signal}
    exec(compile("def strike(signum): raise_signal(signum)", f"{PACKAGE}struck.py", "exec"), namespace)
    strike = namespace["strike"]
    struck = []

    def strike_once() -> None:
        if not struck:
            struck.append(True)
            strike(signal.SIGUSR2)

    class Running(list[Any]):
        def remove(self, handler: object) -> None:
            if place == "remove":
                strike_once()
            super().remove(handler)

    class Greenlet(signal_handler.HandlerGreenlet):
        def __setattr__(self, name: str, value: object) -> None:
            if (place, name, value) == ("ended", "ended", True):
                strike_once()
            super().__setattr__(name, value)

    monkeypatch.setattr(signal_handler, "running_handlers", Running())
    monkeypatch.setattr(signal_handler, "HandlerGreenlet", Greenlet)
    strike(signal.SIGUSR1)
    log.append("main")
    assert log == ["first begins", "first ends", "second begins", "second ends", "main"]


def test_what_a_handler_raises_while_another_waits_is_raised_there() -> None:
    """Ctrl-C in a handler that waits: the handler gets the exception, and then the main program."""
    log = Log()

    def outer(signum: int, frame: object) -> None:
        try:
            greenpool.sleep(30)
        except Oops:
            log.append("outer")
            raise

    signal.signal(signal.SIGUSR1, outer)
    signal.signal(signal.SIGUSR2, fail)
    greenpool.spawn(signal.raise_signal, signal.SIGUSR1)
    greenpool.spawn(signal.raise_signal, signal.SIGUSR2)
    with pytest.raises(Oops) as caught:
        greenpool.sleep(0.001)
    assert log == ["outer"]
    assert caught.value.__context__ is None
    assert greenpool.spawn(lambda: 7).get() == 7


@needs_tracing
def test_what_a_handler_raises_after_the_wait_has_ended_is_raised_behind_it() -> None:
    """What the wait has got is not lost. The main program does not go on without the exception."""

    def handler(signum: int, frame: object) -> None:
        greenpool.sleep(0.01)
        raise Oops

    signal.signal(signal.SIGUSR1, handler)
    queue = Queue[int]()
    greenpool.spawn(signal.raise_signal, signal.SIGUSR1)
    greenpool.spawn(queue.put, 1)
    got = []
    with pytest.raises(Oops):
        got.append(queue.get())
        got.append(2)
    assert got == [1]
    greenpool.sleep(0)
    assert sys.gettrace() is None


@needs_tracing
def test_a_handler_that_interrupts_this_package_s_code_for_the_main_program() -> None:
    """That code goes on, because it may hold what the handler waits for, but not the main program."""
    log = Log()
    signal.signal(signal.SIGUSR1, log.handler("handler"))

    # Code of a file of the package, so that it is taken for the package's.
    names: dict[str, Any] = {"kill": os.kill, "pid": os.getpid(), "number": signal.SIGUSR1, "log": log}
    source = "def within():\n kill(pid, number)\n log.append('within')"
    exec(compile(source, str(Path(greenpool.__file__).parent / "within.py"), "exec"), names)
    greenpool.sleep(0)
    names["within"]()
    log.append("main")
    assert log == ["handler begins", "within", "handler ends", "main"]


@pytest.mark.slow
def test_the_main_program_stands_still_whenever_the_signals_come() -> None:
    """Two signals, hundreds of times, while the main program sleeps, waits for a greenlet, and reads."""
    running: list[int] = []
    handled = [0]
    wrong = []

    def handle(signum: int, frame: object) -> None:
        depth = len(running)
        running.append(signum)
        greenpool.sleep(0.0003)
        if len(running) != depth + 1:
            wrong.append(signum)
        running.pop()
        handled[0] += 1
        if signum == signal.SIGALRM and handled[0] < 1000:
            signal.setitimer(signal.ITIMER_REAL, 0.0002 + handled[0] % 7 * 0.0001)

    def kill() -> None:
        while handled[0] < 1000:
            greenpool.sleep(0.0007)
            os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGALRM, handle)
    signal.signal(signal.SIGUSR1, handle)
    killing = greenpool.spawn(kill)
    signal.setitimer(signal.ITIMER_REAL, 0.0002)
    near, far = socket.socketpair()
    with near, far:
        while handled[0] < 1000:
            for operation in (
                lambda: greenpool.sleep(0),
                lambda: greenpool.sleep(0.0003),
                lambda: greenpool.spawn(int).join(),
                lambda: near.recv(far.send(b"x")),
            ):
                operation()
                if running:
                    wrong.append(0)
    killing.join()
    assert not wrong


# pause


def test_a_pause_that_is_given_up_leaves_that_of_another_as_it_is() -> None:
    """The descriptor of the given-up pause is closed. Another file may have it when the next signal comes."""
    signal.signal(signal.SIGUSR1, nothing)
    first = greenpool.spawn(signal.pause)
    second = greenpool.spawn(signal.pause)
    greenpool.sleep(0)
    first.kill()
    signal.raise_signal(signal.SIGUSR1)
    second.join()
    assert signal.set_wakeup_fd(-1) == -1


def test_pause_in_the_child_of_a_fork() -> None:
    program = """
        import os, signal, threading
        import greenpool
        from greenpool import monkey
        monkey.patch_all()

        def fork():
            child = os.fork()
            if not child:
                signal.signal(signal.SIGUSR1, lambda *arguments: os.write(1, b"handled "))
                greenpool.spawn(os.kill, os.getpid(), signal.SIGUSR1)
                signal.pause()
                os.write(1, b"went on")
                os._exit(0)
            os.waitpid(child, 0)

        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    """
    process = subprocess.run(
        [sys.executable, "-Wignore", "-c", textwrap.dedent(program)], capture_output=True, check=True
    )
    assert process.stdout == b"handled went on"


def test_pause_parks() -> None:
    signal.signal(signal.SIGUSR1, nothing)
    waiting = greenpool.spawn(signal.pause)
    greenpool.sleep(0.002)
    assert not waiting.ready()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert waiting.get() is None


def test_pause_of_several_greenlets_in_turn() -> None:
    signal.signal(signal.SIGUSR1, nothing)
    for _ in range(3):
        waiting = greenpool.spawn(signal.pause)
        greenpool.sleep(0)
        signal.raise_signal(signal.SIGUSR1)
        waiting.join()


def test_pause_raises_what_the_handler_raises() -> None:
    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with pytest.raises(Oops):
        signal.pause()
    assert signal.set_wakeup_fd(-1) == -1


def test_pause_goes_on_after_an_ignored_signal() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    waiting = greenpool.spawn(signal.pause)
    greenpool.sleep(0)
    os.kill(os.getpid(), signal.SIGUSR1)
    greenpool.sleep(0.002)
    assert not waiting.ready()
    waiting.kill()
    assert signal.set_wakeup_fd(-1) == -1


def test_pause_passes_on_to_the_wakeup_descriptor_that_was_set() -> None:
    """For example, the wakeup descriptor of a running asyncio loop."""
    signal.signal(signal.SIGUSR1, nothing)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        assert signal.set_wakeup_fd(near.fileno()) == -1
        waiting = greenpool.spawn(signal.pause)
        greenpool.sleep(0)
        os.kill(os.getpid(), signal.SIGUSR1)
        waiting.join()
        assert far.recv(10) == bytes([signal.SIGUSR1])
        assert signal.set_wakeup_fd(-1) == near.fileno()


def test_pause_leaves_a_wakeup_descriptor_alone_that_was_set_meanwhile() -> None:
    signal.signal(signal.SIGUSR1, nothing)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        waiting = greenpool.spawn(signal.pause)
        greenpool.sleep(0)
        signal.set_wakeup_fd(near.fileno())
        waiting.kill()
        assert signal.set_wakeup_fd(-1) == near.fileno()


# sigwait and similar calls, for blocked signals


@pytest.fixture
def blocked() -> Iterator[set[int]]:
    signals: set[int] = {signal.SIGUSR1, signal.SIGALRM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    yield signals
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


needs_sigtimedwait = pytest.mark.skipif(
    not hasattr(standard, "sigtimedwait"), reason="no sigtimedwait on this system"
)


def test_sigwait_parks(blocked: set[int]) -> None:
    waiting = greenpool.spawn(signal.sigwait, blocked)
    greenpool.sleep(0.005)
    assert not waiting.ready()
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    assert waiting.get() is signal.SIGUSR1


def test_sigwait_for_what_is_pending_already(blocked: set[int]) -> None:
    signal.raise_signal(signal.SIGALRM)
    assert signal.sigwait(list(blocked)) == signal.SIGALRM


def test_sigwait_for_a_signal_to_the_whole_process() -> None:
    """The test uses a process of its own: here, threads that do not block the signal would take it."""
    script = """
import os, greenpool
from greenpool import signal

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
waiting = greenpool.spawn(signal.sigwait, [signal.SIGUSR1])
greenpool.sleep(0)
os.kill(os.getpid(), signal.SIGUSR1)
print(waiting.get().name)
"""
    root = Path(greenpool.__file__).parent.parent
    output = subprocess.check_output([sys.executable, "-c", script], cwd=root, text=True, timeout=40)
    assert output == "SIGUSR1\n"


@needs_sigtimedwait
def test_sigwaitinfo(blocked: set[int]) -> None:
    waiting = greenpool.spawn(signal.sigwaitinfo, blocked)
    greenpool.sleep(0)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    assert (waiting.get().si_signo, waiting.get().si_pid) == (signal.SIGUSR1, os.getpid())


@needs_sigtimedwait
@pytest.mark.parametrize("timeout", [0, 0.003])
def test_sigtimedwait(blocked: set[int], timeout: float) -> None:
    assert signal.sigtimedwait(blocked, timeout) is None
    signal.raise_signal(signal.SIGUSR1)
    found = signal.sigtimedwait(blocked, timeout)
    assert found is not None and found.si_signo == signal.SIGUSR1


@needs_sigtimedwait
@pytest.mark.parametrize(
    "arguments", [((), -1), ((), "1"), ((), float("nan")), ((0,), 0), ((10_000,), 0), (("a",), 0), (1, 0)]
)
def test_refuses_what_the_standard_one_refuses(arguments: tuple[Any, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as expected:
        standard.sigtimedwait(*arguments)
    with pytest.raises(expected.type):
        signal.sigtimedwait(*arguments)


def test_a_wait_that_is_given_up_takes_no_signal(blocked: set[int]) -> None:
    waiting = greenpool.spawn(signal.sigwait, blocked)
    greenpool.sleep(0)
    waiting.kill()
    signal.raise_signal(signal.SIGUSR1)
    assert signal.sigpending() == {signal.SIGUSR1}
    assert signal.sigwait(blocked) == signal.SIGUSR1


# raise_signal


def test_raising_signals_in_a_loop_lets_the_others_run() -> None:
    signal.signal(signal.SIGUSR1, nothing)
    stop = Event()
    greenpool.spawn(stop.set)
    deadline = time.monotonic() + 30
    while not stop.is_set():
        signal.raise_signal(signal.SIGUSR1)
        assert time.monotonic() < deadline
