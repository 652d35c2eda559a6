"""Cooperative ``select`` (as ``gevent.select``): every name of the standard module; its calls park.

*How a call waits.*  It asks the kernel without waiting, by way of the standard object; where nothing is
ready it parks the calling greenlet on the descriptors concerned, and then asks again.  So what is found and
what is raised are the standard module's own.

*It is woken for what was asked for, and for nothing else*: whoever waits for urgent data only would else ask
again and again while the socket has other data that nobody reads.  Pollers other than epoll know only reading
and writing, so there such a wait does ask again and again.

*epoll and kqueue* are themselves descriptors that become ready when an event is there, so the hub's poller
watches them.  (Their C types cannot be subclassed, so the green ones hold one.)

*devpoll* (Solaris) is the standard one, and blocks.

*Threads*: as the standard ones; any of these may be used on any hub.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef"

from __future__ import annotations

import select as _standard
from collections.abc import Callable as _Callable
from collections.abc import Iterable as _Iterable
from math import ceil as _ceil
from time import monotonic as _monotonic
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any
from typing import Protocol as _Protocol
from typing import TypeVar as _TypeVar

from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from _thread import LockType as _LockType
    from select import *  # noqa: F403
    from types import TracebackType as _TracebackType
    from typing import Self as _Self

    from _typeshed import FileDescriptorLike as _FileDescriptorLike

_take_names(_standard, globals())

from ._core import native as _native  # noqa: E402
from ._core.current import current_greenlet as _current_greenlet  # noqa: E402
from ._core.descriptor import Descriptor as _Descriptor  # noqa: E402
from ._core.descriptor import wait_any as _wait_any  # noqa: E402
from ._core.pollers.events import ERR as _ERR  # noqa: E402
from ._core.pollers.events import HUP as _HUP  # noqa: E402
from ._core.pollers.events import IN as _IN  # noqa: E402
from ._core.pollers.events import OUT as _OUT  # noqa: E402
from ._core.pollers.events import PRI as _PRI  # noqa: E402
from ._core.pollers.events import RDHUP as _RDHUP  # noqa: E402
from ._core.pollers.events import READ as _READ  # noqa: E402
from ._core.seconds import seconds_of as _seconds  # noqa: E402
from ._core.waiter import spend as _spend  # noqa: E402

__all__ = [name for name in vars(_standard) if not name.startswith("_")]

_Found = _TypeVar("_Found", bound=_Iterable[object])
_Selected = tuple[list[_Any], list[_Any], list[_Any]]

_MAX_MILLISECONDS = 2**31 - 1


def _number(timeout: float, message: str) -> float:
    """*timeout* as the C functions take one."""
    try:
        return _seconds(timeout)
    except TypeError:
        raise TypeError(message) from None


def _checked_milliseconds(milliseconds: int) -> int:
    if milliseconds > _MAX_MILLISECONDS:
        raise OverflowError("timeout is too large")
    return milliseconds


def _ask_and_park(
    ask: _Callable[[], _Found], park: _Callable[[float | None], object], seconds: float | None
) -> _Found:
    """Call *ask* until it finds something or *seconds* have passed; *park* in between."""
    # A greenlet that polls in a loop must let the others run at times.  It does so before it has a result in
    # hand: a pending Timeout is raised there, and an event that is reported once would be lost.
    _spend()
    found = ask()
    if any(found) or seconds == 0:
        return found
    deadline = None if seconds is None else _monotonic() + seconds
    while True:
        park(None if deadline is None else deadline - _monotonic())
        found = ask()
        if any(found) or (deadline is not None and deadline <= _monotonic()):
            return found


def _descriptor_of(fileobj: _FileDescriptorLike) -> int:
    # The C function refuses a value that is neither an int nor has a fileno.
    return fileobj.fileno() if hasattr(fileobj, "fileno") else fileobj


# These bits end the wait for each of the three, as in the kernel.
_READABLE = _IN | _ERR | _HUP
_WRITABLE = _OUT | _ERR
_EXCEPTIONAL = _PRI


def _wait_for(wanted: list[tuple[int, int]], seconds: float | None) -> None:
    """Park until one of the descriptors may have one of its bits, at most *seconds*."""
    if _native.epoll is None or not _current_greenlet().hub.is_edge_triggered():
        # A poller that knows only reading and writing.
        wanted = [(fd, bits if bits & (_IN | _OUT) else _READ) for fd, bits in wanted]
    _wait_any(wanted, seconds)


def select(
    rlist: _Iterable[_FileDescriptorLike],
    wlist: _Iterable[_FileDescriptorLike],
    xlist: _Iterable[_FileDescriptorLike],
    timeout: float | None = None,
    /,
) -> _Selected:
    """As ``select.select``, parking the greenlet; *timeout* in seconds."""
    if timeout is not None:
        timeout = _number(timeout, "timeout must be a float or None")
        if timeout < 0:
            raise ValueError("timeout must be non-negative")
    # An iterator would be empty when it is asked for the second time.
    rlist, wlist, xlist = (
        fds if isinstance(fds, (list, tuple)) or not hasattr(fds, "__iter__") else list(fds)
        for fds in (rlist, wlist, xlist)
    )

    def ask() -> _Selected:
        return _native.select(rlist, wlist, xlist, 0)

    def park(remaining: float | None) -> None:
        asked = ((rlist, _READABLE), (wlist, _WRITABLE), (xlist, _EXCEPTIONAL))
        _wait_for([(_descriptor_of(fileobj), bits) for fds, bits in asked for fileobj in fds], remaining)

    return _ask_and_park(ask, park, timeout)


if hasattr(_standard, "poll"):

    def _mask(*names: str) -> int:
        """Those of the constants that this system has."""
        mask = 0
        for name in names:
            mask |= getattr(_standard, name, 0)
        return mask

    # Each of the poller's bits with those of poll that come with it.
    _BITS = (
        (_IN, _mask("POLLIN", "POLLRDNORM")),
        (_PRI, _mask("POLLPRI", "POLLRDBAND")),
        (_OUT, _mask("POLLOUT", "POLLWRNORM", "POLLWRBAND")),
        (_RDHUP, _mask("POLLRDHUP")),
    )

    class poll:
        """As ``select.poll``: calling it makes an object whose ``poll`` parks the greenlet.

        Not a function, because classes that keep it as an attribute would make a method of it.
        """

        def __new__(cls) -> _Poll:  # type: ignore[misc]  # a class, for the reason above
            made = object.__new__(_Poll)
            made._poll = _native.poll()
            made._masks = {}
            made._in_use = _native.Lock()
            return made

    class _Poll:
        """As what ``select.poll()`` returns."""

        __slots__ = ("_poll", "_masks", "_in_use", "__weakref__")

        _poll: _standard.poll
        _masks: dict[int, int]
        _in_use: _LockType

        def __new__(cls, *args: object, **kwargs: object) -> _Poll:
            raise TypeError(f"cannot create '{cls.__module__}.{cls.__name__}' instances")

        def register(
            self,
            fd: _FileDescriptorLike,
            eventmask: int = _standard.POLLIN | _standard.POLLPRI | _standard.POLLOUT,
            /,
        ) -> None:
            """Watch *fd*, or change what it is watched for."""
            fd = _descriptor_of(fd)
            self._poll.register(fd, eventmask)
            self._masks[fd] = eventmask

        def modify(self, fd: _FileDescriptorLike, eventmask: int, /) -> None:
            """Change what *fd* is watched for; raises OSError(ENOENT) where it is not watched."""
            fd = _descriptor_of(fd)
            self._poll.modify(fd, eventmask)
            self._masks[fd] = eventmask

        def unregister(self, fd: _FileDescriptorLike, /) -> None:
            """Watch *fd* no longer; raises KeyError where it is not watched."""
            fd = _descriptor_of(fd)
            self._poll.unregister(fd)
            del self._masks[fd]

        def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
            """Wait, at most *timeout* milliseconds, and return (descriptor, events) pairs.

            None or a negative number: for ever.
            """
            seconds = None
            if timeout is not None:
                timeout = _number(timeout, "timeout must be an integer or None")
                if timeout >= 0:
                    seconds = _checked_milliseconds(_ceil(timeout)) / 1000
            if not self._in_use.acquire(blocking=False):
                raise RuntimeError("concurrent poll() invocation")
            try:
                return _ask_and_park(self._ask, self._park, seconds)
            finally:
                self._in_use.release()

        def _ask(self) -> list[tuple[int, int]]:
            return self._poll.poll(0)

        def _park(self, remaining: float | None) -> None:
            wanted = []
            for fd, mask in self._masks.copy().items():
                # Errors and hang-ups are reported unasked.
                bits = _ERR | _HUP
                for bit, asked in _BITS:
                    if mask & asked:
                        bits |= bit
                wanted.append((fd, bits))
            _wait_for(wanted, remaining)


class _Kernel(_Protocol):
    """An epoll or kqueue object of the standard module."""

    @property
    def closed(self) -> bool: ...

    def close(self) -> None: ...

    def fileno(self) -> int: ...


class _Watched:
    """A kernel object with a descriptor that becomes readable when the object has something to report."""

    __slots__ = ("_kernel", "_descriptor", "__weakref__")

    def __init__(self, kernel: _Kernel) -> None:
        self._kernel = kernel
        self._descriptor = _Descriptor(kernel.fileno())

    def close(self) -> None:
        """Close the descriptor; greenlets that wait get OSError(EBADF).  A second close does nothing."""
        self._descriptor.close()
        self._kernel.close()

    @property
    def closed(self) -> bool:
        """True once it is closed."""
        return self._kernel.closed

    def fileno(self) -> int:
        """The descriptor's number; raises ValueError once it is closed."""
        return self._kernel.fileno()

    def _park(self, remaining: float | None) -> None:
        self._descriptor.registration().wait_read(_current_greenlet(), remaining)


if hasattr(_standard, "epoll"):

    class epoll(_Watched):
        """As ``select.epoll``; ``poll`` parks the greenlet."""

        __slots__ = ()

        _kernel: _standard.epoll

        def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
            _Watched.__init__(self, _native.epoll(sizehint, flags))

        @classmethod
        def fromfd(cls, fd: int, /) -> _Self:
            """An epoll object for an open epoll descriptor, which it closes at its end."""
            made = cls.__new__(cls)
            _Watched.__init__(made, _native.epoll.fromfd(fd))
            return made

        def __enter__(self) -> _Self:
            self.fileno()  # raises where it is closed
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None = None,
            value: BaseException | None = None,
            traceback: _TracebackType | None = None,
            /,
        ) -> None:
            self.close()

        def register(
            self,
            fd: _FileDescriptorLike,
            eventmask: int = _standard.EPOLLIN | _standard.EPOLLPRI | _standard.EPOLLOUT,
        ) -> None:
            """Watch *fd*; raises OSError(EEXIST) where it is watched already."""
            self._kernel.register(fd, eventmask)

        def modify(self, fd: _FileDescriptorLike, eventmask: int) -> None:
            """Change what *fd* is watched for."""
            self._kernel.modify(fd, eventmask)

        def unregister(self, fd: _FileDescriptorLike) -> None:
            """Watch *fd* no longer."""
            self._kernel.unregister(fd)

        def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
            """Wait, at most *timeout* seconds, and return up to *maxevents* (descriptor, events) pairs.

            None or a negative number: for ever, and as many as there are.
            """
            seconds = None
            if timeout is not None:
                timeout = _number(timeout, "timeout must be an integer or None")
                milliseconds = _checked_milliseconds(_ceil(timeout * 1000))
                if milliseconds >= 0:
                    seconds = milliseconds / 1000

            def ask() -> list[tuple[int, int]]:
                return self._kernel.poll(0, maxevents)

            return _ask_and_park(ask, self._park, seconds)


if hasattr(_standard, "kqueue"):

    class kqueue(_Watched):
        """As ``select.kqueue``; ``control`` parks the greenlet."""

        __slots__ = ()

        _kernel: _Any

        def __init__(self) -> None:
            _Watched.__init__(self, _native.kqueue())

        @classmethod
        def fromfd(cls, fd: int, /) -> _Self:
            """A kqueue object for an open kqueue descriptor, which it closes at its end."""
            made = cls.__new__(cls)
            _Watched.__init__(made, _native.kqueue.fromfd(fd))
            return made

        def control(
            self,
            changelist: _Iterable[object] | None,
            maxevents: int,
            timeout: float | None = None,
            /,
        ) -> list[object]:
            """Make the changes, then wait, at most *timeout* seconds, for up to *maxevents* events.

            None: for ever.
            """
            if timeout is not None:
                timeout = _number(
                    timeout,
                    f"timeout argument must be a number or None, got {type(timeout).__name__}",
                )
                if timeout < 0:
                    raise ValueError("timeout must be positive or None")
            changes = changelist

            def ask() -> list[object]:
                nonlocal changes
                made, changes = changes, None
                events: list[object] = self._kernel.control(made, maxevents, 0)
                return events

            return _ask_and_park(ask, self._park, timeout if maxevents else 0)
