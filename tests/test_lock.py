"""greenpool.lock: Lock, RLock, Semaphore, BoundedSemaphore, Condition, Barrier, DummySemaphore."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
import weakref
from contextlib import nullcontext
from decimal import Decimal
from fractions import Fraction
from typing import Any

import places
import pytest
from places import Start, alarms, interrupt_everywhere, until

import greenpool
from documents import ROOT
from greenpool import GreenletExit, Runtime, Timeout
from greenpool.lock import (
    Barrier,
    BoundedSemaphore,
    BrokenBarrierError,
    Condition,
    DummySemaphore,
    Lock,
    RLock,
    Semaphore,
)

pytestmark = pytest.mark.usefixtures("leak_check")

runtime, start, posted = places.runtime, places.start, places.posted

KINDS = [Lock, RLock, Semaphore, BoundedSemaphore]
LOCKS = [Lock, RLock]
SEMAPHORES = [Semaphore, BoundedSemaphore]

of_each_kind = pytest.mark.parametrize("kind", KINDS)


def until_in_line(primitive: Any, count: int) -> None:
    until(lambda: len(primitive._line) == count)


def free(primitive: Any) -> bool:
    """Return whether it has all its permits, no waiter, and still works."""
    for _ in range(2):
        if primitive._line or not primitive.acquire(blocking=False):
            return False
        primitive.release()
    return getattr(primitive, "counter", 1) == 1 and not primitive.locked()


# Behaviour that all of them share.


@of_each_kind
def test_acquire_and_release(kind: Any, start: Start) -> None:
    lock = kind()
    assert not lock.locked()
    assert lock.acquire() is True
    assert lock.locked()
    assert start(lock.acquire, False).get() is False
    waiting = start(lambda: (lock.acquire(), lock.release()))
    until_in_line(lock, 1)
    assert not waiting.ready()
    assert lock.release() is None
    assert waiting.get() == (True, None)
    assert free(lock)


@of_each_kind
def test_with(kind: Any, start: Start) -> None:
    lock = kind()
    with lock as entered:
        assert entered is True
        assert start(lock.acquire, False).get() is False
    with pytest.raises(ValueError), lock:
        raise ValueError
    assert free(lock)


@of_each_kind
def test_with_calls_what_a_subclass_has(kind: Any) -> None:
    calls: list[str] = []

    class Noted(kind):  # type: ignore[misc]  # a class that is known at run time only
        def acquire(self, *args: Any, **kwargs: Any) -> bool:
            calls.append("acquire")
            return bool(super().acquire(*args, **kwargs))

        def release(self, *args: Any, **kwargs: Any) -> None:
            calls.append("release")
            super().release(*args, **kwargs)

    lock = Noted()
    with lock as entered:
        assert entered is True
        assert lock.locked()
        calls.append("inside")
    assert calls == ["acquire", "inside", "release"]
    assert free(lock)


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_with_does_not_look_at_the_object_s_own_attributes(kind: Any) -> None:
    semaphore = kind()
    semaphore.acquire = semaphore.release = None
    with semaphore:
        assert semaphore.locked()
    assert not semaphore.locked()


@of_each_kind
@pytest.mark.parametrize("blocking", [True, 1, "yes", False, 0, None])
def test_blocking_is_a_truth_value(kind: Any, blocking: Any) -> None:
    lock = kind()
    assert lock.acquire(blocking) is True
    lock.release()
    assert lock.acquire(blocking=blocking) is True
    if not blocking:
        tries = [greenpool.spawn(lock.acquire, blocking), greenpool.spawn(lock.acquire, blocking=blocking)]
        assert not any(greenlet.get() for greenlet in tries)
    lock.release()
    assert free(lock)


@of_each_kind
def test_wrong_arguments(kind: Any) -> None:
    lock = kind()
    for arguments in ((1, 2, 3), (1, 2, 3, 4, 5, 6, 7, 8)):
        with pytest.raises(TypeError):
            lock.acquire(*arguments)
        with pytest.raises(TypeError):
            lock.release(*arguments)
    for wrong in ({"waiting": True}, {"blocking": True, "waiting": True}):
        with pytest.raises(TypeError):
            lock.acquire(**wrong)
    with pytest.raises(TypeError):
        lock.acquire(True, blocking=True)
    assert free(lock)


@of_each_kind
def test_an_object_that_was_never_initialized(kind: Any) -> None:
    lock = kind.__new__(kind)
    for method in (lock.acquire, lock.release, lock.__enter__, lock.__exit__):
        with pytest.raises(AttributeError):
            method()


@of_each_kind
def test_timeout(kind: Any, start: Start) -> None:
    lock = kind()
    assert start(lambda: lock.acquire(timeout=5) and lock.release() is None).get() is True
    lock.acquire()
    assert start(lambda: lock.acquire(timeout=0)).get() is False
    assert start(lambda: lock.acquire(True, 0.001)).get() is False
    waiting = start(lambda: lock.acquire(timeout=threading.TIMEOUT_MAX) and lock.release() is None)
    until_in_line(lock, 1)
    lock.release()
    assert waiting.get() is True
    assert free(lock)


@of_each_kind
def test_a_timeout_around_it(kind: Any, start: Start) -> None:
    lock = kind()
    lock.acquire()

    def wait() -> object:
        with Timeout(0.001, False):
            return lock.acquire()
        return "timed out"

    assert start(wait).get() == "timed out"
    lock.release()
    assert free(lock)


@of_each_kind
def test_first_come_first_served(kind: Any, runtime: Runtime) -> None:
    """The order holds across hubs and threads, and no latecomer overtakes a waiter."""
    lock = kind()
    order: list[int] = []
    handle = runtime.handle()
    others: list[Any] = []

    def use(number: int) -> None:
        with lock:
            order.append(number)

    lock.acquire()
    for number in range(20):
        if number % 5 == 4:
            others.append(threading.Thread(target=use, args=(number,)))
            others[-1].start()
        else:
            others.append(handle.spawn_on(number % 5, use, number))
        until_in_line(lock, number + 1)
    lock.release()
    with lock:
        order.append(20)
    for other in others:
        other.join()
    assert order == list(range(21))
    assert free(lock)


@of_each_kind
def test_who_is_killed_leaves_the_line(kind: Any, runtime: Runtime) -> None:
    lock = kind()
    lock.acquire()
    waiting = [runtime.handle().spawn_on(number % 4, lock.acquire) for number in range(8)]
    until_in_line(lock, 8)
    greenpool.killall(waiting)
    assert all(isinstance(greenlet.value, GreenletExit) for greenlet in waiting)
    assert not lock._line
    lock.release()
    assert free(lock)


@of_each_kind
@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_giving_up_at_the_moment_of_the_release(
    kind: Any, how: str, runtime: Runtime, fast_switching: None
) -> None:
    """A waiter that gives up either had the lock before, or leaves it to the next one."""
    lock = kind()
    handle = runtime.handle()
    rounds = 100
    step = threading.Barrier(3)
    victim: Any = None
    own = random.Random(0)

    def hold() -> None:
        for _ in range(rounds):
            lock.acquire()
            step.wait()
            step.wait()
            lock.release()
            step.wait()

    def kill() -> None:
        for _ in range(rounds):
            step.wait()
            step.wait()
            if how == "kill":
                victim.kill(block=False)
            step.wait()

    def use(timeout: float) -> bool:
        if not lock.acquire(timeout=timeout):
            return False
        lock.release()
        return True

    def until_in_line_or_dead(count: int, greenlet: Any) -> None:
        until(lambda: len(lock._line) == count or greenlet.dead)

    threads = [threading.Thread(target=hold), threading.Thread(target=kill)]
    for thread in threads:
        thread.start()
    for number in range(rounds):
        step.wait()
        victim = handle.spawn_on(0, use, own.random() * 0.001 if how == "timeout" else 60)
        # In every other round the victim may get in line behind the patient one.
        if number % 2:
            until_in_line_or_dead(1, victim)
        patient = handle.spawn_on(1, use, 60)
        until_in_line_or_dead(2, victim)
        step.wait()
        assert patient.get() is True
        assert victim.get() in (True, False) or isinstance(victim.value, GreenletExit)
        step.wait()
    for thread in threads:
        thread.join()
    assert free(lock)


@of_each_kind
def test_one_hub_posts_nothing(kind: Any, posted: list[object]) -> None:
    """Nothing is posted when nobody waits, nor when greenlets of the same hub wait."""
    lock = kind()

    def use() -> None:
        for _ in range(10):
            with lock:
                greenpool.sleep(0)

    greenlets = [greenpool.Greenlet(use) for _ in range(10)]
    for greenlet in greenlets:
        greenlet.start()
    for greenlet in greenlets:
        greenlet.join()
    assert not posted
    assert free(lock)


@of_each_kind
def test_fork_reinit(kind: Any) -> None:
    lock = kind()
    if kind in LOCKS:
        # The owner of the lock exists in the parent only.
        lock.acquire()
    lock._at_fork_reinit()
    assert free(lock)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork() -> None:
    """The child makes these locks anew, so they are free there, no matter who held or waited for them."""
    program = """
import os, threading, warnings
import greenpool
from greenpool.lock import Condition, Lock, RLock, Semaphore
# Python 3.12 and newer warn of a fork with several threads.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")

locks = [Lock(), RLock(), Condition()]
semaphore = Semaphore(0)
held = threading.Event()
end = threading.Event()

def hold():
    for lock in locks:
        lock.acquire()
    held.set()
    end.wait()
    for lock in locks:
        lock.release()

threads = [threading.Thread(target=hold)]
threads[0].start()
held.wait()
for lock in [*locks, semaphore]:
    os.register_at_fork(after_in_child=getattr(lock, "_at_fork_reinit"))
    threads.append(threading.Thread(target=lock.acquire, kwargs={"timeout": 30}))
    threads[-1].start()
for lock in [*locks, semaphore]:
    while not getattr(lock, "_lock", lock)._line:
        greenpool.sleep(0.001)
pid = os.fork()
if not pid:
    for lock in locks:
        with lock:
            greenpool.spawn(greenpool.sleep, 0).join()
    semaphore.release()
    os._exit(0 if semaphore.acquire(timeout=5) else 1)
status = os.waitpid(pid, 0)[1]
end.set()
semaphore.release()
threads[0].join()
os._exit(os.waitstatus_to_exitcode(status))
"""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert (process.returncode, process.stderr) == (0, "")


@of_each_kind
def test_weak_references(kind: Any) -> None:
    lock = kind()
    lock.acquire()
    reference = weakref.ref(lock)
    assert reference() is lock
    del lock
    assert reference() is None


@pytest.mark.parametrize("kind", LOCKS)
def test_bad_timeout_of_a_lock(kind: Any) -> None:
    lock = kind()
    with pytest.raises(ValueError, match="can't specify a timeout for a non-blocking call"):
        lock.acquire(False, 1)
    with pytest.raises(ValueError, match="timeout must be a non-negative number of seconds or -1, not -2"):
        lock.acquire(timeout=-2)
    with pytest.raises(OverflowError, match="timeout must be at most .* seconds, not 1e\\+100"):
        lock.acquire(timeout=1e100)
    for bad in ("soon", b"soon", float("nan"), [1]):
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not"):
            lock.acquire(timeout=bad)
    assert free(lock)
    with lock, pytest.raises(TypeError, match="timeout must be a number of seconds or None, not 'soon'"):
        lock.acquire(timeout="soon")


@of_each_kind
def test_what_else_is_a_timeout(kind: Any) -> None:
    lock = kind()
    for timeout in (None, 1, True, Decimal("0.5"), Fraction(1, 2)):
        assert lock.acquire(timeout=timeout) is True
        lock.release()
    assert free(lock)


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_bad_input_of_a_semaphore(kind: Any) -> None:
    with pytest.raises(ValueError, match="value must not be negative, not -1"):
        kind(-1)
    for bad in ("1", 1.0, None):
        with pytest.raises(TypeError, match=f"value must be an int, not {bad!r}"):
            kind(bad)
    semaphore = kind()
    with pytest.raises(ValueError, match="can't specify timeout for non-blocking acquire"):
        semaphore.acquire(False, timeout=1)
    for bad in ("soon", float("nan")):
        for method in (lambda timeout: semaphore.acquire(timeout=timeout), semaphore.wait):
            with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not"):
                method(bad)
    semaphore.acquire()
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"n must be one or more, not {number}"):
            semaphore.release(number)
    for bad in ("1", 1.5, None):
        with pytest.raises(TypeError, match=f"n must be an int, not {bad!r}"):
            semaphore.release(bad)
    with pytest.raises(TypeError, match="callback must be callable, not 5"):
        semaphore.rawlink(5)
    semaphore.release()
    assert free(semaphore)


# Signal handlers and finalizers run between any two steps.


def use_once(lock: Any) -> None:
    if lock.acquire(blocking=False):
        lock.release()


@of_each_kind
def test_a_handler_uses_it_at_any_point(kind: Any) -> None:
    def check(lock: Any) -> None:
        assert free(lock)

    def use(lock: Any) -> None:
        if lock.acquire():
            lock.release()
        with lock:
            pass
        if lock.acquire(timeout=1):
            lock.release()

    interrupt_everywhere(kind, use, use_once, check)


def test_a_handler_takes_an_rlock_that_it_has_to_wait_for_at_any_point() -> None:
    """The handler never has to wait: the lock is always free or belongs to the interrupted greenlet."""

    def use(lock: Any) -> None:
        with lock, lock:
            pass

    interrupt_everywhere(RLock, use, use, lambda lock: free(lock) or pytest.fail(repr(lock)))


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_a_handler_takes_a_permit_at_any_point(kind: Any) -> None:
    """This includes permits that exist only as a number, not in the list."""
    taken = 0

    def prepare() -> Any:
        nonlocal taken
        taken = 0
        semaphore = kind(260)
        for _ in range(257):
            semaphore.acquire()
        # The permits that are left are listed. Permits released in one call with others are not.
        for _ in range(3):
            semaphore.acquire()
        semaphore.release(2)
        return semaphore

    def take(semaphore: Any) -> None:
        nonlocal taken
        # Acquire first: ``taken += acquire()`` reads taken before the call, in which a handler may run.
        one = semaphore.acquire(blocking=False)
        taken += one

    def operate(semaphore: Any) -> None:
        take(semaphore)
        take(semaphore)
        take(semaphore)
        assert taken == 2
        semaphore.release(2)

    def check(semaphore: Any) -> None:
        while semaphore.acquire(blocking=False):
            take_back.append(None)
        assert taken + len(take_back) == 4
        take_back.clear()

    take_back: list[None] = []
    interrupt_everywhere(prepare, operate, take, check)


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_a_handler_releases_what_the_main_program_waits_for(kind: Any) -> None:
    semaphore = kind()
    semaphore.acquire()
    released = 0

    def release() -> None:
        nonlocal released
        if semaphore.locked():
            released += 1
            semaphore.release()

    acquired = 0
    with alarms(release):
        while acquired < 200:
            assert semaphore.acquire(timeout=(None, 30)[acquired % 2])
            acquired += 1
    semaphore.release()
    assert released >= 200 and free(semaphore)


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_uses_what_the_main_program_and_others_use(kind: Any, runtime: Runtime) -> None:
    lock = kind()
    handled = 0
    finished = threading.Event()

    def handle() -> None:
        nonlocal handled
        handled += 1
        use_once(lock)

    def use() -> None:
        while not finished.is_set():
            with lock:
                pass
            greenpool.sleep(0)

    others = [runtime.spawn(use) for _ in range(2)] + [greenpool.spawn(use)]
    with alarms(handle):
        while handled < 100:
            with lock:
                greenpool.sleep(0)
    finished.set()
    greenpool.joinall(others)
    assert free(lock)


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_a_finalizer_releases_it_at_any_point(kind: Any) -> None:
    """The garbage collector finds the permit's holder in the middle of another call."""

    class Permit:
        def __init__(self, semaphore: Any) -> None:
            self.itself = self
            self.semaphore = semaphore
            semaphore.acquire()

        def __del__(self) -> None:
            self.semaphore.release()

    def prepare() -> Any:
        semaphore = kind(2)
        semaphore.acquire()
        Permit(semaphore)
        return semaphore

    def use(semaphore: Any) -> None:
        use_once(semaphore)
        if semaphore.acquire(timeout=0):
            semaphore.release()

    def check(semaphore: Any) -> None:
        gc.collect(0)
        semaphore.release()
        assert semaphore.counter == 2

    gc.disable()
    try:
        interrupt_everywhere(prepare, use, lambda semaphore: gc.collect(0), check)
    finally:
        gc.enable()


# Lock


def test_lock_released_by_another(start: Start) -> None:
    lock = Lock()
    lock.acquire()
    start(lock.release).get()
    assert free(lock)


def test_lock_release_of_a_free_one() -> None:
    lock = Lock()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    assert free(lock)


def test_lock_repr() -> None:
    lock = Lock()
    assert repr(lock) == f"<unlocked greenpool.lock.Lock object at {id(lock):#x}>"
    lock.acquire()
    assert repr(lock).startswith("<locked greenpool.lock.Lock object at ")


# RLock


def test_rlock_is_its_owner_s(start: Start) -> None:
    lock = RLock()
    assert lock.acquire() and lock.acquire(False) and lock.acquire(timeout=1)
    assert lock._is_owned() and lock._recursion_count() == 3

    def other() -> None:
        assert lock.locked() and not lock._is_owned() and lock._recursion_count() == 0
        assert not lock.acquire(False)
        for method in (lock.release, lock._release_save):
            with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
                method()

    for count in (2, 1, 0):
        start(other).get()
        lock.release()
        assert lock._recursion_count() == count
    assert not lock._is_owned()
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        lock.release()
    assert free(lock)


def test_rlock_is_the_greenlet_s_and_not_its_carrier_s() -> None:
    """A greenlet that ends with the lock leaves it locked, although the next one runs on the same carrier."""
    lock = RLock()
    greenpool.spawn(lock.acquire).join()
    assert greenpool.spawn(lock.acquire, False).get() is False
    assert lock.locked()


def test_rlock_release_save(start: Start) -> None:
    lock = RLock()
    lock.acquire()
    lock.acquire()
    saved = lock._release_save()
    assert start(lambda: lock.acquire(False) and lock.release() is None).get()
    lock._acquire_restore(saved)
    assert lock._recursion_count() == 2
    lock.release()
    lock.release()
    assert free(lock)


def test_rlock_repr() -> None:
    lock = RLock()
    assert repr(lock) == f"<unlocked greenpool.lock.RLock object owner=None count=0 at {id(lock):#x}>"
    with lock, lock:
        owner = greenpool.getcurrent()
        assert repr(lock).startswith(f"<locked greenpool.lock.RLock object owner={owner!r} count=2 at ")


# Semaphore and BoundedSemaphore


@pytest.mark.parametrize("kind", SEMAPHORES)
@pytest.mark.parametrize("value", [0, 1, 3, 256, 257, 1000])
def test_semaphore_counts(kind: Any, value: int) -> None:
    semaphore = kind(value)
    for taken in range(value):
        assert semaphore.counter == value - taken and semaphore.ready() and not semaphore.locked()
        assert semaphore.acquire(blocking=taken % 2 == 0)
    assert semaphore.counter == 0 and semaphore.locked() and not semaphore.ready()
    assert not semaphore.acquire(False) and not semaphore.acquire(timeout=0)
    assert not semaphore.acquire(timeout=-1)
    if value:
        semaphore.release(value)
        assert semaphore.counter == value


@pytest.mark.usefixtures("fast_switching")
@of_each_kind
def test_threads_that_never_wait_long_lose_no_permit(kind: Any) -> None:
    """Threads take and free it as fast as they can: the fast paths of all of them meet."""
    lock = kind()
    inside = passed = 0

    def use() -> None:
        nonlocal inside, passed
        for number in range(300):
            if number % 3 == 2 and not lock.acquire(blocking=False):
                continue
            with nullcontext() if number % 3 == 2 else lock:
                inside += 1
                assert inside == 1
                passed += 1
                inside -= 1
            if number % 3 == 2:
                lock.release()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 * 200 <= passed <= 4 * 300
    assert free(lock)


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphore_without_end(kind: Any) -> None:
    semaphore = kind(10**12)
    for _ in range(1000):
        semaphore.acquire()
    assert semaphore.counter == 10**12 - 1000
    assert sys.getsizeof(semaphore._permits) < 10_000


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphore_of_many(kind: Any, start: Start) -> None:
    """As many waiters go on as there are permits, in order."""
    semaphore = kind(3)
    for _ in range(3):
        semaphore.acquire()
    order: list[int] = []
    waiting = []
    for number in range(5):
        waiting.append(start(lambda number=number: semaphore.acquire() and order.append(number)))
        until_in_line(semaphore, number + 1)
    semaphore.release(2)
    assert [waiting[0].get(), waiting[1].get()] == [None, None]
    assert sorted(order) == [0, 1] and not waiting[2].ready()
    semaphore.release()
    waiting[2].get()
    semaphore.release(2)
    assert [each.get() for each in waiting] == [None] * 5
    assert semaphore.counter == 0


def test_semaphore_has_no_bound() -> None:
    semaphore = Semaphore()
    semaphore.release()
    semaphore.release(3)
    assert semaphore.counter == 5


def test_bounded_semaphore() -> None:
    semaphore = BoundedSemaphore(3)
    for _ in range(2):
        with pytest.raises(ValueError, match="Semaphore released too many times"):
            semaphore.release()
    semaphore.acquire()
    semaphore.acquire()
    with pytest.raises(ValueError, match="Semaphore released too many times"):
        semaphore.release(3)
    assert semaphore.counter == 1
    semaphore.release(2)
    assert semaphore.counter == 3


def test_bounded_semaphore_released_by_many_at_once(fast_switching: None) -> None:
    """Three of ten releases succeed if three permits were taken."""
    for _ in range(30):
        semaphore = BoundedSemaphore(3)
        for _ in range(3):
            semaphore.acquire()
        begin = threading.Barrier(10)
        failed = []

        def release(
            semaphore: BoundedSemaphore = semaphore,
            begin: threading.Barrier = begin,
            failed: list[object] = failed,
        ) -> None:
            begin.wait()
            try:
                semaphore.release()
            except ValueError as exception:
                failed.append(exception)

        threads = [threading.Thread(target=release) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failed) == 7 and semaphore.counter == 3


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphore_wait(kind: Any, start: Start) -> None:
    """wait takes no permit, and it waits its turn."""
    semaphore = kind(2)
    assert semaphore.wait() == 2
    semaphore.acquire()
    semaphore.acquire()
    assert semaphore.wait(0) == semaphore.wait(0.001) == semaphore.wait(-1) == 0
    waiting = [start(semaphore.wait)]
    until_in_line(semaphore, 1)
    waiting.append(start(semaphore.acquire))
    until_in_line(semaphore, 2)
    waiting.append(start(semaphore.wait))
    until_in_line(semaphore, 3)
    semaphore.release()
    assert waiting[0].get() in (0, 1)
    assert waiting[1].get() is True
    greenpool.sleep(0)
    assert not waiting[2].ready()
    semaphore.release()
    assert waiting[2].get() == 1


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphore_rawlink(kind: Any, start: Start) -> None:
    semaphore = kind()
    called: list[object] = []
    semaphore.rawlink(called.append)
    until(lambda: called == [semaphore])
    semaphore.acquire()
    semaphore.rawlink(called.append)
    semaphore.rawlink(called.append)
    semaphore.unlink(called.append)
    semaphore.unlink(print)
    start(semaphore.release).get()
    until(lambda: len(called) == 2)
    semaphore.unlink(called.append)
    assert greenpool.wait([semaphore], timeout=0) == [semaphore]
    assert free(semaphore) and len(called) == 2


def test_semaphore_repr_and_attributes() -> None:
    semaphore = Semaphore(300)
    assert repr(semaphore) == f"<greenpool.Semaphore at {id(semaphore):#x}: value=300>"
    bounded = BoundedSemaphore(3)
    bounded.acquire()
    assert repr(bounded) == f"<greenpool.BoundedSemaphore at {id(bounded):#x}: value=2/3>"
    bounded.note = 1  # type: ignore[attr-defined]


def test_dummy_semaphore() -> None:
    semaphore = DummySemaphore(5)
    assert repr(semaphore) == "<DummySemaphore>"
    for _ in range(10):
        assert semaphore.acquire() and semaphore.acquire(False) and semaphore.acquire(timeout=1)
    semaphore.release()
    semaphore.release(3)
    assert semaphore.ready() and not semaphore.locked() and semaphore.wait() == semaphore.wait(1) == 1
    semaphore.rawlink(print)
    semaphore.unlink(print)
    with semaphore as entered:
        assert entered is True
    assert weakref.ref(semaphore)() is semaphore


# Condition


@pytest.mark.parametrize("make", [RLock, Lock, threading.RLock, threading.Lock, lambda: None])
def test_condition(make: Any) -> None:
    """A condition works with any lock."""
    lock = make()
    condition = Condition(lock) if lock else Condition()
    state: list[int] = []

    def wait() -> list[int]:
        with condition:
            condition.wait_for(lambda: len(state) == 3)
            return list(state)

    waiting = [greenpool.spawn(wait) for _ in range(3)]
    for number in range(3):
        greenpool.sleep(0)
        assert condition.acquire() is True
        state.append(number)
        condition.notify_all()
        condition.release()
    assert [greenlet.get() for greenlet in waiting] == [[0, 1, 2]] * 3


def test_condition_notify(start: Start) -> None:
    """notify wakes the longest waiting, as many as asked for. They return True when they have the lock."""
    condition = Condition()
    order: list[int] = []

    def wait(number: int) -> bool:
        with condition:
            result = condition.wait()
            order.append(number)
            return result

    waiting = []
    for number in range(6):
        waiting.append(start(wait, number))
        until(lambda: len(condition._waiting) == len(waiting))
    with condition:
        condition.notify()
        greenpool.sleep(0.001)
        assert not order
    until(lambda: order == [0])
    with condition:
        condition.notify(2)
    until(lambda: len(order) == 3)
    assert sorted(order) == [0, 1, 2]
    with condition:
        condition.notify(0)
        condition.notify_all()
    assert [each.get() for each in waiting] == [True] * 6
    with condition:
        condition.notify()  # wakes nobody
        condition.notify_all()
        assert condition.wait(0.001) is False


def test_condition_timeout(start: Start) -> None:
    condition = Condition()

    def wait(timeout: float) -> bool:
        with condition, condition:
            result = condition.wait(timeout)
            # The greenlet has the lock as many times as before.
            assert condition._lock._recursion_count() == 2
            return result

    for timeout in (0, 0.001, -1):
        assert start(wait, timeout).get() is False
    assert not condition._waiting
    waiting = start(wait, threading.TIMEOUT_MAX)
    until(lambda: condition._waiting)
    with condition:
        condition.notify()
    assert waiting.get() is True


def test_condition_wait_for(start: Start) -> None:
    condition = Condition()
    values: list[str] = []

    def last() -> str:
        return values[-1] if values else ""

    def wait(timeout: float | None) -> str:
        with condition:
            return condition.wait_for(last, timeout)

    assert start(wait, 0).get() == start(wait, 0.001).get() == ""
    waiting = start(wait, 60)
    until(lambda: condition._waiting)
    with condition:
        condition.notify()
    until(lambda: condition._waiting)
    assert not waiting.ready()
    with condition:
        values.append("value")
        condition.notify()
    assert waiting.get() == start(wait, None).get() == "value"


@pytest.mark.parametrize("make", [RLock, Lock])
def test_condition_not_held(make: Any) -> None:
    condition = Condition(make())
    for method, word in (
        (condition.wait, "wait"), (condition.notify, "notify"), (condition.notify_all, "notify"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=f"cannot {word} on un-acquired lock"):
            method()
    with condition, pytest.warns(DeprecationWarning, match="notifyAll"):
        condition.notifyAll()


def test_condition_who_is_killed_has_the_lock() -> None:
    """The killed greenlet has the lock in its finally blocks, as after every other way out of wait."""
    condition = Condition()
    held: list[bool] = []

    def wait() -> None:
        with condition:
            try:
                condition.wait()
            finally:
                held.append(condition._is_owned())

    waiting = greenpool.spawn(wait)
    greenpool.sleep(0)
    with condition:
        waiting.kill(block=False)
        greenpool.sleep(0.001)
        assert held == []
        # Kill it again, while it waits for the lock.
        waiting.kill(block=False)
        greenpool.sleep(0.001)
        assert held == []
    waiting.join()
    assert held == [True]
    assert not condition._waiting and not condition._lock.locked()


@pytest.mark.parametrize("kind", LOCKS)
def test_condition_kill_at_the_moment_of_the_notify(
    kind: Any, runtime: Runtime, fast_switching: None
) -> None:
    """Each notify reaches one of the two greenlets that wait."""
    condition = Condition(kind())
    handle = runtime.handle()

    def wait() -> bool:
        with condition:
            return condition.wait()

    for _ in range(100):
        victim = handle.spawn_on(0, wait)
        until(lambda: len(condition._waiting) == 1)
        patient = handle.spawn_on(1, wait)
        until(lambda: len(condition._waiting) == 2)
        begin = threading.Barrier(2)

        def kill(begin: threading.Barrier = begin, victim: greenpool.Greenlet = victim) -> None:
            begin.wait()
            victim.kill(block=False)

        thread = threading.Thread(target=kill)
        thread.start()
        with condition:
            begin.wait()
            condition.notify()
        thread.join()
        if victim.get() is True:
            with condition:
                condition.notify()
        assert patient.get() is True
    assert not condition._waiting and not condition._lock.locked()


def test_condition_handler_notifies() -> None:
    condition = Condition()
    ready = False

    def handle() -> None:
        nonlocal ready
        if condition.acquire(False):
            ready = True
            condition.notify_all()
            condition.release()

    def is_ready() -> bool:
        return ready

    with alarms(handle):
        for _ in range(100):
            with condition:
                assert condition.wait_for(is_ready)
                ready = False


def test_condition_one_hub_posts_nothing(posted: list[object]) -> None:
    condition = Condition()
    turn = 0

    def take_turns(own: int) -> None:
        nonlocal turn

        def is_next() -> bool:
            return turn == own

        for _ in range(20):
            with condition:
                condition.wait_for(is_next)
                turn = 1 - own
                condition.notify()

    greenlets = [greenpool.Greenlet(take_turns, own) for own in range(2)]
    for greenlet in greenlets:
        greenlet.start()
    for greenlet in greenlets:
        greenlet.join()
    assert not posted


def test_condition_repr_and_fork_reinit() -> None:
    condition = Condition()
    assert repr(condition) == f"<Condition({condition._lock!r}, 0)>"
    condition.acquire()
    waiting = greenpool.spawn(lambda: condition.acquire())
    greenpool.sleep(0)
    condition._at_fork_reinit()
    assert condition.acquire(False)
    condition.notify_all()
    condition.release()
    waiting.kill()
    condition.note = 1  # type: ignore[attr-defined]
    assert weakref.ref(condition)() is condition


def test_condition_bad_input() -> None:
    for bad in (5, "lock"):
        with pytest.raises(TypeError, match=f"lock must be a lock or None, not {bad!r}"):
            Condition(bad)  # type: ignore[arg-type]
    condition = Condition()
    with condition:
        for method in (condition.wait, lambda timeout: condition.wait_for(lambda: True, timeout)):
            with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not 'soon'"):
                method("soon")
        with pytest.raises(TypeError, match="n must be an int, not '1'"):
            condition.notify("1")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="predicate must be callable, not 5"):
            condition.wait_for(5)  # type: ignore[arg-type]
    assert not condition._waiting


# Barrier


def test_barrier(start: Start) -> None:
    """No party passes before all are there, and each gets a number of its own."""
    barrier = Barrier(3)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    for _ in range(3):
        waiting = [start(barrier.wait) for _ in range(2)]
        until(lambda: barrier.n_waiting == 2)
        assert not waiting[0].ready() and not waiting[1].ready()
        assert sorted([barrier.wait(), waiting[0].get(), waiting[1].get()]) == [0, 1, 2]
        assert barrier.n_waiting == 0
    single = Barrier(1)
    assert single.wait() == single.wait() == 0


def test_barrier_action(start: Start) -> None:
    """The last party calls it once a round, before any of them passes."""
    called: list[object] = []
    barrier = Barrier(2, lambda: called.append(greenpool.getcurrent()))
    waiting = start(lambda: (barrier.wait(), len(called)))
    until(lambda: barrier.n_waiting == 1)
    assert barrier.wait() == 1
    assert waiting.get() == (0, 1)
    assert called == [greenpool.getcurrent()]


def test_barrier_action_that_fails(start: Start) -> None:
    barrier = Barrier(2, lambda: 1 // 0)
    waiting = start(barrier.wait)
    until(lambda: barrier.n_waiting == 1)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    with pytest.raises(BrokenBarrierError):
        waiting.get()
    assert barrier.broken


def test_barrier_timeout(start: Start) -> None:
    barrier = Barrier(3)
    waiting = start(barrier.wait)
    until(lambda: barrier.n_waiting == 1)
    for timeout in (0.001, 0):
        with pytest.raises(BrokenBarrierError):
            barrier.wait(timeout)
    with pytest.raises(BrokenBarrierError):
        waiting.get()
    assert barrier.broken and barrier.n_waiting == 0
    with pytest.raises(BrokenBarrierError):
        start(barrier.wait).get()


def test_barrier_default_timeout() -> None:
    barrier = Barrier(2, timeout=0.001)
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    waiting = greenpool.spawn(barrier.wait, 60)
    greenpool.sleep(0.005)
    assert not waiting.ready()
    assert sorted([barrier.wait(), waiting.get()]) == [0, 1]


@pytest.mark.parametrize("how", ["reset", "abort"])
def test_barrier_reset_and_abort(how: str, start: Start) -> None:
    barrier = Barrier(3)
    waiting = [start(barrier.wait) for _ in range(2)]
    until(lambda: barrier.n_waiting == 2)
    getattr(barrier, how)()
    for each in waiting:
        with pytest.raises(BrokenBarrierError):
            each.get()
    assert barrier.broken == (how == "abort") and barrier.n_waiting == 0
    barrier.reset()
    waiting = [start(barrier.wait) for _ in range(2)]
    assert sorted([barrier.wait(), *(each.get() for each in waiting)]) == [0, 1, 2]


def test_barrier_reset_before_a_timed_out_one_has_noticed() -> None:
    """The timed-out party's round is over, so it no longer breaks the barrier."""
    barrier = Barrier(3)
    waiting = greenpool.spawn(barrier.wait, 60)
    greenpool.sleep(0)
    (waiter,) = barrier._round
    waiter._expire()
    barrier.reset()
    waiting.quiet = True
    waiting.join()
    assert isinstance(waiting.exception, BrokenBarrierError)
    assert not barrier.broken


def test_barrier_who_is_killed_does_not_count() -> None:
    barrier = Barrier(2)
    waiting = greenpool.spawn(barrier.wait)
    greenpool.sleep(0)
    waiting.kill(block=False)
    assert barrier.n_waiting == 1  # the killed greenlet has not left yet
    other = greenpool.spawn(barrier.wait)
    waiting.join()
    greenpool.sleep(0)
    assert not other.ready() and barrier.n_waiting == 1
    assert barrier.wait() == 1 and other.get() == 0


def test_barrier_kill_as_the_last_one_comes(runtime: Runtime, fast_switching: None) -> None:
    """Either all three pass, or the two that live wait for another one."""
    barrier = Barrier(3)
    handle = runtime.handle()
    for _ in range(100):
        victim = handle.spawn_on(0, barrier.wait)
        until(lambda: barrier.n_waiting == 1)
        waiting = handle.spawn_on(1, barrier.wait)
        until(lambda: barrier.n_waiting == 2)
        begin = threading.Barrier(2)

        def kill(begin: threading.Barrier = begin, victim: greenpool.Greenlet = victim) -> None:
            begin.wait()
            victim.kill(block=False)

        thread = threading.Thread(target=kill)
        thread.start()
        begin.wait()
        last = handle.spawn_on(2, barrier.wait)
        numbers = [victim.get()]
        if isinstance(numbers[0], GreenletExit):
            numbers = [barrier.wait()]
        assert sorted([*numbers, waiting.get(), last.get()]) == [0, 1, 2]
        thread.join()
    assert barrier.n_waiting == 0 and not barrier.broken


def test_barrier_one_hub_posts_nothing(posted: list[object]) -> None:
    barrier = Barrier(5)
    greenlets = [greenpool.Greenlet(lambda: [barrier.wait() for _ in range(10)]) for _ in range(5)]
    for greenlet in greenlets:
        greenlet.start()
    for greenlet in greenlets:
        greenlet.join()
    assert not posted


def test_barrier_repr() -> None:
    barrier = Barrier(2)
    assert repr(barrier) == f"<greenpool.Barrier at {id(barrier):#x}: waiters=0/2>"
    barrier.abort()
    assert repr(barrier) == f"<greenpool.Barrier at {id(barrier):#x}: broken>"
    barrier.note = 1  # type: ignore[attr-defined]
    assert weakref.ref(barrier)() is barrier


def test_barrier_bad_input() -> None:
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"parties must be at least 1, not {number}"):
            Barrier(number)
    for bad in ("2", 1.5, None):
        with pytest.raises(TypeError, match=f"parties must be an int, not {bad!r}"):
            Barrier(bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="action must be callable, not 5"):
        Barrier(2, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not 'soon'"):
        Barrier(2, timeout="soon")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not 'soon'"):
        Barrier(2).wait("soon")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("fast_switching")
def test_a_barrier_is_broken_before_anybody_learns_of_it() -> None:
    def fail() -> None:
        raise LookupError

    for _ in range(300):
        barrier = Barrier(2, action=fail)
        broken: list[bool] = []

        def wait(barrier: Barrier = barrier, broken: list[bool] = broken) -> None:
            with pytest.raises(BrokenBarrierError):
                barrier.wait()
            broken.append(barrier.broken)
            barrier.reset()

        thread = threading.Thread(target=wait)
        thread.start()
        while not barrier.n_waiting:
            greenpool.sleep(0)
        with pytest.raises(LookupError):
            barrier.wait()
        thread.join()
        assert broken == [True]
        assert not barrier.broken


def test_a_finalizer_between_two_greenlets_owns_the_lock_that_it_takes() -> None:
    lock = RLock()
    seen: list[bool] = []

    class Value:
        def __del__(self) -> None:
            with lock:
                seen.append("owner=None" in repr(lock))
            seen.append(lock.acquire(blocking=False))
            lock.release()

    greenpool.spawn(Value)
    greenpool.sleep(0)
    assert seen == [False, True]
    assert " owner=None " in repr(lock)


@pytest.mark.usefixtures("fast_switching")
def test_a_semaphore_with_free_permits_never_looks_locked() -> None:
    semaphore = Semaphore(500)
    looking = True
    least = 500

    def look() -> None:
        nonlocal least
        while looking:
            least = min(least, semaphore.counter)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(200):
        for _ in range(300):
            semaphore.acquire()
        semaphore.release(300)
    looking = False
    thread.join()
    assert least >= 200
