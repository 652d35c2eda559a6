"""The queues and Channel beside plain models."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from greenpool.queue import (
    Channel,
    Empty,
    Full,
    LifoQueue,
    PriorityQueue,
    Queue,
    ShutDown,
    SimpleQueue,
)

from .workers import Killed, Machine, Worker, cases, picks

items = st.integers(min_value=0, max_value=99)
bounds = st.sampled_from([0, 1, 2])
# A wait never times out by itself. The machine expires it, but only if it has a timeout.
timeouts = st.sampled_from([None, 3600.0])


class QueueMachine(Machine):
    """The items, the getters (each with whether it takes its item), and the putters (each with its item)."""

    kind: type[SimpleQueue[int]] = Queue
    over = False

    def __init__(self) -> None:
        super().__init__()
        self.start(0)

    @initialize(bound=bounds)
    def start(self, bound: int) -> None:
        self.queue: Any = self.kind(bound)
        self.bound = bound
        self.items: list[int] = []
        self.getters: list[tuple[Worker, bool]] = []
        self.putters: list[tuple[Worker, int]] = []
        self.joiners: list[Worker] = []
        self.unfinished = 0
        self.shut = False

    # The model.

    def room(self) -> bool:
        return self.bound == 0 or len(self.items) < self.bound

    def next_index(self) -> int:
        return 0

    def serve(self) -> None:
        while True:
            while self.getters and self.items:
                worker, remove = self.getters.pop(0)
                item = self.items[self.next_index()]
                if remove:
                    del self.items[self.next_index()]
                self.came_back(worker, item)
            if not (self.putters and self.room()):
                break
            worker, item = self.putters.pop(0)
            self.items.append(item)
            self.unfinished += 1
            self.came_back(worker, None)
        self.check_blocked()

    def finish(self, count: int) -> None:
        self.unfinished -= count
        if not self.unfinished:
            for worker in self.joiners:
                self.came_back(worker, True)
            self.joiners.clear()

    def gave_up(self, worker: Worker, kill: bool) -> None:
        """The worker was killed, or its time is over."""
        outcome: Any = False
        if worker in dict(self.getters):
            outcome = Empty
            self.getters = [entry for entry in self.getters if entry[0] is not worker]
        elif worker in dict(self.putters):
            outcome = Full
            self.putters = [entry for entry in self.putters if entry[0] is not worker]
        else:
            self.joiners.remove(worker)
        self.came_back(worker, Killed if kill else outcome)

    def may_wait(self) -> bool:
        return len(self.idle) > 2

    # Items.

    @rule(pick=picks, item=items, timeout=timeouts)
    def put(self, pick: int, item: int, timeout: float | None) -> None:
        worker = self.worker(pick)
        worker.timed = timeout is not None
        command = partial(self.queue.put, item, timeout=timeout)
        if self.shut:
            self.returns(worker, command, ShutDown)
        elif self.room():
            self.returns(worker, command, None)
            self.items.append(item)
            self.unfinished += 1
            self.serve()
        elif self.may_wait():
            self.waits(worker, command)
            self.putters.append((worker, item))

    @rule(pick=picks, item=items, timeout=st.sampled_from([None, 0]))
    def try_to_put(self, pick: int, item: int, timeout: float | None) -> None:
        def command() -> None:
            if timeout is None:
                self.queue.put_nowait(item)
            else:
                self.queue.put(item, timeout=timeout)

        if self.shut:
            self.returns(self.worker(pick), command, ShutDown)
        elif self.room():
            self.returns(self.worker(pick), command, None)
            self.items.append(item)
            self.unfinished += 1
            self.serve()
        else:
            self.returns(self.worker(pick), command, Full)

    @rule(pick=picks, remove=st.booleans(), timeout=timeouts)
    def get(self, pick: int, remove: bool, timeout: float | None) -> None:
        worker = self.worker(pick)
        worker.timed = timeout is not None
        command = partial(self.queue.get if remove else self.queue.peek, timeout=timeout)
        if self.items:
            self.returns(worker, command, self.items[self.next_index()])
            if remove:
                del self.items[self.next_index()]
                self.serve()
        elif self.shut:
            self.returns(worker, command, ShutDown)
        elif self.may_wait():
            self.waits(worker, command)
            self.getters.append((worker, remove))

    @rule(pick=picks, remove=st.booleans(), timeout=st.sampled_from([None, 0]))
    def try_to_get(self, pick: int, remove: bool, timeout: float | None) -> None:
        method = self.queue.get if remove else self.queue.peek

        def command() -> Any:
            return method(block=False) if timeout is None else method(timeout=timeout)

        if self.items:
            self.returns(self.worker(pick), command, self.items[self.next_index()])
            if remove:
                del self.items[self.next_index()]
                self.serve()
        else:
            self.returns(self.worker(pick), command, ShutDown if self.shut else Empty)

    # Giving up.

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, kill=st.booleans())
    def give_up(self, pick: int, kill: bool) -> None:
        worker = self.worker(pick, self.blocked)
        kill = kill or not worker.timed
        worker.end_of_wait(kill)()
        self.workers.settle()
        self.gave_up(worker, kill)
        self.check_blocked()

    @precondition(lambda self: self.getters)
    @rule(pick=picks, which=picks, item=items, kill=st.booleans())
    def put_while_one_gives_up(self, pick: int, which: int, item: int, kill: bool) -> None:
        leaving = self.getters[which % len(self.getters)][0]
        kill = kill or not leaving.timed
        give_up = leaving.end_of_wait(kill)
        putting = self.worker(pick)
        putting.give(lambda: self.queue.put(item))
        give_up()
        self.workers.settle()
        self.check(putting, None)
        if leaving.outcome != item:
            self.gave_up(leaving, kill)
        self.items.append(item)
        self.serve()
        self.start_over()

    @precondition(lambda self: self.putters and not self.shut)
    @rule(pick=picks, which=picks, kill=st.booleans())
    def get_while_one_gives_up(self, pick: int, which: int, kill: bool) -> None:
        leaving = self.putters[which % len(self.putters)][0]
        kill = kill or not leaving.timed
        give_up = leaving.end_of_wait(kill)
        getting = self.worker(pick)
        getting.give(self.queue.get)
        give_up()
        self.workers.settle()
        self.check(getting, self.items.pop(self.next_index()))
        if leaving.outcome is not None:
            self.gave_up(leaving, kill)
        self.serve()
        assert sorted(self.queue.queue) == sorted(self.items)
        self.start_over()

    def start_over(self) -> None:
        self.kill_all()
        self.start(self.bound)

    @invariant()
    def state(self) -> None:
        assert self.queue.qsize() == len(self.queue) == len(self.items)
        assert self.queue.empty() == (not self.items)
        assert self.queue.full() == (not self.room())


class JoinableMachine(QueueMachine):
    """The queue machine with the methods that only Queue has."""

    @rule(pick=picks)
    def task_done(self, pick: int) -> None:
        if self.unfinished:
            self.returns(self.worker(pick), self.queue.task_done, None)
            self.finish(1)
        else:
            self.returns(self.worker(pick), self.queue.task_done, ValueError)
        self.check_blocked()

    @rule(pick=picks)
    def join(self, pick: int) -> None:
        if not self.unfinished:
            self.returns(self.worker(pick), self.queue.join, True)
        elif self.may_wait():
            worker = self.worker(pick)
            worker.timed = True
            self.waits(worker, self.queue.join)
            self.joiners.append(worker)

    @precondition(lambda self: len(self.items) > 1 or self.getters or self.putters)
    @rule(pick=picks, immediate=st.booleans())
    def shutdown(self, pick: int, immediate: bool) -> None:
        self.returns(self.worker(pick), lambda: self.queue.shutdown(immediate), None)
        self.shut = True
        for worker, _ in [*self.getters, *self.putters]:
            self.came_back(worker, ShutDown)
        self.getters.clear()
        self.putters.clear()
        if immediate and self.items:
            self.finish(min(len(self.items), self.unfinished))
            self.items.clear()
        self.check_blocked()

    @rule(bound=bounds)
    def change_bound(self, bound: int) -> None:
        self.queue.maxsize = bound
        self.workers.settle()
        self.bound = bound
        self.serve()

    @invariant()
    def tasks(self) -> None:
        assert self.queue.unfinished_tasks == self.unfinished


class LifoMachine(JoinableMachine):
    kind = LifoQueue

    def next_index(self) -> int:
        return -1


class PriorityMachine(JoinableMachine):
    kind = PriorityQueue

    def next_index(self) -> int:
        return self.items.index(min(self.items))


class SimpleMachine(QueueMachine):
    kind = SimpleQueue


class ChannelMachine(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.start()

    def start(self) -> None:
        self.channel: Channel[int] = Channel()
        self.getters: list[Worker] = []
        self.putters: list[tuple[Worker, int]] = []

    @rule(pick=picks, item=items, block=st.booleans())
    def put(self, pick: int, item: int, block: bool) -> None:
        worker = self.worker(pick)

        def command() -> None:
            self.channel.put(item, block)

        if self.getters:
            self.returns(worker, command, None)
            self.came_back(self.getters.pop(0), item)
            self.check_blocked()
        elif not block:
            self.returns(worker, command, Full)
        elif len(self.idle) > 1:
            self.waits(worker, command)
            self.putters.append((worker, item))

    @rule(pick=picks, block=st.booleans())
    def get(self, pick: int, block: bool) -> None:
        worker = self.worker(pick)

        def command() -> int:
            return self.channel.get(block)

        if self.putters:
            putter, item = self.putters.pop(0)
            self.returns(worker, command, item)
            self.came_back(putter, None)
            self.check_blocked()
        elif not block:
            self.returns(worker, command, Empty)
        elif len(self.idle) > 1:
            self.waits(worker, command)
            self.getters.append(worker)

    def gave_up(self, worker: Worker, kill: bool) -> None:
        if worker in self.getters:
            self.getters.remove(worker)
            self.came_back(worker, Killed if kill else Empty)
        else:
            self.putters = [entry for entry in self.putters if entry[0] is not worker]
            self.came_back(worker, Killed if kill else Full)

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, kill=st.booleans())
    def give_up(self, pick: int, kill: bool) -> None:
        worker = self.worker(pick, self.blocked)
        worker.end_of_wait(kill)()
        self.workers.settle()
        self.gave_up(worker, kill)
        self.check_blocked()

    @precondition(lambda self: len(self.getters) > 1)
    @rule(pick=picks, which=picks, item=items, kill=st.booleans())
    def put_while_one_gives_up(self, pick: int, which: int, item: int, kill: bool) -> None:
        leaving = self.worker(which, self.getters)
        give_up = leaving.end_of_wait(kill)
        putting = self.worker(pick)
        putting.give(lambda: self.channel.put(item))
        give_up()
        self.workers.settle()
        self.check(putting, None)
        if leaving.outcome != item:
            self.gave_up(leaving, kill)
        self.came_back(self.getters[0], item)
        self.kill_all()
        self.start()

    @invariant()
    def state(self) -> None:
        assert self.channel.balance == len(self.putters) - len(self.getters)


globals().update(cases(JoinableMachine))
globals().update(cases(LifoMachine))
globals().update(cases(PriorityMachine))
globals().update(cases(SimpleMachine))
globals().update(cases(ChannelMachine))
