"""uvloop: echo with Protocol callbacks on uvloop's loop."""

import asyncio
from typing import cast

import uvloop

from benchmarks.servers.listening import listen


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.WriteTransport, so isinstance would fail.
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, sock=listen())
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
