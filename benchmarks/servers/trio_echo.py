"""trio: ``serve_listeners``, a task per connection."""

import trio

from benchmarks.servers.listening import READ_SIZE, listen


async def echo(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some(READ_SIZE):
        await stream.send_all(data)


async def serve() -> None:
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen()))
    await trio.serve_listeners(echo, [listener])


if __name__ == "__main__":
    trio.run(serve)
