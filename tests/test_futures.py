"""The bridge between greenlets and ``concurrent.futures.Future``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from test_blocking import run_script

import greenpool
from greenpool._core.current import thread_hub
from greenpool.event import Event
from greenpool.futures import Future, as_future, wait_future


@pytest.fixture(autouse=True)
def on_a_hub() -> None:
    greenpool.get_hub()


def in_plain_thread(function: Callable[[], Any]) -> Any:
    """Return the result of *function*, run in a thread that is not a hub and must not become one."""
    outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def main() -> None:
        try:
            value = function()
            assert thread_hub() is None
            outcome.set_result(value)
        except BaseException as exception:
            outcome.set_exception(exception)

    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    return outcome.result(0)


def fail() -> None:
    raise LookupError("nothing there")


# From a greenlet to a Future.


def test_result() -> None:
    future = greenpool.spawn(divmod, 7, 2).as_future()
    assert isinstance(future, concurrent.futures.Future)
    assert not future.done()
    assert future.result() == (3, 1)
    assert (future.done(), future.cancelled(), future.exception()) == (True, False, None)


def test_exception_is_carried_and_not_reported(capfd: pytest.CaptureFixture[str]) -> None:
    future = greenpool.spawn(fail).as_future()
    with pytest.raises(LookupError, match="nothing there"):
        future.result()
    assert isinstance(future.exception(), LookupError)
    assert capfd.readouterr().err == ""


def test_SystemExit_is_carried_too() -> None:
    with pytest.raises(SystemExit):
        greenpool.spawn(exit, 3).as_future().result()


def test_of_a_greenlet_that_has_ended() -> None:
    greenlet = greenpool.spawn(divmod, 7, 2)
    greenlet.join()
    assert as_future(greenlet).result(0) == (3, 1)


def test_of_a_greenlet_of_a_runtime_that_is_shut_down() -> None:
    with greenpool.Runtime(pool_size=1) as runtime:
        ended = runtime.spawn(divmod, 7, 2)
        waiting = runtime.spawn(Event().wait)
        future = waiting.as_future()
        ended.join()
        runtime.shutdown()
    assert ended.as_future().result(0) == (3, 1)
    assert future.cancelled()


def test_of_a_greenlet_that_ends_at_this_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread never waits again, and the loop of the calling thread does not run."""
    may_end, ended, may_exit = threading.Event(), threading.Event(), threading.Event()
    spawned: queue.SimpleQueue[greenpool.Greenlet[Any]] = queue.SimpleQueue()

    def run() -> None:
        greenlet = greenpool.spawn(divmod, 7, 2)
        spawned.put(greenlet)
        may_end.wait()
        greenlet.join()
        ended.set()
        may_exit.wait()

    def post_link(self: greenpool.Greenlet[Any], *args: Any) -> bool:
        may_end.set()
        ended.wait()
        return _post_link(self, *args)

    _post_link = greenpool.Greenlet._post_link
    thread = threading.Thread(target=run)
    thread.start()
    greenlet = spawned.get()
    monkeypatch.setattr(greenpool.Greenlet, "_post_link", post_link)
    future = greenlet.as_future()
    try:
        assert concurrent.futures.wait([future], timeout=5).done == {future}
        assert future.result() == (3, 1)
    finally:
        may_exit.set()
        thread.join()


@pytest.mark.usefixtures("fast_switching")
def test_of_greenlets_that_end_meanwhile() -> None:
    def run() -> None:
        for _ in range(500):
            greenlets.put(greenpool.spawn(int))
            greenpool.sleep(0)
        # From here on the hub of this thread does not run.
        greenlets.put(None)
        may_exit.wait()

    may_exit = threading.Event()
    greenlets: queue.SimpleQueue[greenpool.Greenlet[Any] | None] = queue.SimpleQueue()
    thread = threading.Thread(target=run)
    thread.start()
    futures = [greenlet.as_future() for greenlet in iter(greenlets.get, None)]
    try:
        assert not concurrent.futures.wait(futures, timeout=10).not_done
        assert {future.result() for future in futures} == {0}
    finally:
        may_exit.set()
        thread.join()


def test_cancelling_kills_the_greenlet() -> None:
    begun, cleaned_up = Event(), Event()

    def run() -> None:
        try:
            begun.set()
            Event().wait()
        finally:
            greenpool.sleep(0)
            cleaned_up.set()

    greenlet = greenpool.spawn(run)
    begun.wait()
    future = greenlet.as_future()
    assert future.cancel()
    assert future.cancelled()
    # A second cancel does not interrupt the greenlet in its clean-up.
    assert future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    greenlet.join()
    assert cleaned_up.is_set()
    assert isinstance(greenlet.value, greenpool.GreenletExit)


def test_cancelled_before_it_began_it_never_runs() -> None:
    calls: list[str] = []
    greenlet = greenpool.spawn(calls.append, "called")
    assert greenlet.as_future().cancel()
    greenlet.join()
    assert calls == []


def test_cancelling_comes_too_late_after_the_end() -> None:
    future = greenpool.spawn(divmod, 7, 2).as_future()
    future.result()
    assert not future.cancel()
    assert future.result() == (3, 1)


def test_a_killed_greenlet_leaves_its_future_cancelled() -> None:
    greenlet = greenpool.spawn(Event().wait)
    future = greenlet.as_future()
    greenlet.kill()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


def test_done_callbacks() -> None:
    called: list[object] = []
    both = Event()

    def callback(future: object) -> None:
        called.append(future)
        if len(called) == 2:
            both.set()

    greenlet = greenpool.spawn(divmod, 7, 2)
    first, second = greenlet.as_future(), greenlet.as_future()
    first.add_done_callback(callback)
    second.add_done_callback(callback)
    both.wait()
    assert called == [first, second]
    first.add_done_callback(callback)
    assert called == [first, second, first]


def test_waiting_parks_the_greenlet_only() -> None:
    go = Event()
    future = greenpool.spawn(go.wait).as_future()
    waiting = greenpool.spawn(future.result)
    other = greenpool.spawn(future.exception)
    greenpool.sleep(0)
    go.set()
    assert waiting.get() is True
    assert other.get() is None


def test_result_in_time_and_too_late() -> None:
    go = Event()
    future = greenpool.spawn(go.wait).as_future()
    for wait in (future.result, future.exception):
        with pytest.raises(TimeoutError):
            wait(timeout=0.001)
        with pytest.raises(TimeoutError):
            wait(timeout=0)
    go.set()
    assert future.result(timeout=60) is True


def test_a_plain_thread_blocks_for_it() -> None:
    with greenpool.Runtime(pool_size=1) as runtime:
        go = Event()
        future = runtime.spawn(go.wait).as_future()
        with pytest.raises(TimeoutError):
            in_plain_thread(lambda: future.result(timeout=0.001))
        runtime.spawn(go.set)
        assert in_plain_thread(future.result) is True


def test_wait_and_as_completed_in_a_plain_thread() -> None:
    with greenpool.Runtime(pool_size=2) as runtime:
        go = Event()
        killed = runtime.spawn(go.wait).as_future()
        failed = runtime.handle().submit(fail)
        ended = runtime.spawn(divmod, 7, 2).as_future()
        futures = [killed, failed, ended]

        done, pending = in_plain_thread(
            lambda: concurrent.futures.wait(futures, return_when="FIRST_COMPLETED")
        )
        assert done and killed in pending
        assert killed.cancel()
        done, pending = in_plain_thread(lambda: concurrent.futures.wait(futures))
        assert (done, pending) == (set(futures), set())
        assert set(in_plain_thread(lambda: list(concurrent.futures.as_completed(futures)))) == done


def test_asyncio_takes_it() -> None:
    async def main(futures: list[concurrent.futures.Future[Any]]) -> list[Any]:
        wrapped = [asyncio.wrap_future(future) for future in futures]
        return await asyncio.gather(*wrapped, return_exceptions=True)

    with greenpool.Runtime(pool_size=2) as runtime:
        futures = [runtime.handle().submit(function) for function in (int, fail)]
        value, exception = asyncio.run(main(futures))
    assert value == 0
    assert isinstance(exception, LookupError)


def test_many_at_once_from_many_threads() -> None:
    with greenpool.Runtime(pool_size=4) as runtime:
        handle = runtime.handle()

        def submit() -> list[int]:
            futures = [handle.submit(divmod, number, 7) for number in range(200)]
            return [future.result() for future in futures]

        threads: list[concurrent.futures.Future[Any]] = []
        with concurrent.futures.ThreadPoolExecutor(4) as executor:
            threads = [executor.submit(submit) for _ in range(4)]
        assert all(one.result() == [divmod(n, 7) for n in range(200)] for one in threads)


def test_no_cycle_keeps_a_result_alive() -> None:
    future = greenpool.spawn(set).as_future()
    result = weakref.ref(future.result())
    gc.disable()
    try:
        del future
        assert result() is None
    finally:
        gc.enable()


def test_as_future_refuses_what_is_no_greenlet() -> None:
    with pytest.raises(TypeError, match="greenlet must be a Greenlet, not 42"):
        as_future(42)  # type: ignore[arg-type]


# From a Future to a greenlet.


def test_wait_future() -> None:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    assert wait_future(future, timeout=0) is False
    assert wait_future(future, timeout=0.001) is False
    waiting = [greenpool.spawn(wait_future, future) for _ in range(3)]
    greenpool.spawn(future.set_result, 42)
    assert [one.get() for one in waiting] == [True] * 3
    assert wait_future(future, timeout=0) is True
    assert future.result(0) == 42


def test_wait_future_says_nothing_of_the_outcome() -> None:
    failed: concurrent.futures.Future[int] = concurrent.futures.Future()
    cancelled: concurrent.futures.Future[int] = concurrent.futures.Future()
    failed.set_exception(LookupError())
    cancelled.cancel()
    assert wait_future(failed) and wait_future(cancelled)


def test_wait_for_a_real_thread() -> None:
    go = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(go.wait)
        greenpool.spawn(go.set)
        assert wait_future(future)
        assert future.result() is True


def test_a_greenlet_that_is_killed_leaves_the_future_alone() -> None:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    waiting = greenpool.spawn(wait_future, future)
    greenpool.sleep(0)
    waiting.kill()
    assert not future.done()
    future.set_result(42)
    assert future.result(0) == 42


def test_wait_future_refuses_nonsense() -> None:
    with pytest.raises(TypeError, match="future must be a concurrent.futures.Future, not 42"):
        wait_future(42)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout must not be negative, not -1"):
        wait_future(concurrent.futures.Future(), timeout=-1)


def test_submit_needs_no_hub_in_a_plain_thread() -> None:
    with greenpool.Runtime(pool_size=1) as runtime:
        handle = runtime.handle()
        assert in_plain_thread(lambda: handle.submit(divmod, 7, 2).result()) == (3, 1)


def test_wait_and_as_completed_in_a_patched_program() -> None:
    output = run_script(
        """
        from greenpool import monkey; monkey.patch_all()
        import concurrent.futures, greenpool
        from greenpool.threadpool import ThreadPoolExecutor

        def main():
            futures = [greenpool.spawn(greenpool.sleep, 0).as_future() for _ in range(3)]
            assert concurrent.futures.wait(futures).done == set(futures)
            futures = [greenpool.spawn(greenpool.sleep, 0).as_future() for _ in range(3)]
            assert set(concurrent.futures.as_completed(futures)) == set(futures)
            with ThreadPoolExecutor(2) as executor:
                futures = [executor.submit(divmod, 7, 2) for _ in range(3)]
                assert concurrent.futures.wait(futures).done == set(futures)
            print("done")

        greenpool.get_hub()
        greenpool.spawn(main).get()
        """
    )
    assert output == "done\n"


def test_a_greenlet_that_cancels_its_own_future() -> None:
    """All waiters of the future are told, and the greenlet ends when it next parks."""
    events: list[str] = []

    def cancel() -> None:
        greenpool.sleep(0)
        future.cancel()
        events.append("went on")
        greenpool.sleep(0)
        events.append("never")

    greenlet = greenpool.spawn(cancel)
    future = as_future(greenlet)
    waiting = greenpool.spawn(wait_future, future)
    future.add_done_callback(lambda _: events.append("told"))
    assert waiting.get() is True
    greenlet.join()
    assert events == ["told", "went on"]
    assert isinstance(greenlet.value, greenpool.GreenletExit)


# Among what greenpool.wait waits for.


def test_futures_among_other_objects() -> None:
    future: Future[int] = Future()
    event = Event()
    greenpool.spawn(future.set_result, 1)
    assert greenpool.wait([event, future], count=1) == [future]
    assert future.ready()
    assert greenpool.wait([future], timeout=0) == [future]


def test_a_link_of_a_future_is_called_once_and_can_be_taken_back() -> None:
    future: Future[int] = Future()
    called: list[object] = []
    future.rawlink(called.append)
    future.rawlink(called.append)
    future.unlink(called.append)
    future.unlink(print)
    future.set_result(1)
    assert called == [future]
    with pytest.raises(TypeError):
        future.rawlink(None)  # type: ignore[arg-type]
