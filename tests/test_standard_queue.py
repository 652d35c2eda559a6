"""``queue.Queue`` in a patched program: its own class, made fast in place. Each test patches a process."""

from __future__ import annotations

import queue

import pytest
from test_monkey import run
from test_thread_patched import run_patched

needs_shutdown = pytest.mark.skipif(
    not hasattr(queue.Queue, "shutdown"), reason="this version's queues have no shutdown"
)

# Three threads that wait in a queue with room for one item: one to put, one to get, one to join.
WAITING = """
import queue, threading, time
full, empty, joined = queue.Queue(1), queue.Queue(), queue.Queue()
full.put("first")
joined.put("task")
done = []
threads = [
    threading.Thread(target=lambda: done.append(full.put("second"))),
    threading.Thread(target=lambda: done.append(empty.get())),
    threading.Thread(target=lambda: done.append(joined.join())),
]
for thread in threads:
    thread.start()
time.sleep(0.01)
"""


def test_the_class_stays_what_it_is() -> None:
    assert (
        run_patched("""
        import queue
        from greenpool.monkey import get_original
        print(queue.Queue is get_original("queue", "Queue"), queue.Queue.__module__, queue.Queue[int])
        print(issubclass(queue.LifoQueue, queue.Queue), isinstance(queue.PriorityQueue(), queue.Queue))
        """)
        == "True queue queue.Queue[int]\nTrue True\n"
    )


def test_a_subclass_that_was_made_before_patching() -> None:
    assert (
        run("""
        import queue, threading
        class Doubled(queue.Queue):
            def put(self, item, *args, **kwargs):
                super().put(2 * item, *args, **kwargs)
        class Stack(queue.Queue):
            def _init(self, maxsize):
                self.queue = []
            def _get(self):
                return self.queue.pop()
        from greenpool import monkey; monkey.patch_all()
        for kind in (Doubled, Stack):
            q = kind()
            thread = threading.Thread(target=lambda: [q.put(n) for n in range(3)])
            thread.start()
            thread.join()
            print([q.get() for _ in range(3)], isinstance(q, queue.Queue), hasattr(q, "_green"))
        """)
        == "[0, 2, 4] True True\n[2, 1, 0] True False\n"
    )


def test_its_attributes() -> None:
    assert (
        run_patched("""
        import queue
        q = queue.Queue(3)
        q.put("a"); q.put_nowait("b"); q.put("c", False)
        try:
            q.put(item="d", block=False)
        except queue.Full:
            print("full")
        print(q.queue, q.maxsize, q.unfinished_tasks, q.qsize(), q.empty(), q.full())
        q.queue.clear()
        print(q.empty(), q.full(), hasattr(q, "_green"), hasattr(q, "other"))
        q.maxsize = 1
        print(hasattr(q, "_green"), q.maxsize, q.unfinished_tasks, q.mutex.locked(), q.not_full)
        del q.maxsize
        print(hasattr(q, "maxsize"))
        """)
        .replace("_thread.LockType", "_thread.lock")
        .split("<Condition")[0]
        == "full\ndeque(['a', 'b', 'c']) 3 3 3 False True\nTrue False True False\nFalse 1 3 False "
    )


def test_the_idiom_that_empties_a_queue() -> None:
    assert (
        run_patched(
            WAITING
            + """
with full.mutex:
    full.queue.clear()
    full.unfinished_tasks = 0
    full.not_full.notify_all()
with empty.not_empty:
    empty.queue.append("seen")
    empty.not_empty.notify()
with joined.mutex:
    joined.unfinished_tasks = 0
    joined.all_tasks_done.notify_all()
for thread in threads:
    thread.join()
print(sorted(done, key=str), full.get(), full.unfinished_tasks)
"""
        )
        == "[None, None, 'seen'] second 1\n"
    )


def test_those_that_wait_go_on_waiting_when_a_program_looks_into_it() -> None:
    assert (
        run_patched(
            WAITING
            + """
for each in (full, empty, joined):
    with each.mutex:
        pass
    assert not hasattr(each, "_green")
time.sleep(0.01)
print(done)
empty.put("item")
print(full.get(), full.get())
joined.task_done()
for thread in threads:
    thread.join()
print(sorted(done, key=str), full.unfinished_tasks, empty.unfinished_tasks)
"""
        )
        == "[]\nfirst second\n[None, None, 'item'] 2 1\n"
    )


def test_a_timeout_goes_on_when_a_program_looks_into_it() -> None:
    assert (
        run_patched("""
        import queue, threading, time
        q = queue.Queue()
        def get():
            begin = time.monotonic()
            try:
                q.get(timeout=0.2)
            except queue.Empty:
                print(0.15 < time.monotonic() - begin)
        thread = threading.Thread(target=get)
        thread.start()
        time.sleep(0.1)
        q.not_full
        thread.join()
        """)
        == "True\n"
    )


def test_bad_arguments() -> None:
    assert (
        run_patched("""
        import copy, pickle, queue
        bounded, unbounded = queue.Queue(1), queue.Queue()
        unbounded.put(1, timeout=-1)  # the standard one looks at it if there is a bound
        for call in (
            lambda: bounded.put(1, timeout=-1),
            lambda: bounded.get(timeout=-1),
            lambda: unbounded.get(True, -1),
            bounded.task_done,
        ):
            try:
                call()
            except ValueError as error:
                print(error)
        for call in (copy.deepcopy, pickle.dumps):
            try:
                call(bounded)
            except TypeError as error:
                print(str(error).split("'")[0])
        odd = queue.Queue(1.5)
        odd.put(1); odd.put(2)
        print(odd.full(), hasattr(odd, "_green"))
        """)
        == "'timeout' must be a non-negative number\n" * 3
        + "task_done() called too many times\n"
        + "cannot pickle \n" * 2
        + "True False\n"
    )


@pytest.mark.parametrize(
    "poll",
    [
        "while q.empty(): pass",
        "while not q.full(): pass",
        "while not seen: q.put(1); q.get()",
        "while not seen: put_or_get()",
    ],
)
def test_a_thread_that_polls_lets_others_run(poll: str) -> None:
    assert (
        run_patched(f"""
        import queue, threading
        q, other, seen = queue.Queue(1), queue.Queue(), []
        def put_or_get():
            try:
                other.get_nowait()
            except queue.Empty:
                pass
        def answer():
            seen.append(1)
            q.put(1, timeout=5)
        thread = threading.Thread(target=answer)
        thread.start()
        {poll}
        if q.full():
            q.get()
        thread.join()
        print("seen")
        """)
        == "seen\n"
    )


def test_a_signal_handler_may_make_it_standard_at_any_point() -> None:
    """The handler is a profile function here, which is called at the same points."""
    assert (
        run_patched("""
        import itertools, queue
        setprofile = monkey.get_original("sys", "setprofile")
        def operate(q):
            q.put("item", timeout=1)
            assert q.get(timeout=1) == "item"
            q.task_done()
            q.join()
        for point in itertools.count():
            q, passed = queue.Queue(2), 0
            def hook(frame, event, argument):
                global passed
                if event in ("call", "c_return"):
                    passed += 1
                    if passed == point + 1:
                        q.maxsize = 2
            setprofile(hook)
            try:
                operate(q)
            finally:
                setprofile(None)
            assert q.empty() and not q.unfinished_tasks
            if passed <= point:
                break
        print(point > 5)
        """)
        == "True\n"
    )


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_nothing_is_lost_between_hubs_and_threads_when_it_becomes_standard(bound: int) -> None:
    assert (
        run_patched(f"""
        import queue, threading, time
        import greenpool
        from greenpool.monkey import get_original
        Native = get_original("threading", "Thread")
        def play(round):
            q, got, guard = queue.Queue({bound}), [], threading.Lock()
            def produce(first):
                for number in range(first, first + 100):
                    q.put(number)
            def consume():
                for _ in range(100):
                    item = q.get()
                    with guard:
                        got.append(item)
                    q.task_done()
            threads = []
            for n in range(3):
                kind = (Native, threading.Thread)[n % 2]
                threads += [kind(target=produce, args=(n * 100,)), kind(target=consume)]
            for thread in threads:
                thread.start()
            time.sleep(round / 2000)
            if round:
                with q.mutex:
                    pass
            q.join()
            for thread in threads:
                thread.join()
            q.join()
            assert sorted(got) == list(range(300)) and not q.unfinished_tasks and q.empty()
        def main():
            for round in range(5):
                play(round)
            print("all")
        with greenpool.Runtime(pool_size=3) as runtime:
            runtime.block_on(main)
        """)
        == "all\n"
    )


@needs_shutdown
def test_shutdown() -> None:
    assert (
        run_patched(
            WAITING.replace("done.append(full.put(", "done.append(tell(full.put, (")
            .replace('"second"))', '"second",)))')
            .replace("done.append(empty.get())", "done.append(tell(empty.get))")
            .replace(
                "done = []",
                """done = []
def tell(call, args=()):
    try:
        return call(*args)
    except queue.ShutDown:
        return "shut down"
""",
            )
            + """
print(full.is_shutdown)
full.shutdown(); empty.shutdown(); joined.shutdown(immediate=True)
for thread in threads:
    thread.join()
print(sorted(done, key=str), full.is_shutdown, full.get(), tell(full.get), joined.unfinished_tasks)
"""
        )
        == "False\n[None, 'shut down', 'shut down'] True first shut down 0\n"
    )
