"""A simulated network for a run: how a test turns it on, and what it says about hosts and links.

*Threads*: the hubs of the run, one at a time.
"""

from __future__ import annotations

import random
import socket as _standard
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from ... import socket as _green
from ..._core.spawning import spawn_callbacks
from ..._core.task import Task
from ...greenlet import Greenlet, killall, spawn
from ..clock import Current
from ..names import Names
from . import functions, sockets
from .fabric import Connection, Fabric, Host, host_name
from .link import Link
from .path import Path
from .sockets import Simulation

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE = __name__.rpartition(".")[0]
_names = Names(lambda module: module.startswith(_PACKAGE))


class Network:
    """The network of one run: hosts, which have names, and the links between them."""

    __module__ = "greenpool.testing.network"

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric

    @contextmanager
    def host(self, name: str) -> Iterator[None]:
        """The code in the block, and the greenlets and threads that it starts, run on this host."""
        _check_name(name)
        self._fabric.host_named(name)
        token = host_name.set(name)
        try:
            yield
        finally:
            host_name.reset(token)

    def spawn(self, host: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]:
        """Spawn a greenlet that runs on this host; as ``greenpool.spawn``.

        It is killed at the end of the ``simulated`` block, and so are the greenlets and threads that it
        starts.  So a server need not end by itself.
        """
        with self.host(host):
            token = _ends_with_network.set(True)
            try:
                return spawn(function, *args, **kwargs)
            finally:
                _ends_with_network.reset(token)

    def address(self, host: str) -> str:
        """The address of a host."""
        _check_name(host)
        return self._fabric.host_named(host).address

    def between(self, one: str, other: str) -> Link:
        """The link between two hosts, in both directions."""
        hosts = [self._host(one), self._host(other)]
        return self._link([(hosts[0], hosts[1]), (hosts[1], hosts[0])])

    def one_way(self, source: str, target: str) -> Link:
        """The link from one host to another, in this direction only."""
        return self._link([(self._host(source), self._host(target))])

    def everywhere(self) -> Link:
        """The links between all different hosts, also those that are named later."""

        def connections() -> list[Connection]:
            return [each for each in self._fabric.connections if each.host is not each.far_host]

        return Link(self._fabric.all_paths, connections)

    def _host(self, name: str) -> Host:
        _check_name(name)
        return self._fabric.host_named(name)

    def _link(self, ways: Sequence[tuple[Host, Host]]) -> Link:
        def paths() -> list[Path]:
            return [self._fabric.path(source, target) for source, target in ways]

        def connections() -> list[Connection]:
            return [each for each in self._fabric.connections if (each.host, each.far_host) in ways]

        return Link(paths, connections)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a host's name must be a str, not {name!r}")
    if not name:
        raise ValueError("a host's name must not be empty")


# Whether the running code was started by Network.spawn, or by such code.
_ends_with_network: ContextVar[bool] = ContextVar("greenpool.testing.network.ends", default=False)


class _Spawns:
    """Sees each start of a greenlet or thread while a network is on."""

    def __init__(self) -> None:
        self._ending: list[Task[object]] = []

    def started(self, task: Task[object]) -> None:
        """*task* runs on the host of the one that starts it; a thread begins with an empty context."""
        context = task.context
        if context is not None:
            if host_name not in context:
                context.run(host_name.set, host_name.get())
            if _ends_with_network not in context:
                context.run(_ends_with_network.set, _ends_with_network.get())
        if _ends_with_network.get():
            self._ending.append(task)

    def end(self) -> None:
        """Kill what Network.spawn has started, and wait for its end."""
        while ending := [task for task in self._ending if not task.ready()]:
            self._ending.clear()
            # ``threading`` reports every other exception that ends a thread.
            killall([task for task in ending if task.is_thread], SystemExit)
            killall([task for task in ending if not task.is_thread])


@contextmanager
def _wrapping_simulated_sockets() -> Iterator[None]:
    """Have every SSLContext make TLS sockets of simulated ones."""
    # Imported here, because a program that is patched may import it afterwards.
    import ssl

    context: Any = ssl.SSLContext
    original = context.wrap_socket

    def wrap_socket(self: ssl.SSLContext, sock: Any, *args: Any, **kwargs: Any) -> object:
        if type(sock) is not sockets.socket:
            return original(self, sock, *args, **kwargs)
        # Imported here, because few programs need it.
        from .tls import wrapped

        kwargs.pop("session", None)
        return wrapped(self, sock, *args, **kwargs)

    context.wrap_socket = wrap_socket
    try:
        yield
    finally:
        context.wrap_socket = original


# What has to be undone if a greenlet that has turned the network on has never ended.
_undo = ExitStack()


@contextmanager
def simulated() -> Iterator[Network]:
    """In this block, inside a run, the sockets that are made live in memory.

    Gives the Network.  At the end of the block, what ``Network.spawn`` has started is killed.

    It replaces ``greenpool.socket.socket`` and the functions that look names up, in all modules that have
    them; in a patched run that is ``socket.socket``, too.  Raises RuntimeError outside of a run of
    ``greenpool.testing``, and if the run has a network already.
    """
    global _undo
    scheduler = Current.scheduler
    if scheduler is None or not scheduler.is_here():
        raise RuntimeError("a network is simulated in a run of greenpool.testing only")
    if Simulation.fabric is not None and not Simulation.fabric.scheduler.ended:
        raise RuntimeError("the run has a simulated network already")
    _undo.close()
    # Of its own, so that the program draws the same numbers with and without faults.
    fabric = Fabric(scheduler, random.Random(repr(random.getstate())))
    is_patched = _standard.socket is _green.socket
    # A patched program may have functions in the places of those of greenpool.socket.
    modules = (_green, _standard) if is_patched else (_green,)
    pairs = functions.replacements(modules)
    for module in modules:
        for made in (sockets.socket, sockets.socketpair, sockets.fromfd):
            pairs.append((vars(module)[made.__name__], made))

    spawns = _Spawns()

    def end() -> None:
        Simulation.fabric = None
        spawn_callbacks.discard(spawns.started)

    with ExitStack() as stack:
        Simulation.fabric = fabric
        Simulation.patched = is_patched
        spawn_callbacks.add(spawns.started)
        stack.callback(end)
        stack.enter_context(_wrapping_simulated_sockets())
        stack.enter_context(_names.replaced(pairs))
        _undo = stack.pop_all()
    try:
        yield Network(fabric)
    finally:
        _undo.close()
        spawns.end()
