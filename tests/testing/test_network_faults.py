"""The faults that a test can set on a link, one example for each."""

from __future__ import annotations

import errno
import socket as standard
import time
from collections.abc import Callable

import pytest

import greenpool
from greenpool import socket, testing
from greenpool.testing.network import Network

from .test_network import echo_host, on_network


def exchange(client: standard.socket, size: int = 5) -> float:
    """Send some bytes to the echo and wait for them; the seconds that it takes."""
    begun = time.monotonic()
    client.sendall(bytes(size))
    left = size
    while left:
        data = client.recv(left)
        assert data
        left -= len(data)
    return round(time.monotonic() - begun, 3)


def with_echo(program: Callable[[Network, standard.socket], object], seed: int = 1) -> object:
    """Run *program* with a connection to the echo."""

    def main(network: Network) -> object:
        echo_host(network)
        with network.host("client"), socket.create_connection(("echo", 7)) as client:
            return program(network, client)

    return on_network(main, seed)


def test_delay() -> None:
    def program(network: Network, client: standard.socket) -> float:
        network.between("client", "echo").delay(0.2)
        return exchange(client)

    assert with_echo(program) == 0.4


def test_delay_in_one_direction() -> None:
    def program(network: Network, client: standard.socket) -> float:
        network.one_way("echo", "client").delay(3)
        return exchange(client)

    assert with_echo(program) == 3


def test_jitter_is_drawn_by_the_seed() -> None:
    def program(network: Network, client: standard.socket) -> list[float]:
        network.between("client", "echo").delay(0.1, jitter=0.1)
        return [exchange(client) for _ in range(3)]

    times = with_echo(program)
    assert isinstance(times, list)
    assert all(0.2 <= seconds <= 0.4 for seconds in times)
    assert len(set(times)) == 3
    assert times == with_echo(program) != with_echo(program, seed=2)


def test_a_loss_costs_a_connection_time_and_no_byte() -> None:
    def program(network: Network, client: standard.socket) -> list[float]:
        network.between("client", "echo").drop(0.5)
        return [exchange(client) for _ in range(10)]

    times = with_echo(program)
    assert isinstance(times, list)
    assert min(times) == 0
    assert max(times) >= 0.2


def test_bandwidth() -> None:
    def program(network: Network, client: standard.socket) -> float:
        network.one_way("client", "echo").bandwidth(1000)
        return exchange(client, 4000)

    assert with_echo(program) == 4


def test_a_partition_heals() -> None:
    def program(network: Network, client: standard.socket) -> list[object]:
        link = network.between("client", "echo").partition()
        client.settimeout(1)
        client.sendall(b"hello")
        with pytest.raises(TimeoutError):
            client.recv(5)
        link.heal()
        return [client.recv(5), time.monotonic() > 2]

    assert with_echo(program) == [b"hello", True]


def test_a_partition_that_lasts_ends_a_connection_that_sends() -> None:
    def program(network: Network, client: standard.socket) -> float:
        network.between("client", "echo").partition()
        begun = time.monotonic()
        client.sendall(b"hello")
        with pytest.raises(OSError) as caught:
            client.recv(5)
        assert caught.value.errno == errno.ETIMEDOUT
        return round(time.monotonic() - begun)

    # As in Linux.
    assert with_echo(program) == 925


def test_connecting_over_a_partition() -> None:
    def program(network: Network, client: standard.socket) -> list[float]:
        network.between("client", "echo").partition()
        times = []
        for timeout in (5, None):
            begun = time.monotonic()
            with pytest.raises(TimeoutError) as caught:
                socket.create_connection(("echo", 7), timeout)
            assert caught.value.errno == (errno.ETIMEDOUT if timeout is None else None)
            times.append(time.monotonic() - begun)
        greenpool.spawn_later(2.5, network.between("client", "echo").heal)
        begun = time.monotonic()
        socket.create_connection(("echo", 7)).close()
        return [*times, time.monotonic() - begun]

    assert with_echo(program) == [5, 127, 3]


def test_hold_and_release() -> None:
    def program(network: Network, client: standard.socket) -> list[object]:
        link = network.one_way("client", "echo").hold()
        client.settimeout(100)
        client.sendall(b"one")
        client.sendall(b"two")
        with pytest.raises(TimeoutError):
            client.recv(1)
        begun = time.monotonic()
        link.release()
        return [client.recv(3), client.recv(3), time.monotonic() - begun]

    assert with_echo(program) == [b"one", b"two", 0]


def test_reset() -> None:
    def program(network: Network, client: standard.socket) -> None:
        network.between("client", "echo").reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with pytest.raises(BrokenPipeError):
            client.send(b"x")

    def main(network: Network) -> None:
        with socket.create_server(("", 7)) as listener:
            with network.host("client"):
                client = socket.create_connection((network.address("localhost"), 7))
            connection, _ = listener.accept()
            reader = greenpool.spawn(connection.recv, 1)
            greenpool.sleep(1)
            network.between("client", "localhost").reset()
            for read in (reader.get, lambda: client.recv(1)):
                with pytest.raises(ConnectionResetError):
                    read()

    on_network(main)
    with_echo(program)


def test_half_close() -> None:
    def program(network: Network, client: standard.socket) -> list[object]:
        client.sendall(b"last")
        network.one_way("client", "echo").half_close()
        with pytest.raises(BrokenPipeError):
            client.send(b"more")
        return [client.recv(10), client.recv(10)]

    assert with_echo(program) == [b"last", b""]


def test_everywhere_holds_for_hosts_that_are_named_later() -> None:
    def program(network: Network) -> float:
        network.everywhere().delay(1)
        echo_host(network)
        begun = time.monotonic()
        socket.create_connection(("echo", 7)).close()
        return time.monotonic() - begun

    assert on_network(program) == 2


def test_a_host_reaches_itself_in_no_time() -> None:
    def program(network: Network) -> float:
        network.everywhere().delay(1)
        echo_host(network)
        with network.host("echo"), socket.create_connection(("echo", 7)) as client:
            return exchange(client)

    assert on_network(program) == 0


def test_what_was_sent_before_a_close_arrives() -> None:
    def program(network: Network) -> list[object]:
        network.between("localhost", "sink").delay(1).bandwidth(10_000)
        begun = time.monotonic()

        def serve() -> bytes:
            with socket.create_server(("", 9)) as listener:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as file:
                    return file.read()

        sink = network.spawn("sink", serve)
        greenpool.sleep(1)
        with socket.create_connection(("sink", 9)) as client:
            client.sendall(bytes(50_000))
        return [len(sink.get()), round(time.monotonic() - begun, 1)]

    # A second until the server listens, two to connect, five to send, and one until the last byte is there.
    assert on_network(program) == [50_000, 9.0]


@pytest.mark.parametrize(
    ("method", "value", "error"),
    [
        ("delay", -1, ValueError),
        ("delay", "soon", TypeError),
        ("drop", 2, ValueError),
        ("drop", float("nan"), ValueError),
        ("bandwidth", 0, ValueError),
        ("bandwidth", True, TypeError),
    ],
)
def test_a_bad_condition_is_refused(method: str, value: object, error: type[Exception]) -> None:
    def program(network: Network) -> None:
        with pytest.raises(error):
            getattr(network.between("a", "b"), method)(value)

    on_network(program)


@pytest.mark.parametrize(("name", "error"), [("", ValueError), (b"db", TypeError), (None, TypeError)])
def test_a_bad_name_of_a_host_is_refused(name: object, error: type[Exception]) -> None:
    def program(network: Network) -> None:
        with pytest.raises(error):
            network.address(name)  # type: ignore[arg-type]

    on_network(program)


def test_a_client_that_retries_gets_through_every_schedule() -> None:
    def main() -> None:
        with testing.network.simulated() as network:
            echo_host(network)
            link = network.between("localhost", "echo").partition()
            greenpool.spawn_later(30, link.heal)
            while True:
                try:
                    with socket.create_connection(("echo", 7), timeout=5) as client:
                        exchange(client)
                        return
                except TimeoutError:
                    greenpool.sleep(1)

    testing.explore(main, schedules=20)
