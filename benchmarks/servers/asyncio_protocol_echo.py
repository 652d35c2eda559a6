"""asyncio: echo with Protocol callbacks."""

import asyncio

from benchmarks.servers.listening import listen


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, sock=listen())
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
