"""A gunicorn worker: ``gunicorn -k greenpool.gunicorn.Worker --threads 4 app:app``.

*Threads.*  The main thread handles gunicorn's signals and beats for the arbiter.  The requests are served on
hubs, each on a thread of its own, and all hubs accept on gunicorn's listeners.  So a request that computes
holds up the other requests of its hub, and neither the signals nor the other hubs.

*The heartbeat.*  A greenlet on each hub beats, and the main thread beats for the arbiter only when all of
them have beaten.  So a hub that is blocked gets the worker killed after ``--timeout`` seconds, as with
gunicorn's other workers.

*What hubs share.*  ``nr`` counts requests, and all hubs count.  Everything else of a request belongs to its
greenlet.
"""

from __future__ import annotations

import os
import sys
import traceback
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any

from greenlet import GreenletExit
from gunicorn.sock import ssl_context
from gunicorn.workers.base_async import AsyncWorker

from ._core.native import RLock, current_frames, get_ident
from .event import Event
from .greenlet import Greenlet
from .hub import sleep
from .pool import Pool
from .runtime import Runtime, hubs_of_a_program
from .server import SHARED_ACCEPT, StreamServer
from .socket import SOCK_STREAM
from .socket import socket as GreenSocket
from .timeout import Timeout

__all__ = ["Worker"]

# How often hubs beat and the main thread looks, in seconds, unless the arbiter's timeout asks for more.
_INTERVAL = 1.0


class _Listener:
    """What ``AsyncWorker.handle`` asks a listener for: its handlers may begin when the listener is closed."""

    def __init__(self, name: object) -> None:
        self._name = name

    def getsockname(self) -> object:
        return self._name


class Worker(AsyncWorker):
    """Serves requests in greenlets, on ``--threads`` hubs.

    With one thread, which is gunicorn's default, it runs one hub on a build of Python with a GIL, and one for
    each CPU that the process may use on a free-threaded build.  ``--worker-connections`` are spread over the
    hubs. The worker patches the standard library before it loads the application.
    """

    #: The listeners: gunicorn's own, and green sockets after ``patch``.
    sockets: list[Any]

    _served: int
    _count_lock = RLock()

    def patch(self) -> None:
        """Patch the standard library, and make the listeners green."""
        from . import monkey

        monkey.patch_all()
        self.sockets = [
            GreenSocket(listener.FAMILY, SOCK_STREAM, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def init_process(self) -> None:
        self.patch()
        super().init_process()

    # What several threads use.

    @property
    def nr(self) -> int:
        """The requests that were served."""
        return self._served

    @nr.setter
    def nr(self, value: int) -> None:
        # AsyncWorker counts by ``self.nr += 1``, which other hubs may interrupt between its read and its
        # write.
        with self._count_lock:
            self._served = self._served + 1 if value else 0

    @property
    def alive(self) -> bool:
        """False when the worker is to end."""
        return self._alive

    @alive.setter
    def alive(self, value: bool) -> None:
        self._alive = value
        ended = self._ended
        if not value and ended is not None:
            ended.set()

    # Before ``run`` there is nobody to tell.
    _ended: Event | None = None
    # Whether a hub is blocked, which no shutdown can end.
    _is_blocked = False
    # In the class, because the arbiter may abort a worker that has not come to ``run``.
    _idents: dict[int, int] = {}

    # The main thread.

    def notify(self) -> None:
        super().notify()
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            sys.exit(0)

    def hub_count(self) -> int:
        """How many hubs the worker runs.  gunicorn's default, one thread, stands for no number."""
        threads: int = self.cfg.threads
        return threads if threads > 1 else hubs_of_a_program()

    def run(self) -> None:
        self._interval = min(_INTERVAL, self.timeout / 2) or _INTERVAL
        # When each hub has beaten last, by its index, and when the main thread has beaten for the arbiter.
        self._beats: dict[int, float] = {}
        self._notified = 0.0
        # The identifiers of the hubs' threads, by the index of the hub.
        self._idents = {}
        self._ended = Event()
        if not self.alive:
            # A signal came before there was an event to set.
            return
        runtime = Runtime(self.hub_count(), name_prefix="gunicorn-hub-")
        try:
            self._serve(runtime)
        finally:
            if not self._is_blocked:
                runtime.shutdown()

    def _serve(self, runtime: Runtime) -> None:
        assert self._ended is not None
        handle = runtime.handle()
        count = runtime.pool_size
        servers: list[StreamServer] = []
        pools: list[Pool] = []
        # The arbiter begins to count with the first beat, and a request may block a hub at once.
        self.notify()
        for index in range(count):
            handle.spawn_on(index, self._beat, index)
            for listener in self.sockets:
                pool = Pool(-(-self.worker_connections // count))
                server = self._make_server(listener, pool, count)
                pools.append(pool)
                servers.append(server)
                starting = Greenlet(server.start)
                # Its exception is raised here, or nobody cares, because a signal has ended the worker.
                starting.quiet = True
                handle.place(starting, index)
                starting.get()
        while not self._ended.wait(self._interval):
            self._notify_if_all_beat(count)
        # All of them before the first closes a listener, which they share.
        for server in servers:
            server.stop_accepting()
        for server in servers:
            server.close()
            server.join_acceptors()
        self._wait_for_requests(pools)

    def _make_server(self, listener: GreenSocket, pool: Pool, count: int) -> StreamServer:
        tls = {}
        if self.cfg.is_ssl:
            tls = {
                "ssl_context": ssl_context(self.cfg),
                "do_handshake_on_connect": self.cfg.do_handshake_on_connect,
                "suppress_ragged_eofs": self.cfg.suppress_ragged_eofs,
            }
        handle = partial(self.handle, _Listener(listener.getsockname()))
        server = StreamServer(listener, handle, spawn=pool, **tls)
        if count > 1 or self.cfg.workers > 1:
            server.max_accept = SHARED_ACCEPT
        return server

    def _wait_for_requests(self, pools: list[Pool]) -> None:
        """Wait for the handlers in *pools*, and kill those that take too long."""
        deadline = monotonic() + self.cfg.graceful_timeout
        while any(pools):
            now = monotonic()
            if now >= deadline:
                self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
                for pool in pools:
                    pool.kill(timeout=1)
                return
            for pool in pools:
                pool.join(min(self._interval, deadline - now) / len(pools))
            self._notify_if_all_beat(len(self._idents))

    # The heartbeat.

    def _beat(self, index: int) -> None:
        self._idents[index] = get_ident()
        while True:
            self._beats[index] = monotonic()
            sleep(self._interval / 2)

    def _notify_if_all_beat(self, count: int) -> None:
        beats = list(self._beats.values())
        if len(beats) == count and min(beats) > self._notified:
            self._notified = monotonic()
            self.notify()

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """The arbiter has waited too long for a beat: say which hub is blocked, and where."""
        frames = current_frames()
        now = monotonic()
        for index, ident in list(self._idents.items()):
            if now - self._beats.get(index, now) > 2 * self._interval and ident in frames:
                self._is_blocked = True
                stack = "".join(traceback.format_stack(frames[ident]))
                self.log.error("Hub %s is blocked (pid:%s):\n%s", index, self.pid, stack)
        super().handle_abort(sig, frame)

    # The hubs.

    def timeout_ctx(self) -> Timeout:
        return Timeout(self.cfg.keepalive, False)

    def handle_error(self, req: object, client: object, addr: object, exc: BaseException) -> None:
        # A worker that ends kills the connections that are idle, too.
        if not isinstance(exc, GreenletExit):
            super().handle_error(req, client, addr, exc)

    def handle_request(self, listener_name: object, req: object, sock: object, addr: object) -> object:
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except GreenletExit:
            # The worker ends, and the request has taken too long.
            raise StopIteration from None
