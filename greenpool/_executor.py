"""The executor of a Handle for code that accepts ``ThreadPoolExecutor`` only, as asyncio's default executor.

*Threads*: every method may be called from any thread; the Handle guards its own state.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class HandleExecutor(ThreadPoolExecutor):
    """A ThreadPoolExecutor in name: it starts no thread, and *handle* runs all calls in greenlets."""

    def __init__(self, handle: Executor, max_workers: int) -> None:
        super().__init__(max_workers)
        self._handle = handle

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._handle!r}>"

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do what ``Handle.submit`` does."""
        return self._handle.submit(function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do what ``Handle.shutdown`` does, for what was submitted here.  The Runtime goes on."""
        self._handle.shutdown(wait, cancel_futures=cancel_futures)
