"""``run``, ``block_on`` and ``spawn_all``: a pool from its start to its orderly end."""

from __future__ import annotations

import io
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import Runtime, SpawnError, StreamSpawnError, socket
from greenpool.event import AsyncResult, Event

pytestmark = pytest.mark.usefixtures("leak_check")


def hub_index() -> int | None:
    return greenpool.get_hub().index


def echo(connection: socket.socket) -> int:
    """Send everything back until the peer closes, and return the number of bytes."""
    copied = 0
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data)
            copied += len(data)
    return copied


def incoming(listener: socket.socket, connections: int) -> Iterator[tuple[Callable[..., Any], socket.socket]]:
    for _ in range(connections):
        yield echo, listener.accept()[0]


def ask(address: tuple[str, int], message: bytes) -> bytes:
    with socket.create_connection(address) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b""))


# The tests of the crate tokio-io-pool.


def test_spawn_and_block_on() -> None:
    with Runtime(pool_size=2) as runtime:
        result = AsyncResult()
        runtime.spawn(result.set, "spawned")
        assert runtime.block_on(result.get) == "spawned"


def test_spawn_all_with_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Runtime(pool_size=2) as runtime:
        address = listener.getsockname()
        client = runtime.spawn(ask, address, b"hello")
        runtime.spawn_all(incoming(listener, 1))
        assert client.get() == b"hello"


def test_run_with_a_server_and_two_clients() -> None:
    def main() -> list[bytes]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            clients = [greenpool.spawn(ask, address, message) for message in (b"one", b"two")]
            servers = [greenpool.spawn(*item) for item in incoming(listener, 2)]
            assert sorted(server.get() for server in servers) == [3, 3]
            return [client.get() for client in clients]

    assert greenpool.run(main) == [b"one", b"two"]


def test_two_greenlets_on_two_hubs_pass_values() -> None:
    def ping(mine: list[AsyncResult], theirs: list[AsyncResult]) -> tuple[int | None, list[Any]]:
        received = []
        for number, (sent, awaited) in enumerate(zip(mine, theirs, strict=True)):
            sent.set(number)
            received.append(awaited.get())
        return hub_index(), received

    left = [AsyncResult() for _ in range(100)]
    right = [AsyncResult() for _ in range(100)]
    with Runtime(pool_size=2) as runtime:
        one = runtime.spawn(ping, left, right)
        two = runtime.spawn(ping, right, left)
        assert one.get() == (0, list(range(100)))
        assert two.get() == (1, list(range(100)))


def test_child_stays_on_its_hub() -> None:
    def parent() -> list[int | None]:
        children = [greenpool.spawn(hub_index) for _ in range(5)]
        return [hub_index(), *(child.get() for child in children)]

    with Runtime(pool_size=3) as runtime:
        for index in range(3):
            assert runtime.spawn(parent).get() == [index] * 6


def test_empty_child_under_run() -> None:
    greenpool.run(greenpool.spawn, lambda: None)


# run


def test_run_passes_the_arguments_and_returns_the_value() -> None:
    assert greenpool.run(lambda *args, **kwargs: (args, kwargs), 1, 2, three=3) == ((1, 2), {"three": 3})


def test_run_calls_the_function_on_the_calling_thread() -> None:
    assert greenpool.run(threading.get_ident) == threading.get_ident()


def test_run_waits_for_everything_that_was_spawned() -> None:
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def grandchild() -> None:
        greenpool.sleep(0.01)
        ended.put("grandchild")

    def child() -> None:
        greenpool.spawn(grandchild)
        ended.put("child")

    greenpool.run(greenpool.spawn, child)
    assert [ended.get_nowait(), ended.get_nowait()] == ["child", "grandchild"]


def test_run_raises_the_functions_exception_after_the_same_orderly_end() -> None:
    ended: list[str] = []

    def child() -> None:
        greenpool.sleep(0.01)
        ended.append("child")

    def main() -> None:
        greenpool.spawn(child)
        raise LookupError("of main")

    with pytest.raises(LookupError, match="of main"):
        greenpool.run(main)
    assert ended == ["child"]


@pytest.mark.parametrize(("has_gil", "hubs"), [(True, 1), (False, 3)])
def test_run_builds_one_hub_for_each_usable_cpu_or_for_the_gil(
    has_gil: bool, hubs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr("greenpool.runtime.HAS_GIL", has_gil)

    def main() -> int:
        handle = greenpool.current_handle()
        assert handle is not None
        return handle.pool_size

    assert greenpool.run(main) == hubs


def test_run_inside_a_greenlet_of_another_pool() -> None:
    def main() -> tuple[int | None, int | None]:
        child = greenpool.spawn(hub_index)
        return hub_index(), child.get()

    with Runtime(pool_size=2) as runtime:
        runtime.spawn(int).join()
        # The outer hub is number 1, and the inner pool's turn begins at its own number 0.
        assert runtime.spawn(greenpool.run, main).get() == (1, 0)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_system_exceptions_of_a_greenlet_come_out_of_run(kind: type[BaseException]) -> None:
    raised_in_main: list[BaseException] = []

    def child() -> None:
        raise kind("of a greenlet")

    def main() -> None:
        greenpool.spawn(child)
        try:
            Event().wait()
        except BaseException as exception:
            raised_in_main.append(exception)
            raise

    with pytest.raises(kind, match="of a greenlet"):
        greenpool.run(main)
    assert [type(exception) for exception in raised_in_main] == [kind]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_system_exceptions_come_out_of_a_run_that_waits_for_the_idle_pool(kind: type[BaseException]) -> None:
    finished: list[str] = []

    def bystander() -> None:
        try:
            Event().wait()
        finally:
            finished.append("bystander")

    def child() -> None:
        greenpool.sleep(0.01)
        raise kind("late")

    def main() -> None:
        greenpool.spawn(bystander)
        greenpool.spawn(child)

    with pytest.raises(kind, match="late"):
        greenpool.run(main)
    assert finished == ["bystander"]


def test_run_leaves_the_signal_handler_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    greenpool.run(greenpool.sleep, 0)
    assert signal.getsignal(signal.SIGINT) is before


# block_on


def test_block_on_may_be_called_again_and_nested() -> None:
    with Runtime(pool_size=2) as outer, Runtime(pool_size=2, name_prefix="inner-") as inner:

        def names() -> list[str]:
            return [greenpool.spawn(lambda: threading.current_thread().name).get() for _ in range(2)]

        def main() -> list[str]:
            return names() + inner.block_on(names) + names()

        assert outer.block_on(main) == [
            "greenpool-1",
            "greenpool-2",
            "inner-1",
            "inner-2",
            "greenpool-1",
            "greenpool-2",
        ]
        assert outer.block_on(names) == ["greenpool-1", "greenpool-2"]


def test_spawn_after_block_on_goes_to_the_threads_own_hub() -> None:
    with Runtime(pool_size=2) as runtime:
        runtime.block_on(lambda: None)
        child = greenpool.spawn(hub_index)
        assert child.get() is None
        assert child.hub is greenpool.get_hub()


def test_block_on_raises_what_the_function_raises_and_the_pool_goes_on() -> None:
    with Runtime(pool_size=1) as runtime:
        with pytest.raises(ZeroDivisionError):
            runtime.block_on(lambda: 1 / 0)
        assert runtime.spawn(lambda: "still open").get() == "still open"


def test_system_exit_of_a_greenlet_reaches_the_block_on_of_another_thread() -> None:
    entered = Event()
    codes: list[object] = []

    def main() -> None:
        entered.set()
        Event().wait()

    def thread(runtime: Runtime) -> None:
        try:
            runtime.block_on(main)
        except SystemExit as exception:
            codes.append(exception.code)

    with Runtime(pool_size=1) as runtime:
        blocked = threading.Thread(target=thread, args=(runtime,))
        blocked.start()
        entered.wait()
        with pytest.raises(SystemExit):
            runtime.spawn(sys.exit, 3).get()
        blocked.join()
    assert codes == [3]


def test_system_exit_that_nobody_waits_for_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[BaseException | None] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, traceback: reported.append(value))
    with Runtime(pool_size=1) as runtime:
        greenlet = runtime.spawn(sys.exit, 3)
        finished = threading.Event()
        greenlet.rawlink(lambda _: finished.set())
        assert finished.wait(10)
    assert reported == [greenlet.exception]


def test_current_handle_is_that_of_the_pool_the_code_belongs_to() -> None:
    def pool_size() -> int | None:
        handle = greenpool.current_handle()
        return None if handle is None else handle.pool_size

    with Runtime(pool_size=3) as runtime:
        assert runtime.block_on(pool_size) == 3
        assert runtime.spawn(pool_size).get() == 3
        assert pool_size() is None


# spawn_all


def test_spawn_all_takes_callables_and_tuples_in_turn() -> None:
    seen: queue.SimpleQueue[tuple[object, int | None]] = queue.SimpleQueue()

    def note(*args: object) -> None:
        seen.put((args, hub_index()))

    with Runtime(pool_size=2) as runtime:
        runtime.spawn_all([note, (note,), (note, 1), (note, 1, 2)])
    assert sorted((seen.get_nowait() for _ in range(4)), key=repr) == sorted(
        [((), 0), ((), 1), ((1,), 0), ((1, 2), 1)], key=repr
    )
    assert seen.empty()


def test_spawn_all_is_lazy_and_waits_cooperatively_between_items() -> None:
    with Runtime(pool_size=1) as runtime:
        steps: list[str] = []

        def items() -> Iterator[Callable[[], object]]:
            first = Event()
            yield first.set
            # This runs on the pool's only hub. The spawned call runs because spawn_all parks and does not
            # block the hub.
            first.wait()
            steps.append("first ran")
            second = Event()
            yield second.set
            second.wait()
            steps.append("second ran")

        runtime.spawn(runtime.spawn_all, items()).get()
        assert steps == ["first ran", "second ran"]


def test_spawn_all_returns_when_the_iterable_ends_not_when_the_greenlets_do() -> None:
    gate = Event()
    ended: list[bool] = []

    def wait() -> None:
        ended.append(gate.wait())

    with Runtime(pool_size=2) as runtime:
        runtime.spawn_all([wait] * 4)
        assert not ended
        gate.set()
    assert ended == [True] * 4


def test_spawn_all_where_the_iterable_raises() -> None:
    original = OSError("accept failed")

    def items() -> Iterator[Callable[[], object]]:
        yield lambda: None
        raise original

    with Runtime(pool_size=1) as runtime:
        with pytest.raises(StreamSpawnError.Stream, match="accept failed") as caught:
            runtime.spawn_all(items())
        assert caught.value.__cause__ is original


def test_spawn_all_where_iter_itself_raises() -> None:
    class Broken:
        def __iter__(self) -> Iterator[Any]:
            raise LookupError("no items")

    with Runtime(pool_size=1) as runtime:
        with pytest.raises(StreamSpawnError.Stream) as caught:
            runtime.spawn_all(Broken())
        assert isinstance(caught.value.__cause__, LookupError)


def test_spawn_all_where_a_spawn_is_refused() -> None:
    with Runtime(pool_size=1) as runtime:
        ran: list[int] = []

        def items() -> Iterator[object]:
            yield ran.append, 1
            runtime.shutdown()
            yield ran.append, 2
            raise AssertionError("asked for more after a refusal")

        with pytest.raises(StreamSpawnError.Spawn) as caught:
            runtime.spawn_all(items())
        assert isinstance(caught.value.__cause__, SpawnError)
        assert ran == [1]


@pytest.mark.parametrize("item", [None, 3, "text", (), (4, 5)], ids=repr)
def test_spawn_all_where_an_item_is_no_callable(item: object) -> None:
    with Runtime(pool_size=1) as runtime:
        with pytest.raises(StreamSpawnError.Spawn) as caught:
            runtime.spawn_all([item])
        assert repr(item) in str(caught.value)
        assert isinstance(caught.value.__cause__, TypeError)


def test_kinds_of_stream_spawn_error() -> None:
    for kind in (StreamSpawnError.Stream, StreamSpawnError.Spawn):
        assert issubclass(kind, StreamSpawnError)
        assert kind is not StreamSpawnError
    assert not issubclass(StreamSpawnError.Stream, StreamSpawnError.Spawn)
    assert StreamSpawnError.Stream.__qualname__ == "StreamSpawnError.Stream"


# Exceptions that nobody handles.


def report_of(function: Callable[[], object], monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with Runtime(pool_size=2, name_prefix="reporting-") as runtime:
        greenlet = greenpool.Greenlet(function)
        greenlet.name = name
        runtime.handle().place(greenlet, 1)
        greenlet.join()
        assert runtime.handle().spawn_on(1, lambda: "goes on").get() == "goes on"
    return stderr.getvalue()


def test_unhandled_exception_is_reported_with_traceback_name_and_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def culprit() -> None:
        raise LookupError("nobody handles this")

    report = report_of(culprit, monkeypatch, "the failing one")
    assert report.startswith("Traceback (most recent call last):")
    assert "in culprit" in report
    assert "LookupError: nobody handles this" in report
    assert "the failing one" in report
    assert "reporting-2" in report


def test_what_is_no_error_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> None:
        raise greenpool.GreenletExit

    assert report_of(leave, monkeypatch, "leaves") == ""


def test_a_link_that_is_posted_to_a_hub_as_it_stops_is_called() -> None:
    for _ in range(20):
        runtime = Runtime(pool_size=1)
        called: list[object] = []

        def main(runtime: Runtime = runtime, called: list[object] = called) -> threading.Timer:
            gate, busy = threading.Event(), threading.Event()

            def hold_the_hub() -> None:
                busy.set()
                gate.wait()

            greenpool.spawn(hold_the_hub)
            busy.wait()
            greenlet = greenpool.spawn_later(10, int)
            greenlet.link(called.append)
            greenlet.kill(block=False)
            timer = threading.Timer(0.001, gate.set)
            timer.start()
            return timer

        timer = runtime.block_on(main)
        runtime.shutdown()
        timer.join()
        assert len(called) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("fast_switching")
def test_a_handle_is_shut_down_after_submits_that_were_refused() -> None:
    """Nobody waits for calls that never ran."""
    for _ in range(100):
        runtime = Runtime(pool_size=1)
        handle = runtime.handle()

        def submit(handle: greenpool.Handle = handle) -> None:
            with pytest.raises(RuntimeError):
                while True:
                    handle.submit(int)

        threads = [threading.Thread(target=submit) for _ in range(3)]
        for thread in threads:
            thread.start()
        runtime.shutdown()
        handle.shutdown(wait=True)
        for thread in threads:
            thread.join()


def test_every_shutdown_of_a_handle_waits() -> None:
    with Runtime(pool_size=1) as runtime:
        handle = runtime.handle()
        event = Event()
        future = handle.submit(event.wait)
        handle.shutdown(wait=False)
        timer = threading.Timer(0.01, event.set)
        timer.start()
        handle.shutdown(wait=True)
        assert future.done()
        timer.join()
