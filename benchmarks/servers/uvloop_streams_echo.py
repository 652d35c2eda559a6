"""uvloop: echo on streams, with the asyncio server on uvloop's loop."""

import uvloop

from benchmarks.servers.asyncio_streams_echo import serve

if __name__ == "__main__":
    uvloop.run(serve())
