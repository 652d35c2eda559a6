"""A set that is iterated over in the order in which its members came.

The order of an ordinary set of objects depends on their addresses, so it is another one in each process.

*Threads*: those that use the set take turns.
"""

from __future__ import annotations

from collections.abc import Iterator

from .typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    Base = set[Any]
else:
    Base = set


class OrderedSet(Base):
    """A set with the order of a dict, as far as members come and go one by one."""

    def __init__(self) -> None:
        super().__init__()
        self._order: dict[Any, None] = {}

    def add(self, member: Any) -> None:
        super().add(member)
        self._order[member] = None

    def discard(self, member: Any) -> None:
        super().discard(member)
        self._order.pop(member, None)

    def remove(self, member: Any) -> None:
        super().remove(member)
        del self._order[member]

    def clear(self) -> None:
        super().clear()
        self._order.clear()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)
