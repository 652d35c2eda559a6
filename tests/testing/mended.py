"""The races that commits have mended: a program for each, and the mend taken away.

Each program is right as greenpool is now.  ``take_away`` puts the code before the mend in place: it compiles
the source of a function again with one text replaced, and fails if the function no longer has that text.
explore must then find the fault.  It runs in a process of its own, because nothing is put back and hubs may
be left that never end::

    GREENPOOL_PUREPYTHON=1 python -m testing.mended NAME WITH WITHOUT

tries so many schedules with the mend and without, and says what comes of it.  It must be pure Python, because
the mends in C cannot be taken away.
"""

from __future__ import annotations
import __future__

import inspect
import os
import sys
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from tls import CERTIFICATE

import greenpool
from greenpool import futures, socket, ssl, testing
from greenpool._core import descriptor, timers
from greenpool._core.hub import Hub
from greenpool._core.inbox import Inbox
from greenpool._core.scheduled import Scheduler
from greenpool._core.state import HubState
from greenpool._core.task import Task
from greenpool._core.timeout import Timeout as CoreTimeout
from greenpool._sync import semaphore as semaphore_module
from greenpool._sync import waitable
from greenpool.cancel import CancelScope, current_time
from greenpool.event import AsyncResult, Event
from greenpool.lock import Barrier, BoundedSemaphore, BrokenBarrierError, Condition, Lock, Semaphore
from greenpool.pool import Group, Pool
from greenpool.queue import Channel, Queue, ShutDown, SimpleQueue
from greenpool.runtime import current_handle
from greenpool.taskgroup import TaskGroup

from .between_lines import (
    CORE,
    between_lines,
    compute,
    in_sleep,
    interrupted,
    path_of,
    plain_thread,
    time_passes,
)


class Change(NamedTuple):
    """In the source of ``owner.name``, *now* was *before* until the mend."""

    owner: Any
    name: str
    now: str
    before: str


class Race(NamedTuple):
    name: str
    commit: str
    program: Callable[[], object]
    changes: tuple[Change, ...]
    # The files between whose lines another hub may go on; none: explore as it is finds the fault.
    files: frozenset[str] = frozenset()


def take_away(changes: tuple[Change, ...]) -> None:
    """Put the code before a mend in place."""
    for owner, name in dict.fromkeys((change.owner, change.name) for change in changes):
        found = vars(owner)[name]
        function = found.fget if isinstance(found, property) else found
        lines, first = inspect.getsourcelines(function)
        source = textwrap.dedent("".join(lines))
        for change in changes:
            if (change.owner, change.name) == (owner, name):
                count = source.count(change.now)
                if count != 1:
                    raise LookupError(f"{change.now!r} is {count} times in {owner.__name__}.{name}")
                source = source.replace(change.now, change.before)
        code = compile(
            "\n" * (first - 1) + source,
            inspect.getfile(function),
            "exec",
            __future__.annotations.compiler_flag,
            dont_inherit=True,
        )
        made: dict[str, Any] = {}
        exec(code, function.__globals__, made)
        if isinstance(owner, ModuleType):
            _replace_everywhere(found, made[name])
        else:
            setattr(owner, name, made[name])


def _replace_everywhere(function: object, replacement: object) -> None:
    for key, module in list(sys.modules.items()):
        if key.startswith("greenpool"):
            for name, value in list(vars(module).items()):
                if value is function:
                    setattr(module, name, replacement)


def explore(race: Race, schedules: int) -> str:
    """ "passes" if no schedule fails; otherwise the process says under which it failed, and ends at once."""
    tried = 0

    def say(error: BaseException, number: int) -> None:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"fails under schedule {number}: {text}", flush=True)
        os._exit(0)

    def program() -> None:
        nonlocal tried
        tried += 1
        try:
            race.program()
        except BaseException as error:
            say(error, tried)

    end_run = Scheduler.end

    def end_or_say(scheduler: Scheduler) -> None:
        error = sys.exception()
        if error is not None:
            # The program is through, but a hub never ends.
            say(error, tried)
        end_run(scheduler)

    Scheduler.end = end_or_say  # type: ignore[method-assign]
    with between_lines(race.files) if race.files else nullcontext():
        try:
            testing.explore(program, schedules=schedules)
        except testing.ScheduleFailed as failure:
            # In a greenlet that nobody has asked.
            say(failure.error, failure.tried)
    Scheduler.end = end_run  # type: ignore[method-assign]
    return "passes"


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(CERTIFICATE)
        file.flush()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(file.name)
        return server, ssl.create_default_context(cafile=file.name)


# The programs.


def on(hub: int, function: Callable[..., Any], *args: Any) -> Any:
    handle = current_handle()
    assert handle is not None
    return handle.spawn_on(hub, function, *args)


def end(*greenlets: Any) -> None:
    for greenlet in greenlets:
        greenlet.get()


def wait_while_set() -> None:
    event = Event()
    end(on(0, event.wait), on(1, event.set))


def release_while_getting_in_line() -> None:
    lock = Lock()

    def work() -> None:
        with lock:
            pass

    end(on(0, work), on(1, work))


def get_while_put() -> None:
    queue: SimpleQueue[int] = SimpleQueue()
    end(on(0, queue.get), on(1, queue.put, 1))


def room_when_empty() -> None:
    """A pool that is seen empty has room."""
    pool = Pool(1)
    end(on(0, pool.spawn, greenpool.sleep, 0))

    def refill() -> None:
        pool.join()
        pool.start(greenpool.Greenlet(greenpool.sleep, 0), blocking=False)

    end(on(1, refill))


def added_twice() -> None:
    """A greenlet that two add at once takes one room."""
    pool = Pool(2)
    member = greenpool.Greenlet(greenpool.sleep, 0)
    end(on(0, pool.add, member), on(1, pool.add, member))
    member.start()
    member.join()
    pool.join()
    for _ in range(2):
        pool.start(greenpool.Greenlet(greenpool.sleep, 0), blocking=False)


def started_twice() -> None:
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        greenpool.sleep(0)

    greenlet = greenpool.Greenlet(work)
    end(on(0, greenlet.start), on(1, greenlet.start))
    greenlet.join()
    greenpool.sleep(1)
    assert runs == [1], runs


def linked_while_started() -> None:
    called: list[object] = []

    def start(greenlet: Any) -> None:
        greenlet.start()
        greenlet.join()

    for number in range(10):
        greenlet = greenpool.Greenlet(int)
        end(on(0, start, greenlet), on(1, greenlet.rawlink, called.append))
        greenpool.sleep(1)
        assert len(called) == number + 1, "the link is lost"


def killed_while_started() -> None:
    ran: list[int] = []
    greenlet = greenpool.Greenlet(ran.append, 1)
    end(on(0, greenlet.start), on(1, greenlet.kill))
    greenlet.join()
    greenpool.sleep(1)
    assert bool(ran) != isinstance(greenlet.value, greenpool.GreenletExit), (ran, greenlet.value)


def broken_before_told() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    barrier = Barrier(2, fail)

    def wait() -> None:
        try:
            barrier.wait()
        except BrokenBarrierError:
            assert barrier.broken, "told before it is broken"
        except ZeroDivisionError:
            pass

    end(on(0, wait), on(1, wait))


def timed_out_after_reset() -> None:
    barrier = Barrier(2)

    def give_up() -> None:
        try:
            barrier.wait(1)
        except BrokenBarrierError:
            pass

    def reset() -> None:
        greenpool.sleep(1)
        barrier.reset()
        barrier.wait()

    def join() -> None:
        greenpool.sleep(2)
        barrier.wait()

    end(on(0, give_up), on(1, reset), on(0, join))


def counter_while_listing() -> None:
    semaphore_module.MAX_LISTED = 4
    semaphore = Semaphore(8)

    def take() -> None:
        for _ in range(5):
            for _ in range(5):
                semaphore.acquire()
            semaphore.release(5)

    def look() -> None:
        for _ in range(10):
            assert semaphore.counter >= 3, semaphore.counter

    end(on(0, take), on(1, look))


def refused_release() -> None:
    semaphore = BoundedSemaphore(2)
    semaphore.acquire()

    def too_many() -> None:
        try:
            semaphore.release(2)
        except ValueError:
            pass

    end(on(0, too_many), on(1, semaphore.release))


def joined_while_done() -> None:
    queue: Queue[int] = Queue()
    queue.put(1)
    end(on(0, queue.join), on(1, queue.task_done))


def copied_while_put() -> None:
    """At most the item that another thread is putting is counted, and missing in the copy."""
    queue: Queue[int] = Queue()

    def put() -> None:
        for number in range(4):
            queue.put(number)

    def copy() -> None:
        copied = queue.copy()
        assert copied.unfinished_tasks - copied.qsize() <= 1, copied

    end(on(0, put), on(1, copy))


def unlinked_while_waiting() -> None:
    event = Event()
    links = [list[object]().append for _ in range(5)]
    for link in links:
        event.rawlink(link)
    waiters = [on(0, event.wait) for _ in range(3)]

    def unlink() -> None:
        for link in reversed(links):
            event.unlink(link)

    end(on(1, unlink))
    event.set()
    end(*waiters)


def set_just_before_get() -> None:
    """Links are called before a later get returns."""

    def get(result: AsyncResult[int]) -> None:
        called: list[object] = []
        result.rawlink(called.append)
        greenpool.sleep(0)
        result.get()
        assert called

    for _ in range(4):
        result: AsyncResult[int] = AsyncResult()
        end(on(0, get, result), on(1, result.set, 1))


def set_just_before_wait() -> None:
    def wait(event: Event) -> None:
        called: list[object] = []
        event.rawlink(called.append)
        greenpool.sleep(0)
        event.wait()
        assert called

    for _ in range(4):
        event = Event()
        end(on(0, wait, event), on(1, event.set))


def joined_while_links_are_due() -> None:
    def join(greenlet: Any, called: list[object]) -> None:
        greenlet.join()
        assert called

    for _ in range(4):
        called: list[object] = []
        greenlet = on(0, greenpool.sleep, 0)
        greenlet.rawlink(called.append)
        end(on(1, join, greenlet, called))


def group_joined_behind_links() -> None:
    """A link that is posted before the member ends is called before a join of the group returns."""
    group = Group()
    called: list[object] = []
    ready = Event()

    def spawn() -> Any:
        member = greenpool.Greenlet(int)
        group.add(member)
        member.start_later(10)
        return member

    member = on(0, spawn).get()

    def join() -> None:
        member.rawlink(called.append)
        was_member = not member.dead
        ready.set()
        group.join()
        assert called or not was_member

    end(on(1, join), on(1, member.kill))


def group_joined_behind_own_links() -> None:
    group = Group()
    called: list[object] = []

    def work() -> None:
        member = group.spawn(greenpool.sleep, 0)
        member.link(called.append)
        group.join()
        assert called

    end(on(0, work))


def task_group_left_behind_links() -> None:
    called: list[object] = []

    def work() -> None:
        with TaskGroup() as group:
            group.spawn(greenpool.sleep, 0).link(called.append)
        assert called

    end(on(0, work))


def future_done_behind_links() -> None:
    called: list[object] = []

    def work() -> None:
        greenlet = greenpool.spawn(greenpool.sleep, 0)
        future = greenlet.as_future()
        greenlet.link(called.append)
        future.result()
        assert called

    end(on(0, work))


def woken_behind_links() -> None:
    event = Event()
    order: list[str] = []
    begun = Event()

    def wait() -> None:
        event.rawlink(lambda _: order.append("link"))
        begun.set()
        event.wait()
        order.append("waiter")

    waiter = on(0, wait)

    def work() -> None:
        begun.wait()
        event.set()

    end(on(0, work), waiter)
    assert order == ["link", "waiter"], order


def unlinked_while_due() -> None:
    event = Event()

    def work() -> None:
        called: list[object] = []
        event.rawlink(called.append)
        greenpool.sleep(0)
        event.unlink(called.append)
        before = len(called)
        greenpool.sleep(1)
        assert len(called) == before, "called after unlink"

    worker = on(0, work)
    end(on(1, event.set), worker)


def condition_killed_when_notified() -> None:
    """A notify that a killed greenlet has taken goes to another one."""
    condition = Condition(Lock())
    waiting: list[Any] = []

    def wait() -> None:
        with condition:
            waiting.append(greenpool.getcurrent())
            condition.wait()

    waiters = [on(0, wait), on(0, wait)]

    def notify() -> None:
        while len(waiting) < 2:
            greenpool.sleep(1)
        first = waiting[0]
        with condition:
            condition.notify()
            first.kill(block=False)
            greenpool.sleep(1)
        greenpool.joinall(waiters, count=2 if isinstance(first.value, greenpool.GreenletExit) else 1)
        with condition:
            condition.notify_all()

    end(on(1, notify))


def condition_killed_while_it_takes_the_lock() -> None:
    condition = Condition(Lock())
    waiting = Event()

    def wait() -> None:
        with condition:
            waiting.set()
            condition.wait()

    waiter = on(0, wait)

    def notify() -> None:
        waiting.wait()
        with condition:
            condition.notify()
            greenpool.sleep(0)
            waiter.kill(block=False)
            greenpool.sleep(1)

    end(on(1, notify))
    waiter.join()
    assert waiter.exception is None, waiter.exception
    with condition:
        pass


def timeout_outlives_its_task() -> None:
    def leave_open() -> None:
        greenpool.Timeout(1).start()

    def work() -> None:
        greenpool.sleep(2)

    end(on(0, leave_open))
    end(on(0, work))


def woken_together() -> None:
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    got: list[bytes] = []

    def read() -> None:
        while True:
            socket.wait_read(fd)
            try:
                got.append(ours.recv(1, socket.MSG_DONTWAIT))
                return
            except BlockingIOError:
                pass

    readers = [on(0, read), on(0, read)]
    greenpool.sleep(1)
    theirs.send(b"a")
    greenpool.sleep(1)
    theirs.send(b"b")
    end(*readers)
    ours.close()
    theirs.close()


def handed_over_to_a_getter() -> None:
    """A put that raises a kill has not put."""
    channel: Channel[int] = Channel()
    got: list[int] = []
    put: list[int] = []

    def get() -> None:
        got.append(channel.get())

    def give() -> None:
        greenpool.sleep(1)
        try:
            channel.put(1, timeout=5)
            put.append(1)
        except BaseException:
            pass

    getter = on(0, get)
    giver = on(0, give)

    def kill() -> None:
        greenpool.sleep(1)
        giver.kill(block=False)

    killer = on(0, kill)
    giver.join()
    killer.join()
    greenpool.sleep(10)
    assert got == put, (got, put)
    getter.kill()


def closed_while_it_begins_to_wait() -> None:
    ours, theirs = socket.socketpair()

    def read() -> None:
        try:
            ours.recv(1)
        except OSError:
            pass

    end(on(0, read), on(1, ours.close))
    theirs.close()


def posted_while_falling_asleep() -> None:
    for _ in range(4):
        event = Event()
        waiter = on(0, event.wait)
        greenpool.sleep(1)
        end(on(1, event.set), waiter)


def released_while_getting_in_line() -> None:
    semaphore = Semaphore(1)

    def work() -> None:
        with semaphore:
            pass

    end(on(0, work), on(1, work))


def shut_down_while_put() -> None:
    """An item whose put returned is got, or put says that the queue is shut down."""
    queue: Queue[int] = Queue()
    got: list[int] = []
    put: list[int] = []

    def get() -> None:
        try:
            got.append(queue.get())
        except ShutDown:
            pass

    def give() -> None:
        try:
            queue.put(1)
            put.append(1)
        except ShutDown:
            pass

    def close() -> None:
        queue.shutdown()
        get()

    end(on(0, give), on(1, close))
    assert got == put, (got, put)


def killed_before_its_turn() -> None:
    """A greenlet that is killed before it has run never runs, even if a finalizer waits meanwhile."""
    ran: list[int] = []

    class Waits:
        def __del__(self) -> None:
            greenpool.sleep(0)

    def work(_: object) -> None:
        ran.append(1)

    def kill() -> None:
        greenlet = greenpool.spawn(work, Waits())
        greenlet.kill()
        assert bool(ran) != isinstance(greenlet.value, greenpool.GreenletExit), greenlet.value

    end(on(0, kill))


def received_before_a_kill() -> None:
    """A kill loses no byte that was received."""
    ours, theirs = socket.socketpair()
    sent = 300
    received: list[bytes] = []
    theirs.sendall(b"x" * sent)
    theirs.shutdown(socket.SHUT_WR)

    def receive() -> None:
        while data := ours.recv(1):
            received.append(data)

    receiver = on(0, receive)
    end(on(1, receiver.kill))
    left = 0
    while data := ours.recv(1000):
        left += len(data)
    assert len(received) + left == sent, (len(received), left)
    ours.close()
    theirs.close()


def sent_in_time() -> None:
    """What was sent before a recv has timed out is received."""
    ours, theirs = socket.socketpair()
    ours.settimeout(1)
    sent: list[int] = []

    def receive() -> None:
        try:
            ours.recv(1)
        except TimeoutError:
            assert not sent

    def send() -> None:
        greenpool.sleep(1)
        theirs.send(b"x")
        sent.append(1)

    end(on(0, receive), on(0, send))
    ours.close()
    theirs.close()


def ready_in_time() -> None:
    ours, theirs = socket.socketpair()
    sent: list[int] = []

    def wait() -> None:
        try:
            socket.wait_read(ours.fileno(), timeout=1)
        except TimeoutError:
            assert not sent

    def send() -> None:
        greenpool.sleep(1)
        theirs.send(b"x")
        sent.append(1)

    end(on(0, wait), on(0, send))
    ours.close()
    theirs.close()


def deadline_moved_in_time() -> None:
    def work(scope: CancelScope, moved: list[int]) -> None:
        with scope:
            for _ in range(30):
                greenpool.sleep(0)
            greenpool.sleep(5)
        assert not (scope.cancelled_caught and moved)

    def move(scope: CancelScope, moved: list[int]) -> None:
        scope.deadline = current_time() + 100
        moved.append(1)
        # The other hub has been busy up to the old deadline.
        time_passes(1)

    for _ in range(4):
        scope = CancelScope(deadline=current_time() + 1)
        moved: list[int] = []
        end(on(0, work, scope, moved), on(1, move, scope, moved))


def claimed_but_not_posted() -> None:
    """A waiter goes on behind the links of its hub, though the thread that has set the event is late."""
    event = Event()
    called: list[object] = []

    def wait() -> None:
        event.rawlink(called.append)
        greenpool.sleep(0)
        event.wait()
        assert called

    end(on(0, wait), on(1, event.set))


def read_ahead_for_others() -> None:
    """Each of two greenlets that read one TLS connection gets its byte, though one has read both ahead."""
    server_context, client_context = tls_contexts()
    ours, theirs = socket.socketpair()

    def connect(sock: Any, context: Any, **arguments: Any) -> Any:
        return context.wrap_socket(sock, **arguments)

    serving = on(0, lambda: connect(ours, server_context, server_side=True))
    client = on(1, lambda: connect(theirs, client_context, server_hostname="localhost")).get()
    server = serving.get()
    readers = [on(hub, server.recv, 1) for hub in (0, 1)]
    greenpool.sleep(1)
    client.sendall(b"ab")
    assert sorted(reader.get() for reader in readers) == [b"a", b"b"]
    server.close()
    client.close()


# With a plain thread, which runs its hub only while it waits.


def joined_on_a_plain_thread() -> None:
    """A join from a hub returns, though the greenlet's thread computes for ever."""
    known: AsyncResult[Any] = AsyncResult()
    joined: list[int] = []

    def main() -> None:
        greenlet = greenpool.spawn(greenpool.sleep, 0)
        known.set(greenlet)
        while not greenlet.dead:
            greenpool.sleep(0)
        compute()
        assert joined, "the join has not returned"

    def join() -> None:
        known.get().join()
        joined.append(1)

    joiner = on(0, join)
    errors = plain_thread(main)
    end(joiner)
    assert not errors, errors[0]


def joined_behind_links_of_a_plain_thread() -> None:
    known: AsyncResult[Any] = AsyncResult()
    joined: list[int] = []

    def main() -> None:
        greenlet = greenpool.spawn(greenpool.sleep, 0)
        for _ in range(5):
            greenlet.rawlink(lambda _: Event().set())
        known.set(greenlet)
        while not greenlet.dead:
            greenpool.sleep(0)
        compute()
        assert joined, "the join has not returned"

    def join() -> None:
        greenlet = known.get()
        while not greenlet.dead:
            greenpool.sleep(0)
        greenlet.join()
        joined.append(1)

    joiner = on(0, join)
    errors = plain_thread(main)
    end(joiner)
    assert not errors, errors[0]


def links_before_a_plain_thread_goes_on() -> None:
    """The thread that sees its greenlet ended, and waits no more, finds its links called."""
    called: list[object] = []

    def main() -> None:
        greenlet = greenpool.spawn(greenpool.sleep, 0)
        greenlet.rawlink(called.append)
        while not greenlet.dead:
            greenpool.sleep(0)
        assert called

    errors = plain_thread(main)
    greenpool.sleep(1)
    assert not errors, errors[0]


# With a signal handler.


def woken_by_a_handler_in_the_poll() -> None:
    event = Event()

    def work() -> None:
        in_sleep(lambda: greenpool.spawn(event.set))
        event.wait()

    end(on(0, work))


def woken_by_a_handler_before_the_poll() -> None:
    event = Event()
    called_at: list[float] = []

    def handle() -> None:
        called_at.append(current_time())
        greenpool.spawn(event.set)

    def work() -> None:
        handler = interrupted(handle, 80)
        greenpool.spawn_later(1, handler.call_if_late)
        with handler:
            event.wait()
        assert [current_time()] == called_at, "the hub has slept"

    end(on(0, work))


def set_by_a_handler_while_others_leave() -> None:
    """A set wakes those that wait, though others that have timed out are being taken out of the line."""
    event = Event()

    def wait() -> None:
        assert event.wait(10)

    def give_up() -> None:
        event.wait(1)

    def work() -> None:
        waiter = greenpool.spawn(wait)
        others = [greenpool.spawn(give_up) for _ in range(17)]
        greenpool.sleep(0.5)
        with interrupted(event.set, 600):
            greenpool.joinall(others)
        waiter.get()

    end(on(0, work))


def timer_set_by_a_handler() -> None:
    """A timer that a handler sets while cancelled ones are swept out fires."""
    timers.SWEEP_FLOOR = 0
    event = Event()

    def work() -> None:
        timeouts = [greenpool.Timeout.start_new(100) for _ in range(6)]
        with interrupted(lambda: greenpool.spawn_later(1, event.set), 150):
            for timeout in timeouts:
                timeout.close()
        assert event.wait(10)

    end(on(0, work))


def permit_taken_by_a_handler() -> None:
    semaphore_module.MAX_LISTED = 2
    semaphore = Semaphore(6)

    def work() -> None:
        taken: list[None] = []

        def take(most: int) -> None:
            for _ in range(most):
                if semaphore.acquire(False):
                    taken.append(None)

        with interrupted(lambda: take(3), 40):
            take(3)
        take(6)
        assert len(taken) == 6, len(taken)

    end(on(0, work))


def counted_for_a_handler() -> None:
    queue: Queue[int] = Queue()

    def work() -> None:
        seen: list[int] = []
        with interrupted(lambda: seen.append(queue.unfinished_tasks), 20):
            queue.put(1)
        assert seen[0] >= 0, seen

    end(on(0, work))


def done_by_a_handler() -> None:
    queue: Queue[int] = Queue()
    queue.put(1)

    def work() -> None:
        handler = interrupted(queue.task_done, 40)
        greenpool.spawn_later(1, handler.call_if_late)
        with handler:
            queue.join()

    end(on(0, work))


def set_by_a_handler_within_set() -> None:
    event = Event()

    def work() -> None:
        waiters = [greenpool.spawn(event.wait) for _ in range(4)]
        greenpool.sleep(1)
        with interrupted(event.set, 80):
            event.set()
        end(*waiters)

    end(on(0, work))


def set_by_a_handler_as_waiters_give_up() -> None:
    event = Event()

    def work() -> None:
        waiters = [greenpool.spawn(event.wait, 1) for _ in range(4)]
        greenpool.sleep(0.5)
        with interrupted(event.set, 300):
            greenpool.joinall(waiters)
        end(*waiters)

    end(on(0, work))


def notified_by_a_handler_within_notify() -> None:
    condition = Condition()

    def wait() -> None:
        with condition:
            condition.wait()

    def work() -> None:
        waiters = [greenpool.spawn(wait) for _ in range(4)]
        greenpool.sleep(1)
        with condition, interrupted(condition.notify_all, 100):
            condition.notify_all()
        end(*waiters)

    end(on(0, work))


def shut_down_by_a_handler_within_shutdown() -> None:
    queue: Queue[int] = Queue()

    def get() -> None:
        try:
            queue.get()
        except ShutDown:
            pass

    def work() -> None:
        getters = [greenpool.spawn(get) for _ in range(4)]
        greenpool.sleep(1)
        with interrupted(queue.shutdown, 100):
            queue.shutdown()
        end(*getters)

    end(on(0, work))


RACES = [
    Race(
        "wait_while_set",
        "fe898db Lines that are joined without a lock",
        wait_while_set,
        (Change(waitable.Waitable, "_wait", "if self.ready():", "if False:"),),
        CORE,
    ),
    Race(
        "release_while_getting_in_line",
        "fe898db Lines that are joined without a lock",
        release_while_getting_in_line,
        (Change(Lock.__mro__[1], "_wait_in_line", "woken = self._serve()", "woken = []"),),
        CORE,
    ),
    Race(
        "get_while_put",
        "fe898db Lines that are joined without a lock",
        get_while_put,
        (Change(SimpleQueue, "get", "if self._gate is not gate or self.queue:", "if False:"),),
        CORE,
    ),
    Race(
        "room_when_empty",
        "d5a7e70 A pool's member leaves and makes room in one step",
        room_when_empty,
        (
            Change(Group, "_remove", "        self._make_room()\n", ""),
            Change(Group, "_remove", "    return True", "    self._make_room()\n    return True"),
        ),
        CORE,
    ),
    Race(
        "added_twice",
        "934408f Pool: no room is given back twice",
        added_twice,
        (Change(Pool, "_enter", "            self._room.release()\n", "            pass\n"),),
        CORE,
    ),
    Race(
        "started_twice",
        "c9aad6b Starting, linking and killing a greenlet that several threads know",
        started_twice,
        (
            Change(Task, "start_once", "with _start_lock(self):", "if True:"),
            Change(Task, "start_once", "            if self._start is False:\n", "            if True:\n"),
        ),
        CORE,
    ),
    Race(
        "linked_while_started",
        "c9aad6b Starting, linking and killing a greenlet that several threads know",
        linked_while_started,
        (
            Change(Task, "link_unless_over", "with _start_lock(self):", "if True:"),
            Change(Task, "link_unless_over", "            if self.hub is None:\n", "            if True:\n"),
        ),
        CORE,
    ),
    Race(
        "killed_while_started",
        "c9aad6b Starting, linking and killing a greenlet that several threads know",
        killed_while_started,
        (Change(Task, "_end_unstarted", "with _start_lock(self):", "if True:"),),
        CORE,
    ),
    Race(
        "broken_before_told",
        "27eef60 Locks: a barrier breaks before anybody is told",
        broken_before_told,
        (
            Change(
                Barrier,
                "_pass",
                "self.abort()\n        self._fail(claimed)\n",
                "self._fail(claimed)\n        self.abort()\n",
            ),
        ),
        CORE,
    ),
    Race(
        "timed_out_after_reset",
        "76eaee2 Locks: a reset barrier stays whole",
        timed_out_after_reset,
        (
            Change(Barrier, "_leave", "if waiter in self._round:", "if True:"),
            Change(Barrier, "_leave", "del self._round[waiter]", "self._round.pop(waiter, None)"),
        ),
    ),
    Race(
        "counter_while_listing",
        "27eef60 Locks: a counter is never too low",
        counter_while_listing,
        (Change(Semaphore, "counter", "with self._guard:", "if True:"),),
        CORE,
    ),
    Race(
        "refused_release",
        "76eaee2 Locks: bad input is named",
        refused_release,
        (Change(BoundedSemaphore, "_release_many", "if n > len(self._taken):", "if False:"),),
        CORE,
    ),
    Race(
        "joined_while_done",
        "624233f Queues: a signal handler's task_done is not missed by join",
        joined_while_done,
        (Change(Queue, "join", "if not self.unfinished_tasks and waiter.claim():", "if False:"),),
        CORE,
    ),
    Race(
        "copied_while_put",
        "70c2828 A queue's copy counts what is in it",
        copied_while_put,
        (
            Change(Queue, "copy", "self._gate = True", "items = self._copy_items()"),
            Change(
                Queue, "copy", "            items = self._copy_items()\n        finally", "        finally"
            ),
            Change(Queue, "copy", "max(unfinished, len(items))", "unfinished"),
        ),
        CORE,
    ),
    Race(
        "unlinked_while_waiting",
        "778ecd1 Events: unlink while others come to wait",
        unlinked_while_waiting,
        (Change(waitable.Waitable, "unlink", "waiting.entries()", "waiting"),),
        CORE,
    ),
    Race(
        "set_just_before_get",
        "5e69159 Let links of an AsyncResult run first where it is set just before get",
        set_just_before_get,
        (
            Change(
                AsyncResult,
                "get",
                "    value = self._value\n    if not isinstance(value, _Unset):\n"
                "        if self._due is not None and block:\n            self._let_links_run(timeout)\n",
                "    if self._due is not None and block and self.ready():\n"
                "        self._let_links_run(timeout)\n"
                "    value = self._value\n    if not isinstance(value, _Unset):\n",
            ),
        ),
        CORE,
    ),
    Race(
        "set_just_before_wait",
        "9bcf755 Keep due links visible to joins on other threads",
        set_just_before_wait,
        (Change(Event, "wait", "if self._due is not None:", "if self._due:"),),
        CORE,
    ),
    Race(
        "joined_while_links_are_due",
        "9bcf755 Keep due links visible to joins on other threads",
        joined_while_links_are_due,
        (
            Change(
                Task,
                "_call_links",
                "links = self._links or ()",
                "links, self._links = self._links or (), None",
            ),
        ),
        CORE,
    ),
    Race(
        "group_joined_behind_links",
        "022891c Let groups and futures go on behind links that are still in the inbox",
        group_joined_behind_links,
        (Change(Task, "call_last", "if self._posted and hub.main is None:", "if False:"),),
        CORE,
    ),
    Race(
        "group_joined_behind_own_links",
        "4eff243 Have groups and futures go on after links, as joins do",
        group_joined_behind_own_links,
        (Change(Group, "_remove", "if greenlet.call_last(self._links_called):", "if False:"),),
    ),
    Race(
        "task_group_left_behind_links",
        "4eff243 Have groups and futures go on after links, as joins do",
        task_group_left_behind_links,
        (Change(TaskGroup, "_ended", "if not member.call_last(self._withdraw):", "if True:"),),
    ),
    Race(
        "future_done_behind_links",
        "4eff243 Have groups and futures go on after links, as joins do",
        future_done_behind_links,
        (Change(futures, "as_future", "if not greenlet.call_last(settle):", "if True:"),),
    ),
    Race(
        "woken_behind_links",
        "20a2aea Call links in order, before later joins, and not after unlink",
        woken_behind_links,
        (Change(Event, "set", "if self._due is not None:", "if False:"),),
    ),
    Race(
        "unlinked_while_due",
        "20a2aea Call links in order, before later joins, and not after unlink",
        unlinked_while_due,
        (Change(waitable.Waitable, "unlink", "if unlink_due(self._due, callback):", "if False:"),),
    ),
    Race(
        "condition_killed_when_notified",
        "85a3f26 threading.Condition: a notify is not lost on who is killed",
        condition_killed_when_notified,
        (Change(Condition, "wait", "            self.notify()\n", "            pass\n"),),
    ),
    Race(
        "condition_killed_while_it_takes_the_lock",
        "85a3f26 threading.Condition: who leaves holds the lock",
        condition_killed_while_it_takes_the_lock,
        (Change(Condition, "_acquire_restore", "        self._acquire_restore(state)\n", ""),),
    ),
    Race(
        "timeout_outlives_its_task",
        "948be5a Timeout: one that was never closed does not strike the next task of its carrier",
        timeout_outlives_its_task,
        (Change(CoreTimeout, "_fire", "if self.greenlet.task is not self._task:", "if False:"),),
    ),
    Race(
        "woken_together",
        "08931b5 wait_descriptor: woken together with another",
        woken_together,
        (
            Change(
                descriptor,
                "wait_descriptor",
                "    while True:\n",
                "    registration = _registration_of_number(hub, fd)\n    while True:\n",
            ),
            Change(
                descriptor,
                "wait_descriptor",
                "        registration = _registration_of_number(hub, fd)\n        wait",
                "        wait",
            ),
        ),
    ),
    Race(
        "handed_over_to_a_getter",
        "362b224 Give the queues gevent's order of turns on a Channel",
        handed_over_to_a_getter,
        (Change(Channel, "put", " and not current_greenlet().interrupts", ""),),
    ),
    Race(
        "closed_while_it_begins_to_wait",
        "1154e05 Sockets: a number is registered and given up under one lock",
        closed_while_it_begins_to_wait,
        (
            Change(socket.socket, "_register", "            if self._fd < 0:\n", "            if False:\n"),
            Change(socket.socket, "_register", "\n    if self._fd < 0:\n", "\n    if False:\n"),
        ),
        CORE | {path_of("socket.py")},
    ),
    Race(
        "posted_while_falling_asleep",
        "db86f63 A hub goes to sleep without its inbox's lock",
        posted_while_falling_asleep,
        (
            Change(Inbox, "may_sleep", "    self.asleep = True\n", ""),
            Change(Inbox, "may_sleep", "    self._lay_down", "    self.asleep = True\n    self._lay_down"),
        ),
        CORE,
    ),
    Race(
        "released_while_getting_in_line",
        "e8e1204 Events, locks and queues that work across hubs and threads",
        released_while_getting_in_line,
        (
            Change(
                Semaphore,
                "release",
                "    self._permits.append(None)\n        if self._line",
                "    if self._line",
            ),
            Change(
                Semaphore,
                "release",
                "self._serve_and_resume()\n",
                "self._serve_and_resume()\n        self._permits.append(None)\n",
            ),
        ),
        CORE,
    ),
    Race(
        "shut_down_while_put",
        "e8e1204 Events, locks and queues that work across hubs and threads",
        shut_down_while_put,
        (Change(Queue, "_settle", "self.is_shutdown and self._recall(item)", "False"),),
        CORE,
    ),
    Race(
        "killed_before_its_turn",
        "7602936 Finalizers that wait: at a greenlet's end it ends once",
        killed_before_its_turn,
        (Change(Task, "_kill", "    self.done = True\n", ""),),
    ),
    Race(
        "received_before_a_kill",
        "ac586d8 A pending Timeout or kill is raised before an operation, not after it",
        received_before_a_kill,
        (
            Change(socket.socket, "_receive", "        _spend()\n", "        pass\n"),
            Change(
                socket.socket,
                "_receive",
                "            return result\n",
                "            _spend()\n            return result\n",
            ),
            Change(socket.socket, "recv", "registration is None or flags", "True or flags"),
        ),
    ),
    Race(
        "sent_in_time",
        "1154e05 Sockets: timeouts try a last time",
        sent_in_time,
        (
            Change(
                socket.socket,
                "_park_read",
                "    return registration.wait_read(_getcurrent(), deadline - _monotonic())",
                "    if not registration.wait_read(_getcurrent(), deadline - _monotonic()):\n"
                "        raise TimeoutError('timed out')\n    return True",
            ),
        ),
    ),
    Race(
        "ready_in_time",
        "2bf040c The end of a wait asks the kernel once more",
        ready_in_time,
        (Change(descriptor, "wait_descriptor", "return ready_now(fd, bits)", "return False"),),
    ),
    Race(
        "deadline_moved_in_time",
        "c7ccff9 A deadline that another thread moved in time is looked at again",
        deadline_moved_in_time,
        (
            Change(
                CancelScope, "_set_timer", "self._deadline, self._set_timer)", "self._deadline, self.cancel)"
            ),
        ),
        CORE | {path_of("_core/hub.py")},
    ),
    Race(
        "claimed_but_not_posted",
        "20a2aea Call links in order, before later joins, and not after unlink",
        claimed_but_not_posted,
        (Change(waitable.Waitable, "_post_due_links", "        link.resume()\n", "        pass\n"),),
        CORE,
    ),
    Race(
        "links_before_a_plain_thread_goes_on",
        "9082089 Links of greenlets on a plain thread's hub are called before the thread goes on",
        links_before_a_plain_thread_goes_on,
        (Change(Task, "_finish", "            hub.take_in_next()\n", "            pass\n"),),
        CORE,
    ),
    Race(
        "timer_set_by_a_handler",
        "9b7b527 Keep the timers that a signal handler sets while the heap is cleared",
        timer_set_by_a_handler,
        (
            Change(
                timers.Timers,
                "_sweep",
                "    pending = compress(heap, map(_is_pending, map(_entry_of, heap)))\n"
                "    heap[:] = chain.from_iterable(map(sorted, (pending,)))\n",
                "    heap[:] = [item for item in heap if item[2].pending]\n    heap.sort()\n",
            ),
        ),
        frozenset({path_of("_core/timers.py")}),
    ),
    Race(
        "read_ahead_for_others",
        "b3a4e9e Wake the other readers of a connection for what one has read ahead",
        read_ahead_for_others,
        (Change(ssl.SSLSocket, "_wake_readers", "        descriptor.wake_readers()\n", "        pass\n"),),
    ),
    Race(
        "joined_on_a_plain_thread",
        "bbd1397 Who waits for a greenlet of a plain thread does not depend on that thread's waiting again",
        joined_on_a_plain_thread,
        (Change(Task, "_finish", "            hub.take_in_next()\n", "            pass\n"),),
        CORE,
    ),
    Race(
        "joined_behind_links_of_a_plain_thread",
        "df0d2b6 Let joins of another plain thread's greenlet wait for its due links",
        joined_behind_links_of_a_plain_thread,
        (
            Change(
                Task,
                "_call_due_links",
                "                hub.carry_out_posted(enter)\n",
                "                pass\n",
            ),
        ),
        CORE,
    ),
    Race(
        "woken_by_a_handler_in_the_poll",
        "b5dbd3f What a signal handler does while the hub sleeps, or just before, takes effect at once",
        woken_by_a_handler_in_the_poll,
        (Change(HubState, "look_again", "if self.inbox.asleep:", "if False:"),),
        CORE,
    ),
    Race(
        "woken_by_a_handler_before_the_poll",
        "b5dbd3f What a signal handler does while the hub sleeps, or just before, takes effect at once",
        woken_by_a_handler_before_the_poll,
        (
            Change(
                Hub,
                "_pass",
                "    if ready:\n        # A signal handler came",
                "    if False:\n        # A signal handler came",
            ),
        ),
        CORE | {path_of("_core/hub.py")},
    ),
    Race(
        "set_by_a_handler_while_others_leave",
        "287eebe A line lets go of those who gave up without taking the others out of it",
        set_by_a_handler_while_others_leave,
        (
            Change(
                waitable.WaitLine,
                "_clear_out",
                """    for index in range(len(self) - 1, -1, -1):
        try:
            if self[index].state:
                del self[index]
        except IndexError:
            continue  # a signal handler has served the line
""",
                """    waiting = []
    try:
        while True:
            last = self.pop()
            if not last.state:
                waiting.append(last)
    except IndexError:
        pass
    self.extendleft(waiting)
""",
            ),
        ),
        CORE,
    ),
    Race(
        "set_by_a_handler_within_set",
        "Let a signal handler serve a line between two rounds of a loop",
        set_by_a_handler_within_set,
        (Change(waitable.Waitable, "_claim_all", "except IndexError:", "except ZeroDivisionError:"),),
        CORE,
    ),
    Race(
        "set_by_a_handler_as_waiters_give_up",
        "Let a signal handler serve a line between two rounds of a loop",
        set_by_a_handler_as_waiters_give_up,
        (
            Change(waitable.WaitLine, "leave", "while self:", "while self and self[0].state:"),
            Change(
                waitable.WaitLine, "leave", "            if not self[0].state:\n                break\n", ""
            ),
            Change(waitable.WaitLine, "leave", "except IndexError:", "except ZeroDivisionError:"),
        ),
        CORE,
    ),
    Race(
        "notified_by_a_handler_within_notify",
        "Let a signal handler serve a line between two rounds of a loop",
        notified_by_a_handler_within_notify,
        (Change(Condition, "notify", "except KeyError:", "except ZeroDivisionError:"),),
        CORE,
    ),
    Race(
        "shut_down_by_a_handler_within_shutdown",
        "Let a signal handler serve a line between two rounds of a loop",
        shut_down_by_a_handler_within_shutdown,
        (Change(SimpleQueue, "_shut_out", "except IndexError:", "except ZeroDivisionError:"),),
        CORE,
    ),
    Race(
        "permit_taken_by_a_handler",
        "76eaee2 Locks: a handler takes no permit twice",
        permit_taken_by_a_handler,
        (
            Change(
                Semaphore,
                "_take",
                "unlisted - MAX_LISTED if unlisted > MAX_LISTED else 0",
                "max(unlisted - MAX_LISTED, 0)",
            ),
        ),
        CORE,
    ),
    Race(
        "counted_for_a_handler",
        "624233f Queues: a signal handler finds too many unfinished tasks, never too few",
        counted_for_a_handler,
        (
            Change(SimpleQueue, "_count", "        self._counted += COUNT\n", ""),
            Change(
                SimpleQueue,
                "_count",
                "self._uncounted.extend([None] * (COUNT - 1))",
                "self._uncounted.extend([None] * (COUNT - 1))\n        self._counted += COUNT",
            ),
        ),
        CORE,
    ),
    Race(
        "done_by_a_handler",
        "624233f Queues: a signal handler's task_done is not missed by join",
        done_by_a_handler,
        (Change(Queue, "join", "if not self.unfinished_tasks and waiter.claim():", "if False:"),),
        CORE,
    ),
]

if __name__ == "__main__":
    (chosen,) = (race for race in RACES if race.name == sys.argv[1])
    print("with the mend:", end=" ", flush=True)
    print(explore(chosen, int(sys.argv[2])), flush=True)
    take_away(chosen.changes)
    print("without:", end=" ", flush=True)
    print(explore(chosen, int(sys.argv[3])), flush=True)
