"""Collects test functions of other files, as they stand, and runs each of them under schedules.

A test runs as the main program of a pool of four hubs, and again and again, so it gets its fixtures anew for
each schedule, inside the run. Those of its module are taken as they are. These have a stand-in:

- ``Runtime``, by that name or as the fixture, is the pool of the run. So what a test spawns on the hubs of a
  Runtime of its own is spawned on hubs that the schedule knows.
- ``sleep(0)`` of the test itself lasts until nothing else of the run can go on. The tests mean that by it: in
  the order that greenpool takes by itself, all others have had their turn then.
- ``leak_check`` and ``fast_switching`` do nothing.

A test that starts plain threads runs in a patched child process: its threads are green threads of the run
there, and so are those that the fixture ``start`` starts. One child serves all such tests of a file.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import places
import pytest

import greenpool
from greenpool import testing
from greenpool._core.current import current_greenlet
from greenpool.runtime import Handle
from greenpool.testing.patched import run_patched

HUBS = 4
# Seconds, the least that the clock of a run knows.
INSTANT = 1e-6
# What waits for OS threads, unless the program is patched.
THREADS = re.compile(
    r"\b(threading\.(Thread|Timer|Event|Barrier|Condition|Semaphore|R?Lock)|ThreadPoolExecutor|asyncio\.run)\b"
)
# The choices that one run may take.
STEPS = 20_000

# Fixtures that a run needs nothing of.
IDLE = {"leak_check", "fast_switching"}
# Fixtures that a run has, besides those of the module.
GIVEN = IDLE | {"runtime", "monkeypatch", "request"}


class PoolOfRun:
    """Stands in for a Runtime: the hubs of the run, and an exit that waits for what was spawned here."""

    def __init__(self, pool_size: int | None = None) -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        self._handle = HandleOfRun(handle._hubs)

    @property
    def pool_size(self) -> int:
        return self._handle.pool_size

    def handle(self) -> HandleOfRun:
        return self._handle

    def spawn(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> greenpool.Greenlet[Any]:
        return self._handle.spawn(function, *args, **kwargs)

    def block_on(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def __enter__(self) -> PoolOfRun:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            greenpool.joinall(self._handle.spawned)


class HandleOfRun(Handle):
    """A Handle that knows what was spawned through it."""

    def __init__(self, hubs: Any) -> None:
        Handle.__init__(self, hubs)
        self.spawned: list[greenpool.Greenlet[Any]] = []

    def spawn(self, *args: Any, **kwargs: Any) -> Any:
        self.spawned.append(super().spawn(*args, **kwargs))
        return self.spawned[-1]

    def spawn_on(self, *args: Any, **kwargs: Any) -> Any:
        self.spawned.append(super().spawn_on(*args, **kwargs))
        return self.spawned[-1]


class Silence:
    """Stands in for capsys where a fixture needs it: what ends a greenlet of a run is not printed."""

    def readouterr(self) -> SimpleNamespace:
        return SimpleNamespace(out="", err="")


class Case:
    """One test with its parameters."""

    def __init__(
        self, module: ModuleType, name: str, number: int, arguments: dict[str, Any], params: dict[str, Any]
    ) -> None:
        self.module = module
        self.name = name
        self.arguments = arguments
        # Those of its fixtures.
        self.params = params
        self.id = f"{module.__name__}.{name}" + (f"[{number}]" if number >= 0 else "")

    def run(self) -> None:
        """Call the test in a run, with its fixtures."""
        handle = greenpool.current_handle()
        assert handle is not None
        try:
            # What a test spawns is on its own hub, as outside of a pool.
            handle.spawn_on(0, self._run).get()
        except pytest.fail.Exception as failure:
            # It is no Exception, and would end the exploring without its seed.
            raise AssertionError(str(failure)) from None

    def _run(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(stand_ins(self.module, current_greenlet()))
            fixtures: dict[str, Any] = {"runtime": PoolOfRun(), "capsys": Silence()}
            for name, fixture in fixtures_of(self.module).items():
                if fixture.autouse:
                    self._fixture(stack, fixtures, name)
            function = getattr(self.module, self.name)
            for mark in marks_of(self.module, function):
                for name in mark.args if mark.name == "usefixtures" else ():
                    self._fixture(stack, fixtures, name)
            arguments = dict(self.arguments)
            for name in inspect.signature(function).parameters:
                if name not in arguments:
                    arguments[name] = self._fixture(stack, fixtures, name)
            function(**{name: arguments[name] for name in inspect.signature(function).parameters})

    def _fixture(self, stack: ExitStack, fixtures: dict[str, Any], name: str) -> Any:
        if name in fixtures or name in IDLE:
            return fixtures.get(name)
        if name == "monkeypatch":
            value: Any = stack.enter_context(pytest.MonkeyPatch.context())
        else:
            function = fixtures_of(self.module)[name].function
            arguments = {
                needed: SimpleNamespace(param=self.params[name])
                if needed == "request"
                else self._fixture(stack, fixtures, needed)
                for needed in fixtures_of(self.module)[name].needs
            }
            if inspect.isgeneratorfunction(function):
                value = stack.enter_context(contextmanager(function)(**arguments))
            else:
                value = function(**arguments)
        fixtures[name] = value
        return value


class Fixture:
    """A fixture of a test module."""

    def __init__(self, definition: Any) -> None:
        # A function with an attribute up to pytest 8.3, an object from 8.4 on.
        marker = getattr(definition, "_pytestfixturefunction", None) or definition._fixture_function_marker
        self.function = inspect.unwrap(definition)
        self.autouse = marker.autouse
        self.params = list(marker.params or [])
        self.needs = list(inspect.signature(self.function).parameters)


@cache
def fixtures_of(module: ModuleType) -> dict[str, Fixture]:
    """The fixtures that a test module has or has made its own."""
    return {
        name: Fixture(value)
        for name, value in vars(module).items()
        if hasattr(value, "_pytestfixturefunction") or hasattr(value, "_fixture_function_marker")
    }


def marks_of(module: ModuleType, function: Callable[..., Any]) -> list[pytest.Mark]:
    own = getattr(module, "pytestmark", [])
    marks = [*(own if isinstance(own, list) else [own]), *getattr(function, "pytestmark", [])]
    return [getattr(mark, "mark", mark) for mark in marks]


def cases_of(name: str) -> Iterator[Case]:
    """The tests of the module *name*, with all their parameters."""
    module = importlib.import_module(name)
    for test, function in list(vars(module).items()):
        if test.startswith("test_") and inspect.isfunction(function):
            choices = list(_choices(module, function))
            for number, chosen in enumerate(choices):
                params = {name: chosen.pop(name) for name in fixtures_of(module) if name in chosen}
                yield Case(module, test, number if len(choices) > 1 else -1, chosen, params)


def _choices(module: ModuleType, function: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """Each combination of the parameters of a test and of its fixtures, by their names."""
    axes: list[list[dict[str, Any]]] = []
    for mark in marks_of(module, function):
        if mark.name == "parametrize":
            axes.append([_named(mark.args[0], value) for value in mark.args[1]])
    fixtures = fixtures_of(module)
    wanted = list(inspect.signature(function).parameters)
    for name in wanted:
        if name in fixtures and name not in GIVEN:
            wanted += [needed for needed in fixtures[name].needs if needed not in wanted]
            if fixtures[name].params:
                axes.append([{name: value} for value in fixtures[name].params])
    for combination in itertools.product(*axes):
        yield {name: value for chosen in combination for name, value in chosen.items()}


def _named(names: str | tuple[str, ...], value: Any) -> dict[str, Any]:
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    values = getattr(value, "values", value)
    return dict(zip(listed, values if len(listed) > 1 or values is not value else [value], strict=True))


def explore(case: Case, schedules: int, patch: bool) -> str:
    """Run *case* under so many schedules; the report of the failure, or "" if all pass."""
    try:
        testing.explore(case.run, schedules=schedules, hubs=HUBS, patch=patch, steps=STEPS)
    except BaseException:
        return traceback.format_exc()
    return ""


@contextmanager
def stand_ins(module: ModuleType, test: object) -> Iterator[None]:
    """Replace names while the greenlet *test* runs a test of *module*."""
    sleep = greenpool.sleep

    def settling_sleep(seconds: float = 0) -> None:
        # The clock moves on when nothing is ready.
        sleep(INSTANT if seconds == 0 and current_greenlet() is test else seconds)

    with pytest.MonkeyPatch.context() as patch:
        for place in (greenpool, module, places):
            patch.setattr(place, "Runtime", PoolOfRun, raising=False)
            patch.setattr(place, "sleep", settling_sleep, raising=False)
        yield


def obstacle(case: Case) -> str:
    """Why *case* cannot run under schedules, if its marks or fixtures say so; else ""."""
    function = getattr(case.module, case.name)
    if hasattr(function, "hypothesis"):
        return "hypothesis drives it"
    marks = marks_of(case.module, function)
    if any(mark.name == "slow" for mark in marks):
        return "it is slow"
    if any(mark.name == "skipif" and mark.args[0] for mark in marks):
        return "it is skipped here"
    wanted = set(inspect.signature(function).parameters) - case.arguments.keys()
    wanted |= {name for mark in marks if mark.name == "usefixtures" for name in mark.args}
    own = fixtures_of(case.module)
    while further := {needed for name in wanted & own.keys() - GIVEN for needed in own[name].needs} - wanted:
        wanted |= further
    missing = sorted(wanted - GIVEN - own.keys())
    return f"it needs {', '.join(missing)}" if missing else ""


def needs_threads(case: Case) -> bool:
    """Whether *case* starts plain threads or waits for one, itself or by what it uses of its module."""
    if "plain thread" in case.params.values():
        return True
    return _mentions_threads(case.module, case.name)


@cache
def _mentions_threads(module: ModuleType, name: str) -> bool:
    return any(THREADS.search(source) for source in _sources(module, name, set()))


def _sources(module: ModuleType, name: str, seen: set[str]) -> Iterator[str]:
    """The source of a function or class of *module*, and of those that it refers to."""
    thing = inspect.unwrap(vars(module).get(name))
    if name in seen or not callable(thing) or getattr(thing, "__module__", None) != module.__name__:
        return
    seen.add(name)
    source = inspect.getsource(thing)
    yield source
    for word in set(re.findall(r"\w+", source)):
        yield from _sources(module, word, seen)


def explore_patched(cases: list[Case], schedules: int) -> dict[str, str]:
    """The reports of *cases*, which run in one patched child."""

    def explore_all() -> dict[str, str]:
        return {case.id: explore(case, schedules, True) for case in cases}

    return run_patched(explore_all)
