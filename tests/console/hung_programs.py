"""Programs that hang, each in a way of its own, and what a command has to name of each.

A command is tested against all of them by one line: see ``COMMANDS`` in test_hung_programs.py.
"""

from __future__ import annotations

from typing import NamedTuple


class HungProgram(NamedTuple):
    """A program for ``python -m greenpool --pool-size=2``, which prints "ready" when it hangs."""

    script: str
    names: tuple[str, ...]
    """Regular expressions for the culprits, which what is said of the greenlets and hubs has to match."""
    is_busy: bool = False
    """Whether the culprit computes; otherwise it waits."""
    keeps_gil: bool = False


ABBA = """
import threading, time

first, second = threading.Lock(), threading.Lock()
both = threading.Barrier(3)

def forward():
    with first:
        both.wait()
        with second:
            pass

def backward():
    with second:
        both.wait()
        with first:
            pass

threading.Thread(target=forward, name="forward").start()
threading.Thread(target=backward, name="backward").start()
both.wait()
time.sleep(0.1)
print("ready", flush=True)
time.sleep(1000)
"""

# The culprit's line is the fifth.
SPIN = """import threading, time
def compute():
    print("ready", flush=True)
    while True:
        pass

threading.Thread(target=compute, name="spinner").start()
time.sleep(1000)
"""

SPIN_IN_C = """
import faulthandler, signal, threading, time

faulthandler.register(signal.SIGUSR1)

def crunch():
    print("ready", flush=True)
    pow(3, 10**9)

threading.Thread(target=crunch, name="cruncher").start()
time.sleep(1000)
"""

# The port is one that cannot be met by chance in what is said otherwise.
LOST_PEER = """
import socket, threading, time

listener = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(listener.getsockname())
threading.Thread(target=connection.recv, args=(1,), name="reader").start()
time.sleep(0.1)
print("ready", flush=True)
time.sleep(1000)
"""

# With the C extension the second wait shows no frame of the socket's class.
LOST_PEER_OF_OLD = """
import socket, threading, time

listener = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(listener.getsockname())
peer, _ = listener.accept()

def read():
    while True:
        connection.recv(100)

threading.Thread(target=read, name="reader").start()
time.sleep(0.1)
peer.send(b"the first answer")
time.sleep(0.1)
print("ready", flush=True)
time.sleep(1000)
"""

# libpq and other libraries in C wait for a bare descriptor.
LOST_PEER_OF_DESCRIPTOR = """
import select, socket, threading, time

listener = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(listener.getsockname())
number = connection.detach()
threading.Thread(target=select.select, args=([number], [], []), name="reader").start()
time.sleep(0.1)
print("ready", flush=True)
time.sleep(1000)
"""

FULL_POOL = """
import threading, time
from greenpool.pool import Pool

pool = Pool(2)

def serve():
    time.sleep(1000)

def accept():
    while True:
        pool.spawn(serve)

threading.Thread(target=accept, name="acceptor").start()
time.sleep(0.2)
print("ready", flush=True)
time.sleep(1000)
"""

FULL_SEMAPHORE = """
import threading, time

connections = threading.Semaphore(2)

def query():
    with connections:
        time.sleep(1000)

for number in range(4):
    threading.Thread(target=query, name=f"query-{number}").start()
time.sleep(0.2)
print("ready", flush=True)
time.sleep(1000)
"""

MANY = """
import greenpool, time
from greenpool.event import Event

event, started = Event(), []

def wait_for_news():
    started.append(None)
    event.wait()

greenlets = [greenpool.spawn(wait_for_news) for _ in range(10_000)]
while len(started) < 10_000:
    greenpool.sleep(0.01)
print("ready", flush=True)
time.sleep(1000)
"""

_A_LOCK = r"lock.* at 0x\w+.* held by Greenlet-\d+ "

HUNG_PROGRAMS = {
    "two locks in opposite order": HungProgram(
        ABBA, (f'"backward".*{_A_LOCK}"forward"', f'"forward".*{_A_LOCK}"backward"')
    ),
    "a loop in Python": HungProgram(SPIN, ('"spinner"', r"program0\.py:[45] in compute"), is_busy=True),
    "a function in C": HungProgram(SPIN_IN_C, ('"cruncher"',), is_busy=True, keeps_gil=True),
    "a lost peer": HungProgram(LOST_PEER, (r"""reader".*raddr=\('127\.0\.0\.1', \d+\)""",)),
    "a lost peer that has answered before": HungProgram(
        LOST_PEER_OF_OLD, (r"""reader".*(raddr=\('127\.0\.0\.1', \d+\)|whose peer is 127\.0\.0\.1:\d+)""",)
    ),
    "a lost peer of a descriptor": HungProgram(
        LOST_PEER_OF_DESCRIPTOR, (r'reader".*whose peer is 127\.0\.0\.1:\d+',)
    ),
    "a full pool": HungProgram(
        FULL_POOL,
        (r'"acceptor".*<Pool .* 2 greenlets>.*to have room held by Greenlet-\d+ and Greenlet-\d+',),
    ),
    "a full semaphore": HungProgram(
        FULL_SEMAPHORE, (r'"query-\d".*Semaphore.* held by .*"query-\d" and .*"query-\d"',)
    ),
    "ten thousand that wait": HungProgram(MANY, (r"Event\.wait",)),
}
