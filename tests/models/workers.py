"""Greenlets and threads that carry out one command at a time, for state machines to drive.

A machine gives a command to a worker and then calls ``settle``. That returns when every worker has finished
its command or is parked in it, and all consequences have happened, too. So the state that the machine then
sees is determined, no matter which hubs the workers are on. No timeout is waited for: the machine expires it.
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

# The worker that a step is about, as an index modulo the number of workers.
picks = st.integers(min_value=0, max_value=11)

# The number of switches from hub to hub after which all consequences of a command have happened.
ROUNDS = 3


class Killed(BaseException):
    """The exception that a machine kills its workers with."""


class _Pending:
    def __repr__(self) -> str:
        return "PENDING"


PENDING = _Pending()


class Worker:
    def __init__(self, number: int) -> None:
        self.number = number
        self.greenlet: Any = None
        self.outcome: Any = None
        # Whether the command that it was given may time out.
        self.timed = True
        self._lock = threading.Lock()
        self._waiter: Waiter | None = None
        self._started = threading.Event()

    def __repr__(self) -> str:
        return f"worker {self.number}"

    def run(self) -> None:
        """The worker's own loop, in a greenlet or as the main program of a thread."""
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
                pass  # the kill came too late for its command

    # The machine's side.

    def wait_until_started(self) -> None:
        self._started.wait()

    def give(self, command: Callable[[], object] | None) -> None:
        self.outcome = PENDING
        assert self._waiter is not None and self._waiter.wake(command)

    def end_of_wait(self, kill: bool) -> Callable[[], object]:
        """Return a function that kills the worker in its present wait or, without *kill*, expires it."""
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
                # The first pass takes in earlier posts, the next one runs the greenlets made ready.
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
    """The base of the machines: workers, and for each of them the outcome that its command must have."""

    placement = "one hub"
    workers_count = 6

    def __init__(self) -> None:
        super().__init__()
        self.workers = Workers(self.placement, self.workers_count)
        # The workers that wait.
        self.blocked: list[Worker] = []

    def worker(self, pick: int, among: list[Worker] | None = None) -> Worker:
        """Pick a worker of *among* or, without it, one that does not wait."""
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
        """Check that the command returns *expected* without waiting, or raises it if it is an exception."""
        self.run(worker, command)
        self.check(worker, expected)

    def waits(self, worker: Worker, command: Callable[[], object]) -> None:
        self.run(worker, command)
        self.blocked.append(worker)
        self.check_blocked()

    def came_back(self, worker: Worker, expected: object) -> None:
        """Note that the worker's wait is over, and check its outcome."""
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
        """Kill all waiting workers. A rule with a race ends with this, as hypothesis needs a known state."""
        for worker in self.blocked:
            worker.end_of_wait(kill=True)()
        self.workers.settle()
        for worker in list(self.blocked):
            self.came_back(worker, Killed)

    def teardown(self) -> None:
        self.kill_all()
        self.workers.close()


def cases(machine: type[Machine]) -> dict[str, Any]:
    """Make a test case of *machine* for each placement."""
    found = {}
    for placement in PLACEMENTS:
        name = f"Test{machine.__name__}{placement.title().replace(' ', '')}"
        variant = type(machine.__name__, (machine,), {"placement": placement})
        case: Any = variant.TestCase
        case.settings = FEW
        found[name] = type(name, (case,), {"__module__": machine.__module__})
    return found
