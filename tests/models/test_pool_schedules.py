"""Pool and Group under schedules: never above the size, nothing lost, and a join that sees the end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import testing
from greenpool.pool import Group, Pool, PoolFull

from .programs import HUBS, SCHEDULES, STEP

JOBS = st.lists(st.sampled_from(["wait", "fail", "spawn", "kill itself"]), min_size=1, max_size=5)


class Crew:
    """A pool whose jobs count how many run at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pool = Pool(size, spread=True)
        self.running = 0
        self.ran: list[str] = []

    def job(self, name: str, kind: str) -> None:
        self.running += 1
        assert self.running <= self.size
        self.ran.append(name)
        try:
            greenpool.sleep(STEP)
            if kind == "fail":
                raise LookupError
            if kind == "kill itself":
                raise greenpool.GreenletExit
            if kind == "spawn":
                # In a full pool, a job that waits for room would wait for itself.
                try:
                    self.pool.start(self.make(f"{name}'s", "wait"), blocking=False)
                except PoolFull:
                    self.ran.append(f"{name}'s")
        finally:
            self.running -= 1

    def make(self, name: str, kind: str) -> greenpool.Greenlet[None]:
        greenlet = greenpool.Greenlet(self.job, name, kind)
        greenlet.quiet = True
        return greenlet

    def submit(self, number: int, kinds: list[str]) -> None:
        for place, kind in enumerate(kinds):
            self.pool.start(self.make(f"{number}.{place}", kind))

    def check_the_end(self) -> None:
        assert self.running == 0
        assert self.pool.join(timeout=0)
        assert len(self.pool) == 0
        assert self.pool.free_count() == self.pool.wait_available(0) == self.size
        # Nobody holds room: as many as the size get in at once.
        for _ in range(self.size):
            self.pool.start(self.make("last", "wait"), blocking=False)
        assert self.pool.full()
        self.pool.join()


def fill(size: int, submitters: list[list[str]], killed: list[int]) -> None:
    """Several greenlets submit jobs, and some of the members are killed meanwhile."""
    handle = greenpool.current_handle()
    assert handle is not None
    crew = Crew(size)
    submitting = [
        handle.spawn_on(number % HUBS, crew.submit, number, kinds) for number, kinds in enumerate(submitters)
    ]
    for number in killed:
        greenpool.sleep(STEP / 2)
        members = list(crew.pool)
        if members:
            crew.pool.killone(members[number % len(members)], block=bool(number % 2))
    greenpool.joinall(submitting, raise_error=True)
    assert crew.pool.join()
    expected = {f"{number}.{place}" for number, kinds in enumerate(submitters) for place in range(len(kinds))}
    if not killed:
        expected |= {
            f"{number}.{place}'s"
            for number, kinds in enumerate(submitters)
            for place, kind in enumerate(kinds)
            if kind == "spawn"
        }
        assert sorted(crew.ran) == sorted(expected)
    crew.check_the_end()


def test_a_fixed_program() -> None:
    testing.explore(
        lambda: fill(2, [["wait", "fail", "wait"], ["spawn", "kill itself"], ["wait", "spawn"]], [0, 1, 0]),
        schedules=SCHEDULES,
        hubs=HUBS,
    )


@settings(deadline=None, max_examples=2 * SCHEDULES)
@given(
    st.integers(1, 3),
    st.lists(JOBS, min_size=1, max_size=3),
    st.lists(st.integers(0, 5), max_size=3),
    testing.schedules(),
)
def test_drawn_programs(size: int, submitters: list[list[str]], killed: list[int], schedule: str) -> None:
    testing.replay(lambda: fill(size, submitters, killed), schedule, hubs=HUBS)


def test_room_that_somebody_waited_for_in_vain_is_not_lost() -> None:
    """A submitter is killed or gives up at the moment at which a member ends."""

    def main() -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        crew = Crew(1)
        crew.pool.start(crew.make("first", "wait"))

        def submit(name: str, timeout: float | None) -> None:
            try:
                crew.pool.start(crew.make(name, "wait"), timeout=timeout)
            except PoolFull:
                crew.ran.append(name)

        submitting = [
            handle.spawn_on(0, submit, "killed", None),
            handle.spawn_on(1, submit, "gives up", STEP),
            handle.spawn_on(1, submit, "patient", None),
        ]
        greenpool.spawn_later(STEP, submitting[0].kill)
        greenpool.joinall(submitting)
        crew.pool.join()
        assert {"first", "gives up", "patient"} <= set(crew.ran)
        crew.check_the_end()

    testing.explore(main, schedules=SCHEDULES, hubs=HUBS)


def test_a_group_that_is_killed_ends_with_its_last_member() -> None:
    """Others join it and spawn into it meanwhile."""

    def main() -> None:
        handle = greenpool.current_handle()
        assert handle is not None
        group = Group(spread=True)
        ended = 0

        def work() -> None:
            nonlocal ended
            try:
                greenpool.sleep(10 * STEP)
            finally:
                greenpool.sleep(STEP)
                ended += 1

        def spawn() -> None:
            for _ in range(2):
                group.spawn(work)
                greenpool.sleep(STEP / 2)

        def join() -> None:
            assert group.join()
            # Those that are killed before they have begun never run.
            assert all(greenlet.dead for greenlet in members)

        members = [group.spawn(work) for _ in range(3)]
        spawning = handle.spawn_on(0, spawn)
        joining = [handle.spawn_on(number, join) for number in range(HUBS)]
        killing = handle.spawn_on(1, group.kill)
        greenpool.joinall([spawning, killing, *joining], raise_error=True)
        group.kill()
        assert not group and group.join(timeout=0)

    testing.explore(main, schedules=SCHEDULES, hubs=HUBS)
