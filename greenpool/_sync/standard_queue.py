"""The standard ``queue.Queue``, made green and fast in place: its own class, in a patched program.

*Two ways.*  A queue that nobody has looked into keeps its items in a queue of ours, in its attribute
``_green``.  All others are *standard*: they have the standard attributes, and the standard methods run over
green locks.  These are standard from the beginning: a queue of a class that overrides one of ``HOOKS`` or
``FIELDS`` (``LifoQueue`` and ``PriorityQueue`` do), and one that was made before patching.  A queue becomes
standard when a program uses ``mutex``, ``not_empty``, ``not_full`` or ``all_tasks_done``, assigns one of
``FIELDS``, or calls ``shutdown``.  It stays standard.  So each class stays what it is, and its interface is
whole.

*Becoming standard* is one step under the guard of the queue of ours: that one is emptied and shut down.  A
call that waits in it, or comes too late, gets ShutDown, and begins anew in the standard way.  All of its
methods take the guard (``_lockless`` is false), so no item and no count is under way elsewhere.  Only a
signal handler may come in the middle of a call of the same thread.  That call then takes over what it has
left there (``_settle``).

*Polling.*  A thread that polls a queue, or only ever finds items or room, must let others run.  Each call in
Python counts as an operation, as an acquire of a green lock does; in C one of 32 does.

Not seen: an instance that gets its own ``_put`` or ``_get`` after it was made.

*Threads*: any thread, as in ``queue``.  ``make_green`` is called once, in the main thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Queue as StandardQueue
from time import monotonic
from typing import Any, ClassVar

from .._core.speedups import replace_twins, speedups
from .._core.waiter import Waiter
from .._core.waits import awaited_as
from .queue import Queue
from .simple_queue import ShutDown, resume_all

HOOKS = ("_init", "_qsize", "_put", "_get")
LOCKS = ("mutex", "not_empty", "not_full", "all_tasks_done")
FIELDS: tuple[str, ...] = (*LOCKS, "queue", "maxsize", "unfinished_tasks")
if hasattr(StandardQueue, "shutdown"):
    FIELDS += ("is_shutdown",)

Standard = Any  # an instance of queue.Queue, whose attributes are not those that type checkers know


class _Green(Queue[Any]):
    """The items of a queue that is not standard."""

    __slots__ = ()

    _lockless: ClassVar[bool] = False

    def leftovers(self) -> tuple[list[Any], int]:
        """Let go of what an interrupted call has left: items, and a change of the unfinished tasks."""
        with self._guard:
            items, unfinished = list(self.queue), self.unfinished_tasks
            self.queue.clear()
            self._counted, self._uncounted = 0, []
            return items, unfinished - len(items)

    def empty_out(self, woken: list[Waiter]) -> deque[Any]:
        """Let go of the items, shut down, and claim all waiters, also those that join; under the guard."""
        items: deque[Any] = self.queue
        self.queue = deque()
        self._counted, self._uncounted = 0, []
        self.is_shutdown = True
        self._set_gate()
        self._shut_out(woken)
        joiners, self._joiners = self._joiners, {}
        woken += [joiner for joiner in joiners if joiner.claim()]
        return items


def _become_standard(self: Standard) -> None:
    """Give the queue the standard attributes, if it has not got them."""
    values = self.__dict__
    green = values.get("_green")
    if green is None:
        return
    # One that has the attributes; no code of a subclass runs.
    model = object.__new__(StandardQueue)
    _standard["__init__"](model, green.maxsize)
    attributes = model.__dict__
    woken: list[Waiter] = []
    with green._guard:
        if not green.is_shutdown:
            attributes["unfinished_tasks"] = green.unfinished_tasks
            attributes["queue"] = green.empty_out(woken)
            values.update(attributes)
            del values["_green"]
    resume_all(woken)


def _settle(self: Standard, green: _Green) -> None:
    """The queue is standard now: take over what a call in *green* has left there."""
    items, change = green.leftovers()
    if change:
        with self.mutex:
            self.unfinished_tasks += change
            if self.unfinished_tasks <= 0:
                self.all_tasks_done.notify_all()
    for item in items:
        _standard["put"](self, item)


class Field:
    """One of ``FIELDS``: a value of the instance's dict, or of the queue of ours."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Standard, kind: type | None = None) -> Any:
        if owner is None:
            return self
        try:
            return owner.__dict__[self.name]
        except KeyError:
            return _read_field(owner, self.name)

    def __set__(self, owner: Standard, value: object) -> None:
        _become_standard(owner)
        owner.__dict__[self.name] = value

    def __delete__(self, owner: Standard) -> None:
        _become_standard(owner)
        try:
            del owner.__dict__[self.name]
        except KeyError:
            raise AttributeError(self.name) from None


def _read_field(owner: Standard, name: str) -> Any:
    """The value of a field that is not in the instance's dict."""
    green = owner.__dict__.get("_green")
    if green is not None and name not in LOCKS:
        value = False if name == "is_shutdown" else getattr(green, name)
        if not green.is_shutdown:
            return value
    _become_standard(owner)
    try:
        return owner.__dict__[name]
    except KeyError:
        raise AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}") from None


# The methods.  ``_standard`` has the standard ones.

_standard: dict[str, Callable[..., Any]] = {}


def _spend() -> None:
    """Count one operation; ``make_green`` sets the function of green locks."""


def __init__(self: Standard, maxsize: int = 0) -> None:  # noqa: N807 - a method of queue.Queue
    values = self.__dict__
    kind = type(self)
    if (
        type(maxsize) is int
        and not any(name in values for name in FIELDS)
        and all(getattr(kind, name) is value for name, value in _usual.items())
    ):
        values["_green"] = _Green(maxsize)
    else:
        _become_standard(self)
        _standard["__init__"](self, maxsize)


# The attributes of the class that a subclass must not have changed.
_usual: dict[str, object] = {}


def put(self: Standard, item: object, block: bool = True, timeout: float | None = None) -> None:
    _spend()
    green = self.__dict__.get("_green")
    if green is not None:
        if block and timeout is not None:
            # As there, a negative timeout is an error only if there is a bound.
            if green.maxsize <= 0:
                timeout = None
            elif timeout < 0:
                raise ValueError("'timeout' must be a non-negative number")
        begin = 0.0 if timeout is None else monotonic()
        try:
            green.put(item, block, timeout)
            if green.is_shutdown:
                _settle(self, green)
            return
        except ShutDown:
            timeout = _rest(timeout, begin)
    _standard["put"](self, item, block, timeout)


def get(self: Standard, block: bool = True, timeout: float | None = None) -> Any:
    _spend()
    green = self.__dict__.get("_green")
    if green is not None:
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        begin = 0.0 if timeout is None else monotonic()
        try:
            item = green.get(block, timeout)
            if green.is_shutdown:
                _settle(self, green)
            return item
        except ShutDown:
            timeout = _rest(timeout, begin)
    return _standard["get"](self, block, timeout)


def _rest(timeout: float | None, begin: float) -> float | None:
    """What is left of *timeout* seconds that began at *begin*."""
    return None if timeout is None else max(0.0, timeout - (monotonic() - begin))


def task_done(self: Standard) -> None:
    green = self.__dict__.get("_green")
    if green is not None:
        try:
            green.task_done()
            if green.is_shutdown:
                _settle(self, green)
            return
        except ValueError:
            if not green.is_shutdown:
                raise
    _standard["task_done"](self)


def join(self: Standard) -> None:
    green = self.__dict__.get("_green")
    if green is not None:
        green.join()
        if not green.is_shutdown:
            return
    _standard["join"](self)


def qsize(self: Standard) -> int:
    _spend()
    green = self.__dict__.get("_green")
    if green is not None:
        size: int = len(green.queue)
        if not green.is_shutdown:
            return size
    size = _standard["qsize"](self)
    return size


def empty(self: Standard) -> bool:
    _spend()
    green = self.__dict__.get("_green")
    if green is not None:
        none: bool = not green.queue
        if not green.is_shutdown:
            return none
    none = _standard["empty"](self)
    return none


def full(self: Standard) -> bool:
    _spend()
    green = self.__dict__.get("_green")
    if green is not None:
        none_free: bool = 0 < green.maxsize <= len(green.queue)
        if not green.is_shutdown:
            return none_free
    none_free = _standard["full"](self)
    return none_free


def shutdown(self: Standard, immediate: bool = False) -> None:
    _become_standard(self)
    _standard["shutdown"](self, immediate)


def make_green(spend: Callable[[], None]) -> None:
    """Give ``queue.Queue`` these methods; *spend* counts an operation of the calling green thread."""
    global _spend
    if _standard:
        return
    _spend = spend
    methods = [__init__, put, get, task_done, join, qsize, empty, full]
    if "is_shutdown" in FIELDS:
        methods.append(shutdown)
    for method in methods:
        standard = vars(StandardQueue)[method.__name__]
        _standard[method.__name__] = standard
        method.__doc__ = standard.__doc__
        method.__qualname__ = standard.__qualname__
        method.__module__ = standard.__module__
        setattr(StandardQueue, method.__name__, method)
    for name in FIELDS:
        setattr(StandardQueue, name, Field(name))
    if speedups is not None:
        # Twins of the methods and of the descriptors.
        replace_twins(
            StandardQueue,
            speedups.connect_standard_queue(
                StandardQueue, _Green, spend, _read_field, _become_standard, FIELDS
            ),
        )
    for name in (*HOOKS, *FIELDS):
        _usual[name] = getattr(StandardQueue, name)


awaited_as(StandardQueue, "to have an item", put="to have room", join="to be done")
