"""Dask: a worker of ``distributed`` that runs its tasks in greenlets, thousands of them at a time.

    dask worker tcp://scheduler:8786 --nthreads 1000 --preload greenpool.dask
    LocalCluster(threads_per_worker=1000, preload="greenpool.dask")

The import of this module patches the standard library, unless the program has done so.  A worker imports it
while its loop runs, and that loop parks from then on.

*Where tasks run.*  On the hubs of a Runtime, which have OS threads of their own, so a task that computes does
not hold up the heartbeats of the worker.  ``--nthreads`` is the number of tasks that Dask lets run at a time.

*Profiler.*  Dask's profiler would walk the stacks of all tasks a hundred times a second, and count those that
wait as if they ran.  It finds no active thread here.  ``Client.call_stack`` finds every task.

*Threads*: the worker calls the executor on the thread of its loop, tasks call ``secede`` and ``rejoin`` on
those of the hubs.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from . import monkey
from .futures import wait_future
from .lock import RLock
from .runtime import Handle, Runtime, hubs_of_a_program

P = ParamSpec("P")
T = TypeVar("T")


def _patch() -> None:
    """Patch the process of a worker, whose loop runs already."""
    with warnings.catch_warnings():
        # Two threads that Dask has started, and a class that dask has made: they are right as they are.
        for name in (r"<Thread\(Profile,", r"<Thread\(.*monitor_parent", "lazy_importer"):
            warnings.filterwarnings("ignore", name, monkey.MonkeyPatchWarning)
        monkey.patch_all()
    # Both names are the asyncio module's own.
    loop: Any = asyncio._get_running_loop()
    if loop is None:
        return
    # Seen by the patched asyncio, which keeps the loops of green threads apart.
    asyncio._set_running_loop(loop)
    import selectors

    # A selector that was made before blocks the thread, and so all green threads that the worker starts.
    native = loop._selector
    green = selectors.DefaultSelector()
    for key in list(native.get_map().values()):
        green.register(key.fileobj, key.events, key.data)
    loop._selector = green
    native.close()


if not monkey.is_module_patched("socket"):
    _patch()

from distributed import utils  # noqa: E402
from distributed.threadpoolexecutor import ThreadPoolExecutor, thread_state  # noqa: E402
from distributed.worker import Worker  # noqa: E402

from .threadpool import ThreadPoolExecutor as NativePool  # noqa: E402

__all__ = ["GreenThreadPoolExecutor", "dask_setup"]


class _Seceded:
    """The threads of the executor as ``secede`` knows them: all but those that have left."""

    def __init__(self) -> None:
        # Each has one step for one thread, so this needs no lock.
        self._left: set[threading.Thread] = set()

    def remove(self, thread: threading.Thread) -> None:
        """KeyError where it has left before, which tells ``worker_client`` so."""
        if thread in self._left:
            raise KeyError(thread)
        self._left.add(thread)

    def add(self, thread: threading.Thread) -> None:
        self._left.discard(thread)


class GreenThreadPoolExecutor(ThreadPoolExecutor):
    """The executor of a ``distributed.Worker``: each task gets a greenlet at once.

    It starts no thread.  The greenlets are spread over the hubs of *handle*, by default those of a Runtime of
    its own: one hub with a GIL, one for each CPU without.  ``shutdown`` ends that Runtime.
    """

    # Dask tells by the class's name that tasks share memory and know their worker.

    def __init__(self, handle: Handle | None = None) -> None:
        super().__init__(1, thread_name_prefix="greenpool")
        self._runtime: Runtime | None = None
        if handle is None:
            self._runtime = Runtime(hubs_of_a_program(), name_prefix="dask-hub-")
            handle = self._runtime.handle()
        self._handle = handle
        self._threads = _Seceded()
        # Guards the futures that have not ended.
        self._lock = RLock()
        self._futures: set[Future[Any]] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._handle!r}>"

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run *function* in a greenlet on the next hub in turn; any thread.

        Raises SpawnError after ``shutdown``.
        """
        future = self._handle.submit(self._run, function, args, kwargs)
        with self._lock:
            self._futures.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[T]) -> None:
        with self._lock:
            self._futures.discard(future)

    def _run(self, function: Callable[..., T], args: Sequence[object], kwargs: Mapping[str, object]) -> T:
        self._let_one_rejoin()
        thread_state.proceed = True
        thread_state.executor = self
        # Without this, ``sys._current_frames`` lacks the greenlet.
        thread = threading.current_thread()
        try:
            return function(*args, **kwargs)
        finally:
            self._threads.add(thread)

    def _let_one_rejoin(self) -> None:
        """Let in a thread that asks for it by ``rejoin``, which submits a call for that."""
        with self._rejoin_lock:
            if self._rejoin_list:
                thread, event = self._rejoin_list.pop()
                self._threads.add(thread)
                event.set()

    def _adjust_thread_count(self) -> None:
        """Do nothing: a task that secedes takes no thread away."""

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        """Wait for the tasks that run, for at most *timeout* seconds, and end what is left after that."""
        with self._lock:
            futures = list(self._futures)
        if wait:
            deadline = None if timeout is None else monotonic() + timeout
            for future in futures:
                wait_future(future, None if deadline is None else max(deadline - monotonic(), 0))
        runtime, self._runtime = self._runtime, None
        if runtime is None:
            return
        if all(future.done() for future in futures):
            runtime.shutdown()
        else:
            # Inside the pool it does not wait for a task that computes.
            runtime.spawn(runtime.shutdown)


class _ActiveTasks(dict[int, object]):
    """The tasks that run, by the identifiers of their greenlets."""

    def __bool__(self) -> bool:
        # The profiler asks before it walks the stacks.
        return False


def dask_setup(worker: Worker) -> None:
    """Give *worker* the executor; Dask calls this where the module is preloaded."""
    worker.executors["default"].shutdown(wait=False)
    worker.executors["default"] = GreenThreadPoolExecutor()
    worker.active_threads = _ActiveTasks()
    # Of the executors that were made before patching, this one must have native threads: it serializes, and
    # would hold up the loop.
    if worker.executors["offload"] is utils._offload_executor and not isinstance(
        utils._offload_executor, NativePool
    ):
        utils._offload_executor = NativePool(1)
        worker.executors["offload"] = utils._offload_executor
    worker.executors["actor"].shutdown(wait=False)
    worker.executors["actor"] = ThreadPoolExecutor(1, thread_name_prefix="Dask-Actor-Threads")
