"""Cooperative ``selectors`` (as ``gevent.selectors``): every name of the standard module; ``select`` parks.

Every selector is a subclass of the standard one, over ``greenpool.select``.  So ``asyncio.run`` in a greenlet
parks that greenlet while its loop has nothing to do.

*Threads*: as the standard ones.
"""

# The names of the standard module are defined anew on purpose.
# mypy: disable-error-code="no-redef, misc"

from __future__ import annotations

import selectors as _standard
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import select as _select
from ._rebound import take_names as _take_names

if _TYPE_CHECKING:
    from selectors import *  # noqa: F403

_take_names(_standard, globals())

__all__ = [name for name in vars(_standard) if not name.startswith("_")]


class SelectSelector(_standard.SelectSelector):
    __doc__ = _standard.SelectSelector.__doc__

    _select = staticmethod(_select.select)


if hasattr(_standard, "PollSelector"):

    class PollSelector(_standard.PollSelector):
        __doc__ = _standard.PollSelector.__doc__

        _selector_cls = _select.poll


if hasattr(_standard, "EpollSelector"):

    class EpollSelector(_standard.EpollSelector):
        __doc__ = _standard.EpollSelector.__doc__

        _selector_cls = _select.epoll


if hasattr(_standard, "KqueueSelector"):
    _KqueueSelector: _Any = getattr(_standard, "KqueueSelector")  # noqa: B009

    class KqueueSelector(_KqueueSelector):
        __doc__ = _KqueueSelector.__doc__

        _selector: _select.kqueue

        def __init__(self) -> None:
            super().__init__()
            # The standard one makes its own by name.
            self._selector.close()
            self._selector = _select.kqueue()


globals()["DefaultSelector"] = globals()[_standard.DefaultSelector.__name__]
