"""``greenpool.ssl`` over two buffers: what is read ahead is not lost, and nothing is sent twice."""

from __future__ import annotations

import select as native_select
import ssl as standard
from collections.abc import Iterator
from threading import Event as native_event
from typing import Any

import pytest
import tls
from tls import connected

import greenpool
from greenpool import select, socket, ssl

pytestmark = pytest.mark.usefixtures("leak_check")

certificate = tls.certificate
server_context = tls.server_context
client_context = tls.client_context


class Peer:
    """The server's end of a connection, which decides itself which bytes it sends together."""

    def __init__(self, context: ssl.SSLContext, plain: socket.socket) -> None:
        self.plain = plain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.plain.sendall(self.outgoing.read())
                self.incoming.write(self.plain.recv(65536))
            else:
                break
        self.plain.sendall(self.outgoing.read())

    def encrypted(self, *texts: bytes) -> bytes:
        """One record for each of *texts*."""
        for text in texts:
            self.tls.write(text)
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    def received(self, size: int) -> bytes:
        """The next *size* bytes from the other end."""
        got = b""
        while len(got) < size:
            try:
                got += self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(self.plain.recv(65536))
        return got


@pytest.fixture
def peer_and_client(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> Iterator[tuple[Peer, Any]]:
    # The tickets of TLS 1.3 come as data does, and the tests say what comes when.
    server_context.num_tickets = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    peer = Peer(server_context, far)
    shaking_hands = greenpool.spawn(peer.shake_hands)
    with client_context.wrap_socket(near, server_hostname="localhost") as client, far:
        shaking_hands.get()
        yield peer, client


def run(function: Any, *args: Any) -> Any:
    """Call *function* in a greenlet, whose calls take the fast path."""
    return greenpool.spawn(function, *args).get()


# Reading ahead.


def test_records_that_came_together_are_read_one_by_one(peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    peer.plain.sendall(peer.encrypted(b"one", b"two", b"three"))

    def receive() -> list[bytes]:
        return [client.recv(100), client.recv(2), client.recv(100), client.recv(100)]

    assert run(receive) == [b"one", b"tw", b"o", b"three"]


@pytest.mark.parametrize("timeout", [None, 5])
def test_a_record_that_comes_in_pieces(timeout: float | None, peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    client.settimeout(timeout)
    buffer = bytearray(100)

    def receive() -> bytes:
        return client.recv(100) + bytes(buffer[: client.recv_into(buffer)])

    waiting = greenpool.spawn(receive)
    for number in (peer.encrypted(b"first "), peer.encrypted(b"second")):
        for octet in number:
            peer.plain.sendall(bytes([octet]))
            greenpool.sleep(0)
            greenpool.idle()
    assert waiting.get() == b"first second"


def test_pending_counts_what_the_kernel_no_longer_has(peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    peer.plain.sendall(peer.encrypted(b"one", b"two", b"three"))
    assert run(client.recv, 100) == b"one"
    assert not native_select.select([client._fd], [], [], 0)[0]
    assert run(client.pending) == client.pending() == 3
    assert client.recv(2) == b"tw"
    assert client.pending() == 1
    assert bytearray(client.recv(10)) == b"o"
    assert client.pending() == 5
    buffer = bytearray(10)
    assert client.recv_into(buffer) == 5
    assert buffer[:5] == b"three"
    assert client.pending() == 0


def test_a_part_of_a_record_is_not_pending(peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    first, second = peer.encrypted(b"one"), peer.encrypted(b"two")
    peer.plain.sendall(first + second[:7])
    assert run(client.recv, 100) == b"one"
    assert client.pending() == 0
    waiting = greenpool.spawn(client.recv, 100)
    greenpool.sleep(0)
    peer.plain.sendall(second[7:])
    assert waiting.get() == b"two"


@pytest.mark.parametrize("watch", ["fileno", "non-blocking"])
def test_the_kernel_keeps_what_a_watched_socket_has_not_read(
    watch: str, peer_and_client: tuple[Peer, Any]
) -> None:
    """So select goes on to report the socket, and so do pollers that are not green."""
    peer, client = peer_and_client
    if watch == "fileno":
        client.fileno()
    else:
        client.setblocking(False)
    for texts in ((b"one", b"two", b"x" * 16384), (b"three",)):
        peer.plain.sendall(peer.encrypted(*texts))
        for text in texts:
            assert select.select([client], [], [], 5)[0] == [client]
            assert run(client.recv, 16384) == text
        assert not select.select([client], [], [], 0)[0]


def test_a_socket_that_is_watched_in_the_middle_of_a_record(peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    first, second, third = peer.encrypted(b"one"), peer.encrypted(b"two"), peer.encrypted(b"three")
    peer.plain.sendall(first + second[:7])
    assert run(client.recv, 100) == b"one"
    client.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(100)
    peer.plain.sendall(second[7:])
    select.select([client._fd], [], [], 5)
    assert client.recv(100) == b"two"
    peer.plain.sendall(third + peer.encrypted(b"four"))
    select.select([client._fd], [], [], 5)
    assert client.recv(100) == b"three"
    assert native_select.select([client._fd], [], [], 0)[0]
    assert client.recv(100) == b"four"


@pytest.mark.parametrize("size", [1, 5, 11, 12, 13, 16384, 40_000])
@pytest.mark.parametrize("way", ["recv", "recv_into"])
def test_records_and_reads_of_all_sizes(way: str, size: int, peer_and_client: tuple[Peer, Any]) -> None:
    """The reader parks after each record, and only then: it knows whether OpenSSL has a rest of it."""
    peer, client = peer_and_client
    buffer = bytearray(size)
    texts = [b"a dozen byte", b"\0" * 16384, b"a dozen byte"]
    got = bytearray()

    def receive() -> None:
        while len(got) < sum(map(len, texts)):
            got.extend(client.recv(size) if way == "recv" else buffer[: client.recv_into(buffer)])

    reading = greenpool.spawn(receive)
    for count in range(len(texts)):
        greenpool.idle()
        assert got == b"".join(texts[:count])
        peer.plain.sendall(peer.encrypted(texts[count]))
        while len(got) < sum(map(len, texts[: count + 1])):
            greenpool.sleep(0)
    reading.get()
    assert got == b"".join(texts)


def test_a_socket_that_is_watched_for_a_part_of_a_header(peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    first = peer.encrypted(b"one")
    client.setblocking(False)
    peer.plain.sendall(first[:3])
    select.select([client._fd], [], [], 5)
    with pytest.raises(ssl.SSLWantReadError):
        run(client.recv, 100)
    client.setblocking(True)
    waiting = greenpool.spawn(client.recv, 100)
    greenpool.idle()
    peer.plain.sendall(first[3:])
    assert waiting.get() == b"one"
    client.setblocking(False)
    peer.plain.sendall(peer.encrypted(b"two", b"three"))
    for text in (b"two", b"three"):
        assert select.select([client._fd], [], [], 5)[0]
        assert run(client.recv, 100) == text


def test_reading_nothing(peer_and_client: tuple[Peer, Any]) -> None:
    _, client = peer_and_client
    assert client.recv(0) == b""
    assert client.recv_into(bytearray()) == 0
    with pytest.raises(ValueError, match="negative"):
        client.recv(-1)


def test_several_greenlets_read_one_connection(peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    readers = [greenpool.spawn(client.recv, 100) for _ in range(3)]
    greenpool.sleep(0)
    peer.plain.sendall(peer.encrypted(b"one", b"two"))
    greenpool.sleep(0.01)
    peer.plain.sendall(peer.encrypted(b"three"))
    assert sorted(reader.get() for reader in readers) == [b"one", b"three", b"two"]


def test_a_reader_on_another_hub_is_woken_for_what_was_read_ahead(peer_and_client: tuple[Peer, Any]) -> None:
    """Its poller finds nothing, because the kernel has nothing any more."""
    peer, client = peer_and_client
    with greenpool.Runtime(pool_size=1) as runtime:
        waiting = runtime.spawn(client.recv, 100)
        runtime.block_on(greenpool.idle)
        blocked, go_on = native_event(), native_event()

        def block() -> None:
            blocked.set()
            go_on.wait()

        runtime.spawn(block)
        blocked.wait()
        peer.plain.sendall(peer.encrypted(b"one", b"two"))
        assert client.recv(100) == b"one"
        go_on.set()
        assert waiting.get() == b"two"


# After the end.


@pytest.mark.parametrize("way", ["recv", "recv_into", "makefile"])
def test_plain_bytes_that_came_with_the_goodbye(way: str, peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    peer.plain.sendall(peer.encrypted(b"last") + peer.goodbye() + b"in the clear")
    assert run(client.recv, 100) == b"last"
    assert run(client.recv, 100) == run(client.recv, 100) == b""
    plain = client.unwrap()
    assert plain is client
    if way == "recv":
        assert plain.recv(100, socket.MSG_PEEK) == b"in the clear"
        assert plain.recv(3) == b"in "
        assert plain.recv(100) == b"the clear"
    elif way == "recv_into":
        buffer = bytearray(6)
        assert plain.recv_into(buffer) == 6
        assert buffer == b"in the"
        assert plain.recv_into(buffer, 3) == 3
        assert buffer == b" clthe"
        assert plain.recv(100) == b"ear"
    else:
        with plain.makefile("rb") as file:
            assert file.read(12) == b"in the clear"
    peer.plain.sendall(b", and more")
    assert plain.recv(100) == b", and more"


def test_unwrapping_takes_no_plain_byte(peer_and_client: tuple[Peer, Any]) -> None:
    """Unless it was read ahead before: another owner of the descriptor finds the rest there."""
    peer, client = peer_and_client
    peer.plain.sendall(peer.goodbye() + b"in the clear")
    plain = client.unwrap()
    with socket.socket(fileno=plain.detach()) as other:
        assert other.recv(100) == b"in the clear"


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("came", [3, 100, None])
def test_a_second_handshake_that_came_with_the_goodbye(
    came: int | None,
    watched: bool,
    peer_and_client: tuple[Peer, Any],
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    peer, client = peer_and_client
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    second = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        second.do_handshake()
    hello = outgoing.read()
    peer.plain.sendall(peer.goodbye() + hello[:came])
    assert run(client.recv, 100) == b""
    plain = client.unwrap()
    if watched:
        plain.fileno()
    server = greenpool.spawn(server_context.wrap_socket, plain, server_side=True)
    peer.plain.recv(100)  # the client's goodbye
    if came is not None:
        greenpool.idle()
        peer.plain.sendall(hello[came:])
    while True:
        try:
            second.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(peer.plain.recv(65536))
    peer.plain.sendall(outgoing.read())
    with server.get() as wrapped:
        second.write(b"word")
        peer.plain.sendall(outgoing.read())
        assert wrapped.recv(100) == b"word"


# Writes that are interrupted.

BIG = 16_000


def fill(sock: Any) -> list[bytes]:
    """Send blocks until the peer, which does not read, has no room. Return those that were sent."""
    sent: list[bytes] = []
    try:
        while True:
            block = b"%05d" % len(sent) * (BIG // 5)
            assert sock.send(block) == BIG
            sent.append(block)
    except (TimeoutError, greenpool.Timeout, ssl.SSLWantWriteError):
        return sent


def fill_for_a_while(sock: Any) -> list[bytes]:
    timeout = greenpool.Timeout(0.02)
    try:
        timeout.start()
        return fill(sock)
    finally:
        timeout.close()


INTERRUPTIONS = ["timeout", "Timeout", "non-blocking"]


def interrupted(how: str, sock: Any) -> list[bytes]:
    if how == "timeout":
        sock.settimeout(0.02)
        sent = fill(sock)
    elif how == "non-blocking":
        sock.settimeout(0)
        sent = fill(sock)
    else:
        sent = run(fill_for_a_while, sock)
    sock.settimeout(None)
    return sent


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_an_interrupted_write_that_is_repeated_is_sent_once(
    how: str, peer_and_client: tuple[Peer, Any]
) -> None:
    peer, client = peer_and_client
    sent = interrupted(how, client)
    block = b"%05d" % len(sent) * (BIG // 5)
    repeating = greenpool.spawn(client.send, block)
    expected = b"".join([*sent, block, b"the end"])
    receiving = greenpool.spawn(peer.received, len(expected))
    assert repeating.get() == BIG
    run(client.sendall, b"the end")
    assert receiving.get() == expected


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_an_interrupted_write_does_not_take_the_place_of_another(
    how: str, peer_and_client: tuple[Peer, Any]
) -> None:
    peer, client = peer_and_client
    sent = interrupted(how, client)
    block = b"%05d" % len(sent) * (BIG // 5)
    other = b"other" * (BIG // 5)
    writing = greenpool.spawn(client.send, other)
    expected = b"".join([*sent, block, other])
    assert run(peer.received, len(expected)) == expected
    assert writing.get() == BIG


def test_a_killed_writer_leaves_a_connection_that_works(peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    sending = greenpool.spawn(client.sendall, bytes(50_000_000))
    greenpool.sleep(0.02)
    assert not sending.ready()
    sending.kill()
    writing = greenpool.spawn(client.sendall, b"the end")
    got = b""
    while not got.endswith(b"the end"):
        got += run(peer.received, 1)
    assert not got.rstrip(b"the end").strip(b"\0")
    writing.get()


def test_a_large_write_is_complete(peer_and_client: tuple[Peer, Any]) -> None:
    peer, client = peer_and_client
    data = bytes(range(256)) * 5_000
    sending = greenpool.spawn(client.sendall, memoryview(data))
    assert run(peer.received, len(data)) == data
    sending.get()
    assert client.send(b"") == 0


# Features that need OpenSSL to speak unasked.


def test_a_certificate_is_asked_for_after_the_handshake(
    certificate: str,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    server_context.load_verify_locations(certificate)
    server_context.post_handshake_auth = client_context.post_handshake_auth = True
    server_context.verify_mode = ssl.CERT_REQUIRED
    client_context.load_cert_chain(certificate)
    with connected(server_context, client_context) as (server, client):
        client.sendall(b"one")
        assert run(server.recv, 100) == b"one"
        assert not server.getpeercert()
        server.verify_client_post_handshake()
        answering = greenpool.spawn(client.recv, 100)
        run(server.sendall, b"who are you")
        assert answering.get() == b"who are you"
        client.sendall(b"two")
        assert run(server.recv, 100) == b"two"
        assert server.getpeercert()["subjectAltName"][0] == ("DNS", "localhost")


def test_the_peer_learns_why_it_is_refused(
    server_context: ssl.SSLContext,
) -> None:
    near, far = socket.socketpair()
    serving = greenpool.Greenlet.spawn(server_context.wrap_socket, far, server_side=True)
    serving.quiet = True
    with near, far, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(near, server_hostname="localhost")
    with pytest.raises(ssl.SSLError, match="(?i)unknown.ca"):
        serving.get()


def test_data_from_a_client_that_is_gone_after_its_handshake(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    near, far = socket.socketpair()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    serving = greenpool.spawn(server_context.wrap_socket, far, server_side=True)
    with near:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        near.sendall(outgoing.read())
        while True:
            incoming.write(near.recv(65536))
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        client.write(b"word")
        near.sendall(outgoing.read())
    with serving.get() as server:
        assert server.recv(100) == b"word"


def test_a_standard_context_with_green_sockets(
    certificate: str,
    client_context: ssl.SSLContext,
) -> None:
    """In a program that is not patched a standard context can be told to make them, and others go on."""
    context = standard.SSLContext(standard.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sslsocket_class = ssl.SSLSocket
    with connected(context, client_context) as (server, client):  # type: ignore[arg-type]
        assert type(server) is ssl.SSLSocket
        waiting = greenpool.spawn(server.recv, 100)
        client.sendall(b"word")
        assert waiting.get() == b"word"
    context.sslsocket_class = standard.SSLSocket
    near, far = socket.socketpair()
    with near, context.wrap_socket(far, server_side=True, do_handshake_on_connect=False) as plain:
        assert type(plain) is standard.SSLSocket


# Interruptions by a finalizer or a signal handler.


def test_a_read_in_the_middle_of_a_read(
    peer_and_client: tuple[Peer, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot wait for the bytes that the interrupted one has in hand."""
    peer, client = peer_and_client
    client.settimeout(5)
    receive = ssl._receive_now
    refused = []

    def interrupted_receive(sock: Any, size: int) -> Any:
        monkeypatch.setattr(ssl, "_receive_now", receive)
        data = receive(sock, size)
        with pytest.raises(ssl.SSLWantReadError, match="interrupted") as raised:
            client.recv(100)
        refused.append(raised.value)
        return data

    peer.plain.sendall(peer.encrypted(b"word"))
    select.select([client._fd], [], [], 5)
    monkeypatch.setattr(ssl, "_receive_now", interrupted_receive)
    assert client.recv(100) == b"word"
    assert refused


def test_a_write_in_the_middle_of_a_write(
    peer_and_client: tuple[Peer, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not overtake the bytes that the interrupted one has in hand."""
    peer, client = peer_and_client
    client.settimeout(5)
    send = ssl._send_now

    def interrupted_send(sock: Any, data: Any) -> int:
        monkeypatch.setattr(ssl, "_send_now", send)
        assert client.send(b"second") == 6
        return int(send(sock, data))

    monkeypatch.setattr(ssl, "_send_now", interrupted_send)
    assert client.send(b"first ") == 6
    assert run(peer.received, 12) == b"first second"
