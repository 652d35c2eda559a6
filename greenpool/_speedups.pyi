"""Socket calls that never block and keep the GIL; see docs/speedups.md.

Any thread may call them. `None` means that the call would have had to wait.
"""

import sys

from _typeshed import ReadableBuffer, WriteableBuffer

# As the standard socket module has them. None: a family that is not translated here, so the caller
# asks getpeername().
_Address = tuple[str, int] | tuple[str, int, int, int] | str | bytes | None

def recv(fd: int, bufsize: int, flags: int = 0, /) -> bytes | None: ...
def recv_into(fd: int, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0, /) -> int | None: ...
def send(fd: int, data: ReadableBuffer, flags: int = 0, /) -> int | None: ...
def accept(fd: int, /) -> tuple[int, _Address] | None: ...

if sys.platform == "linux":
    def epoll_poll(epfd: int, maxevents: int, /) -> list[tuple[int, int]]: ...
