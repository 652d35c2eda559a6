"""Greenlets and threads that carry out one command at a time, for state machines to drive.

A machine gives a command to a worker and then calls ``settle``, which returns when every worker has either
finished its command or is parked in it, and all that follows from that has happened, too.  So what the
machine then sees is determined, wherever the workers live.  Timeouts are not waited for, but made to happen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

import greenpool
from greenpool._core.current import current_greenlet
from greenpool._core.inbox import Call
from greenpool._core.waiter import Waiter, interrupt

PLACEMENTS = ("one hub", "four hubs", "hubs and threads")

FEW = settings(max_examples=20, stateful_step_count=25)

# Which of several workers a step is about; taken modulo their number.
picks = st.integers(min_value=0, max_value=11)

# A worker can follow another only by so many switches from hub to hub.
ROUNDS = 3


class Killed(BaseException):
    """What a machine kills its workers with."""


class _Pending:
    def __repr__(self) -> str:
        return "PENDING"


PENDING = _Pending()


class Worker:
    def __init__(self, number: int) -> None:
        self.number = number
        self.greenlet: Any = None
        self.outcome: Any = None
        # Whether its time can be over in the command that it was given.
        self.timed = True
        self._lock = threading.Lock()
        self._waiter: Waiter | None = None
        self._started = threading.Event()

    def __repr__(self) -> str:
        return f"worker {self.number}"

    def run(self) -> None:
        """The worker itself, in a greenlet or as the main program of a thread."""
        self.greenlet = current_greenlet()
        while (command := self._next()) is not None:
            try:
                self.outcome = command()
            except BaseException as exception:
                self.outcome = exception

    def _next(self) -> Callable[[], object] | None:
        while True:
            self._waiter = Waiter(self._lock)
            self._started.set()
            try:
                self._waiter.park()
                return self._waiter.value
            except Killed:
                pass  # it came too late for the command it was meant for

    # The machine's side.

    def wait_until_started(self) -> None:
        self._started.wait()

    def give(self, command: Callable[[], object] | None) -> None:
        self.outcome = PENDING
        assert self._waiter is not None and self._waiter.wake(command)

    def end_of_wait(self, kill: bool) -> Callable[[], object]:
        """What kills it in the wait that it is in now or, without *kill*, lets its time be over."""
        assert kill or self.timed
        hub = self.greenlet.hub
        if kill:
            return partial(hub.inbox.post, Call(interrupt, self.greenlet, Killed()))
        return partial(hub.inbox.post, Call(self.greenlet.waiter._expire))


class Workers:
    def __init__(self, placement: str, count: int) -> None:
        self.all = [Worker(number) for number in range(count)]
        self.runtime = greenpool.Runtime(pool_size=1 if placement == "one hub" else 4)
        self.threads: list[threading.Thread] = []
        handle = self.runtime.handle()
        for number, worker in enumerate(self.all):
            if placement == "hubs and threads" and number % 2:
                thread = threading.Thread(target=worker.run)
                thread.start()
                self.threads.append(thread)
            else:
                handle.spawn_on(number % handle.pool_size, worker.run)
        for worker in self.all:
            worker.wait_until_started()
        self.hubs = {worker.greenlet.hub for worker in self.all}
        self.settle()

    def settle(self) -> None:
        for _ in range(ROUNDS):
            events = [threading.Event() for _ in self.hubs]
            for hub, event in zip(self.hubs, events, strict=True):
                # One pass takes in what was posted before, the next one runs what that made ready.
                hub.inbox.post(Call(hub.inbox.post, Call(event.set)))
            for event in events:
                event.wait()

    def close(self) -> None:
        for worker in self.all:
            worker.give(None)
        for thread in self.threads:
            thread.join()
        self.runtime.shutdown_on_idle()


class Machine(RuleBasedStateMachine):
    """What the machines share: workers, and for each of them what its command must have come to."""

    placement = "one hub"
    workers_count = 6

    def __init__(self) -> None:
        super().__init__()
        self.workers = Workers(self.placement, self.workers_count)
        # Those that wait, each with its command's result once it no longer has to.
        self.blocked: list[Worker] = []

    def worker(self, pick: int, among: list[Worker] | None = None) -> Worker:
        """One of those that do not wait, or of *among*."""
        if among is None:
            among = self.idle
        return among[pick % len(among)]

    @property
    def idle(self) -> list[Worker]:
        return [worker for worker in self.workers.all if worker not in self.blocked]

    def run(self, worker: Worker, command: Callable[[], object]) -> None:
        worker.give(command)
        self.workers.settle()

    def returns(self, worker: Worker, command: Callable[[], object], expected: object) -> None:
        """It does not wait, and gives *expected*, or raises where that is an exception's class."""
        self.run(worker, command)
        self.check(worker, expected)

    def waits(self, worker: Worker, command: Callable[[], object]) -> None:
        self.run(worker, command)
        self.blocked.append(worker)
        self.check_blocked()

    def came_back(self, worker: Worker, expected: object) -> None:
        """Its wait is over."""
        self.blocked.remove(worker)
        self.check(worker, expected)

    def check(self, worker: Worker, expected: object) -> None:
        outcome = worker.outcome
        if isinstance(expected, type) and issubclass(expected, BaseException):
            assert type(outcome) is expected, (worker, outcome)
        else:
            assert outcome == expected, (worker, outcome, expected)

    def check_blocked(self) -> None:
        for worker in self.blocked:
            assert worker.outcome is PENDING, (worker, worker.outcome)

    def kill_all(self) -> None:
        """Also what every rule with a race ends with, as hypothesis wants to know what state it leaves."""
        for worker in self.blocked:
            worker.end_of_wait(kill=True)()
        self.workers.settle()
        for worker in list(self.blocked):
            self.came_back(worker, Killed)

    def teardown(self) -> None:
        self.kill_all()
        self.workers.close()


def cases(machine: type[Machine]) -> dict[str, Any]:
    """A test case of *machine* for each placement."""
    found = {}
    for placement in PLACEMENTS:
        name = f"Test{machine.__name__}{placement.title().replace(' ', '')}"
        variant = type(machine.__name__, (machine,), {"placement": placement})
        case: Any = variant.TestCase
        case.settings = FEW
        found[name] = type(name, (case,), {"__module__": machine.__module__})
    return found
