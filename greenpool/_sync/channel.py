"""Channel: a queue of no size, whose put and get meet."""

from __future__ import annotations

from collections import OrderedDict
from queue import Empty, Full
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._core.current import cannot_park, current_greenlet
from .._core.native import RLock as Guard
from .._core.timeout import Timeout, call_within
from .._core.waiter import WOKEN, Waiter, yield_now
from .._core.waits import awaited_as
from .simple_queue import check_timeout

T = TypeVar("T")
V = TypeVar("V")


class Channel(Generic[T]):
    """A meeting place: put waits for a get, and get for a put (as ``gevent.queue.Channel``).

    It never holds an item of its own.  Getters and putters are served in the order in which they came.
    Every method may be called from any thread.  Those that do not wait may also be called from a hub's
    callbacks.
    """

    __slots__ = ("_guard", "_getters", "_putters", "__weakref__")

    if not TYPE_CHECKING:
        # Generic's own makes another kind of alias than the classes of ``queue`` do.
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, maxsize: int = 1) -> None:
        if maxsize != 1:
            raise ValueError(f"maxsize must be 1, not {maxsize!r}")
        self._guard = Guard()
        self._getters: OrderedDict[Waiter, None] = OrderedDict()
        self._putters: OrderedDict[Waiter, T] = OrderedDict()

    def __repr__(self) -> str:
        waiting = f"getters={len(self._getters)} putters={len(self._putters)}"
        return f"<{type(self).__name__} at {id(self):#x}: {waiting}>"

    @property
    def balance(self) -> int:
        """The number of putters that wait minus that of getters that wait."""
        return len(self._putters) - len(self._getters)

    def qsize(self) -> int:
        """0: it holds no item."""
        return 0

    def empty(self) -> bool:
        """True: it holds no item."""
        return True

    def full(self) -> bool:
        """True: it has no room."""
        return True

    def put(self, item: T, block: bool = True, timeout: float | Timeout | None = None) -> None:
        """Hand *item* to a getter, waiting at most *timeout* seconds for one (None: for ever).

        Raises Full when there is none after that or, with *block* false, at once.  A getter of this hub that
        has waited goes on before the caller (as in gevent), if *block* is true.
        """
        if isinstance(timeout, Timeout):
            call_within(timeout, self.put, item, block)
            return
        timeout = check_timeout(block, timeout)
        with self._guard:
            getter, _ = _claim_first(self._getters, item)
            if getter is None:
                if not block:
                    raise Full
                waiter = Waiter(self._guard)
                self._putters[waiter] = item
        if getter is not None:
            getter.resume()
            # A pending kill would be raised here as if the item had not been handed over.
            if block and not cannot_park() and not current_greenlet().interrupts:
                yield_now()
        elif not self._meet(self._putters, waiter, timeout):
            raise Full

    def put_nowait(self, item: T) -> None:
        """The same as ``put(item, block=False)``."""
        self.put(item, False)

    def get(self, block: bool = True, timeout: float | Timeout | None = None) -> T:
        """Take a putter's item, waiting at most *timeout* seconds for one (None: for ever).

        Raises Empty when there is none after that or, with *block* false, at once.
        """
        if isinstance(timeout, Timeout):
            return call_within(timeout, self.get, block)
        timeout = check_timeout(block, timeout)
        with self._guard:
            putter, item = _claim_first(self._putters, None)
            if putter is None:
                if not block:
                    raise Empty
                waiter = Waiter(self._guard)
                self._getters[waiter] = None
        if putter is not None:
            putter.resume()
            taken: T = item
            return taken
        if not self._meet(self._getters, waiter, timeout):
            raise Empty
        value: T = waiter.value
        return value

    def get_nowait(self) -> T:
        """The same as ``get(block=False)``."""
        return self.get(False)

    def _meet(self, line: OrderedDict[Waiter, V], waiter: Waiter, timeout: float | None) -> bool:
        try:
            return waiter.park(timeout)
        finally:
            if waiter.state != WOKEN:
                with self._guard:
                    line.pop(waiter, None)

    def __iter__(self) -> Channel[T]:
        return self

    def __next__(self) -> T:
        item = self.get()
        if item is StopIteration:
            raise StopIteration
        return item


def _claim_first(line: OrderedDict[Waiter, Any], value: object) -> tuple[Waiter | None, Any]:
    """Claim the first unclaimed waiter in *line*; returns it and its entry."""
    while line:
        waiter, what = line.popitem(last=False)
        if waiter.claim(value):
            return waiter, what
    return None, None


awaited_as(Channel, "to have an item", put="to have a getter")
