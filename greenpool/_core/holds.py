"""Which locks a parked greenlet holds, as far as the code of its frames tells.

A lock that any greenlet may release does not record its holder, because that would make each acquire half as
long again.  But the code of a suspended frame says what it holds:

- It is inside a ``with`` statement.  The exception table of the code names the handlers around the current
  instruction, and the handler of a ``with`` leads to the expression that was entered.
- It has called ``acquire()`` of an object before the current instruction, and not ``release()`` since then,
  in the order of the code.

The expression has to be a name, with attributes and subscripts.  It is evaluated once more, without running
any code of the program.  What cannot be told is left out.

*Threads*: the thread of the hub that the frame belongs to, while the greenlet is parked.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from types import CodeType, FrameType, MemberDescriptorType
from typing import cast

# Instructions between the expression of a ``with`` and its block.
_ENTERING = {"BEFORE_WITH", "COPY", "SWAP", "LOAD_SPECIAL", "CALL"}

# From CPython 3.12 on, the argument of LOAD_ATTR says whether a method is loaded to be called.
HAS_METHOD_BIT = sys.version_info >= (3, 12)

# Places in the code that are kept, because many greenlets mostly wait at few places.
CACHED = 1000


# The public names of modules that are written in C.
MODULES_IN_C = {"_io": "io", "_socket": "socket", "_thread": "threading", "posix": "os"}


class _Unknown(Exception):
    """The value of an expression cannot be told."""


def held_by(frame: FrameType) -> list[object]:
    """The objects that the suspended *frame* has entered with ``with`` or acquired, and not released."""
    listed, steps = _steps(frame.f_code, frame.f_lasti)
    held: list[object] = []
    for index, is_release in steps:
        try:
            found = _value(frame, listed, index)[0]
        except _Unknown:
            continue
        if is_release:
            held = [other for other in held if other is not found]
        else:
            held.append(found)
    return [*held, *_locks_of_conditions(held)]


def has_steps(frame: FrameType) -> bool:
    """Whether ``held_by`` may find anything in *frame*, and in all others that are at the same place."""
    return bool(_steps(frame.f_code, frame.f_lasti)[1])


def called_by(frame: FrameType) -> str:
    """The full name of the function in C that *frame* is calling, such as "time.sleep"; "" if it is unknown.

    With a GIL any thread may ask, about any frame.
    """
    found = _callee(frame)
    owner = getattr(found, "__objclass__", None)
    module = getattr(found if owner is None else owner, "__module__", None)
    name = getattr(found, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return ""
    return f"{MODULES_IN_C.get(module, module)}.{name}"


def calls_method_of_self(frame: FrameType) -> bool:
    """Whether *frame* is calling ``self.METHOD(...)``: the ``self`` of the method is that of the frame."""
    listed, index = _loading(frame)
    return (
        index > 0
        and listed[index].opname in ("LOAD_ATTR", "LOAD_METHOD")
        and listed[index - 1].opname == "LOAD_FAST"
        and listed[index - 1].argval == "self"
    )


def _callee(frame: FrameType) -> object:
    """What the instruction at which *frame* is calls; None if it calls nothing, or if that cannot be told."""
    listed, index = _loading(frame)
    try:
        return None if index < 0 else _loaded(frame, listed, index)
    except _Unknown:
        return None


def _loading(frame: FrameType) -> tuple[list[dis.Instruction], int]:
    """The instructions of *frame*, and the index of the one that loads what it is calling; -1 for none.

    That is the last one that begins at the same place of the source as the call.
    """
    listed = list(dis.get_instructions(frame.f_code))
    # The offset of a call that is under way may be that of the last of its inline caches.
    index = sum(each.offset <= frame.f_lasti for each in listed) - 1
    if index < 0 or not listed[index].opname.startswith("CALL"):
        return listed, -1
    begin = _begin_of(listed[index])
    while (index := index - 1) >= 0:
        if listed[index].opname.startswith("LOAD_") and _begin_of(listed[index]) == begin:
            break
    return listed, index


def _begin_of(instruction: dis.Instruction) -> object:
    positions = instruction.positions
    return None if positions is None else (positions.lineno, positions.col_offset)


def _loaded(frame: FrameType, listed: list[dis.Instruction], index: int) -> object:
    if index >= 0 and listed[index].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        owner = _value(frame, listed, index - 1)[0]
        try:
            return inspect.getattr_static(owner, listed[index].argval)
        except AttributeError:
            raise _Unknown from None
    return _value(frame, listed, index)[0]


def _locks_of_conditions(held: list[object]) -> Iterator[object]:
    for found in held:
        # There are three classes of this name: that of ``threading``, its green one, and ours.
        if type(found).__name__ == "Condition":
            with suppress(_Unknown):
                yield _attribute(found, "_lock")


@lru_cache(CACHED)
def _steps(code: CodeType, offset: int) -> tuple[list[dis.Instruction], list[tuple[int, bool]]]:
    """All instructions of *code*, and what it has taken and released when it is at *offset*, in its order.

    Each step is the index of the instruction that ends an expression, and whether that was released.
    """
    listed = list(dis.get_instructions(code))
    steps = [(index, False) for index in _entered(code, listed, offset)]
    for index, instruction in enumerate(listed):
        if instruction.offset > offset:
            break
        name = instruction.argval
        if name in ("acquire", "release") and _calls_without_arguments(listed, index, offset):
            steps.append((index - 1, name == "release"))
    return listed, sorted(steps)


def _calls_without_arguments(listed: list[dis.Instruction], index: int, offset: int) -> bool:
    """Whether the instruction at *index* loads a method, and a call of it has ended at *offset*.

    With arguments an ``acquire`` may fail.
    """
    load = listed[index]
    if load.opname != "LOAD_METHOD" and not (
        load.opname == "LOAD_ATTR" and HAS_METHOD_BIT and (load.arg or 0) & 1
    ):
        return False
    index += 1
    while listed[index].opname in ("PRECALL", "PUSH_NULL"):
        index += 1
    # The offset of a call that is under way may be that of the last of its inline caches.
    return listed[index].opname == "CALL" and listed[index].arg == 0 and listed[index + 1].offset <= offset


def _entered(code: CodeType, listed: list[dis.Instruction], offset: int) -> list[int]:
    """The indexes of the instructions that end the expressions of the ``with`` blocks around *offset*."""
    entries = getattr(dis.Bytecode(code), "exception_entries", ())
    positions = {instruction.offset: index for index, instruction in enumerate(listed)}
    found: list[int] = []
    seen: set[int] = set()
    # From CPython 3.12 on the table leaves out the jump at the end of a loop, where a thread that computes is
    # mostly found.
    current = listed[positions[offset]] if offset in positions else None
    if current is not None and current.opname == "JUMP_BACKWARD":
        offset = current.argval
    while True:
        # An instruction has one handler; that of the block around it is the handler of its handler.
        target = next((entry.target for entry in entries if entry.start <= offset < entry.end), None)
        if target is None or target in seen:
            return found
        seen.add(target)
        handler = positions[target]
        if listed[handler + 1].opname == "WITH_EXCEPT_START":
            first = min(entry.start for entry in entries if entry.target == target)
            index = positions[first] - 1
            while index > 0 and listed[index].opname in _ENTERING:
                index -= 1
            found.append(index)
        offset = target


def _value(frame: FrameType, listed: list[dis.Instruction], index: int) -> tuple[object, int]:
    """The value that the instruction at *index* leaves, and the index before its expression."""
    if index < 0:
        raise _Unknown
    name, argument = listed[index].opname, listed[index].argval
    if name == "PUSH_NULL":
        return _value(frame, listed, index - 1)
    if name == "LOAD_CONST":
        return argument, index - 1
    if name in ("LOAD_ATTR", "LOAD_METHOD"):
        owner, before = _value(frame, listed, index - 1)
        return _attribute(owner, argument), before
    if name == "BINARY_SUBSCR":
        key, before = _value(frame, listed, index - 1)
        container, before = _value(frame, listed, before)
        return _item(container, key), before
    if name.startswith("LOAD_") and isinstance(argument, str):
        return _variable(frame, argument), index - 1
    raise _Unknown


def _variable(frame: FrameType, name: str) -> object:
    for namespace in (frame.f_locals, frame.f_globals):
        if name in namespace:
            value: object = namespace[name]
            return value
    raise _Unknown


def _attribute(owner: object, name: str) -> object:
    value: object
    try:
        value = inspect.getattr_static(owner, name)
        if isinstance(value, MemberDescriptorType):
            value = value.__get__(owner)
    except AttributeError:
        raise _Unknown from None
    if hasattr(type(value), "__get__"):
        raise _Unknown  # a property would run code
    return value


def _item(container: object, key: object) -> object:
    try:
        if type(container) is dict and type(key) in (int, str):
            value: object = container[key]
            return value
        if type(container) in (list, tuple) and type(key) is int:
            return cast("Sequence[object]", container)[key]
    except LookupError:
        pass
    raise _Unknown
