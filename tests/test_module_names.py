"""Module names: each green module has every public name of the standard module that it replaces."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import greenpool

MODULES = (
    "fcntl",
    "io",
    "os",
    "select",
    "selectors",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "time",
)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_present(name: str) -> None:
    standard = importlib.import_module(name)
    green = importlib.import_module(f"greenpool.{name}")
    public = {each for each in vars(standard) if not each.startswith("_")}
    assert public - set(vars(green)) == set()
    exported = getattr(standard, "__all__", ())
    assert set(exported) - set(green.__all__) == set()


# gevent's names.
ADDED = {
    "os": {
        *("fork_and_watch", "fork_gevent", "forkpty_and_watch", "forkpty_gevent", "make_nonblocking"),
        *("nb_read", "nb_write", "tp_read", "tp_write"),
    },
    "socket": {"wait_read", "wait_readwrite", "wait_write"},
}


@pytest.mark.parametrize("name", MODULES)
def test_only_what_the_standard_module_has_is_exported(name: str) -> None:
    standard = importlib.import_module(name)
    green = importlib.import_module(f"greenpool.{name}")
    added = ADDED.get(name, set())
    assert set(green.__all__) - set(vars(standard)) == added
    assert all(hasattr(green, each) for each in green.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_what_does_not_wait_is_the_standard_thing_itself(name: str) -> None:
    standard = importlib.import_module(name)
    green = importlib.import_module(f"greenpool.{name}")
    for each, value in vars(standard).items():
        if isinstance(value, (int, str, types.ModuleType)) and not each.startswith("__"):
            assert vars(green)[each] == value
        elif isinstance(value, type) and issubclass(value, Exception):
            assert vars(green)[each] is value


# A class whose body is in another module still has its public name in its repr and in pickles.
PUBLIC_CLASSES = {
    "event": ("AsyncResult", "Event"),
    "lock": (
        "Barrier",
        "BoundedSemaphore",
        "Condition",
        "DummySemaphore",
        "Lock",
        "RLock",
        "Semaphore",
    ),
    "queue": ("Channel", "LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"),
}


@pytest.mark.parametrize(
    "name", [f"{module}.{name}" for module, names in PUBLIC_CLASSES.items() for name in names]
)
def test_a_class_is_known_by_the_module_that_offers_it(name: str) -> None:
    module, _, own = name.partition(".")
    value = getattr(importlib.import_module(f"greenpool.{module}"), own)
    assert (value.__module__, value.__qualname__) == (f"greenpool.{module}", own)
    assert repr(value) == f"<class 'greenpool.{name}'>"
    assert pickle.loads(pickle.dumps(value)) is value


# Classes that say of themselves that they are the core's, as they always did, and where they are public.
CORE_CLASSES = {
    "greenpool._core.errors.LoopExit",
    "greenpool._core.errors.SpawnError",
    "greenpool._core.hub.Hub",
    "greenpool._core.timeout.Timeout",
}

# Their names are those of the standard modules, in which pickle looks for them.
STANDARD_MODULES = {*MODULES, "thread", "threading"}

# They need another library. Those for a program also patch.
MODULES_OF_EXTRAS = {"celery", "dask", "gunicorn", "joblib", "pywsgi"}


def own_names() -> Iterator[tuple[str, str, Any]]:
    """Yield each public class and function that is greenpool's own, with the module that offers it."""
    found = [f"greenpool.{each.name}" for each in pkgutil.iter_modules(greenpool.__path__)]
    for module in ["greenpool", *found]:
        short = module.removeprefix("greenpool.")
        if not short.startswith("_") and short not in STANDARD_MODULES | MODULES_OF_EXTRAS:
            green = importlib.import_module(module)
            for name in getattr(green, "__all__", ()):
                value = getattr(green, name)
                if isinstance(value, type | types.FunctionType) and value.__module__.startswith("greenpool"):
                    yield module, name, value


def test_public_names_say_a_public_module_and_are_pickled_by_it() -> None:
    names = list(own_names())
    assert len(names) > 100
    hidden = {f"{value.__module__}.{value.__qualname__}" for _, _, value in names if "._" in value.__module__}
    assert hidden == CORE_CLASSES
    for _, _, value in names:
        assert pickle.loads(pickle.dumps(value)) is value
        assert copy.copy(value) is copy.deepcopy(value) is value


def test_errors_of_queues_are_those_of_the_standard_library() -> None:
    standard = importlib.import_module("queue")
    green = importlib.import_module("greenpool.queue")
    assert green.Empty is standard.Empty and green.Full is standard.Full
    if hasattr(standard, "ShutDown"):
        assert green.ShutDown is standard.ShutDown
    else:
        assert repr(green.ShutDown) == "<class 'greenpool.queue.ShutDown'>"
        assert pickle.loads(pickle.dumps(green.ShutDown)) is green.ShutDown


def test_a_joinable_queue_is_a_queue() -> None:
    green = importlib.import_module("greenpool.queue")
    assert green.JoinableQueue is green.Queue


@pytest.mark.parametrize(
    "name", ["event.AsyncResult", *(f"queue.{each}" for each in PUBLIC_CLASSES["queue"])]
)
def test_a_class_of_values_takes_their_type(name: str) -> None:
    module, _, own = name.partition(".")
    value = getattr(importlib.import_module(f"greenpool.{module}"), own)
    assert typing.get_origin(value[int]) is value
    assert typing.get_args(value[int]) == (int,)
    assert type(value[int]()) is value
