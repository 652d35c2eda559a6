"""The standard library's own tests of locks and queues, run against greenpool's.

They come with Python, in the version of the running interpreter: test.lock_tests and test.test_queue. Each
runs with OS threads, and with greenlets in their place, on one hub and on four. For greenlets it is a copy of
the module in which ``threading``, ``_thread`` and ``time`` are the green ones.

They sleep for many seconds. Those of greenlets run under the jumping clock, so that only those of OS threads
take that time; with ``--greenpool-clock=real`` all do.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import greenpool.queue
import greenpool.thread
import greenpool.threading
import greenpool.time
from greenpool import event, lock

MODULES = ("test.support.threading_helper", "test.lock_tests", "test.test_queue")

try:
    standard: dict[str, Any] = {name: importlib.import_module(name) for name in MODULES}
except ImportError as missing:
    pytest.skip(f"this Python comes without its own tests: {missing}", allow_module_level=True)

# The objects that each class of standard tests runs against, by the names that its tests look for.
SUBJECTS: dict[str, dict[str, Any]] = {
    "LockTests": {"locktype": lock.Lock},
    "RLockTests": {"locktype": lock.RLock},
    "EventTests": {"eventtype": event.Event},
    "ConditionTests": {"condtype": lock.Condition},
    "SemaphoreTests": {"semtype": lock.Semaphore},
    "BoundedSemaphoreTests": {"semtype": lock.BoundedSemaphore},
    "BarrierTests": {"barriertype": lock.Barrier},
    "QueueTest": {"queue": greenpool.queue},
    "LifoQueueTest": {"queue": greenpool.queue},
    "PriorityQueueTest": {"queue": greenpool.queue},
    "FailingQueueTest": {"queue": greenpool.queue},
    "BaseSimpleQueueTest": {"queue": greenpool.queue, "type2test": greenpool.queue.SimpleQueue},
}

# Tests that cannot hold, each with the reason.
EXCUSED = {
    "EventTests.test_at_fork_reinit": "it looks into the Condition that the standard Event is made of",
}
EXCUSED_IN_GREENLETS: dict[str, str] = {}
if hasattr(standard["test.test_queue"].BaseQueueTestMixin, "test_shutdown_empty"):
    polling = "its readers poll the queue without ever waiting, so other greenlets of their hub never run"
    EXCUSED_IN_GREENLETS = {
        "BaseQueueTestMixin.test_shutdown_all_methods_in_many_threads": polling,
        "BaseQueueTestMixin.test_shutdown_immediate_all_methods_in_many_threads": polling,
    }

# Tests that hardly sleep: their many threads poll. A jumping clock spares nothing there, and its scheduler
# switches slowly among so many.
BUSY = {"BaseSimpleQueueTest"}

# Tests that wait for half a second or more, where the clock is real.
SLOW = {"test_acquire_timeout", "test_basic", "test_failing_queue", "test_timeout"}


def green_copies() -> dict[str, Any]:
    """Make copies of the standard test modules over green threads."""
    threading = types.ModuleType("threading")
    # Its own Barrier would raise its own exception.
    vars(threading).update(vars(greenpool.threading), BrokenBarrierError=lock.BrokenBarrierError)
    green = {"threading": threading, "_thread": greenpool.thread, "time": greenpool.time}
    support = types.ModuleType("test.support")
    vars(support).update(vars(sys.modules["test.support"]), time=greenpool.time)
    for name in ("busy_retry", "sleeping_retry"):
        original: Any = getattr(support, name)
        copy = types.FunctionType(original.__code__, vars(support), name, original.__defaults__)
        copy.__kwdefaults__ = original.__kwdefaults__
        setattr(support, name, copy)
    found: dict[str, Any] = {}
    for name in MODULES:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with mock.patch.dict(sys.modules, green):
            spec.loader.exec_module(module)
        found[name] = module
        vars(module).update(support=support, threading_helper=found[MODULES[0]])
    return found


def names_of_tests(cls: type) -> dict[str, str]:
    """Return the tests of a class, each with its name in the class that defines it."""
    names = [name for name in dir(cls) if name.startswith("test")]
    return {
        name: f"{next(base.__name__ for base in cls.__mro__ if name in vars(base))}.{name}" for name in names
    }


def slow(test: Callable[..., None]) -> Callable[..., None]:
    """A copy of the test with the mark: other classes may inherit the test itself."""

    @pytest.mark.slow
    @functools.wraps(test)
    def marked(self: unittest.TestCase) -> None:
        test(self)

    return marked


def cases(
    where: str, modules: dict[str, Any], excused: dict[str, str], *marks: pytest.MarkDecorator
) -> dict[str, type]:
    found = {}
    for base_name, subjects in SUBJECTS.items():
        base = next(vars(module)[base_name] for module in modules.values() if hasattr(module, base_name))
        attributes: dict[str, Any] = {"__module__": __name__, **subjects}
        if base_name not in BUSY:
            attributes["pytestmark"] = [*marks]
        for test, name in names_of_tests(base).items():
            if name in excused:
                attributes[test] = unittest.skip(excused[name])(getattr(base, test))
            elif test in SLOW and not marks:
                attributes[test] = slow(getattr(base, test))
        # The test classes of the queues are not TestCases by themselves.
        cases = () if issubclass(base, unittest.TestCase) else (unittest.TestCase,)
        found[base_name + where] = type(base_name + where, (base, *cases), attributes)
    return found


green = green_copies()
globals().update(cases("WithThreads", standard, EXCUSED))
globals().update(cases("OnOneHub", green, EXCUSED | EXCUSED_IN_GREENLETS, pytest.mark.greenpool(hubs=0)))
globals().update(cases("OnFourHubs", green, EXCUSED | EXCUSED_IN_GREENLETS, pytest.mark.greenpool(hubs=4)))


def test_nothing_is_left_out() -> None:
    """No version of Python has a class of tests that is not run here, and each excused test still exists."""
    classes = {
        name: cls
        for module in standard.values()
        for name, cls in vars(module).items()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and names_of_tests(cls)
    }
    chosen = [classes[name] for name in SUBJECTS]
    for cls in classes.values():
        # The class runs here, is a base of one that runs, or is a variant of one for the standard queue.
        assert any(issubclass(each, cls) or issubclass(cls, each) for each in chosen), cls
    tests = {name for cls in chosen for name in names_of_tests(cls).values()}
    assert {*EXCUSED, *EXCUSED_IN_GREENLETS} <= tests
