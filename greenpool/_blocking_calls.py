"""The calls of the standard library that can wait, and what each does in a patched program.

The table of docs/monkey.md is made from this list (``python -m greenpool._blocking_calls`` prints it).  Tests
prove that the page has the table, and of each call that is said to park that it does.  Python code over these
calls (``smtplib``, ``shutil.copyfileobj``) does what they do.

*Names* are those by which programs call: ``module.qualified_name``.  ``module.*`` stands for all functions of
a module.  ``find`` looks one up, that of a frame's function, say.
"""

from __future__ import annotations

from types import FrameType
from typing import Final, NamedTuple

from ._core.native import HAS_GIL

PARKS: Final = "parks"
# The greenlet parks while a thread that is no hub makes the call.
THREAD: Final = "worker thread"
# All greenlets of the hub wait until the call returns.
BLOCKS: Final = "blocks"


class Line(NamedTuple):
    """Calls that wait for the same, and do the same about it."""

    waits_for: str
    calls: tuple[str, ...]
    does: str
    # Markdown.
    remark: str = ""


LINES = (
    Line("time", ("time.sleep", "sched.scheduler.run"), PARKS, "`sched` if it is imported after patching"),
    Line(
        "threads and their locks",
        (
            "threading.Lock.acquire",
            "threading.RLock.acquire",
            "threading.Condition.wait",
            "threading.Event.wait",
            "threading.Semaphore.acquire",
            "threading.Barrier.wait",
            "threading.Thread.join",
        ),
        PARKS,
    ),
    Line(
        "queues",
        (
            "queue.Queue.get",
            "queue.Queue.put",
            "queue.Queue.join",
            "queue.LifoQueue.get",
            "queue.PriorityQueue.get",
            "queue.SimpleQueue.get",
        ),
        PARKS,
    ),
    Line(
        "futures",
        (
            "concurrent.futures.Future.result",
            "concurrent.futures.Future.exception",
            "concurrent.futures.wait",
            "concurrent.futures.as_completed",
            "concurrent.futures.ThreadPoolExecutor.shutdown",
        ),
        PARKS,
    ),
    Line("coroutines", ("asyncio.run",), PARKS),
    Line(
        "sockets",
        (
            "socket.socket.accept",
            "socket.socket.connect",
            "socket.socket.recv",
            "socket.socket.recv_into",
            "socket.socket.recvfrom",
            "socket.socket.recvmsg",
            "socket.socket.send",
            "socket.socket.sendall",
            "socket.socket.sendmsg",
            "socket.socket.sendfile",
            "socket.create_connection",
            "ssl.SSLSocket.do_handshake",
            "ssl.SSLSocket.recv",
            "ssl.SSLSocket.sendall",
        ),
        PARKS,
        "and so do `http`, `urllib`, `ftplib`, `imaplib`, `poplib`, `smtplib`, `socketserver`, `xmlrpc` and "
        "`logging.handlers`",
    ),
    Line(
        "host names",
        (
            "socket.getaddrinfo",
            "socket.gethostbyname",
            "socket.gethostbyname_ex",
            "socket.gethostbyaddr",
            "socket.getnameinfo",
        ),
        THREAD,
    ),
    Line(
        "readiness",
        (
            "select.select",
            "select.poll.poll",
            "select.epoll.poll",
            "select.kqueue.control",
            "selectors.DefaultSelector.select",
        ),
        PARKS,
    ),
    Line(
        "the other end of a FIFO, the carrier of a serial line",
        ("io.open", "io.FileIO", "os.open", "pathlib.Path.open"),
        THREAD,
        "opening regular files blocks; after a kill the thread may stay until the other end is opened",
    ),
    Line(
        "pipes, FIFOs, sockets and terminals, as files",
        (
            "io.FileIO.read",
            "io.FileIO.readinto",
            "io.FileIO.write",
            "io.BufferedReader.read",
            "io.BufferedReader.readline",
            "io.BufferedWriter.write",
            "io.BufferedWriter.flush",
            "io.TextIOWrapper.read",
            "io.TextIOWrapper.readline",
            "io.TextIOWrapper.write",
        ),
        PARKS,
        "files that were opened after patching; a worker thread writes to a terminal",
    ),
    Line(
        "pipes, FIFOs, sockets and terminals, by their descriptor",
        (
            "os.read",
            "os.readv",
            "os.write",
            "os.writev",
            "os.eventfd_read",
            "os.eventfd_write",
            "pty.spawn",
        ),
        PARKS,
    ),
    Line("room in a blocking pipe or socket", ("os.sendfile", "os.splice"), THREAD),
    Line(
        "the user",
        ("builtins.input", "sys.stdin.read", "sys.stdin.readline", "getpass.getpass", "fileinput.input"),
        PARKS,
        "patch before anything is read from `sys.stdin`",
    ),
    Line(
        "the user, with line editing in C",
        ("builtins.input with readline", "curses.window.getch", "curses.window.getstr", "tkinter.mainloop"),
        BLOCKS,
        "`input` if the program has imported `readline`",
    ),
    Line(
        "a reader of the program's own output",
        ("builtins.print", "sys.stdout.write", "sys.stdout.flush", "sys.stderr.write"),
        BLOCKS,
        "parks with `patch_all(sys=True)`",
    ),
    Line(
        "child processes",
        (
            "os.wait",
            "os.waitpid",
            "os.wait3",
            "os.wait4",
            "os.waitid",
            "os.popen",
            "os.spawnv",
            "subprocess.Popen.wait",
            "subprocess.Popen.communicate",
            "subprocess.run",
        ),
        PARKS,
    ),
    Line("a shell command", ("os.system",), THREAD),
    Line(
        "signals",
        ("signal.pause", "signal.sigwait", "signal.sigwaitinfo", "signal.sigtimedwait"),
        PARKS,
        "`sigwait` and its kin look for the signal every 20 ms",
    ),
    Line(
        "locks of files",
        ("fcntl.flock", "fcntl.lockf", "fcntl.fcntl", "os.lockf"),
        PARKS,
        "ask again every 20 ms; the kernel does not see deadlocks",
    ),
    Line(
        "other processes",
        (
            "multiprocessing.connection.Connection.recv",
            "multiprocessing.connection.Connection.send",
            "multiprocessing.connection.Connection.poll",
            "multiprocessing.connection.Listener.accept",
            "multiprocessing.connection.wait",
            "multiprocessing.Queue.get",
            "multiprocessing.SimpleQueue.get",
            "multiprocessing.Lock.acquire",
            "multiprocessing.Semaphore.acquire",
            "multiprocessing.Process.join",
            "multiprocessing.Pool.apply",
        ),
        PARKS,
        "locks are asked for again every 20 ms",
    ),
    Line(
        "locks of a database",
        (
            "sqlite3.Connection.execute",
            "sqlite3.Connection.executemany",
            "sqlite3.Connection.executescript",
            "sqlite3.Connection.commit",
            "sqlite3.Connection.__exit__",
            "sqlite3.Cursor.execute",
            "sqlite3.Cursor.executemany",
            "sqlite3.Cursor.executescript",
        ),
        PARKS,
        "ask again every 20 ms; `executescript` blocks for locks of other processes and threads that come in "
        "the midst of the script",
    ),
    Line(
        "SQLite's own work",
        ("sqlite3.Connection.backup", "sqlite3.Connection.iterdump", "sqlite3.Cursor.fetchall"),
        BLOCKS,
    ),
    Line(
        "the disk",
        (
            "os.fsync",
            "os.fdatasync",
            "os.sync",
            "os.pread",
            "os.pwrite",
            "os.preadv",
            "os.pwritev",
            "os.copy_file_range",
            "os.posix_fallocate",
            "os.listdir",
            "os.scandir",
            "os.stat",
            "os.statvfs",
            "mmap.mmap.flush",
            "shutil.*",
            "tempfile.*",
            "glob.*",
            "zipfile.*",
            "tarfile.*",
            "dbm.*",
            "shelve.*",
            "mailbox.*",
            "linecache.*",
        ),
        BLOCKS,
        "and so do reads and writes of regular files, and everything on file systems over a network",
    ),
    Line(
        "a terminal or a line that drains",
        ("termios.tcdrain", "termios.tcsetattr", "tty.setraw", "tty.setcbreak"),
        BLOCKS,
    ),
    Line(
        "users, groups and services, which may be on a server",
        (
            "pwd.*",
            "grp.*",
            "os.getlogin",
            "os.getgrouplist",
            "os.initgroups",
            "socket.getservbyname",
            "socket.getservbyport",
            "socket.getprotobyname",
        ),
        BLOCKS,
    ),
    Line("the system's log", ("syslog.syslog", "syslog.openlog"), BLOCKS),
    Line("random numbers while the system starts", ("os.getrandom", "os.urandom", "secrets.*"), BLOCKS),
    Line(
        "the start of a child process",
        ("os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp"),
        BLOCKS,
    ),
    Line(
        "code in C",
        ("ctypes.*",),
        BLOCKS,
        "`greenpool.blocking(function)` calls it in a worker thread",
    ),
)

_ADVICE = {
    PARKS: "it parks in a patched program",
    THREAD: "a worker thread calls it in a patched program",
    BLOCKS: "greenpool.blocking(function) calls it in a worker thread",
}

# Calls of a stack in which one of the list is looked for.
MOST_CALLS = 10

_LINE_OF = {name: line for line in LINES for name in line.calls}


def find(name: str) -> Line | None:
    """The line of the function with that name, ``module.qualified_name``; None where the list has none."""
    return _LINE_OF.get(name) or _LINE_OF.get(f"{name.partition('.')[0]}.*")


def describe_call(frame: FrameType) -> str:
    """What the running *frame* waits for, if it calls a function of the list; else "".

    Without a GIL only the names of the functions in Python are known.
    """
    # Imported here, because only a stall needs it.
    from ._core.holds import called_by

    names = [called_by(frame)] if HAS_GIL else []
    caller: FrameType | None = frame
    while caller is not None and len(names) < MOST_CALLS:
        names.append(f"{caller.f_globals.get('__name__')}.{caller.f_code.co_qualname}")
        caller = caller.f_back if HAS_GIL else None
    for name in names:
        line = find(name)
        if line is not None:
            return f"{name} waits for {line.waits_for}; {_ADVICE[line.does]}"
    return ""


def table() -> str:
    """The list as a table in Markdown."""
    rows = ["| waits for | calls | |", "| --- | --- | --- |"]
    for line in LINES:
        calls = ", ".join(f"`{name}`" for name in line.calls)
        does = f"{line.does}; {line.remark}" if line.remark else line.does
        rows.append(f"| {line.waits_for} | {calls} | {does} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
