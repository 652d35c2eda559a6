"""asyncio: echo on streams."""

import asyncio

from benchmarks.servers.listening import READ_SIZE, listen


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_SIZE):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve() -> None:
    server = await asyncio.start_server(echo, sock=listen())
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
