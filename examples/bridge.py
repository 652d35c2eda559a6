"""A bridge to asyncio, in both directions.

    python examples/bridge.py
    echo 1 2 3 | nc 127.0.0.1 PORT

An asyncio server reads lines of numbers. It has a pool of greenlets answer each line, and awaits the greenlet
(``to_asyncio``). The greenlets are plain blocking code, but call an asyncio library (``run_coroutine``).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools

import greenpool
from greenpool.aio import run_coroutine, to_asyncio
from greenpool.pool import Pool

SECONDS = 10


async def square(number: int) -> int:
    """Stands for the asyncio library."""
    await asyncio.sleep(0.01)
    return number * number


def square_in_greenlet(number: int) -> int:
    return run_coroutine(square(number))


def answer(line: str) -> str:
    """Runs in a greenlet; the Pool waits for all squares of the line at the same time."""
    try:
        numbers = [int(word) for word in line.split()]
    except ValueError as error:
        return str(error)
    return " ".join(map(str, Pool(10).map(square_in_greenlet, numbers)))


async def serve(handle: greenpool.Handle, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in reader:
        try:
            # When the time is over, this kills the greenlet.
            async with asyncio.timeout(SECONDS):
                text = await to_asyncio(handle.spawn(answer, line.decode()))
        except TimeoutError:
            text = "it took too long"
        writer.write(f"{text}\n".encode())
        await writer.drain()
    writer.close()


async def main(handle: greenpool.Handle) -> None:
    server = await asyncio.start_server(functools.partial(serve, handle), "127.0.0.1", 0)
    async with server:
        print("squares on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), greenpool.Runtime() as runtime:
        asyncio.run(main(runtime.handle()))
