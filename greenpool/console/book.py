"""What the page knows of a process, and what has changed since the last look.

A *row* is one greenlet: the fields of ROW, in this order.  It has moments in the place of ages, so the row of
a greenlet that goes on waiting stays the same.  Each stack is kept once, under a number.

*Threads*: the thread of the hub that serves the page.
"""

from __future__ import annotations

from typing import Any

ROW = (
    "ident",
    "name",
    "hub",
    "state",
    "born",
    "since",
    "spawner",
    "spawner_ident",
    "place",
    "call",
    "waits_for",
    "held_by",
    "stack",
)
_STATE, _BORN, _SINCE, _STACK = 3, 4, 5, 12

# Seconds from which on a turn counts as a stall.
STALL = 0.1
# The stalls that are kept, and the stacks after which the book begins anew.
MOST_STALLS = 100
MOST_STACKS = 5_000

_Json = dict[str, Any]
_Row = list[Any]


class Book:
    """All hubs, greenlets, stacks and stalls; ``take`` takes in one answer of the process."""

    def __init__(self) -> None:
        self.pid: int | None = None
        # Told before: a stall that is over stays, when everything else begins anew.
        self._stalls: list[_Json] = []
        self._open: dict[str, _Json] = {}
        self.clear()

    @property
    def is_empty(self) -> bool:
        return not self._head

    def clear(self) -> None:
        """Forget the hubs, the greenlets and the stacks."""
        self._head: _Json = {}
        self._rows: dict[int, _Row] = {}
        self._time = 0.0
        self._numbers: dict[tuple[tuple[object, ...], ...], int] = {}
        self._new_stacks: _Json = {}

    def take(self, answer: _Json, interval: float = 1.0) -> _Json:
        """Take in an answer to "page", and return what has changed.

        *interval*: the seconds until the next one.
        """
        self.pid = answer["pid"]
        begins = self.is_empty or len(self._numbers) > MOST_STACKS
        if begins:
            self.clear()
        elapsed = answer["time"] - self._time
        self._time = answer["time"]
        self._new_stacks = {}
        numbers = list(map(self._number_of, answer["stacks"]))
        rows: dict[int, _Row] = {}
        changed: list[_Row] = []
        for row in answer["greenlets"]:
            old = self._rows.get(row[0])
            self._fill(row, old, numbers, elapsed)
            if row == old:
                row = old
            else:
                changed.append(row)
            rows[row[0]] = row
        gone = list(self._rows.keys() - rows.keys())
        self._rows = rows
        hubs = [_hub(hub, answer["turns"].get(hub[0]), answer["watched"]) for hub in answer["hubs"]]
        self._note_stalls(hubs, elapsed)
        self._head = {
            "pid": self.pid,
            "time": self._time,
            "hubs": hubs,
            "stalls": self._stalls,
            "cost": answer["cost"],
            "interval": interval,
        }
        return self._head | {
            "all": begins,
            "greenlets": changed,
            "gone": gone,
            "stacks": self._new_stacks,
        }

    def everything(self) -> _Json:
        """The same as one change that begins with nothing."""
        stacks = {number: stack for stack, number in self._numbers.items()}
        return self._head | {
            "all": True,
            "greenlets": list(self._rows.values()),
            "gone": [],
            "stacks": stacks,
        }

    def _number_of(self, stack: list[list[object]]) -> int:
        key = tuple(map(tuple, stack))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
            self._new_stacks[str(number)] = stack
        return number

    def _fill(self, row: _Row, old: _Row | None, numbers: list[int], elapsed: float) -> None:
        """Put moments in the place of ages, and the number of the stack in this book."""
        age, parked = row[_BORN], row[_SINCE]
        if row[_STACK] is not None:
            row[_STACK] = numbers[row[_STACK]]
        # A younger one has the identifier of one that has ended.
        is_same = old is not None and (age is None or age >= elapsed)
        if age is not None:
            row[_BORN] = old[_BORN] if old is not None and is_same else round(self._time - age, 3)
        if parked is not None:
            goes_on = old is not None and is_same and old[_SINCE] is not None and parked >= elapsed
            row[_SINCE] = old[_SINCE] if old is not None and goes_on else round(self._time - parked, 3)

    def _note_stalls(self, hubs: list[_Json], elapsed: float) -> None:
        for hub in hubs:
            name = hub["name"]
            now = hub["since"] or 0.0
            stall = self._open.get(name)
            if stall is not None:
                if now >= elapsed and now >= STALL:
                    stall["seconds"] = now
                    stall["blocked_by"] = hub["blocked_by"]
                    continue
                # How long it went on after the last look is not known.
                stall["over"] = True
                del self._open[name]
            longest = now if stall is not None else max(now, hub["longest"])
            if longest < STALL:
                continue
            is_now = now >= STALL
            stall = {
                "hub": name,
                "runs": (is_now and hub["runs"]) or hub["ran"],
                "began": self._time - longest,
                "seconds": longest,
                "over": not is_now,
                "stack": (is_now and hub["stack"]) or hub["ran_stack"],
                "blocked_by": hub["blocked_by"],
            }
            if is_now:
                self._open[name] = stall
            self._stalls = [*self._stalls[-MOST_STALLS + 1 :], stall]
        for name in self._open.keys() - {hub["name"] for hub in hubs}:
            self._open.pop(name)["over"] = True


def _hub(fields: list[Any], turns: list[Any] | None, watched: float) -> _Json:
    """A hub with what it did in the seconds for which it was *watched*; "passes" are those of one second."""
    name, thread, state, counts, runs, since, stack, answered = fields
    passes, busy, longest, ran, ran_stack, blocked_by = turns or (0, None, 0.0, "", [], "")
    return {
        "name": name,
        "thread": thread,
        "state": state,
        "counts": counts,
        "runs": runs,
        "since": since,
        "stack": stack,
        "answered": answered,
        "busy": busy,
        "passes": passes / watched if watched else 0.0,
        "longest": longest,
        "ran": ran,
        "ran_stack": ran_stack,
        "blocked_by": blocked_by,
    }
