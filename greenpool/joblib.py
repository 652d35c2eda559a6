"""joblib: ``Parallel`` runs its calls in greenlets.

    import greenpool.joblib
    greenpool.joblib.register()

    with joblib.parallel_config(backend="greenpool", n_jobs=1000):
        joblib.Parallel()(joblib.delayed(fetch)(url) for url in urls)

``n_jobs`` is the number of calls at a time.  The greenlets are spread over the hubs of a Runtime, which each
Parallel makes and ends.  Calls of the standard library park if the program is patched.

*Threads*: Parallel submits its first calls on the thread that called it.  Then each call that has ended
submits another one, in its own greenlet, because Parallel takes locks for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from greenlet import GreenletExit
from joblib import cpu_count, register_parallel_backend
from joblib.parallel import ParallelBackendBase

from .futures import Future
from .lock import Semaphore
from .runtime import Runtime, hubs_of_a_program

__all__ = ["GreenBackend", "register"]

T = TypeVar("T")


class GreenBackend(ParallelBackendBase):
    """joblib's backend by the name "greenpool"."""

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True
    default_n_jobs = -1

    _runtime: Runtime | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls run at a time; -1 stands for the number of CPUs, -2 for one less, and so on."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(int(cpu_count()) + 1 + n_jobs, 1)

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **_options: object) -> int:
        """Make the Runtime; returns how many calls run at a time."""
        self.parallel = parallel
        jobs = self.effective_n_jobs(n_jobs)
        self._turns = Semaphore(jobs)
        self._runtime = Runtime(hubs_of_a_program(), name_prefix="joblib-hub-")
        return jobs

    def submit(
        self, func: Callable[[], T], callback: Callable[[Future[T]], object] | None = None
    ) -> Future[T]:
        """Run *func* in a greenlet when it is its turn; *callback* is told its Future."""
        assert self._runtime is not None
        future: Future[T] = Future()
        self._runtime.spawn(self._run, func, future, callback)
        return future

    def _run(
        self,
        function: Callable[[], T],
        future: Future[T],
        callback: Callable[[Future[T]], object] | None,
    ) -> None:
        with self._turns:
            try:
                future.set_result(function())
            except GreenletExit:
                # Another call has failed, so Parallel asks for no more.
                future.cancel()
                raise
            except BaseException as exception:
                future.set_exception(exception)
        if callback is not None:
            callback(future)

    def retrieve_result_callback(self, out: Future[T]) -> T:
        """Return the outcome of *out*, which has ended."""
        return out.result()

    def terminate(self) -> None:
        """End the Runtime.  What still runs, after a call that failed, gets GreenletExit."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.shutdown()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End what still runs, because one call has failed."""
        self.terminate()
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)

    def get_nested_backend(self) -> tuple[GreenBackend, None]:
        """Have a Parallel within a call run in greenlets as well."""
        return GreenBackend(nesting_level=(self.nesting_level or 0) + 1), None


def register(*, make_default: bool = False) -> None:
    """Make joblib know the backend "greenpool", and use it where none is named if *make_default*."""
    register_parallel_backend("greenpool", GreenBackend, make_default=make_default)
