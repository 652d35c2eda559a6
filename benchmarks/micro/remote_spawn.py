"""A plain OS thread has a running hub run functions: from the first request until the last function has run.

greenpool's ``Handle.spawn`` starts a greenlet, which may wait. gevent's counterpart is to have its hub call
``gevent.spawn``. The bare callback, which may not wait, is a row of its own, as is trio's ``run_sync_soon``.
"""

from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from time import perf_counter
from typing import Any

from benchmarks.micro.subject import Kind, Subject, on_asyncio, on_trio, on_uvloop


class Countdown:
    """Counts finished functions on the hub's thread, and tells the plain thread when all have run."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.done = Event()

    def __call__(self) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


def request_all(request: Callable[[Callable[[], None]], object], count: int) -> float:
    countdown = Countdown(count)
    started = perf_counter()
    for _ in range(count):
        request(countdown)
    countdown.done.wait()
    return perf_counter() - started


def greenpool(count: int) -> float:
    import greenpool

    with greenpool.Runtime(pool_size=1) as runtime:
        return request_all(runtime.handle().spawn, count)


def on_gevent(request: Callable[[Any, Callable[[], None]], object], count: int) -> float:
    import gevent
    from gevent.event import Event as GreenEvent

    results: list[float] = []
    ended = GreenEvent()
    loop = gevent.get_hub().loop

    def plain_thread() -> None:
        results.append(request_all(partial(request, loop), count))
        loop.run_callback_threadsafe(ended.set)

    Thread(target=plain_thread).start()
    # A hub with nothing to wait for would give up. The timer of this wait keeps it going.
    ended.wait(timeout=3600)
    return results[0]


def gevent(count: int) -> float:
    import gevent

    return on_gevent(lambda loop, fn: loop.run_callback_threadsafe(gevent.spawn, fn), count)


def gevent_callback(count: int) -> float:
    return on_gevent(lambda loop, fn: loop.run_callback_threadsafe(fn), count)


async def coroutines(count: int) -> float:
    import asyncio

    loop = asyncio.get_running_loop()

    async def run(function: Callable[[], None]) -> None:
        function()

    def request(function: Callable[[], None]) -> object:
        return asyncio.run_coroutine_threadsafe(run(function), loop)

    return await asyncio.to_thread(request_all, request, count)


async def trio_callbacks(count: int) -> float:
    import trio

    token = trio.lowlevel.current_trio_token()
    return await trio.to_thread.run_sync(request_all, token.run_sync_soon, count)


def threads(count: int) -> float:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        return request_all(executor.submit, count)


SUBJECT = Subject(
    title="Remote spawn from a plain thread",
    kind=Kind.RATE,
    count=20_000,
    one_core=False,
    peers={
        "greenpool": greenpool,
        "gevent": gevent,
        "gevent, callback": gevent_callback,
        "asyncio": on_asyncio(coroutines),
        "uvloop": on_uvloop(coroutines),
        "trio, callback": on_trio(trio_callbacks),
        "threads": threads,
    },
)
