"""A pool of greenlets for Celery's worker.

    CELERY_CUSTOM_WORKER_POOL=greenpool.celery:TaskPool celery -A app worker -P custom -c 500

The import of this module patches the standard library, unless the program has done so.  The pool's greenlets
are on the worker's own hub.  Under ``python -m greenpool -m celery`` they are spread over all hubs.

*Greenlets stay.*  Each takes one task after the other.  Celery keeps a connection to the result backend for
each thread, so a greenlet for each task would open one connection each.  For the same reason a greenlet is
added only when all others have tasks.

*Limits.*  A soft limit raises SoftTimeLimitExceeded once, where the task waits.  A hard limit and
``revoke(..., terminate=True)`` cancel the task at every wait until it ends.  A task that never waits is not
interrupted.

*Shutdown.*  A warm one waits for the tasks that run.  Those that have not begun stay with the broker.  A cold
one cancels those that run.

*Threads*: Celery calls the pool from the thread of its event loop.  A job is run by one greenlet, on any hub.
Any thread may end it, by its cancel scope.  A lock guards what the pool counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import inf
from time import monotonic

from . import monkey

if not monkey.is_module_patched("socket"):
    monkey.patch_all()

from celery.concurrency.base import BasePool, apply_target  # noqa: E402
from celery.exceptions import SoftTimeLimitExceeded  # noqa: E402
from celery.utils.log import get_logger  # noqa: E402

from .cancel import Cancelled, CancelScope  # noqa: E402
from .greenlet import Greenlet, joinall, spawn  # noqa: E402
from .hub import sleep  # noqa: E402
from .lock import RLock  # noqa: E402
from .queue import Empty, SimpleQueue  # noqa: E402
from .timeout import Timeout  # noqa: E402

__all__ = ["TaskPool"]

_logger = get_logger(__name__)


class _Job:
    """One run of a task; Celery refers to it weakly, and ends it by ``terminate``."""

    def __init__(
        self,
        target: Callable[..., object],
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        callback: Callable[[object], object],
        accept_callback: Callable[[int, float], object] | None = None,
        timeout_callback: Callable[[bool, float], object] | None = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
    ) -> None:
        self.target = target
        self.args = args
        self.kwargs = kwargs
        self.on_end = callback
        self.on_accepted = accept_callback
        self.on_limit = timeout_callback
        self.soft_limit = soft_timeout
        self.limit = timeout
        self.terminated = False
        self.scope = CancelScope(relative_deadline=timeout or inf)

    def terminate(self, _signal: int | None = None) -> None:
        """Cancel the task, also one that has not begun; any thread."""
        self.terminated = True
        self.scope.cancel()

    def run(self) -> None:
        """Run the task, and tell Celery how it has ended; the greenlet that has taken the job."""
        results: list[object] = []
        if self.on_accepted is not None:
            self.on_accepted(os.getpid(), monotonic())
        with self.scope:
            if self.terminated:
                sleep(0)
            # Celery acknowledges the result outside of the scope, so that a late limit cannot interrupt that.
            apply_target(self._call, self.args, self.kwargs, results.append, propagate=Cancelled)
        if results:
            self.on_end(results[0])
        elif self.scope.cancelled_caught and not self.terminated:
            self._tell(False, self.limit)

    def _call(self, *args: object, **kwargs: object) -> object:
        error = SoftTimeLimitExceeded()
        try:
            with Timeout(self.soft_limit, error):
                return self.target(*args, **kwargs)
        finally:
            # An exception has a traceback once it has been raised.
            if error.__traceback__ is not None:
                self._tell(True, self.soft_limit)

    def _tell(self, soft: bool, limit: float | None) -> None:
        if self.on_limit is not None and limit is not None:
            self.on_limit(soft, limit)


class TaskPool(BasePool):
    """Runs Celery's tasks in *limit* greenlets that stay (``-c``, or ``--autoscale``)."""

    # Celery is not to stop the pool within a signal handler, because that waits.
    signal_safe = False
    is_green = True
    # Where a pool is green, the listener to remote commands has a greenlet of its own.
    spawn_n = staticmethod(spawn)
    # A task may wait for the result of another one: the other greenlets go on.
    task_join_will_block = False
    body_can_be_buffer = True
    limit: int

    def on_start(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._running: set[_Job] = set()
        self._greenlets: set[Greenlet[None]] = set()
        self._lock = RLock()
        # The jobs that have not ended, and the greenlets that are not told to end.
        self._unfinished = 0
        self._staying = 0

    def on_apply(
        self,
        target: Callable[..., object],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        callback: Callable[[object], object],
        accept_callback: Callable[[int, float], object] | None = None,
        timeout_callback: Callable[[bool, float], object] | None = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **_options: object,
    ) -> _Job:
        job = _Job(
            target,
            args,
            kwargs or {},
            callback=callback,
            accept_callback=accept_callback,
            timeout_callback=timeout_callback,
            soft_timeout=soft_timeout or self.options.get("soft_timeout"),
            timeout=timeout or self.options.get("timeout"),
        )
        self._jobs.put(job)
        with self._lock:
            self._unfinished += 1
            self._spawn_for_all()
        return job

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Do nothing: Celery calls ``terminate`` of the job as well, and only the job knows its greenlet."""

    def grow(self, n: int = 1) -> None:
        """Let *n* more tasks run at a time."""
        with self._lock:
            self.limit += n
            self._spawn_for_all()

    def shrink(self, n: int = 1) -> None:
        """Take *n* greenlets away, as soon as they have no task; ValueError if fewer than one would stay."""
        if self.limit - n < 1:
            raise ValueError(f"n must be less than {self.limit}, not {n!r}")
        with self._lock:
            self.limit -= n
            self._end(max(self._staying - self.limit, 0))

    def on_stop(self) -> None:
        self._drop_waiting()
        # More than *limit* if ``shrink`` has taken away some that have tasks: their ends were dropped, too.
        greenlets = list(self._greenlets)
        self._end(len(greenlets))
        joinall(greenlets)

    def on_terminate(self) -> None:
        # Celery has set the state before.  A greenlet enters its job in ``_running``, and then looks at the
        # state.  So either it sees that the pool is to end, or its job is found here.
        self._drop_waiting()
        for job in list(self._running):
            job.terminate()
        self._end(len(self._greenlets))

    @property
    def num_processes(self) -> int:
        return self.limit

    def _get_info(self) -> dict[str, object]:
        info: dict[str, object] = super()._get_info()
        running = len(self._running)
        info.update({"running-greenlets": running, "free-greenlets": max(self.limit - running, 0)})
        return info

    def _spawn_for_all(self) -> None:
        """Have a greenlet for each job, as far as the limit allows; the caller holds the lock."""
        while self._staying < min(self._unfinished, self.limit):
            self._staying += 1
            greenlet = spawn(self._work)
            self._greenlets.add(greenlet)
            greenlet.rawlink(self._greenlets.discard)

    def _end(self, count: int) -> None:
        with self._lock:
            self._staying -= count
        for _ in range(count):
            self._jobs.put(None)

    def _drop_waiting(self) -> None:
        try:
            while True:
                self._jobs.get_nowait()
        except Empty:
            return

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._running.add(job)
            if self._state == self.TERMINATE:
                job.terminate()
            try:
                job.run()
            except Exception:
                _logger.exception("Celery could not be told how a task has ended")
            finally:
                self._running.discard(job)
                with self._lock:
                    self._unfinished -= 1
