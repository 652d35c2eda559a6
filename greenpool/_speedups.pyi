"""Socket calls that never block and keep the GIL, and methods made of them; see docs/speedups.md.

Any thread may call them. `None` means that the call would have had to wait.
"""

import sys
from collections import deque
from collections.abc import Callable
from types import FunctionType
from typing import Any

# As the standard socket module has them. None: a family that is not translated here, so the caller
# asks getpeername().
_Address = tuple[str, int] | tuple[str, int, int, int] | str | bytes | None

def accept(fd: int, /) -> tuple[int, _Address] | None: ...

if sys.platform == "linux":
    def epoll_poll(epfd: int, maxevents: int, /) -> list[tuple[int, int]]: ...

# For the descriptors of a hub; see _core/wakers.py.
def renumber(fd: int, lowest: int, /) -> int: ...

# Before a hub sleeps; see _core/inbox.py.
def await_post(queue: deque[Any], seconds: float, /) -> bool: ...

# While a hub rests; see _core/memory.py.
def find_free_memory() -> object: ...
def give_back(memory: object, seconds: float, /) -> bool: ...

# In the last act of a program; see _core/interpreter_exit.py.
def raise_in_thread(thread: int, exception: type[BaseException], /) -> int: ...

# Around a switch to another greenlet; a build with a GIL has neither. See _core/sections.py.
def leave_sections() -> int: ...
def return_to_sections(held: int, /) -> None: ...

# What the other C files have for the classes that Python defines.
def connect_carrier(carrier: type, /) -> dict[str, Any]: ...
def connect_waiter(
    carrier: type,
    registration: type,
    hub: type,
    task: type,
    waiter: type,
    switch_to_next: FunctionType,
    yield_now: FunctionType,
    budget: int,
    waiting: int,
    woken: int,
    /,
) -> None: ...
def connect_hub(hub: type, read: int, write: int, rare: int, /) -> dict[str, Any]: ...
def connect_ssl(
    SSLSocket: type,
    connection: type,
    buffer: type,
    SSLWantReadError: type,
    await_sent: FunctionType,
    owe: FunctionType,
    flush_if_possible: FunctionType,
    wake_readers: FunctionType,
    ahead: int,
    batch: int,
    record: int,
    unknown: int,
    /,
) -> dict[str, Any]: ...
def connect_socket(socket: type, spend: FunctionType, send_rest: FunctionType, /) -> dict[str, Any]: ...
def connect_origin(task: type, carrier: type, hidden_files: tuple[str, ...], /) -> None: ...
def note_origin(task: Any, greenlet: Any, /) -> None: ...
def use_exact_clock(exact: bool, /) -> None: ...
def make_switch_recorder() -> type: ...
def stack_key(greenlet: Any, /) -> bytes: ...
def connect_task(task: type, hub: type, inbox: type, deque: type, /) -> dict[str, Any]: ...
def connect_spawn(
    greenlet: type,
    carrier: type,
    hub: type,
    spawn: FunctionType,
    spawn_callbacks: set[Callable[[Any], object]],
    /,
) -> Any: ...
def connect_lock(lock: type, guard: type, /) -> dict[str, Any]: ...
def connect_rlock(rlock: type, /) -> dict[str, Any]: ...
def connect_semaphore(semaphore: type, bounded: type, /) -> tuple[dict[str, Any], dict[str, Any]]: ...
def connect_thread(
    lock: type, rlock: type, get_ident: FunctionType, allocate_lock: FunctionType, spend: FunctionType, /
) -> tuple[dict[str, Any], dict[str, Any], Any, Any, Any]: ...
def connect_threading(event: type, /) -> dict[str, Any]: ...
def connect_local(holder: type, carrier: type, task: type, make_values: FunctionType, /) -> type: ...
def connect_files(reader: type, writer: type, /) -> tuple[dict[str, Any], dict[str, Any]]: ...
def make_guard_type() -> type: ...
def connect_queue(
    queue: type, deque: type, line: type, waiter: type, waiting: int, woken: int, peek: object, /
) -> dict[str, Any]: ...
def connect_standard_queue(
    queue: type,
    green: type,
    spend: FunctionType,
    read_field: FunctionType,
    become_standard: FunctionType,
    names: tuple[str, ...],
    /,
) -> dict[str, Any]: ...
