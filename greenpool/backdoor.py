"""A Python prompt over a socket (as ``gevent.backdoor``).

**Whoever reaches the address can do everything that the program can.**  Listen on a loopback address, or use
``greenpool repl PID``, which lets in no other user.

*Threads*: a server belongs to the hub of the greenlet that starts it, and so do its prompts: they do not
answer while a greenlet keeps that hub.
"""

from __future__ import annotations

from types import TracebackType as _TracebackType
from typing import Any as _Any
from typing import Self as _Self

from .console.repl import interact as _interact
from .greenlet import Greenlet, spawn
from .greenlet import killall as _killall
from .socket import socket

__all__ = ["BackdoorServer"]


class BackdoorServer:
    """Gives each connection a prompt, in a greenlet of its own (as in gevent).

    *listener*: an address, such as ``("127.0.0.1", 5001)``, or a socket that listens.  *locals*: the names
    that the code finds; each prompt has a copy.  *banner*: is printed first.  There is no default address.
    """

    def __init__(
        self,
        listener: _Any,
        locals: dict[str, _Any] | None = None,
        banner: str | None = None,
    ) -> None:
        self.locals = {"__doc__": None, "__name__": "__console__"} | (locals or {})
        self.banner = banner
        self._given = listener
        self._socket: socket | None = None
        self._acceptor: Greenlet[None] | None = None
        self._prompts: set[Greenlet[None]] = set()

    @property
    def started(self) -> bool:
        """Whether it accepts connections."""
        return self._acceptor is not None

    @property
    def address(self) -> _Any:
        """The address that it listens on, once it has started."""
        return self._given if self._socket is None else self._socket.getsockname()

    @property
    def server_port(self) -> int | None:
        """The port of that address, if it has one."""
        return self.address[1] if isinstance(self.address, tuple) else None

    def start(self) -> None:
        """Listen, and accept connections in a greenlet; without effect if it does already."""
        if self._acceptor is not None:
            return
        if hasattr(self._given, "accept"):
            self._socket = self._given
        else:
            self._socket = _listen_on(self._given)
        self._acceptor = spawn(self._accept, self._socket)

    def serve_forever(self) -> None:
        """Start, and wait until ``stop`` is called."""
        self.start()
        if self._acceptor is not None:
            self._acceptor.join()

    def stop(self, timeout: float | None = None) -> None:
        """Close the listening socket and end all prompts, waiting for at most *timeout* seconds."""
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is None:
            return
        if self._socket is not None:
            self._socket.close()
        _killall([acceptor, *self._prompts], timeout=timeout)

    close = stop

    def __enter__(self) -> _Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: _TracebackType | None,
    ) -> None:
        self.stop()

    def _accept(self, listener: socket) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                if listener.fileno() < 0:
                    return  # closed by stop()
                raise
            prompt = spawn(self.handle, connection, address)
            self._prompts.add(prompt)
            prompt.link(self._prompts.discard)

    def handle(self, connection: socket, address: object) -> None:
        """Serve one connection until it ends; a subclass may override it."""
        with connection, connection.makefile("r", errors="replace") as file:

            def write(text: str) -> None:
                connection.sendall(text.encode(errors="replace"))

            try:
                _interact(dict(self.locals), file.readline, write, self.banner)
            except (BrokenPipeError, ConnectionError):
                pass  # the other side has gone


def _listen_on(address: _Any) -> socket:
    from . import socket as sockets

    if isinstance(address, str):
        family = sockets.AF_UNIX
    else:
        family = sockets.AF_INET6 if ":" in address[0] else sockets.AF_INET
    listener = sockets.socket(family, sockets.SOCK_STREAM)
    try:
        if family != sockets.AF_UNIX:
            listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener
