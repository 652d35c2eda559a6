"""Lock, RLock, Semaphore and BoundedSemaphore beside plain models."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from greenpool.lock import BoundedSemaphore, Lock, RLock, Semaphore

from .workers import Killed, Machine, Worker, cases, picks


class LockMachine(Machine):
    """The free permits, and the workers that wait for one, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.start_with(1)

    # The error that release raises if all permits are free.
    too_many: type[Exception] | None = RuntimeError

    def start_with(self, free: int) -> None:
        self.primitive = self.make_primitive(free)
        self.free = self.most = free

    def make_primitive(self, free: int) -> Any:
        return Lock()

    def hand_out(self) -> None:
        while self.free and self.blocked:
            self.free -= 1
            self.came_back(self.blocked[0], True)
        self.check_blocked()

    @rule(pick=picks)
    def acquire(self, pick: int) -> None:
        if len(self.idle) == 1:
            return  # one worker has to be left to release
        worker = self.worker(pick)
        if self.free:
            self.free -= 1
            self.returns(worker, self.primitive.acquire, True)
        else:
            self.waits(worker, self.primitive.acquire)

    @rule(pick=picks, timeout=st.sampled_from([None, 0]))
    def try_to_acquire(self, pick: int, timeout: float | None) -> None:
        def command() -> bool:
            if timeout is None:
                return self.primitive.acquire(blocking=False)
            return self.primitive.acquire(timeout=timeout)

        free = self.free > 0
        self.returns(self.worker(pick), command, free)
        self.free -= free

    @rule(pick=picks)
    def release(self, pick: int) -> None:
        worker = self.worker(pick)
        if self.too_many is not None and self.free == self.most:
            self.returns(worker, self.primitive.release, self.too_many)
        else:
            self.returns(worker, self.primitive.release, None)
            self.free += 1
            self.hand_out()

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
        worker = self.worker(pick, self.blocked)
        worker.end_of_wait(kill=False)()
        self.workers.settle()
        self.came_back(worker, False)
        self.check_blocked()

    @precondition(lambda self: self.blocked and self.most)
    @rule(pick=picks, which=picks, kill=st.booleans())
    def release_while_one_gives_up(self, pick: int, which: int, kill: bool) -> None:
        leaving = self.worker(which, self.blocked)
        give_up = leaving.end_of_wait(kill)
        releasing = self.worker(pick)
        releasing.give(self.primitive.release)
        give_up()
        self.workers.settle()
        self.check(releasing, None)
        self.free += 1
        if leaving is not self.blocked[0] or leaving.outcome is not True:
            self.came_back(leaving, Killed if kill else False)
        self.hand_out()
        self.kill_all()
        self.start_with(self.most)

    @invariant()
    def state(self) -> None:
        assert self.primitive.locked() == (self.free == 0)


class SemaphoreMachine(LockMachine):
    too_many = None

    def make_primitive(self, free: int) -> Any:
        return Semaphore(free)

    @initialize(value=st.integers(min_value=0, max_value=3))
    def make(self, value: int) -> None:
        self.start_with(value)

    @rule(pick=picks, n=st.integers(min_value=1, max_value=3))
    def release_many(self, pick: int, n: int) -> None:
        self.returns(self.worker(pick), lambda: self.primitive.release(n), None)
        self.free += n
        self.hand_out()

    @invariant()
    def counter(self) -> None:
        assert self.primitive.counter == self.free


class BoundedSemaphoreMachine(LockMachine):
    too_many = ValueError

    def make_primitive(self, free: int) -> Any:
        return BoundedSemaphore(free)

    @initialize(value=st.integers(min_value=0, max_value=3))
    def make(self, value: int) -> None:
        self.start_with(value)


class RLockMachine(Machine):
    """The owner, how often it has the lock, and the workers that wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.start()

    def start(self) -> None:
        self.lock = RLock()
        self.owner: Worker | None = None
        self.count = 0

    def hand_over(self) -> None:
        if self.blocked:
            self.owner, self.count = self.blocked[0], 1
            self.came_back(self.owner, True)
        self.check_blocked()

    @rule(pick=picks)
    def acquire(self, pick: int) -> None:
        worker = self.worker(pick)
        if self.owner in (None, worker):
            self.owner = worker
            self.count += 1
            self.returns(worker, self.lock.acquire, True)
        else:
            self.waits(worker, self.lock.acquire)

    @rule(pick=picks)
    def try_to_acquire(self, pick: int) -> None:
        worker = self.worker(pick)
        free = self.owner in (None, worker)
        self.returns(worker, lambda: self.lock.acquire(blocking=False), free)
        if free:
            self.owner = worker
            self.count += 1

    @rule(pick=picks)
    def release(self, pick: int) -> None:
        worker = self.worker(pick)
        if worker is not self.owner:
            self.returns(worker, self.lock.release, RuntimeError)
            return
        self.count -= 1
        self.returns(worker, self.lock.release, None)
        if not self.count:
            self.owner = None
            self.hand_over()

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, kill=st.booleans())
    def give_up(self, pick: int, kill: bool) -> None:
        worker = self.worker(pick, self.blocked)
        worker.end_of_wait(kill)()
        self.workers.settle()
        self.came_back(worker, Killed if kill else False)

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, kill=st.booleans())
    def free_while_one_gives_up(self, pick: int, kill: bool) -> None:
        leaving = self.worker(pick, self.blocked)
        give_up = leaving.end_of_wait(kill)
        assert self.owner is not None
        self.owner.give(self.lock._release_save)
        give_up()
        self.workers.settle()
        self.check(self.owner, self.count - 1)
        self.owner, self.count = None, 0
        if leaving is not self.blocked[0] or leaving.outcome is not True:
            self.came_back(leaving, Killed if kill else False)
        self.hand_over()
        self.kill_all()
        self.start()

    @rule(pick=picks)
    def look(self, pick: int) -> None:
        worker = self.worker(pick)
        count = self.count if worker is self.owner else 0
        self.returns(worker, self.lock._recursion_count, count)
        self.returns(worker, self.lock._is_owned, count > 0)
        assert self.lock.locked() == (self.count > 0)


globals().update(cases(LockMachine))
globals().update(cases(SemaphoreMachine))
globals().update(cases(BoundedSemaphoreMachine))
globals().update(cases(RLockMachine))
