"""asyncio: HTTP hello world on streams."""

import asyncio

from benchmarks.servers.hello import RESPONSE, split_requests
from benchmarks.servers.listening import READ_SIZE, listen


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    rest = b""
    while data := await reader.read(READ_SIZE):
        count, rest = split_requests(rest + data)
        if count:
            writer.write(RESPONSE * count)
            await writer.drain()
    writer.close()


async def serve() -> None:
    server = await asyncio.start_server(serve_connection, sock=listen())
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
