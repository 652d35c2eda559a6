"""Cooperative ``ssl``: every name of the standard module; its sockets park the greenlet (as ``gevent.ssl``).

``SSLSocket`` is a subclass both of the standard one, whose Python code it keeps, and of ``greenpool.socket``,
over which that code then runs: connecting, accepting, timeouts, closing, and the plain socket that is left
after ``unwrap``.  Only what enters OpenSSL is defined here.

*Over two buffers.*  OpenSSL reads from one ``ssl.MemoryBIO`` and writes to another.  The socket's bytes
are moved here: ``_fill`` feeds OpenSSL with what has come, ``_flush`` sends what OpenSSL has written.  So a
request takes one ``recv`` and an answer one ``send``.  OpenSSL over a descriptor reads each record in two
parts, then asks a third time.

*Contexts.*  Here ``SSLContext`` is a subclass of the standard one that differs in nothing but the sockets it
makes.  In a patched program the standard SSLContext stays where it is, and is told to make green sockets
(``patch_standard``); so contexts made before patching do, too.  (The setters of its properties go by
``super(SSLContext, SSLContext)``, which looks the module's global name up: with a subclass in its place they
would call themselves for ever.)

*Who guards what.*  Two threads must not enter OpenSSL's connection object at the same time, and the bytes of
a connection have an order.  So one step of an operation holds the socket's lock: enter OpenSSL, ``_flush``,
``_fill``.  No step waits for the network; the greenlet parks between two steps, without the lock.  The lock
is a green one: a callback (``sni_callback``) may park in the midst of a handshake, and other greenlets then
have to park too.  The lock is reentrant, because a finalizer or a signal handler may use the socket that its
greenlet is just using.  If the interrupted step is just moving bytes, those of the handler must not overtake
them (``_moving``): its read raises SSLWantReadError, and the interrupted step sends what its write has left.

*Writers* take turns: a second lock is held for a whole write.  A write that is interrupted (by a timeout, a
kill, SSLWantWriteError) leaves encrypted bytes in ``_unsent``, which go out before all others.  The plain
bytes then count as sent, though the caller has no count.  So ``_owed`` keeps them: if the next write begins
with the same bytes, it is the repetition that OpenSSL asks for, and it returns their count.

*Reading ahead.*  ``_fill`` takes more from the kernel than the record that OpenSSL waits for.  Two parties
could miss those bytes.  One is a program that watches the descriptor (``select``), which would wait for bytes
that have come already.  So a socket whose ``fileno`` has been asked for, or which is non-blocking, takes no
byte beyond the record (``_exact``), and ``pending`` counts what was taken before.  The other is the plain
socket that is left after ``unwrap``, which gets the rest from ``_left``.  Greenlets that read the same
connection wake each other (``_wake_readers``).

*Threads*: any; a greenlet of one hub may read while one of another writes.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef"

from __future__ import annotations

import _socket
import _ssl
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

from ._core.speedups import replace_twins as _replace_twins  # noqa: E402
from ._core.speedups import speedups as _speedups  # noqa: E402
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
_context: _Any = _standard.SSLContext
# The standard ``_create`` finds its own class by its global name, which patching replaces.
_create_over_originals: _Any = _rebound(_base._create.__func__, dict(vars(_standard)))
_wrap_descriptor = _context._wrap_socket
# Its class of plain sockets; patching replaces that one's names.
_receive_now = _base.__base__.recv
_send_now = _base.__base__.send
# Of a record: the type, the version and the length of the rest.
_HEADER = 5
# The most plain bytes in a record.
_RECORD = 16384
# Ask the kernel for this much, and encrypt at most this much before anything is sent.
_AHEAD = 32768
_BATCH = 65536
# The bytes that the current record lacks, where bytes were taken ahead.
_UNKNOWN = -1


def _seconds_until(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - _monotonic())


class SSLSocket(_base, _green_socket):  # type: ignore[misc]  # the bases disagree about what they return
    """An ``ssl.SSLSocket`` whose operations park the calling greenlet; made by ``SSLContext.wrap_socket``."""

    __slots__ = (
        "_sslobj",
        "_incoming",
        "_outgoing",
        "_tls_lock",
        "_write_lock",
        "_moving",
        "_starved",
        "_unsent",
        "_written",
        "_owed",
        "_decrypted",
        "_left",
        "_exact",
        "_missing",
        "_header",
    )

    _context: _Any
    _timeout: float | None
    _sslobj: _Any
    # What OpenSSL reads from and writes to, set together with its connection object.
    _incoming: _Any
    _outgoing: _Any
    # Whether bytes are on their way between OpenSSL and the kernel.
    _moving: bool
    # Whether OpenSSL needs input before it can give plain bytes, or the reason why there are none, and its
    # buffer is empty.
    _starved: bool
    # Encrypted bytes, and the count of the plain ones that the writer has just encrypted; see the head.
    _unsent: bytes | memoryview
    _written: int
    _owed: bytes
    # Plain bytes that ``pending`` has counted.
    _decrypted: bytes
    # Bytes that came after the end of the encrypted stream.
    _left: bytes
    _exact: bool
    # What the current record lacks, and what has come of its header.
    _missing: int
    _header: bytes

    def __new__(cls, *args: object, **kwargs: object) -> _Self:
        made: _Self = super().__new__(cls, *args, **kwargs)
        made._tls_lock = _RLock()
        made._write_lock = _RLock()
        made._moving = made._starved = made._exact = False
        made._unsent = made._owed = made._decrypted = made._left = made._header = b""
        made._written = made._missing = 0
        return made

    @classmethod
    def _create(cls, sock: _Any, *args: _Any, **kwargs: _Any) -> _Self:
        context = kwargs.get("context")
        if context is not None and context._wrap_socket is not _wrap_over_buffers:
            # A standard context that was told to make these sockets, in a program that is not patched.
            context._wrap_socket = _wrap_over_buffers
        left: bytes = getattr(sock, "_left", b"")
        if not left:
            made: _Self = _create_over_originals(cls, sock, *args, **kwargs)
            return made
        # The peer has begun to shake hands anew before it knew that the first stream has ended.
        shake_hands = kwargs.pop("do_handshake_on_connect", True)
        made = _create_over_originals(cls, sock, *args, do_handshake_on_connect=False, **kwargs)
        made._incoming.write(left)
        made._starved = False
        made._missing = _UNKNOWN
        made.do_handshake_on_connect = shake_hands
        if shake_hands:
            try:
                made.do_handshake()
            except BaseException:
                made.close()
                raise
        return made

    # The two ways of the bytes.  All of this runs under the lock.

    def _room(self) -> int:
        """How much to ask the kernel for."""
        if self._exact or self._timeout == 0.0:
            if self._missing != _UNKNOWN:
                return self._missing or _HEADER - len(self._header)
        else:
            self._missing = _UNKNOWN
            self._header = b""
        return _AHEAD

    def _count_record(self, data: bytes) -> None:
        """Note what the record lacks after *data*, which was asked for by its size."""
        if self._missing:
            self._missing -= len(data)
            return
        header = self._header + data
        if len(header) == _HEADER:
            if header[0] & 0x80:
                # The first record that a client of the oldest kind sends.
                self._missing = int.from_bytes(header[:2]) - 0x8000 + 2 - _HEADER
            else:
                self._missing = int.from_bytes(header[3:])
            header = b""
        self._header = header

    def _fill(self, ask: bool) -> bool:
        """Give OpenSSL what has come; False if nothing has.  *ask* the kernel, also if it is unlikely."""
        if self._moving:
            raise SSLWantReadError(SSL_ERROR_WANT_READ, "this read interrupted another one")  # noqa: F405
        registration = self._current_registration()
        if registration is not None and not (ask or registration.readable):
            return False
        room = self._room()
        self._moving = True
        try:
            data = _receive_now(self, room)
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
        except BlockingIOError:
            if registration is not None:
                registration.readable = False
                registration.hung_up = False
            return False
        finally:
            self._moving = False
        self._starved = False
        if registration is not None and not registration.hung_up and self._drains and len(data) < room:
            registration.readable = not data
        if self._missing != _UNKNOWN:
            self._count_record(data)
            if data and len(data) == room and self._missing and not self._header:
                self._fill(ask)  # the rest of the record has mostly come with its header
        return True

    def _flush(self) -> bool:
        """Send what OpenSSL has written; False if the kernel does not take all of it."""
        if self._moving:
            return True  # the interrupted step sends it
        self._moving = True
        try:
            while unsent := self._unsent or self._outgoing.read():
                self._unsent = unsent
                self._unsent = memoryview(unsent)[_send_now(self, unsent) :]
        except BlockingIOError:
            return False
        finally:
            self._moving = False
        self._unsent = b""
        return True

    def _flush_if_possible(self) -> None:
        try:
            self._flush()
        except OSError:
            return  # the next operation finds it out, too

    def _flush_result(self, what: str) -> bool:
        """As ``_flush``, after an operation that has succeeded."""
        try:
            return self._flush()
        except OSError:
            # A client may have sent its data and gone before it gets its tickets.  OpenSSL ignores that, too.
            if what == "handshake" and self.server_side and self.version() == "TLSv1.3":
                return True
            raise

    # The operations.

    def _until_done(
        self,
        what: str,
        deadline: float | None,
        reads: bool,
        operation: _Callable[[*_Ts], _T],
        *args: *_Ts,
    ) -> _T:
        """Carry out *operation*, which enters OpenSSL, and park while OpenSSL waits for the network.

        *reads*: its result is plain bytes from the peer.
        """
        timeout = self._timeout
        lock = self._tls_lock
        # It cannot do anything before there is input.  (A client's handshake begins without.)
        waits_for_input = reads or (what == "handshake" and self.version() is None)
        in_time = True
        done = filled = False
        _spend()
        while True:
            # A non-blocking socket waits here, too: for the greenlet that is inside OpenSSL just now, never
            # for the network.
            limit = _seconds_until(deadline) if timeout else None
            if not (lock.acquire(False) or lock.acquire(timeout=limit)):
                raise TimeoutError(f"The {what} operation timed out")
            try:
                if not done and not (waits_for_input and self._starved):
                    try:
                        result = operation(*args)
                        done = True
                    except SSLWantReadError:  # noqa: F405
                        self._starved = True
                    except OSError:
                        # OpenSSL tells the peer why.
                        self._flush_if_possible()
                        raise
                if done:
                    # A read does not wait for the peer to take an answer of OpenSSL's own.
                    if (reads or filled) and not self._starved:
                        self._wake_readers()
                    if reads:
                        # The peer's bytes are not lost if OpenSSL's own answer cannot be sent now.
                        self._flush_if_possible()
                        return result
                    if self._flush_result(what):
                        return result
                    reading = False
                elif not self._flush():
                    reading = False
                elif self._fill(ask=timeout == 0.0 or not in_time):
                    filled = True
                    continue
                else:
                    reading = True
            finally:
                lock.release()
            # The wait stands outside of the ``except`` clause, because another greenlet must not find this
            # exception being handled.
            if timeout == 0.0:
                if reading:
                    raise SSLWantReadError(  # noqa: F405
                        SSL_ERROR_WANT_READ,  # noqa: F405
                        "The operation did not complete (read)",
                    )
                raise SSLWantWriteError(  # noqa: F405
                    SSL_ERROR_WANT_WRITE,  # noqa: F405
                    "The operation did not complete (write)",
                )
            if not in_time:
                raise TimeoutError(f"The {what} operation timed out")
            registration = self._current_registration()
            if registration is None:
                registration = self._register()
                if reading and not self._starved:
                    continue  # another hub has taken the bytes before it could find this registration
            in_time = self._park_read(registration, deadline) if reading else self._park_write(deadline)

    def _wake_readers(self) -> None:
        """OpenSSL has more bytes, or the end.  The kernel does not report them to the others that wait."""
        descriptor = self._descriptor
        if descriptor is not None:
            descriptor.wake_readers()

    def do_handshake(self, block: bool = False) -> None:
        self._check_connected()
        timeout = self._timeout
        try:
            if timeout == 0.0 and block:
                self._timeout = None
            self._until_done("handshake", self._deadline(), False, self._shake_hands, self._sslobj)
        finally:
            self._timeout = timeout

    def _shake_hands(self, connection: _Any) -> None:
        connection.do_handshake()
        self._note_rest(bool(connection.pending()))

    def _note_rest(self, decrypted: bool) -> None:
        """Note what is there for the next read; *decrypted*: OpenSSL has plain bytes."""
        there = self._incoming.pending
        self._starved = not decrypted and not there
        # OpenSSL takes a whole record before it gives any of it.
        if self._missing == _UNKNOWN and not there:
            self._missing = 0

    # The connection object is looked up once.  A greenlet that waits while another one calls ``shutdown``,
    # which takes the object away, still learns how the stream ended.

    def read(self, len: int = 1024, buffer: _WriteableBuffer | None = None) -> bytes | int:
        self._checkClosed()
        connection = self._sslobj
        if connection is None:
            raise ValueError("Read on closed or unwrapped SSL socket.")
        args = (len,) if buffer is None else (len, buffer)
        # Without room for a byte OpenSSL says so, or returns at once.
        reads = len > 0 and (buffer is None or memoryview(buffer).nbytes > 0)
        try:
            got: bytes | int = self._until_done(
                "read", self._deadline(), reads, self._read_once, connection, *args
            )
            return got
        except _standard.SSLError as error:
            if error.args[0] == _standard.SSL_ERROR_EOF and self.suppress_ragged_eofs:
                return b"" if buffer is None else 0
            raise

    def _read_once(self, connection: _Any, size: int, *buffer: _WriteableBuffer) -> bytes | int:
        if self._decrypted:
            return self._take("_decrypted", size, *buffer)
        result: bytes | int = connection.read(size, *buffer)
        # After the end of the stream the next read finds it again.
        self._note_rest(not result or bool(connection.pending()))
        return result

    def _take(self, name: str, size: int, buffer: _WriteableBuffer | None = None) -> bytes | int:
        """Take up to *size* of the bytes in the attribute *name*, into *buffer* if there is one."""
        data: bytes = getattr(self, name)
        if buffer is None:
            if size < 0:
                raise ValueError("size should not be negative")
            setattr(self, name, data[size:])
            return data[:size]
        with memoryview(buffer) as view, view.cast("B") as octets:
            count = min(size, len(octets)) if size > 0 else len(octets)
            count = min(count, len(data))
            octets[:count] = data[:count]
        setattr(self, name, data[count:])
        return count

    def pending(self) -> int:
        """The bytes that the next read has without waiting, those included that were read ahead."""
        self._checkClosed()
        connection = self._sslobj
        if connection is None:
            return 0
        with self._tls_lock:
            count: int = len(self._decrypted) + connection.pending()
            if not count and self._incoming.pending:
                # The kernel does not report what was taken ahead.
                try:
                    self._decrypted = connection.read(_RECORD)
                except SSLWantReadError:  # noqa: F405
                    self._starved = True
                else:
                    self._starved = False
                    count = len(self._decrypted) + connection.pending()
            return count

    def write(self, data: _ReadableBuffer) -> int:
        self._checkClosed()
        connection = self._sslobj
        if connection is None:
            raise ValueError("Write on closed or unwrapped SSL socket.")
        lock = self._write_lock
        deadline = self._deadline()
        if not lock.acquire(False):
            if self._timeout == 0.0:
                raise SSLWantWriteError(  # noqa: F405
                    SSL_ERROR_WANT_WRITE,  # noqa: F405
                    "another write to this socket is still running",
                )
            if not lock.acquire(timeout=_seconds_until(deadline)):
                raise TimeoutError("The write operation timed out")
        try:
            if self._owed and (count := self._repeated(data, deadline)):
                return count
            self._written = 0
            try:
                return self._until_done("write", deadline, False, self._write_once, connection, data)
            except BaseException:
                if self._written:
                    self._owe(data, self._written)
                raise
        finally:
            lock.release()

    def _owe(self, data: _ReadableBuffer, count: int) -> None:
        """Note that *count* bytes of *data* are encrypted, though their writer gets an exception."""
        with memoryview(data) as view, view.cast("B") as octets:
            self._owed = bytes(octets[:count])

    def _await_sent(self, data: _ReadableBuffer, count: int) -> int:
        """Return *count*, of the bytes of *data* that are encrypted, once all that is encrypted is sent."""
        try:
            with self._write_lock:
                self._until_done("write", self._deadline(), False, lambda: None)
        except BaseException:
            self._owe(data, count)
            raise
        return count

    def _repeated(self, data: _ReadableBuffer, deadline: float | None) -> int:
        """Send what an interrupted write has left; the count of its bytes if *data* begins with them."""
        self._until_done("write", deadline, False, lambda: None)
        owed, self._owed = self._owed, b""
        with memoryview(data) as view, view.cast("B") as octets:
            return len(owed) if octets[: len(owed)] == owed else 0

    def _write_once(self, connection: _Any, data: _ReadableBuffer) -> int:
        # OpenSSL would encrypt all of it now, since its buffer is never full.
        limit = _RECORD if self._timeout == 0.0 else _BATCH
        with memoryview(data) as view:
            if view.nbytes <= limit:
                count: int = connection.write(data)
            else:
                with view.cast("B") as octets, octets[:limit] as part:
                    count = connection.write(part)
        self._written = count
        return count

    def send(self, data: _ReadableBuffer, flags: int = 0) -> int:
        """As ``ssl.SSLSocket.send``: the count of bytes, which may be less than all of them."""
        if self._sslobj is None or flags:
            # Plain, or refused.
            return super().send(data, flags)
        return self.write(data)

    def sendall(self, data: _ReadableBuffer, flags: int = 0) -> None:
        """As ``ssl.SSLSocket.sendall``; a timeout is for each part that OpenSSL takes."""
        _base.sendall(self, data, flags)

    def unwrap(self) -> _green_socket:
        """As ``ssl.SSLSocket.unwrap``: end the encrypted stream, and return the plain socket."""
        connection = self._sslobj
        if not connection:
            raise ValueError("No SSL wrapper around " + str(self))
        # What comes after the end of the stream is for the plain socket.
        self._exact = True
        self._until_done("read", self._deadline(), False, connection.shutdown)
        self._sslobj = None
        self._left = self._incoming.read()
        return self

    def verify_client_post_handshake(self) -> None:
        super().verify_client_post_handshake()
        # OpenSSL has something to say before it reads.
        self._starved = False

    # The plain socket that is left.

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As ``ssl.SSLSocket.recv``: at least one byte, or none at the end of the stream."""
        if self._sslobj is None and self._left:
            left: bytes = self._take_left(buflen, flags)
            return left
        received: bytes = _base.recv(self, buflen, flags)
        return received

    def recv_into(self, buffer: _WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """As ``ssl.SSLSocket.recv_into``: the count of bytes, 0 at the end of the stream."""
        if self._sslobj is None and self._left:
            taken: int = self._take_left(nbytes or 0, flags, buffer)
            return taken
        count: int = _base.recv_into(self, buffer, nbytes, flags)
        return count

    def _take_left(self, size: int, flags: int, buffer: _WriteableBuffer | None = None) -> _Any:
        left = self._left
        taken: bytes | int = self._take("_left", size, buffer)
        if flags & _socket.MSG_PEEK:
            self._left = left
        return taken

    def __repr__(self) -> str:
        exact = self._exact
        text: str = super().__repr__()  # asks for the number, but does not watch it
        self._exact = exact
        return text

    def fileno(self) -> int:
        """As ``socket.fileno``; from now on the kernel keeps what comes after the record that is read."""
        self._exact = True
        return super().fileno()


if _speedups is not None:
    # Twins of the methods of the same names.
    _replace_twins(
        SSLSocket,
        _speedups.connect_ssl(
            SSLSocket,
            getattr(_ssl, "_SSLSocket"),  # noqa: B009
            MemoryBIO,  # noqa: F405
            SSLWantReadError,  # noqa: F405
            vars(SSLSocket)["_await_sent"],
            vars(SSLSocket)["_owe"],
            vars(SSLSocket)["_flush_if_possible"],
            vars(SSLSocket)["_wake_readers"],
            _AHEAD,
            _BATCH,
            _RECORD,
            _UNKNOWN,
        ),
    )

# For mypy, which takes the name above for the standard class.
_Green: _Any = SSLSocket


def _wrap_over_buffers(
    sock: _Any, server_side: bool, server_hostname: str | None = None, **kwargs: _Any
) -> object:
    """In the place of ``SSLContext._wrap_socket``; without the context, which the socket has."""
    if not isinstance(sock, _Green):
        return _wrap_descriptor(sock._context, sock, server_side, server_hostname, **kwargs)
    sock._incoming, sock._outgoing = MemoryBIO(), MemoryBIO()  # noqa: F405
    sock._starved = server_side
    return sock._context._wrap_bio(sock._incoming, sock._outgoing, server_side, server_hostname, **kwargs)


class SSLContext(_standard.SSLContext):
    __doc__ = _standard.SSLContext.__doc__

    sslsocket_class = SSLSocket
    _wrap_socket = staticmethod(_wrap_over_buffers)


def patch_standard() -> None:
    """Have every standard SSLContext, also one made before, make green sockets.

    For ``greenpool.monkey``, which puts SSLSocket in the place of the standard one.
    """
    _standard.SSLContext.sslsocket_class = SSLSocket
    _context._wrap_socket = staticmethod(_wrap_over_buffers)
    # This serves subclasses of the standard SSLSocket that were made before.
    _base._create = classmethod(_create_over_originals)
