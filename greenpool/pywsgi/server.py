"""The server: it accepts connections and has a handler serve each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..pool import Group
from ..server import Listener, Spawn, StreamServer
from ..socket import socket as GreenSocket
from .handler import Application, Environ, WSGIHandler, standard_environ
from .limits import Limits
from .logs import Logger, Writable, log_file
from .response import FileWrapper


class WSGIServer(StreamServer):
    """A WSGI server for HTTP/1.1 (as ``gevent.pywsgi.WSGIServer``).

    *listener*, *backlog*, *spawn*, *hubs* and *ssl_args* are those of ``StreamServer``.
    *application*: the WSGI application.
    *log*: the access log: a file, a logger, ``"default"`` for stderr, or None for none.
    *error_log*: the same for the exceptions of the application, and ``wsgi.errors``.
    *handler_class*: a subclass of ``WSGIHandler``.
    *environ*: more entries for the environ of each request.
    *limits*: what a client may ask for.

    It speaks keep-alive, pipelining, chunked bodies in both directions and ``Expect: 100-continue``.  The
    parts of a response are sent as the application yields them.  ``wsgi.file_wrapper`` sends a file by
    ``sendfile``. flask-sock, simple-websocket and python-socketio find the connection in the environ, in a
    patched program.

    ``stop`` ends the waits for further requests at once, and waits for the requests that are being served.
    """

    backlog = 1024
    #: The class of the handlers.
    handler_class: type[WSGIHandler] = WSGIHandler

    def __init__(
        self,
        listener: Listener,
        application: Application,
        backlog: int | None = None,
        spawn: Literal["default", "raw"] | int | Group | Spawn | None = "default",
        log: Literal["default"] | Writable | Logger | None = "default",
        error_log: Literal["default"] | Writable | Logger | None = "default",
        handler_class: type[WSGIHandler] | None = None,
        environ: Mapping[str, Any] | None = None,
        *,
        hubs: Literal["current", "all"] = "current",
        limits: Limits | None = None,
        **ssl_args: object,
    ) -> None:
        if not callable(application):
            raise TypeError(f"application must be callable, not {application!r}")
        self.application = application
        self.limits = Limits() if limits is None else limits
        self.log = log_file(log)
        self.error_log = log_file(error_log, is_error_log=True)
        if handler_class is not None:
            self.handler_class = handler_class
        self._given = dict(environ or {})
        # A single step adds a handler or takes it out, so no lock is needed.
        self._handlers: set[WSGIHandler] = set()
        self._stopping = False
        if spawn in ("default", "raw"):
            # The stop waits for the members of this group.
            spawn = Group()
        super().__init__(listener, self._connected, backlog, spawn, hubs=hubs, **ssl_args)

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called, and connections are to end."""
        return self._stopping

    def get_environ(self) -> Environ:
        """Make the part of the environ that all requests share."""
        environ = standard_environ(True, "https" if self.ssl_enabled else "http")
        environ["SERVER_NAME"] = self.server_host or "localhost"
        environ["SERVER_PORT"] = str(self.server_port or 80)
        environ["SERVER_SOFTWARE"] = "greenpool"
        environ["wsgi.errors"] = self.error_log or log_file("default")
        environ["wsgi.file_wrapper"] = FileWrapper
        environ.update(self._given)
        return environ

    def start(self) -> None:
        self._stopping = False
        super().start()

    def stop(self, timeout: float | None = None) -> None:
        self._stopping = True
        self.close()
        for handler in list(self._handlers):
            handler.end_soon()
        super().stop(timeout)

    def _connected(self, connection: GreenSocket, address: object) -> None:
        handler = self.handler_class(connection, address, self)
        self._handlers.add(handler)
        try:
            handler.handle()
        finally:
            self._handlers.discard(handler)
