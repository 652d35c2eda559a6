"""LoopExit is raised if nothing can wake the main program any more, and never otherwise.

Each test runs in a process of its own, because the thread that watches over the test run could wake any
greenlet.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.usefixtures("leak_check")

PRELUDE = """
import os, signal, threading, time
import greenpool
from greenpool import socket
from greenpool._core import deadlock
from greenpool.event import Event
from greenpool.lock import Semaphore
from greenpool.queue import Queue

def is_deadlocked(function, *args):
    try:
        function(*args)
    except greenpool.LoopExit as exception:
        global message
        message = str(exception)
        return True
    return False
"""

Run = Callable[[str], str]


@pytest.fixture
def run(run_script: Run) -> Run:
    return lambda script: run_script(PRELUDE + script)


@pytest.mark.parametrize(
    "wait",
    [
        "Event().wait",
        "Queue().get",
        "Semaphore(0).acquire",
        "greenpool.spawn(Event().wait).get",
        "greenpool.spawn(Event().wait).join",
    ],
)
def test_a_wait_that_nothing_can_end(run: Run, wait: str) -> None:
    assert run(f"print(is_deadlocked({wait}))") == "True\n"


@pytest.mark.slow
def test_the_program_goes_on_after_it(run: Run) -> None:
    output = run("""
print(is_deadlocked(Event().wait))
print(greenpool.spawn(lambda: greenpool.sleep(0.001) or 5).get())
print(is_deadlocked(Event().wait))
""")
    assert output == "True\n5\nTrue\n"


def test_the_message_says_what_each_greenlet_waits_for(run: Run) -> None:
    output = run("""
def consumer(queue):
    queue.get()

def holder(semaphore):
    semaphore.acquire()

greenlets = [greenpool.spawn(consumer, Queue()), greenpool.spawn(holder, Semaphore(0))]
greenlets[0].name, greenlets[1].name = "the consumer", "the holder"
assert is_deadlocked(Event().wait)
print(message)
""")
    lines = output.splitlines()
    assert "MainThread can never end" in lines[0]
    main, *others = (line.strip() for line in lines[1:])
    consumer, holder = sorted(others)
    assert main.startswith("main greenlet of MainThread: in Event.wait")
    assert consumer.startswith("the consumer: in ") and "Queue.get of <Queue" in consumer
    assert consumer.endswith("in consumer")
    assert holder.startswith("the holder: in Semaphore.acquire")
    assert holder.endswith("in holder")


def test_two_greenlets_that_wait_for_each_other(run: Run) -> None:
    output = run("""
others = {}

def join_the_other(name, other):
    others[other].join()

for name, other in (("a", "b"), ("b", "a")):
    others[name] = greenpool.spawn(join_the_other, name, other)
print(is_deadlocked(greenpool.joinall, list(others.values())))
""")
    assert output == "True\n"


@pytest.mark.slow
def test_pool_hubs_that_are_at_rest_wake_nobody(run: Run) -> None:
    output = run("""
with greenpool.Runtime(pool_size=2) as runtime:
    runtime.spawn(int).get()
    print(is_deadlocked(Event().wait))
""")
    assert output == "True\n"


@pytest.mark.slow
def test_daemon_threads_are_threads(run: Run) -> None:
    """A daemon thread might still set the event."""
    output = run("""
event = Event()
thread = threading.Thread(target=lambda: (time.sleep(0.6), event.set()), daemon=True)
thread.start()
print(is_deadlocked(event.wait))
thread.join()
""")
    assert output == "False\n"


@pytest.mark.slow
def test_a_pool_s_hub_that_will_wake_it(run: Run) -> None:
    output = run("""
event = Event()
with greenpool.Runtime(pool_size=2) as runtime:
    runtime.spawn(lambda: (greenpool.sleep(0.6), event.set()))
    print(is_deadlocked(event.wait))
""")
    assert output == "False\n"


@pytest.mark.slow
def test_a_pool_s_hub_that_waits_for_io(run: Run) -> None:
    output = run("""
event = Event()
ours, theirs = socket.socketpair()
with greenpool.Runtime(pool_size=1) as runtime:
    runtime.spawn(lambda: (ours.recv(1), event.set()))
    thread = threading.Timer(0.6, theirs.send, [b"x"])
    thread.start()
    print(is_deadlocked(event.wait))
ours.close()
theirs.close()
""")
    assert output == "False\n"


def test_a_timer(run: Run) -> None:
    output = run("""
event = Event()
greenpool.spawn_later(0.6, event.set)
print(is_deadlocked(event.wait))
""")
    assert output == "False\n"


@pytest.mark.slow
def test_a_greenlet_that_waits_for_io(run: Run) -> None:
    """Another process may still write."""
    output = run("""
event = Event()
reader, writer = os.pipe()
pid = os.fork()
if not pid:
    time.sleep(0.6)
    os.write(writer, b"x")
    os._exit(0)
greenpool.spawn(lambda: (socket.wait_read(reader), event.set()))
print(is_deadlocked(event.wait))
os.waitpid(pid, 0)
""")
    assert output == "False\n"


@pytest.mark.slow
def test_a_signal_handler(run: Run) -> None:
    output = run("""
event = Event()
signal.signal(signal.SIGALRM, lambda *args: event.set())
signal.setitimer(signal.ITIMER_REAL, 0.6)
print(is_deadlocked(event.wait))
""")
    assert output == "False\n"


@pytest.mark.slow
def test_a_signal_handler_that_is_an_object_with_a_handler_of_its_own(run: Run) -> None:
    output = run("""
class Handler:
    handler = None

    def __call__(self, *args):
        event.set()

event = Event()
signal.signal(signal.SIGALRM, Handler())
signal.setitimer(signal.ITIMER_REAL, 0.6)
print(is_deadlocked(event.wait))
""")
    assert output == "False\n"


@pytest.mark.slow
def test_the_handler_of_ctrl_c_is_no_reason_to_wait_for_ever(run: Run) -> None:
    output = run("""
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print(is_deadlocked(Event().wait))
print(is_deadlocked(greenpool.run, Event().wait))
""")
    assert output == "True\nTrue\n"


@pytest.mark.slow
def test_each_look_comes_later_than_the_one_before(run: Run) -> None:
    """A wait that may end costs less and less, and nothing at all once the hub has had something to do."""
    output = run("""
hub = greenpool.get_hub()
event = Event()
thread = threading.Thread(target=lambda: (time.sleep(0.9), event.set()))
thread.start()
print(hub.patience == deadlock.FIRST_LOOK)
event.wait()
print(hub.passes < 20)
thread.join()
""")
    assert output == "True\nTrue\n"
