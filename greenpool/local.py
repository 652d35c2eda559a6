"""Values per greenlet: ``local``, as ``threading.local`` and ``gevent.local.local``.

*Where the values are.*  Each local object holds its values, a dict for each greenlet that has any; so one
that its own values refer to can be let go, all together.  The greenlet has, in ``task.locals[id(local)]``, a
weak reference to its dict: looking it up takes no lock, and in general only the greenlet's own thread does.
A greenlet that is no task (a thread's main program, a hub's loop, a raw greenlet) has ``locals`` itself.

*Who goes first takes the values along.*  A greenlet that ends drops its ``locals``, which then takes its
values out of the local objects.  A local object that nobody uses any more takes its id out of the ``locals``
of the greenlets, before its memory, and so its id, can be used again.

*Attributes.*  The rules of attribute access are those of an ordinary object whose ``__dict__`` is that
dict: a data descriptor of the class (a property, a slot) comes first, then the value, then what else the
class has.  Which names are data descriptors is looked up once per class.

*The extension* has a base class in the place of ``_Attributes`` (csrc/local.c).
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from ._core.carrier import Carrier
from ._core.current import finalizing_greenlet, getcurrent
from ._core.speedups import speedups
from ._core.task import Task

__all__ = ["local"]


class _Values(dict[str, object]):
    """The values of one local object for one greenlet."""

    __slots__ = ("siblings", "__weakref__")

    def __init__(self, holder: _Holder) -> None:
        # This is not the holder, which ends with its local object; then these end, too.
        self.siblings = holder.values


class _Locals(dict[int, "weakref.ref[_Values]"]):
    """What a greenlet has in local objects: references to its values by the id of the object."""

    __slots__ = ("__weakref__",)

    def __del__(self) -> None:
        # A copy, as what is let go here may be a local object itself, or another thread may let one go.
        for reference in list(self.values()):
            values = reference()
            if values is not None:
                values.siblings.pop(id(self), None)


class _Holder:
    """The values of one local object, with the ``_Locals`` that refers to them, by the id of that; any
    thread, as each step is one of a dict.
    """

    __slots__ = ("key", "values", "__weakref__")

    def __init__(self, key: int) -> None:
        self.key = key
        self.values: dict[int, tuple[weakref.ref[_Locals], _Values]] = {}

    def __del__(self) -> None:
        for reference, _ in list(self.values.values()):
            locals_ = reference()
            if locals_ is not None:
                locals_.pop(self.key, None)
        self.values.clear()


class _Attributes:
    """Attributes whose values are the calling greenlet's."""

    __slots__ = ("_local__arguments", "_local__holder")

    _local__arguments: tuple[tuple[object, ...], dict[str, object]]
    _local__holder: _Holder

    _local__data_descriptors: ClassVar[frozenset[str]]

    def __getattribute__(self, name: str) -> Any:
        if name not in type(self)._local__data_descriptors:
            # _values without its call, which would cost half as much again.
            try:
                return getcurrent().task.locals[id(self)]()[name]  # type: ignore[union-attr]  # caught
            except (AttributeError, KeyError, TypeError, RuntimeError):
                values = _values(self)
                if name in values:
                    return values[name]
        elif name == "__dict__":
            return _values(self)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        try:
            plain = name not in type(self)._local__data_descriptors
        except TypeError:
            plain = False  # no name at all; refused below
        if plain:
            try:
                getcurrent().task.locals[id(self)]()[name] = value  # type: ignore[union-attr]  # caught
            except (AttributeError, KeyError, TypeError, RuntimeError):
                _values(self)[name] = value
        elif name == "__dict__":
            raise AttributeError(f"'__dict__' of {type(self).__name__!r} object is read-only")
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name not in type(self)._local__data_descriptors:
            values = _values(self)
            if name not in values:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            del values[name]
        elif name == "__dict__":
            raise AttributeError(f"'__dict__' of {type(self).__name__!r} object is read-only")
        else:
            object.__delattr__(self, name)


def _values(self: _Attributes) -> dict[str, object]:
    """The calling greenlet's values, made now if it has none."""
    owner = _owner()
    reference = (owner.locals or {}).get(id(self))
    values: dict[str, object] | None = None if reference is None else reference()
    if values is None:
        values = _add_values(self)
        args, kwargs = self._local__arguments
        try:
            self.__init__(*args, **kwargs)  # type: ignore[misc]  # as threading.local does
        except BaseException:
            # The next use is to try again.
            owner.locals.pop(id(self), None)
            self._local__holder.values.pop(id(owner.locals), None)
            raise
    return values


def _add_values(self: _Attributes) -> dict[str, object]:
    owner = _owner()
    if owner.locals is None:
        owner.locals = _Locals()
    locals_ = owner.locals
    holder = self._local__holder
    values = _Values(holder)
    holder.values[id(locals_)] = weakref.ref(locals_), values
    locals_[id(self)] = weakref.ref(values)
    return values


class _NoTask:
    """Has the values of a trace function on a carrier between two tasks, and is forgotten at once."""

    __slots__ = ("locals",)

    def __init__(self) -> None:
        self.locals: Any = None


def _owner() -> Any:
    """The object whose ``locals`` are the calling greenlet's."""
    try:
        greenlet: Any = getcurrent()
    except RuntimeError:
        greenlet = finalizing_greenlet()
    if type(greenlet) is Carrier:
        return greenlet.task or _NoTask()
    if not hasattr(greenlet, "locals"):
        greenlet.locals = None
    # It may have used a local before it became a task by its first wait.
    if hasattr(greenlet, "task"):
        greenlet.task.locals = greenlet.locals
    return greenlet


if not TYPE_CHECKING and speedups is not None:
    _Attributes = speedups.connect_local(_Holder, Carrier, Task, _values)


class local(_Attributes):  # noqa: N801 - its name in threading and in gevent
    """An object of whose attributes each greenlet sees only its own values.

    A subclass may have an ``__init__``; it is called again, with the same arguments, in each greenlet
    that uses the object.  Slots of a subclass are shared by all greenlets.
    """

    __slots__ = ("__weakref__",)

    _local__data_descriptors = frozenset(
        {"__class__", "__dict__", "__weakref__", "_local__arguments", "_local__holder"}
    )

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        attributes: dict[str, object] = {}
        for base in reversed(cls.__mro__):
            attributes.update(vars(base))
        cls._local__data_descriptors = local._local__data_descriptors.union(
            name
            for name, value in attributes.items()
            if hasattr(type(value), "__set__") or hasattr(type(value), "__delete__")
        )

    def __new__(cls, *args: object, **kwargs: object) -> local:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        self._local__arguments = args, kwargs
        self._local__holder = _Holder(id(self))
        # Python itself calls __init__ for this greenlet next.
        _add_values(self)
        return self

    def __copy__(self) -> local:
        """One made with the same arguments, with the calling greenlet's values."""
        args, kwargs = self._local__arguments
        duplicate = type(self)(*args, **kwargs)
        values = _values(duplicate)
        values.clear()
        values.update(_values(self))
        return duplicate
