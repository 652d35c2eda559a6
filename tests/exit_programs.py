"""Programs that end while threads with greenlets are still there, and how they end.

Each must end with status 0 and print nothing.  ``tests/core/test_interpreter_exit.py`` runs each a few times,
``scripts/exit_loop`` as often as it is told.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Nobody waits for so long: a program that has not ended by then hangs.
LONGEST = 40

PROGRAMS = {
    "greenlets sleep on the hubs of daemon threads": """
import greenpool, threading, time

def sleep_again_and_again(seconds):
    while True:
        greenpool.sleep(seconds)

def work():
    for _ in range(5):
        greenpool.spawn(sleep_again_and_again, 0.0005)
    sleep_again_and_again(0.0003)

for _ in range(6):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "real daemon threads sleep in a patched program": """
from greenpool import monkey; monkey.patch_all()
import time

def work():
    while True:
        time.sleep(0.0003)

for _ in range(3):
    monkey.get_original("threading", "Thread")(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "real daemon threads select in a patched program": """
from greenpool import monkey; monkey.patch_all()
import select, socket, time

def work():
    first, second = socket.socketpair()
    while True:
        first.send(b"x")
        select.select([second], [], [], 1)
        second.recv(1)
        select.select([second], [], [], 0.0003)

for _ in range(3):
    monkey.get_original("threading", "Thread")(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "daemon threads spawn onto a pool until it is shut down": """
import greenpool, threading, time

runtime = greenpool.Runtime(pool_size=2)
handle = runtime.handle()

def work():
    try:
        while True:
            handle.spawn(greenpool.sleep, 0.0005).get()
    except greenpool.SpawnError:
        pass

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
runtime.shutdown()
""",
    "daemon threads wait at a queue": """
import greenpool, threading
from greenpool.queue import Queue

queue = Queue()

def work():
    while True:
        queue.get()

def main():
    for item in range(2000):
        queue.put(item)
        greenpool.sleep(0)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
greenpool.run(main)
queue.put(None)
""",
    "greenlets compute for ever and never wait": """
import greenpool, threading, time

def compute():
    number = 0
    greenpool.sleep(0.01)
    while True:
        try:
            number = (number * 31 + 7) % 65537
        except BaseException:
            pass

def work():
    greenpool.spawn(compute)
    greenpool.sleep(1)

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "a pool whose shutdown was given up": """
import greenpool, time

def stay():
    while True:
        try:
            greenpool.sleep(0.001)
        except greenpool.GreenletExit:
            pass
        for _ in range(10_000):
            pass

runtime = greenpool.Runtime(pool_size=3)
for _ in range(9):
    runtime.spawn(stay)
with greenpool.Timeout(0.05, False):
    runtime.shutdown()
""",
    "calls in worker threads wait for greenlets": """
import greenpool, time
from greenpool.queue import Queue
from greenpool.threadpool import ThreadPool

queue = Queue()
pool = ThreadPool(5)

def call():
    def put():
        while True:
            queue.put(1)
            greenpool.sleep(0.0002)
    greenpool.spawn(put)
    while True:
        queue.get()

for _ in range(4):
    pool.spawn(call)
pool.spawn(time.sleep, 30)
greenpool.sleep(0.05)
""",
    "threads start while the program ends": """
import greenpool, threading, time

def child():
    while True:
        greenpool.sleep(0)

def work():
    greenpool.spawn(child)
    greenpool.sleep(0.002)
    start(2)
    greenpool.sleep(0.002)

def start(count):
    for _ in range(count):
        if threading.active_count() < 20:
            try:
                threading.Thread(target=work, daemon=True).start()
            except RuntimeError:
                pass  # from CPython 3.12 on none starts at the very end

start(4)
time.sleep(0.05)
""",
    "timeouts strike again and again": """
import greenpool, threading, time
from greenpool.event import Event

def wait():
    while True:
        try:
            with greenpool.Timeout(0.0003):
                Event().wait()
        except BaseException:
            pass

def work():
    for _ in range(3):
        greenpool.spawn(wait)
    wait()

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "every line is traced": """
import greenpool, threading, time
from greenpool.lock import Lock

lock = Lock()

def trace(frame, event, argument):
    return trace

def child():
    while True:
        with lock:
            greenpool.sleep(0.0002)

def work():
    greenpool.spawn(child)
    child()

threading.settrace(trace)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "a callback of atexit needs the greenlets of daemon threads": """
import atexit, greenpool, threading, time
from greenpool.event import Event
from greenpool.lock import Lock
from greenpool.queue import Queue

requests, lock = Queue(), Lock()

def answer():
    while True:
        with lock:
            greenpool.sleep(0.0002)
        requests.get().set()

def work():
    greenpool.spawn(answer)
    answer()

@atexit.register
def at_exit():
    for _ in range(10):
        answered = Event()
        requests.put(answered)
        with lock:
            pass
        answered.wait()

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "greenlets block their threads for moments": """
import greenpool, threading, time

def child():
    while True:
        time.sleep(0.002)
        greenpool.sleep(0)

def work():
    for _ in range(3):
        greenpool.spawn(child)
    greenpool.sleep(1)

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "raw greenlets": """
import greenlet, greenpool, threading, time

def child():
    while True:
        greenpool.sleep(0.0002)
        greenlet.getcurrent().parent.switch()

def work():
    raw = greenlet.greenlet(child)
    while True:
        raw.switch()

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "the child of a fork has such threads, too": """
import greenpool, os, sys, threading, time

def child():
    while True:
        greenpool.sleep(0.0003)

def work():
    greenpool.spawn(child)
    child()

def start():
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.03)

# On free-threaded CPython the child of a fork beside running threads may wait forever for an object that was
# locked in the parent (python/cpython#133130).
if getattr(sys, "_is_gil_enabled", lambda: True)():
    start()
pid = os.fork()
start()
if pid:
    status = os.waitpid(pid, 0)[1]
    sys.exit(os.waitstatus_to_exitcode(status))
""",
    "finalizers at the very end use queues and locks": """
import atexit, greenpool, threading, time
from greenpool.lock import RLock
from greenpool.queue import Queue

queue, lock = Queue(), RLock()

class Ends:
    def __del__(self, queue=queue, lock=lock):
        try:
            queue.put_nowait(self.__class__)
            with lock:
                pass
        except Exception:
            pass  # the modules may be empty by now

def child():
    while True:
        queue.get()
        with lock:
            greenpool.sleep(0)

def work():
    for _ in range(3):
        greenpool.spawn(child)
    child()

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
at_the_end = Ends()
atexit.register(print, Ends(), end="", file=open("/dev/null", "w"))
for _ in range(500):
    queue.put(None)
    greenpool.sleep(0)
""",
}

# Before each program: the finalization takes long enough for other threads to ask for the GIL meanwhile.
_SLOW_END = """
class SlowEnd:
    import time
    def __del__(self, sleep=time.sleep):
        sleep(0.03)
slow_end = SlowEnd()
"""

# 3.12 and newer warn of a fork beside other threads, from the module that asks for it.
_QUIET = ("-W", "ignore::DeprecationWarning", "-W", "ignore::ResourceWarning")


def start(program: str, python: str = sys.executable, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-X", "faulthandler", *_QUIET, *options, "-c", _SLOW_END + program],
        cwd=ROOT,  # which comes first in the path of the program
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outcome(process: subprocess.Popen[str], longest: float = LONGEST) -> str:
    """How a program ended: its status, or that it hung, and what it printed; empty where it ended well."""
    with process:
        try:
            printed = process.communicate(timeout=longest)[0]
        except subprocess.TimeoutExpired:
            # faulthandler says where each thread is, unless every thread blocks signals.
            process.send_signal(signal.SIGABRT)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            return f"hung {process.communicate()[0]}".strip()
    return f"{process.returncode or ''} {printed}".strip()
