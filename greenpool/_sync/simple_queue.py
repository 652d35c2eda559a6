"""SimpleQueue: the queue that all others but Channel build on.

*An unbounded queue takes no lock* while nobody has to wait.  Its items are like the permits in line.py,
because ``deque.append`` and ``deque.popleft`` are single steps for all other threads::

    get:  if nobody waits, take an item.  If a getter waits or there is no item, get in line, *then* touch the
          items (``rotate(0)``), and if there are any, hand them to the line under the guard
    put:  append the item, *then*, if a getter waits, hand the items there are to the line under the guard

An item goes to the longest waiter, together with the claim of the waiter.  A waiter that a kill or a
timeout has claimed gets none.  The head of line.py says why no wake-up is lost and nobody is overtaken.
(Touching the items stands for taking one: both hold the deque's mutex.)

*The gate* (``_gate``) is the first field that ``put`` and ``get`` look at.  It is the line of getters
itself, so it is true while a getter waits.  But it is True for good if the guard is needed for another
reason: the queue has a bound, is shut down, or is of a subclass that orders its items by itself.

*Unfinished tasks* are counted without a lock, too.  ``_uncounted`` is a list of puts that have been counted
in advance, and each put takes one off.  So their number is ``_counted - len(_uncounted)``.

*The guard is reentrant*, because a signal handler or a finalizer may put an item between any two steps
below, on the same thread.
"""

from __future__ import annotations

import queue as _queue
import sys
from collections import deque
from collections.abc import Iterable
from queue import Empty, Full
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .._core.current import adopt, getcurrent
from .._core.native import HAS_GIL, RLock
from .._core.speedups import replace_twins, speedups
from .._core.timeout import Timeout, call_within
from .._core.waiter import FAILED, WAITING, WOKEN, QuickWaiter, Waiter
from .._core.waits import awaited_as
from .arguments import seconds
from .waitable import WaitLine

T = TypeVar("T")

if TYPE_CHECKING or not hasattr(_queue, "ShutDown"):

    class ShutDown(Exception):
        """Raised by put and get of a queue that was shut down (new in Python 3.13's ``queue``)."""

        __module__ = "greenpool.queue"

else:
    ShutDown = _queue.ShutDown

# A reentrant lock; the extension's fast paths take one without a call.
Guard: Any = RLock if speedups is None else speedups.make_guard_type()

# The number of puts that are counted at a time.
COUNT = 256


class _Nothing:
    """Stands for an item where there is none."""


NOTHING: Any = _Nothing()
PEEK: Any = _Nothing()


def _check_maxsize(maxsize: int | None) -> None:
    if maxsize is not None and not isinstance(maxsize, int):
        raise TypeError(f"maxsize must be an int or None, not {maxsize!r}")


def check_timeout(block: bool, timeout: float | None) -> float | None:
    if not block:
        return None
    timeout = seconds(timeout)
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be a non-negative number of seconds, not {timeout!r}")
    return timeout


def resume_all(waiters: list[Waiter]) -> None:
    for waiter in waiters:
        waiter.resume()


class SimpleQueue(Generic[T]):
    """First in, first out (as ``gevent.queue.SimpleQueue``; without a bound also as ``queue.SimpleQueue``).

    *maxsize* is the number of items that it can hold; None, 0 or less mean any number.  *items* are put in at
    once.  Getters and putters that have to wait are served in the order in which they came.

    A ``for`` loop over a queue takes its items until it takes ``StopIteration`` (the class).

    Every method may be called from any thread.  Those that do not wait may also be called from a hub's
    callbacks and, while there is no bound, from signal handlers.
    """

    __slots__ = (
        "queue",
        "_maxsize",
        "_guard",
        "_getters",
        "_putters",
        "_gate",
        "_bound",
        "_counted",
        "_uncounted",
        "__dict__",
        "__weakref__",
    )

    is_shutdown = False

    if not TYPE_CHECKING:
        # As in ``queue``; Generic's own makes another kind of alias.
        __class_getitem__ = classmethod(GenericAlias)

    # False for a subclass that keeps or orders its items by itself.
    _plain: ClassVar[bool] = True
    # False for a subclass that uses the guard in any case.
    _lockless: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._plain = all(
            getattr(cls, name) is getattr(SimpleQueue, name)
            for name in ("_init", "_qsize", "_put", "_get", "_peek")
        )

    def __init__(self, maxsize: int | None = 0, items: Iterable[T] = ()) -> None:
        _check_maxsize(maxsize)
        self._guard = Guard()
        # FIFO of waiters for an item.  A waiter that only wants to see it has PEEK as its value.
        self._getters = WaitLine()
        # FIFO of waiters for room.  The value of each is its item, until it is claimed.
        self._putters = WaitLine()
        self._maxsize = maxsize
        self._set_gate()
        self._init(maxsize)
        for item in items:
            self._put(item)
        self._counted = 0
        # None if unfinished tasks are not counted.
        self._uncounted: Any = None

    def __repr__(self) -> str:
        bound = f" maxsize={self._maxsize}" if self._bounded() else ""
        waiting = f" getters={len(self._getters)} putters={len(self._putters)}"
        return f"<{type(self).__name__} at {id(self):#x}:{bound} qsize={self.qsize()}{waiting}>"

    # A subclass may override these, as in ``queue``.  They are called under the guard if one is overridden.

    def _init(self, maxsize: int | None) -> None:
        self.queue: Any = deque()

    def _qsize(self) -> int:
        return len(self.queue)

    def _put(self, item: T) -> None:
        self.queue.append(item)

    def _get(self) -> T:
        item: T = self.queue.popleft()
        return item

    def _peek(self) -> T:
        item: T = self.queue[0]
        return item

    # The state.

    @property
    def maxsize(self) -> int | None:
        """The bound; None, 0 or less mean that there is none.

        It can be assigned.  If there was no bound before, no other thread may call the queue meanwhile.
        """
        return self._maxsize

    @maxsize.setter
    def maxsize(self, maxsize: int | None) -> None:
        _check_maxsize(maxsize)
        woken: list[Waiter] = []
        with self._guard:
            self._maxsize = maxsize
            self._set_gate()
            self._serve(woken)
        resume_all(woken)

    def _bounded(self) -> bool:
        return self._maxsize is not None and self._maxsize > 0

    def _set_gate(self) -> None:
        usual = self._plain and not self.is_shutdown
        bounded = self._bounded()
        self._gate: Any = self._getters if usual and not bounded and self._lockless else True
        # The bound, 0 if there is none; None if only the guarded methods below know what to do.
        self._bound = min(int(self._maxsize or 0), sys.maxsize) if usual and bounded else 0 if usual else None

    def _has_room(self) -> bool:
        return self._maxsize is None or self._maxsize <= 0 or self._qsize() < self._maxsize

    def qsize(self) -> int:
        """The number of items."""
        return self._qsize()

    def __len__(self) -> int:
        return self._qsize()

    def __bool__(self) -> bool:
        """True, even if it is empty (as in gevent)."""
        return True

    def empty(self) -> bool:
        """True while there is no item."""
        return not self._qsize()

    def full(self) -> bool:
        """True while there is no room."""
        return not self._has_room()

    def copy(self) -> SimpleQueue[T]:
        """Another queue with the same bound and items."""
        with self._guard:
            return type(self)(self._maxsize, self._copy_items())

    def _copy_items(self) -> Any:
        """A copy of the items; the caller holds the guard."""
        if not self._plain:
            return self.queue.copy()
        # Without the GIL a deque cannot be copied while it changes.  Behind the shut gate only callers that
        # have passed it already change it, once each.
        self._gate = True
        try:
            while True:
                try:
                    return self.queue.copy()
                except RuntimeError:
                    continue
        finally:
            self._set_gate()

    # Handing over; the caller holds the guard.

    def _take(self, remove: bool) -> Any:
        """The next item, or NOTHING."""
        if self._plain:
            # No look at the length comes before this: see "No wake-up is lost" in line.py.
            try:
                return self.queue.popleft() if remove else self.queue[0]
            except IndexError:
                return NOTHING
        if not self._qsize():
            return NOTHING
        return self._get() if remove else self._peek()

    def _take_back(self, item: Any) -> None:
        if self._plain:
            self.queue.appendleft(item)
        else:
            self._put(item)

    def _admit(self, item: T) -> None:
        self._put(item)
        uncounted = self._uncounted
        if uncounted is None or uncounted:
            self._counted += 1
        else:
            self._count()

    def _serve(self, woken: list[Waiter]) -> None:
        """Hand items to getters and room to putters; adds the waiters that the caller resumes to *woken*.

        An exception of a subclass's ``_get`` or ``_put`` goes to the waiter that it was called for.
        """
        self._serve_getters(woken)
        putters = self._putters
        while putters and self._has_room():
            try:
                putter = putters.popleft()
            except IndexError:
                return  # a signal handler has let the last ones in
            item = putter.value
            if putter.claim():
                woken.append(putter)
                try:
                    self._admit(item)
                except BaseException as exception:
                    putter.state, putter.value = FAILED, exception
                self._serve_getters(woken)

    def _serve_getters(self, woken: list[Waiter]) -> None:
        getters = self._getters
        while getters:
            try:
                getter = getters[0]
            except IndexError:
                return  # a signal handler has served the line
            if not getter.state:
                remove = getter.value is not PEEK
                try:
                    item = self._take(remove)
                except BaseException as exception:
                    if getter.claim(exception, FAILED):
                        woken.append(getter)
                else:
                    if item is NOTHING:
                        return
                    if getter.claim(item):
                        woken.append(getter)
                    elif remove:
                        # A signal handler has just killed the getter.
                        self._take_back(item)
            if getters and getters[0] is getter:
                getters.popleft()

    def _serve_and_resume(self) -> None:
        woken: list[Waiter] = []
        with self._guard:
            self._serve(woken)
            if self.is_shutdown:
                self._shut_out(woken)
        resume_all(woken)

    def _shut_out(self, woken: list[Waiter]) -> None:
        """The queue is shut down: nobody will get an item or room any more."""
        getters = self._getters
        getters.rotate(0)
        waiting = list(self._putters)
        self._putters.clear()
        try:
            while getters:
                waiting.append(getters.popleft())
        except IndexError:
            pass  # a signal handler has shut the others out
        woken += [waiter for waiter in waiting if waiter.claim(ShutDown(), FAILED)]

    # Putting.

    def put(self, item: T, block: bool = True, timeout: float | Timeout | None = None) -> None:
        """Append *item*, waiting at most *timeout* seconds for room (None: for ever).

        Raises Full when there is none after that or, with *block* false, at once.
        """
        gate = self._gate
        if not gate and timeout is None:
            uncounted = self._uncounted
            if uncounted is not None:
                try:
                    uncounted.pop()
                except IndexError:
                    self._count()
            self.queue.append(item)
            if self._gate:
                self._settle(item)
            return
        if gate is not True and timeout is None:
            getter = None
            with self._guard:
                if self._gate is gate and not self.queue:
                    try:
                        getter = gate.popleft()
                    except IndexError:
                        pass  # no getter waits any more
                    else:
                        # Claim without its call: every hand-over takes this path.
                        if getter.value is PEEK:
                            gate.appendleft(getter)
                            getter = None
                        elif getter.state:
                            getter = None
                        else:
                            getter.value = item
                            getter.state = WOKEN
                            self._counted += 1
            if getter is not None:
                getter.resume()
                return
        self._put_guarded(item, block, timeout)

    def put_nowait(self, item: T) -> None:
        """The same as ``put(item, block=False)``."""
        self.put(item, False)

    def _count(self) -> None:
        """Count one put, and some more in advance."""
        with self._guard:
            # In this order, so that a signal handler in between finds too many unfinished tasks, never too
            # few.
            self._counted += COUNT
            self._uncounted.extend([None] * (COUNT - 1))

    def _settle(self, item: T) -> None:
        """A getter has come to wait while *item* was put."""
        self._serve_and_resume()

    def _put_guarded(self, item: T, block: bool, timeout: float | Timeout | None) -> None:
        if isinstance(timeout, Timeout):
            call_within(timeout, self._put_guarded, item, block, None)
            return
        if timeout is not None:
            timeout = check_timeout(block, timeout)
        waiter = None
        woken: list[Waiter] = []
        try:
            with self._guard:
                if self.is_shutdown:
                    raise ShutDown
                if self._has_room():
                    self._admit(item)
                elif block:
                    waiter = Waiter(self._guard)
                    waiter.value = item
                    self._putters.append(waiter)
                else:
                    raise Full
                self._serve(woken)
        finally:
            resume_all(woken)
        if waiter is None:
            return
        try:
            if waiter.park(timeout):
                return
        finally:
            if waiter.state != WOKEN:
                with self._guard:
                    self._putters.leave(waiter)
        raise Full

    # Getting.

    def get(self, block: bool = True, timeout: float | Timeout | None = None) -> T:
        """Take the next item, waiting at most *timeout* seconds for one (None: for ever).

        Raises Empty when there is none after that or, with *block* false, at once.
        """
        if timeout is None:
            gate = self._gate
            if self.queue and not gate:
                try:
                    return self.queue.popleft()  # type: ignore[no-any-return]  # the items are T
                except IndexError:
                    pass  # another thread was quicker
            if block and gate is not True:
                # _wait_for_item without its calls: every hand-over takes this path.
                greenlet = getcurrent()
                waiter = QuickWaiter()
                waiter.greenlet = greenlet
                try:
                    waiter.hub = greenlet.hub
                except AttributeError:
                    waiter.hub = adopt(greenlet).hub
                waiter.guard = self._guard
                waiter.state = WAITING
                waiter.value = None
                try:
                    gate.append(waiter)
                    if not HAS_GIL:
                        # Orders the append before the look at the items; with a GIL nothing has to.
                        self.queue.rotate(0)
                    if self._gate is not gate or self.queue:
                        self._serve_and_resume()
                    return waiter.receive()  # type: ignore[no-any-return]  # the items are T
                except BaseException:
                    self._leave(waiter, True)
                    raise
        return self._get_guarded(block, timeout, True)

    def get_nowait(self) -> T:
        """The same as ``get(block=False)``."""
        return self.get(False)

    def peek(self, block: bool = True, timeout: float | Timeout | None = None) -> T:
        """The same as ``get``, but the item stays in the queue."""
        return self._get_guarded(block, timeout, False)

    def peek_nowait(self) -> T:
        """The same as ``peek(block=False)``."""
        return self.peek(False)

    def _get_guarded(self, block: bool, timeout: float | Timeout | None, remove: bool) -> T:
        if isinstance(timeout, Timeout):
            return call_within(timeout, self._get_guarded, block, None, remove)
        if timeout is not None:
            timeout = check_timeout(block, timeout)
        woken: list[Waiter] = []
        try:
            with self._guard:
                if self._getters:
                    # The getters in line come first.  Killed ones leave the line here.
                    self._serve(woken)
                item = NOTHING if self._getters else self._take(remove)
                if item is not NOTHING:
                    self._serve(woken)
                elif self.is_shutdown:
                    raise ShutDown
                elif not block:
                    raise Empty
        finally:
            resume_all(woken)
        return self._wait_for_item(timeout, remove) if item is NOTHING else item

    def _wait_for_item(self, timeout: float | None, remove: bool) -> T:
        getters = self._getters
        waiter = Waiter(self._guard)
        if not remove:
            waiter.value = PEEK
        try:
            getters.append(waiter)
            if self._gate is getters:
                self.queue.rotate(0)
                again = self.queue
            else:
                with self._guard:
                    again = self._bound is None or self.queue or self._putters
            if again:
                self._serve_and_resume()
            if waiter.park(timeout):
                item: T = waiter.value
                return item
        except BaseException:
            self._leave(waiter, remove)
            raise
        self._leave(waiter, remove)
        raise Empty

    def _leave(self, waiter: Waiter, remove: bool) -> None:
        woken: list[Waiter] = []
        with self._guard:
            if waiter.state == WOKEN and remove:
                # KeyboardInterrupt can come after an item was handed over and before its waiter has seen it.
                self._take_back(waiter.value)
                self._serve(woken)
            else:
                self._getters.leave(waiter)
        resume_all(woken)

    # Iterating.

    def __iter__(self) -> SimpleQueue[T]:
        return self

    def __next__(self) -> T:
        item = self.get()
        if item is StopIteration:
            raise StopIteration
        return item


awaited_as(SimpleQueue, "to have an item", put="to have room", join="to be done")

if speedups is not None:
    # Twins of the methods of the same names.
    replace_twins(
        SimpleQueue, speedups.connect_queue(SimpleQueue, deque, WaitLine, Waiter, WAITING, WOKEN, PEEK)
    )
