"""Cooperative ``ssl``: every name of the standard module; its sockets park the greenlet (as ``gevent.ssl``).

``SSLSocket`` is a subclass both of the standard one, whose Python code it keeps, and of ``greenpool.socket``,
over which that code then runs: connecting, accepting, timeouts, closing, and the plain socket that is left
after ``unwrap``.  Only what enters OpenSSL is defined here.  The descriptor is non-blocking, so each of these
calls ends at once, with SSLWantReadError or SSLWantWriteError where it has to wait.

*Contexts.*  Here ``SSLContext`` is a subclass of the standard one that differs in nothing but the class of
the sockets it makes.  In a patched program the standard SSLContext stays where it is, and is told to make
green sockets (``patch_standard``); so contexts made before patching do, too.  (The setters of its properties
go by ``super(SSLContext, SSLContext)``, which looks the module's global name up: with a subclass in its place
they would call themselves for ever.)

*Who guards what.*  OpenSSL's connection object must not be entered by two threads at the same time, so
handshake, read, write and unwrap hold the socket's lock while they are in it, and no longer.  That is a green
lock: a callback (``sni_callback``) may park in the midst of a handshake, and who comes then has to park too.
It is reentrant, as a finalizer or a signal handler may use the socket that its greenlet is just using.

*Writers* take turns.  A write that has to wait leaves half a record in OpenSSL, which takes the next write
for its rest, whatever is in it.  So a second lock is held for a whole write.

*Threads*: any; a greenlet of one hub may read while one of another writes.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef"

from __future__ import annotations

import ssl as _standard
from collections.abc import Callable as _Callable
from time import monotonic as _monotonic
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any
from typing import Self as _Self
from typing import TypeVar as _TypeVar
from typing import TypeVarTuple as _TypeVarTuple

from ._rebound import rebound as _rebound
from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from ssl import *  # noqa: F403

    from _typeshed import ReadableBuffer as _ReadableBuffer
    from _typeshed import WriteableBuffer as _WriteableBuffer

_take_names(_standard, globals())

from ._core.waiter import spend as _spend  # noqa: E402
from .lock import RLock as _RLock  # noqa: E402
from .socket import create_connection as _create_connection  # noqa: E402
from .socket import socket as _green_socket  # noqa: E402

__all__ = [name for name in vars(_standard) if not name.startswith("_")]

_T = _TypeVar("_T")
_Ts = _TypeVarTuple("_Ts")

# get_server_certificate connects with this.
create_connection = _create_connection

_base: _Any = _standard.SSLSocket
# The standard ``_create`` finds its own class by its global name, which patching replaces.
_create_over_originals: _Any = classmethod(_rebound(_base._create.__func__, dict(vars(_standard))))


def _seconds_until(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - _monotonic())


class SSLSocket(_base, _green_socket):  # type: ignore[misc]  # the bases disagree about what they return
    """An ``ssl.SSLSocket`` whose operations park the calling greenlet; made by ``SSLContext.wrap_socket``."""

    _sslobj: _Any
    _timeout: float | None
    _half_written: bool

    def __new__(cls, *args: object, **kwargs: object) -> _Self:
        made: _Self = super().__new__(cls, *args, **kwargs)
        made._tls_lock = _RLock()
        made._write_lock = _RLock()
        # Whether the owner of the latter has left half a record in OpenSSL.
        made._half_written = False
        return made

    _create = _create_over_originals

    def _until_done(
        self, what: str, deadline: float | None, operation: _Callable[[*_Ts], _T], *args: *_Ts
    ) -> _T:
        """Carry out *operation*, which enters OpenSSL, and park while OpenSSL waits for the network."""
        timeout = self._timeout
        lock = self._tls_lock
        in_time = True
        _spend()
        while True:
            # A non-blocking socket waits here, too: for the greenlet that is inside OpenSSL just now, never
            # for the network.
            limit = _seconds_until(deadline) if timeout else None
            if not (lock.acquire(False) or lock.acquire(timeout=limit)):
                raise TimeoutError(f"The {what} operation timed out")
            try:
                return operation(*args)
            except _standard.SSLWantReadError:
                if timeout == 0.0:
                    raise
                reading = True
            except _standard.SSLWantWriteError:
                if timeout == 0.0:
                    raise
                reading = False
            finally:
                lock.release()
            # The wait stands outside of the ``except`` clause, because another greenlet must not find this
            # exception being handled.
            if not in_time:
                raise TimeoutError(f"The {what} operation timed out")
            registration = self._current_registration() or self._register()
            in_time = self._park_read(registration, deadline) if reading else self._park_write(deadline)

    def do_handshake(self, block: bool = False) -> None:
        self._check_connected()
        timeout = self._timeout
        try:
            if timeout == 0.0 and block:
                self._timeout = None
            self._until_done("handshake", self._deadline(), self._sslobj.do_handshake)
        finally:
            self._timeout = timeout

    # The connection object is looked up once.  A greenlet that waits while another one calls ``shutdown``,
    # which takes the object away, still learns how the stream ended.

    def read(self, len: int = 1024, buffer: _WriteableBuffer | None = None) -> bytes | int:
        self._checkClosed()
        if self._sslobj is None:
            raise ValueError("Read on closed or unwrapped SSL socket.")
        args = (len,) if buffer is None else (len, buffer)
        try:
            got: bytes | int = self._until_done("read", self._deadline(), self._sslobj.read, *args)
            return got
        except _standard.SSLError as error:
            if error.args[0] == _standard.SSL_ERROR_EOF and self.suppress_ragged_eofs:
                return b"" if buffer is None else 0
            raise

    def write(self, data: _ReadableBuffer) -> int:
        self._checkClosed()
        if self._sslobj is None:
            raise ValueError("Write on closed or unwrapped SSL socket.")
        lock = self._write_lock
        deadline = self._deadline()
        if not lock.acquire(False):
            if self._timeout == 0.0:
                raise _standard.SSLWantWriteError("another write to this socket is still running")
            if not lock.acquire(timeout=_seconds_until(deadline)):
                raise TimeoutError("The write operation timed out")
        try:
            if self._half_written:
                # A finalizer or signal handler, in the greenlet that it would have to wait for.
                raise _standard.SSLWantWriteError("this write interrupted another one")
            try:
                return self._until_done("write", deadline, self._write_once, self._sslobj, data)
            finally:
                self._half_written = False
        finally:
            lock.release()

    def _write_once(self, connection: _Any, data: _ReadableBuffer) -> int:
        self._half_written = True
        written: int = connection.write(data)
        self._half_written = False
        return written

    def send(self, data: _ReadableBuffer, flags: int = 0) -> int:
        if self._sslobj is None or flags:
            # Plain, or refused.
            return super().send(data, flags)
        return self.write(data)

    def unwrap(self) -> _green_socket:
        if not self._sslobj:
            raise ValueError("No SSL wrapper around " + str(self))
        plain: _green_socket = self._until_done("read", self._deadline(), self._sslobj.shutdown)
        self._sslobj = None
        return plain


class SSLContext(_standard.SSLContext):
    __doc__ = _standard.SSLContext.__doc__

    sslsocket_class = SSLSocket


def patch_standard() -> None:
    """Have every standard SSLContext, also one made before, make green sockets.

    For ``greenpool.monkey``, which puts SSLSocket in the place of the standard one.
    """
    _standard.SSLContext.sslsocket_class = SSLSocket
    # This serves subclasses of the standard SSLSocket that were made before.
    _base._create = _create_over_originals
