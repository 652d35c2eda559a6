"""TLS over simulated sockets: what ``SSLContext.wrap_socket`` makes of one.

OpenSSL reads from one ``ssl.MemoryBIO`` and writes to another, as in greenpool/ssl.py; the bytes between go
through the simulated socket.  OpenSSL draws its own random numbers, so the bytes differ from run to run.

*Threads*: the hubs of the run, one at a time.  One greenlet may read while another one writes; those that
send take turns.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ...lock import RLock
from .fabric import failure
from .sockets import Made, socket

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

# Ask the network for this much.
_AHEAD = 32768
# Encrypt at most this much before anything is sent.
_BATCH = 65536

# They are those of the connection object.
_PASSED_ON = (
    *("version", "cipher", "shared_ciphers", "compression", "getpeercert", "selected_alpn_protocol"),
    *("selected_npn_protocol", "get_channel_binding", "verify_client_post_handshake"),
)


def _refuse(flags: int) -> None:
    if flags:
        raise ValueError("non-zero flags not allowed in calls on a TLS socket")


class TLSSocket(socket):
    """The likeness of an ``ssl.SSLSocket`` over a simulated socket."""

    __slots__ = (
        "context",
        "server_side",
        "server_hostname",
        "do_handshake_on_connect",
        "suppress_ragged_eofs",
        "_tls",
        "_incoming",
        "_outgoing",
        "_sending",
        "_unsent",
    )

    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool

    def _wrap(self, plain: socket, context: ssl.SSLContext, server_side: bool, hostname: str | None) -> None:
        """Take over the end of *plain*, which is closed then."""
        self._begin(plain.give_away())
        self._timeout = plain.gettimeout()
        self.context = context
        self.server_side = server_side
        self.server_hostname = hostname
        self._sending = RLock()
        self._tls: ssl.SSLObject | None = None
        self._unsent = b""

    def _start(self) -> None:
        """Begin TLS on a connection that is open."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self.context.wrap_bio(
            self._incoming, self._outgoing, self.server_side, self.server_hostname
        )
        if self.do_handshake_on_connect:
            if self._timeout == 0:
                raise ValueError("do_handshake_on_connect should not be specified for non-blocking sockets")
            self.do_handshake()

    # The two ways of the bytes.

    def _flush(self, waits: bool) -> None:
        """Send what OpenSSL has written.

        Without *waits*, another greenlet that is about to send sends this, too: one that reads must go on, or
        the peer might not read.
        """
        if not self._sending.acquire(waits):
            return
        try:
            while unsent := self._unsent or self._outgoing.read():
                self._unsent = unsent
                try:
                    sent = super().send(unsent)
                except BlockingIOError:
                    raise ssl.SSLWantWriteError(
                        ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)"
                    ) from None
                self._unsent = unsent[sent:]
        finally:
            self._sending.release()

    def _drive(self, operation: Callable[[], T], writes: bool = False) -> T:
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._flush(writes)
            except ssl.SSLError:
                if self._outgoing.pending:
                    # It tells the peer why.
                    self._flush(waits=False)
                raise
            else:
                self._flush(writes)
                return result
            try:
                data = super().recv(_AHEAD)
            except BlockingIOError:
                raise ssl.SSLWantReadError(
                    ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)"
                ) from None
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _connection(self) -> ssl.SSLObject:
        self._open_end()
        if self._tls is None:
            raise failure(errno.ENOTCONN)
        return self._tls

    # As an SSLSocket.

    def do_handshake(self, block: bool = False) -> None:
        """As ``SSLSocket.do_handshake``."""
        self._drive(self._connection().do_handshake, writes=True)

    def read(self, len: int = 1024, buffer: bytearray | None = None) -> bytes | int:
        """As ``SSLSocket.read``."""
        tls = self._connection()
        try:
            if buffer is None:
                return self._drive(lambda: tls.read(len))
            return self._drive(lambda: tls.read(len, buffer))
        except ssl.SSLZeroReturnError:
            return b"" if buffer is None else 0
        except ssl.SSLEOFError:
            if self.suppress_ragged_eofs:
                return b"" if buffer is None else 0
            raise

    def write(self, data: Buffer) -> int:
        """As ``SSLSocket.write``."""
        tls = self._connection()
        with memoryview(data) as view, view.cast("B") as octets, octets[:_BATCH] as part:
            return self._drive(lambda: tls.write(part), writes=True)

    def pending(self) -> int:
        """As ``SSLSocket.pending``."""
        return self._connection().pending()

    def unwrap(self) -> Made:
        """As ``SSLSocket.unwrap``: the plain socket that is left."""
        self._drive(self._connection().unwrap, writes=True)
        end = self._tcp()
        # What came behind the end of the encrypted stream is for the plain socket.
        end.received[:0] = self._incoming.read()
        timeout = self._timeout
        made = socket.__new__(socket)
        made._begin(self.give_away())
        made._timeout = timeout
        return made

    def __getattr__(self, name: str) -> Any:
        if name in _PASSED_ON:
            return getattr(self._connection(), name)
        raise AttributeError(name)

    # As a socket.

    def recv(self, bufsize: int = 1024, flags: int = 0, /) -> bytes:
        """As ``SSLSocket.recv``."""
        if self._tls is None:
            return super().recv(bufsize, flags)
        _refuse(flags)
        data = self.read(bufsize)
        assert isinstance(data, bytes)
        return data

    def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
        """As ``SSLSocket.recv_into``."""
        if self._tls is None:
            return super().recv_into(buffer, nbytes or 0, flags)
        _refuse(flags)
        with memoryview(buffer) as view, view.cast("B") as octets:
            data = self.recv(nbytes or len(octets) or 1024)
            octets[: len(data)] = data
            return len(data)

    def send(self, data: Buffer, flags: int = 0, /, *, timeout: float | None = -1) -> int:
        """As ``SSLSocket.send``."""
        if self._tls is None:
            return super().send(data, flags, timeout=timeout)
        _refuse(flags)
        return self.write(data)

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        """As ``SSLSocket.sendall``."""
        if self._tls is None:
            super().sendall(data, flags)
            return
        _refuse(flags)
        with memoryview(data) as view, view.cast("B") as octets:
            sent = 0
            while sent < len(octets):
                sent += self.write(octets[sent:])

    def accept(self) -> tuple[Made, Any]:
        """As ``SSLSocket.accept``."""
        plain, address = super().accept()
        return (
            wrapped(
                self.context,
                plain,
                server_side=True,
                do_handshake_on_connect=self.do_handshake_on_connect,
                suppress_ragged_eofs=self.suppress_ragged_eofs,
            ),
            address,
        )

    def connect(self, address: Any, /) -> None:
        """As ``SSLSocket.connect``."""
        super().connect(address)
        self._start()

    def shutdown(self, how: int, /) -> None:
        """As ``SSLSocket.shutdown``."""
        self._tls = None
        super().shutdown(how)


def wrapped(
    context: ssl.SSLContext,
    plain: socket,
    server_side: bool = False,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    server_hostname: str | None = None,
) -> TLSSocket:
    """As ``SSLContext.wrap_socket``, for a simulated socket."""
    if server_side and server_hostname is not None:
        raise ValueError("server_hostname can only be specified in client mode")
    if context.check_hostname and not server_side and not server_hostname:
        raise ValueError("check_hostname requires server_hostname")
    made: TLSSocket = socket.__new__(TLSSocket)
    made._wrap(plain, context, server_side, server_hostname)
    made.do_handshake_on_connect = do_handshake_on_connect
    made.suppress_ragged_eofs = suppress_ragged_eofs
    try:
        if made.is_connected:
            made._start()
    except BaseException:
        made.close()
        raise
    return made
