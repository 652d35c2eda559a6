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
from time import monotonic as _monotonic
from types import FunctionType as _FunctionType
from types import SimpleNamespace as _SimpleNamespace
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from subprocess import *  # noqa: F403


def _over(function: _Any, names: dict[str, _Any]) -> _Any:
    """*function*, of the standard module, with *names* for its global variables."""
    copy = _FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__doc__ = function.__doc__
    copy.__qualname__ = function.__qualname__
    return copy


for _name, _value in list(vars(_standard).items()):
    if _name.startswith("__"):
        continue
    if isinstance(_value, _FunctionType) and _value.__module__ == "subprocess":
        _value = _over(_value, globals())
    globals()[_name] = _value

from . import selectors as _selectors  # noqa: E402
from .fileobject import FileIO as _FileIO  # noqa: E402
from .fileobject import open_raw as _open_raw  # noqa: E402
from .os import _wait_for_exit  # noqa: E402

__all__ = list(_standard.__all__)

_base: _Any = _standard.Popen


def _open_pipe(fd: int, mode: str, bufsize: int) -> _Any:
    return _open_raw(_FileIO(fd, mode.replace("b", "")), mode, bufsize)


# The standard names, with those in their place that open a pipe and wait for several.
_names = dict(vars(_standard))
_names["io"] = _SimpleNamespace(open=_open_pipe, TextIOWrapper=_io.TextIOWrapper)
_names["_PopenSelector"] = getattr(_selectors, "PollSelector", _selectors.SelectSelector)


class Popen(_base):  # type: ignore[misc]
    """As ``subprocess.Popen``; whatever waits parks the greenlet."""

    returncode: _Any

    __init__ = _over(_base.__init__, _names)
    _communicate = _over(_base._communicate, _names)

    def _wait(self, timeout: float | None) -> _Any:
        end = _monotonic() + (timeout or 0)
        while True:
            # Held only while nobody waits; whoever has it is about to set the return code.
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
