"""User code with mistakes: type checkers must report every line that is marked, and no other line."""

from __future__ import annotations

from contextvars import copy_context

import greenpool
from greenpool import Greenlet, TaskGroup
from greenpool.aio import run_coroutine, to_asyncio
from greenpool.pool import Group, Pool
from greenpool.threadpool import ThreadPool, ThreadPoolExecutor


def square(n: int) -> int:
    return n * n


def text() -> str:
    return ""


class Worker(Greenlet[bytes]):
    def __init__(self, size: int) -> None:
        super().__init__()


# Greenlets.


def greenlets() -> None:
    greenpool.spawn(square, "wrong")  # error
    greenpool.spawn(square)  # error
    greenpool.spawn(square, 3, 4)  # error
    greenpool.spawn(square, m=3)  # error
    greenpool.spawn(3)  # error
    greenpool.spwan(square, 3)  # error
    greenpool.spawn(square, 3, context="wrong")  # error
    greenpool.spawn_later(1, square, "wrong")  # error
    greenpool.spawn_later("wrong", square, 3)  # error
    Greenlet(square, "wrong")  # error
    Greenlet(3)  # error
    Greenlet.spawn(square, "wrong")  # error
    Greenlet.spawn_later(1, square, "wrong")  # error
    Worker.spawn("wrong")  # error
    Worker.spawn()  # error


def values(greenlet: Greenlet[int]) -> None:
    value: str = greenpool.spawn(square, 3).get()  # error
    greenlet.value + 1  # error
    other: Greenlet[str] = greenlet  # error
    greenlet.as_future().result().upper()  # error
    greenlet.link(square)  # error
    greenlet.get(timeout="wrong")  # error
    greenlet.kill("wrong")  # error
    print(value, other)


def several(greenlets: list[Greenlet[int]]) -> None:
    greenpool.joinall([3])  # error
    greenpool.joinall(greenlets)[0].get().upper()  # error
    greenpool.iwait([3])  # error
    greenpool.wait(greenlets, timeout="wrong")  # error
    greenpool.killall(greenlets, "wrong")  # error


# Groups and pools.


def groups(names: list[str]) -> None:
    group = Group()
    pool = Pool(3)
    Pool("wrong")  # error
    group.spawn(square, "wrong")  # error
    pool.spawn(square)  # error
    pool.spawn(square, 3).get().upper()  # error
    pool.apply(square, (3,)).upper()  # error
    pool.apply(3)  # error
    pool.map(square, names)  # error
    pool.map(len, names).upper()  # error
    pool.map_async(square, names)  # error
    pool.imap(square, names)  # error
    pool.imap(square, [1], [2])  # error
    pool.imap_unordered(square, names, maxsize=3)  # error
    pool.start(3)  # error


def threads(names: list[str]) -> None:
    pool = ThreadPool(3)
    pool.spawn(square, "wrong")  # error
    pool.spawn(square, 3).get().upper()  # error
    pool.apply(square, (3,)).upper()  # error
    pool.map(square, names)  # error
    pool.imap(square, names)  # error
    greenpool.blocking(square, "wrong")  # error
    greenpool.blocking(square, 3).upper()  # error
    executor = ThreadPoolExecutor(3)
    executor.submit(square, "wrong")  # error
    ThreadPoolExecutor(3, initializer=square, initargs=("wrong",))  # error


# Task groups and timeouts.


def task_group() -> None:
    with TaskGroup() as group:
        group.spawn(square, "wrong")  # error
        group.spawn_on(0, square)  # error
        group.spawn_on("wrong", square, 3)  # error
        group.spawn(square, 3).get().upper()  # error


def timeouts() -> None:
    greenpool.with_timeout(1, square, "wrong")  # error
    greenpool.with_timeout(1, square, 3).upper()  # error
    greenpool.with_timeout(1, square, 3, timeout_value=None) + 1  # error
    greenpool.with_timeout("wrong", square, 3)  # error
    greenpool.move_on_after("wrong")  # error


# Runtimes.


def runtimes() -> None:
    greenpool.run(square)  # error
    greenpool.run(square, "wrong")  # error
    greenpool.run(square, 3).upper()  # error
    greenpool.run(square, 3, context=copy_context())  # error
    greenpool.Builder().pool_size("wrong")  # error
    greenpool.Builder().after_start(square)  # error
    with greenpool.Runtime() as runtime:
        runtime.spawn(square, "wrong")  # error
        runtime.block_on(square)  # error
        handle = runtime.handle()
        handle.spawn(square, "wrong")  # error
        handle.spawn_on(0, square, "wrong")  # error
        handle.submit(square, "wrong")  # error
        handle.submit(square, 3).result().upper()  # error
        runtime.spawn_all([3])  # error


# asyncio.


def from_greenlets() -> None:
    run_coroutine(3)  # error
    run_coroutine(text)  # error


async def from_asyncio(greenlet: Greenlet[int]) -> None:
    (await to_asyncio(greenlet)).upper()  # error
    to_asyncio(3)  # error
