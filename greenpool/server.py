"""Servers: a handler is called for each connection or datagram, in a greenlet (as ``gevent.server``).

*Accepting.*  An acceptor is a greenlet that accepts and spawns.  The handlers run on the acceptor's hub,
because a greenlet spawns on its own hub.  With ``hubs="all"`` each hub of the runtime has an acceptor, and
all of them accept on the one listener.  A listener for each hub (SO_REUSEPORT) would lose the connections in
the backlog of a listener that closes.

*The end of accepting.*  An acceptor belongs to a round of accepting, and ``stop_accepting`` ends the round.
It also kills the acceptors, which ends their waits.  A kill strikes before the system call and never after
it, so no connection that was accepted is lost.

*Threads*: any thread may call any method.  The lock guards the round, the acceptors and the listener.  Code
of the user never runs under it.
"""

from __future__ import annotations

import errno
import os
import stat

# A report needs this module, and could not import it when the process has run out of descriptors.
import traceback as needed_by_reports  # noqa: F401
from _socket import socket as AnySocket
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, cast

from ._core.current import current_hub, getcurrent
from ._core.error_report import report_error
from ._core.errors import SpawnError
from ._core.late_end import QUIET_END, late_end_watched
from ._core.native import RLock
from ._core.waiter import sleep
from .event import Event
from .greenlet import Greenlet
from .pool import Group, Pool
from .socket import AF_INET, AF_INET6, AF_UNIX, SO_REUSEADDR, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET
from .socket import socket as GreenSocket

if TYPE_CHECKING:
    from .ssl import SSLContext

__all__ = ["BaseServer", "DatagramServer", "StreamServer"]

# An address as ``socket.bind`` takes it.
Address = tuple[object, ...] | str | bytes
Listener = AnySocket | Address | int | os.PathLike[str]
Spawn = Callable[..., object]
_Round = object

# The connections that one of several acceptors takes in a row.  With 1, a burst that all hubs are busy with
# would be accepted at one connection for each turn of all its handlers.
SHARED_ACCEPT = 8


class BaseServer:
    """What stream and datagram servers have in common (as ``gevent.server.BaseServer``).

    *listener*: a bound socket (listening, if it is for streams), an address ``(host, port)``, a port, a text
    ``"host:port"``, or the path of a Unix socket: a ``PathLike``, or a ``str`` with a slash.  A server that
    was given an address makes its socket in ``start``.
    *handle*: called for each connection or datagram.  A subclass may have a method ``handle`` instead.
    *spawn*: ``"default"`` or ``"raw"`` for a greenlet each; an ``int`` for at most so many at a time; a
    ``Pool``; a function that spawns its arguments; ``None`` to handle one after another.  While a pool is
    full nothing is accepted.
    *hubs*: ``"current"`` accepts on the hub where the caller's spawns run; ``"all"`` accepts on every hub of
    the caller's runtime, each of which serves what it accepts.

    A handler that fails is reported on stderr, and its connection is closed.  An error in accepting, such as
    running out of descriptors, is reported, and accepting pauses for ``min_delay`` seconds, then twice as
    long each time, up to ``max_delay``; the connections wait in the backlog.  Any thread may call any method.

    In ``greenpool.run`` a server that was started keeps the pool busy until it is stopped.
    """

    #: The first pause after an error in accepting, in seconds.
    min_delay: float = 0.01
    #: The longest pause after errors in accepting, in seconds.
    max_delay: float = 1.0
    #: The connections that a hub accepts in a row, before its other greenlets have a turn.  With several
    #: acceptors it is 8 at most, so that one hub does not take a whole burst.
    max_accept: int = 100
    #: How long ``stop`` waits for the handlers in the pool, in seconds.
    stop_timeout: float = 1.0
    #: Errors after which a listener is of no use any more.
    fatal_errors: tuple[int, ...] = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK)

    #: The handler.
    handle: Callable[..., object]

    def __init__(
        self,
        listener: Listener,
        handle: Callable[..., object] | None = None,
        spawn: Literal["default", "raw"] | int | Group | Spawn | None = "default",
        *,
        hubs: Literal["current", "all"] = "current",
    ) -> None:
        if hubs not in ("current", "all"):
            raise ValueError(f'hubs must be "current" or "all", not {hubs!r}')
        if self.max_accept < 1:
            raise ValueError(f"max_accept must be 1 or more, not {self.max_accept!r}")
        self.hubs = hubs
        #: The pool or group of the handlers, if there is one.
        self.pool: Group | None = None
        self._lock = RLock()
        self._stopped = Event()
        self._stopped.set()
        # Guarded by the lock.
        self._round: _Round | None = None
        self._acceptors: list[Greenlet] = []
        # Acceptors of earlier rounds, which may be handing a last connection over.
        self._ending: list[Greenlet] = []
        self._socket: GreenSocket | None = None
        self._original: AnySocket | None = None
        self._path: tuple[str, int] | None = None
        self.set_handle(handle)
        self.set_spawn(spawn)
        self.set_listener(listener)

    # Settings.

    def set_listener(self, listener: Listener) -> None:
        """Take another listener; only before ``start``."""
        if isinstance(listener, AnySocket):
            if hasattr(listener, "do_handshake"):
                raise TypeError(f"listener must be a plain socket, not {listener!r}")
            self.family: int = listener.family
            #: What the server is, or will be, bound to.
            self.address: Address = listener.getsockname()
            self._adopt(listener)
        else:
            self.family, self.address = parse_address(listener)

    def _adopt(self, listener: AnySocket) -> None:
        if not isinstance(listener, GreenSocket):
            # Both are closed in the end: the kernel would go on accepting for the one that is left.
            self._original = listener
            descriptor = os.dup(listener.fileno())
            listener = GreenSocket(listener.family, listener.type, listener.proto, fileno=descriptor)
        listener.settimeout(None)
        self._socket = listener

    def set_spawn(self, spawn: Literal["default", "raw"] | int | Group | Spawn | None) -> None:
        """Take another way to start handlers; for what is accepted from now on."""
        if isinstance(spawn, int) and not isinstance(spawn, bool):
            spawn = Pool(spawn)
        if isinstance(spawn, str):
            if spawn not in ("default", "raw"):
                raise ValueError(
                    f'spawn must be "default", "raw", a number, a pool or a function, not {spawn!r}'
                )
            self.pool, self._spawn = None, cast("Spawn | None", Greenlet.spawn)
        elif spawn is None or not hasattr(spawn, "spawn"):
            if spawn is not None and not callable(spawn):
                raise TypeError(f"spawn must be a number, a pool or a function, not {spawn!r}")
            self.pool, self._spawn = None, spawn
        else:
            # Duck typing, as in gevent.
            self.pool = cast("Group", spawn)
            self._spawn = self.pool.spawn

    def set_handle(self, handle: Callable[..., object] | None) -> None:
        """Take another handler; for what is accepted from now on."""
        if handle is None:
            handle = getattr(self, "handle", None)
        if handle is None:
            raise TypeError("'handle' must be provided")
        if not callable(handle):
            raise TypeError(f"handle must be callable, not {handle!r}")
        self.handle = handle

    # State.

    @property
    def socket(self) -> GreenSocket:
        """The listener; AttributeError before ``start`` and after ``close``."""
        listener = self._socket
        if listener is None:
            raise AttributeError(f"{type(self).__name__!r} has no socket now")
        return listener

    @property
    def closed(self) -> bool:
        """True while there is no listener: before ``start``, if an address was given, and after ``close``."""
        return self._socket is None

    @property
    def started(self) -> bool:
        """True from ``start`` to ``stop``."""
        return not self._stopped.is_set()

    @property
    def server_host(self) -> str | None:
        """The address that the server is bound to, if it is an internet address."""
        return str(self.address[0]) if isinstance(self.address, tuple) else None

    @property
    def server_port(self) -> int | None:
        """The port that the server is bound to, if it has one."""
        return cast("int", self.address[1]) if isinstance(self.address, tuple) else None

    def full(self) -> bool:
        """True if nothing more may be accepted now.

        A subclass that overrides this calls ``start_accepting`` when there is room again.
        """
        return self.pool is not None and self.pool.full()

    def __repr__(self) -> str:
        listener = self._socket
        where = "" if listener is None else f" fileno={listener.fileno()}"
        return f"<{type(self).__name__} at {id(self):#x}{where} address={self.address!r}>"

    # Start and end.

    def init_socket(self) -> None:
        """Make the listener if an address was given; ``start`` calls this."""
        raise NotImplementedError

    def start(self) -> None:
        """Make the listener, if an address was given, and begin to accept.

        Raises OSError if the address cannot be bound, and RuntimeError if ``hubs="all"`` finds no runtime.
        """
        if self.started:
            return
        try:
            self.init_socket()
            self._stopped.clear()
            self.start_accepting()
        except BaseException:
            self.close()
            raise

    def start_accepting(self) -> None:
        """Accept from now on; without effect if the server accepts already."""
        # Imported here, because a server that runs on one hub can do without it.
        from .runtime import current_handle

        handle = current_handle() if self.hubs == "all" else None
        if self.hubs == "all" and handle is None:
            raise RuntimeError('hubs="all" needs a runtime: start the server in greenpool.run')
        with self._lock:
            if self._round is not None or self._socket is None:
                return
            self._round = this_round = object()
            count = 1 if handle is None else handle.pool_size
            in_a_row = self.max_accept if count == 1 else min(self.max_accept, SHARED_ACCEPT)
            acceptors = [Greenlet(self._accept, self._socket, this_round, in_a_row) for _ in range(count)]
            self._acceptors = acceptors
        for index, acceptor in enumerate(acceptors):
            if handle is None:
                acceptor.start()
            else:
                handle.place(acceptor, index)

    def stop_accepting(self) -> None:
        """Accept nothing more, and keep the listener: new connections wait in its backlog."""
        with self._lock:
            self._round = None
            acceptors, self._acceptors = self._acceptors, []
            self._ending += acceptors
        current = _current_task()
        for acceptor in acceptors:
            # An acceptor that calls this ends by itself, because its round is over.
            if acceptor is not current:
                acceptor.kill(block=False)

    def join_acceptors(self) -> None:
        """Wait, after ``stop_accepting`` or ``close``, until everything that was accepted has its handler."""
        with self._lock:
            ending, self._ending = self._ending, []
        current = _current_task()
        for acceptor in ending:
            if acceptor is not current:
                acceptor.join()

    def close(self) -> None:
        """Close the listener and accept nothing more; what was accepted goes on."""
        self.stop_accepting()
        with self._lock:
            listener, self._socket = self._socket, None
            original, self._original = self._original, None
            path, self._path = self._path, None
        for each in (listener, original):
            if each is not None:
                each.close()
        if path is not None:
            _remove_socket(*path)
        self._stopped.set()

    def stop(self, timeout: float | None = None) -> None:
        """Close the listener and end the handlers.

        If the handlers run in a pool: wait *timeout* seconds for their end (``stop_timeout`` if it is None),
        then kill those that are left.  Without a pool nobody knows them, and they go on (as in gevent).
        """
        with late_end_watched(repr(self)):
            self.close()
            self.join_acceptors()
            pool = self.pool
            if pool is not None:
                pool.join(timeout=self.stop_timeout if timeout is None else timeout)
                pool.kill(timeout=QUIET_END)

    def serve_forever(self, stop_timeout: float | None = None) -> None:
        """Start the server if it is not started, wait until it is stopped, and stop it."""
        if not self.started:
            self.start()
        try:
            self._stopped.wait()
        finally:
            self.stop(stop_timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # Accepting: in the greenlet of an acceptor.

    def do_read(self, listener: GreenSocket) -> tuple[object, ...]:
        """Wait for the next connection or datagram, and return the handler's arguments."""
        raise NotImplementedError

    def do_close(self, *args: object) -> None:
        """Close what the handler with these arguments was called for."""

    def is_fatal_error(self, error: BaseException) -> bool:
        """Whether the listener is of no use after this error in accepting."""
        return isinstance(error, OSError) and error.errno in self.fatal_errors

    def _accept(self, listener: GreenSocket, this_round: _Round, in_a_row: int) -> None:
        delay = self.min_delay
        accepted = 0
        while self._round is this_round:
            if self.full():
                if self.pool is None:
                    self.stop_accepting()
                    return
                self.pool.wait_available()
                continue
            try:
                self._serve(*self.do_read(listener))
            except SpawnError:
                # The hub or its runtime is shutting down.
                return
            except ConnectionAbortedError:
                # The client has gone before it was accepted.
                continue
            except Exception as error:
                if self._round is not this_round:
                    # The listener was closed by another greenlet.
                    return
                if isinstance(error, OSError):
                    # To show the lines of a traceback takes descriptors, which may be what is missing.
                    error.__traceback__ = None
                report_error(current_hub(), repr(self), error)
                if self.is_fatal_error(error):
                    self.close()
                    return
                sleep(delay)
                delay = min(self.max_delay, delay * 2)
                continue
            delay = self.min_delay
            accepted += 1
            if accepted >= in_a_row:
                accepted = 0
                sleep(0)

    def _serve(self, *args: object) -> None:
        spawn = self._spawn
        if spawn is None:
            # In a greenlet of its own, because the kill of the acceptor must not reach the handler.
            Greenlet.spawn(self._handle_and_close, *args).join()
            return
        try:
            spawn(self._handle_and_close, *args)
        except BaseException:
            self.do_close(*args)
            raise

    def _handle_and_close(self, *args: object) -> None:
        try:
            self.handle(*args)
        finally:
            self.do_close(*args)


class StreamServer(BaseServer):
    """A TCP, TLS or Unix stream server; calls ``handle(socket, address)`` (as
    ``gevent.server.StreamServer``).

    The socket is closed when the handler returns or raises.

    *backlog*: the connections that may wait to be accepted; the class attribute if it is None.
    *ssl_args* make it a TLS server.  ``ssl_context`` is an ``SSLContext``, and the others are the arguments
    of its ``wrap_socket``.  Without ``ssl_context`` a context is made of ``certfile``, ``keyfile``,
    ``cert_reqs``, ``ca_certs``, ``ciphers`` and ``ssl_version``.  The handshake takes place in the greenlet
    of the connection, so a slow client holds up nobody else.  A context of the standard ``ssl`` makes green
    sockets from then on.

    The other arguments are those of ``BaseServer``.
    """

    #: The connections that may wait to be accepted.
    backlog: int = 128
    #: Whether the address may be bound although connections of an earlier server still linger.
    reuse_addr: int | None = 1

    def __init__(
        self,
        listener: Listener,
        handle: Callable[..., object] | None = None,
        backlog: int | None = None,
        spawn: Literal["default", "raw"] | int | Group | Spawn | None = "default",
        *,
        hubs: Literal["current", "all"] = "current",
        **ssl_args: object,
    ) -> None:
        if backlog is not None:
            if isinstance(listener, AnySocket):
                raise TypeError("backlog must be None when a socket is given")
            self.backlog = backlog
        self.ssl_context: SSLContext | None = None
        self.ssl_args = ssl_args
        if ssl_args:
            self.ssl_context = _context_of(ssl_args)
        super().__init__(listener, handle, spawn, hubs=hubs)

    @property
    def ssl_enabled(self) -> bool:
        """True for a TLS server."""
        return self.ssl_context is not None

    def init_socket(self) -> None:
        with self._lock:
            if self._socket is not None:
                return
            self._socket = listener = self.get_listener(self.address, self.backlog, self.family)
            self.address = listener.getsockname()
            if isinstance(self.address, str) and self.address and self.address[0] != "\0":
                path = os.path.abspath(self.address)
                self._path = (path, os.stat(path).st_ino)

    @classmethod
    def get_listener(
        cls, address: Address, backlog: int | None = None, family: int | None = None
    ) -> GreenSocket:
        """Make a listener (as in gevent)."""
        if family is None:
            family, address = parse_address(address)
        listener = _bound(SOCK_STREAM, address, family, cls.reuse_addr)
        try:
            listener.listen(cls.backlog if backlog is None else backlog)
        except BaseException:
            listener.close()
            raise
        return listener

    def do_read(self, listener: GreenSocket) -> tuple[object, ...]:
        return listener.accept()

    def do_close(self, *args: object) -> None:
        connection = args[0]
        assert isinstance(connection, AnySocket)
        connection.close()

    def _handle_and_close(self, *args: object) -> None:
        if self.ssl_context is not None:
            # This closes the plain socket if it fails, and takes its descriptor if it does not.
            args = (self.wrap_socket(args[0]), *args[1:])
        super()._handle_and_close(*args)

    def wrap_socket(self, connection: object) -> AnySocket:
        """Make the TLS socket of an accepted connection."""
        assert self.ssl_context is not None and isinstance(connection, AnySocket)
        wrap: Callable[..., AnySocket] = self.ssl_context.wrap_socket
        try:
            return wrap(connection, **{"server_side": True, **self.ssl_args})
        except BaseException:
            connection.close()
            raise


class DatagramServer(BaseServer):
    """A UDP server, or one on a Unix datagram socket; calls ``handle(data, address)`` (as in gevent).

    The arguments are those of ``BaseServer``.
    """

    #: Whether the address may be bound although another socket is bound to it.
    reuse_addr: int | None = 1
    #: The longest datagram that is read whole, in bytes.
    max_size: int = 65_536

    def init_socket(self) -> None:
        with self._lock:
            if self._socket is not None:
                return
            self._socket = listener = self.get_listener(self.address, self.family)
            self.address = listener.getsockname()
            if isinstance(self.address, str) and self.address and self.address[0] != "\0":
                path = os.path.abspath(self.address)
                self._path = (path, os.stat(path).st_ino)

    @classmethod
    def get_listener(cls, address: Address, family: int | None = None) -> GreenSocket:
        """Make a bound socket (as in gevent)."""
        if family is None:
            family, address = parse_address(address)
        return _bound(SOCK_DGRAM, address, family, cls.reuse_addr)

    def do_read(self, listener: GreenSocket) -> tuple[object, ...]:
        return listener.recvfrom(self.max_size)

    def sendto(self, data: bytes, address: Address) -> int:
        """Send a datagram from the server's socket (as ``socket.sendto``)."""
        return self.socket.sendto(data, cast("str", address))


# Addresses.


def parse_address(listener: Address | int | os.PathLike[str]) -> tuple[int, Address]:
    """The family and the address of a listener; raises ValueError or TypeError (as in gevent)."""
    if isinstance(listener, tuple):
        host = str(listener[0])
        return (AF_INET6 if not host or ":" in host else AF_INET), listener
    if isinstance(listener, os.PathLike):
        return AF_UNIX, os.fspath(listener)
    if isinstance(listener, bytes):
        return AF_UNIX, listener
    if isinstance(listener, int) and not isinstance(listener, bool):
        return AF_INET6, ("", listener)
    if not isinstance(listener, str):
        raise TypeError(f"listener must be a socket, an address, a port or a path, not {listener!r}")
    if "/" in listener:
        return AF_UNIX, listener.removeprefix("unix:")
    host, _, port = listener.rpartition(":")
    try:
        number = int(port)
    except ValueError as error:
        raise ValueError(f"listener must be an address or a path, not {listener!r}") from error
    if host.startswith("[") and host.endswith("]"):
        return AF_INET6, (host[1:-1], number)
    if not host and ":" not in listener:
        return AF_INET6, ("", number)
    return AF_INET, ("" if host == "*" else host, number)


def _current_task() -> object:
    """The calling greenlet; None in the loop of a hub, where a signal handler may be."""
    return getattr(getcurrent(), "task", None)


def _bound(kind: int, address: Address, family: int, reuse_addr: int | None) -> GreenSocket:
    made = GreenSocket(family, kind)
    try:
        if reuse_addr is not None and family in (AF_INET, AF_INET6):
            made.setsockopt(SOL_SOCKET, SO_REUSEADDR, reuse_addr)
        try:
            made.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_left_over(kind, address, family):
                raise OSError(error.errno, f"{error.strerror}: {address!r}") from error
            os.unlink(cast("str", address))
            made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _is_left_over(kind: int, address: Address, family: int) -> bool:
    """Whether the Unix socket at *address* belongs to no process any more."""
    if family != AF_UNIX or not isinstance(address, str):
        return False
    with suppress(OSError):
        if not stat.S_ISSOCK(os.stat(address).st_mode):
            return False
        with GreenSocket(family, kind) as probe:
            return probe.connect_ex(address) == errno.ECONNREFUSED
    return False


def _remove_socket(path: str, inode: int) -> None:
    # Another server may have bound the path anew.
    with suppress(OSError):
        if os.stat(path).st_ino == inode:
            os.unlink(path)


def _context_of(ssl_args: dict[str, object]) -> SSLContext:
    """Take the context, or the arguments for one, out of the keywords."""
    # Imported here, because most servers have no TLS of their own.
    from . import ssl

    given = ssl_args.pop("ssl_context", None)
    if given is not None:
        context = cast("SSLContext", given)
        if not issubclass(cast("type", context.sslsocket_class), ssl.SSLSocket):
            context.sslsocket_class = ssl.SSLSocket
        return context
    context = ssl.SSLContext(cast("int", ssl_args.pop("ssl_version", ssl.PROTOCOL_TLS_SERVER)))
    certfile, keyfile = ssl_args.pop("certfile", None), ssl_args.pop("keyfile", None)
    if certfile is None:
        raise ValueError("a TLS server needs ssl_context or certfile")
    context.load_cert_chain(cast("str", certfile), cast("str | None", keyfile))
    ca_certs = ssl_args.pop("ca_certs", None)
    if ca_certs is not None:
        context.load_verify_locations(cast("str", ca_certs))
    context.verify_mode = cast("ssl.VerifyMode", ssl_args.pop("cert_reqs", ssl.CERT_NONE))
    ciphers = ssl_args.pop("ciphers", None)
    if ciphers is not None:
        context.set_ciphers(cast("str", ciphers))
    return context
