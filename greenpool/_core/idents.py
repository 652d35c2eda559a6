"""Small numbers for objects: each belongs to one object while that lives, and the least free one goes first.

*Threads*: any.  The lock is reentrant, because an object may be collected between any two bytecodes.
"""

from __future__ import annotations

from heapq import heappop, heappush
from weakref import ref

from .fork import at_fork
from .native import RLock

_lock = RLock()
_free: list[int] = []
# By the object's identity, as objects need not be hashable.
_given: dict[int, tuple[ref[object], int]] = {}


def small_ident(owner: object) -> int:
    """The number of *owner*, which gets one if it has none."""
    key = id(owner)
    with _lock:
        if key in _given:
            return _given[key][1]
        number = heappop(_free) if _free else len(_given)

        def forget(_: object) -> None:
            with _lock:
                heappush(_free, _given.pop(key)[1])

        _given[key] = ref(owner, forget), number
        return number


def _after_fork_in_child() -> None:
    """A thread that is gone may hold the lock."""
    global _lock
    _lock = RLock()


at_fork("idents", in_child=_after_fork_in_child)
