"""A Python prompt over a socket (as ``gevent.backdoor``).

**Whoever reaches the address can do everything that the program can.**  Listen on a loopback address, or use
``greenpool repl PID``, which lets in no other user.

*Threads*: a server belongs to the hub of the greenlet that starts it, and so do its prompts: they do not
answer while a greenlet keeps that hub.
"""

from __future__ import annotations

import builtins as _builtins
from typing import Any as _Any
from typing import Self as _Self

from .console.repl import interact as _interact
from .pool import Group as _Group
from .server import Listener as _Listener
from .server import StreamServer as _StreamServer
from .socket import socket

__all__ = ["BackdoorServer"]


class BackdoorServer(_StreamServer):
    """Gives each connection a prompt, in a greenlet of its own (as in gevent).

    *listener*: an address, such as ``("127.0.0.1", 5001)``, or a socket that listens.  *locals*: the names
    that the code finds; each prompt has a copy.  *banner*: is printed first.  There is no default address.
    A ``with`` block starts it and stops it.
    """

    def __init__(
        self,
        listener: _Listener,
        locals: dict[str, _Any] | None = None,
        banner: str | None = None,
    ) -> None:
        # The module, whose text is short, in the place of the dict that exec would put there.
        names = {"__builtins__": _builtins, "__doc__": None, "__name__": "__console__"}
        self.locals = names | (locals or {})
        self.banner = banner
        self._prompts = _Group()
        super().__init__(listener, self.handle, spawn=self._prompts)

    def stop(self, timeout: float | None = None) -> None:
        """Close the listening socket and end all prompts, waiting for at most *timeout* seconds."""
        self.close()
        self.join_acceptors()
        self._prompts.kill(timeout=timeout)

    def __enter__(self) -> _Self:
        self.start()
        return self

    def handle(self, connection: socket, address: object) -> None:
        """Serve one connection until it ends; a subclass may override it."""
        with connection, connection.makefile("r", errors="replace") as file:

            def write(text: str) -> None:
                connection.sendall(text.encode(errors="replace"))

            try:
                _interact(dict(self.locals), file.readline, write, self.banner)
            except (BrokenPipeError, ConnectionError):
                pass  # the other side has gone
