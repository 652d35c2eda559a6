"""A simulated network: how it is turned on, hosts and their names, TCP between them, and reports."""

from __future__ import annotations

import hashlib
import os
import socket as standard
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import greenpool
from greenpool import socket, testing
from greenpool.testing.network import Network
from greenpool.testing.run import Settings, instruments, run_once
from greenpool.testing.schedule import schedule_of_seed

Program = Callable[[Network], Any]


def on_network(program: Program, seed: int = 1, **options: Any) -> Any:
    """Run *program* in a run that has a simulated network."""

    def main() -> Any:
        with testing.network.simulated() as network:
            return program(network)

    return testing.run(main, seed=seed, **options)


def echo(port: int = 7) -> None:
    with socket.create_server(("", port)) as listener:
        while True:
            greenpool.spawn(_echo, listener.accept()[0])


def _echo(connection: socket.socket) -> None:
    with connection, suppress(ConnectionError):
        while data := connection.recv(1000):
            connection.sendall(data)


def echo_host(network: Network) -> None:
    network.spawn("echo", echo)
    greenpool.sleep(1)


def test_two_hosts_talk() -> None:
    def program(network: Network) -> list[object]:
        echo_host(network)
        with socket.create_connection(("echo", 7)) as client:
            client.sendall(b"hello")
            return [client.recv(10), client.getpeername(), client.getsockname(), repr(client)]

    assert on_network(program) == [
        b"hello",
        ("10.0.0.2", 7),
        ("10.0.0.1", 49152),
        "<simulated TCP socket localhost:49152 -> echo:7>",
    ]


def test_it_is_turned_on_in_a_run_only() -> None:
    with pytest.raises(RuntimeError, match="in a run"), testing.network.simulated():
        pass


def test_a_run_has_one_network() -> None:
    def program(network: Network) -> None:
        with pytest.raises(RuntimeError, match="already"), testing.network.simulated():
            pass

    on_network(program)


def test_the_names_are_restored() -> None:
    before = socket.socket, socket.getaddrinfo, socket.gethostname, standard.gethostname, socket.socketpair
    kinds: list[type] = []
    on_network(lambda network: kinds.append(socket.socket))
    after = socket.socket, socket.getaddrinfo, socket.gethostname, standard.gethostname, socket.socketpair
    assert after == before
    assert kinds[0] is not before[0]
    assert issubclass(kinds[0], before[0])


def test_another_run_can_follow_one_whose_network_was_never_turned_off() -> None:
    def main() -> None:
        def wait() -> None:
            with testing.network.simulated():
                greenpool.sleep(10_000)

        greenpool.spawn(wait)
        greenpool.sleep(1)
        raise ValueError

    with pytest.raises(ValueError):
        testing.run(main, seed=1)
    assert on_network(lambda network: socket.gethostname()) == "localhost"


def test_greenlets_inherit_the_host() -> None:
    def program(network: Network) -> list[str]:
        with network.host("db"):
            child = greenpool.spawn(lambda: greenpool.spawn(socket.gethostname).get())
        return [child.get(), network.spawn("web", socket.gethostname).get(), socket.gethostname()]

    assert on_network(program) == ["db", "web", "localhost"]


def test_threads_of_a_patched_program_inherit_the_host() -> None:
    def program(network: Network) -> list[str]:
        names: list[str] = []
        with network.host("db"):
            thread = threading.Thread(target=lambda: names.append(standard.gethostname()))
        with network.host("web"):
            thread.start()
        thread.join()
        return names

    assert on_network(program, patch=True) == ["web"]


def test_names_and_addresses() -> None:
    def program(network: Network) -> list[object]:
        network.address("db")
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("example.com", 80)
        with pytest.raises(socket.herror):
            socket.gethostbyaddr("10.9.9.9")
        with network.host("db"):
            own = socket.gethostbyname(socket.gethostname()), socket.getfqdn()
        return [
            socket.getaddrinfo("db", "http", type=socket.SOCK_STREAM),
            [
                entry[4]
                for entry in socket.getaddrinfo(None, 80, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            ],
            socket.gethostbyname("localhost"),
            socket.gethostbyname_ex("db"),
            socket.gethostbyaddr("10.0.0.2"),
            socket.getnameinfo(("10.0.0.2", 80), 0),
            socket.getnameinfo(("10.0.0.2", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
            own,
        ]

    assert on_network(program) == [
        [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("10.0.0.2", 80))],
        [("0.0.0.0", 80)],
        "127.0.0.1",
        ("db", [], ["10.0.0.2"]),
        ("db", [], ["10.0.0.2"]),
        ("db", "http"),
        ("10.0.0.2", "80"),
        ("10.0.0.2", "db"),
    ]


def test_nothing_reaches_the_world_outside() -> None:
    def program(network: Network) -> None:
        with pytest.raises(OSError, match="unreachable"):
            socket.create_connection(("192.0.2.1", 80))
        with pytest.raises(OSError, match="Protocol not supported"):
            socket.socket(type=socket.SOCK_RAW)

    on_network(program)


def test_each_host_has_its_own_loopback_and_ports() -> None:
    def program(network: Network) -> bytes:
        echo_host(network)
        network.spawn("localhost", echo)
        greenpool.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            network.spawn("third", socket.create_connection, ("localhost", 7)).get()
        with network.host("echo"), socket.create_connection(("localhost", 7)) as client:
            client.send(b"own")
            return client.recv(10)

    assert on_network(program) == b"own"


def test_a_full_buffer_makes_the_sender_wait() -> None:
    def program(network: Network) -> list[object]:
        one, other = socket.socketpair()
        sent = greenpool.spawn(one.sendall, bytes(1_000_000))
        greenpool.sleep(1)
        assert not sent.ready()
        one.settimeout(5)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            one.send(b"more")
        waited = time.monotonic() - begun
        got = 0
        while got < 1_000_000:
            got += len(other.recv(65536))
        sent.get()
        return [waited, got]

    assert on_network(program) == [5, 1_000_000]


def test_operations_have_timeouts() -> None:
    def program(network: Network) -> list[float]:
        times = []

        def timed(operation: Callable[..., object], *args: object) -> None:
            begun = time.monotonic()
            with pytest.raises(TimeoutError, match="timed out"):
                operation(*args)
            times.append(time.monotonic() - begun)

        with socket.create_server(("", 80)) as listener, socket.socket() as client:
            listener.settimeout(1)
            timed(listener.accept)
            client.connect(("localhost", 80))
            client.settimeout(2)
            timed(client.recv, 1)
            timed(client.recv_into, bytearray(1))
            timed(client.sendall, bytes(10_000_000))
        return times

    assert on_network(program) == [1, 2, 2, 2]


def test_a_kill_and_a_timeout_end_a_wait() -> None:
    def program(network: Network) -> str:
        one, other = socket.socketpair()
        reader = greenpool.spawn(one.recv, 1)
        greenpool.sleep(1)
        reader.kill()
        with greenpool.Timeout(1, False):
            one.recv(1)
        other.send(b"x")
        return one.recv(9).decode()

    assert on_network(program) == "x"


def test_a_close_ends_the_wait_of_another_greenlet() -> None:
    def program(network: Network) -> None:
        one, other = socket.socketpair()
        reader = greenpool.spawn(one.recv, 1)
        greenpool.sleep(1)
        one.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            reader.get()
        assert other.recv(1) == b""

    on_network(program)


def test_files_duplicates_and_options() -> None:
    def program(network: Network) -> list[object]:
        one, other = socket.socketpair()
        with one, other, one.makefile("rw") as file, one.dup() as twin:
            file.write("a line\n")
            file.flush()
            got = other.recv(100)
            one.close()
            other.sendall(b"back\nrest")
            line = file.readline()
            twin.sendall(b"twin")
            again = other.recv(100)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            options = [
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
                sock.type,
                sock.family,
            ]
        return [got, line, again, options]

    assert on_network(program) == [
        b"a line\n",
        "back\n",
        b"twin",
        [16384, 1, socket.SOCK_STREAM, socket.SOCK_STREAM, socket.AF_INET],
    ]


def test_scattered_buffers_and_flags() -> None:
    def program(network: Network) -> list[object]:
        one, other = socket.socketpair()
        with one, other:
            assert one.sendmsg([b"ab", b"cde"]) == 5
            first, second = bytearray(2), bytearray(2)
            assert other.recvmsg_into([first, second])[0] == 4
            assert other.recvmsg(9)[0] == b"e"
            greenpool.spawn_later(1, one.sendall, b"67")
            one.sendall(b"12345")
            peeked = other.recv(3, socket.MSG_PEEK)
            whole = other.recv(7, socket.MSG_WAITALL)
            with pytest.raises(BlockingIOError):
                other.recv(1, socket.MSG_DONTWAIT)
        return [bytes(first), bytes(second), peeked, whole]

    assert on_network(program) == [b"ab", b"cd", b"123", b"1234567"]


def test_a_socket_of_another_family_is_an_ordinary_one() -> None:
    def program(network: Network) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            assert type(sock).__module__ == "greenpool.socket"
            assert isinstance(sock, socket.socket)

    on_network(program)


def test_a_socket_of_ipv6_uses_the_same_addresses() -> None:
    def program(network: Network) -> list[object]:
        with socket.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
            one = socket.create_connection(("localhost", 80))
            other = socket.socket(socket.AF_INET6)
            with one, other:
                other.connect(("::1", 80))
                return [listener.getsockname(), listener.accept()[1], other.getpeername()]

    assert on_network(program) == [
        ("::", 80, 0, 0),
        ("::ffff:127.0.0.1", 49152, 0, 0),
        ("::ffff:127.0.0.1", 80, 0, 0),
    ]


def test_a_server_of_greenpool() -> None:
    from greenpool.server import StreamServer

    def program(network: Network) -> bytes:
        with network.host("web"):
            server = StreamServer(("", 80), lambda connection, address: connection.sendall(b"hello"))
            server.start()
        with socket.create_connection(("web", 80)) as client:
            data = client.recv(100)
        server.stop()
        return data

    assert on_network(program) == b"hello"


# Methods that go by way of others, and those of the machine's kernel that raise for a simulated socket.
INHERITED = {
    *("close", "getblocking", "gettimeout", "makefile", "sendfile", "setblocking", "timeout"),
    *("__enter__", "__exit__", "ioctl", "sendmsg_afalg", "share"),
}


def test_no_method_of_a_simulated_socket_is_left_to_the_kernel() -> None:
    def program(network: Network) -> set[str]:
        kind = socket.socket
        return {
            name
            for name in dir(kind)
            if not name.startswith("_")
            and name not in {each for base in kind.__mro__[:1] for each in vars(base)}
        }

    assert on_network(program) - INHERITED == set()


def test_a_patched_run_finds_the_names_after_a_run_that_was_not() -> None:
    def program(network: Network) -> list[object]:
        network.address("db")
        return [standard.gethostbyname("db"), standard.getaddrinfo("db", 80)[0][4]]

    on_network(lambda network: None)
    assert on_network(program, patch=True) == ["10.0.0.2", ("10.0.0.2", 80)]


# What is reported, and what repeats.


def test_a_deadlock_is_reported_with_the_ends_of_the_connection() -> None:
    def program(network: Network) -> None:
        echo_host(network)
        with network.host("client"), socket.create_connection(("echo", 7)) as client:
            client.recv(1)

    with pytest.raises(greenpool.LoopExit) as caught:
        on_network(program)
    text = str(caught.value)
    assert "in socket.recv, waits for client:49152 -> echo:7 to have bytes" in text
    assert "in socket.accept, waits for echo:7 to have a connection" in text


def busy(network: Network) -> list[object]:
    """Clients of three hosts, over links that lose, delay and are cut."""
    echo_host(network)
    network.everywhere().delay(0.1, jitter=0.05).drop(0.2)
    seen: list[object] = []

    def client(name: str) -> None:
        for number in range(3):
            try:
                with socket.create_connection(("echo", 7), timeout=5) as connection:
                    connection.sendall(f"{name} {number}".encode())
                    seen.append((name, connection.recv(100), time.monotonic()))
            except OSError as error:
                seen.append((name, type(error).__name__, time.monotonic()))

    clients = [network.spawn(name, client, name) for name in ("a", "b", "c")]
    greenpool.sleep(0.5)
    network.between("a", "echo").partition()
    greenpool.sleep(2)
    network.between("a", "echo").heal()
    network.between("b", "echo").reset()
    for each in clients:
        each.get()
    return seen


def traced(seed: int) -> list[object]:
    def main() -> list[object]:
        with testing.network.simulated() as network:
            return busy(network)

    with instruments(False):
        outcome = run_once(main, schedule_of_seed(seed), Settings(2, "jump", None), seed, traced=True)
    assert outcome.error is None, outcome.error
    steps = [(step.at, step.place, step.what, step.hub, step.actor, step.choice) for step in outcome.trace]
    return [outcome.value, outcome.choices, steps]


def test_the_same_seed_gives_the_same_run_bit_for_bit() -> None:
    runs = [traced(seed) for seed in (1, 1, 2, 2)]
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert runs[0] != runs[2]


def digest() -> str:
    return hashlib.sha256(repr([traced(seed) for seed in range(4)]).encode()).hexdigest()


@pytest.mark.slow
def test_the_run_is_the_same_with_and_without_the_extension() -> None:
    code = "from test_network import digest; print(digest())"
    found = set()
    for without in ("", "1"):
        environment = {**os.environ, "GREENPOOL_PUREPYTHON": without, "PYTHONPATH": os.path.dirname(__file__)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_explore_finds_a_client_that_takes_one_recv_for_a_whole_message() -> None:
    def main() -> None:
        with testing.network.simulated() as network:
            network.between("localhost", "echo").bandwidth(1000)
            echo_host(network)
            with socket.create_connection(("echo", 7)) as client:
                client.sendall(bytes(3000))
                assert len(client.recv(3000)) == 3000

    with pytest.raises(testing.ScheduleFailed):
        testing.explore(main, schedules=10)
