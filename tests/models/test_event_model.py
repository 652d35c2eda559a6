"""Event and AsyncResult beside plain models."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from greenpool.event import AsyncResult, Event
from greenpool.timeout import Timeout

from .workers import Killed, Machine, cases, picks


class EventMachine(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.event = Event()
        self.flag = False

    @rule(pick=picks)
    def wait(self, pick: int) -> None:
        if len(self.idle) == 1:
            return  # one worker has to be left to set it
        if self.flag:
            self.returns(self.worker(pick), self.event.wait, True)
        else:
            self.waits(self.worker(pick), self.event.wait)

    @rule(pick=picks)
    def wait_no_time(self, pick: int) -> None:
        self.returns(self.worker(pick), lambda: self.event.wait(0), self.flag)

    @rule(pick=picks, clear=st.booleans())
    def set(self, pick: int, clear: bool) -> None:
        def command() -> None:
            self.event.set()
            if clear:
                self.event.clear()

        self.returns(self.worker(pick), command, None)
        self.flag = not clear
        for worker in list(self.blocked):
            self.came_back(worker, True)

    @rule(pick=picks)
    def clear(self, pick: int) -> None:
        self.returns(self.worker(pick), self.event.clear, None)
        self.flag = False

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, kill=st.booleans())
    def give_up(self, pick: int, kill: bool) -> None:
        worker = self.worker(pick, self.blocked)
        worker.end_of_wait(kill)()
        self.workers.settle()
        self.came_back(worker, Killed if kill else False)
        self.check_blocked()

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, which=picks, kill=st.booleans())
    def set_while_one_gives_up(self, pick: int, which: int, kill: bool) -> None:
        leaving = self.worker(which, self.blocked)
        give_up = leaving.end_of_wait(kill)
        setting = self.worker(pick)
        setting.give(self.event.set)
        give_up()
        self.workers.settle()
        self.check(setting, None)
        self.flag = True
        if leaving.outcome is not True:
            self.came_back(leaving, Killed if kill else False)
        for worker in list(self.blocked):
            self.came_back(worker, True)

    @invariant()
    def state(self) -> None:
        assert self.event.is_set() == self.event.ready() == self.flag


class Failure(Exception):
    pass


class AsyncResultMachine(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.result: AsyncResult[int] = AsyncResult()
        self.outcome: Any = None

    @rule(pick=picks)
    def get(self, pick: int) -> None:
        if len(self.idle) == 1:
            return  # one worker has to be left to set it
        if self.outcome is None:
            self.waits(self.worker(pick), self.result.get)
        else:
            self.returns(self.worker(pick), self.result.get, self.outcome)

    @rule(pick=picks)
    def get_nowait(self, pick: int) -> None:
        expected = Timeout if self.outcome is None else self.outcome
        self.returns(self.worker(pick), self.result.get_nowait, expected)

    @precondition(lambda self: self.outcome is None)
    @rule(pick=picks, value=st.integers())
    def set(self, pick: int, value: int) -> None:
        self.returns(self.worker(pick), lambda: self.result.set(value), None)
        self.settle_on(value)

    @precondition(lambda self: self.outcome is None)
    @rule(pick=picks)
    def fail(self, pick: int) -> None:
        self.returns(self.worker(pick), lambda: self.result.set_exception(Failure()), None)
        self.settle_on(Failure)

    def settle_on(self, outcome: Any) -> None:
        self.outcome = outcome
        for worker in list(self.blocked):
            self.came_back(worker, outcome)

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, kill=st.booleans())
    def give_up(self, pick: int, kill: bool) -> None:
        worker = self.worker(pick, self.blocked)
        worker.end_of_wait(kill)()
        self.workers.settle()
        self.came_back(worker, Killed if kill else Timeout)
        self.check_blocked()

    @precondition(lambda self: self.blocked)
    @rule(pick=picks, which=picks, kill=st.booleans())
    def set_while_one_gives_up(self, pick: int, which: int, kill: bool) -> None:
        leaving = self.worker(which, self.blocked)
        give_up = leaving.end_of_wait(kill)
        setting = self.worker(pick)
        setting.give(lambda: self.result.set(11))
        give_up()
        self.workers.settle()
        self.check(setting, None)
        if leaving.outcome != 11:
            self.came_back(leaving, Killed if kill else Timeout)
        self.settle_on(11)

    @invariant()
    def state(self) -> None:
        assert self.result.ready() == (self.outcome is not None)
        assert self.result.successful() == isinstance(self.outcome, int)


globals().update(cases(EventMachine))
globals().update(cases(AsyncResultMachine))
