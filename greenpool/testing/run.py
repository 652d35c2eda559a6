"""One run under a schedule.

``fn`` runs as the main program of a new pool, on a new OS thread: no hub of the caller takes part.  An
exception that ends a greenlet of the run, and that nobody has asked for with ``get``, is an error of the run.

*What is the same for the same seed*: all that greenpool decides, the clock, the ``random`` module, which is
seeded, and the numbers of threads without names.  The order of a set of strings (``PYTHONHASHSEED``) or of
objects, addresses, ``os.urandom`` and what comes in from other processes are not.  The garbage collector
rests meanwhile, because finalizers would run at any moment.

*Threads*: one run at a time in a process.
"""

from __future__ import annotations

import contextvars
import gc
import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .._core import error_report, task
from .._core.current import getcurrent, set_thread_hub
from .._core.hub import Hub
from .._core.native import Lock, original_threading
from .._core.scheduled import ScheduledPoller, Scheduler, Step
from .._core.waiter import yield_now
from ..runtime import run_in_turns
from . import clock as _clock
from . import points
from .arguments import Clock, Preempt, check_caller, check_program, check_seed, check_settings
from .schedule import Schedule, schedule_of_seed

if TYPE_CHECKING:
    from .page import Path

T = TypeVar("T")

_one_run = Lock()


class Settings(NamedTuple):
    """What the runs of one program have in common."""

    hubs: int
    clock: Clock
    steps: int | None
    patch: bool = False
    preempt: Preempt = "operations"


class Outcome:
    """What came of a run."""

    __slots__ = ("value", "error", "choices", "steps", "trace")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.choices: list[int] = []
        self.steps = 0
        self.trace: list[Step] = []


@contextmanager
def instruments(patched: bool, only_clock: bool = False, preempt: Preempt = "operations") -> Iterator[None]:
    """What runs need: the clock and the points; installed once for many runs.

    *only_clock* leaves the points out, for a run in the order that greenpool takes by itself.
    """
    check_caller()
    with ExitStack() as stack:
        if not _one_run.acquire(False):
            raise RuntimeError("another run of greenpool.testing is on in this process")
        stack.callback(_one_run.release)
        stack.enter_context(_clock.installed())
        if not only_clock:
            stack.enter_context(points.installed(patched))
        if preempt == "lines":
            # Imported here, because it brings ``dis`` along.
            from .lines import monitored

            stack.enter_context(monitored(patched))
        yield


class _Reports:
    """Collects the exceptions that end greenlets of a run."""

    def __init__(self) -> None:
        self.errors: list[tuple[object, BaseException]] = []
        self.asked_for: list[object] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        report = error_report.report_error
        get = task.Task.get

        def collect(hub: Any, source: str, exception: BaseException) -> None:
            if isinstance(exception, (KeyboardInterrupt, SystemExit)):
                report(hub, source, exception)
            else:
                self.errors.append((getattr(getcurrent(), "task", None), exception))

        def noted_get(this: Any, *args: Any, **kwargs: Any) -> Any:
            self.asked_for.append(this)
            return get(this, *args, **kwargs)

        def excepthook(args: Any) -> None:
            # As in ``threading``, where it ends a thread silently.
            if not isinstance(args.exc_value, SystemExit):
                self.errors.append((None, args.exc_value))

        names: Any = task
        kind: Any = task.Task
        hook = threading.excepthook
        names.report_error = collect
        kind.get = noted_get
        threading.excepthook = excepthook
        try:
            yield
        finally:
            names.report_error = report
            kind.get = get
            threading.excepthook = hook

    def first(self) -> BaseException | None:
        for source, error in self.errors:
            if source is None or not any(source is asked for asked in self.asked_for):
                return error
        return None


def run_once(
    fn: Callable[[], object],
    schedule: Schedule,
    settings: Settings,
    seed: int = 0,
    traced: bool = False,
    page: Path | None = None,
    collects_errors: bool = True,
) -> Outcome:
    """Run *fn* under *schedule*, with the instruments installed; *page* is a file to draw the run in.

    With *collects_errors* an exception that ends a greenlet is an error of the run; otherwise it is reported
    as in any program.
    """
    scheduler = Scheduler(schedule, settings.clock == "jump", settings.steps)
    if traced:
        scheduler.trace = []
    if settings.preempt == "lines" and not hasattr(sys, "monitoring"):
        from .lines import tracer

        scheduler.tracer = tracer(scheduler, settings.patch)
    outcome = Outcome()
    reports = _Reports()
    ended = Lock()
    ended.acquire()

    def body() -> None:
        try:
            hub = Hub("main", poller=lambda: ScheduledPoller(scheduler))
            set_thread_hub(hub, close_with_thread=True)
            if settings.hubs:
                outcome.value = run_in_turns(fn, settings.hubs, lambda: ScheduledPoller(scheduler), scheduler)
            else:
                # The loop has to begin before the schedule chooses: its first turn is its start.
                yield_now()
                scheduler.begin()
                outcome.value = fn()
        except BaseException as error:
            outcome.error = error
        finally:
            scheduler.end()
            ended.release()

    state = random.getstate()
    collects = gc.isenabled()
    gc.disable()
    random.seed(seed)
    names: Any = threading
    numbers, names._counter = names._counter, itertools.count(1).__next__
    active = set(names._active)
    _clock.Current.scheduler = scheduler
    try:
        with ExitStack() as stack:
            if collects_errors:
                stack.enter_context(reports.collected())
            if page is not None:
                # Imported here, because few runs need it.
                from .page import recorded

                stack.enter_context(recorded(scheduler, page))
            context = contextvars.copy_context()
            thread = original_threading().Thread(
                target=context.run, args=(body,), daemon=True, name="greenpool-run"
            )
            thread.start()
            ended.acquire()
            thread.join()
    finally:
        _clock.Current.scheduler = None
        random.setstate(state)
        names._counter = numbers
        with names._active_limbo_lock:
            # Stand-ins for threads that ``threading`` has not started: their identifiers are given again.
            for ident, entry in list(names._active.items()):
                if ident not in active and isinstance(entry, names._DummyThread):
                    del names._active[ident]
        if collects:
            gc.enable()
    if outcome.error is None:
        outcome.error = reports.first()
    outcome.choices = scheduler.choices
    outcome.steps = scheduler.taken + scheduler.count
    outcome.trace = scheduler.trace or []
    return outcome


def run(
    fn: Callable[[], T],
    *,
    hubs: int = 2,
    seed: int | None = None,
    clock: Clock = "jump",
    patch: bool = False,
    steps: int | None = None,
    preempt: Preempt = "operations",
) -> T:
    """Run *fn* as ``greenpool.run`` does, one hub at a time, in an order that *seed* decides.

    The same seed gives the same run.  None draws one; an exception then has it in a note.

    *hubs*: the number of hubs of the pool.  With 0 there is no pool: *fn* and its greenlets share one hub, as
    in a program that makes no pool, and greenlets that are left end with *fn*. *clock*: with "jump", time
    stands still while anything is ready, and jumps to the next timer when nothing is. With "real", time is
    that of the machine. *patch*: run *fn* in a patched program.  If this process is not patched, that is a
    child process, made by a fork; *fn*'s value and exception are pickled. *steps*: the number of choices
    after which the run ends with ``StepsExceeded``; None means that it may go on. *preempt*: with "lines",
    hubs and the threads of a patched program are preempted between any two lines of the program's own code,
    too, and before each call and store of a line.  A seed then belongs to one version of Python.

    Raises what *fn* raises, and the first exception that ended a greenlet and that no ``get`` has asked for.
    Raises LoopExit at once if every greenlet waits and nothing can wake one, with what each waits for.  Call
    it outside of every pool; one run at a time in a process.  Raises RuntimeError in a greenlet or if a run
    is on.
    """
    check_program(fn)
    settings = Settings(hubs, clock, steps, patch, preempt)
    check_settings(*settings)
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    check_seed(seed)
    if patch:
        from .patched import is_patched, run_patched

        if not is_patched():
            value: T = run_patched(run, fn, seed=seed, **settings._asdict())
            return value
    with instruments(patch, preempt=preempt):
        outcome = run_once(fn, schedule_of_seed(seed), settings, seed)
    if outcome.error is not None:
        outcome.error.add_note(f"greenpool.testing: seed={seed}")
        raise outcome.error
    value = outcome.value
    return value
