"""LoopExit is raised if nothing can wake the main program any more, and never otherwise.

Each test runs in a process of its own, because the thread that watches over the test run could wake any
greenlet.
"""

from __future__ import annotations

import sys
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


# Greenlets on the hubs of a pool.


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("how", ["with", "acquire"])
def test_two_greenlets_of_two_hubs_that_hold_what_the_other_needs(run: Run, kind: str, how: str) -> None:
    output = run(f"""
from greenpool.lock import {kind}

first, second = {kind}(), {kind}()
holding = [Event(), Event()]

def in_with(index, own, other):
    with own:
        holding[index].set()
        holding[1 - index].wait()
        with other:
            pass

def by_acquire(index, own, other):
    own.acquire()
    try:
        holding[index].set()
        holding[1 - index].wait()
        other.acquire()
        other.release()
    finally:
        own.release()

def main():
    take = {"in_with" if how == "with" else "by_acquire"}
    greenpool.spawn(take, 0, first, second).name = "left"
    greenpool.spawn(take, 1, second, first).name = "right"

print(is_deadlocked(greenpool.run, main))
print(message)
""")
    told, _, main, *others = output.splitlines()
    assert told == "True"
    assert main.startswith("  main greenlet of MainThread: in run, waits for <pool of ")
    left, right = sorted(others)
    assert left.startswith(f"  left: in {kind}.acquire, waits for <locked greenpool.lock.{kind} object")
    assert 'held by Greenlet "right", called at' in left
    assert right.startswith(f"  right: in {kind}.acquire, waits for <locked greenpool.lock.{kind} object")
    assert 'held by Greenlet "left", called at' in right
    place = "in_with" if how == "with" else "by_acquire"
    assert left.endswith(f"in {place}") and right.endswith(f"in {place}")


def test_three_hubs_in_a_ring(run: Run) -> None:
    output = run("""
from greenpool.lock import Lock

locks = [Lock() for _ in range(3)]
holding = [Event() for _ in range(3)]

def take(index):
    with locks[index]:
        holding[index].set()
        for event in holding:
            event.wait()
        with locks[(index + 1) % 3]:
            pass

with greenpool.Runtime(pool_size=3) as runtime:
    def main():
        for index in range(3):
            greenpool.spawn(take, index).name = f"taker {index}"
    print(is_deadlocked(lambda: (runtime.block_on(main), runtime.shutdown_on_idle())))
print(message)
""")
    lines = output.splitlines()
    assert lines[0] == "True"
    for index in range(3):
        (line,) = (line for line in lines if line.startswith(f"  taker {index}: "))
        assert f'held by Greenlet "taker {(index + 1) % 3}", called at' in line


def test_greenlets_that_wait_for_the_same_are_one_line(run: Run) -> None:
    output = run("""
queue = Queue()

def consume():
    queue.get()

def main():
    for _ in range(12):
        greenpool.spawn(consume)

print(is_deadlocked(greenpool.run, main))
print(message)
""")
    told, _, main, consumers = output.splitlines()
    assert told == "True"
    assert " and 9 more: in Queue.get of <Queue at " in consumers
    assert "waits for it to have an item, called at " in consumers
    assert consumers.endswith("in consume")


def test_a_long_list_is_cut(run: Run) -> None:
    output = run("""
greenlets = [greenpool.spawn(Event().wait) for _ in range(30)]
print(is_deadlocked(greenpool.joinall, greenlets))
print(message)
""")
    lines = output.splitlines()
    assert len(lines) == 1 + 1 + 20 + 1
    assert lines[-1] == "  and 11 more"
    assert not any("Carrier" in line for line in lines)
    assert all(": in Event.wait of <greenpool.Event at " in line for line in lines[3:-1])


def test_greenlets_of_two_hubs_that_join_each_other(run: Run) -> None:
    output = run("""
others = {}
both = Event()

def join_the_other(other):
    both.wait()
    others[other].join()

def main():
    for name, other in (("a", "b"), ("b", "a")):
        others[name] = greenpool.spawn(join_the_other, other)
        others[name].name = name
    both.set()
    others["a"].join()

print(is_deadlocked(greenpool.run, main))
print(message)
""")
    told, _, main, *rest = output.splitlines()
    assert told == "True"
    assert "in Greenlet.join of <Greenlet a " in main and main.endswith("in main")
    a, b = sorted(rest)
    assert a.startswith("  a: in Greenlet.join of <Greenlet b ") and "waits for it to end" in a
    assert b.startswith("  b: in Greenlet.join of <Greenlet a ")


def test_the_greenlets_are_ended_as_at_ctrl_c(run: Run) -> None:
    output = run("""
def wait():
    try:
        Event().wait()
    except BaseException as exception:
        print(type(exception).__name__)
        raise

print(is_deadlocked(greenpool.run, lambda: greenpool.spawn(wait) and None))
print(is_deadlocked(greenpool.run, lambda: greenpool.spawn(wait).join()))
""")
    assert output == "GreenletExit\nTrue\nGreenletExit\nTrue\n"


def test_finally_blocks_that_wait_for_ever(run: Run) -> None:
    output = run("""
def wait():
    try:
        Event().wait()
    finally:
        Event().wait()

print(is_deadlocked(greenpool.run, lambda: greenpool.spawn(wait) and None))
print("to end" in message)
""")
    assert output == "True\nTrue\n"


def test_a_plain_thread_that_waits_for_a_greenlet_of_a_pool(run: Run) -> None:
    output = run("""
with greenpool.Runtime(pool_size=1) as runtime:
    handle = runtime.handle()
    greenlet = handle.spawn(Event().wait)
    print(is_deadlocked(greenlet.get))
    greenlet.kill()
    print(handle.spawn(int).get())
""")
    assert output == "True\n0\n"


def test_a_thread_that_may_still_spawn(run: Run) -> None:
    """A pool that only waits for spawns from a thread is not deadlocked."""
    output = run("""
event = Event()
with greenpool.Runtime(pool_size=2) as runtime:
    runtime.spawn(Event().wait).name = "parked"
    parked = runtime.spawn(event.wait)
    thread = threading.Timer(0.9, runtime.handle().spawn, [event.set])
    thread.start()
    print(is_deadlocked(parked.get))
    thread.join()
    runtime.shutdown()
""")
    assert output == "False\n"


def test_a_timer_of_another_hub(run: Run) -> None:
    output = run("""
event = Event()
with greenpool.Runtime(pool_size=2) as runtime:
    parked = runtime.spawn(event.wait)
    runtime.spawn(lambda: event.wait(0.9) or event.set())
    print(is_deadlocked(parked.get))
""")
    assert output == "False\n"


def test_a_busy_worker_thread(run: Run) -> None:
    output = run("""
event = Event()
with greenpool.Runtime(pool_size=2) as runtime:
    runtime.spawn(lambda: (greenpool.blocking(time.sleep, 0.9), event.set()))
    print(is_deadlocked(runtime.spawn(event.wait).get))
""")
    assert output == "False\n"


def test_an_idle_worker_thread_wakes_nobody(run: Run) -> None:
    output = run("""
from greenpool.threadpool import ThreadPool

pool = ThreadPool(2)
pool.apply(int)
greenpool.blocking(int)
print(is_deadlocked(greenpool.run, Event().wait))
""")
    assert output == "True\n"


def test_an_idle_worker_thread_that_has_a_hub_wakes_nobody(run: Run) -> None:
    """A call of it has waited.  What it has left on the hub goes on within a later call only."""
    output = run("""
def leave_behind():
    greenpool.spawn(greenpool.sleep, 1000)
    greenpool.sleep(0.001)

from greenpool._core import waits

waits.LONGEST_ANSWER = 0.1
for call in (greenpool.sleep, leave_behind):
    greenpool.blocking(call)
    print(is_deadlocked(greenpool.run, Event().wait))
""")
    assert output == "True\nTrue\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lists a process's threads")
def test_a_thread_of_which_python_knows_nothing(run: Run) -> None:
    """Such a thread may call Python code later."""
    output = run("""
import ctypes

libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
begin = time.monotonic()
assert not libc.pthread_create(ctypes.byref(thread), None, libc.sleep, ctypes.c_void_p(1))
print(is_deadlocked(Event().wait))
print(time.monotonic() - begin > 0.9)
""")
    assert output == "True\nTrue\n"


@pytest.mark.slow
def test_a_wake_that_is_always_under_way(run: Run) -> None:
    """Two hubs and a worker thread pass a number on, and mostly all of them but one sleep."""
    output = run("""
from greenpool.queue import SimpleQueue

deadlock.LONGEST_LOOK = greenpool.get_hub().patience = 1e-4
queues = [SimpleQueue(), SimpleQueue()]
event = Event()

def play(own, other):
    while (number := own.get()) < 20_000:
        if number % 50 == 0:
            greenpool.blocking(int)
        other.put(number + 1)
    other.put(number)
    event.set()

with greenpool.Runtime(pool_size=2) as runtime:
    runtime.spawn(play, *queues)
    runtime.spawn(play, *reversed(queues))
    queues[0].put(0)
    print(is_deadlocked(event.wait))
""")
    assert output == "False\n"


def test_threads_of_a_patched_program(run: Run) -> None:
    output = run("""
from greenpool import monkey

monkey.patch_all()
locks = [threading.Lock(), threading.Lock()]
holding = threading.Barrier(2)

def take(own, other):
    with own:
        holding.wait()
        with other:
            pass

for name, order in (("left", locks), ("right", locks[::-1])):
    threading.Thread(target=take, args=order, name=name, daemon=True).start()
print(is_deadlocked(Event().wait))
print(message)
""")
    told, _, _, *threads = output.splitlines()
    assert told == "True"
    left, right = sorted(threads, key=lambda line: line.split('"')[1])
    assert ' "left": in ' in left and ' "right": in ' in right
    assert left.split(":")[0].strip() in right.partition(" held by ")[2]
    assert right.split(":")[0].strip() in left.partition(" held by ")[2]
    assert left.endswith(" in take") and right.endswith(" in take")


def test_a_condition_gives_its_lock_back_while_it_waits(run: Run) -> None:
    output = run("""
from greenpool.lock import Condition, Lock

lock = Lock()
condition = Condition(lock)

def wait():
    with condition:
        condition.wait()

def hold():
    with condition:
        Event().wait()

greenpool.spawn(wait).name = "waiter"
greenpool.spawn(hold).name = "holder"
greenpool.spawn(lock.acquire).name = "third"
print(is_deadlocked(Event().wait))
print(message)
""")
    waiter = next(line for line in output.splitlines() if line.startswith("  waiter: "))
    third = next(line for line in output.splitlines() if line.startswith("  third: "))
    assert "in Condition.wait of <Condition(" in waiter and "to be notified" in waiter
    assert third.endswith('held by Greenlet "holder"')


def test_a_greenlet_that_waits_for_itself(run: Run) -> None:
    output = run("""
semaphore = Semaphore(1)

def twice():
    semaphore.acquire()
    semaphore.acquire()

greenpool.spawn(twice).name = "twice"
print(is_deadlocked(Event().wait))
print(message)
""")
    assert 'held by Greenlet "twice", called at' in output


def test_a_repr_that_fails(run: Run) -> None:
    output = run("""
class Odd(Event):
    def __repr__(self):
        raise ValueError("odd")

print(is_deadlocked(Odd().wait))
print(message)
""")
    assert "in Odd.wait of <" in output


def test_a_finalizer_that_wakes_the_main_program(run: Run) -> None:
    """It runs while the hub looks for a deadlock."""
    output = run("""
from greenpool._core import waits

class Finalized:
    def __del__(self):
        event.set()

event = Event()
real = waits.describe_all

def describe_all(hub):
    text = real(hub)
    Finalized()
    return text

waits.describe_all = describe_all
print(is_deadlocked(event.wait))
greenpool.sleep(0.01)
print("no LoopExit is pending")
""")
    assert output == "False\nno LoopExit is pending\n"


def test_a_timeout_that_does_not_count(run: Run) -> None:
    """With ``ref=False`` it does not keep the LoopExit off, and fires if something else does."""
    output = run("""
with greenpool.Timeout(60, ref=False):
    print(is_deadlocked(Event().wait))
with greenpool.Timeout(60), greenpool.Timeout(0.6, False, ref=False):
    Event().wait()
print(is_deadlocked(Event().wait))
""")
    assert output == "True\nTrue\n"
