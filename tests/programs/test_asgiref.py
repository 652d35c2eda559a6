"""asgiref joins sync and async code; Django and Flask stand on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import run_patched

pytest.importorskip("asgiref")

pytestmark = pytest.mark.slow


def test_async_to_sync_in_fifty_green_threads(tmp_path: Path) -> None:
    program = """
    import asyncio
    from asgiref.sync import async_to_sync, sync_to_async

    async def call(number):
        await asyncio.sleep(0.05)
        await sync_to_async(time.sleep, thread_sensitive=False)(0.05)
        return number

    assert fifty(async_to_sync(call)) == list(range(50))
    """
    run_patched(program, directory=tmp_path)


def test_sync_code_runs_in_the_thread_that_called(tmp_path: Path) -> None:
    """Sync, async, sync, async: the sync code of each thread stays there, and sees no running loop."""
    program = """
    import asyncio
    from asgiref.sync import async_to_sync, sync_to_async

    def no_loop():
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return True

    async def inner(ident):
        await asyncio.sleep(0.01)
        assert await sync_to_async(threading.get_ident)() == ident
        return await sync_to_async(no_loop)()

    def middle(ident):
        assert no_loop() and threading.get_ident() == ident
        return async_to_sync(inner)(ident)

    async def outer(ident):
        assert not no_loop()
        return await sync_to_async(middle)(ident)

    def request(number):
        assert no_loop()
        return async_to_sync(outer)(threading.get_ident())

    assert fifty(request) == [True] * 50
    assert no_loop()
    """
    run_patched(program, directory=tmp_path)


def test_context_variables_and_locals_go_along(tmp_path: Path) -> None:
    program = """
    import asyncio, contextvars
    from asgiref.local import Local
    from asgiref.sync import async_to_sync, sync_to_async

    variable, local = contextvars.ContextVar("variable"), Local()

    def deepest(number):
        time.sleep(0.01)
        assert variable.get() == local.value == number
        variable.set(-number)
        local.value = -number

    async def call(number):
        await asyncio.sleep(0.01)
        assert variable.get() == local.value == number
        await sync_to_async(deepest)(number)
        assert variable.get() == local.value == -number

    def request(number):
        variable.set(number)
        local.value = number
        async_to_sync(call)(number)
        return variable.get(), local.value

    assert fifty(request) == [(-number, -number) for number in range(50)]
    """
    run_patched(program, directory=tmp_path)


def test_a_loop_calls_sync_code_in_green_threads(tmp_path: Path) -> None:
    program = """
    import asyncio
    from asgiref.sync import sync_to_async

    async def main():
        began = time.monotonic()
        calls = [sync_to_async(time.sleep, thread_sensitive=False)(0.1) for _ in range(4)]
        calls += [sync_to_async(threading.get_ident)() for _ in range(20)]
        done = await asyncio.gather(*calls)
        assert len(set(done[4:])) == 1
        assert time.monotonic() - began < 2

    asyncio.run(main())
    """
    run_patched(program, directory=tmp_path)
