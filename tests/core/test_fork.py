"""Fork: in the child only the greenlet that forked goes on, and the parent notices nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.usefixtures("leak_check"),
]

# Each program forks: ``child(function)`` calls the function in the child and checks that it ended well.
PRELUDE = """
import contextlib, os, signal, sys, threading, traceback, warnings
import greenpool
from greenpool import socket
from greenpool.event import Event
# Python 3.12 and newer warn of a fork with several threads.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def child(function, *args):
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        try:
            function(*args)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child ended with {status}"
    return pid

def parked(*what):
    try:
        Event().wait()
    finally:
        say("finally of", *what, "in the", "parent" if os.getpid() == parent else "child")

def echo_once():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x")
        assert theirs.recv(10) == b"x"

parent = os.getpid()
"""

Run = Callable[[str], str]


@pytest.fixture
def run(run_script: Run) -> Run:
    return lambda script: run_script(PRELUDE + script)


def test_from_the_main_greenlet(run: Run) -> None:
    """The child sleeps, spawns, joins, uses sockets and starts a pool. The parked greenlet stays behind."""
    output = run("""
other = greenpool.spawn(parked, "other")
greenpool.sleep(0.001)

def work():
    greenpool.sleep(0.001)
    assert greenpool.spawn(lambda: 1 + 1).get() == 2
    echo_once()
    with greenpool.Runtime(pool_size=2) as runtime:
        assert [runtime.spawn(int, each).get() for each in range(4)] == [0, 1, 2, 3]
    say("child done")

child(work)
greenpool.sleep(0.001)
assert not other.ready()
other.kill()
""")
    assert output == "child done\nfinally of other in the parent\n"


def test_from_a_greenlet(run: Run) -> None:
    output = run("""
other = greenpool.spawn(parked, "other")

def work():
    greenpool.sleep(0.001)
    assert greenpool.spawn(int).get() == 0
    say("child done")

def main():
    child(work)
    greenpool.sleep(0.001)
    say("parent's greenlet goes on")

greenpool.spawn(main).get()
other.kill()
""")
    assert output == "child done\nparent's greenlet goes on\nfinally of other in the parent\n"


def test_from_a_greenlet_that_ends_by_itself_in_the_child(run: Run) -> None:
    """The main greenlet waits in the parent only. The child ends when it has nothing left to run."""
    output = run("""
def main():
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        greenpool.sleep(0.001)
        say("child's greenlet is about to end")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

greenpool.spawn(main).get()
say("parent")
""")
    assert output == "child's greenlet is about to end\nparent\n"


def test_from_a_greenlet_on_a_pool_s_hub(run: Run) -> None:
    """The threads of the other hubs do not exist in the child."""
    output = run("""
with greenpool.Runtime(pool_size=2) as runtime:
    others = [runtime.spawn(parked, "pool") for _ in range(4)]

    def work():
        greenpool.sleep(0.001)
        assert greenpool.spawn(int).get() == 0
        echo_once()
        try:
            runtime.spawn(int)
        except greenpool.SpawnError:
            say("the pool is not there any more")

    runtime.spawn(child, work).get()
    assert not any(other.ready() for other in others)
    for other in others:
        other.kill()
""")
    assert output == "the pool is not there any more\n" + "finally of pool in the parent\n" * 4


@pytest.mark.parametrize("daemon", [False, True])
def test_beside_daemon_threads_on_a_pool_s_hub(run: Run, daemon: bool) -> None:
    """The child lives for the greenlet that forked, even if that was a daemon thread before."""
    output = run(f"""
from greenpool import threading

def work():
    greenpool.sleep(0.001)
    say("went on")

def main():
    threading.Thread(target=Event().wait, daemon=True).start()
    forking = threading.Thread(target=child, args=[work], daemon={daemon})
    forking.start()
    forking.join()

with greenpool.Runtime(pool_size=1) as runtime:
    runtime.spawn(main).get()
""")
    assert output == "went on\n"


def test_inside_block_on(run: Run) -> None:
    """The child spawns on its own hub, because the pool is the parent's."""
    output = run("""
def main():
    assert greenpool.spawn(threading.get_ident).get() != threading.get_ident()

    def work():
        assert greenpool.spawn(threading.get_ident).get() == threading.get_ident()
        say("child done")

    child(work)
    assert greenpool.spawn(threading.get_ident).get() != threading.get_ident()

greenpool.run(main)
""")
    assert output == "child done\n"


def test_with_timers_pending(run: Run) -> None:
    """In the child only the timers of the greenlet that forked fire."""
    output = run("""
def ring(name):
    say(name, "in the", "parent" if os.getpid() == parent else "child")

greenpool.spawn_later(0.02, ring, "spawn_later")
sleeper = greenpool.spawn(lambda: (greenpool.sleep(0.02), ring("sleeper")))
greenpool.sleep(0)

def work():
    greenpool.sleep(0.05)
    say("child done")

child(work)
greenpool.sleep(0.05)
""")
    assert output == "child done\nspawn_later in the parent\nsleeper in the parent\n"


def test_a_timeout_of_the_forking_greenlet_goes_on_in_the_child(run: Run) -> None:
    output = run("""
def work():
    try:
        Event().wait()
    except greenpool.Timeout as caught:
        say(caught is timeout)

with greenpool.Timeout(0.02, False) as timeout:
    child(work)
""")
    assert output == "True\n"


def test_the_parent_s_registrations_remain(run: Run) -> None:
    """Both processes share the epoll. A close in the child must not unregister the parent's waits."""
    output = run("""
ours, theirs = socket.socketpair()
reader = greenpool.spawn(ours.recv, 10)
greenpool.sleep(0.001)

def work():
    ours.close()
    theirs.close()
    echo_once()

child(work)
theirs.send(b"afterwards")
say(reader.get().decode())
ours.close()
theirs.close()
""")
    assert output == "afterwards\n"


def test_a_socket_is_used_on_in_the_child(run: Run) -> None:
    output = run("""
ours, theirs = socket.socketpair()
first = greenpool.spawn(ours.recv, 10)
greenpool.sleep(0.001)
theirs.send(b"1")
first.get()

def work():
    reader = greenpool.spawn(ours.recv, 10)
    greenpool.sleep(0.001)
    assert not reader.ready()
    theirs.send(b"child")
    say(reader.get().decode())

child(work)
reader = greenpool.spawn(ours.recv, 10)
greenpool.sleep(0.001)
theirs.send(b"parent")
say(reader.get().decode())
ours.close()
theirs.close()
""")
    assert output == "child\nparent\n"


def test_events_of_the_child_do_not_reach_the_parent_s_hub(run: Run) -> None:
    """The child has its own epoll and its own waker, so a wake in one process does not wake the other."""
    output = run("""
hub = greenpool.get_hub()
waker, epoll = hub.inbox.waker, getattr(hub.poller, "_epoll", None)

def work():
    assert hub is greenpool.get_hub()
    assert hub.inbox.waker is not waker
    assert epoll is None or hub.poller._epoll is not epoll
    event = Event()
    thread = threading.Thread(target=event.set)
    greenpool.spawn_later(0.01, thread.start)
    event.wait()
    thread.join()
    say("woken")

child(work)
assert hub.inbox.waker is waker
assert epoll is None or hub.poller._epoll is epoll
""")
    assert output == "woken\n"


def test_while_others_wait_until_all_is_idle(run: Run) -> None:
    """Greenlets in idle() and wait() stay behind, too."""
    output = run("""
def in_idle():
    greenpool.idle()
    say("idle in the", "parent" if os.getpid() == parent else "child")

def busy():
    for _ in range(3):
        greenpool.sleep(0)
    child(lambda: (greenpool.sleep(0.01), say("child done")))

waiting = [greenpool.spawn(in_idle), greenpool.spawn(busy)]
greenpool.joinall(waiting, raise_error=True)
""")
    assert sorted(output.splitlines()) == ["child done", "idle in the parent"]


def test_the_finally_blocks_of_other_threads_do_not_run_in_the_child(run: Run) -> None:
    output = run("""
ready = threading.Event()
end = threading.Event()

def thread():
    other = greenpool.spawn(parked, "thread")
    greenpool.sleep(0.001)
    ready.set()
    end.wait()
    other.kill()

plain = threading.Thread(target=thread)
plain.start()
ready.wait()

def work():
    import gc
    gc.collect()
    assert greenpool.spawn(int).get() == 0
    say("child done")

child(work)
end.set()
plain.join()
""")
    assert output == "child done\nfinally of thread in the parent\n"


def test_a_child_of_a_child(run: Run) -> None:
    output = run("""
def grandchild():
    greenpool.sleep(0.001)
    say("grandchild", greenpool.spawn(int).get())

def work():
    other = greenpool.spawn(parked, "child's own")
    greenpool.sleep(0.001)
    child(grandchild)
    other.kill()

child(work)
""")
    assert output == "grandchild 0\nfinally of child's own in the child\n"


def test_a_child_that_exits_like_a_program(run: Run) -> None:
    """sys.exit in the main greenlet ends the child's interpreter and leaves the parent's pool alone."""
    output = run("""
runtime = greenpool.Runtime(pool_size=2)
others = [runtime.spawn(parked, "pool") for _ in range(2)]
greenpool.sleep(0.01)
pid = os.fork()
if not pid:
    signal.alarm(20)
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
runtime.shutdown()
""")
    assert output == "finally of pool in the parent\n" * 2


def test_every_lock_is_held_by_another_thread(run: Run) -> None:
    """No thread of the child releases these locks, and the child waits for none of them."""
    output = run("""
from greenpool._core import current, descriptor, task
from greenpool import thread as green_thread, threadpool
from greenpool._fd import workers as worker_threads

held = threading.Event()
end = threading.Event()
here = greenpool.get_hub()
with greenpool.Runtime(pool_size=2) as runtime:
    locks = [
        runtime._hubs.lock,
        *(hub.inbox.lock for hub in [here, *runtime._hubs.hubs]),
        *task._start_locks,
        task._names_lock,
        worker_threads._every_lock,
        current._every_hub_lock,
        *descriptor._locks,
        socket._descriptor_lock,
        green_thread._threads_lock,
    ]

    def hold():
        with contextlib.ExitStack() as all_of_them:
            for lock in locks:
                all_of_them.enter_context(lock)
            held.set()
            end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def work():
        try:
            runtime.spawn(int)
        except greenpool.SpawnError:
            say("the pool is not there any more")
        by_hand = greenpool.Greenlet(int)
        by_hand.start()
        by_hand.join()
        assert by_hand.name
        workers = threadpool.ThreadPool(1)
        with greenpool.Runtime(pool_size=1) as own:
            event = Event()
            own.spawn(event.set)
            event.wait()
            assert own.spawn(workers.apply, int).get() == 0
        workers.kill()
        green_thread.start_new_thread(event.clear, ())
        while event.is_set():
            greenpool.sleep(0)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            reader = greenpool.spawn(ours.recv, 1)
            greenpool.sleep(0)
            theirs.send(b"x")
            assert reader.get() == b"x"
        say("child done")

    child(work)
    end.set()
    thread.join()
    assert runtime.spawn(int).get() == 0
""")
    assert output == "the pool is not there any more\nchild done\n"


def test_forks_while_threads_hammer_the_hubs(run: Run) -> None:
    """The child goes on, no matter at which moment it was made.

    Without the GIL those moments are the ones between two calls of each thread. At any other moment the
    interpreter itself may make any program's child wait for ever. The interpreter hands an object's lock over
    to a thread that has waited for it for 1 ms, even if that thread already stands still for the fork
    (python/cpython#133130). In the child a thread that does not exist then holds the lock. Two threads that
    reverse one long list while a third one forks are enough to see it.
    """
    output = run("""
free_threaded = not getattr(sys, "_is_gil_enabled", lambda: True)()
sys.setswitchinterval(1e-6)
with greenpool.Runtime(pool_size=2) as runtime:
    stop = False

    def hammer(turn):
        while not stop:
            with turn:
                runtime.spawn(int).join()

    turns = [threading.Lock() for _ in range(2)]
    threads = [threading.Thread(target=hammer, args=(turn,)) for turn in turns]
    for thread in threads:
        thread.start()
    for _ in range(15):
        with contextlib.ExitStack() as between_two_calls:
            if free_threaded:
                for turn in turns:
                    between_two_calls.enter_context(turn)
            child(lambda: greenpool.spawn(int).get())
    stop = True
    for thread in threads:
        thread.join()
say("done")
""")
    assert output == "done\n"


# Forks in a signal handler.

# The end of a child in which no main program goes on.

# ``fork_in(place, function)`` forks in a greenlet at that place and returns the exit status of the child.
FORK_IN = """
import time

def fork_and_wait(function):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(10)
    return function()

def on_main_thread(function):
    return greenpool.spawn(fork_and_wait, function).get()

def on_a_hub_of_a_pool(function):
    with greenpool.Runtime(pool_size=2) as runtime:
        return runtime.spawn(fork_and_wait, function).get()

def on_another_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(on_main_thread(function)))
    thread.start()
    thread.join()
    return found[0]

def in_a_raw_greenlet(function):
    from greenlet import greenlet
    return greenpool.spawn(lambda: greenlet(fork_and_wait).switch(function)).get()
"""

PLACES = ["on_main_thread", "on_a_hub_of_a_pool", "on_another_thread", "in_a_raw_greenlet"]


@pytest.fixture(params=PLACES)
def run_forking(run: Run, request: pytest.FixtureRequest) -> Run:
    """Run the test with a greenlet that forks in each of these places."""
    return lambda script: run(f"{FORK_IN}fork_in = {request.param}\n{script}")


def test_the_child_ends_with_the_greenlet_that_forked(run_forking: Run) -> None:
    """As in CPython, where a thread that forked returns: nothing is flushed, and atexit does not come."""
    output = run_forking("""
import atexit
atexit.register(say, "atexit")
other = greenpool.spawn(parked, "other")
greenpool.sleep(0)
file = open(1, "w", closefd=False)
file.write("not flushed\\n")
say(fork_in(lambda: greenpool.sleep(0.001)))
file.flush()
other.kill()
""")
    assert output == "0\nnot flushed\nfinally of other in the parent\natexit\n"


def test_the_child_ends_after_what_it_has_started(run_forking: Run) -> None:
    """Its greenlets, green daemon threads too, and its real threads; not a real thread that is kept idle."""
    output = run_forking("""
from greenpool import threading as green_threading

def start():
    greenpool.blocking(int)
    greenpool.spawn_later(0.02, say, "greenlet")
    green_threading.Thread(target=lambda: (greenpool.sleep(0.04), say("daemon")), daemon=True).start()
    threading.Thread(target=lambda: (time.sleep(0.06), say("real thread"))).start()

say(fork_in(start))
""")
    *started, status = output.splitlines()
    assert (sorted(started), status) == (["daemon", "greenlet", "real thread"], "0")


def test_sys_exit_in_another_greenlet_ends_the_child(run_forking: Run) -> None:
    output = run_forking("""
say(fork_in(lambda: greenpool.spawn_later(0.001, sys.exit, 3)))
""")
    assert output == "3\n"


def test_ctrl_c_in_the_child_reaches_the_greenlet_that_forked(run_forking: Run) -> None:
    """It is the child's main program."""
    output = run_forking("""
def interrupted():
    greenpool.spawn_later(0.001, os.kill, os.getpid(), signal.SIGINT)
    try:
        greenpool.sleep(10)
    except KeyboardInterrupt:
        say("interrupted")

say(fork_in(interrupted))
""")
    assert output == "interrupted\n0\n"


def test_handlers_in_the_child_run_as_the_greenlet_that_forked(run_forking: Run) -> None:
    """What one raises is raised there at once, and while one waits that greenlet stands still.

    (CPython 3.13 may call no handler in a child while that computes.)
    """
    output = run_forking("""
from greenpool import signal as green_signal

class Oops(Exception):
    pass

def fail(*arguments):
    raise Oops

def wait(*arguments):
    running.append(True)
    greenpool.sleep(0.01)
    running.pop()

def work():
    green_signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        while sys.version_info < (3, 13):
            pass
        greenpool.sleep(10)
    except Oops:
        say("interrupted")
    green_signal.signal(signal.SIGUSR1, wait)
    greenpool.spawn(os.kill, os.getpid(), signal.SIGUSR1)
    greenpool.sleep(0.001)
    say(running)

running = []
say(fork_in(work))
""")
    assert output == "interrupted\n[]\n0\n"


def test_a_daemon_thread_that_forked_lives_on_in_the_child(run: Run) -> None:
    output = run("""
from greenpool import threading

def fork():
    pids.append(os.fork())
    if not pids[-1]:
        signal.alarm(20)
        greenpool.sleep(0.01)
        say("went on")

pids = []
thread = threading.Thread(target=fork, daemon=True)
thread.start()
thread.join()
say(os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]))
""")
    assert output == "went on\n0\n"


HANDLER = """
from greenpool import select
from greenpool import signal as green_signal

def fork_in_handler(then=lambda: None, number=signal.SIGALRM, seconds=0.03):
    # The process gets a signal after *seconds*. The handler forks, and calls *then* in the child.
    def handle(*arguments):
        global forked
        forked = os.fork()
        if not forked:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            then()

    module.signal(number, handle)
    if seconds:
        signal.setitimer(signal.ITIMER_REAL, seconds)

def tell(*words):
    say(*words, "in the", "parent" if os.getpid() == parent else "child")

def end(*words):
    # The child ends, and the parent waits for it.
    tell(*words)
    if not forked:
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])
    assert status == 0, f"the child ended with {status}"
"""

# Returns the sorted lines that both processes wrote.
RunBoth = Callable[[str], list[str]]


@pytest.fixture(params=["signal", "green_signal"])
def run_both(run: Run, request: pytest.FixtureRequest) -> RunBoth:
    """Run the test with a handler of the standard module and with one of greenpool's."""
    return lambda script: sorted(run(f"{HANDLER}module = {request.param}\n{script}").splitlines())


def test_in_a_handler_while_the_main_greenlet_sleeps(run_both: RunBoth) -> None:
    """The main greenlet goes on in the child, as in any main program. The spawned greenlet stays behind."""
    output = run_both("""
other = greenpool.spawn(lambda: (greenpool.sleep(0.05), tell("other")))
fork_in_handler()
greenpool.sleep(0.1)
end("main")
other.join()
""")
    assert output == ["main in the child", "main in the parent", "other in the parent"]


@pytest.mark.parametrize(
    "poller", ["make_poller", "SelectorPoller", "lambda: SelectorPoller(SelectSelector)"]
)
@pytest.mark.parametrize("timeout", [None, 10])
def test_in_a_handler_while_the_main_greenlet_reads(
    run_both: RunBoth, timeout: float | None, poller: str
) -> None:
    """Two bytes come while both processes wait, one for each."""
    output = run_both(f"""
from selectors import SelectSelector
from greenpool._core import current, hub
from greenpool._core.pollers import make_poller
from greenpool._core.pollers.selector import SelectorPoller

current.Factories.hub = lambda: hub.Hub("main", poller={poller})
ours, theirs = socket.socketpair()
ours.settimeout({timeout})
fork_in_handler(lambda: theirs.send(b"xx"))
ours.recv(1)
end("read")
ours.close()
theirs.close()
""")
    assert output == ["read in the child", "read in the parent"]


def test_in_a_handler_while_the_main_greenlet_waits_for_several_descriptors(run_both: RunBoth) -> None:
    output = run_both("""
pairs = [socket.socketpair() for _ in range(2)]
fork_in_handler(lambda: pairs[1][1].send(b"xx"))
readers, _, _ = select.select([pair[0] for pair in pairs], [], [])
readers[0].recv(1)
end(len(readers), "ready")
for pair in pairs:
    pair[0].close()
    pair[1].close()
""")
    assert output == ["1 ready in the child", "1 ready in the parent"]


def test_in_a_handler_while_the_main_greenlet_waits_for_an_event(run_both: RunBoth) -> None:
    """The wait's own timeout and one around it are still due, and the handler may set the event."""
    output = run_both("""
event = Event()
fork_in_handler()
with greenpool.Timeout(0.1, False):
    event.wait(10)
assert not event.wait(0.01)
end("both timeouts")
fork_in_handler(event.set)
event.wait(1)
end("set" if event.is_set() else "not set")
""")
    assert output == [
        "both timeouts in the child",
        "both timeouts in the parent",
        "not set in the parent",
        "set in the child",
    ]


def test_in_a_handler_while_the_main_greenlet_pauses(run_both: RunBoth) -> None:
    """The pause is over in both processes. The next pause in the child waits for the child's next signal."""
    output = run_both("""
signal.signal(signal.SIGUSR1, lambda *arguments: say("SIGUSR1"))
fork_in_handler()
green_signal.pause()
if not forked:
    greenpool.spawn(os.kill, os.getpid(), signal.SIGUSR1)
    green_signal.pause()
assert signal.set_wakeup_fd(-1) == -1
end("pause has returned")
""")
    assert output == ["SIGUSR1", "pause has returned in the child", "pause has returned in the parent"]


def test_in_a_handler_while_the_main_greenlet_waits_for_the_pool_s_end(run_both: RunBoth) -> None:
    """The child has no pool to wait for."""
    output = run_both("""
started = Event()

def until_forked():
    started.set()
    while "forked" not in globals():
        greenpool.sleep(0.001)

def main():
    greenpool.spawn(until_forked)

# Not before the pool runs: a fork within its start is another matter.
greenpool.spawn(lambda: started.wait() and fork_in_handler())
greenpool.run(main)
end("run has returned")
with greenpool.Runtime(pool_size=1) as runtime:
    assert runtime.spawn(int).get() == 0
""")
    assert output == ["run has returned in the child", "run has returned in the parent"]


def test_what_the_handler_raises_in_the_child_comes_out_of_the_main_greenlet(run_both: RunBoth) -> None:
    """The error comes out even if it is one that the poller might have raised."""
    output = run_both("""
def fail():
    raise OSError(9, "raised by the handler")

fork_in_handler(fail)
try:
    greenpool.sleep(0.1)
except OSError as error:
    tell(error)
else:
    tell("nothing raised")
end("end")
""")
    assert output == [
        "[Errno 9] raised by the handler in the child",
        "end in the child",
        "end in the parent",
        "nothing raised in the parent",
    ]


def test_the_program_s_wakeup_descriptor_stays_in_place(run_both: RunBoth) -> None:
    output = run_both("""
ours, theirs = socket.socketpair()
ours.setblocking(False)
signal.set_wakeup_fd(ours.fileno())
fork_in_handler()
greenpool.sleep(0.1)
assert signal.set_wakeup_fd(-1) == ours.fileno()
end("main")
ours.close()
theirs.close()
""")
    assert output == ["main in the child", "main in the parent"]


def test_a_green_handler_may_wait_in_the_child(run: Run) -> None:
    output = run(f"""{HANDLER}
module = green_signal
event = Event()

def wait_and_set():
    greenpool.sleep(0.01)
    event.set()

fork_in_handler(wait_and_set)
while "forked" not in globals():
    event.wait(0.1)
if not forked:
    event.wait()
end("set" if event.is_set() else "not set")
""")
    assert sorted(output.splitlines()) == ["not set in the parent", "set in the child"]


@pytest.mark.parametrize("wait", ["", "greenpool.sleep(0.01)"])
def test_a_green_handler_that_strikes_a_green_thread(run: Run, wait: str) -> None:
    """The handler runs as the main program, which goes on in the child. The green thread does not."""
    output = run(f"""{HANDLER}
module = green_signal

def green_thread():
    try:
        green_signal.raise_signal(signal.SIGUSR1)
        tell("green thread")
    finally:
        tell("finally")

def handled():
    {wait}
    tell("handled")
    done.append(True)

done = []
fork_in_handler(handled, signal.SIGUSR1, seconds=None)
other = greenpool.spawn(green_thread)
greenpool.sleep(0.05)
while not forked and not done:
    greenpool.sleep(0.01)
end("main")
""")
    assert sorted(output.splitlines()) == [
        "finally in the parent",
        "green thread in the parent",
        "handled in the child",
        "main in the child",
        "main in the parent",
    ]


def test_a_green_handler_that_has_waited_forks(run: Run) -> None:
    output = run(f"""{HANDLER}
module = green_signal
forked = None

def handle(*arguments):
    global forked
    greenpool.sleep(0.01)
    forked = os.fork()
    tell("forked")
    greenpool.sleep(0.01)
    tell("handler")
    done.append(True)

done = []
module.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.01)
while not done:
    greenpool.sleep(0.1)
end("main")
""")
    assert sorted(output.splitlines()) == [
        "forked in the child",
        "forked in the parent",
        "handler in the child",
        "handler in the parent",
        "main in the child",
        "main in the parent",
    ]


def test_a_green_handler_that_has_struck_another_one_forks(run: Run) -> None:
    output = run(f"""{HANDLER}
module = green_signal

def outer(*arguments):
    green_signal.raise_signal(signal.SIGUSR1)
    tell("outer")

fork_in_handler(lambda: tell("inner"), signal.SIGUSR1, seconds=None)
green_signal.signal(signal.SIGALRM, outer)
signal.setitimer(signal.ITIMER_REAL, 0.01)
greenpool.sleep(0.5)
end("main")
""")
    assert sorted(output.splitlines()) == [
        "inner in the child",
        "main in the child",
        "main in the parent",
        "outer in the child",
        "outer in the parent",
    ]


@pytest.mark.parametrize(
    "handler", ["os.fork()", "greenpool.sleep(0.01)", "os.fork(); greenpool.sleep(0.01)"]
)
@pytest.mark.parametrize(
    "place",
    ["state.make_waker", "state.in_main_thread", "hub.remember", "hub.rest_if_ending", "current.getpid"],
)
def test_a_handler_runs_while_the_hub_is_made(run: Run, place: str, handler: str) -> None:
    """The main program goes on in the child, too. If the handler waits, it needs the hub itself."""
    output = run(f"""
from greenpool._core import current, hub, state

module, name = {place.split(".")[0]}, {place.split(".")[1]!r}
original = getattr(module, name)
times = 1 if name == "getpid" else 0

def interrupted(*arguments):
    global times
    times -= 1
    if times < 0:
        setattr(module, name, original)
        signal.raise_signal(signal.SIGUSR1)
    return original(*arguments)

def handle(*arguments):
    {handler}

signal.signal(signal.SIGUSR1, handle)
setattr(module, name, interrupted)
greenpool.sleep(0.02)
assert greenpool.spawn(pow, 2, 3).get() == 8
assert len({{hub.thread_id for hub in current.remembered() if not hub.inbox.closed}}) == 1
if os.getpid() == parent and "fork" in {handler!r}:
    assert os.wait()[1] == 0
say("done")
""")
    assert output == "done\n" * (2 if "fork" in handler else 1)


def test_run_returns_in_the_child(run: Run) -> None:
    """The function that run() runs forks."""
    output = run("""
pid = greenpool.run(os.fork)
if pid:
    assert os.waitpid(pid, 0)[1] == 0
say("parent" if pid else "child")
""")
    assert output == "child\nparent\n"


@pytest.mark.slow
def test_a_handler_forks_at_whatever_moment(run: Run) -> None:
    """The main program sleeps, waits for a green thread, and reads with a timeout, all in turns.

    The handler is a green one, because the standard module's handler would fork the interrupted greenlet.
    """
    output = run("""
import faulthandler, itertools, random
from greenpool import signal as green_signal
from greenpool.queue import Empty, Queue

children = []

def handle(*arguments):
    pid = os.fork()
    if pid:
        children.append(pid)
    else:
        # alarm(20) would not do: the main program may be just about to set that timer.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        faulthandler.dump_traceback_later(20, exit=True)

def serve():
    for item in questions:
        answers.put(item)

def tick():
    while True:
        greenpool.sleep(0.0005)

def nap():
    greenpool.sleep(random.random() * 0.001)

def ask():
    # Nobody answers in the child.
    questions.put(1)
    try:
        answers.get(timeout=0.05)
    except Empty:
        assert os.getpid() != parent

def read():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.001)
    with ours, theirs:
        try:
            ours.recv(1)
        except TimeoutError:
            pass

questions, answers = Queue(), Queue()
others = [greenpool.spawn(serve), greenpool.spawn(tick)]
green_signal.signal(signal.SIGALRM, handle)
for turn in itertools.cycle([nap, ask, read]):
    if len(children) < 150 and not signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.setitimer(signal.ITIMER_REAL, 0.0001 + random.random() * 0.002)
    turn()
    if os.getpid() != parent:
        os._exit(7)
    if len(children) == 150:
        break
signal.setitimer(signal.ITIMER_REAL, 0)
statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
say({status: statuses.count(status) for status in statuses})
greenpool.killall(others)
""")
    assert output == "{7: 150}\n"
