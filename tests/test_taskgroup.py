"""TaskGroup: the end of the block waits, one failure cancels the rest, and all failures come out."""

from __future__ import annotations

import contextvars
import gc
import random
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import greenpool
from greenpool import GreenletExit, Runtime, SpawnError, Timeout
from greenpool._core.current import current_greenlet
from greenpool._core.interrupts import Interrupts
from greenpool.cancel import Cancelled, CancelScope, move_on_after
from greenpool.event import Event
from greenpool.lock import Semaphore
from greenpool.taskgroup import TaskGroup

pytestmark = pytest.mark.usefixtures("leak_check")

SOON = 0.005


class Failure(Exception):
    pass


class OtherFailure(Exception):
    pass


class BaseFailure(BaseException):
    pass


def never() -> None:
    Event().wait()


def fail(failure: BaseException | type[BaseException] = Failure) -> None:
    raise failure


def fail_soon(failure: BaseException | type[BaseException] = Failure) -> None:
    greenpool.sleep(SOON)
    raise failure


def leaves(exception: BaseException) -> list[BaseException]:
    if isinstance(exception, BaseExceptionGroup):
        return [leaf for part in exception.exceptions for leaf in leaves(part)]
    return [exception]


def types(exception: BaseException) -> list[type]:
    return sorted((type(leaf) for leaf in leaves(exception)), key=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No test leaves a cancellation for the code that comes after it, and no failure is reported twice."""
    yield
    greenlet = current_greenlet()
    assert not greenlet.interrupts
    assert type(greenlet.interrupts) in (tuple, Interrupts)  # no scope is cancelled
    assert getattr(greenlet.task, "cancel_scope", None) is None
    greenpool.sleep(0)
    assert capsys.readouterr().err == ""


# Success.


def test_leaving_the_block_waits() -> None:
    with TaskGroup() as group:
        first = group.spawn(lambda: 42)
        second = group.spawn(lambda a, *, b: (greenpool.sleep(SOON), a + b)[1], 1, b=2)
    assert (first.value, second.value) == (42, 3)


def test_an_empty_group() -> None:
    with TaskGroup():
        pass


def test_a_greenlet_may_spawn_into_its_group() -> None:
    done: list[int] = []

    def descend(depth: int) -> None:
        if depth:
            greenpool.sleep(0)
            group.spawn(descend, depth - 1)
            group.spawn(descend, depth - 1)
        done.append(depth)

    with TaskGroup() as group:
        group.spawn(descend, 4)
    assert len(done) == 31


def test_a_thread_may_spawn_into_a_group() -> None:
    with Runtime(pool_size=2) as runtime:
        handle = runtime.handle()
        done: list[int] = []

        def main() -> None:
            with TaskGroup() as group:
                keep_open = Event()
                group.spawn(keep_open.wait)

                def in_thread() -> None:
                    for index in range(10):
                        group.spawn_on(index % 2, done.append, index)
                    keep_open.set()

                thread = threading.Thread(target=in_thread)
                thread.start()
            thread.join()

        handle.spawn(main).get()
    assert sorted(done) == list(range(10))


def test_where_the_greenlets_run() -> None:
    def my_hub() -> int | None:
        return greenpool.get_hub().index

    def in_greenlet() -> None:
        here = my_hub()
        with TaskGroup() as group:
            same = [group.spawn(my_hub) for _ in range(3)]
            chosen = [group.spawn_on(index, my_hub) for index in range(3)]
        assert [greenlet.value for greenlet in same] == [here] * 3
        assert [greenlet.value for greenlet in chosen] == [0, 1, 2]

    def in_main() -> None:
        with TaskGroup() as group:
            spread = [group.spawn(my_hub) for _ in range(6)]
        assert sorted(greenlet.value for greenlet in spread) == [0, 0, 1, 1, 2, 2]

    with Runtime(pool_size=3) as runtime:
        runtime.spawn(in_greenlet).get()
        runtime.block_on(in_main)


def test_the_context_of_a_greenlet() -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    other = contextvars.Context()
    other.run(variable.set, "given")
    variable.set("inherited")
    with TaskGroup() as group:
        inherited = group.spawn(variable.get)
        given_it = group.spawn(variable.get, context=other)
    assert (inherited.value, given_it.value) == ("inherited", "given")


# Failure.


def test_a_failure_cancels_the_others_and_comes_out() -> None:
    log: list[str] = []

    def cleans_up() -> None:
        try:
            never()
        finally:
            greenpool.sleep(SOON)
            log.append("cleaned up")

    with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup") as caught:
        with TaskGroup() as group:
            other = group.spawn(cleans_up)
            failed = group.spawn(fail_soon)
    assert types(caught.value) == [Failure]
    assert leaves(caught.value) == [failed.exception]
    assert log == ["cleaned up"]
    assert other.successful()
    assert isinstance(other.value, GreenletExit)


def test_a_failure_cancels_the_block() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        with TaskGroup() as group:
            group.spawn(fail)
            never()
    assert types(caught.value) == [Failure]


def test_a_failure_on_another_hub_cancels_the_block_and_the_others() -> None:
    def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            with TaskGroup() as group:
                greenlets = [group.spawn_on(index, never) for index in range(4)]
                group.spawn_on(2, fail_soon)
                never()
        assert types(caught.value) == [Failure]
        assert all(greenlet.dead for greenlet in greenlets)

    with Runtime(pool_size=4) as runtime:
        for index in range(4):
            runtime.handle().spawn_on(index, main).get()
        runtime.block_on(main)
    main_hub = greenpool.get_hub()
    assert main_hub.live == 0


def test_all_that_failed_comes_out() -> None:
    def fail_when_cancelled() -> None:
        try:
            never()
        finally:
            raise OtherFailure

    with pytest.raises(ExceptionGroup) as caught:
        with TaskGroup() as group:
            for _ in range(3):
                group.spawn(fail_when_cancelled)
            group.spawn(fail_soon)
            try:
                never()
            finally:
                raise KeyError
    assert types(caught.value) == [Failure, KeyError] + [OtherFailure] * 3


def test_an_exception_of_the_block_comes_out_in_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        with TaskGroup() as group:
            other = group.spawn(never)
            raise Failure
    assert types(caught.value) == [Failure]
    assert other.dead


def test_a_base_exception_makes_a_base_exception_group() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        with TaskGroup() as group:
            group.spawn(fail, BaseFailure)
    assert not isinstance(caught.value, ExceptionGroup)
    assert types(caught.value) == [BaseFailure]


@pytest.mark.parametrize("system_error", [KeyboardInterrupt, SystemExit])
def test_system_errors_come_out_as_they_are(system_error: type[BaseException]) -> None:
    def fail_when_cancelled() -> None:
        try:
            never()
        finally:
            raise Failure

    with pytest.raises(system_error):
        with TaskGroup() as group:
            other = group.spawn(fail_when_cancelled)
            group.spawn(fail_soon, system_error)
            never()
    assert other.dead
    with pytest.raises(system_error):
        with TaskGroup() as group:
            other = group.spawn(fail_when_cancelled)
            greenpool.sleep(0)
            raise system_error
    assert other.dead


def test_the_first_system_error_comes_out() -> None:
    def exit_when_cancelled() -> None:
        try:
            never()
        finally:
            raise SystemExit

    with pytest.raises(KeyboardInterrupt):
        with TaskGroup() as group:
            group.spawn(exit_when_cancelled)
            group.spawn(fail_soon, KeyboardInterrupt)


def test_groups_in_groups() -> None:
    def inner() -> None:
        with TaskGroup() as group:
            group.spawn(never)
            group.spawn(fail_soon, OtherFailure)

    with pytest.raises(ExceptionGroup) as caught:
        with TaskGroup() as group:
            group.spawn(inner)
            group.spawn(inner)
            group.spawn(never)
    assert set(types(caught.value)) == {OtherFailure}
    assert all(isinstance(part, ExceptionGroup) for part in caught.value.exceptions)


def test_cancelling_reaches_the_groups_inside() -> None:
    ended = []

    def inner(depth: int) -> None:
        try:
            with TaskGroup() as group:
                if depth:
                    group.spawn(inner, depth - 1)
                never()
        finally:
            ended.append(depth)

    with pytest.raises(ExceptionGroup):
        with TaskGroup() as group:
            group.spawn(inner, 5)
            group.spawn(fail_soon)
    assert ended == [0, 1, 2, 3, 4, 5]


def test_a_greenlet_that_has_not_begun_never_runs() -> None:
    ran: list[int] = []
    with pytest.raises(ExceptionGroup):
        with TaskGroup() as group:
            greenlet = group.spawn(ran.append, 1)
            raise Failure
    assert ran == []
    assert isinstance(greenlet.value, GreenletExit)


def test_a_killed_greenlet_has_not_failed() -> None:
    with TaskGroup() as group:
        greenlet = group.spawn(never)
        unstarted = group.spawn(never)
        unstarted.kill()
        greenpool.sleep(0)
        greenlet.kill()
    assert greenlet.successful()


def test_a_greenlet_killed_by_another_exception_has() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        with TaskGroup() as group:
            greenlet = group.spawn(never)
            greenpool.sleep(0)
            greenlet.kill(Failure)
    assert types(caught.value) == [Failure]


def test_cancelled_once() -> None:
    def survives() -> str:
        try:
            never()
        except GreenletExit:
            greenpool.sleep(SOON)
        greenpool.sleep(SOON)
        return "survived"

    with pytest.raises(ExceptionGroup):
        with TaskGroup() as group:
            survivor = group.spawn(survives)
            group.spawn(fail_soon)
            try:
                never()
            except Cancelled:
                greenpool.sleep(0)
            greenpool.sleep(SOON)
            log = "the block, too"
    assert survivor.value == "survived"
    assert log == "the block, too"


def test_a_shielded_greenlet_is_cancelled_when_the_shield_is_left() -> None:
    log: list[str] = []

    def shielded(name: str) -> None:
        with CancelScope(shield=True):
            greenpool.sleep(4 * SOON)
            log.append(f"{name} is whole")
        never()

    with pytest.raises(ExceptionGroup):
        with TaskGroup() as group:
            group.spawn(shielded, "greenlet")
            group.spawn(fail_soon)
            shielded("block")
    assert sorted(log) == ["block is whole", "greenlet is whole"]


def test_cancelled_once_also_behind_a_shield() -> None:
    with pytest.raises(ExceptionGroup):
        with TaskGroup() as group:
            group.spawn(fail)
            with CancelScope(shield=True):
                greenpool.sleep(SOON)
            with pytest.raises(Cancelled):
                greenpool.sleep(0)
            greenpool.sleep(0)
            never_cancelled_again = True
    assert never_cancelled_again


# Cancellation from outside.


def test_a_kill_of_the_one_who_waits() -> None:
    children = []

    def parent() -> None:
        with TaskGroup() as group:
            children.append(group.spawn(never))

    greenlet = greenpool.spawn(parent)
    greenpool.sleep(0)
    greenlet.kill()
    assert isinstance(greenlet.value, GreenletExit)
    assert children[0].dead


def test_a_kill_of_the_block() -> None:
    children = []

    def parent() -> None:
        with TaskGroup() as group:
            children.append(group.spawn(never))
            never()

    greenlet = greenpool.spawn(parent)
    greenpool.sleep(0)
    greenlet.kill()
    assert isinstance(greenlet.value, GreenletExit)
    assert children[0].dead


def test_failures_take_precedence_over_a_kill_which_is_not_lost() -> None:
    def fail_when_cancelled() -> None:
        try:
            never()
        finally:
            greenpool.sleep(SOON)
            raise Failure

    def parent() -> str:
        try:
            with TaskGroup() as group:
                group.spawn(fail_when_cancelled)
        except* Failure:
            greenpool.getcurrent().caught = True
        greenpool.sleep(60)
        return "survived"

    greenlet = greenpool.spawn(parent)
    greenpool.sleep(0)
    greenpool.sleep(0)
    greenlet.kill()
    assert greenlet.caught
    assert isinstance(greenlet.value, GreenletExit)


def test_a_kill_while_the_group_waits_for_its_cancelled_greenlets() -> None:
    """The scope's cancellation came first. It does not swallow the kill."""

    def slow_to_end() -> None:
        try:
            never()
        finally:
            cleaning.set()
            greenpool.sleep(2 * SOON)

    def parent() -> str:
        with CancelScope() as scope:
            greenpool.getcurrent().scope = scope
            with TaskGroup() as group:
                group.spawn(slow_to_end)
        assert scope.cancelled_caught
        greenpool.sleep(60)
        return "survived"

    cleaning = Event()
    greenlet = greenpool.spawn(parent)
    greenpool.sleep(0)
    greenpool.sleep(0)
    greenlet.scope.cancel()
    cleaning.wait()
    greenlet.kill()
    assert isinstance(greenlet.value, GreenletExit)


def test_a_cancelled_scope_around_a_group() -> None:
    with move_on_after(SOON) as scope:
        with TaskGroup() as group:
            children = [group.spawn(never) for _ in range(3)]
    assert scope.cancelled_caught
    assert all(child.dead for child in children)

    with move_on_after(SOON) as scope:
        with TaskGroup() as group:
            child = group.spawn(never)
            never()
    assert scope.cancelled_caught
    assert child.dead


def test_failures_take_precedence_over_a_cancelled_scope() -> None:
    def fail_when_cancelled() -> None:
        try:
            never()
        finally:
            raise Failure

    with move_on_after(SOON) as scope:
        with pytest.raises(ExceptionGroup):
            with TaskGroup() as group:
                group.spawn(fail_when_cancelled)
        greenpool.sleep(60)
    assert scope.cancelled_caught


def test_a_cancelled_group_inside_a_cancelled_greenlet() -> None:
    """The group's own failure takes precedence, but the outer group's cancellation is not lost."""

    def fail_when_cancelled() -> None:
        try:
            never()
        finally:
            raise OtherFailure

    log: list[str] = []

    def inner() -> None:
        try:
            with TaskGroup() as group:
                group.spawn(fail_when_cancelled)
        except* OtherFailure:
            log.append("inner failed")
        greenpool.sleep(60)
        log.append("survived")

    with pytest.raises(ExceptionGroup) as caught:
        with TaskGroup() as group:
            group.spawn(inner)
            group.spawn(fail_soon)
    assert types(caught.value) == [Failure]
    assert log == ["inner failed"]


def test_timeouts_around_a_group() -> None:
    with Timeout(SOON, False):
        with TaskGroup() as group:
            child = group.spawn(never)
    assert child.dead

    timeout = Timeout(SOON)
    with pytest.raises(Timeout) as caught:
        with timeout, TaskGroup() as group:
            child = group.spawn(never)
            never()
    assert caught.value is timeout
    assert child.dead


def test_a_timeout_and_a_failure() -> None:
    def fail_when_cancelled() -> None:
        try:
            never()
        finally:
            raise Failure

    for wait in (lambda: None, never):
        with pytest.raises(BaseExceptionGroup) as caught:
            with Timeout(SOON, False):
                with TaskGroup() as group:
                    group.spawn(fail_when_cancelled)
                    wait()
        assert Failure in types(caught.value)
        greenpool.sleep(0)  # the timeout interrupts nothing any more


def test_a_timeout_that_nobody_waits_for_any_more_and_a_failure() -> None:
    def fail_when_cancelled() -> None:
        try:
            never()
        finally:
            raise Failure

    with pytest.raises(BaseExceptionGroup) as caught:
        with TaskGroup() as group:
            group.spawn(fail_when_cancelled).get(timeout=SOON)
    assert types(caught.value) == [Failure, Timeout]
    greenpool.sleep(0)


def test_waiting_for_the_clean_up_does_not_spin() -> None:
    def clean_up() -> None:
        try:
            never()
        finally:
            greenpool.sleep(2 * SOON)

    hub = greenpool.get_hub()
    before = hub.passes
    with move_on_after(SOON) as scope:
        with TaskGroup() as group:
            group.spawn(clean_up)
    assert scope.cancelled_caught
    assert hub.passes - before < 20


def test_a_shutdown_ends_groups() -> None:
    log: list[str] = []

    def parent() -> None:
        with TaskGroup() as group:
            for index in range(2):
                group.spawn_on(index, child)

    def child() -> None:
        try:
            begun.release()
            never()
        finally:
            log.append("cleaned up")

    begun = Semaphore(0)
    runtime = Runtime(pool_size=2)
    parents = [runtime.spawn(parent) for _ in range(2)]
    for _ in range(4):
        begun.acquire()
    runtime.shutdown()
    assert all(greenlet.dead for greenlet in parents)
    assert log == ["cleaned up"] * 4


def test_a_shutdown_does_not_disturb_the_clean_up() -> None:
    log: list[str] = []

    def parent() -> None:
        with TaskGroup() as group:
            group.spawn(child)

    def child() -> None:
        try:
            parked.set()
            never()
        finally:
            greenpool.sleep(SOON)
            log.append("cleaned up")

    parked = Event()
    runtime = Runtime(pool_size=1)
    runtime.spawn(parent)
    parked.wait()
    runtime.shutdown()
    assert log == ["cleaned up"]


# Misuse and bad input.


def test_spawning_outside_the_groups_life() -> None:
    group = TaskGroup()
    with pytest.raises(RuntimeError, match="not been entered"):
        group.spawn(never)
    with group:
        pass
    with pytest.raises(RuntimeError, match="has been left"):
        group.spawn(never)
    with pytest.raises(RuntimeError, match="entered only once"):
        group.__enter__()
    with pytest.raises(ExceptionGroup):
        with TaskGroup() as group:
            group.spawn(fail)
            try:
                never()
            finally:
                with pytest.raises(RuntimeError, match="being cancelled"):
                    group.spawn(never)


def test_bad_input() -> None:
    with TaskGroup() as group:
        with pytest.raises(TypeError, match="function must be callable, not None"):
            group.spawn(None)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="needs a runtime"):
            group.spawn_on(0, never)

    def in_runtime() -> None:
        with TaskGroup() as group:
            with pytest.raises(ValueError, match="index must be from 0 to 0, not 1"):
                group.spawn_on(1, never)
            with pytest.raises(TypeError, match="index must be an int, not '0'"):
                group.spawn_on("0", never)  # type: ignore[arg-type]

    with Runtime(pool_size=1) as runtime:
        runtime.spawn(in_runtime).get()


def test_a_refused_spawn_leaves_the_group_usable() -> None:
    runtime = Runtime(pool_size=1)

    def main() -> int:
        with TaskGroup() as group:
            runtime.shutdown()
            with pytest.raises(SpawnError):
                group.spawn(never)
        return 1

    assert runtime.block_on(main) == 1


def test_repr() -> None:
    group = TaskGroup()
    with TaskGroup() as other:
        assert " never on " in repr(greenlet := other.spawn(never))
        greenlet.kill()
    assert repr(group) == "<TaskGroup of 0 greenlets: not entered>"
    with group:
        assert repr(group) == "<TaskGroup of 0 greenlets: open>"
    assert repr(group) == "<TaskGroup of 0 greenlets: leaving>"


def test_the_group_makes_no_cyclic_garbage() -> None:
    gc.collect()
    gc.disable()
    try:
        try:
            with TaskGroup() as group:
                group.spawn(int)
                raise Failure
        except ExceptionGroup as exception:
            reference = weakref.ref(exception.exceptions[0])
        assert reference() is None
    finally:
        gc.enable()


# Random trees of groups, scopes, failures, kills and timeouts over four hubs.

TREES: st.SearchStrategy[Any] = st.deferred(
    lambda: st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 3)),
        st.tuples(st.just("fail")),
        st.tuples(st.just("kill")),
        st.tuples(st.just("cancel")),
        st.tuples(st.just("sequence"), st.lists(TREES, max_size=3)),
        st.tuples(st.just("scope"), st.none() | st.integers(0, 3), st.booleans(), TREES),
        st.tuples(st.just("timeout"), st.integers(0, 3), st.booleans(), TREES),
        st.tuples(st.just("cleanup"), TREES, TREES),
        st.tuples(st.just("swallow"), TREES),
        st.tuples(st.just("group"), st.lists(TREES, max_size=4), TREES),
    )
)


class Play:
    """One run of a tree. Checks at the end of each block that it ended as it should."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.greenlets: list[Any] = []
        self.scopes: list[CancelScope] = []
        # The texts of failed checks. Raised in the tree, an assertion would be one more failure there.
        self.problems: list[str] = []
        self.count = {"begun": 0, "ended": 0, "cleanups begun": 0, "cleanups ended": 0}

    def check(self, right: bool, what: str) -> None:
        if not right:
            self.problems.append(what)

    def add(self, what: str) -> None:
        with self.lock:
            self.count[what] += 1

    def pick(self, kind: str) -> Any:
        with self.lock:
            candidates = self.greenlets if kind == "kill" else self.scopes
            return self.random.choice(candidates) if candidates else None

    def run(self, tree: Any) -> None:
        getattr(self, f"run_{tree[0]}")(*tree[1:])

    def run_wait(self, milliseconds: int) -> None:
        greenpool.sleep(milliseconds / 1000)

    def run_fail(self) -> None:
        raise Failure

    def run_kill(self) -> None:
        greenlet = self.pick("kill")
        if greenlet is not None:
            greenlet.kill(block=False)

    def run_cancel(self) -> None:
        scope = self.pick("cancel")
        if scope is not None:
            scope.cancel()

    def run_sequence(self, trees: list[Any]) -> None:
        for tree in trees:
            self.run(tree)

    def run_scope(self, milliseconds: int | None, shield: bool, tree: Any) -> None:
        outer = getattr(greenpool.getcurrent(), "cancel_scope", None)
        scope = CancelScope(shield=shield)
        if milliseconds is not None:
            scope = move_on_after(milliseconds / 1000, shield=shield)
        with self.lock:
            self.scopes.append(scope)
        try:
            with scope:
                self.run(tree)
        except BaseException as exception:
            for leaf in leaves(exception):
                theirs = isinstance(leaf, Cancelled) and leaf._is_for(scope)
                self.check(not theirs, "a scope lets its own cancellation pass")
            raise
        finally:
            innermost = getattr(greenpool.getcurrent(), "cancel_scope", None)
            self.check(innermost is outer, "a scope is not taken back")

    def run_timeout(self, milliseconds: int, silent: bool, tree: Any) -> None:
        timeout = Timeout(milliseconds / 1000, False if silent else None)
        try:
            with timeout:
                self.run(tree)
        except Timeout as exception:
            if exception is not timeout:
                raise

    def run_cleanup(self, tree: Any, cleanup: Any) -> None:
        try:
            self.run(tree)
        finally:
            self.add("cleanups begun")
            try:
                self.run(cleanup)
            finally:
                self.add("cleanups ended")

    def run_swallow(self, tree: Any) -> None:
        try:
            self.run(tree)
        except (GreenletExit, Failure, Timeout, BaseExceptionGroup):
            pass

    def run_group(self, children: list[Any], tree: Any) -> None:
        failed: list[BaseException] = []
        body_failed = []
        greenlets = []
        try:
            with TaskGroup() as group:
                try:
                    for child in children:
                        index = self.random.randrange(4)
                        greenlet = group.spawn_on(index, self.run_child, child, failed)
                        greenlets.append(greenlet)
                        with self.lock:
                            self.greenlets.append(greenlet)
                    self.run(tree)
                except BaseException as exception:
                    body_failed.append(exception)
                    raise
        except BaseExceptionGroup as exception:
            own = [leaf for one in failed + body_failed for leaf in leaves(one)]
            found = {id(leaf) for leaf in leaves(exception)}
            lost = [
                leaf
                for leaf in own
                if not isinstance(leaf, (GreenletExit, Timeout)) and id(leaf) not in found
            ]
            self.check(not lost, f"lost: {lost}")
            self.check(found <= {id(leaf) for leaf in own}, "failures of nobody come out")
            raise
        except BaseException as exception:
            self.check(not failed, f"lost: {failed}")
            self.check(isinstance(exception, (GreenletExit, Timeout)), "a failure without a group")
            raise
        else:
            self.check(not failed, f"lost: {failed}")
            swallowed = [one for one in body_failed if not isinstance(one, Cancelled)]
            self.check(not swallowed, f"lost: {swallowed}")
        finally:
            self.check(all(greenlet.dead for greenlet in greenlets), "left before the end")

    def run_child(self, tree: Any, failed: list[BaseException]) -> None:
        self.add("begun")
        try:
            self.run(tree)
        except GreenletExit:
            raise
        except BaseException as exception:
            with self.lock:
                failed.append(exception)
            raise
        finally:
            self.add("ended")


@pytest.fixture(scope="module")
def four_hubs() -> Iterator[Runtime]:
    with Runtime(pool_size=4) as runtime:
        yield runtime


@pytest.mark.slow
@given(TREES, st.integers(0, 2**32), st.booleans())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_trees(four_hubs: Runtime, tree: Any, seed: int, in_main: bool) -> None:
    play = Play(seed)

    def root() -> None:
        play.run_swallow(("group", [tree, tree], tree))
        # Nothing is pending: nobody else knows this greenlet to kill it, and all scopes have ended.
        greenpool.sleep(0)

    if in_main:
        four_hubs.block_on(root)
    else:
        four_hubs.spawn(root).get()
    assert play.problems == []
    assert play.count["begun"] == play.count["ended"]
    assert play.count["cleanups begun"] == play.count["cleanups ended"]
    assert all(greenlet.dead for greenlet in play.greenlets)
    assert all(scope.greenlet is None for scope in play.scopes)


def test_a_hundred_groups_at_once_across_hubs() -> None:
    def parent(number: int) -> str:
        complete = Event()
        try:
            with TaskGroup() as group:
                for index in range(4):
                    group.spawn_on(index, worker, number, index, complete)
                complete.set()
                if number % 3 == 0:
                    never()
        except ExceptionGroup as failed:
            assert types(failed) == [Failure]
            return "failed"
        return "succeeded"

    def worker(number: int, index: int, complete: Event) -> None:
        # Wait until all have started, because a group that is being cancelled takes no more.
        complete.wait()
        greenpool.sleep(index / 1000)
        if number % 3 == 0 and index == 2:
            raise Failure(number)

    with Runtime(pool_size=4) as runtime:
        outcomes = [runtime.spawn(parent, number) for number in range(100)]
        results = [outcome.get() for outcome in outcomes]
    assert results == ["succeeded" if number % 3 else "failed" for number in range(100)]
