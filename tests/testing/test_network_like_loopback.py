"""The simulated sockets do what those of the kernel do over its loopback: same calls, same results."""

from __future__ import annotations

import select
import socket as standard
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenpool import socket as green
from greenpool import testing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the errors are those of Linux")

Step = tuple[str, ...]
POLLED = select.POLLIN | select.POLLOUT | getattr(select, "POLLRDHUP", 0)
LINGER = struct.pack("ii", 1, 0)
HOW = {"r": standard.SHUT_RD, "w": standard.SHUT_WR, "rw": standard.SHUT_RDWR}


class Play:
    """Does the steps of a script with the sockets of one module, and notes what comes of each."""

    def __init__(self, module: Any, stack: ExitStack) -> None:
        self.module = module
        self.stack = stack
        self.sockets: dict[str, Any] = {}
        self.names: dict[int, str] = {}

    def make(self, kind: int) -> Any:
        made = self.stack.enter_context(self.module.socket(standard.AF_INET, kind))
        made.setblocking(False)
        if kind == standard.SOCK_STREAM:
            # The kernel would keep a small segment back until an earlier one is acknowledged (Nagle), and
            # with it what that does to the other end.  An accepted socket has the option of its listener.
            made.setsockopt(standard.IPPROTO_TCP, standard.TCP_NODELAY, 1)
        return made

    def of(self, name: str) -> Any:
        if name not in self.sockets:
            kind = standard.SOCK_DGRAM if name in "uv" else standard.SOCK_STREAM
            self.sockets[name] = self.make(kind)
        return self.sockets[name]

    def address(self, value: Any) -> Any:
        """An address with a name in the place of its port, which is another one in each world."""
        if not isinstance(value, tuple):
            return value
        host, port = value
        return (host, port and self.names.setdefault(port, f"port {len(self.names)}"))

    def step(self, name: str, operation: str, *args: str) -> object:
        try:
            result: object = getattr(self, f"do_{operation}")(self.of(name), *args)
        except OSError as error:
            return type(error).__name__, error.errno
        except ValueError as error:
            return str(error)
        return result

    def do_listen(self, sock: Any, backlog: str = "5") -> object:
        return sock.listen(int(backlog))

    def do_bind(self, sock: Any, other: str = "") -> object:
        port = self.of(other).getsockname()[1] if other else 0
        return sock.bind(("127.0.0.1", port))

    def do_reuse(self, sock: Any) -> object:
        return sock.setsockopt(standard.SOL_SOCKET, standard.SO_REUSEADDR, 1)

    def do_connect(self, sock: Any, other: str) -> object:
        return sock.connect_ex(("127.0.0.1", self.of(other).getsockname()[1] or 1))

    def do_accept(self, sock: Any, name: str) -> object:
        accepted, address = sock.accept()
        self.stack.enter_context(accepted)
        accepted.setblocking(False)
        self.sockets[name] = accepted
        return self.address(address)

    def do_send(self, sock: Any, size: str) -> object:
        return sock.send(b"x" * int(size))

    def do_sendto(self, sock: Any, other: str, size: str) -> object:
        return sock.sendto(b"y" * int(size), self.of(other).getsockname())

    def do_recv(self, sock: Any, size: str) -> object:
        return sock.recv(int(size))

    def do_peek(self, sock: Any, size: str) -> object:
        return sock.recv(int(size), standard.MSG_PEEK)

    def do_recvfrom(self, sock: Any, size: str) -> object:
        data, address = sock.recvfrom(int(size))
        return data, self.address(address)

    def do_shutdown(self, sock: Any, how: str) -> object:
        return sock.shutdown(HOW[how])

    def do_linger(self, sock: Any) -> object:
        return sock.setsockopt(standard.SOL_SOCKET, standard.SO_LINGER, LINGER)

    def do_close(self, sock: Any) -> object:
        return sock.close()

    def do_names(self, sock: Any) -> object:
        return self.address(sock.getsockname()), self.address(sock.getpeername())

    def do_error(self, sock: Any) -> object:
        return sock.getsockopt(standard.SOL_SOCKET, standard.SO_ERROR)

    def do_select(self, sock: Any) -> object:
        return [bool(ready) for ready in select.select([sock], [sock], [], 0)]

    def do_poll(self, sock: Any) -> object:
        poll = select.poll()
        poll.register(sock.fileno(), POLLED)
        # A simulated socket that has hung up does not say that it has failed, too.
        return [events & ~select.POLLERR if events & select.POLLHUP else events for _, events in poll.poll(0)]


def played(module: Any, script: Sequence[Step]) -> list[object]:
    with ExitStack() as stack:
        play = Play(module, stack)
        return [play.step(*step) for step in script]


def simulated(script: Sequence[Step]) -> list[object]:
    def main() -> list[object]:
        with testing.network.simulated():
            return played(green, script)

    return testing.run(main, seed=0)


def check(script: Sequence[Step]) -> None:
    pairs = zip(script, played(standard, script), simulated(script), strict=True)
    assert [pair for pair in pairs if pair[1] != pair[2]] == []


CONNECTED: list[Step] = [("l", "bind"), ("l", "listen"), ("a", "connect", "l"), ("l", "accept", "b")]

SCRIPTS: dict[str, list[Step]] = {
    "a fresh socket": [
        *(("a", operation, *args) for operation, args in (("send", ["1"]), ("recv", ["1"]), ("names", []))),
        *(("a", "shutdown", how) for how in HOW),
        ("a", "error"),
    ],
    "a connection is refused": [
        ("l", "bind"),
        ("a", "connect", "l"),
        ("a", "poll"),
        ("a", "error"),
        ("a", "recv", "1"),
    ],
    "a refused connection is asked for again": [
        ("l", "bind"),
        ("a", "connect", "l"),
        ("a", "connect", "l"),
        ("a", "connect", "l"),
        ("a", "error"),
        ("a", "connect", "l"),
    ],
    "connecting twice": [*CONNECTED, ("a", "connect", "l"), ("a", "connect", "l"), ("l", "connect", "l")],
    "bytes there and back": [
        *CONNECTED,
        ("a", "names"),
        ("b", "names"),
        ("a", "send", "3"),
        ("b", "peek", "2"),
        ("b", "recv", "2"),
        ("b", "recv", "9"),
        ("b", "recv", "9"),
        ("b", "send", "5"),
        ("a", "poll"),
        ("a", "recv", "9"),
        ("a", "poll"),
    ],
    "the end of a stream": [
        *CONNECTED,
        ("a", "send", "2"),
        ("a", "shutdown", "w"),
        ("a", "send", "1"),
        ("b", "poll"),
        ("b", "recv", "9"),
        ("b", "recv", "9"),
        ("b", "send", "4"),
        ("a", "recv", "9"),
        ("b", "close"),
        ("a", "poll"),
        ("a", "recv", "9"),
        ("a", "names"),
        ("a", "shutdown", "rw"),
    ],
    "the peer is gone": [
        *CONNECTED,
        ("b", "close"),
        ("a", "poll"),
        ("a", "send", "1"),
        ("a", "poll"),
        ("a", "send", "1"),
        ("a", "recv", "1"),
        ("a", "error"),
    ],
    "the peer is gone with bytes unread": [
        *CONNECTED,
        ("a", "send", "1"),
        ("b", "send", "2"),
        ("b", "close"),
        ("a", "poll"),
        ("a", "recv", "9"),
        ("a", "recv", "9"),
        ("a", "recv", "9"),
        ("a", "send", "1"),
    ],
    "a linger of zero resets": [
        *CONNECTED,
        ("b", "linger"),
        ("b", "close"),
        ("a", "poll"),
        ("a", "recv", "1"),
        ("a", "names"),
    ],
    "the listener closes before it accepts": [
        ("l", "bind"),
        ("l", "listen"),
        ("a", "connect", "l"),
        ("l", "poll"),
        ("l", "close"),
        ("a", "poll"),
        ("a", "recv", "1"),
    ],
    "a backlog that is full": [
        ("l", "bind"),
        ("l", "listen", "0"),
        ("a", "connect", "l"),
        ("b", "connect", "l"),
        ("a", "poll"),
        ("b", "poll"),
    ],
    "addresses that are in use": [
        ("l", "bind"),
        ("a", "bind", "l"),
        ("l", "bind"),
        ("l", "reuse"),
        ("a", "reuse"),
        ("a", "bind", "l"),
        ("l", "listen"),
        ("a", "listen"),
    ],
    "a port after its connection": [
        *CONNECTED,
        ("b", "close"),
        ("a", "close"),
        ("l", "close"),
        ("c", "names"),
    ],
    "a listener is no connection": [
        ("l", "listen"),
        ("l", "send", "1"),
        ("l", "recv", "1"),
        ("l", "accept", "b"),
        ("l", "shutdown", "r"),
        ("l", "accept", "b"),
        ("l", "poll"),
        ("a", "accept", "b"),
    ],
    "datagrams": [
        ("u", "bind"),
        ("v", "select"),
        ("v", "sendto", "u", "3"),
        ("u", "select"),
        ("u", "peek", "2"),
        ("u", "recvfrom", "2"),
        ("u", "recvfrom", "2"),
        ("v", "sendto", "u", "0"),
        ("u", "recvfrom", "2"),
        ("v", "send", "1"),
        ("v", "sendto", "u", "65508"),
        ("u", "shutdown", "r"),
    ],
    "connected datagrams": [
        ("u", "bind"),
        ("v", "bind"),
        ("u", "connect", "v"),
        ("u", "names"),
        ("u", "send", "2"),
        ("v", "recvfrom", "9"),
        ("v", "close"),
        ("u", "send", "2"),
        ("u", "select"),
        ("u", "recv", "2"),
        ("u", "recv", "2"),
        ("u", "send", "2"),
        ("u", "send", "2"),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_results_of_a_script_are_those_of_the_kernel(name: str) -> None:
    check(SCRIPTS[name])


def one_of(*steps: str) -> st.SearchStrategy[Step]:
    return st.sampled_from([tuple(step.split()) for step in steps])


STREAMS = one_of(
    *(
        f"{name} {rest}"
        for name in "ab"
        for rest in ("send 1", "send 3", "recv 2", "recv 9", "peek 4", "poll")
    ),
    *(f"{name} {rest}" for name in "ab" for rest in ("close", "error", "names", "linger", "connect l")),
    *(f"{name} shutdown {how}" for name in "ab" for how in HOW),
    *("l close", "l poll", "l accept b", "c connect l", "l accept c", "c send 1", "c recv 1", "c close"),
)


@given(st.lists(STREAMS, max_size=12))
@settings(max_examples=200, deadline=None)
def test_any_script_over_a_connection_does_what_it_does_over_the_loopback(steps: list[Step]) -> None:
    check([*CONNECTED, *steps])


DATAGRAMS = one_of(
    *(
        f"{name} {rest}"
        for name in "uv"
        for rest in ("send 1", "recv 9", "peek 4", "select", "close", "names")
    ),
    *("u sendto v 2", "v sendto u 2", "u connect v", "v connect u", "u error", "v error", "u bind", "v bind"),
    *(f"{name} shutdown {how}" for name in "uv" for how in HOW),
)


@given(st.lists(DATAGRAMS, max_size=10))
@settings(max_examples=100, deadline=None)
def test_any_script_of_datagrams_does_what_it_does_over_the_loopback(steps: list[Step]) -> None:
    check([("u", "bind"), ("v", "bind"), *steps])
