"""Datagrams over a simulated network: lost, late and out of order."""

from __future__ import annotations

import time

import pytest

import greenpool
from greenpool import socket
from greenpool.testing.network import Network

from .test_network import on_network

Socket = socket.socket


def pair(network: Network) -> tuple[Socket, Socket]:
    """A socket of the host "a", and one of the host "b" that is bound to port 53."""
    with network.host("a"):
        sender = socket.socket(type=socket.SOCK_DGRAM)
    with network.host("b"):
        receiver = socket.socket(type=socket.SOCK_DGRAM)
        receiver.bind(("", 53))
    receiver.settimeout(10)
    return sender, receiver


def received(receiver: Socket) -> list[bytes]:
    """All that comes until nothing has come for ten seconds."""
    found = []
    try:
        while True:
            found.append(receiver.recv(100))
    except TimeoutError:
        return found


def test_there_and_back() -> None:
    def program(network: Network) -> list[object]:
        sender, receiver = pair(network)
        sender.sendto(b"question", ("b", 53))
        data, address = receiver.recvfrom(100)
        receiver.sendto(b"answer", address)
        buffer = bytearray(4)
        return [data, address, sender.recvfrom_into(buffer), bytes(buffer)]

    assert on_network(program) == [b"question", ("10.0.0.2", 49152), (4, ("10.0.0.3", 53)), b"answ"]


def test_a_loss_is_a_loss() -> None:
    def program(network: Network) -> list[bytes]:
        sender, receiver = pair(network)
        network.one_way("a", "b").drop(0.5)
        for number in range(20):
            sender.sendto(str(number).encode(), ("b", 53))
        return received(receiver)

    found = on_network(program)
    assert 4 < len(found) < 16
    assert found == sorted(found, key=int) == on_network(program)


def test_they_keep_their_order_unless_the_delay_varies() -> None:
    def program(network: Network) -> list[list[bytes]]:
        sender, receiver = pair(network)
        link = network.between("a", "b")
        orders = []
        for jitter in (0, 1):
            link.delay(1, jitter)
            for number in range(9):
                sender.sendto(str(number).encode(), ("b", 53))
            orders.append(received(receiver))
        return orders

    steady, varying = on_network(program)
    assert steady == sorted(steady)
    assert varying != sorted(varying)
    assert sorted(varying) == steady


def test_a_partition_loses_them_and_a_hold_does_not() -> None:
    def program(network: Network) -> list[bytes]:
        sender, receiver = pair(network)
        link = network.between("a", "b").partition()
        sender.sendto(b"lost", ("b", 53))
        link.heal().hold()
        sender.sendto(b"held", ("b", 53))
        assert received(receiver) == []
        link.release()
        return received(receiver)

    assert on_network(program) == [b"held"]


def test_those_on_their_way_are_lost_in_a_partition() -> None:
    def program(network: Network) -> list[bytes]:
        sender, receiver = pair(network)
        link = network.between("a", "b").delay(2)
        sender.sendto(b"on its way", ("b", 53))
        greenpool.sleep(1)
        link.partition()
        return received(receiver)

    assert on_network(program) == []


def test_a_full_queue_drops_what_comes() -> None:
    def program(network: Network) -> int:
        sender, receiver = pair(network)
        for _ in range(100):
            sender.sendto(bytes(10_000), ("b", 53))
        return len(received(receiver))

    assert 5 < on_network(program) < 20


def test_a_connected_socket_learns_that_nobody_has_the_port() -> None:
    def program(network: Network) -> float:
        network.between("a", "b").delay(1)
        sender, receiver = pair(network)
        sender.connect(("b", 54))
        sender.send(b"x")
        begun = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            sender.recv(1)
        return time.monotonic() - begun

    assert on_network(program) == 2


def test_what_is_too_large_is_refused() -> None:
    def program(network: Network) -> None:
        sender, _ = pair(network)
        with pytest.raises(OSError, match="too long"):
            sender.sendto(bytes(65_508), ("b", 53))

    on_network(program)
