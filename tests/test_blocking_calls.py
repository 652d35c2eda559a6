"""What the table of docs/monkey.md says of each call that can wait: another greenlet goes on meanwhile.

Each call is made in a patched process of its own, by a second green thread of the hub. The main program ends
the wait. It cannot if the call blocks the hub, and then the test kills the process.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenpool._blocking_calls import BLOCKS, LINES, find, table

DOCUMENT = Path(__file__).parent.parent / "docs" / "monkey.md"

# The names that a case uses are made or imported for it.
HARNESS = """
import json, os, signal, sys
import contextvars, greenpool, importlib.util, inspect, logging, multiprocessing.queues, random, subprocess
import tempfile, traceback, typing

for line in open(os.dup(0)):
    wait, end, prepare, before, modules = json.loads(line)
    errors = tempfile.TemporaryFile("w+")
    pid = os.fork()
    if not pid:
        # Without a terminal of its own, which getpass would ask.
        os.setsid()
        signal.alarm(25)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd, to in enumerate((nothing, nothing, errors.fileno())):
            os.dup2(to, fd)
        break
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    errors.seek(0)
    print(json.dumps((status, errors.read())), flush=True)
else:
    sys.exit()

exec(before)
from greenpool import monkey; monkey.patch_all()
import importlib, os, tempfile, threading, time

directory = tempfile.mkdtemp()
path = os.path.join(directory, "file")

def make_pipe():
    global r, w
    r, w = os.pipe()

def make_full():
    make_pipe()
    os.set_blocking(w, False)
    try:
        while True:
            os.write(w, bytes(4096))
    except BlockingIOError:
        os.set_blocking(w, True)
    globals()["full"] = w

def make_pair():
    import socket
    global a, b
    a, b = socket.socketpair()

def make_fifo():
    global fifo
    fifo = os.path.join(directory, "fifo")
    os.mkfifo(fifo)

def make_listener():
    import socket
    global listener
    listener = socket.create_server(("127.0.0.1", 0))

def make_child():
    import subprocess
    global child
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, bufsize=0)

def make_held():
    global held
    held = threading.Lock()
    held.acquire()

def make_future():
    from concurrent.futures import Future
    global future
    future = Future()

def make_other():
    # A second process that has a lock of the file until it is killed.
    import subprocess
    global other, file
    file = open(path, "w")
    code = f"import fcntl; f = open({path!r}, 'w'); fcntl.lockf(f, 2); print('has it', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()

def make_first():
    import sqlite3
    global first, second
    first, second = (sqlite3.connect(path, timeout=20) for _ in range(2))
    first.execute("create table t (x)")
    first.execute("begin immediate")

def make_processes():
    import multiprocessing
    import multiprocessing.connection
    global mp, connection, near, far
    mp = multiprocessing.get_context("fork")
    connection = multiprocessing.connection
    near, far = mp.Pipe()

def make_script():
    make_pipe()
    global script
    script = [sys.executable, "-c", f"import os; os.read({r}, 1)"]
    os.set_inheritable(r, True)

MAKERS = {
    "r": make_pipe, "w": make_pipe, "full": make_full, "a": make_pair, "fifo": make_fifo,
    "listener": make_listener, "child": make_child, "held": make_held,
    "future": make_future, "other": make_other, "first": make_first, "mp": make_processes,
    "connection": make_processes, "near": make_processes, "script": make_script,
}
for name in compile("\\n".join((prepare, wait, end)), "case", "exec").co_names:
    if name in globals():
        pass
    elif name in MAKERS:
        MAKERS[name]()
    elif name in modules.split():
        globals()[name] = importlib.import_module(name)

exec(prepare)
done = []
def call():
    try:
        done.append(eval(wait))
    except (OSError, EOFError) as error:
        done.append(error)

thread = threading.Thread(target=call)
thread.start()
time.sleep(0.1)
assert not done, f"it did not wait: {done}"
exec(end)
thread.join(20)
assert done, "it did not come back"
os._exit(0)
"""


MODULES = (
    "asyncio concurrent.futures fcntl fileinput getpass io pathlib pty queue sched select selectors signal"
    " socket sqlite3 ssl subprocess"
)

# Before patching.
STDIN = "import os; stdin, user = os.pipe(); os.dup2(stdin, 0)"
TERMINAL = "import os; user, terminal = os.openpty(); os.dup2(terminal, 0); os.dup2(terminal, 1)"
NAME_SERVER = """
import _socket, _thread, socket
gate = _thread.allocate_lock()
gate.acquire()
def slow(name):
    def look_up(*arguments):
        gate.acquire()
        return []
    setattr(_socket, name, look_up)
    if name != "getaddrinfo":  # which is Python code over that of _socket
        setattr(socket, name, look_up)
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"):
    slow(name)
"""

# After patching.
EMPTY = "os.read(r, 1 << 20)"
READ_ALL = """
while not done:
    os.read(r, 1 << 16)
    time.sleep(0)
"""
RECEIVE_ALL = """
while not done:
    b.recv(1 << 20)
    time.sleep(0)
"""
FILL_SOCKET = """
a.setblocking(False)
try:
    while True:
        a.send(bytes(1 << 16))
except BlockingIOError:
    a.setblocking(True)
"""
FULL_BACKLOG = """
server = socket.create_server(("127.0.0.1", 0), backlog=0)
queued = socket.create_connection(server.getsockname())
client = socket.socket()
"""
TLS = "tls = ssl.create_default_context().wrap_socket(a, server_hostname='x', do_handshake_on_connect=False)"
FILE = "open(path, 'wb').write(bytes(10_000_000)); file = open(path, 'rb')"
BLOCKED = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])"
SIGNAL = "os.kill(os.getpid(), signal.SIGUSR1)"
INSERT = "'insert into t values (1)'"
READER = f"""
first.execute({INSERT})
first.execute({INSERT})
first.commit()
cursor = first.execute("select x from t")
cursor.fetchone()
second.execute({INSERT})
"""

# The call, the end of its wait, what is done before, and what is done before patching.
CASES: dict[str, tuple[str, ...]] = {
    "time.sleep": ("time.sleep(0.3)", ""),
    "sched.scheduler.run": ("s.run()", "", "s = sched.scheduler(); s.enter(0.3, 1, len, ((),))"),
    "threading.Lock.acquire": ("held.acquire()", "held.release()"),
    "threading.RLock.acquire": (
        "lock.acquire()",
        "lock.release()",
        "lock = threading.RLock(); lock.acquire()",
    ),
    "threading.Condition.wait": (
        "wait_for_it()",
        "with c: c.notify()",
        "c = threading.Condition()\ndef wait_for_it():\n    with c: c.wait()",
    ),
    "threading.Event.wait": ("e.wait()", "e.set()", "e = threading.Event()"),
    "threading.Semaphore.acquire": ("s.acquire()", "s.release()", "s = threading.Semaphore(0)"),
    "threading.Barrier.wait": ("b.wait()", "b.wait()", "b = threading.Barrier(2)"),
    "threading.Thread.join": (
        "t.join()",
        "held.release()",
        "t = threading.Thread(target=held.acquire); t.start()",
    ),
    "queue.Queue.get": ("q.get()", "q.put(1)", "q = queue.Queue()"),
    "queue.Queue.put": ("q.put(2)", "q.get()", "q = queue.Queue(1); q.put(1)"),
    "queue.Queue.join": ("q.join()", "q.task_done()", "q = queue.Queue(); q.put(1)"),
    "queue.LifoQueue.get": ("q.get()", "q.put(1)", "q = queue.LifoQueue()"),
    "queue.PriorityQueue.get": ("q.get()", "q.put(1)", "q = queue.PriorityQueue()"),
    "queue.SimpleQueue.get": ("q.get()", "q.put(1)", "q = queue.SimpleQueue()"),
    "concurrent.futures.Future.result": ("future.result()", "future.set_result(1)"),
    "concurrent.futures.Future.exception": ("future.exception()", "future.set_result(1)"),
    "concurrent.futures.wait": ("f.wait([future])", "future.set_result(1)", "import concurrent.futures as f"),
    "concurrent.futures.as_completed": (
        "list(f.as_completed([future]))",
        "future.set_result(1)",
        "import concurrent.futures as f",
    ),
    "concurrent.futures.ThreadPoolExecutor.shutdown": (
        "pool.shutdown()",
        "held.release()",
        "import concurrent.futures as f; pool = f.ThreadPoolExecutor(); pool.submit(held.acquire)",
    ),
    "asyncio.run": ("asyncio.run(asyncio.sleep(0.3))", ""),
    "socket.socket.accept": ("listener.accept()", "socket.create_connection(listener.getsockname())"),
    "socket.socket.connect": ("client.connect(server.getsockname())", "server.accept()", FULL_BACKLOG),
    "socket.create_connection": (
        "socket.create_connection(server.getsockname())",
        "server.accept()",
        FULL_BACKLOG,
    ),
    "socket.socket.recv": ("a.recv(1)", "b.send(b'x')"),
    "socket.socket.recv_into": ("a.recv_into(bytearray(1))", "b.send(b'x')"),
    "socket.socket.recvfrom": ("a.recvfrom(1)", "b.send(b'x')"),
    "socket.socket.recvmsg": ("a.recvmsg(1)", "b.send(b'x')"),
    "socket.socket.send": ("a.send(b'x')", RECEIVE_ALL, FILL_SOCKET),
    "socket.socket.sendall": ("a.sendall(bytes(1 << 24))", RECEIVE_ALL),
    "socket.socket.sendmsg": ("a.sendmsg([b'x'])", RECEIVE_ALL, FILL_SOCKET),
    "socket.socket.sendfile": ("a.sendfile(file)", RECEIVE_ALL, FILE),
    "ssl.SSLSocket.do_handshake": ("tls.do_handshake()", "b.close()", TLS),
    "ssl.SSLSocket.recv": ("tls.recv(1)", "b.close()", TLS),
    "ssl.SSLSocket.sendall": ("tls.sendall(b'x')", "b.close()", TLS),
    "socket.getaddrinfo": ("socket.getaddrinfo('x', 1)", "gate.release()", "", NAME_SERVER),
    "socket.gethostbyname": ("socket.gethostbyname('x')", "gate.release()", "", NAME_SERVER),
    "socket.gethostbyname_ex": ("socket.gethostbyname_ex('x')", "gate.release()", "", NAME_SERVER),
    "socket.gethostbyaddr": ("socket.gethostbyaddr('x')", "gate.release()", "", NAME_SERVER),
    "socket.getnameinfo": ("socket.getnameinfo(('x', 1), 0)", "gate.release()", "", NAME_SERVER),
    "select.select": ("select.select([r], [], [])", "os.write(w, b'x')"),
    "select.poll.poll": ("p.poll()", "os.write(w, b'x')", "p = select.poll(); p.register(r)"),
    "select.epoll.poll": ("p.poll()", "os.write(w, b'x')", "p = select.epoll(); p.register(r)"),
    "select.kqueue.control": (
        "k.control([select.kevent(r)], 1)",
        "os.write(w, b'x')",
        "k = select.kqueue()",
    ),
    "selectors.DefaultSelector.select": (
        "s.select()",
        "os.write(w, b'x')",
        "s = selectors.DefaultSelector(); s.register(r, 1)",
    ),
    "io.open": ("open(fifo)", "os.open(fifo, os.O_WRONLY)"),
    "io.FileIO": ("io.FileIO(fifo, 'w')", "os.open(fifo, os.O_RDONLY)"),
    "os.open": ("os.open(fifo, os.O_RDONLY)", "os.open(fifo, os.O_WRONLY)"),
    "pathlib.Path.open": ("pathlib.Path(fifo).open('w')", "open(fifo)"),
    "io.FileIO.read": ("io.FileIO(r).read(1)", "os.write(w, b'x')"),
    "io.FileIO.readinto": ("io.FileIO(r).readinto(bytearray(1))", "os.write(w, b'x')"),
    "io.FileIO.write": ("io.FileIO(full, 'w').write(b'x')", EMPTY),
    "io.BufferedReader.read": ("open(r, 'rb').read(1)", "os.write(w, b'x')"),
    "io.BufferedReader.readline": ("open(r, 'rb').readline()", r"os.write(w, b'x\n')"),
    "io.BufferedWriter.write": ("open(full, 'wb').write(bytes(100_000))", READ_ALL),
    "io.BufferedWriter.flush": ("f.flush()", EMPTY, "f = open(full, 'wb'); f.write(b'x')"),
    "io.TextIOWrapper.read": ("os.fdopen(r).read(1)", "os.write(w, b'x'); os.close(w)"),
    "io.TextIOWrapper.readline": ("os.fdopen(r).readline()", r"os.write(w, b'x\n')"),
    "io.TextIOWrapper.write": ("os.fdopen(full, 'w').write(100_000 * 'x')", READ_ALL),
    "os.read": ("os.read(r, 1)", "os.write(w, b'x')"),
    "os.readv": ("os.readv(r, [bytearray(1)])", "os.write(w, b'x')"),
    "os.write": ("os.write(full, b'x')", EMPTY),
    "os.writev": ("os.writev(full, [b'x'])", EMPTY),
    "os.eventfd_read": ("os.eventfd_read(e)", "os.eventfd_write(e, 1)", "e = os.eventfd(0)"),
    "os.eventfd_write": (
        "os.eventfd_write(e, 5)",
        "os.eventfd_read(e)",
        "e = os.eventfd(1); os.eventfd_write(e, (1 << 64) - 3)",
    ),
    "pty.spawn": ("pty.spawn(script)", "os.write(w, b'x')"),
    "os.sendfile": ("os.sendfile(full, file.fileno(), 0, 10)", EMPTY, FILE),
    "os.splice": ("os.splice(r, into, 1)", "os.write(w, b'x')", "out, into = os.pipe()"),
    "builtins.input": ("input('? ')", r"os.write(user, b'x\n')", "", TERMINAL),
    "sys.stdin.read": ("sys.stdin.read(1)", r"os.write(user, b'x\n'); os.close(user)", "", STDIN),
    "sys.stdin.readline": ("sys.stdin.readline()", r"os.write(user, b'x\n')", "", STDIN),
    "getpass.getpass": ("getpass.getpass()", r"os.write(user, b'x\n')", "", TERMINAL),
    "fileinput.input": ("fileinput.input(['-']).readline()", r"os.write(user, b'x\n')", "", STDIN),
    "os.wait": ("os.wait()", "child.stdin.close()", "child"),
    "os.waitpid": ("os.waitpid(child.pid, 0)", "child.stdin.close()"),
    "os.wait3": ("os.wait3(0)", "child.stdin.close()", "child"),
    "os.wait4": ("os.wait4(child.pid, 0)", "child.stdin.close()"),
    "os.waitid": ("os.waitid(os.P_PID, child.pid, os.WEXITED)", "child.stdin.close()"),
    "os.popen": ("os.popen('read line').read()", r"os.write(user, b'x\n')", "", STDIN),
    "os.spawnv": (
        "os.spawnv(os.P_WAIT, '/bin/sh', ['sh', '-c', 'read line'])",
        r"os.write(user, b'x\n')",
        "",
        STDIN,
    ),
    "os.system": ("os.system('read line')", r"os.write(user, b'x\n')", "", STDIN),
    "subprocess.Popen.wait": ("child.wait()", "child.stdin.close()"),
    "subprocess.Popen.communicate": (
        "subprocess.Popen('read line', shell=True, stdout=-1, stderr=-1).communicate()",
        r"os.write(user, b'x\n')",
        "",
        STDIN,
    ),
    "subprocess.run": ("subprocess.run('read line', shell=True)", r"os.write(user, b'x\n')", "", STDIN),
    "signal.pause": ("signal.pause()", SIGNAL, "signal.signal(signal.SIGUSR1, lambda *_: None)"),
    "signal.sigwait": ("signal.sigwait([signal.SIGUSR1])", SIGNAL, BLOCKED),
    "signal.sigwaitinfo": ("signal.sigwaitinfo([signal.SIGUSR1])", SIGNAL, BLOCKED),
    "signal.sigtimedwait": ("signal.sigtimedwait([signal.SIGUSR1], 20)", SIGNAL, BLOCKED),
    "fcntl.flock": (
        "fcntl.flock(open(path, 'w'), fcntl.LOCK_EX)",
        "fcntl.flock(mine, fcntl.LOCK_UN)",
        "mine = open(path, 'w'); fcntl.flock(mine, fcntl.LOCK_EX)",
    ),
    "fcntl.lockf": ("fcntl.lockf(file, fcntl.LOCK_EX)", "other.kill()", "other"),
    "fcntl.fcntl": (
        "fcntl.fcntl(file, fcntl.F_SETLKW, flock)",
        "other.kill()",
        "import struct; flock = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0); other",
    ),
    "os.lockf": ("os.lockf(file.fileno(), os.F_LOCK, 0)", "other.kill()", "other"),
    "multiprocessing.connection.Connection.recv": ("near.recv()", "far.send(1)"),
    "multiprocessing.connection.Connection.send": ("near.send(bytes(1 << 24))", "far.recv()"),
    "multiprocessing.connection.Connection.poll": ("near.poll(20)", "far.send(1)"),
    "multiprocessing.connection.wait": ("connection.wait([near])", "far.send(1)"),
    "multiprocessing.connection.Listener.accept": (
        "l.accept()",
        "connection.Client(l.address)",
        "l = connection.Listener()",
    ),
    "multiprocessing.Queue.get": ("q.get()", "q.put(1)", "q = mp.Queue()"),
    "multiprocessing.SimpleQueue.get": ("q.get()", "q.put(1)", "q = mp.SimpleQueue()"),
    "multiprocessing.Lock.acquire": ("l.acquire()", "l.release()", "l = mp.Lock(); l.acquire()"),
    "multiprocessing.Semaphore.acquire": ("s.acquire()", "s.release()", "s = mp.Semaphore(0)"),
    "multiprocessing.Process.join": (
        "p.join()",
        "os.write(w, b'x')",
        "p = mp.Process(target=os.read, args=(r, 1)); p.start()",
    ),
    "multiprocessing.Pool.apply": ("p.apply(os.read, (r, 1))", "os.write(w, b'x')", "p = mp.Pool(1)"),
    "sqlite3.Connection.execute": (f"second.execute({INSERT})", "first.commit()"),
    "sqlite3.Connection.executemany": (
        "second.executemany('insert into t values (?)', iter([(1,), (2,)]))",
        "first.commit()",
    ),
    "sqlite3.Connection.executescript": (f"second.executescript({INSERT})", "first.commit()"),
    "sqlite3.Connection.commit": ("second.commit()", "cursor.fetchall()", READER),
    "sqlite3.Connection.__exit__": ("second.__exit__(None, None, None)", "cursor.fetchall()", READER),
    "sqlite3.Cursor.execute": (f"second.cursor().execute({INSERT})", "first.commit()"),
    "sqlite3.Cursor.executemany": (
        "second.cursor().executemany('insert into t values (?)', [(1,), (2,)])",
        "first.commit()",
    ),
    "sqlite3.Cursor.executescript": (f"second.cursor().executescript({INSERT})", "first.commit()"),
}

WAITING = [name for line in LINES if line.does != BLOCKS for name in line.calls]


def exists(name: str) -> bool:
    """Whether this system has the call, or the class that it is a method of."""
    module, *names = name.split(".")
    while True:
        found = importlib.import_module(module)
        if hasattr(found, names[0]) and not isinstance(getattr(found, names[0]), types.ModuleType):
            return True
        try:
            importlib.import_module(f"{module}.{names[0]}")
        except ImportError:
            return False
        module = f"{module}.{names.pop(0)}"


@pytest.fixture(scope="module")
def harness() -> Iterator[Callable[[tuple[str, ...]], tuple[int, str]]]:
    """A process that makes a child for each case: its exit status, and what it has written to stderr."""
    command = [sys.executable, "-c", HARNESS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        requests, answers = process.stdin, process.stdout
        assert requests is not None and answers is not None

        def run(case: tuple[str, ...]) -> tuple[int, str]:
            print(json.dumps(case), file=requests, flush=True)
            status, errors = json.loads(answers.readline())
            return status, errors

        yield run
        requests.close()


@pytest.mark.parametrize("name", WAITING)
def test_another_greenlet_goes_on_meanwhile(
    name: str, harness: Callable[[tuple[str, ...]], tuple[int, str]]
) -> None:
    if not exists(name):
        pytest.skip(f"no {name} here")
    wait, end, prepare, before = (*CASES[name], "", "")[:4]
    status, errors = harness((wait, end, prepare, before, MODULES))
    assert status == 0, errors


def test_every_call_that_waits_is_tried() -> None:
    assert sorted(CASES) == sorted(WAITING)


def test_no_call_is_in_two_lines() -> None:
    calls = [name for line in LINES for name in line.calls]
    assert len(calls) == len(set(calls))


def test_the_document_has_the_table() -> None:
    """``python -m greenpool._blocking_calls`` prints it."""
    assert table() in DOCUMENT.read_text(encoding="utf-8")


def test_a_line_is_found_by_the_name_of_a_function() -> None:
    flock = find("fcntl.flock")
    assert flock is not None
    assert flock.waits_for == "locks of files"
    anything = find("shutil.copyfile")
    assert anything is not None
    assert anything.does == BLOCKS
    assert find("math.sin") is None
