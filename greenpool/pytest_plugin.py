"""A plugin for pytest: tests under schedules and a clock that jumps, a time limit, a look for leaks.

pytest loads it wherever greenpool is installed.  It does nothing until a test or the configuration asks::

    [tool.pytest.ini_options]
    greenpool_time_limit = "60"    # seconds for each test
    greenpool_leak_check = true    # for each test
    greenpool_clock = "jump"       # for each test

The marker ``greenpool`` runs the call of its test under schedules, or in a patched process.  What that needs
is in greenpool/testing/plugin_*.py.  Whatever a session may not need is imported by the first test that asks
for it.

A test that exceeds its limit ends the whole run: the stacks of all threads and of all greenlets go to the
real stderr, past pytest's capture, and the process exits with status 1.  The limit covers set-up, call and
tear-down together.  Two watchers enforce it.  A thread of the run prints the greenlets, which only Python
code can find.  If no Python code can run any more, for example because a C call keeps the GIL, faulthandler's
timer fires a few seconds later.

*Threads*: pytest's own thread runs all of this but the watch.
"""

from __future__ import annotations

import collections
import faulthandler
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import greenlet
import pytest

from ._core.native import Lock, start_new_thread

__all__ = ["greenpool_runtime", "leak_check"]

if TYPE_CHECKING:
    from typing import Any

    from .inspect import GreenletInfo
    from .runtime import Runtime
    from .testing.plugin_marker import Settings

# Seconds between the end of a limit and faulthandler's report.
GRACE = 5.0
# Seconds between two looks at the clock.
_LOOK = 0.5
# Seconds that a greenlet gets for its last steps, maybe on another hub, before it counts as left behind.
_PATIENCE = 1.0

MARKERS = (
    "time_limit(seconds): end the whole run, with every stack dumped, when this test takes longer",
    "leak_check: fail this test if it leaves a greenlet, a thread or a descriptor behind",
    "greenpool(*, hubs=2, explore=None, clock='jump', seed=None, patch=False, steps=None, schedule=True): "
    "run this test in greenpool.testing.run, or under many schedules; patch: in a patched process",
)


class Watch:
    """The limit of the test that runs now.

    pytest's thread sets it, and the watching thread reads it.  Each replaces or reads one reference, so no
    lock is needed.
    """

    def __init__(self, output: int = 2) -> None:
        # pytest configures before it captures, so 2 is the real stderr.
        self.stderr = os.dup(output)
        self.limit: tuple[float, str] | None = None
        # These are originals, because the process may be patched.  A Thread would show in
        # threading.enumerate().
        self._stop = Lock()
        self._stop.acquire()
        self._monotonic = time.monotonic
        self._exit = os._exit
        self._watches = False

    def begin(self, test: str, seconds: float) -> None:
        """Watch *test* for so many seconds."""
        if not self._watches:
            self._watches = True
            start_new_thread(self._run, ())
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=self.stderr)
        self.limit = (self._monotonic() + seconds, test)

    def watch_on(self) -> None:
        """Start faulthandler's timer anew.  pytest's plugin of that name cancels it when a test fails."""
        if self.limit is not None:
            left = max(self.limit[0] - self._monotonic(), 0)
            faulthandler.dump_traceback_later(left + GRACE, exit=True, file=self.stderr)

    def end(self) -> None:
        self.limit = None
        faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        self._stop.release()
        os.close(self.stderr)

    def _run(self) -> None:
        while not self._stop.acquire(timeout=_LOOK):
            limit = self.limit
            if limit is not None and self._monotonic() > limit[0]:
                self._write(f"\n\nTime limit exceeded: {limit[1]}\n\n")
                faulthandler.dump_traceback(self.stderr, all_threads=True)
                self._write(parked_greenlets())
                # A log is cut at its top, and without a GIL the test may have ended since.
                self._write(f"\nTime limit exceeded: {limit[1]}\n")
                self._exit(1)

    def _write(self, text: str) -> None:
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(self.stderr, data) :]


def parked_greenlets() -> str:
    """Return the stacks of all greenlets that are switched out, with equal stacks counted together.

    The collector knows the greenlets, those of other libraries included.  No hub has to answer.
    """
    gc.unfreeze()  # those from before a ``gc.freeze()`` are frozen
    stacks: collections.Counter[str] = collections.Counter()
    for candidate in gc.get_objects():
        if isinstance(candidate, greenlet.greenlet) and candidate.gr_frame is not None:
            stacks["".join(traceback.format_stack(candidate.gr_frame))] += 1
    return "".join(
        f"\nParked greenlets with this stack: {count}\n{stack}" for stack, count in stacks.most_common()
    )


# The time limit.

_watch = pytest.StashKey[Watch]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("greenpool")
    group.addoption(
        "--greenpool-seed",
        metavar="SEED",
        help="run the tests with the marker greenpool under this one schedule: a seed, or a schedule as text",
    )
    group.addoption(
        "--greenpool-clock",
        choices=("jump", "real"),
        help="the clock of each test, in the place of the configuration's; real is also for markers that ask "
        "for no more than hubs and a clock",
    )
    group.addoption(
        "--greenpool-patch",
        action="store_true",
        default=False,
        help="patch the standard library before conftest.py files and tests are imported",
    )
    parser.addini("greenpool_time_limit", "seconds that each test may take (default: no limit)", default="")
    parser.addini(
        "greenpool_clock",
        'the clock of each test: "jump", which needs no real time for sleeps and timeouts, or "real"',
        default="real",
    )
    parser.addini(
        "greenpool_leak_check",
        "whether each test that leaves a greenlet, a thread or a descriptor behind fails",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    _seconds(config)
    _clock(config)
    if config.getoption("greenpool_seed") is not None:
        from .testing.plugin_marker import read_seed

        read_seed(config.getoption("greenpool_seed"))
    config.stash[_watch] = Watch()


def _seconds(config: pytest.Config) -> float | None:
    """The limit of the configuration."""
    text = config.getini("greenpool_time_limit")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not seconds > 0:
        raise pytest.UsageError(f"greenpool_time_limit must be a number of seconds above 0, not {text!r}")
    return seconds


def pytest_unconfigure(config: pytest.Config) -> None:
    watch = config.stash.get(_watch, None)
    if watch is not None:
        del config.stash[_watch]
        watch.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    seconds = _limit(item)
    if seconds is None:
        return (yield)
    watch = item.config.stash[_watch]
    watch.begin(item.nodeid, seconds)
    try:
        return (yield)
    finally:
        watch.end()


def _limit(item: pytest.Item) -> float | None:
    """The time limit of a test; None if it has none."""
    if item.config.getoption("usepdb"):
        return None
    marker = item.get_closest_marker("time_limit")
    return _limit_of(marker, item) if marker else _seconds(item.config)


def _limit_of(marker: pytest.Mark, item: pytest.Item) -> float:
    seconds = marker.args[0] if len(marker.args) == 1 and not marker.kwargs else None
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise pytest.UsageError(
            f"{item.nodeid}: time_limit takes a number of seconds above 0, not {marker.args or marker.kwargs}"
        )
    return seconds


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    node.config.stash[_watch].watch_on()


# Tests under schedules, and patched tests.

_settings: pytest.StashKey[Settings] = pytest.StashKey()
# What is wrong with the marker of a test.
_refused = pytest.StashKey[pytest.UsageError]()
# What the report of a test says in addition: a title and a text.
_section = pytest.StashKey[tuple[str, str]]()
# The report of a child process, in the place of that of this one.
_of_child = pytest.StashKey[pytest.TestReport]()


def _clock(config: pytest.Config) -> str:
    """The clock of the tests that have no marker."""
    clock: str = config.getoption("greenpool_clock") or config.getini("greenpool_clock")
    if clock not in ("jump", "real"):
        raise pytest.UsageError(f'greenpool_clock must be "jump" or "real", not {clock!r}')
    return clock


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    options = early_config.known_args_namespace
    # With -n of pytest-xdist, only the processes that run tests are patched.
    starts_others = "PYTEST_XDIST_WORKER" not in os.environ and (
        getattr(options, "numprocesses", None) or getattr(options, "tx", None)
    )
    if options.greenpool_patch and not starts_others:
        from . import monkey

        monkey.patch_all()


def _take_settings(config: pytest.Config, items: list[pytest.Item]) -> None:
    clock = _clock(config)
    real = config.getoption("greenpool_clock") == "real"
    for item in items:
        if isinstance(item, pytest.Function) and (clock == "jump" or item.get_closest_marker("greenpool")):
            # Imported here, because most sessions do not need it.
            from .testing.plugin_marker import settings_of

            try:
                settings = settings_of(item, clock, real)
            except pytest.UsageError as error:
                # A process of pytest-xdist can only report tests.
                if "PYTEST_XDIST_WORKER" not in os.environ:
                    raise
                item.stash[_refused] = error
                continue
            if settings is not None:
                item.stash[_settings] = settings


def pytest_runtest_setup(item: pytest.Item) -> None:
    refused = item.stash.get(_refused, None)
    if refused is not None:
        raise refused.with_traceback(None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    settings = item.stash.get(_settings, None)
    if settings is None or not isinstance(item, pytest.Function):
        return (yield)
    from .testing.plugin_call import Call

    call = Call(item, settings)
    if not call.needs_process:
        try:
            with call.installed():
                return (yield)
        finally:
            _note_schedule(item, call.report)
    from .testing.plugin_child import Child

    watch = item.config.stash[_watch]
    seconds = _limit(item)
    if seconds is not None:
        # The child has a limit of its own.
        watch.end()
    child = Child(item, seconds, lambda output: _watch_child(item, output))
    if not child.pid:
        error: BaseException | None = None
        try:
            with child.call(), call.installed():
                yield
        except BaseException as caught:
            error = caught
        _note_schedule(item, call.report)
        child.end(error)
    try:
        item.stash[_of_child] = child.report()
    except pytest.fail.Exception:
        stacks = child.stacks()
        if stacks:
            item.stash[_section] = ("stacks of the process", stacks)
        raise
    finally:
        child.close()
        if seconds is not None:
            watch.begin(item.nodeid, seconds)
        # The other plugins see a call, which does nothing.
        instance: Any = item
        instance.runtest = _do_nothing
        try:
            yield
        finally:
            del instance.runtest
    return None


def _do_nothing() -> None:
    pass


def _note_schedule(item: pytest.Item, text: str) -> None:
    if text:
        item.stash[_section] = ("greenpool: the schedule", text)


def _watch_child(item: pytest.Item, output: int) -> None:
    """Have the stacks of this process, a new child, go to *output*."""
    watch = item.config.stash[_watch] = Watch(output)
    seconds = _limit(item)
    if seconds is not None:
        watch.begin(item.nodeid, seconds)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when != "call":
        return report
    section = item.stash.get(_section, None)
    if section is not None:
        del item.stash[_section]
        failure: Any = report.longrepr
        if hasattr(failure, "addsection"):
            failure.addsection(*section)
        else:
            report.sections.append(section)
    of_child = item.stash.get(_of_child, None)
    if of_child is not None:
        del item.stash[_of_child]
        return of_child
    return report


# What is left behind.


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _take_settings(config, items)
    for_all = config.getini("greenpool_leak_check")
    for item in items:
        if isinstance(item, pytest.Function) and (for_all or item.get_closest_marker("leak_check")):
            if "leak_check" not in item.fixturenames:
                # In front: the other fixtures of the test end before it looks.
                item.fixturenames.insert(0, "leak_check")


def open_descriptors() -> dict[int, str]:
    """Return the open descriptors of this process and, on Linux, what each one refers to."""
    found = {}
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        try:
            os.fstat(descriptor)
            found[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}") if sys.platform == "linux" else "?"
        except OSError:
            # This is the one that listed the directory, or a thread of an earlier test has closed it since.
            continue
    return found


def _greenlets() -> dict[int, GreenletInfo]:
    """The greenlets of all hubs, without the main programs of their threads."""
    from .inspect import snapshot

    return {each.ident: each for each in snapshot(stacks=False).greenlets if each.age is not None}


@pytest.fixture
def leak_check() -> Iterator[None]:
    """Fail the test if it leaves a greenlet, an OS thread or a descriptor behind."""
    from ._core.current import current_hub
    from ._core.waiter import sleep

    # The hub of pytest's own thread lives as long as that thread, so make it before the test.
    current_hub()
    gc.collect()
    threads = set(threading.enumerate())
    descriptors = open_descriptors()
    greenlets = set(_greenlets())
    yield
    limit = time.monotonic() + _PATIENCE
    while not _greenlets().keys() <= greenlets and time.monotonic() < limit:
        sleep(0.001)
    gc.collect()
    left = [
        *(
            f"greenlet {each.name} ({each.state})"
            for ident, each in _greenlets().items()
            if ident not in greenlets
        ),
        *(f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads),
        *(
            f"descriptor {number} ({target})"
            for number, target in open_descriptors().items()
            if descriptors.get(number) != target
        ),
    ]
    assert not left, f"left behind: {', '.join(left)}"


@pytest.fixture
def greenpool_runtime() -> Iterator[Runtime]:
    """A pool of two hubs, which is shut down after the test."""
    from .runtime import Runtime

    with Runtime(2) as runtime:
        yield runtime
