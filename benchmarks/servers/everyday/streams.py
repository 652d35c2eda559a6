"""The same servers on asyncio, and on uvloop's loop: over streams, and over callbacks of a Protocol."""

import asyncio
import ssl
from typing import cast

from benchmarks.servers.everyday.certificate import certificate
from benchmarks.servers.listening import READ_SIZE, listen


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_SIZE):
        writer.write(data)
        await writer.drain()
    writer.close()


async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(READ_SIZE))
    writer.close()


async def answer_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


class Echo(asyncio.Protocol):
    closes = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.WriteTransport, so isinstance would fail.
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        if self.closes:
            self.transport.close()


class AnswerOnce(Echo):
    closes = True


STREAMS = {"tls": echo, "tls-handshake": answer_once, "connect": answer_once, "readline": answer_lines}
PROTOCOLS = {"tls": Echo, "tls-handshake": AnswerOnce, "connect": AnswerOnce}


async def run(program: str, protocols: bool) -> None:
    context = None
    if program.startswith("tls"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate())
    if protocols:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(PROTOCOLS[program], sock=listen(), ssl=context)
    else:
        server = await asyncio.start_server(STREAMS[program], sock=listen(), ssl=context)
    await server.serve_forever()


def serve(program: str, library: str, protocols: bool) -> None:
    if library == "uvloop":
        import uvloop

        uvloop.run(run(program, protocols))
    else:
        asyncio.run(run(program, protocols))
