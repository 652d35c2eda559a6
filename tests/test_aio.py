"""``greenpool.aio``: greenlets wait for coroutines, and coroutines for greenlets."""

from __future__ import annotations

import asyncio
import contextlib
import textwrap
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from test_blocking import run_script

import greenpool
from greenpool._core.current import current_hub
from greenpool._core.native import get_ident
from greenpool.aio import run_coroutine, to_asyncio
from greenpool.cancel import move_on_after
from greenpool.event import Event


@pytest.fixture(autouse=True)
def on_a_hub() -> None:
    greenpool.get_hub()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


async def fail() -> None:
    await asyncio.sleep(0)
    raise LookupError("nothing there")


# A greenlet waits for a coroutine.


def test_value() -> None:
    assert run_coroutine(double(21)) == 42


def test_exception_comes_out_with_its_traceback() -> None:
    with pytest.raises(LookupError, match="nothing there") as caught:
        run_coroutine(fail())
    assert caught.traceback[-1].name == "fail"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_the_loop_goes_on_after_exceptions_that_are_no_Exception(
    kind: type[BaseException],
) -> None:
    async def end() -> None:
        raise kind

    with pytest.raises(kind):
        run_coroutine(end())
    assert run_coroutine(double(21)) == 42


def test_all_share_one_thread_that_is_no_hub() -> None:
    async def where() -> int:
        return get_ident()

    with greenpool.Runtime(pool_size=2) as runtime:
        idents = {runtime.spawn(run_coroutine, where()).get() for _ in range(4)}
        assert len(idents) == 1
        assert idents.isdisjoint({get_ident()} | {thread.ident for thread in threading.enumerate()})


def test_greenlets_of_one_hub_wait_side_by_side() -> None:
    async def meet(arrived: list[asyncio.Future[None]]) -> None:
        arrived.append(asyncio.get_running_loop().create_future())
        if len(arrived) == 10:
            for one in arrived:
                one.set_result(None)
        await asyncio.gather(*arrived)

    arrived: list[asyncio.Future[None]] = []
    greenlets = [greenpool.spawn(run_coroutine, meet(arrived)) for _ in range(10)]
    assert [one.get() for one in greenlets] == [None] * 10


def test_from_many_hubs_and_threads() -> None:
    results: list[int] = []

    def in_thread() -> None:
        results.extend(run_coroutine(double(number)) for number in range(50))

    threads = [threading.Thread(target=in_thread) for _ in range(4)]
    for thread in threads:
        thread.start()
    with greenpool.Runtime(pool_size=4) as runtime:
        greenlets = [runtime.spawn(run_coroutine, double(number)) for number in range(200)]
        assert [one.get() for one in greenlets] == [2 * number for number in range(200)]
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted([2 * number for number in range(50)] * 4)


class Cleanup:
    """A coroutine that waits for ever and cleans up slowly."""

    def __init__(self) -> None:
        self.begun = Event()
        self.cancelled = Event()
        self.may_end = Event()
        self.ended = False

    async def run(self) -> str:
        try:
            self.begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            await asyncio.get_running_loop().run_in_executor(None, self.may_end.wait)
            self.ended = True
        return "swallowed"


def test_a_kill_cancels_the_coroutine_and_waits_for_its_end() -> None:
    cleanup = Cleanup()
    greenlet = greenpool.spawn(run_coroutine, cleanup.run())
    cleanup.begun.wait()
    greenlet.kill(block=False)
    cleanup.cancelled.wait()
    assert not greenlet.dead
    cleanup.may_end.set()
    greenlet.join()
    assert cleanup.ended
    assert isinstance(greenlet.value, greenpool.GreenletExit)


def test_a_timeout_does_so_too() -> None:
    cleanup = Cleanup()
    cleanup.may_end.set()
    with pytest.raises(greenpool.Timeout) as caught, greenpool.Timeout(0.01) as timeout:
        run_coroutine(cleanup.run())
    assert caught.value is timeout
    assert cleanup.ended


def test_a_cancel_scope_does_so_too() -> None:
    cleanup = Cleanup()
    cleanup.may_end.set()
    with move_on_after(0.01) as scope:
        run_coroutine(cleanup.run())
    assert scope.cancelled_caught
    assert cleanup.ended


def test_a_kill_that_came_before_lets_nothing_begin() -> None:
    begun: list[bool] = []

    async def begin() -> None:
        begun.append(True)

    def run() -> None:
        try:
            Event().wait()
        finally:
            # A second kill is pending by now.
            run_coroutine(begin())

    greenlet = greenpool.spawn(run)
    greenpool.sleep(0)
    greenlet.kill(block=False)
    greenlet.kill(LookupError("second"), block=False)
    greenlet.quiet = True
    with pytest.raises(LookupError, match="second"):
        greenlet.get()
    assert not begun


def test_context() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("outer")

    async def use() -> str:
        before = variable.get()
        variable.set("inner")
        return before

    assert run_coroutine(use()) == "outer"
    assert variable.get() == "outer"


def test_refuses_what_is_no_coroutine() -> None:
    for wrong in (double, 42):
        with pytest.raises(TypeError, match="coro must be a coroutine, not "):
            run_coroutine(wrong)  # type: ignore[arg-type]


def test_refuses_to_wait_for_itself() -> None:
    async def inner() -> int:
        return run_coroutine(double(21))

    with pytest.raises(RuntimeError, match="await the coroutine instead"):
        run_coroutine(inner())


# A coroutine waits for a greenlet.


def in_loop(function: Callable[[greenpool.Runtime], Any]) -> Any:
    """Run the coroutine function in a plain thread beside a runtime, and return its result."""
    with greenpool.Runtime(pool_size=2) as runtime:
        return asyncio.run(function(runtime))


def test_awaiting_a_greenlet() -> None:
    async def main(runtime: greenpool.Runtime) -> list[Any]:
        greenlets = [runtime.spawn(divmod, number, 2) for number in range(20)]
        return await asyncio.gather(*(to_asyncio(greenlet) for greenlet in greenlets))

    assert in_loop(main) == [divmod(number, 2) for number in range(20)]


def test_awaiting_a_greenlet_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    go = Event()

    def run() -> None:
        go.wait()
        raise LookupError("nothing there")

    async def main(runtime: greenpool.Runtime) -> None:
        awaitable = to_asyncio(runtime.spawn(run))
        go.set()
        await awaitable

    with pytest.raises(LookupError, match="nothing there"):
        in_loop(main)
    assert capfd.readouterr().err == ""


def test_awaiting_a_greenlet_that_is_killed() -> None:
    async def main(runtime: greenpool.Runtime) -> bool:
        greenlet = runtime.spawn(Event().wait)
        awaitable = to_asyncio(greenlet)
        greenlet.kill(block=False)
        with contextlib.suppress(asyncio.CancelledError):
            await awaitable
        return awaitable.cancelled()

    assert in_loop(main)


def test_cancelling_the_task_kills_the_greenlet() -> None:
    async def main(runtime: greenpool.Runtime) -> greenpool.Greenlet:
        greenlet = runtime.spawn(Event().wait)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await to_asyncio(greenlet)
        return greenlet

    greenlet = in_loop(main)
    greenlet.join()
    assert isinstance(greenlet.value, greenpool.GreenletExit)


def test_in_a_coroutine_that_a_greenlet_waits_for() -> None:
    async def main() -> Any:
        return await to_asyncio(greenlet)

    greenlet = greenpool.spawn(divmod, 7, 2)
    assert run_coroutine(main()) == (3, 1)


def test_in_the_main_function_of_run() -> None:
    async def main() -> list[Any]:
        greenlets = [greenpool.spawn(divmod, number, 2) for number in range(10)]
        return [await to_asyncio(greenlet) for greenlet in greenlets]

    assert greenpool.run(asyncio.run, main()) == [divmod(number, 2) for number in range(10)]


async def spawn_and_wait(count: int = 10) -> list[Any]:
    """Spawn greenlets in a coroutine, where its thread spawns them, and wait for them."""
    greenlets = [greenpool.spawn(current_hub_after_a_while) for _ in range(count)]
    greenlets.append(greenpool.spawn_later(0.001, current_hub_after_a_while))
    return await asyncio.gather(*[to_asyncio(greenlet) for greenlet in greenlets])


def current_hub_after_a_while() -> Any:
    greenpool.sleep(0.001)
    return current_hub()


def test_spawning_in_a_coroutine_that_a_greenlet_waits_for() -> None:
    """It spawns where that greenlet does: the main function over the pool, a greenlet on its own hub."""
    assert set(run_coroutine(spawn_and_wait())) == {current_hub()}

    def in_greenlet() -> None:
        assert set(run_coroutine(spawn_and_wait())) == {current_hub()}

    with greenpool.Runtime(pool_size=3) as runtime:
        assert len(set(runtime.block_on(run_coroutine, spawn_and_wait()))) == 3
        for greenlet in [runtime.spawn(in_greenlet) for _ in range(6)]:
            greenlet.get()
    thread = threading.Thread(target=in_greenlet)
    thread.start()
    thread.join()


def test_spawning_in_such_a_coroutine_when_nobody_waits_any_more() -> None:
    spawned: list[Any] = []

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(end())

    async def end() -> None:
        await asyncio.get_running_loop().run_in_executor(None, may_spawn.wait)
        try:
            spawned.append(greenpool.spawn(int))
        except greenpool.SpawnError as error:
            spawned.append(error)

    may_spawn = threading.Event()
    with greenpool.Runtime(pool_size=1) as runtime:
        task = runtime.spawn(run_coroutine, begin()).get()
    may_spawn.set()

    async def wait() -> None:
        await task

    run_coroutine(wait())
    assert isinstance(spawned[0], greenpool.SpawnError)


def test_to_asyncio_of_a_greenlet_that_cannot_run() -> None:
    """The loop blocks the thread that the greenlet needs."""
    greenlets: list[greenpool.Greenlet] = []

    async def main() -> Any:
        greenlets.append(greenpool.spawn(pow, 2, 3))
        return await to_asyncio(greenlets[-1])

    def run() -> None:
        with pytest.raises(RuntimeError, match="cannot run, because the asyncio loop blocks its thread"):
            asyncio.run(main())
        # It runs when its hub does, and once it has ended it can be awaited.
        assert greenlets[-1].get() == 8
        assert asyncio.run(await_ended()) == 8

    async def await_ended() -> Any:
        return await to_asyncio(greenlets[-1])

    run()
    greenpool.spawn(run).get()
    with greenpool.Runtime(pool_size=1) as runtime:
        runtime.spawn(run).get()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_to_asyncio_of_a_greenlet_that_has_not_been_started() -> None:
    async def main() -> Any:
        greenlet = greenpool.Greenlet(pow, 2, 3)
        with pytest.raises(RuntimeError, match="has not been started"):
            to_asyncio(greenlet)
        greenlet.kill(block=False)
        return greenlet

    greenlet = asyncio.run(main())
    assert isinstance(greenlet.get(), greenpool.GreenletExit)


def test_to_asyncio_in_a_patched_program() -> None:
    output = run_script(
        """
        from greenpool import monkey
        monkey.patch_all()
        import asyncio, threading
        import greenpool
        from greenpool.aio import run_coroutine, to_asyncio

        def work(number):
            greenpool.sleep(0.01)
            return number

        async def main():
            return sum(await asyncio.gather(*[to_asyncio(greenpool.spawn(work, n)) for n in range(4)]))

        print(asyncio.run(main()))
        print(greenpool.spawn(asyncio.run, main()).get())
        print(greenpool.run(asyncio.run, main()))
        print(greenpool.run(run_coroutine, main()))
        with greenpool.Runtime(pool_size=2) as runtime:
            print(runtime.spawn(asyncio.run, main()).get())
        thread = threading.Thread(target=lambda: print(asyncio.run(main())))
        thread.start()
        thread.join()
        """
    )
    assert output == "6\n" * 6


def test_to_asyncio_refuses_nonsense() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="greenlet must be a Greenlet, not 42"):
            to_asyncio(42)  # type: ignore[arg-type]

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="no running event loop"):
        to_asyncio(greenpool.spawn(int))


# The loop's life.


def test_it_ends_with_the_interpreter() -> None:
    output = run_script(
        """
        import asyncio, greenpool
        from greenpool.aio import run_coroutine

        async def background():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                print("cleaned up", flush=True)

        async def main():
            main.background = asyncio.create_task(background())
            await asyncio.sleep(0)

        run_coroutine(main())
        """
    )
    assert output == "cleaned up\n"


def test_a_coroutine_that_comes_while_the_loop_ends_is_refused() -> None:
    output = run_script(
        """
        import asyncio, threading, warnings
        import greenpool

        warnings.simplefilter("ignore", ResourceWarning)
        runtime = greenpool.Runtime(pool_size=2)
        # A module that is imported later ends earlier.
        from greenpool.aio import run_coroutine

        begun, ending, refused = threading.Event(), threading.Event(), threading.Event()

        async def linger():
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                while not refused.is_set():
                    await asyncio.sleep(0)

        async def late():
            print("too late", flush=True)

        def wait():
            try:
                run_coroutine(linger())
            except asyncio.CancelledError:
                print("cancelled", flush=True)

        def come_late():
            ending.wait()
            try:
                run_coroutine(late())
            except RuntimeError as error:
                print(str(error).partition(" and ")[0], flush=True)
            refused.set()

        runtime.spawn(wait)
        runtime.spawn(come_late)
        begun.wait()
        """
    )
    assert output == "the asyncio loop ends with the interpreter\ncancelled\n"


def test_a_coroutine_that_does_not_end_keeps_no_greenlet_from_its_end() -> None:
    output = run_script(
        """
        import asyncio, warnings
        import greenpool
        from greenpool.event import Event

        warnings.simplefilter("ignore", ResourceWarning)
        runtime = greenpool.Runtime(pool_size=1)
        # A module that is imported later ends earlier.
        from greenpool import aio

        aio.EXIT_SECONDS = 0.1
        begun = Event()

        async def stubborn():
            begun.set()
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass

        def wait():
            try:
                aio.run_coroutine(stubborn())
            except RuntimeError as error:
                print(str(error).partition(" before ")[0], flush=True)

        runtime.spawn(wait)
        begun.wait()
        # The exit waits for the runtime, and the runtime for the greenlet.
        """
    )
    assert output == "the asyncio loop has ended\n"


def test_a_task_that_exits_while_the_loop_ends_keeps_no_other_from_its_end() -> None:
    output = run_script(
        """
        import asyncio
        from greenpool.aio import run_coroutine

        async def background(number):
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                print("cleaned up", flush=True)
                raise SystemExit

        async def main():
            main.tasks = [asyncio.create_task(background(number)) for number in range(3)]
            await asyncio.sleep(0)

        run_coroutine(main())
        """
    )
    assert output == "cleaned up\n" * 3


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    output = run_script(
        """
        import asyncio, os, sys, warnings
        from greenpool.aio import run_coroutine

        warnings.simplefilter("ignore", DeprecationWarning)

        async def pid():
            await asyncio.sleep(0)
            return os.getpid()

        assert run_coroutine(pid()) == os.getpid()
        child = os.fork()
        if child == 0:
            assert run_coroutine(pid()) == os.getpid()
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        # The child has not taken the parent's poller away.
        assert run_coroutine(pid()) == os.getpid()
        """
    )
    assert output == "7\n"


@pytest.mark.parametrize("late", [False, True])
def test_in_a_patched_program(late: bool) -> None:
    script = """
        import asyncio, greenpool
        from greenpool.aio import run_coroutine, to_asyncio

        async def double(number):
            await asyncio.sleep(0.001)
            return number * 2

        async def wait_for(greenlet):
            return await to_asyncio(greenlet)

        def main():
            greenlets = [greenpool.spawn(run_coroutine, double(number)) for number in range(5)]
            assert [greenlet.get() for greenlet in greenlets] == [0, 2, 4, 6, 8]
            assert asyncio.run(wait_for(greenpool.spawn(divmod, 7, 2))) == (3, 1)
            greenlet = greenpool.spawn(divmod, 7, 2)
            assert run_coroutine(wait_for(greenlet)) == (3, 1)
            print("done")
        """
    patch = "from greenpool import monkey; monkey.patch_all()"
    if late:
        # The warning says that asyncio has made subclasses of threading.local.
        patch = f"import warnings; warnings.simplefilter('ignore'); {patch}"
    steps = [textwrap.dedent(script)]
    steps.insert(1 if late else 0, patch)
    assert run_script("\n".join([*steps, "greenpool.run(main)", "main()"])) == "done\ndone\n"
