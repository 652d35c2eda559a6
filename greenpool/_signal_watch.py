"""Functions that greenlets call when a signal comes (as ``gevent.signal_handler``).

*Threads*: the main one, as for ``signal.signal``.  Python calls ``_on_signal`` there, between any two
bytecodes: it reads one entry of a dict, and spawns.
"""

from __future__ import annotations

import signal as _standard
from collections.abc import Callable
from typing import Any, ParamSpec

from ._core.current import current_hub
from ._core.error_report import raise_in_program
from .greenlet import Greenlet

__all__ = ["signal_handler"]

P = ParamSpec("P")

# The handlers of each signal; a tuple is replaced, never changed.
_handlers: dict[int, tuple[signal_handler, ...]] = {}
# What was installed before the first of them.
_before: dict[int, Any] = {}

_native_signal = _standard.signal


class signal_handler:
    """Call ``handler(*args, **kwargs)`` in a new greenlet whenever the process receives *signalnum*.

    What *handler* raises is raised in the main program.  Several handlers of one signal are all called.  The
    main thread has to call this, as for ``signal.signal``, whose handler this replaces until it is cancelled.
    """

    ref = False
    """Accepted for gevent's sake; without effect."""

    def __init__(
        self, signalnum: int, handler: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        if not callable(handler):
            raise TypeError(f"handler must be callable, not {handler!r}")
        self._hub = current_hub()
        self._number = signalnum
        self._call: Callable[[], object] = lambda: handler(*args, **kwargs)
        others = _handlers.get(signalnum, ())
        if not others:
            _before[signalnum] = _native_signal(signalnum, _on_signal)
        _handlers[signalnum] = (*others, self)

    def cancel(self) -> None:
        """Call the handler no more; a second cancel has no effect."""
        others = tuple(each for each in _handlers.get(self._number, ()) if each is not self)
        if others:
            _handlers[self._number] = others
        elif _handlers.pop(self._number, None) is not None:
            before = _before.pop(self._number)
            # None: C code had installed it, which Python cannot do again.
            _native_signal(self._number, _standard.SIG_DFL if before is None else before)

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as exception:
            raise_in_program(self._hub, exception)


# Programs import it from here.
signal_handler.__module__ = "greenpool"


def _on_signal(signalnum: int, _frame: object) -> None:
    for each in _handlers.get(signalnum, ()):
        Greenlet.spawn(each._run)
