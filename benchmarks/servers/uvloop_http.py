"""uvloop: HTTP hello world, with the asyncio server on uvloop's loop."""

import uvloop

from benchmarks.servers.asyncio_http import serve

if __name__ == "__main__":
    uvloop.run(serve())
