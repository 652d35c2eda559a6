"""Condition and Barrier beside plain models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from greenpool.lock import Barrier, BrokenBarrierError, Condition, Lock, RLock

from .workers import PENDING, Killed, Machine, Worker, cases, picks


class ConditionMachine(Machine):
    """The lock's owner, the queue for the lock (workers with later results), and the workers in wait."""

    def __init__(self) -> None:
        super().__init__()
        self.owner: Worker | None = None
        self.queue: list[tuple[Worker, Any]] = []
        # The workers of the queue that are in acquire, not in wait.
        self.acquiring: list[Worker] = []
        self.waiting: list[Worker] = []
        # Workers killed after they were notified. Each passes its notification on when it has the lock.
        self.spoiled: list[Worker] = []

    @initialize(lock=st.sampled_from([Lock, RLock]))
    def make(self, lock: Callable[[], Any]) -> None:
        self.condition = Condition(lock())

    def hand_over(self) -> None:
        while self.owner is None and self.queue:
            self.owner, result = self.queue.pop(0)
            self.came_back(self.owner, result)
            if self.owner in self.acquiring:
                self.acquiring.remove(self.owner)
            if self.owner in self.spoiled:
                self.spoiled.remove(self.owner)
                self.wake(1)
        self.check_blocked()

    def wake(self, n: int) -> None:
        self.queue += [(worker, True) for worker in self.waiting[:n]]
        del self.waiting[:n]

    @precondition(lambda self: self.idle)
    @rule(pick=picks)
    def acquire(self, pick: int) -> None:
        worker = self.worker(pick)
        if self.owner is None:
            self.owner = worker
            self.returns(worker, self.condition.acquire, True)
        elif worker is not self.owner:
            self.waits(worker, self.condition.acquire)
            self.queue.append((worker, True))
            self.acquiring.append(worker)

    @precondition(lambda self: self.owner)
    @rule()
    def release(self) -> None:
        assert self.owner is not None
        self.returns(self.owner, self.condition.release, None)
        self.owner = None
        self.hand_over()

    @precondition(lambda self: self.owner)
    @rule()
    def wait(self) -> None:
        worker = self.owner
        assert worker is not None
        self.owner = None
        self.waiting.append(worker)
        worker.give(self.condition.wait)
        self.blocked.append(worker)
        self.workers.settle()
        self.hand_over()

    @precondition(lambda self: self.owner)
    @rule()
    def notify(self) -> None:
        assert self.owner is not None
        self.returns(self.owner, self.condition.notify, None)
        self.wake(1)
        self.check_blocked()

    @precondition(lambda self: self.owner and not self.queue)
    @rule(n=st.sampled_from([2, 3, None]))
    def notify_many(self, n: int | None) -> None:
        if n is None:
            command = self.condition.notify_all
        else:
            command = partial(self.condition.notify, n)
        assert self.owner is not None
        self.returns(self.owner, command, None)
        self.check_blocked()
        self.pass_on(dict.fromkeys(self.waiting[:n], True))

    def pass_on(self, outcomes: dict[Worker, Any]) -> None:
        """Free the lock until all workers of *outcomes*, and no others, have had it.

        The order depends on which hub asks for the lock first.
        """
        self.waiting = [worker for worker in self.waiting if worker not in outcomes]
        while self.owner is not None:
            self.returns(self.owner, self.condition.release, None)
            self.owner = None
            for worker in list(self.blocked):
                if worker.outcome is not PENDING:
                    assert self.owner is None
                    self.owner = worker
                    self.came_back(worker, outcomes.pop(worker))
        assert not outcomes

    @precondition(lambda self: self.idle and not self.owner)
    @rule(pick=picks)
    def misuse(self, pick: int) -> None:
        self.returns(self.worker(pick), self.condition.wait, RuntimeError)
        self.returns(self.worker(pick), self.condition.notify, RuntimeError)

    @precondition(lambda self: self.waiting)
    @rule(pick=picks, kill=st.booleans())
    def give_up_waiting(self, pick: int, kill: bool) -> None:
        worker = self.worker(pick, self.waiting)
        worker.end_of_wait(kill)()
        self.workers.settle()
        self.waiting.remove(worker)
        self.queue.append((worker, Killed if kill else False))
        self.hand_over()

    @precondition(lambda self: self.queue)
    @rule(pick=picks)
    def kill_one_that_needs_the_lock(self, pick: int) -> None:
        worker, result = entry = self.queue[pick % len(self.queue)]
        worker.end_of_wait(kill=True)()
        self.workers.settle()
        self.queue.remove(entry)
        if worker in self.acquiring:
            self.acquiring.remove(worker)
            self.came_back(worker, Killed)
        else:
            # A worker in wait goes on until it has the lock again. Then it raises whichever came first.
            self.queue.append((worker, Killed))
            if result is True:
                self.spoiled.append(worker)
        self.check_blocked()

    @precondition(lambda self: self.owner and len(self.waiting) > 1 and not self.queue)
    @rule()
    def notify_while_the_first_is_killed(self) -> None:
        assert self.owner is not None
        first, second = self.waiting[:2]
        self.owner.give(self.condition.notify)
        first.end_of_wait(kill=True)()
        self.workers.settle()
        self.check(self.owner, None)
        self.check_blocked()
        self.pass_on({first: Killed, second: True})

    def teardown(self) -> None:
        while self.blocked or self.owner:
            if self.owner is None:
                for worker in list(self.waiting):
                    worker.end_of_wait(kill=True)()
                    self.workers.settle()
                    self.waiting.remove(worker)
                    self.queue.append((worker, Killed))
                self.hand_over()
            else:
                self.release()
        super().teardown()


class BarrierMachine(Machine):
    """The number of waiting workers. Workers that come after a full round wait for the next round."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.make(1)

    @initialize(parties=st.integers(min_value=1, max_value=4))
    def make(self, parties: int) -> None:
        self.barrier = Barrier(parties, self.act)
        self.actions = self.expected_actions = 0

    def act(self) -> None:
        self.actions += 1

    @rule(pick=picks)
    def wait(self, pick: int) -> None:
        worker = self.worker(pick)
        if self.broken:
            self.returns(worker, self.barrier.wait, BrokenBarrierError)
        elif len(self.blocked) + 1 < self.barrier.parties:
            self.waits(worker, self.barrier.wait)
        else:
            self.returns(worker, self.barrier.wait, self.barrier.parties - 1)
            self.expected_actions += 1
            for number, other in enumerate(list(self.blocked)):
                self.came_back(other, number)

    @rule(pick=picks, broken=st.booleans())
    def end_round(self, pick: int, broken: bool) -> None:
        command = self.barrier.abort if broken else self.barrier.reset
        self.returns(self.worker(pick), command, None)
        self.broken = broken
        for worker in list(self.blocked):
            self.came_back(worker, BrokenBarrierError)

    @precondition(lambda self: self.blocked)
    @rule(pick=picks)
    def kill(self, pick: int) -> None:
        worker = self.worker(pick, self.blocked)
        worker.end_of_wait(kill=True)()
        self.workers.settle()
        self.came_back(worker, Killed)
        self.check_blocked()

    @precondition(lambda self: self.blocked)
    @rule(pick=picks)
    def time_out(self, pick: int) -> None:
        self.worker(pick, self.blocked).end_of_wait(kill=False)()
        self.workers.settle()
        self.broken = True
        for worker in list(self.blocked):
            self.came_back(worker, BrokenBarrierError)

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, which=picks)
    def kill_one_while_another_comes(self, pick: int, which: int) -> None:
        leaving = self.worker(which, self.blocked)
        coming = self.worker(pick)
        waiting = len(self.blocked)
        coming.give(self.barrier.wait)
        leaving.end_of_wait(kill=True)()
        self.workers.settle()
        self.blocked.append(coming)
        if waiting + 1 == self.barrier.parties and type(leaving.outcome) is not Killed:
            self.expected_actions += 1
            outcomes = [worker.outcome for worker in self.blocked]
            assert outcomes == list(range(self.barrier.parties))
            self.blocked.clear()
        else:
            self.came_back(leaving, Killed)
            self.kill_all()
        self.make(self.barrier.parties)

    @invariant()
    def state(self) -> None:
        assert self.actions == self.expected_actions
        assert self.barrier.broken == self.broken
        assert self.barrier.n_waiting == len(self.blocked)


globals().update(cases(ConditionMachine))
globals().update(cases(BarrierMachine))
