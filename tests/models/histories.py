"""Histories of operations that overlap, and whether a sequential model explains them.

Greenlets on several hubs call operations through a ``History``. It notes when each call began and when it
returned. A history is *linearizable* if every operation can be given one moment between the two at which it
took effect, such that a model, which knows no concurrency, gives the same results in that order.

``explain`` looks for such an order: depth first over the operations that may be next. It visits no pair of
the done operations and the model's state twice (Wing and Gong, 1993, with the memory of Lowe, 2017). An
operation that was killed has no effect.

*Threads*: a run of ``greenpool.testing`` has one thread at a time, so the counter needs no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol

# What a model answers for an operation that cannot take effect in a state: it would wait.
WAITS = object()
# The result of an operation that a kill has ended.
KILLED = "killed"


class Model(Protocol):
    """What a primitive does, one operation after the other."""

    def start(self) -> Hashable:
        """The state of a new one."""

    def apply(self, state: Any, operation: Operation) -> tuple[object, Hashable]:
        """The result of *operation* in *state*, or ``WAITS``, and the state after it."""


class Operation:
    """One call."""

    __slots__ = ("actor", "name", "args", "began", "returned", "result")

    def __init__(self, actor: Hashable, name: str, args: tuple[Any, ...], began: int) -> None:
        self.actor = actor
        self.name = name
        self.args = args
        self.began = began
        # None while it waits. Two operations never have the same moment.
        self.returned: int | None = None
        self.result: object = None

    def __repr__(self) -> str:
        arguments = ", ".join(map(repr, self.args))
        return f"{self.began:4}-{self.returned}: {self.actor}: {self.name}({arguments}) -> {self.result!r}"


class History:
    """The calls of one run, in the order in which they began."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._moment = 0

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.operations))

    def call(self, actor: Hashable, name: str, function: Callable[..., object], *args: Any) -> object:
        """Call *function*, which carries out the operation *name*, and return its result.

        An Exception becomes a result: its class. A kill becomes ``KILLED`` and is raised on.
        """
        operation = Operation(actor, name, args, self._next())
        self.operations.append(operation)
        try:
            operation.result = function(*args)
        except Exception as error:
            operation.result = type(error)
        except BaseException:
            operation.result = KILLED
            raise
        finally:
            operation.returned = self._next()
        return operation.result

    def _next(self) -> int:
        self._moment += 1
        return self._moment


def explain(model: Model, history: History) -> list[Operation] | None:
    """An order of the operations in which *model* gives their results; None if there is none.

    The history is that of a run in which nothing goes on any more. An operation that has not returned waits
    for good, so the model must wait, too, in the state in which the order ends.
    """
    ended = [one for one in history.operations if one.returned is not None and one.result is not KILLED]
    waiting = [one for one in history.operations if one.returned is None]
    all_done = (1 << len(ended)) - 1
    seen: set[tuple[int, Hashable]] = set()

    def possible(done: int) -> Iterator[int]:
        """The operations that began before any other one that is left had returned."""
        left = [index for index in range(len(ended)) if not done >> index & 1]
        first = min(ended[index].returned or 0 for index in left)
        return (index for index in left if ended[index].began < first)

    def search(done: int, state: Hashable) -> list[Operation] | None:
        if (done, state) in seen:
            return None
        seen.add((done, state))
        if done == all_done:
            return [] if all(model.apply(state, one)[0] is WAITS for one in waiting) else None
        for index in possible(done):
            operation = ended[index]
            result, after = model.apply(state, operation)
            if result is WAITS or result != operation.result:
                continue
            rest = search(done | 1 << index, after)
            if rest is not None:
                return [operation, *rest]
        return None

    return search(0, model.start())


def check(model: Model, history: History) -> None:
    """Fail, with the history, unless *model* explains it."""
    assert explain(model, history) is not None, f"no order explains\n{history!r}"
