"""``gevent.config`` and ``gevent._config``: gevent's settings, read from its environment variables.

Those that greenpool has a use for take effect: the resolver and the thread pool of ``get_hub()``,
``format_context``, and what concerns the monitor.  All others can be read and set, and do nothing.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

__all__ = ["config"]


def validate_invalid(value: object) -> object:
    """Accept no value."""
    raise ValueError(f"Not a valid value: {value!r}")


def validate_bool(value: object) -> bool:
    """Accept 1, true, on, yes, 0, false, off and no as words, and any object by its truth."""
    if isinstance(value, str):
        word = value.lower().strip()
        if word in ("1", "true", "on", "yes"):
            return True
        if word in ("", "0", "false", "off", "no"):
            return False
        raise ValueError(f"Invalid boolean string: {value!r}")
    return bool(value)


def validate_anything(value: object) -> object:
    """Accept any value."""
    return value


class Setting:
    """One setting: what was set, else what its environment variable says, else its default."""

    name: ClassVar[str] = ""
    environment_key: ClassVar[str] = ""
    default: ClassVar[object] = None

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()
        if "environment_key" not in vars(cls):
            cls.environment_key = f"GEVENT_{cls.name.upper()}"

    def __init__(self) -> None:
        self._values: list[object] = []

    def validate(self, value: object) -> object:
        return validate_invalid(value)

    def _convert(self, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value

    def get(self) -> object:
        """The value; the environment is read once."""
        if not self._values:
            self.set(os.environ.get(self.environment_key, self.default))
        return self._values[0]

    def set(self, value: object) -> None:
        """Take *value*; raises ValueError or ImportError for one that is not valid."""
        self._values[:] = [self.validate(self._convert(value))]


class ImportableSetting(Setting):
    """An object, or its name, or several names of which the first that can be imported is taken."""

    shortname_map: dict[str, str] = {}

    def _import_one_of(self, candidates: Sequence[object]) -> object:
        if not candidates:
            raise ImportError("Cannot import from empty list")
        for item in candidates[:-1]:
            try:
                return self._import_one(item)
            except ImportError:
                continue  # the next one may be there
        return self._import_one(candidates[-1])

    def _import_one(self, path: object) -> object:
        if not isinstance(path, str):
            return path
        if "." not in path or "/" in path:
            raise ImportError(
                f"Cannot import {path!r}. Required format: [package.]module.class. "
                f"Or choose from {list(self.shortname_map)!r}"
            )
        module, _, item = path.rpartition(".")
        try:
            found: object = getattr(importlib.import_module(module), item)
        except AttributeError:
            raise ImportError(f"Cannot import {item!r} from {module!r}") from None
        return found

    def validate(self, value: object) -> object:
        if not isinstance(value, (list, tuple)):
            return value
        return self._import_one_of([self.shortname_map.get(each, each) for each in value])

    def get_options(self) -> dict[str, object]:
        """What each short name stands for, or the ImportError that it ends in."""
        options: dict[str, object] = {}
        for name, path in self.shortname_map.items():
            try:
                options[name] = self._import_one(path)
            except ImportError as error:
                options[name] = error
        return options


class _Plain(Setting):
    """A setting whose text is taken as it is."""

    def _convert(self, value: object) -> object:
        return value

    def validate(self, value: object) -> object:
        return validate_anything(value)


class _Bool(_Plain):
    def validate(self, value: object) -> object:
        return validate_bool(value)


class _Positive(_Plain):
    def validate(self, value: object) -> object:
        if isinstance(value, (int, float)) and value <= 0:
            raise ValueError("Must be positive")
        return value


class _Float(_Positive):
    def _convert(self, value: object) -> object:
        return float(value) if isinstance(value, (str, int, float)) and value else None


class _Bytes(_Positive):
    """A number of bytes; the text may end in kb, mb or gb."""

    def _convert(self, value: object) -> object:
        if not isinstance(value, str) or not value:
            return value
        text = value.lower()
        for power, unit in enumerate(("kb", "mb", "gb"), 1):
            if text.endswith(unit):
                return int(text.removesuffix(unit)) * 1024**power
        return int(text)


class Resolver(ImportableSetting):
    """What makes ``Hub.resolver``."""

    default = ["thread", "block"]
    shortname_map = {
        "thread": "gevent.resolver.thread.Resolver",
        "block": "gevent.resolver.blocking.Resolver",
        "ares": "gevent.resolver.ares.Resolver",
        "dnspython": "gevent.resolver.dnspython.Resolver",
    }


class Threadpool(ImportableSetting):
    """What makes ``Hub.threadpool``."""

    default = ["gevent.threadpool.ThreadPool"]


class ThreadpoolIdleTaskTimeout(_Float):
    """After how many idle seconds the threads of ``Hub.threadpool`` end."""

    name = "threadpool_idle_task_timeout"
    default = 5.0


class Loop(ImportableSetting):
    """The class of loops.  There is one."""

    default = ["gevent.core.loop"]
    shortname_map = {"libev-cext": "gevent.core.loop", "libuv-cffi": "gevent.core.loop"}


class FormatContext(ImportableSetting):
    """What describes the context of an error."""

    name = "format_context"
    default = ["pprint.saferepr"]


class LibevBackend(_Plain):
    name = "libev_backend"
    environment_key = "GEVENT_BACKEND"


class FileObject(ImportableSetting):
    """The class of file objects.  There is one."""

    environment_key = "GEVENT_FILE"
    default = ["posix"]
    shortname_map = {
        "posix": "gevent.fileobject.FileObjectPosix",
        "thread": "gevent.fileobject.FileObjectThread",
        "block": "gevent.fileobject.FileObjectBlock",
    }


class WatchChildren(_Bool):
    name = "disable_watch_children"
    environment_key = "GEVENT_NOWAITPID"
    default = False


class TraceMalloc(_Plain):
    name = "trace_malloc"
    environment_key = "PYTHONTRACEMALLOC"
    default = False


class TrackGreenletTree(_Bool):
    name = "track_greenlet_tree"
    default = True


class MonitorThread(_Bool):
    """Whether a thread watches each hub."""

    name = "monitor_thread"
    environment_key = "GEVENT_MONITOR_THREAD_ENABLE"
    default = False


class MaxBlockingTime(_Float):
    """For how many seconds a greenlet may keep its hub before the monitor reports it."""

    name = "max_blocking_time"
    default = 0.1


class PrintBlockingReports(_Bool):
    """Whether the monitor prints its reports."""

    name = "print_blocking_reports"
    environment_key = "GEVENT_MONITOR_PRINT_BLOCKING_REPORTS"
    default = True


class MonitorMemoryPeriod(_Float):
    """After how many seconds the monitor looks at the memory again."""

    name = "memory_monitor_period"
    environment_key = "GEVENT_MONITOR_MEMORY_PERIOD"
    default = 5


class MonitorMemoryMaxUsage(_Bytes):
    """From how many bytes on the monitor reports the memory."""

    name = "max_memory_usage"
    environment_key = "GEVENT_MONITOR_MEMORY_MAX"


class _Ares(_Plain):
    def __init_subclass__(cls) -> None:
        cls.name = f"ares_{cls.__name__.removeprefix('Ares').lower()}"
        cls.environment_key = f"GEVENTARES_{cls.name.removeprefix('ares_').upper()}"


class AresFlags(_Ares):
    pass


class AresTimeout(_Ares):
    pass


class AresTries(_Ares):
    pass


class AresNdots(_Ares):
    pass


class AresServers(_Ares):
    pass


class ResolverNameservers(_Plain):
    name = "resolver_nameservers"


class ResolverTimeout(_Float):
    name = "resolver_timeout"


ALL_SETTINGS: list[type[Setting]] = [
    Resolver,
    Threadpool,
    ThreadpoolIdleTaskTimeout,
    Loop,
    FormatContext,
    LibevBackend,
    FileObject,
    WatchChildren,
    TraceMalloc,
    TrackGreenletTree,
    MonitorThread,
    MaxBlockingTime,
    PrintBlockingReports,
    MonitorMemoryPeriod,
    MonitorMemoryMaxUsage,
    AresFlags,
    AresTimeout,
    AresTries,
    AresNdots,
    AresServers,
    ResolverNameservers,
    ResolverTimeout,
]


class Config:
    """All settings, as attributes."""

    settings: dict[str, Setting]

    if TYPE_CHECKING:
        # Those that this package itself reads.
        format_context: Callable[[object], object]
        max_blocking_time: float
        max_memory_usage: int | None
        memory_monitor_period: float
        monitor_thread: bool
        print_blocking_reports: bool
        resolver: object
        threadpool: object
        threadpool_idle_task_timeout: float

    def __init__(self) -> None:
        self.settings = {kind.name: kind() for kind in ALL_SETTINGS}

    def __getattr__(self, name: str) -> object:
        return self._setting(name).get()

    def __setattr__(self, name: str, value: object) -> None:
        if name == "settings":
            super().__setattr__(name, value)
        else:
            self.set(name, value)

    def set(self, name: str, value: object) -> None:
        """Set one setting; raises AttributeError for a name that is none."""
        self._setting(name).set(value)

    def __dir__(self) -> list[str]:
        return list(self.settings)

    def _setting(self, name: str) -> Setting:
        setting = vars(self).get("settings", {}).get(name)
        if not isinstance(setting, Setting):
            raise AttributeError(f"No configuration setting for: {name!r}")
        return setting


config = Config()
