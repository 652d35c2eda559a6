"""Event: a flag that greenlets and threads wait for."""

from __future__ import annotations

from .._core.timeout import Timeout
from .._core.waits import awaited_as
from .waitable import Waitable, resume_in_order


class Event(Waitable):
    """A flag that greenlets and threads wait for (as ``gevent.event.Event`` and ``threading.Event``).

    Waiters are woken in the order in which they came.  Every method may be called from any thread.  All but
    ``wait`` may also be called from a hub's callbacks and from signal handlers.
    """

    __slots__ = ("_flag",)

    def __init__(self) -> None:
        Waitable.__init__(self)
        self._flag = False

    def __repr__(self) -> str:
        name = f"{type(self).__module__.partition('.')[0]}.{type(self).__qualname__}"
        return f"<{name} at {id(self):#x}: {'set' if self._flag else 'unset'}>"

    def is_set(self) -> bool:
        """True while the flag is set."""
        return self._flag

    def isSet(self) -> bool:
        """The same as ``is_set``."""
        return self._flag

    def ready(self) -> bool:
        """The same as ``is_set``."""
        return self._flag

    def set(self) -> None:
        """Set the flag and wake every waiter."""
        with self._guard:
            self._flag = True
            woken = self._claim_all()
        if self._due is not None:
            resume_in_order(woken)
            return
        for waiter in woken:
            waiter.resume()

    def clear(self) -> None:
        """Take the flag down.  Waiters that an earlier ``set`` has woken are not affected."""
        with self._guard:  # a set is never under way here
            self._flag = False

    def wait(self, timeout: float | Timeout | None = None) -> bool:
        """Wait until the flag is set; False when *timeout* seconds have passed first.

        True means that the flag was set while the caller waited, even if it is down again by now.
        """
        if not self._flag:
            return self._wait(timeout)
        if self._due is not None:
            self._let_links_run(timeout)
        return True


awaited_as(Event, "to be set")
