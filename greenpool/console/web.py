"""The live page of ``greenpool web PID``: what every hub and greenlet does, in a browser.

A server of this package, on the loopback interface only, serves the page and a stream of server-sent events.
It asks the process by its console while a page is open, and otherwise not at all.  The page gets everything
once and then what has changed.  The more an answer costs the process, the more seldom it answers, so that it
works for the page for a twentieth of the time at most.

*Who gets in*: nobody without the token, a random part of the address.  The server answers only to its own
name (``Host``), so no other site can have a browser ask it under a name that leads to this address (DNS
rebinding).  It takes GET and HEAD only, and changes nothing.

*Threads*: everything runs in greenlets on the hub that has started the server.
"""

from __future__ import annotations

import atexit
import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from socket import socket as StandardSocket
from time import monotonic
from typing import Any

from .._core.waiter import sleep
from ..event import Event
from ..greenlet import Greenlet
from ..pywsgi import WSGIServer
from ..socket import socket as GreenSocket
from ..threadpool import blocking
from .book import Book
from .client import ConsoleError, connect
from .place import exists

HOST = "127.0.0.1"

# The shortest and the longest seconds from one look to the next, for which the hubs are watched.
SHORTEST = 1.0
LONGEST = 60.0
# Looks may take this part of the process's time.
SHARE = 0.05
# Seconds until a lost process is asked again, and after which a page is told that no answer comes.
RETRY = 1.0
BEAT = 2.0

_FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_SECURITY = [
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]

_Json = dict[str, Any]
_Start = Callable[[str, list[tuple[str, str]]], object]


class Watcher:
    """Asks the process again and again, in a greenlet, while there are streams."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.book = Book()
        # Why there will be no more answers, and why there is none now.
        self.ended = ""
        self.trouble = ""
        # The number of the last look, and what has changed since the one before.
        self._number = 0
        self._change: _Json = {}
        # Seconds for the next one.
        self._interval = SHORTEST
        # When the answer is due that is waited for.
        self._due: float | None = None
        self._streams: set[Event] = set()
        self._greenlet: Greenlet | None = None

    def look(self, seconds: float = 0.0) -> None:
        """Ask the process once, and watch its hubs for so many *seconds*; raises ConsoleError."""
        connection = _connect(self.target)
        with GreenSocket(connection.family, connection.type, fileno=connection.detach()) as green:
            answer = _ask(green, {"command": "page", "seconds": seconds})
        if self.book.pid not in (None, answer["pid"]):
            raise ConsoleError(f"there is another process behind {self.target} now")
        self._interval = min(LONGEST, max(SHORTEST, answer["cost"] / SHARE))
        self._change = self.book.take(answer, self._interval)
        self._number += 1

    def events(self) -> Iterator[bytes]:
        """The stream of one page."""
        told = Event()
        self._streams.add(told)
        if self._greenlet is None:
            if not self.ended:
                # What the book says may be of long ago.
                self.book.clear()
            self._greenlet = Greenlet.spawn(self._watch, self._number)
        try:
            # So that the browser has an answer at once.
            yield b": greenpool\n\n"
            yield from self._changes(told)
        finally:
            self._streams.discard(told)
            if not self._streams and self._greenlet is not None:
                self._greenlet.kill(block=False)
                self._greenlet = None

    def _changes(self, told: Event) -> Iterator[bytes]:
        seen, is_first = self._number, not self.book.is_empty
        while True:
            told.clear()
            if is_first:
                yield _event("look", self.book.everything())
            elif self._number == seen + 1:
                yield _event("look", self._change)
            elif self._number != seen:
                yield _event("look", self.book.everything())
            seen, is_first = self._number, False
            if self.ended:
                yield _event("ended", {"reason": self.ended})
                return
            if self.trouble:
                yield _event("lost", {"reason": self.trouble})
            while not told.wait(BEAT):
                # Without this nobody would notice that the page is closed.
                late = 0.0 if self._due is None else max(0.0, monotonic() - self._due)
                yield _event("beat", {"late": late})

    def _watch(self, number: int) -> None:
        while not self.ended:
            # The first answer comes at once.
            seconds = self._interval if self._number != number else 0.0
            self._due = monotonic() + seconds
            try:
                self.look(seconds)
            except ConsoleError as error:
                pid = self.book.pid
                if pid is not None and not exists(pid):
                    self.ended = f"Process {pid} has ended."
                else:
                    self.trouble = str(error)
            else:
                self.trouble = ""
            self._due = None
            for told in self._streams:
                told.set()
            if self.trouble:
                sleep(RETRY)


def _connect(target: str) -> StandardSocket:
    """Connect on another thread.  If the greenlet is killed meanwhile, the connection is closed."""
    # The thread appends the connection, and a killed greenlet None.  To append is one step.  So the one that
    # comes second sees the other's entry, and closes the connection.
    steps: list[StandardSocket | None] = []

    def connect_for_greenlet() -> StandardSocket:
        connection = connect(target)
        steps.append(connection)
        if steps[0] is not connection:
            connection.close()
        return connection

    try:
        return blocking(connect_for_greenlet)
    except BaseException:
        steps.append(None)
        if steps[0] is not None:
            steps[0].close()
        raise


def _ask(connection: GreenSocket, request: _Json) -> _Json:
    parts = []
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        while part := connection.recv(1_000_000):
            parts.append(part)
    except OSError as error:
        raise ConsoleError(f"the process has closed the connection: {error.strerror}") from error
    text = b"".join(parts)
    if not text.endswith(b"\n"):
        raise ConsoleError("the process has closed the connection")
    answer: _Json = json.loads(text)
    if "error" in answer:
        raise ConsoleError(f"the process has another version of greenpool: {answer['error']}")
    return answer


def _event(name: str, data: _Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class Page:
    """The server of the page of one process; *port* 0 stands for any free one."""

    def __init__(self, target: str, port: int = 0) -> None:
        self.watcher = Watcher(target)
        self.token = secrets.token_urlsafe(24)
        self.server = WSGIServer((HOST, port), self._serve, log=None)

    @property
    def address(self) -> str:
        """The address of the page, once the server has started."""
        return f"http://{HOST}:{self.server.server_port}/{self.token}/"

    def start(self) -> None:
        """Ask the process once, then serve; raises ConsoleError and OSError."""
        self.watcher.look()
        self.server.start()

    def stop(self) -> None:
        """End the streams and close the server."""
        self.server.stop(0)

    def _serve(self, environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
        port = self.server.server_port
        if environ.get("HTTP_HOST") not in (f"{HOST}:{port}", f"localhost:{port}"):
            return _refuse(start_response, "403 Forbidden", "This server has another name.")
        token, slash, name = environ["PATH_INFO"].removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode("latin-1"), self.token.encode()) or not slash:
            return _refuse(start_response, "404 Not Found", "There is no such page.")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(start_response, "405 Method Not Allowed", "Only GET.", ("Allow", "GET, HEAD"))
        if name == "events":
            start_response("200 OK", [("Content-Type", "text/event-stream"), *_SECURITY])
            return self.watcher.events() if environ["REQUEST_METHOD"] == "GET" else []
        if name not in _FILES:
            return _refuse(start_response, "404 Not Found", "There is no such page.")
        file, kind = _FILES[name]
        start_response("200 OK", [("Content-Type", kind), *_SECURITY])
        return [Path(__file__).with_name("page").joinpath(file).read_bytes()]


def _refuse(start_response: _Start, status: str, text: str, *headers: tuple[str, str]) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers, *_SECURITY])
    return [f"{text}\n".encode()]


def serve(target: str, port: int, opens_browser: bool) -> None:
    """Serve the page of *target* until Ctrl-C; raises ConsoleError."""
    page = Page(target, port)
    try:
        page.start()
    except OSError as error:
        raise ConsoleError(f"cannot listen to port {port}: {error.strerror}") from error
    print(page.address, flush=True)
    if opens_browser:
        pointer = _open_browser(page.address)
        atexit.register(pointer.unlink, missing_ok=True)
    page.server.serve_forever()


def _open_browser(address: str) -> Path:
    """Open the page in the user's browser; returns a file that leads to it.

    The address itself would stand in the list of processes, which other users may read.
    """
    import webbrowser

    descriptor, path = tempfile.mkstemp(prefix="greenpool-", suffix=".html")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0; url={address}"><a href="{address}">greenpool</a>\n'
        )
    pointer = Path(path)
    webbrowser.open(pointer.as_uri())
    return pointer
