"""The call of a test under schedules, for the plugin of pytest.

The test function takes its place in ``testing.run`` or ``testing.explore``; its fixtures are made before, and
end after it.  What the test raises comes out of the call as it is, with its own traceback, so that ``xfail``,
``skip`` and ``raises`` see no difference.  The schedule goes into the report.

*Threads*: pytest's own thread waits while the test runs on the threads of the run.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import shlex
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial, wraps
from types import TracebackType
from typing import Any

import pytest

from .._core import PACKAGE
from .._core.errors import LoopExit
from .._core.scheduled import StepsExceeded
from ..runtime import Runtime
from .explore import STEPS, ScheduleFailed, explore, read_schedule, trace_text
from .patched import is_patched
from .plugin_marker import Settings
from .run import Settings as RunSettings
from .run import instruments, run_once
from .schedule import Recorded, Schedule, schedule_of_seed

_STANDARD = os.path.dirname(os.__file__) + os.sep
# Lines of a trace that a report shows.
_LINES = 200
# The values of fixtures that are looked at: they can be copied and compared.
_CONTAINERS = (list, dict, set, bytearray, deque)


class _Failed(Exception):
    """Stands for pytest's own exception of ``pytest.fail``, which is no Exception."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Call:
    """The call of one test."""

    def __init__(self, item: pytest.Function, settings: Settings) -> None:
        self._item = item
        self._settings = settings
        patched = is_patched()
        self._patched = patched or settings.patch
        # Whether the call needs a process of its own, because this one is not patched.
        self.needs_process = settings.patch and not patched
        # What the report says of the schedule; "" if nothing has failed under one.
        self.report = ""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the item call the test under its schedules.

        Of a test of hypothesis it is the function that gets the drawn data.
        """
        item = self._item
        function = item.obj
        drawn: Any = getattr(function, "hypothesis", None)
        if drawn is not None:
            inner = drawn.inner_test
            drawn.inner_test = self._around(inner)
            try:
                yield
            finally:
                drawn.inner_test = inner
            return
        item.obj = self._around(function)
        try:
            yield
        finally:
            item.obj = function

    def _around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):
            return self._around(_in_a_loop(function))

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            body = partial(function, *args, **kwargs)
            if self._settings.has_schedule:
                return self._run(body)
            if self._settings.hubs:
                with Runtime(self._settings.hubs) as runtime:
                    return runtime.block_on(body)
            return body()

        return call

    def _run(self, body: Callable[[], Any]) -> Any:
        __tracebackhide__ = True
        settings = self._settings
        in_place = _as_here()
        watched = _Watched(self._item) if settings.explore else None

        def fn() -> Any:
            with in_place():
                try:
                    return body()
                except pytest.fail.Exception as error:
                    raise _Failed(error) from None
                finally:
                    if watched is not None:
                        watched.look()

        failure: BaseException
        try:
            if settings.explore is None:
                return self._run_once(fn)
            self._explore(fn, settings.explore)
            return None
        except ScheduleFailed as failed:
            failure = failed.error
        except BaseException as error:
            failure = error
        finally:
            if watched is not None:
                watched.warn()
        # Raised out here, so that it keeps the exceptions that it came from, and gets no other.
        raise _shortened(failure.error if isinstance(failure, _Failed) else failure, self._item)

    def _run_once(self, fn: Callable[[], Any]) -> Any:
        __tracebackhide__ = True
        settings = self._settings
        schedule: Schedule
        number = 0
        if isinstance(settings.seed, str):
            number, choices = read_schedule(settings.seed)
            schedule = Recorded(choices)
        elif settings.seed is None:
            schedule = Recorded()
        else:
            number = settings.seed
            schedule = schedule_of_seed(number)
        with instruments(self._patched, settings.only_clock):
            outcome = run_once(
                fn,
                schedule,
                RunSettings(settings.hubs, settings.clock, settings.steps, self._patched),
                number,
                traced=not settings.only_clock,
                collects_errors=not settings.only_clock,
            )
        error = outcome.error
        if error is None:
            return outcome.value
        if not settings.only_clock and not isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception)):
            how = "in the default order" if settings.seed is None else f"under the schedule {settings.seed}"
            self._report(f"failed {how}", trace_text(outcome.trace), settings.seed)
        raise error

    def _explore(self, fn: Callable[[], Any], schedules: int) -> None:
        __tracebackhide__ = True
        settings = self._settings
        seed = settings.seed if isinstance(settings.seed, int) else 0
        tried = 0

        def counted() -> Any:
            nonlocal tried
            tried += 1
            return fn()

        try:
            explore(
                counted,
                schedules=schedules,
                hubs=settings.hubs,
                seed=seed,
                clock=settings.clock,
                patch=self._patched,
                steps=STEPS if settings.steps is None else settings.steps,
            )
        except ScheduleFailed as failure:
            text = f"failed under schedule {failure.tried} of {schedules}, that of seed {failure.seed}"
            if failure.error is failure.__cause__:
                text += (
                    "\nIt did not fail again under this schedule: it depends on more than the schedule, such "
                    "as values of\nfixtures or globals that an earlier call of the test has changed."
                )
            self._report(text, failure.trace, failure.seed, failure.schedule)
            raise
        except (pytest.skip.Exception, pytest.xfail.Exception):
            raise
        except BaseException:
            # Not shrunk, because it is no Exception.
            self._report(f"failed under schedule {tried}", "", seed + tried - 1)
            raise

    def _report(self, text: str, trace: str, seed: int | str | None, shortest: str | None = None) -> None:
        lines = trace.splitlines()
        if len(lines) > _LINES:
            lines[: len(lines) - _LINES] = [f"... {len(lines) - _LINES} lines before"]
        command = f"pytest {shlex.quote(self._item.nodeid)} --greenpool-seed="
        replays = [f"replay it:          {command}{seed}"] if seed is not None else []
        if shortest is not None:
            replays.append(f"shortest schedule:  {command}{shortest}")
        self.report = "\n".join([text, *lines, *replays])


def _in_a_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    call.__name__ = function.__name__
    return call


def _shortened(error: BaseException, item: pytest.Function) -> BaseException:
    """Let the traceback begin in the test; one of an exception that ends a wait also ends in the test."""
    if item.config.getoption("fulltrace"):
        return error
    first: TracebackType | None = None
    last: TracebackType | None = None
    entry = error.__traceback__
    while entry is not None:
        file = entry.tb_frame.f_code.co_filename
        if not file.startswith(PACKAGE):
            first = first or entry
            if not file.startswith(_STANDARD) or "site-packages" in file:
                last = entry
        entry = entry.tb_next
    if last is not None and isinstance(error, (LoopExit, StepsExceeded)):
        last.tb_next = None
    return error.with_traceback(first or error.__traceback__)


def _as_here() -> Callable[[], AbstractContextManager[object]]:
    """A context in which hypothesis takes the thread of a run for the calling one."""
    control: Any = sys.modules.get("hypothesis.control")
    build: Any = getattr(control, "_current_build_context", None)
    if build is None or build.value is None:
        return nullcontext
    return partial(build.with_value, build.value)


class _Watched:
    """The containers that function-scoped fixtures have made, before and after the first call of a test."""

    def __init__(self, item: pytest.Function) -> None:
        self._test = item.nodeid
        self._values: list[tuple[str, object, object]] = []
        self._changed: list[str] = []
        self._looked = False
        for name, value in (item.funcargs or {}).items():
            if type(value) in _CONTAINERS:
                try:
                    self._values.append((name, value, copy.deepcopy(value)))
                except Exception:
                    continue  # its elements cannot be copied

    def look(self) -> None:
        """Called after each call of the test."""
        if not self._looked:
            self._looked = True
            self._changed = [name for name, value, before in self._values if value != before]

    def warn(self) -> None:
        for name in self._changed:
            warnings.warn(
                pytest.PytestWarning(
                    f"{self._test} changes the value of its fixture {name!r}, which all schedules of explore "
                    "share: make it in the test, or let the fixture return a function that makes it"
                ),
                stacklevel=2,
            )
