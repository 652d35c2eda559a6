"""The side of the console that is looked into.

A request is one line of JSON: ``{"command": "snapshot", "stacks": true}``, ``{"command": "top", "seconds":
1}``, ``{"command": "page", "seconds": 1}``, ``{"command": "lines"}`` (where the hubs are that are awake),
``{"command": "ping"}`` or ``{"command": "repl"}``.  A repl is text in both directions.  All others are
answered by one line of JSON.  ``{"command": "trace", "seconds": 5, "stall_limit": 0.1, "limit": 1000000}``
records the process; a further line ends that early.  The answer is the lines of recording.py, or one with an
error.

Without the GIL only "lines" stops the other threads for a moment, and so waits for code in C that runs on
one of them.  All other commands are answered meanwhile.

Everything that an answer needs is imported when the console is opened: later the program may be hung in an
import, or keep the GIL at every file that is read.

*Threads*: one real thread waits for connections, and each connection has a real thread of its own.  The lock
guards what is open.
"""

from __future__ import annotations

import _socket
import atexit
import json
import os
import sys
from time import monotonic, thread_time, time
from typing import Any

from .._core.current import open_hubs
from .._core.deadlock import idle_threads
from .._core.fork import at_fork
from .._core.native import HAS_GIL, RLock, get_ident, start_new_thread
from .._core.origin import Origins
from .._core.recorder import Recording
from .._core.survey import Stack, running_lines, survey, watch_turns
from ..inspect import Snapshot, snapshot
from .place import may_enter, own_directory, peer_user, remove_stale, socket_path
from .recording import lines_of
from .repl import interact

# Seconds for the request to arrive, and its most bytes.
PATIENCE = 10.0
LONGEST_REQUEST = 65_536

# Seconds.
LONGEST_RECORDING = 86_400.0

# With more greenlets, a "top" tells nothing of the waits, because that would take a noticeable time.
MOST_WAITS = 20_000

# Seconds for which the hubs are watched at most.
LONGEST_WATCH = 60.0

# Greenlets that are encoded in one go.
ROWS = 200


class Listener:
    """An open console."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pid = os.getpid()
        self.thread: int | None = None
        # Changes with each connection.
        self.served = 0
        self.is_closing = False
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            os.set_inheritable(self._socket.fileno(), False)
            try:
                # On Linux this is the mode of the file that ``bind`` makes.
                os.fchmod(self._socket.fileno(), 0o600)
            except OSError:
                pass  # elsewhere the mode of the directory keeps others out until chmod
            self._socket.bind(path)
            os.chmod(path, 0o600)
            self._socket.listen(8)
        except BaseException:
            self._socket.close()
            raise

    def serve(self) -> None:
        """Accept connections until it is closed; on its own thread."""
        self.thread = get_ident()
        # The C type, whose stubs lack the method that ``socket.socket.accept`` is made of.
        listener: Any = self._socket
        while True:
            try:
                descriptor, _ = listener._accept()
            except OSError:
                break  # closed
            self.served += 1
            connection = _socket.socket(fileno=descriptor)
            if self.is_closing:
                connection.close()
                break
            start_new_thread(_serve, (connection,))
        self._socket.close()

    def close(self) -> None:
        self.is_closing = True
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass  # somebody has cleaned up
        try:
            # Ends the wait of its thread, which then closes the descriptor.
            self._socket.shutdown(_socket.SHUT_RDWR)
        except OSError:
            self._socket.close()

    def forget(self) -> None:
        """In the child of a fork: the socket and its thread are the parent's."""
        self._socket.close()


class _Open:
    lock = RLock()
    listener: Listener | None = None
    # Whether it has the default path.
    is_default = False


def listen(path: str | os.PathLike[str] | None = None) -> str:
    """Open the console of this process and return the path of its socket; any thread.

    *path*: of the socket, in a directory that no other user may enter.  By default it is PID.sock in
    ``$XDG_RUNTIME_DIR/greenpool``, or in ``/tmp/greenpool-UID``.  A second call returns the path of the
    console that is open.  Without the C extension, greenlets note by which greenlet they are spawned from now
    on.

    Raises PermissionError if the directory is open to others, and OSError if the socket cannot be made.
    """
    with _Open.lock:
        if _Open.listener is not None:
            return _Open.listener.path
        if path is None:
            directory = own_directory()
            remove_stale(directory)
            where = socket_path(directory, os.getpid())
            if os.path.exists(where):
                os.unlink(where)  # of a process that had the same number
        else:
            where = os.fspath(path)
        listener = Listener(where)
        _Open.listener = listener
        _Open.is_default = path is None
        Origins.are_noted = True
        start_new_thread(listener.serve, ())
        return where


def listen_as_wished(by_default: bool) -> None:
    """Open the console if ``GREENPOOL_CONSOLE`` is 1, and without that variable if *by_default*."""
    wish = os.environ.get("GREENPOOL_CONSOLE", "")
    if not hasattr(_socket, "AF_UNIX") or not (by_default if wish == "" else wish != "0"):
        return
    try:
        listen()
    except OSError as error:
        # Nobody has asked for one that is opened by default.
        if wish:
            print(f"greenpool has no console: {error}", file=sys.stderr)


def close() -> None:
    """Close the console; any thread.  Connections that there are go on."""
    with _Open.lock:
        listener, _Open.listener = _Open.listener, None
    if listener is not None and listener.pid == os.getpid():
        listener.close()


atexit.register(close)


def _after_fork_in_child() -> None:
    _Open.lock = RLock()
    listener, _Open.listener = _Open.listener, None
    if listener is not None:
        listener.forget()
        if _Open.is_default:
            try:
                listen()
            except OSError:
                pass  # a child without a console is better than none


at_fork("console", in_child=_after_fork_in_child)


def _idle_thread() -> dict[int, object]:
    """The thread that waits for connections, which wakes nobody before one comes."""
    listener = _Open.listener
    if listener is None or listener.thread is None:
        return {}
    return {listener.thread: listener.served}


idle_threads.append(_idle_thread)


def _serve(connection: Any) -> None:
    try:
        if may_enter(peer_user(connection)):
            connection.settimeout(PATIENCE)
            _answer(connection)
    except (OSError, ValueError):
        pass  # the other side has gone, or sends nonsense
    finally:
        connection.close()


def _answer(connection: Any) -> None:
    reader = _Lines(connection)
    request = json.loads(reader.read_line())
    command = request["command"] if isinstance(request, dict) and "command" in request else None
    if command == "snapshot":
        answer = _take(bool(request.get("stacks", True))).as_dict()
    elif command == "top":
        answer = _top(float(request.get("seconds", 1.0)))
    elif command == "trace":
        _trace(connection, request)
        return
    elif command == "lines":
        answer = {name: frame._asdict() for name, frame in running_lines().items()}
    elif command == "ping":
        answer = {}
    elif command == "page":
        connection.sendall(_page(float(request.get("seconds", 1.0))))
        return
    elif command == "repl":
        _repl(connection, reader)
        return
    else:
        answer = {"error": f"no such command: {command!r}"}
    connection.sendall(json.dumps(answer).encode() + b"\n")


def _take(stacks: bool) -> Snapshot:
    return Snapshot(os.getpid(), time(), *survey(stacks, may_stop_threads=False))


def _top(seconds: float) -> dict[str, Any]:
    turns = watch_turns(min(max(seconds, 0.0), LONGEST_WATCH))
    stacks = sum(hub.statistics()["live"] for hub in open_hubs()) <= MOST_WAITS
    return {"snapshot": _take(stacks).as_dict(), "turns": turns}


def _trace(connection: Any, request: dict[str, Any]) -> None:
    recording = Recording(int(request["limit"]), float(request["stall_limit"]))
    seconds = min(max(float(request["seconds"]), 0.0), LONGEST_RECORDING)
    try:
        recording.start()
    except RuntimeError as error:
        connection.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
        return
    try:
        # 0 would be a socket that does not block.
        connection.settimeout(max(seconds, 0.001))
        is_gone = not connection.recv(1)
    except TimeoutError:
        is_gone = False
    finally:
        recorded = recording.stop()
    connection.settimeout(PATIENCE)
    if not is_gone:
        for line in lines_of(recorded):
            connection.sendall(line)


def _page(seconds: float) -> bytes:
    """The line that ``greenpool web`` gets: rows in the place of dictionaries, and each stack once.

    One call of the encoder keeps the GIL until it ends, so it gets a few rows at a time.
    """
    seconds = min(max(seconds, 0.0), LONGEST_WATCH)
    turns = watch_turns(seconds, 0.02)
    # Without a GIL the hubs do most of the work, so the processor time of this thread would say too little.
    clock = thread_time if HAS_GIL else monotonic
    began = clock()
    taken = _take(True)
    # Equal stacks are mostly one object.
    numbers: dict[int, int] = {}
    stacks: list[Stack] = []
    texts: list[str] = []
    for begin in range(0, len(taken.greenlets), ROWS):
        rows: list[tuple[object, ...]] = []
        for each in taken.greenlets[begin : begin + ROWS]:
            number = None
            if each.stack is not None:
                number = numbers.get(id(each.stack))
                if number is None:
                    number = numbers[id(each.stack)] = len(stacks)
                    stacks.append(each.stack)
            rows.append((*each[:-1], number))
        texts.append(json.dumps(rows)[1:-1])
    head = {
        "pid": taken.pid,
        "time": taken.time,
        "cost": clock() - began,
        "watched": seconds,
        "hubs": taken.hubs,
        "turns": turns,
        "stacks": stacks,
    }
    return f'{json.dumps(head)[:-1]}, "greenlets": [{", ".join(texts)}]}}\n'.encode()


def _repl(connection: Any, reader: _Lines) -> None:
    def write(text: str) -> None:
        connection.sendall(text.encode(errors="replace"))

    connection.settimeout(None)
    names = {"__name__": "__console__", "snapshot": snapshot, "main": sys.modules.get("__main__")}
    interact(
        names,
        reader.read_line,
        write,
        "`main` is the program, and snapshot() looks inside",
    )


class _Lines:
    """Reads lines from a connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._left = b""

    def read_line(self) -> str:
        while b"\n" not in self._left:
            if len(self._left) > LONGEST_REQUEST:
                raise ValueError("the line is too long")
            more = self._connection.recv(4096)
            if not more:
                break
            self._left += more
        line, end, self._left = self._left.partition(b"\n")
        return (line + end).decode(errors="replace")
