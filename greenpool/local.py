"""Values per greenlet: ``local``, as ``threading.local`` and ``gevent.local.local``.

*Where the values are.*  In a dict per greenlet and local object: ``task.locals[id(local)]``.  So they die
with the greenlet, and in general only its own thread touches them.  A greenlet that is no task (a thread's
main program, a hub's loop, a raw greenlet) has the attribute ``locals`` itself.

*The id is no reference*, so a local that nobody uses any more is let go, and takes its values along in
every greenlet.  For that it remembers, weakly, which greenlets have any.  They are taken back before its
memory, and so its id, can be used again.

*Attributes.*  The rules of attribute access are those of an ordinary object whose ``__dict__`` is that
dict: a data descriptor of the class (a property, a slot) comes first, then the value, then what else the
class has.  Which names are data descriptors is looked up once per class.
"""

from __future__ import annotations

import weakref
from typing import Any

from ._core.carrier import Carrier
from ._core.current import getcurrent
from ._core.native import Lock

__all__ = ["local"]

# Below this many, dead references are not worth a sweep.
SWEEP_FLOOR = 32


class _Owners:
    """The greenlets that have values in one local object; any thread."""

    __slots__ = ("lock", "references", "limit")

    def __init__(self) -> None:
        self.lock = Lock()
        self.references: list[weakref.ref[Any]] = []
        self.limit = SWEEP_FLOOR

    def add(self, owner: object) -> None:
        with self.lock:
            self.references.append(weakref.ref(owner))
            if len(self.references) > self.limit:
                self.references = [ref for ref in self.references if ref() is not None]
                self.limit = max(SWEEP_FLOOR, 2 * len(self.references))

    def forget(self, key: int) -> None:
        """The local object is gone."""
        for reference in self.references:
            locals_ = getattr(reference(), "locals", None)
            if locals_ is not None:
                locals_.pop(key, None)


class local:  # noqa: N801 - its name in threading and in gevent
    """An object of whose attributes each greenlet sees only its own values.

    A subclass may have an ``__init__``; it is called again, with the same arguments, in each greenlet
    that uses the object.  Slots of a subclass are shared by all greenlets.
    """

    __slots__ = ("_local__arguments", "_local__owners", "__weakref__")

    _local__arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _local__owners: _Owners

    _local__data_descriptors = frozenset(
        {"__class__", "__dict__", "__weakref__", "_local__arguments", "_local__owners"}
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        attributes: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            attributes.update(vars(base))
        cls._local__data_descriptors = local._local__data_descriptors.union(
            name
            for name, value in attributes.items()
            if hasattr(type(value), "__set__") or hasattr(type(value), "__delete__")
        )

    def __new__(cls, *args: Any, **kwargs: Any) -> local:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__}() takes no arguments, not {args!r}, {kwargs!r}")
        self = object.__new__(cls)
        self._local__arguments = args, kwargs
        self._local__owners = owners = _Owners()
        weakref.finalize(self, owners.forget, id(self)).atexit = False
        # For this greenlet Python itself calls __init__ next.
        _add_values(self)
        return self

    def __getattribute__(self, name: str) -> Any:
        if name not in type(self)._local__data_descriptors:
            # As _values, which would cost half as much again.
            try:
                values = getcurrent().task.locals[id(self)]
            except (AttributeError, KeyError, TypeError):
                values = _values(self)
            if name in values:
                return values[name]
        elif name == "__dict__":
            return _values(self)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in type(self)._local__data_descriptors:
            try:
                getcurrent().task.locals[id(self)][name] = value
            except (AttributeError, KeyError, TypeError):
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

    def __copy__(self) -> local:
        """One made with the same arguments, with the calling greenlet's values."""
        args, kwargs = self._local__arguments
        duplicate = type(self)(*args, **kwargs)
        values = _values(duplicate)
        values.clear()
        values.update(_values(self))
        return duplicate


def _values(self: local) -> dict[str, Any]:
    """The calling greenlet's values, made now if it has none."""
    owner = _owner()
    values: dict[str, Any] | None = (owner.locals or {}).get(id(self))
    if values is None:
        values = _add_values(self)
        args, kwargs = self._local__arguments
        try:
            self.__init__(*args, **kwargs)  # type: ignore[misc]
        except BaseException:
            # The next use is to try again.
            owner.locals.pop(id(self), None)
            raise
    return values


def _add_values(self: local) -> dict[str, Any]:
    owner = _owner()
    if owner.locals is None:
        owner.locals = {}
    values: dict[str, Any] = {}
    owner.locals[id(self)] = values
    self._local__owners.add(owner)
    return values


def _owner() -> Any:
    """The object whose ``locals`` are the calling greenlet's."""
    greenlet = getcurrent()
    if type(greenlet) is Carrier:
        return greenlet.task
    if not hasattr(greenlet, "locals"):
        greenlet.locals = None
    # It may have used a local before it became a task by its first wait.
    if hasattr(greenlet, "task"):
        greenlet.task.locals = greenlet.locals
    return greenlet
