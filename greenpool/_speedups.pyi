"""Socket calls that never block and keep the GIL, and methods made of them; see docs/speedups.md.

Any thread may call them. `None` means that the call would have had to wait.
"""

import sys
from types import FunctionType
from typing import Any

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

# What the other C files have for the classes that Python defines.
def connect_carrier(carrier: type, /) -> dict[str, Any]: ...
def connect_core(
    carrier: type,
    registration: type,
    hub: type,
    task: type,
    switch_to_next: FunctionType,
    yield_now: FunctionType,
    /,
) -> dict[str, Any]: ...
def connect_sections(
    waiter: type, registration: type, yield_now: FunctionType, /
) -> tuple[dict[str, Any], dict[str, Any], Any]: ...
def connect_socket(socket: type, spend: FunctionType, send_rest: FunctionType, /) -> dict[str, Any]: ...
def connect_task(task: type, hub: type, inbox: type, deque: type, /) -> dict[str, Any]: ...
def connect_spawn(greenlet: type, carrier: type, hub: type, spawn: FunctionType, /) -> Any: ...
def connect_queue(queue: type, deque: type, /) -> dict[str, Any]: ...
