"""One connection: its requests, one after another, and the calls of the application.

*Time limits* cost no timer for each wait.  The connection has one deadline, which is moved before each wait,
and one timer, which looks at the deadline when it fires and then waits for the rest.  When the time is over,
the timer shuts the socket down, and the wait ends as if the client had done that.

*Threads*: the connection's greenlet, and the loop of its hub for the timer.  ``end_soon`` may be called by
any thread.  It shuts down only the reading side, so a request that has just come is still served.  With TLS
it shuts down both, because OpenSSL would answer the end of the stream with an alert.
"""

from __future__ import annotations

import io
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import IO, Any, Protocol
from urllib.parse import unquote_to_bytes

from .._core.current import current_hub
from ..socket import SHUT_RD, SHUT_RDWR, SHUT_WR
from ..socket import socket as GreenSocket
from .body import Body
from .limits import Limits
from .logs import Writable, log_time
from .request import BadRequest, Gone, RequestReader, malformed
from .response import BLOCK, Response

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_NEVER = float("inf")
# How much is read and dropped of a request that was refused.  A close with unread data makes the kernel send
# a reset, which may destroy the answer before the client has read it.
_LINGER = 65_536
_LINGER_SECONDS = 2.0

# The keys of the environ by the names of headers as clients write them; "" for those that are left out.
_KEYS: dict[bytes, str] = {}
_MOST_KEYS = 1_000


def _key_of(name: bytes) -> str:
    text = name.decode("latin-1")
    key = text.upper().replace("-", "_")
    if "_" in text or key == "PROXY":
        # A name with an underscore would pass for the one with a hyphen, which a proxy may have checked.
        # HTTP_PROXY is a setting for clients that the application may run (httpoxy).
        key = ""
    elif key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    if len(_KEYS) < _MOST_KEYS:
        _KEYS[name] = key
    return key


class Connecting(Protocol):
    """What a handler needs to know of its server."""

    application: Application
    limits: Limits
    log: Writable | None
    error_log: Writable | None

    @property
    def stopping(self) -> bool: ...

    def get_environ(self) -> Environ: ...


class _Lost(OSError):
    """The client has gone, or its body is malformed; the application gets this from ``wsgi.input``."""


class WSGIHandler:
    """Serves one connection (as ``gevent.pywsgi.WSGIHandler``); a subclass may override its methods."""

    def __init__(self, connection: GreenSocket, address: object, server: Connecting) -> None:
        self.socket = connection
        self.client_address = address
        self.server = server
        self._limits = server.limits
        self._reader = RequestReader(self._receive, server.limits)
        self._deadline = _NEVER
        self._end_reading = SHUT_RDWR if hasattr(connection, "do_handshake") else SHUT_RD
        self._how = self._end_reading
        self._timed_out = False
        self._idle = False
        self._continue_due = False
        # What was wrong with the body, or that the client has gone.
        self._failure: BadRequest | Gone | None = None
        #: The environ of the request that is being served.
        self.environ: Environ = {}
        #: The answer to it.
        self.response: Response | None = None
        self._began = 0.0
        self._base = {
            **server.get_environ(),
            "REMOTE_ADDR": address[0] if isinstance(address, tuple) else "",
            "REMOTE_PORT": str(address[1]) if isinstance(address, tuple) else "",
            # simple-websocket finds the connection by this name.
            "gunicorn.socket": connection,
        }

    # The time limits.

    def _watch(self) -> None:
        """The timer: end the wait if its time is over, else look again; in the loop of the hub."""
        now = monotonic()
        deadline = self._deadline
        if deadline <= now:
            self._timed_out = True
            with suppress(OSError):
                GreenSocket.shutdown(self.socket, self._how)
            deadline = _NEVER
        self._timer = current_hub().call_at(min(deadline, now + self._limits.shortest), self._watch)

    def _receive(self, size: int) -> bytes:
        try:
            return self.socket.recv(size)
        except OSError:
            return b""

    # What a response is sent through.

    def send(self, data: bytes | memoryview) -> None:
        """Send *data*; raises OSError if the client has gone or takes too long."""
        try:
            self._how = SHUT_RDWR
            if len(data) <= BLOCK:
                self._deadline = monotonic() + self._limits.send_seconds
                self.socket.sendall(data)
            else:
                view = memoryview(data)
                for begin in range(0, len(view), BLOCK):
                    self._deadline = monotonic() + self._limits.send_seconds
                    self.socket.sendall(view[begin : begin + BLOCK])
        except OSError as error:
            self._failure = Gone()
            raise _Lost(*error.args) from error
        finally:
            self._deadline = _NEVER

    def send_file(self, file: IO[bytes], offset: int, count: int) -> int:
        """Send a part of *file*, and return how much there was of it."""
        sent = 0
        try:
            self._how = SHUT_RDWR
            while sent < count:
                self._deadline = monotonic() + self._limits.send_seconds
                some = self.socket.sendfile(file, offset + sent, min(BLOCK, count - sent))
                if not some:
                    break
                sent += some
        except OSError as error:
            self._failure = Gone()
            raise _Lost(*error.args) from error
        finally:
            self._deadline = _NEVER
        return sent

    # The requests.

    def handle(self) -> None:
        """Serve all requests of the connection; the server closes it afterwards."""
        limits = self._limits
        self._timer = current_hub().call_at(monotonic() + limits.shortest, self._watch)
        try:
            while self._wait_for_request():
                self._how = self._end_reading
                self._deadline = monotonic() + limits.head_seconds
                try:
                    self._reader.read_head()
                except BadRequest as error:
                    self._refuse(error)
                    return
                except Gone:
                    if self._timed_out:
                        self._refuse(BadRequest("408 Request Timeout", "the head took too long"))
                    return
                self._deadline = _NEVER
                if not self._serve():
                    return
        finally:
            self._timer.cancel()

    def _wait_for_request(self) -> bool:
        reader = self._reader
        if reader.has_begun:
            return True
        self._how = self._end_reading
        self._deadline = monotonic() + self._limits.idle_seconds
        self._idle = True
        # After the flag: a server that stops afterwards sees it.
        if self.server.stopping:
            return False
        begun = reader.wait()
        self._idle = False
        return begun

    def end_soon(self) -> None:
        """End the wait for a request, or the connection after the request that is being served; any
        thread."""
        if self._idle:
            with suppress(OSError):
                GreenSocket.shutdown(self.socket, self._end_reading)
        response = self.response
        if response is not None:
            # If the head is on its way already, the client learns it by the close.
            response.may_keep_alive = False

    def _serve(self) -> bool:
        """Serve the request whose head was read; False if it was the last one."""
        reader = self._reader
        self._began = monotonic()
        self._failure = None
        try:
            if not reader.complete:
                reader.feed_buffered()
            environ = self.environ = self.get_environ()
        except BadRequest as error:
            self._refuse(error)
            return False
        keep_alive = reader.keep_alive and not self.server.stopping
        response = self.response = Response(self, reader.method == b"HEAD", reader.is_http_1_1, keep_alive)
        try:
            self._run(environ, response)
        except Exception as error:
            if not self._fail(response, error):
                return False
        finally:
            if self.server.log is not None and response.status is not None:
                self.log_request()
            self.response = None
        # The client learned it by the head; a server that began to stop after that waits for the next
        # request.
        return response.may_keep_alive and self._failure is None and self._drop_body()

    def _run(self, environ: Environ, response: Response) -> None:
        result = self.server.application(environ, response.start_response)
        try:
            if self._reader.upgrades and response.status is None:
                # The application has answered by the socket itself.
                response.may_keep_alive = False
                return
            if isinstance(self._failure, BadRequest) and not response.head_sent:
                raise self._failure
            if self._continue_due:
                # The client has not sent the body, and now it need not.
                response.may_keep_alive = False
            response.send(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _fail(self, response: Response, error: Exception) -> bool:
        """Answer for an application that has failed; False to close the connection."""
        failure = self._failure
        if isinstance(failure, Gone):
            return False
        if isinstance(failure, BadRequest):
            if not response.head_sent:
                self._refuse(failure)
            return False
        if self._reader.upgrades and isinstance(error, StopIteration):
            # flask-sock and python-socketio raise it when a WebSocket has ended.
            return False
        self.handle_error(error)
        if not response.head_sent:
            # In the place of what the application may have set.
            self._refuse(BadRequest("500 Internal Server Error", ""))
            response.status = None
        return False

    def handle_error(self, error: Exception) -> None:
        """Report an exception of the application, which then is answered with 500."""
        log = self.server.error_log
        if log is not None:
            text = "".join(traceback.format_exception(error))
            log.write(f"{text}{log_time()} {self._line()} failed with {type(error).__name__}\n\n")

    def _drop_body(self) -> bool:
        """Read what the application has not read of the body; False if that would take too much."""
        reader = self._reader
        if reader.complete:
            return True
        dropped = 0
        while dropped <= self._limits.unread_body:
            try:
                data = self._read_body()
            except OSError:
                return False
            if not data:
                return True
            dropped += len(data)
        return False

    # The body.

    def _read_body(self) -> bytes:
        """Some bytes of the body, for ``wsgi.input``; OSError if it is malformed or the client has gone."""
        if self._continue_due:
            self._continue_due = False
            if not (self.response is not None and self.response.head_sent):
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._failure is not None:
            raise _Lost(f"the body cannot be read: {self._failure}")
        self._how = self._end_reading
        self._deadline = monotonic() + self._limits.body_seconds
        try:
            return self._reader.read_body()
        except BadRequest as error:
            self._failure = error
            raise _Lost(error.reason) from None
        except Gone as error:
            self._failure = error
            raise _Lost("the client has gone before the end of the body") from None
        finally:
            self._deadline = _NEVER

    # The environ.

    def get_environ(self) -> Environ:
        """Make the environ of the request that was read."""
        reader = self._reader
        environ = self._base.copy()
        target = reader.target.decode("latin-1")
        environ["REQUEST_METHOD"] = reader.method.decode("latin-1")
        environ["RAW_URI"] = target
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if reader.is_http_1_1 else "HTTP/1.0"
        for name, value in reader.headers:
            key = _KEYS.get(name)
            if key is None:
                key = _key_of(name)
            if not key:
                continue
            text = value.decode("latin-1")
            if key in environ:
                if key == "CONTENT_TYPE":
                    raise malformed("more than one Content-Type")
                text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
            environ[key] = text
        if not target.startswith("/") and target != "*":
            # The name in the target counts, and not that in the header (RFC 9112, section 3.2.2).
            environ["HTTP_HOST"], _, target = target.partition("://")[2].partition("/")
            target = f"/{target}"
        path, _, environ["QUERY_STRING"] = target.partition("?")
        if "%" in path:
            path = unquote_to_bytes(path).decode("latin-1")
            if "\0" in path:
                raise malformed("NUL in the path")
        environ["PATH_INFO"] = "" if path == "*" else path
        self._continue_due = False
        if reader.complete:
            environ["wsgi.input"] = io.BytesIO(reader.take_body())
        else:
            environ["wsgi.input"] = Body(self._read_body)
            self._continue_due = bool(reader.expects) and reader.is_http_1_1 and not reader.has_body_bytes
        return environ

    # Answers of the server itself.

    def _refuse(self, error: BadRequest) -> None:
        """Answer with an error, and close the connection in a way that lets the client read it."""
        body = f"{error.status.partition(' ')[2]}\n"
        lines = [f"HTTP/1.1 {error.status}", "Content-Type: text/plain", f"Content-Length: {len(body)}"]
        lines += ["Connection: close", "", body]
        with suppress(OSError):
            self.send("\r\n".join(lines).encode("latin-1"))
            if self.server.log is not None:
                self.server.log.write(f"{self.format_error(error)}\n")
            self._linger()

    def _linger(self) -> None:
        GreenSocket.shutdown(self.socket, SHUT_WR)
        self._how = self._end_reading
        self._deadline = monotonic() + min(_LINGER_SECONDS, self._limits.send_seconds)
        dropped = 0
        while dropped < _LINGER:
            data = self._receive(_LINGER)
            if not data:
                break
            dropped += len(data)

    # The log.

    def _line(self) -> str:
        return self._reader.line.decode("latin-1", "replace")

    def _client(self) -> str:
        address = self.client_address
        return str(address[0]) if isinstance(address, tuple) else "-"

    def format_error(self, error: BadRequest) -> str:
        """The line of the access log for a request that the server has answered itself."""
        status = error.status.partition(" ")[0]
        return f'{self._client()} - - [{log_time()}] "{self._line()}" {status} {error.reason or "-"}'

    def format_request(self) -> str:
        """The line of the access log for the request that was served (as in gevent)."""
        response = self.response
        assert response is not None and response.status is not None
        seconds = monotonic() - self._began
        status = response.status.partition(" ")[0]
        length = response.sent or "-"
        return f'{self._client()} - - [{log_time()}] "{self._line()}" {status} {length} {seconds:.6f}'

    def log_request(self) -> None:
        """Write the line of the request that was served."""
        log = self.server.log
        if log is not None:
            log.write(f"{self.format_request()}\n")


def standard_environ(multithread: bool, url_scheme: str) -> Environ:
    """The part of the environ that is the same for all requests of a server."""
    return {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SCRIPT_NAME": "",
        "wsgi.version": (1, 0),
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.url_scheme": url_scheme,
        # The input ends by itself, also where there is no Content-Length.
        "wsgi.input_terminated": True,
    }
