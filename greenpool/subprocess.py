"""Cooperative ``subprocess`` (as ``gevent.subprocess``): every name of the standard module; what waits parks.

``Popen`` is a subclass of the standard one.  ``wait`` parks until the child has ended, see os.py; no handler
for SIGCHLD is installed.  The pipes (``stdin``, ``stdout``, ``stderr``) are file objects of fileobject.py.

*The standard module's own functions* (run, check_output, ...), and those of Popen's methods that have to open
or read pipes, run here over green names, so that they are those of the running Python version.

*Threads*: as the standard Popen, any.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef"

from __future__ import annotations

import io as _io
import os as _os
import subprocess as _standard
from collections.abc import Callable as _Callable
from time import monotonic as _monotonic
from types import SimpleNamespace as _SimpleNamespace
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ._rebound import rebound as _rebound
from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from subprocess import *  # noqa: F403

_take_names(_standard, globals())

from . import selectors as _selectors  # noqa: E402
from ._core import native as _native  # noqa: E402
from ._fd.children import wait_for_exit as _wait_for_exit  # noqa: E402
from ._fd.files import FileIO as _FileIO  # noqa: E402
from ._fd.files import open_raw as _open_raw  # noqa: E402
from ._signal_masks import own_mask as _own_mask  # noqa: E402
from .greenlet import spawn as _spawn  # noqa: E402

__all__ = list(_standard.__all__)

_base: _Any = _standard.Popen


def _open_pipe(fd: int, mode: str, bufsize: int) -> object:
    return _open_raw(_FileIO(fd, mode.replace("b", "")), mode, bufsize)


# The standard names, with those in their place that open a pipe and wait for several.
_names = dict(vars(_standard))
_names["io"] = _SimpleNamespace(open=_open_pipe, TextIOWrapper=_io.TextIOWrapper)
_names["_PopenSelector"] = getattr(_selectors, "PollSelector", _selectors.SelectSelector)


if _names.get("_fork_exec") is not None:
    from _posixsubprocess import fork_exec as _native_fork_exec

    def fork_exec(*args: _Any) -> int:
        """As ``_posixsubprocess.fork_exec``; the child has the calling green thread's signal mask."""
        with _own_mask():
            return _native_fork_exec(*args)


class Popen(_base):  # type: ignore[misc]  # the base is known at run time only
    """As ``subprocess.Popen``; whatever waits parks the greenlet."""

    returncode: int | None

    __init__ = _rebound(_base.__init__, _names)
    _communicate = _rebound(_base._communicate, _names)

    def _execute_child(self, *args: object, **kwargs: object) -> None:
        if _os.read is not _native.read:
            # In a patched program this parks, and ``fork_exec`` below does the same.
            _base._execute_child(self, *args, **kwargs)
            return
        with _own_mask():
            _base._execute_child(self, *args, **kwargs)

    def rawlink(self, callback: _Callable[[_Any], object]) -> None:
        """Have *callback(popen)* called when the child has ended, so that ``greenpool.wait`` can wait for it.

        It is called as those of a greenlet that waits for the child, and must not wait (as in gevent).
        """
        waiting = _spawn(self.wait)
        self.__dict__.setdefault("_links", []).append((callback, waiting))
        waiting.rawlink(lambda _: callback(self))

    def unlink(self, callback: _Callable[[_Any], object]) -> None:
        """Take back a ``rawlink``."""
        links: list[_Any] = self.__dict__.get("_links", [])
        for link in links[:]:
            if link[0] == callback:
                links.remove(link)
                link[1].unlink_all()
                link[1].kill(block=False)
                return

    def _wait(self, timeout: float | None) -> int | None:
        end = _monotonic() + (timeout or 0)
        while True:
            # The lock is held only while nobody waits.  Its holder is about to set the return code.
            if self._waitpid_lock.acquire(False):
                try:
                    if self.returncode is None:
                        pid, status = self._try_wait(_os.WNOHANG)
                        if pid == self.pid:
                            self._handle_exitstatus(status)
                finally:
                    self._waitpid_lock.release()
            if self.returncode is not None:
                return self.returncode
            remaining = None
            if timeout is not None:
                remaining = end - _monotonic()
                if remaining <= 0:
                    raise _standard.TimeoutExpired(self.args, timeout)
            _wait_for_exit(self.pid, remaining)
