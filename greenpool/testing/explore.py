"""Many schedules of one program, and the replay of one."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import TypeVar

from .._core import PACKAGE
from .._core.errors import LoopExit
from .._core.scheduled import Step
from .arguments import Clock, Preempt, check_program, check_schedules, check_seed, check_settings
from .page import Path, check_page
from .run import Outcome, Settings, instruments, run, run_once
from .schedule import Recorded, schedule_of_seed
from .shrink import shrink

T = TypeVar("T")

# Runs that may be spent on a shorter schedule, and choices: a run that goes on for ever takes very many.
ATTEMPTS = 200
ATTEMPTED_STEPS = 200_000
# The choices that a run of explore may take: a program that goes on for ever under one schedule fails.
STEPS = 100_000
# Exceptions by which a test says that it is to be skipped: those of pytest and unittest.
SKIPS = ("Skipped", "SkipTest")


class ScheduleFailed(AssertionError):
    """A program that fails under a schedule.

    *seed* is the seed under which it failed, *error* what it raised.  *schedule* is the shortest schedule
    that was found, as text for ``replay``, and *trace* says what happens under it.
    """

    __module__ = "greenpool.testing"

    def __init__(self, seed: int, tried: int, error: BaseException, schedule: str, trace: str) -> None:
        text = (
            f"{type(error).__name__}: {error}\n"
            f"under schedule {tried}: replay(fn, seed={seed}), or the shortest that was found: "
            f"replay(fn, {schedule!r})\n{trace}"
        )
        super().__init__(text)
        self.seed = seed
        self.tried = tried
        self.error = error
        self.schedule = schedule
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        try:
            pickle.loads(pickle.dumps(self.error))
            error = self.error
        except Exception:
            error = RuntimeError(f"{type(self.error).__name__}: {self.error}")
        return type(self), (self.seed, self.tried, error, self.schedule, self.trace)


def explore(
    fn: Callable[[], object],
    *,
    schedules: int = 1000,
    hubs: int = 2,
    seed: int = 0,
    clock: Clock = "jump",
    patch: bool = False,
    steps: int | None = STEPS,
    preempt: Preempt = "operations",
    page: Path | None = None,
) -> None:
    """Run *fn* under so many *schedules*, those of the seeds from *seed* on.

    Raises ScheduleFailed for the first that fails.  *page*: the file, named "....html" or "....json", in
    which the shortest schedule that fails is drawn, as ``greenpool.trace`` does.  The other arguments are
    those of ``run``.
    """
    check_program(fn)
    check_page(page)
    check_schedules(schedules)
    check_seed(seed)
    settings = Settings(hubs, clock, steps, patch, preempt)
    check_settings(*settings)
    if patch:
        from .patched import is_patched, run_patched

        if not is_patched():
            run_patched(explore, fn, schedules=schedules, seed=seed, page=page, **settings._asdict())
            return
    with instruments(patch, preempt=preempt):
        for number in range(schedules):
            tried = seed + number
            outcome = run_once(fn, schedule_of_seed(tried), settings, tried)
            if outcome.error is not None:
                raise _failure(fn, tried, number + 1, outcome, settings, page) from outcome.error


def _failure(
    fn: Callable[[], object],
    seed: int,
    tried: int,
    outcome: Outcome,
    settings: Settings,
    page: Path | None,
) -> BaseException:
    error = outcome.error
    assert error is not None
    if isinstance(error, (KeyboardInterrupt, SystemExit)) or type(error).__name__ in SKIPS:
        return error
    fault = _fault_of(error)
    steps = 0

    def fails(choices: list[int]) -> list[int] | None:
        nonlocal steps
        if steps > ATTEMPTED_STEPS:
            return None
        again = run_once(fn, Recorded(choices), settings, seed)
        steps += again.steps
        return again.choices if again.error is not None and _fault_of(again.error) == fault else None

    choices = shrink(outcome.choices, fails, ATTEMPTS)
    last = run_once(fn, Recorded(choices), settings, seed, traced=True, page=page)
    return ScheduleFailed(
        seed, tried, last.error or error, schedule_text(seed, choices), trace_text(last.trace)
    )


def _fault_of(error: BaseException) -> tuple[type, str, int]:
    """What makes a fault the same one: its kind, and the line of the program that raised it."""
    file, line = "", 0
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            file, line = code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
    # Which of those that wait forever is told of the deadlock makes no difference.
    return (LoopExit, "", 0) if isinstance(error, LoopExit) else (type(error), file, line)


def replay(
    fn: Callable[[], T],
    seed: int | str,
    *,
    hubs: int = 2,
    clock: Clock = "jump",
    patch: bool = False,
    steps: int | None = STEPS,
    preempt: Preempt = "operations",
) -> T:
    """Run *fn* once more under the schedule of *seed*, or of a ScheduleFailed's ``schedule``.

    Returns and raises what ``run`` does.
    """
    if not isinstance(seed, str):
        check_seed(seed, ", or a schedule as text")
        return run(fn, hubs=hubs, seed=seed, clock=clock, patch=patch, steps=steps, preempt=preempt)
    check_program(fn)
    settings = Settings(hubs, clock, steps, patch, preempt)
    check_settings(*settings)
    number, choices = read_schedule(seed)
    if patch:
        from .patched import is_patched, run_patched

        if not is_patched():
            value: T = run_patched(replay, fn, seed, **settings._asdict())
            return value
    with instruments(patch, preempt=preempt):
        outcome = run_once(fn, Recorded(choices), settings, number)
    if outcome.error is not None:
        raise outcome.error
    value = outcome.value
    return value


def schedule_text(seed: int, choices: Sequence[int]) -> str:
    """A schedule as text: the seed, and the place and index of each choice that is not the default."""
    return f"{seed}:" + ",".join(f"{place}={choice}" for place, choice in enumerate(choices) if choice)


def read_schedule(text: str) -> tuple[int, list[int]]:
    try:
        seed, _, listed = text.partition(":")
        pairs = [tuple(map(int, pair.split("="))) for pair in listed.split(",") if pair]
        choices = [0] * (1 + max((place for place, _ in pairs), default=-1))
        for place, choice in pairs:
            choices[place] = choice
        return int(seed), choices
    except ValueError:
        raise ValueError(f"not a schedule of greenpool.testing: {text!r}") from None


def trace_text(steps: Sequence[Step]) -> str:
    """One line for each time that another greenlet goes on."""
    lines = []
    actor, hub, place, what = "main", "main", "", ""
    for step in steps:
        if step.place:
            place, what = step.place, step.what
        if not step.actor:
            continue  # a loop, which takes in posts and fires timers
        if step.actor != actor:
            before = f"{what or 'parks or ends'} at {place}" if place else "ends"
            lines.append(f"{step.at:12.6f}  {actor} on {hub}: {before}; {step.actor} on {step.hub} goes on")
            place = what = ""
        actor, hub = step.actor, step.hub
    return "\n".join(lines)
