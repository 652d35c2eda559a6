# pyright: strict
"""User code that type checkers must accept; tests/test_typing.py has them check it.  Nobody runs it."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator
from contextvars import copy_context
from typing import assert_type

import greenpool
from greenpool import Greenlet, TaskGroup, Timeout
from greenpool.aio import run_coroutine, to_asyncio
from greenpool.event import AsyncResult, Event
from greenpool.futures import Future, wait_future
from greenpool.pool import Group, Pool
from greenpool.threadpool import ThreadPool, ThreadPoolExecutor


def square(n: int) -> int:
    return n * n


def join(a: str, *, separator: str = ",") -> str:
    return a + separator


def nothing() -> None:
    return None


async def coroutine(n: int) -> str:
    return str(n)


class Worker(Greenlet[bytes]):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _run(self) -> bytes:
        return bytes(self.size)


# Greenlets.


def greenlets() -> None:
    assert_type(greenpool.spawn(square, 3), Greenlet[int])
    assert_type(greenpool.spawn(square, n=3).get(), int)
    assert_type(greenpool.spawn(square, 3, context=copy_context()).get(), int)
    assert_type(greenpool.spawn(join, "a", separator=";").value, str | None)
    assert_type(greenpool.spawn(nothing).get(timeout=1), None)
    assert_type(greenpool.spawn(lambda: 3).get(), int)
    assert_type(greenpool.spawn_later(1.5, square, 3), Greenlet[int])
    assert_type(greenpool.spawn_later(1.5, square, 3, context=None), Greenlet[int])
    assert_type(Greenlet(square, 3), Greenlet[int])
    assert_type(Greenlet(square, 3, context=copy_context()).get(), int)
    by_hand: Greenlet[int] = Greenlet.spawn(square, 3)
    later: Greenlet[int] = Greenlet.spawn_later(1, square, 3)
    bare: Greenlet = by_hand
    wider: Greenlet[object] = by_hand
    bare.kill()
    print(later, wider.get())
    greenpool.getcurrent().kill()


def subclasses() -> None:
    worker = Worker(3)
    worker.start()
    assert_type(worker.get(), bytes)
    assert_type(Worker.spawn(3), Worker)
    assert_type(Worker.spawn_later(1, 3), Worker)


def links(greenlet: Greenlet[int]) -> None:
    def ended(greenlet: Greenlet[int]) -> None:
        print(greenlet.value)

    greenlet.rawlink(ended)
    greenlet.link(lambda ended: print(ended.get() + 1))
    greenlet.link_value(print)
    greenlet.unlink(ended)


def futures(greenlet: Greenlet[int]) -> None:
    future = greenlet.as_future()
    assert_type(future, Future[int])
    assert_type(future.result(timeout=1), int)
    assert_type(wait_future(future, 1), bool)
    standard: concurrent.futures.Future[int] = future
    standard.cancel()


def several(numbers: list[Greenlet[int]], text: Greenlet[str], event: Event) -> None:
    assert_type(greenpool.joinall(numbers, timeout=3), list[Greenlet[int]])
    greenpool.joinall([*numbers, text], raise_error=True)
    assert_type(greenpool.wait(numbers, count=1), list[Greenlet[int]])
    assert_type(greenpool.wait(timeout=1), bool)
    greenpool.wait([text, event])
    with greenpool.iwait(numbers) as completed:
        for number in completed:
            assert_type(number, Greenlet[int])
    for either in greenpool.iwait([text, event], count=1):
        print(either)
    greenpool.killall(numbers, block=False)
    greenpool.killall([text, *numbers], exception=KeyboardInterrupt)


# Groups and pools.


def groups(names: list[str]) -> None:
    group = Group()
    pool = Pool(3, spread=True)
    assert_type(group.spawn(square, 3), Greenlet[int])
    assert_type(pool.spawn(square, 3, context=copy_context()).get(), int)
    pool.start(Worker(3))
    group.add(Greenlet(join, "a"))
    assert_type(pool.apply(square, (3,)), int)
    assert_type(pool.apply(join, ("a",), {"separator": ";"}), str)
    assert_type(pool.apply_async(square, [3], callback=print), Greenlet[int])
    assert_type(pool.map(len, names), list[int])
    assert_type(pool.map_async(len, names).get(), list[int])
    assert_type(pool.imap(len, names), Iterator[int])
    assert_type(pool.imap_unordered(lambda name, n: name * n, names, [1, 2], maxsize=2), Iterator[str])
    assert_type(pool.join(timeout=1, raise_error=True), bool)
    pool.kill(timeout=1)


def threads(names: list[str]) -> None:
    pool = ThreadPool(3)
    assert_type(pool.spawn(square, 3), AsyncResult[int])
    assert_type(pool.apply(square, (3,)), int)
    assert_type(pool.apply_async(square, (3,)).get(), int)
    assert_type(pool.map(len, names), list[int])
    assert_type(pool.map_async(len, names), Greenlet[list[int]])
    assert_type(pool.imap(len, names), Iterator[int])
    assert_type(pool.imap_unordered(len, names), Iterator[int])
    assert_type(greenpool.blocking(square, 3), int)
    assert_type(greenpool.blocking(join, "a", separator=";"), str)
    with ThreadPoolExecutor(3, initializer=square, initargs=(3,)) as executor:
        assert_type(executor.submit(square, 3), Future[int])


# Task groups, scopes and timeouts.


def task_group() -> int:
    with TaskGroup() as group:
        first = group.spawn(square, 3)
        second = group.spawn_on(0, join, "a", separator=";")
        third = group.spawn(square, 3, context=copy_context())
    assert_type(second.get(), str)
    return first.get() + third.get()


def unbound_nowhere() -> int:
    with greenpool.fail_after(3), TaskGroup():
        value = 3
    with Timeout(3):
        other = 4
    return value + other


def scopes() -> bool:
    with greenpool.move_on_after(3, shield=True) as scope:
        scope.deadline += 1
        greenpool.sleep(3)
    with greenpool.fail_at(greenpool.current_time() + 1) as outer:
        assert_type(outer, greenpool.CancelScope)
    return scope.cancelled_caught


def timeouts() -> None:
    assert_type(greenpool.with_timeout(1, square, 3), int)
    assert_type(greenpool.with_timeout(1, square, 3, timeout_value=None), int | None)
    assert_type(greenpool.with_timeout(None, join, "a", separator=";"), str)
    with Timeout(1, False) as timeout:  # left silently
        greenpool.sleep(2)
    print(timeout.pending)


# Runtimes.


def runtimes() -> None:
    assert_type(greenpool.run(square, 3), int)
    assert_type(greenpool.run(join, "a", separator=";"), str)
    with greenpool.Builder().pool_size(2).after_start(nothing).build() as runtime:
        assert_type(runtime.spawn(square, 3), Greenlet[int])
        assert_type(runtime.block_on(square, 3), int)
        handle = runtime.handle()
        assert_type(handle.spawn(square, 3).get(), int)
        assert_type(handle.spawn_on(0, square, n=3).get(), int)
        assert_type(handle.spawn(square, 3, context=copy_context()).get(), int)
        assert_type(handle.submit(square, 3).result(), int)
        assert_type(handle.submit(square, 3, context=copy_context()).result(), int)
        runtime.spawn_all((square, n) for n in range(3))
        runtime.spawn_all([nothing, (nothing,)])
        executor: concurrent.futures.Executor = handle
        assert_type(list(executor.map(square, [1, 2])), list[int])


# asyncio.


def from_greenlets() -> str:
    return run_coroutine(coroutine(3))


async def from_asyncio(greenlet: Greenlet[int]) -> int:
    assert_type(to_asyncio(greenlet), asyncio.Future[int])
    return await to_asyncio(greenlet)
