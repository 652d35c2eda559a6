"""Cooperative sockets: every name of the standard ``socket`` module (as ``gevent.socket``).

``socket`` is a subclass of the standard one, with the same operations and errors; where the standard one
would block its thread, it parks the calling greenlet.  The descriptor itself is always non-blocking; the
timeout that a program sets is kept here.

*How an operation waits.*  It tries the system call, and parks on EAGAIN until the poller reports the
descriptor ready; see ``_core/descriptor.py``, also for the short-read rule that ``recv`` follows.

*Hubs.*  A socket may be used on any hub, and on several at once.  ``_registration`` remembers the one used
last.  It is only a cache that another hub may replace at any time: so it is read once, and compared with
the calling greenlet's hub.

*Fairness.*  A greenlet whose sockets never say EAGAIN yields after ``BUDGET`` operations in a row.  It does
so before an operation, never after one: the yield may raise what is pending, a Timeout or a kill, and then
what an operation has received, or the count of what it has sent, would be lost.

*Timeouts.*  Once its time is over an operation tries its system call a last time: what came in time counts
also if the hub was too busy to look.

*The standard module's own functions* (create_connection, create_server, ...) run here over this module's
names, so that they are those of the running Python version, on green sockets.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef"

from __future__ import annotations

import errno as _errno
import io as _io
import os as _os
import socket as _standard
from collections.abc import Callable as _Callable
from collections.abc import Iterable as _Iterable
from operator import index as _index
from sys import maxsize as _maxsize
from sys import version_info as _version_info
from time import monotonic as _monotonic
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any
from typing import ParamSpec as _ParamSpec
from typing import SupportsIndex as _SupportsIndex
from typing import TypeVar as _TypeVar

from ._rebound import rebound as _rebound
from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from socket import *  # noqa: F403
    from typing import IO as _IO

    from typing_extensions import Buffer as _Buffer

    _Raisable = BaseException | type[BaseException]

_take_names(_standard, globals())

# After the names of the standard module, so that none of them can take the place of these.
from ._core.current import current_greenlet as _current_greenlet  # noqa: E402
from ._core.current import getcurrent as _getcurrent  # noqa: E402
from ._core.descriptor import Descriptor as _Descriptor  # noqa: E402
from ._core.descriptor import ready_now as _ready_now  # noqa: E402
from ._core.descriptor import wait_any as _wait_any  # noqa: E402
from ._core.descriptor import wait_descriptor as _wait_descriptor  # noqa: E402
from ._core.fork import at_fork as _at_fork  # noqa: E402
from ._core.native import RLock as _RLock  # noqa: E402
from ._core.pollers.events import IN as _IN  # noqa: E402
from ._core.pollers.events import OUT as _OUT  # noqa: E402
from ._core.seconds import LONGEST as _LONGEST  # noqa: E402
from ._core.seconds import check_seconds as _check_seconds  # noqa: E402
from ._core.speedups import replace_twins as _replace_twins  # noqa: E402
from ._core.speedups import speedups as _speedups  # noqa: E402
from ._core.state import Registered as _Registration  # noqa: E402
from ._core.timeout import Timeout as _Timeout  # noqa: E402
from ._core.timeout import call_within as _call_within  # noqa: E402
from ._core.waiter import interrupt as _interrupt  # noqa: E402
from ._core.waiter import sleep as _sleep  # noqa: E402
from ._core.waiter import spend as _spend  # noqa: E402
from ._core.waiter import yield_now as _yield_now  # noqa: E402
from ._fd.files import green_io as _green_io  # noqa: E402
from ._fd.workers import blocking as _blocking  # noqa: E402

# An address is a tuple, a str or bytes, as its family has it.
_Address = _Any
_P = _ParamSpec("_P")
_R = _TypeVar("_R")
_T = _TypeVar("_T")

__all__ = [*_standard.__all__, "wait_read", "wait_readwrite", "wait_write"]

# Patching replaces these in the standard module.
_native_getaddrinfo = _standard.getaddrinfo
_native_gethostbyaddr = _standard.gethostbyaddr
_native_gethostbyname = _standard.gethostbyname
_native_gethostbyname_ex = _standard.gethostbyname_ex
_native_getnameinfo = _standard.getnameinfo
_base = _standard.socket
_base_accept: _Callable[..., tuple[int, _Any]] = getattr(_base, "_accept")  # noqa: B009
_base_recv = _base.recv
_base_recv_into = _base.recv_into
_base_send = _base.send
_GiveUp: type[Exception] = getattr(_standard, "_GiveupOnSendfile")  # noqa: B009
_IN_PROGRESS = (_errno.EINPROGRESS, _errno.EALREADY)
_NON_BLOCKING = getattr(_standard, "SOCK_NONBLOCK", 0)
_DONT_WAIT = getattr(_standard, "MSG_DONTWAIT", 0)
_WAIT_ALL = getattr(_standard, "MSG_WAITALL", 0)
# With one of these flags the kernel does not wait for all bytes, or takes nothing out, so that they cannot be
# collected.
_ALL_OR_LESS = _WAIT_ALL | _DONT_WAIT | _standard.MSG_PEEK | _standard.MSG_OOB
_ALL_OR_LESS |= getattr(_standard, "MSG_ERRQUEUE", 0)
# This is the number of no error.
_TIMED_OUT = -1
_INTERNET = (_standard.AF_INET, _standard.AF_INET6)
# The C extension can make the addresses of these families.
_ACCEPTED_IN_C = (*_INTERNET, getattr(_standard, "AF_UNIX", None))
# How often to ask again where the kernel reports no event: a Unix socket whose listener's backlog is full.
_BACKLOG_RETRY = 0.005
# Guards the making of a socket's Descriptor, which happens once per socket, against the socket's close: the
# number may be another's afterwards.  Reentrant, because a signal handler or a finalizer may use a socket
# between any two bytecodes.
_descriptor_lock = _RLock()


def _replace_descriptor_lock() -> None:
    # Another one: a signal handler may fork while the thread that goes on in the child holds this.
    global _descriptor_lock
    _descriptor_lock = _RLock()


_at_fork("sockets", in_child=_replace_descriptor_lock)


class socket(_base):
    """A socket whose operations park the calling greenlet; any thread (as ``socket.socket``)."""

    __slots__ = ("_timeout", "_descriptor", "_registration", "_drains", "_fd")

    # These are plain integers.  The properties of those names make enum members, which takes as long as the
    # accept.
    _family = _standard.SocketType.family
    _type = _standard.SocketType.type

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        _base.__init__(self, family, type, proto, fileno)
        self._timeout: float | None = _base.gettimeout(self)
        # -1 from before the descriptor is closed, as its number may be another's then.
        self._fd = _base.fileno(self)
        self._descriptor: _Descriptor | None = None
        self._registration: _Registration | None = None
        # Whether a short read proves that nothing is left: only on a TCP stream.
        self._drains = self._family in _INTERNET and self._type == _standard.SOCK_STREAM
        if self._timeout != 0.0:
            _base.settimeout(self, 0.0)

    # Greenlets could not share a file with the standard buffers.
    makefile = _rebound(_base.makefile, vars(_standard) | {"io": _green_io})

    # Waiting.

    def _register(self) -> _Registration:
        """This socket on the calling greenlet's hub, for one that has to wait."""
        descriptor = self._descriptor
        if descriptor is None:
            with _descriptor_lock:
                descriptor = self._descriptor
                if descriptor is None:
                    descriptor = self._descriptor = _Descriptor(self._fd)
                    # Looked at afterwards: a signal handler's close finds the descriptor, or is found out.
                    if self._fd < 0:
                        self._descriptor = None
                        raise OSError(_errno.EBADF, _os.strerror(_errno.EBADF))
        self._registration = registration = descriptor.registration()
        if self._fd < 0:
            # It was closed in between.  Another owner of the number may keep the registration alive.
            self._registration = None
            raise OSError(_errno.EBADF, _os.strerror(_errno.EBADF))
        return registration

    def _give_number_up(self) -> None:
        """Tell every waiting greenlet that the socket is closed, and let no hub register its number."""
        with _descriptor_lock:
            self._fd = -1
            descriptor, self._descriptor = self._descriptor, None
            self._registration = None
        if descriptor is not None:
            descriptor.close()

    def _current_registration(self) -> _Registration | None:
        """The cached registration, if it is of the calling greenlet's hub."""
        registration = self._registration
        greenlet = _getcurrent()
        if registration is None or registration.hub is not getattr(greenlet, "hub", registration):
            return None
        return registration

    def _deadline(self) -> float | None:
        timeout = self._timeout
        return None if timeout is None else _monotonic() + timeout

    # These return False when the time is over, and raise no TimeoutError: callers must be able to tell it
    # from one that somebody has thrown into the greenlet.

    def _park_read(self, registration: _Registration, deadline: float | None) -> bool:
        if deadline is None:
            return registration.wait_read(_getcurrent())
        return registration.wait_read(_getcurrent(), deadline - _monotonic())

    def _park_write(self, deadline: float | None) -> bool:
        registration = self._current_registration() or self._register()
        if deadline is None:
            return registration.wait_write(_getcurrent())
        return registration.wait_write(_getcurrent(), deadline - _monotonic())

    def _receive(self, asked: int, flags: int, operation: _Callable[..., _R], *args: object) -> _R:
        """Carry out *operation*, which reads with these *flags*.

        *asked*: the bytes it asks for where the short-read rule holds, else 0.
        """
        if self._timeout == 0.0 or flags & _DONT_WAIT:
            return operation(self, *args)
        registration = self._current_registration()
        deadline = self._deadline()
        in_time = True
        if registration is None:
            pass
        elif registration.readable:
            _spend()
        elif args and _is_no_size(args[0]):
            return operation(self, *args)
        else:
            in_time = self._park_read(registration, deadline)
        while True:
            try:
                result = operation(self, *args)
            except BlockingIOError:
                pass  # wait below, where no exception is being handled
            else:
                if asked and registration is not None and not registration.hung_up:
                    size = result if isinstance(result, int) else len(result)  # type: ignore[arg-type]  # bytes
                    if size < asked and self._drains:
                        registration.readable = False
                return result
            if not in_time:
                raise TimeoutError("timed out")
            registration = self._current_registration() or self._register()
            # This EAGAIN is the proof that nothing is left, whatever was reported before.
            registration.readable = False
            registration.hung_up = False
            in_time = self._park_read(registration, deadline)

    def _transmit(
        self, flags: int, operation: _Callable[..., _R], *args: object, timeout: float | None = -1
    ) -> _R:
        """Carry out *operation*, which writes with these *flags*; -1 is the socket's own *timeout*."""
        if timeout == -1:
            timeout = self._timeout
        if timeout == 0.0 or flags & _DONT_WAIT:
            return operation(self, *args)
        deadline = None if timeout is None else _monotonic() + timeout
        in_time = True
        _spend()
        while True:
            try:
                return operation(self, *args)
            except BlockingIOError:
                pass  # wait below, where no exception is being handled
            if not in_time:
                raise TimeoutError("timed out")
            in_time = self._park_write(deadline)

    # Receiving.

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if type(bufsize) is not int:
            # The length of the data is compared with it, when the data has been taken from the kernel.
            bufsize = _index(bufsize)
        registration = self._registration
        greenlet = _getcurrent()
        try:
            usual = registration.hub is greenlet.hub and self._timeout is None  # type: ignore[union-attr]  # caught below
        except AttributeError:
            usual = False  # it is not registered yet, or this thread has never waited
        if registration is None or flags or not usual:
            if bufsize == 0:
                return _base_recv(self, bufsize, flags)
            if flags and self._wants_all(flags) and bufsize > 0:
                buffer = bytearray(bufsize)
                return bytes(buffer[: self._receive_all(memoryview(buffer), flags)])
            return self._receive(0 if flags else bufsize, flags, _base_recv, bufsize, flags)
        # The same as _receive, without its general parts: this is the hot path of every server.
        if not registration.readable:
            if not 0 < bufsize <= _maxsize:
                return _base_recv(self, bufsize)
            registration.wait_read(greenlet)
        elif greenlet.budget > 0:
            greenlet.budget -= 1
        else:
            _yield_now()
        while True:
            try:
                data = _base_recv(self, bufsize)
            except BlockingIOError:
                pass
            else:
                if len(data) < bufsize and self._drains and not registration.hung_up:
                    registration.readable = False
                return data
            if self._fd < 0:
                # The socket is closed, though another owner of the number may keep the registration alive.
                raise OSError(_errno.EBADF, _os.strerror(_errno.EBADF))
            registration.readable = False
            registration.hung_up = False
            registration.wait_read(greenlet)

    def recv_into(self, buffer: _Buffer, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer)
        size = view.nbytes
        if view.readonly or not 0 <= nbytes <= size:
            # It says what is wrong with them; where it would have to wait, it would do so afterwards.
            return _base_recv_into(self, buffer, nbytes, flags)
        if flags and self._wants_all(flags):
            return self._receive_all(view.cast("B")[: nbytes or size], flags)
        asked = 0 if flags else nbytes or size
        return self._receive(asked, flags, _base_recv_into, buffer, nbytes, flags)

    def _wants_all(self, flags: int) -> bool:
        """Whether the standard recv would wait for all that was asked for: not if it has a timeout."""
        if self._timeout is not None or self._type != _standard.SOCK_STREAM:
            return False
        return flags & _ALL_OR_LESS == _WAIT_ALL != 0

    def _receive_all(self, view: memoryview, flags: int) -> int:
        """Fill *view*, or up to the end of the stream; the kernel does it only if the descriptor blocks."""
        filled = 0
        while filled < len(view):
            try:
                count = self._receive(0, flags, _base_recv_into, view[filled:], 0, flags)
            except BaseException as exception:
                if not filled:
                    raise
                # The bytes that have come count, as in the kernel.  The next call finds an error again, and
                # the greenlet raises an interrupt when it parks next.
                if not isinstance(exception, OSError):
                    _interrupt(_current_greenlet(), exception)
                break
            if not count:
                break
            filled += count
        return filled

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, _Address]:
        return self._receive(0, flags, _base.recvfrom, bufsize, flags)

    def recvfrom_into(self, buffer: _Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, _Address]:
        return self._receive(0, flags, _base.recvfrom_into, buffer, nbytes, flags)

    if hasattr(_base, "recvmsg"):

        def recvmsg(
            self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
        ) -> tuple[bytes, list[tuple[int, int, bytes]], int, _Address]:
            return self._receive(0, flags, _base.recvmsg, bufsize, ancbufsize, flags)

        def recvmsg_into(
            self, buffers: _Iterable[_Buffer], ancbufsize: int = 0, flags: int = 0, /
        ) -> tuple[int, list[tuple[int, int, bytes]], int, _Address]:
            buffers = _kept(buffers)
            return self._receive(0, flags, _base.recvmsg_into, buffers, ancbufsize, flags)

    def accept(self) -> tuple[socket, _Address]:
        kind = self._type
        if _speedups is not None and self._family in _ACCEPTED_IN_C:
            fd, address = self._receive(0, 0, _accept_in_c)
            # Made as one that is non-blocking already, which it is, it keeps the GIL.
            kind |= _NON_BLOCKING
        else:
            fd, address = self._receive(0, 0, _base_accept)
        accepted = socket(self._family, kind, self.proto, fileno=fd)
        # A listener's timeout is not handed down, as in the standard accept.
        accepted._timeout = _standard.getdefaulttimeout()  # type: ignore[attr-defined]  # mypy takes it for the standard one
        return accepted, address

    # Sending.

    def send(self, data: _Buffer, flags: int = 0, /, *, timeout: float | None = -1) -> int:
        """As ``socket.send``; *timeout* takes the place of the socket's own (as in gevent)."""
        if timeout != -1:
            return self._transmit(flags, _base_send, data, flags, timeout=timeout)
        if self._timeout is not None or flags:
            return self._transmit(flags, _base_send, data, flags)
        _spend()
        try:
            return _base_send(self, data)
        except BlockingIOError:
            pass
        return self._transmit(flags, _base_send, data, flags)

    def sendall(self, data: _Buffer, flags: int = 0, /) -> None:
        if self._timeout is None and not flags:
            # _spend without its call: every answer of a server comes through here.
            greenlet = _getcurrent()
            try:
                greenlet.budget -= 1
            except AttributeError:
                pass
            else:
                if greenlet.budget < 0:
                    _yield_now()
            try:
                sent = _base_send(self, data)
            except BlockingIOError:
                sent = -1
            else:
                if type(data) is bytes and sent == len(data):
                    return
        elif self._timeout == 0.0 or flags & _DONT_WAIT:
            return _base.sendall(self, data, flags)
        else:
            # Nothing sent yet, not even an empty datagram.
            sent = -1
        self._send_rest(data, sent, flags)

    def _send_rest(self, data: _Buffer, sent: int, flags: int = 0) -> None:
        """Send what of *data* comes after the first *sent* bytes."""
        with memoryview(data) as view, view.cast("B") as octets:
            size = len(octets)
            # The timeout is for the whole, as in the standard sendall.
            deadline = self._deadline()
            in_time = True
            while sent < size:
                begin = max(sent, 0)
                _spend()
                try:
                    sent = begin + _base_send(self, octets[begin:], flags)
                except BlockingIOError:
                    pass
                else:
                    if deadline is not None and sent < size and deadline <= _monotonic():
                        raise TimeoutError("timed out")
                    continue
                if not in_time:
                    raise TimeoutError("timed out")
                in_time = self._park_write(deadline)

    def sendto(self, data: _Buffer, *args: object) -> int:
        if args and self._family in _INTERNET:
            args = (*args[:-1], self._resolved(args[-1]))
        flags = args[0] if len(args) == 2 and isinstance(args[0], int) else 0
        return self._transmit(flags, _base.sendto, data, *args)

    if hasattr(_base, "sendmsg"):

        def sendmsg(
            self,
            buffers: _Iterable[_Buffer],
            ancdata: _Iterable[tuple[int, int, _Buffer]] = (),
            flags: int = 0,
            address: _Address | None = None,
            /,
        ) -> int:
            buffers, ancdata = _kept(buffers), _kept(ancdata)
            return self._transmit(flags, _base.sendmsg, buffers, ancdata, flags, address)

    if hasattr(_base, "sendmsg_afalg"):

        def sendmsg_afalg(self, *args: _Any, **kwargs: _Any) -> int:
            args = tuple(map(_kept, args))

            def send(sock: _standard.socket) -> int:
                return _base.sendmsg_afalg(sock, *args, **kwargs)

            return self._transmit(0, send)

    def _sendfile_use_sendfile(self, file: _IO[bytes], offset: int = 0, count: int | None = None) -> int:
        self._check_sendfile_params(file, offset, count)  # type: ignore[attr-defined]  # private
        try:
            fd = file.fileno()
            size = _os.fstat(fd).st_size
        except (AttributeError, _io.UnsupportedOperation, OSError) as error:
            raise _GiveUp(error) from error
        if not size:
            return 0
        if self._timeout == 0.0:
            raise ValueError("non-blocking sockets are not supported")
        if self._fd < 0:
            raise ValueError(f"Invalid file descriptor: {self._fd}")
        # The timeout is for each wait, as in the standard sendfile.
        deadline = self._deadline()
        in_time = True
        start = offset
        try:
            while True:
                block = 2**30 if count is None else min(2**30, count - (offset - start))
                if block <= 0:
                    break
                sent = -1
                _spend()
                try:
                    sent = _os.sendfile(self.fileno(), fd, offset, block)
                except BlockingIOError:
                    pass
                except OSError as error:
                    if offset == start:
                        # A file that cannot be mapped, say: nothing was sent, so send() may try.
                        raise _GiveUp(error) from error
                    raise
                if sent < 0:
                    if not in_time:
                        raise TimeoutError("timed out")
                    in_time = self._park_write(deadline)
                elif sent:
                    offset += sent
                    deadline = self._deadline()
                    in_time = True
                else:
                    break
        finally:
            if offset > start and hasattr(file, "seek"):
                file.seek(offset)
        return offset - start

    # Connecting.

    def connect(self, address: _Address, /) -> None:
        if self._timeout == 0.0:
            return _base.connect(self, address)
        error = self._connect(self._resolved(address))
        if error == _TIMED_OUT:
            raise TimeoutError("timed out")
        if error:
            raise OSError(error, _os.strerror(error))

    def connect_ex(self, address: _Address, /) -> int:
        if self._timeout == 0.0:
            return _base.connect_ex(self, address)
        error = self._connect(self._resolved(address))
        # The standard connect_ex returns this when its timeout ends.
        return _errno.EAGAIN if error == _TIMED_OUT else error

    def _connect(self, address: _Address) -> int:
        """The error's number, 0 or _TIMED_OUT."""
        deadline = self._deadline()
        begun = False
        in_time = True
        while True:
            error = _base.connect_ex(self, address)
            if error in _IN_PROGRESS:
                if not in_time:
                    return _TIMED_OUT
                begun = True
                in_time = self._park_write(deadline)
                error = self.getsockopt(_standard.SOL_SOCKET, _standard.SO_ERROR)
                if error:
                    return error
            elif error == _errno.EAGAIN and not begun:
                if deadline is not None and deadline <= _monotonic():
                    return _TIMED_OUT
                _sleep(_BACKLOG_RETRY)
            elif error == _errno.EISCONN and begun:
                return 0
            else:
                return error

    def _resolved(self, address: _Address) -> _Address:
        """*address* with a numeric host, so that no system call below looks a name up on this thread."""
        if self._family not in _INTERNET or not isinstance(address, tuple) or not address:
            return address
        host = address[0]
        if not isinstance(host, str) or host in ("", "<broadcast>") or "\0" in host or _is_numeric(host):
            return address
        found = getaddrinfo(host, None, self.family, self.type, self.proto)  # noqa: F405
        return (found[0][4][0], *address[1:])

    # Closing.

    def _real_close(self, _ss: _Any = _base) -> None:
        # At the interpreter's end a socket may be closed when the names of this module are gone.
        if _descriptor_lock is not None:
            self._give_number_up()
        _ss._real_close(self)

    def detach(self) -> int:
        """As ``socket.detach``: the number is the caller's, and blocking if the socket has no timeout.

        So are then all duplicates of it, also those of ``dup``; a green one needs ``settimeout(None)`` before
        it is used again, or it blocks its hub.
        """
        self._give_number_up()
        fd = _base.detach(self)
        if self._timeout is None and fd >= 0:
            try:
                _os.set_blocking(fd, True)
            except OSError:
                pass  # another thread has closed it, and the next use of the number will notice
        return fd

    def shutdown(self, how: int, /) -> None:
        _base.shutdown(self, how)
        # The kernel reports it to waiting greenlets.  It does not report it to a hub that has noted "drained"
        # and is about to be asked.
        registration = self._registration
        if registration is not None:
            registration.hung_up = True
            registration.readable = True

    # Timeouts.

    def settimeout(self, value: _SupportsIndex | float | None, /) -> None:
        if value is not None:
            if not isinstance(value, (int, float)):
                if not hasattr(value, "__index__"):
                    raise TypeError(f"timeout must be a number of seconds or None, not {value!r}")
                value = value.__index__()
            if not value >= 0:
                raise ValueError("Timeout value out of range")
            if value > _LONGEST:
                raise OverflowError("timestamp out of range for platform time_t")
            value = float(value)
        # Non-blocking again, if somebody has made it blocking (``detach``, while ssl wraps a socket); and a
        # closed descriptor is reported here, as by the standard one.
        _base.settimeout(self, 0.0)
        self._timeout = value

    def gettimeout(self) -> float | None:
        return self._timeout

    @property
    def timeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool, /) -> None:
        if _version_info < (3, 12):
            flag = bool(_index(flag))
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        return self._timeout != 0.0


SocketType = socket  # type: ignore[misc,assignment]  # a new meaning on purpose


def _accept_in_c(sock: _Any) -> tuple[int, _Address]:
    """As ``_socket.socket._accept``, keeping the GIL."""
    try:
        accepted = _speedups.accept(sock._fd)
    except ValueError:
        # Another owner of the file, maybe another process, has made it blocking; see settimeout.
        _base.settimeout(sock, 0.0)
        accepted = _speedups.accept(sock._fd)
    if accepted is None:
        raise BlockingIOError(_errno.EAGAIN, _os.strerror(_errno.EAGAIN))
    descriptor, address = accepted
    return descriptor, address


def _kept(values: _Any) -> _Any:
    """*values* to be looked through at each attempt; an iterator would be empty at the second."""
    return list(values) if hasattr(values, "__next__") else values


def _is_no_size(size: object) -> bool:
    """True for a size that a receiving call refuses; if it had to wait, it would do so only afterwards."""
    return (isinstance(size, int) and not 0 <= size <= _maxsize) or isinstance(size, (str, float, type(None)))


if _speedups is not None:
    # Twins of the methods of the same names.
    _replace_twins(
        socket,
        _speedups.connect_socket(
            socket,
            _spend,
            vars(socket)["_send_rest"],
        ),
    )


def wait_read(
    fileno: int | socket, timeout: float | _Timeout | None = None, timeout_exc: _Raisable | None = None
) -> None:
    """Park the calling greenlet until the descriptor can be read, at most *timeout* seconds.

    Raises *timeout_exc*, an exception or its class, by default ``TimeoutError``, when the time is over (as in
    gevent).
    """
    _wait_for(fileno, _IN, timeout, timeout_exc)


def wait_write(
    fileno: int | socket, timeout: float | _Timeout | None = None, timeout_exc: _Raisable | None = None
) -> None:
    """As ``wait_read``, until it can be written."""
    _wait_for(fileno, _OUT, timeout, timeout_exc)


def wait_readwrite(
    fileno: int | socket, timeout: float | _Timeout | None = None, timeout_exc: _Raisable | None = None
) -> None:
    """As ``wait_read``, until it can be read or written."""
    _wait_for(fileno, _IN | _OUT, timeout, timeout_exc)


def _wait_for(
    fileno: int | socket, bits: int, timeout: float | _Timeout | None, timeout_exc: _Raisable | None
) -> None:
    if isinstance(timeout, _Timeout):
        _call_within(timeout, _wait_for, fileno, bits, None, None)
        return
    _check_seconds("timeout", timeout)
    fd = fileno if isinstance(fileno, int) else fileno.fileno()
    if fd < 0:
        raise OSError(_errno.EBADF, _os.strerror(_errno.EBADF))
    if bits == _IN | _OUT:
        in_time = _ready_now(fd, _IN) or _ready_now(fd, _OUT) or _wait_any([(fd, bits)], timeout)
    else:
        in_time = _wait_descriptor(fd, bits, timeout)
    if not in_time:
        raise TimeoutError("timed out") if timeout_exc is None else timeout_exc


# Looking names up.  The system's resolver blocks, so it is called off the hub's thread.


def _is_numeric(host: str | bytes) -> bool:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    for family in _INTERNET:
        try:
            _standard.inet_pton(family, text.partition("%")[0])
        except (OSError, ValueError):
            continue
        return True
    return False


def _off_thread(function: _Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    return _blocking(function, *args, **kwargs)


def getaddrinfo(
    host: bytes | str | None,
    port: bytes | str | int | None,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[_Any]:
    """As ``socket.getaddrinfo``; parks the greenlet unless host and port are numeric."""
    numeric_port = port is None or isinstance(port, int) or str(port).isdecimal()
    # A value that is no host is refused at once.
    if numeric_port and (not isinstance(host, (str, bytes)) or _is_numeric(host)):
        return _native_getaddrinfo(host, port, family, type, proto, flags)
    return _off_thread(_native_getaddrinfo, host, port, family, type, proto, flags)


def gethostbyname(hostname: str, /) -> str:
    """As ``socket.gethostbyname``; parks the greenlet unless the name is numeric."""
    if isinstance(hostname, (str, bytes)) and _is_numeric(hostname):
        return _native_gethostbyname(hostname)
    return _off_thread(_native_gethostbyname, hostname)


def gethostbyname_ex(hostname: str, /) -> tuple[str, list[str], list[str]]:
    """As ``socket.gethostbyname_ex``, parking the greenlet."""
    return _off_thread(_native_gethostbyname_ex, hostname)


def gethostbyaddr(ip_address: str, /) -> tuple[str, list[str], list[str]]:
    """As ``socket.gethostbyaddr``, parking the greenlet."""
    return _off_thread(_native_gethostbyaddr, ip_address)


def getnameinfo(sockaddr: _Address, flags: int, /) -> tuple[str, str]:
    """As ``socket.getnameinfo``, parking the greenlet unless everything asked for is numeric."""
    numeric = _standard.NI_NUMERICHOST | _standard.NI_NUMERICSERV
    if isinstance(flags, int) and flags & numeric == numeric:
        return _native_getnameinfo(sockaddr, flags)
    return _off_thread(_native_getnameinfo, sockaddr, flags)
