"""``gevent.events``: what is published while the standard library is patched, and by the monitor.

``subscribers`` and ``notify`` are those of ``zope.event``, and the interfaces are those of
``zope.interface``, where these are installed; without them there are stand-ins.

*Threads*: a subscriber is called in the thread that publishes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, cast

T = TypeVar("T")

__all__ = [
    "DoNotPatch",
    "EventLoopBlocked",
    "GeventDidPatchAllEvent",
    "GeventDidPatchBuiltinModulesEvent",
    "GeventDidPatchModuleEvent",
    "GeventPatchEvent",
    "GeventWillPatchAllEvent",
    "GeventWillPatchModuleEvent",
    "IEventLoopBlocked",
    "IGeventDidPatchAllEvent",
    "IGeventDidPatchBuiltinModulesEvent",
    "IGeventDidPatchEvent",
    "IGeventDidPatchModuleEvent",
    "IGeventPatchEvent",
    "IGeventWillPatchAllEvent",
    "IGeventWillPatchEvent",
    "IGeventWillPatchModuleEvent",
    "IMemoryUsageThresholdExceeded",
    "IMemoryUsageUnderThreshold",
    "IPeriodicMonitorThread",
    "IPeriodicMonitorThreadStartedEvent",
    "MemoryUsageThresholdExceeded",
    "MemoryUsageUnderThreshold",
    "PeriodicMonitorThreadStartedEvent",
    "notify",
    "subscribers",
]


def _import_either(module: str, name: str, otherwise: object) -> object:
    try:
        found: object = getattr(importlib.import_module(module), name)
    except ImportError:
        return otherwise
    return found


def _notify(event: object) -> None:
    for subscriber in subscribers:
        subscriber(event)


_Subscribers = list[Callable[[object], object]]
subscribers = cast("_Subscribers", _import_either("zope.event", "subscribers", []))
"""Functions that are called with each event.  What one raises keeps the others from being called."""
notify = cast("Callable[[object], None]", _import_either("zope.event", "notify", _notify))
_make_interface = cast(
    "Callable[..., object]", _import_either("zope.interface.interface", "InterfaceClass", type)
)
_attribute = cast("Callable[[str], object]", _import_either("zope.interface", "Attribute", str))
_root = cast("type", _import_either("zope.interface", "Interface", object))


def implementer(interface: object) -> Callable[[type[T]], type[T]]:
    """A decorator: the class has all that *interface* says."""
    declare = _import_either("zope.interface", "implementer", None)
    if declare is None:
        return lambda decorated: decorated
    return cast("Callable[[object], Callable[[type[T]], type[T]]]", declare)(interface)


def _interface(name: str, base: object = None, *methods: Callable[..., object], **attributes: str) -> object:
    members: dict[str, object] = {"__module__": "gevent.events"}
    members |= {attribute: _attribute(text) for attribute, text in attributes.items()}
    members |= {method.__name__: method for method in methods}
    return _make_interface(name, (_root if base is None else base,), members)


class Published(Protocol):
    """An event that entry points of installed packages are called with, too."""

    ENTRY_POINT_NAME: str


def notify_and_call_entry_points(event: Published) -> None:
    """Publish *event* to the subscribers, then to the entry points of its kind."""
    notify(event)
    from importlib.metadata import entry_points

    for plugin in entry_points(group=event.ENTRY_POINT_NAME):
        # An installed gevent has entry points of its own, which are for its patching.
        if not plugin.value.startswith("gevent."):
            plugin.load()(event)


# The monitor's.


def add_monitoring_function(function: object, period: object) -> object:
    """Have *function* called with the hub every *period* seconds; None ends that."""


IPeriodicMonitorThread = _interface("IPeriodicMonitorThread", None, add_monitoring_function)
IPeriodicMonitorThreadStartedEvent = _interface(
    "IPeriodicMonitorThreadStartedEvent", monitor="The IPeriodicMonitorThread that has started."
)
IEventLoopBlocked = _interface(
    "IEventLoopBlocked",
    greenlet="The greenlet that seems to block the hub.",
    blocking_time="About how many seconds it has done so.",
    info="Lines of a report; may be changed.",
    hub="The hub, if it is known.",
)
IMemoryUsageThresholdExceeded = _interface(
    "IMemoryUsageThresholdExceeded",
    mem_usage="Bytes in use.",
    max_allowed="Bytes that may be used.",
    memory_info="What psutil has said.",
)
IMemoryUsageUnderThreshold = _interface(
    "IMemoryUsageUnderThreshold",
    mem_usage="Bytes in use.",
    max_allowed="Bytes that may be used.",
    max_memory_usage="Bytes that were in use above the limit.",
    memory_info="What psutil has said.",
)


@implementer(IPeriodicMonitorThreadStartedEvent)
class PeriodicMonitorThreadStartedEvent:
    """A monitor has started."""

    ENTRY_POINT_NAME = "gevent.plugins.hub.periodic_monitor_thread_started"

    def __init__(self, monitor: object) -> None:
        self.monitor = monitor


@implementer(IEventLoopBlocked)
class EventLoopBlocked:
    """A greenlet keeps its hub; published in the monitor's thread."""

    def __init__(
        self, greenlet: object, blocking_time: float, info: list[str], *, hub: object = None
    ) -> None:
        self.greenlet = greenlet
        self.blocking_time = blocking_time
        self.info = info
        self.hub = hub


class _MemoryEvent:
    def __init__(self, mem_usage: int, max_allowed: int, memory_info: object) -> None:
        self.mem_usage = mem_usage
        self.max_allowed = max_allowed
        self.memory_info = memory_info

    def __repr__(self) -> str:
        return f"<{type(self).__name__} used={self.mem_usage} max={self.max_allowed} {self.memory_info!r}>"


@implementer(IMemoryUsageThresholdExceeded)
class MemoryUsageThresholdExceeded(_MemoryEvent):
    """The memory is above the limit and grows."""


@implementer(IMemoryUsageUnderThreshold)
class MemoryUsageUnderThreshold(_MemoryEvent):
    """The memory has come back below the limit."""

    def __init__(self, mem_usage: int, max_allowed: int, memory_info: object, max_usage: int) -> None:
        super().__init__(mem_usage, max_allowed, memory_info)
        self.max_memory_usage = max_usage


# Those of patching.


def will_patch_module(module_name: object) -> object:
    """Whether that module will be patched."""


_ALL = {
    "patch_all_arguments": "The arguments of patch_all.",
    "patch_all_kwargs": "The further keywords of patch_all.",
}
IGeventPatchEvent = _interface(
    "IGeventPatchEvent", source="Where the patches are.", target="What is patched."
)
IGeventWillPatchEvent = _interface("IGeventWillPatchEvent", IGeventPatchEvent)
IGeventDidPatchEvent = _interface("IGeventDidPatchEvent", IGeventPatchEvent)
IGeventWillPatchModuleEvent = _interface(
    "IGeventWillPatchModuleEvent",
    IGeventWillPatchEvent,
    module_name="The module's name.",
    target_item_names="The names that are patched.",
)
IGeventDidPatchModuleEvent = _interface(
    "IGeventDidPatchModuleEvent", IGeventDidPatchEvent, module_name="The module's name."
)
IGeventWillPatchAllEvent = _interface(
    "IGeventWillPatchAllEvent", IGeventWillPatchEvent, will_patch_module, **_ALL
)
IGeventDidPatchBuiltinModulesEvent = _interface(
    "IGeventDidPatchBuiltinModulesEvent", IGeventDidPatchEvent, **_ALL
)
IGeventDidPatchAllEvent = _interface("IGeventDidPatchAllEvent", IGeventDidPatchEvent)


class DoNotPatch(BaseException):
    """A subscriber of an event that comes before patching raises it, and that is then not patched."""


@implementer(IGeventPatchEvent)
class GeventPatchEvent:
    """The base of all events of patching."""

    def __init__(self, source: object, target: object) -> None:
        self.source = source
        self.target = target

    def __repr__(self) -> str:
        return f"<{type(self).__name__} source={self.source!r} target={self.target!r} at {id(self):x}>"


@implementer(IGeventWillPatchEvent)
class GeventWillPatchEvent(GeventPatchEvent):
    """Something will be patched."""


@implementer(IGeventDidPatchEvent)
class GeventDidPatchEvent(GeventPatchEvent):
    """Something was patched."""


@implementer(IGeventWillPatchModuleEvent)
class GeventWillPatchModuleEvent(GeventWillPatchEvent):
    """A module will be patched."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.will_patch_module"

    def __init__(self, module_name: str, source: object, target: object, items: list[str]) -> None:
        super().__init__(source, target)
        self.module_name = module_name
        self.target_item_names = items


@implementer(IGeventDidPatchModuleEvent)
class GeventDidPatchModuleEvent(GeventDidPatchEvent):
    """A module was patched."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.did_patch_module"

    def __init__(self, module_name: str, source: object, target: object) -> None:
        super().__init__(source, target)
        self.module_name = module_name


class _PatchAll(GeventPatchEvent):
    def __init__(self, arguments: Mapping[str, bool], keywords: Mapping[str, object]) -> None:
        super().__init__(None, None)
        self._arguments = dict(arguments)
        self._keywords = dict(keywords)

    @property
    def patch_all_arguments(self) -> dict[str, bool]:
        return self._arguments.copy()

    @property
    def patch_all_kwargs(self) -> dict[str, object]:
        return self._keywords.copy()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._arguments!r} at {id(self):x}>"


@implementer(IGeventWillPatchAllEvent)
class GeventWillPatchAllEvent(_PatchAll, GeventWillPatchEvent):
    """``patch_all`` begins."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.will_patch_all"

    def will_patch_module(self, module_name: str) -> bool | None:
        return self._arguments.get(module_name)


@implementer(IGeventDidPatchBuiltinModulesEvent)
class GeventDidPatchBuiltinModulesEvent(_PatchAll, GeventDidPatchEvent):
    """``patch_all`` has patched the standard library."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.did_patch_builtins"


@implementer(IGeventDidPatchAllEvent)
class GeventDidPatchAllEvent(_PatchAll, GeventDidPatchEvent):
    """``patch_all`` is over, that of subscribers included."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.did_patch_all"
