"""``gevent.pywsgi``: greenpool's WSGI server, with the classes for environs and logs that gevent's has.

The handler's methods are those of greenpool's: ``get_environ``, ``format_request``, ``log_request`` and
``handle_error``.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from typing import IO, Any, ClassVar

from greenpool.pywsgi import Limits
from greenpool.pywsgi import WSGIHandler as _WSGIHandler
from greenpool.pywsgi import WSGIServer as _WSGIServer
from greenpool.pywsgi.body import Body
from greenpool.pywsgi.handler import Application
from greenpool.server import Listener

from .hub import get_hub

__all__ = ["Environ", "LoggingLogAdapter", "SecureEnviron", "WSGIHandler", "WSGISecureEnviron", "WSGIServer"]

MAX_REQUEST_LINE = Limits().request_line
"""The longest request line, in bytes."""

_PIECE = 65_536
_CHUNK_LINE = 4_096


class _NoopLog:
    """A log that keeps nothing; what ``log=None`` means."""

    def write(self, *args: object) -> None:
        """Drop it."""

    def flush(self) -> None:
        """There is nothing to flush."""

    def writelines(self, *args: object) -> None:
        """Drop them."""


class LoggingLogAdapter:
    """A logger as a file: what is written is logged at *level* (as in gevent)."""

    __slots__ = ("_level", "_logger")

    def __init__(self, logger: logging.Logger, level: int = logging.INFO) -> None:
        object.__setattr__(self, "_logger", logger)
        object.__setattr__(self, "_level", level)

    def write(self, text: str) -> None:
        vars_of = object.__getattribute__
        vars_of(self, "_logger").log(vars_of(self, "_level"), text.rstrip("\n"))

    def flush(self) -> None:
        """Do nothing: a logger does not buffer."""

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(object.__getattribute__(self, "_logger"), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(object.__getattribute__(self, "_logger"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "_logger"), name)


class Input(Body):
    """The body of a request that a file *rfile* has: of so many bytes, or in chunks (as in gevent).

    Reading raises OSError where the file ends before the body does.
    """

    def __init__(
        self,
        rfile: IO[bytes],
        content_length: int | None,
        socket: object = None,
        chunked_input: bool = False,
    ) -> None:
        super().__init__(self._chunk if chunked_input else self._piece)
        self._file = rfile
        self._left = content_length or 0

    def _piece(self) -> bytes:
        if not self._left:
            return b""
        data = self._file.read(min(self._left, _PIECE))
        if not data:
            raise OSError(f"unexpected end of file while reading request at position {self._file.tell()}")
        self._left -= len(data)
        return data

    def _chunk(self) -> bytes:
        line = self._file.readline(_CHUNK_LINE)
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            size = -1
        if size < 0 or not line.endswith(b"\n"):
            raise OSError("unexpected end of file while parsing chunked data")
        data = self._file.read(size)
        if len(data) < size or not self._file.readline(_CHUNK_LINE).endswith(b"\n"):
            raise OSError("unexpected end of file while parsing chunked data")
        return data


class Environ(dict[str, object]):
    """The environ of a request; a copy is of the same class, and pickles as a dict."""

    __slots__ = ()

    def copy(self) -> Environ:
        return type(self)(self)

    def __reduce_ex__(self, protocol: object) -> tuple[type, tuple[()], None, None, object]:
        return dict, (), None, None, iter(self.items())


class SecureEnviron(Environ):
    """An environ whose text hides its values, which may be secrets, from reports and logs (as in gevent)."""

    default_secure_repr: ClassVar[bool] = True
    default_whitelist_keys: ClassVar[Iterable[str]] = ()
    default_print_masked_keys: ClassVar[bool] = True

    __slots__ = ("secure_repr", "whitelist_keys", "print_masked_keys")
    secure_repr: bool
    whitelist_keys: Iterable[str]
    print_masked_keys: bool

    def __getattr__(self, name: str) -> object:
        if name in SecureEnviron.__slots__:
            return getattr(type(self), f"default_{name}")
        raise AttributeError(name)

    def __repr__(self) -> str:
        if not self.secure_repr:
            return dict.__repr__(self)
        allowed = self.whitelist_keys
        if not allowed:
            return f"<pywsgi.SecureEnviron dict (keys: {len(self)}) at {id(self)}>"
        shown = {key: self[key] if key in allowed else "<MASKED>" for key in self}
        if not self.print_masked_keys:
            shown = {key: value for key, value in shown.items() if key in allowed}
        return repr(shown)

    __str__ = __repr__


class WSGISecureEnviron(SecureEnviron):
    """An environ as reports of errors show it: the address of the client, and little more."""

    default_whitelist_keys = ("REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST")
    default_print_masked_keys = False


class WSGIHandler(_WSGIHandler):
    """greenpool's handler, with the method that gevent's prints unexpected errors by."""

    def _print_unexpected_exc(self) -> None:
        traceback.print_exc()

    def handle_error(self, error: Exception) -> None:
        """Have the hub report an exception of the application, which is answered with 500 (as in gevent)."""
        secure: type[Environ] = getattr(self.server, "secure_environ_class", WSGISecureEnviron)
        shown = self.environ if isinstance(self.environ, secure) else secure(self.environ)
        get_hub().handle_error(shown, type(error), error, error.__traceback__)

    def get_environ(self) -> dict[str, Any]:
        """Make the environ of the request that was read, of the server's ``environ_class``."""
        kind: type[dict[str, Any]] = getattr(self.server, "environ_class", dict)
        return kind(super().get_environ())


def _no_application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    raise TypeError("the server was made without an application")


def _log_file(log: Any) -> Any:
    """A logger as a file; anything else as it is."""
    return LoggingLogAdapter(log) if hasattr(log, "log") and not hasattr(log, "write") else log


class WSGIServer(_WSGIServer):
    """greenpool's server, with gevent's attributes for the classes of environs."""

    handler_class = WSGIHandler
    environ_class: type[dict[str, Any]] = dict
    secure_environ_class: type[Environ] = WSGISecureEnviron
    base_env: ClassVar[dict[str, Any]] = {}

    def __init__(
        self, listener: Listener, application: Application | None = None, *args: Any, **kwargs: Any
    ) -> None:
        for place, name in ((2, "log"), (3, "error_log")):
            if len(args) > place:
                args = (*args[:place], _log_file(args[place]), *args[place + 1 :])
            elif name in kwargs:
                kwargs[name] = _log_file(kwargs[name])
        if application is None:
            # That of a subclass, if it has one.
            own: Application = getattr(self, "application", _no_application)
            application = own
        super().__init__(listener, application, *args, **kwargs)

    def get_environ(self) -> dict[str, Any]:
        """Make the part of the environ that all requests share."""
        return {**self.base_env, **super().get_environ()}
