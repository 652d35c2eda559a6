"""Programs of a few greenlets on two hubs, which use one primitive under a schedule.

A program has a list of steps for each of its greenlets. A step is the name of an operation, with arguments.
Two steps are no operations of the primitive: ``sleep``, and ``kill`` of the greenlet so many places further.
``play`` runs a program until nothing goes on any more, and checks the history against the primitive's model.

The schedule comes from hypothesis, together with the program (``drawn``), or from ``explore`` (``explored``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import testing

from .histories import History, Model, check

# A thousand are the long run; see docs/internals.md.
SCHEDULES = int(os.environ.get("GREENPOOL_TEST_SCHEDULES", "25"))
HUBS = 2
# Seconds of simulated time: one step of sleep, and longer than every program.
STEP = 0.01
LONG = 1000.0

Step = tuple[Any, ...]
Program = Sequence[Sequence[Step]]
# How the operation of a name is carried out on the primitive.
Operations = dict[str, Callable[..., object]]

# What every greenlet may do besides.
PAUSES = st.tuples(st.just("sleep"), st.integers(0, 3))
KILLS = st.tuples(st.just("kill"), st.integers(1, 3))


class Subject:
    """A primitive, its model, and its operations."""

    def __init__(
        self,
        make: Callable[[], Any],
        model: Model,
        operations: Operations,
        steps: st.SearchStrategy[Any],
        last: Program = (),
    ) -> None:
        self.make = make
        self.model = model
        self.operations = operations
        # What a greenlet of a drawn program may do.
        self.steps = steps
        # What the main program does when all others are dead. No dead one gets any of it.
        self.last = last


def play(subject: Subject, program: Program) -> None:
    """Run *program* and check its history, with the waits of those that are left, and after their end."""
    handle = greenpool.current_handle()
    assert handle is not None
    primitive = subject.make()
    history = History()
    actors: list[greenpool.Greenlet[None]] = []

    def act(actor: object, steps: Sequence[Step]) -> None:
        for name, *args in steps:
            if name == "sleep":
                greenpool.sleep(args[0] * STEP)
            elif name == "kill":
                assert isinstance(actor, int)
                actors[(actor + args[0]) % len(actors)].kill(block=False)
            else:
                history.call(actor, name, partial(subject.operations[name], primitive), *args)

    # All are known before the first one runs, so that it can kill every other.
    actors += [greenpool.Greenlet(act, number, steps) for number, steps in enumerate(program)]
    for number, actor in enumerate(actors):
        handle.place(actor, number % HUBS)
    greenpool.sleep(LONG)
    check(subject.model, history)
    greenpool.killall(actors)
    assert all(actor.dead for actor in actors)
    for steps in subject.last:
        act("main", steps)
    check(subject.model, history)


def explored(subject: Subject, program: Program) -> None:
    """Run *program* under many schedules."""
    testing.explore(lambda: play(subject, program), schedules=SCHEDULES, hubs=HUBS)


def drawn(subject: Subject, examples: int = 2 * SCHEDULES) -> None:
    """Run programs and schedules that hypothesis draws, and shrink both if one fails."""
    programs = st.lists(st.lists(subject.steps, min_size=1, max_size=5), min_size=2, max_size=4)

    @settings(max_examples=examples, deadline=None)
    @given(programs, testing.schedules())
    def run(program: Program, schedule: str) -> None:
        testing.replay(lambda: play(subject, program), schedule, hubs=HUBS)

    run()
