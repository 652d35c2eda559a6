"""The number of a simulated socket: a descriptor of the kernel that is ready when the socket is.

So ``select``, ``poll``, ``epoll``, ``selectors`` and asyncio work on it, next to real descriptors.  The
number is one end of a pair of Unix sockets.  A byte from the other end makes it readable, a full buffer makes
it not writable, and the other end's close hangs it up.  A socket that was never connected is shown by a Unix
socket of that kind.  A socket whose number nobody asks for has none.

*Threads*: as the whole network, the thread that has the run's baton.
"""

from __future__ import annotations

import _socket
import fcntl
import os
from typing import TypeVar

T = TypeVar("T", bound=_socket.socket | None)

# Numbers from here on are hardly used otherwise, so they are the same in each run.
FIRST = 256
_FILLING = bytes(1024)


class State:
    """What ``poll`` reports of a socket."""

    __slots__ = ("fresh", "readable", "writable", "ended", "hung_up", "failed")

    def __init__(
        self,
        readable: bool = False,
        writable: bool = False,
        ended: bool = False,
        hung_up: bool = False,
        failed: bool = False,
        fresh: bool = False,
    ) -> None:
        # It was never connected; the others do not count then.
        self.fresh = fresh
        self.readable = readable
        self.writable = writable
        # The peer sends no more.
        self.ended = ended
        self.hung_up = hung_up
        self.failed = failed


class Number:
    """A descriptor that shows the state of a simulated socket."""

    __slots__ = ("fd", "_shown", "_inner", "_outer", "_readable", "_writable", "_ended")

    def __init__(self) -> None:
        self._outer: _socket.socket | None = None
        self.fd = _high(_unix().detach())
        self._inner = _socket.socket(fileno=self.fd)
        self._forget()

    def _forget(self) -> None:
        self._readable = False
        self._writable = True
        self._ended = False

    def show(self, state: State) -> None:
        """Make the kernel report *state*."""
        if state.fresh:
            if self._outer is not None:
                self._renew(_unix(), None)
            return
        outer = self._outer
        if outer is not None and outer.fileno() < 0:
            if state.hung_up:
                if not state.failed:
                    self._inner.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
                return
            outer = None
        if outer is None or (self._ended and not state.ended):
            outer = self._renew(*_pair())
        if state.hung_up:
            self._drain(outer)
            if state.failed:
                # A close with bytes that nobody has read is an error to the other end.
                self._inner.send(b"\0")
            outer.close()
            return
        if state.readable is not self._readable:
            self._readable = state.readable
            if state.readable:
                outer.send(b"\0")
            else:
                self._drain(self._inner)
        if state.writable is not self._writable:
            self._writable = state.writable
            if state.writable:
                self._drain(outer)
            else:
                self._fill()
        if state.ended and not self._ended:
            self._ended = True
            outer.shutdown(_socket.SHUT_WR)

    def _renew(self, shown: _socket.socket, outer: T) -> T:
        """Show another socket under the same number; *outer* is its other end."""
        os.dup2(shown.fileno(), self.fd, inheritable=False)
        shown.close()
        if self._outer is not None:
            self._outer.close()
        self._outer = outer
        self._forget()
        return outer

    def _drain(self, end: _socket.socket) -> None:
        try:
            while end.recv(65536):
                pass
        except BlockingIOError:
            pass  # it is empty

    def _fill(self) -> None:
        try:
            while True:
                self._inner.send(_FILLING)
        except BlockingIOError:
            pass  # it is full

    def close(self) -> None:
        """Give the number back."""
        if self._outer is not None:
            self._outer.close()
        self._inner.close()


def _unix() -> _socket.socket:
    """One that is not connected."""
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    made.setblocking(False)
    return made


def _pair() -> tuple[_socket.socket, _socket.socket]:
    pair = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    for end in pair:
        end.setblocking(False)
    pair[0].setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 1)
    return pair


def _high(fd: int) -> int:
    try:
        number = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST)
    except OSError:
        return fd  # the process may have no number so high
    os.close(fd)
    return number
