"""``greenpool.pywsgi.WSGIServer``: connections, bodies and responses, against raw sockets."""

from __future__ import annotations

import io
import logging
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest

import greenpool
from greenpool import Runtime, socket, ssl
from greenpool.event import Event
from greenpool.pywsgi import Limits, WSGIHandler, WSGIServer

from .serving import (
    GET,
    GET_AND_CLOSE,
    LOCAL,
    Environ,
    StartResponse,
    answer_until_close,
    body_of,
    echo,
    exchange,
    hello,
    parse,
    serving,
)

pytestmark = pytest.mark.usefixtures("leak_check")


def post(body: bytes, headers: bytes = b"", path: bytes = b"/") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b%b\r\n%b" % (path, length, headers, body)


# Connections.


def test_a_connection_serves_one_request_after_another() -> None:
    with serving(hello) as server, socket.create_connection(server.address) as client:
        for _ in range(3):
            client.sendall(GET)
            answer = client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nhello")
            assert b"Content-Length: 5\r\n" in answer and b"Date: " in answer
            assert b"Connection" not in answer


def test_the_client_may_ask_for_the_end() -> None:
    with serving(hello) as server:
        answer = answer_until_close(server, GET_AND_CLOSE)
    assert b"\r\nConnection: close\r\n" in answer


def test_http_1_0_keeps_the_connection_only_if_it_asks() -> None:
    old = b"GET / HTTP/1.0\r\n\r\n"
    asks = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    with serving(hello) as server:
        assert b"\r\nConnection: close\r\n" in answer_until_close(server, old)
        assert exchange(server, asks + asks).count(b"\r\nConnection: keep-alive\r\n") == 2


def test_pipelined_requests_are_answered_in_order() -> None:
    def path(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode() + b";" + environ["wsgi.input"].read()]

    def chunked(name: bytes) -> bytes:
        head = b"POST /%b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % name
        return head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"

    requests = post(b"body", path=b"/1") + GET.replace(b"/ ", b"/2 ") + chunked(b"3")
    requests += chunked(b"4") + b"\r\n" + post(b"", path=b"/5") + GET_AND_CLOSE
    expected = [b"/1;body", b"/2;", b"/3;abcde", b"/4;abcde", b"/5;", b"/;"]
    with serving(path) as server:
        for size in (1, 7, 50, len(requests)):
            parts = [requests[begin : begin + size] for begin in range(0, len(requests), size)]
            stream = exchange(server, *parts)
            bodies = [part.partition(b"\r\n\r\n")[2] for part in stream.split(b"HTTP/1.1 200 OK\r\n")[1:]]
            assert bodies == expected


def test_a_body_that_the_application_does_not_read_is_dropped() -> None:
    with serving(hello) as server:
        assert exchange(server, post(b"x" * 50_000) + GET).count(b"HTTP/1.1 200") == 2


def test_a_long_body_that_the_application_does_not_read_ends_the_connection() -> None:
    with serving(hello, limits=Limits(unread_body=10)) as server:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
        with socket.create_connection(server.address) as client:
            client.sendall(head)
            assert client.recv(1000).endswith(b"hello")
            client.sendall(bytes(500))
            assert client.recv(1000) == b""


def test_slow_clients_keep_nobody_waiting() -> None:
    with serving(hello) as server:
        slow = [socket.create_connection(server.address) for _ in range(50)]
        for client in slow:
            client.sendall(b"GET / HT")
        assert body_of(exchange(server, GET)) == b"hello"
        for client in slow:
            client.sendall(b"TP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000).endswith(b"hello")
            client.close()


def test_a_unix_socket(tmp_path: Path) -> None:
    with serving(hello, listener=tmp_path / "http"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "http"))
        client.sendall(GET)
        assert client.recv(1000).endswith(b"hello")


def test_all_hubs_serve(leak_check: None) -> None:
    def main() -> None:
        with serving(hello, hubs="all") as server:
            clients = [runtime.spawn(exchange, server, GET) for _ in range(50)]
            assert all(client.get().endswith(b"hello") for client in clients)

    with Runtime(pool_size=3) as runtime:
        runtime.block_on(main)


# Bodies of requests.


def test_a_body_by_its_length() -> None:
    with serving(echo) as server:
        assert body_of(exchange(server, post(b"abc"))) == b"abc"
        long = bytes(range(256)) * 4_000
        assert body_of(exchange(server, post(long))) == long


def test_a_chunked_body() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%X\r\n%b\r\n" % (size, bytes(size)) for size in (1, 10, 255, 70_000)) + b"0\r\n\r\n"
    with serving(echo) as server:
        assert body_of(exchange(server, head + body)) == bytes(70_266)
        parts = [body[begin : begin + 999] for begin in range(0, len(body), 999)]
        assert body_of(exchange(server, head, *parts)) == bytes(70_266)


def test_the_ways_to_read_a_body() -> None:
    def lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        file = environ["wsgi.input"]
        read = [file.readline(), file.readline(3), file.read(2), file.read(0), *file.readlines(1), *file]
        read += [file.read(), file.readline(), file.read(5)]
        start_response("200 OK", [])
        return [repr(read).encode()]

    body = b"one\ntwo two\nthree\nfour\nfive"
    expected = repr([b"one\n", b"two", b" t", b"", b"wo\n", b"three\n", b"four\n", b"five", b"", b"", b""])
    with serving(lines) as server:
        request = post(body)
        for size in (1, 2, 30, len(request)):
            parts = [request[begin : begin + size] for begin in range(0, len(request), size)]
            assert body_of(exchange(server, *parts)).decode() == expected


def test_expect_continue_is_answered_when_the_application_reads() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n"
    with serving(echo) as server, socket.create_connection(server.address) as client:
        client.sendall(head)
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert client.recv(1000).endswith(b"\r\n\r\nabc")
        # A client that has not waited gets no such answer.
        client.sendall(head + b"abc")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_without_a_read_a_client_that_expects_is_told_not_to_send() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with serving(hello) as server:
        answer = answer_until_close(server, head)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"Connection: close" in answer


def test_a_client_that_goes_in_the_middle_of_a_body_is_an_oserror() -> None:
    failed: list[BaseException] = []

    def read(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            failed.append(error)
            raise
        return []

    errors = io.StringIO()
    with serving(read, error_log=errors) as server:
        assert exchange(server, post(b"abc")[:-1]) == b""
    assert "has gone" in str(failed[0])
    assert errors.getvalue() == ""


# Responses.


def test_parts_of_a_list_have_a_length_together() -> None:
    def parts(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"one ", b"", b"two ", b"three"]

    with serving(parts) as server:
        answer = exchange(server, GET)
    assert b"Content-Length: 13\r\n" in answer and answer.endswith(b"\r\n\r\none two three")


def generator(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one "
    yield b""
    yield b"two"


def test_parts_of_a_generator_are_chunks() -> None:
    with serving(generator) as server:
        answer = exchange(server, GET)
        assert b"\r\nTransfer-Encoding: chunked\r\n" in answer
        assert answer.endswith(b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
        assert body_of(answer) == b"one two"
        old = exchange(server, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: close\r\n" in old and old.endswith(b"\r\n\r\none two")


def test_each_part_is_sent_at_once() -> None:
    go_on = Event()

    def events(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        for number in range(3):
            yield b"data: %d\n\n" % number
            go_on.wait()
            go_on.clear()

    with serving(events) as server, socket.create_connection(server.address) as client:
        client.sendall(GET)
        for number in range(3):
            data = b""
            while not data.endswith(b"9\r\ndata: %d\n\n\r\n" % number):
                data += client.recv(1000)
            go_on.set()
        assert client.recv(1000) == b"0\r\n\r\n"


def test_the_write_function_sends_at_once_too() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Length", "6")])
        write(b"one")
        write(b"")
        return [b"two"]

    with serving(application) as server:
        assert exchange(server, GET).endswith(b"\r\n\r\nonetwo")


def test_head_has_the_headers_and_no_body() -> None:
    head = GET.replace(b"GET", b"HEAD")
    with serving(hello) as server:
        answer = exchange(server, head + GET)
        first, _, rest = answer.partition(b"\r\n\r\n")
        assert b"Content-Length: 5" in first
        assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    with serving(generator) as server:
        assert exchange(server, head).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_some_statuses_have_no_body(status: str) -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("ETag", '"1"')])
        return [b"no body"]

    with serving(application) as server:
        first, _, rest = exchange(server, GET + GET).partition(b"\r\n\r\n")
        assert first.startswith(f"HTTP/1.1 {status}\r\n".encode())
        assert b"Content-Length" not in first and b"Transfer-Encoding" not in first
        assert rest.startswith(b"HTTP/1.1 ")


def test_more_than_was_promised_is_cut_and_less_ends_the_connection() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "3")])
        return [b"a", b"bcd"] if environ["PATH_INFO"] == "/more" else [b"a"]

    with serving(application) as server:
        answer = exchange(server, GET.replace(b"/ ", b"/more ") * 2)
        assert answer.count(b"\r\n\r\nabc") == 2 and b"abcd" not in answer
        assert answer_until_close(server, GET).endswith(b"\r\n\r\na")


def test_an_iterable_is_closed_in_any_case() -> None:
    closed: list[str] = []

    class Body:
        def __init__(self, fails: bool) -> None:
            self.fails = fails

        def __iter__(self) -> Iterator[bytes]:
            if self.fails:
                raise ZeroDivisionError
            return iter([b"body"])

        def close(self) -> None:
            closed.append("closed")

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Body(environ["PATH_INFO"] == "/fails")

    with serving(application) as server:
        assert b"200 OK" in exchange(server, GET)
        assert b"500 Internal" in exchange(server, GET.replace(b"/ ", b"/fails "))
    assert closed == ["closed", "closed"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK\r\nX: y", []),
        ("OK", []),
        (200, []),
        ("200 OK", [("X", "a\r\nY: b")]),
        ("200 OK", [("X", "a\nY: b")]),
        ("200 OK", [("X", "a\0b")]),
        ("200 OK", [("X Y", "a")]),
        ("200 OK", [("X:", "a")]),
        ("200 OK", [("", "a")]),
        ("200 OK", [("Content-Length", "1x")]),
        ("200 OK", [(b"X", "a")]),
    ],
)
def test_a_response_that_would_write_headers_of_its_own_is_an_error(status: Any, headers: Any) -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, headers)
        return [b"body"]

    errors = io.StringIO()
    with serving(application, error_log=errors) as server:
        answer = exchange(server, GET)
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert "Error: " in errors.getvalue()


def test_a_failure_is_answered_and_logged() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        raise ZeroDivisionError("on purpose")

    errors = io.StringIO()
    with serving(application, error_log=errors) as server:
        assert parse(answer_until_close(server, GET)).status == 500
    assert "ZeroDivisionError: on purpose" in errors.getvalue()
    assert '"GET / HTTP/1.1"' not in errors.getvalue() and "GET / HTTP/1.1 failed" in errors.getvalue()


def test_a_failure_in_the_middle_ends_the_connection() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begin"
        raise ZeroDivisionError

    with serving(application) as server:
        answer = answer_until_close(server, GET)
    assert answer.endswith(b"5\r\nbegin\r\n")


def test_a_failure_may_replace_the_response_before_its_head_was_sent() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("X", "first")])
        yield b""
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            start_response("503 Busy", [("X", "second")], (type(error), error, error.__traceback__))
        yield b"sorry"

    with serving(application) as server:
        answer = exchange(server, GET)
    assert answer.startswith(b"HTTP/1.1 503 Busy\r\nX: second\r\n") and b"sorry" in answer


def test_no_start_response_and_two_of_them_are_failures() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/two":
            start_response("200 OK", [])
            start_response("200 OK", [])
        return [b"body"]

    with serving(application) as server:
        assert b" 500 " in exchange(server, GET)
        assert b" 500 " in exchange(server, GET.replace(b"/ ", b"/two "))


def test_a_part_that_is_no_bytes_is_a_failure() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return ["text"]

    errors = io.StringIO()
    with serving(application, error_log=errors) as server:
        assert b" 500 " in exchange(server, GET)
    assert "returns bytes" in errors.getvalue()


def test_a_client_that_goes_while_a_response_is_sent_is_no_failure() -> None:
    ended = Event()

    def endless(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield bytes(100_000)
        finally:
            ended.set()

    errors = io.StringIO()
    with serving(endless, error_log=errors) as server:
        with socket.create_connection(server.address) as client:
            client.sendall(GET)
            client.recv(100_000)
        ended.wait()
    assert errors.getvalue() == ""


# Files.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10_000)
    return path


def sends_file(file: Path, offset: int = 0, length: int | None = None) -> Any:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        opened = open(file, "rb")  # noqa: SIM115
        opened.seek(offset)
        headers = [] if length is None else [("Content-Length", str(length))]
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](opened)

    return application


def test_a_file_is_sent_by_the_system(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    import os

    original = os.sendfile

    def sendfile(out: int, descriptor: int, offset: int, count: int) -> int:
        sent = original(out, descriptor, offset, count)
        calls.append(sent)
        return sent

    monkeypatch.setattr(os, "sendfile", sendfile)
    with serving(sends_file(file)) as server:
        answer = exchange(server, GET + GET)
    size = file.stat().st_size
    assert answer.count(b"Content-Length: %d\r\n" % size) == 2
    assert answer.endswith(file.read_bytes())
    assert sum(calls) == 2 * size


def test_a_file_from_an_offset_and_up_to_a_length(file: Path) -> None:
    with serving(sends_file(file, 1000, 500)) as server:
        assert body_of(exchange(server, GET)) == file.read_bytes()[1000:1500]
    with serving(sends_file(file, file.stat().st_size - 10)) as server:
        assert body_of(exchange(server, GET)) == file.read_bytes()[-10:]


def test_head_of_a_file_and_an_empty_file(file: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with serving(sends_file(file)) as server:
        answer = exchange(server, GET.replace(b"GET", b"HEAD"))
        assert b"Content-Length: 2560000\r\n" in answer and answer.endswith(b"\r\n\r\n")
    with serving(sends_file(empty)) as server:
        assert exchange(server, GET + GET).count(b"Content-Length: 0\r\n") == 2


def test_a_file_that_is_none_of_the_system() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"in memory"), 2)
        return wrapped

    with serving(application) as server:
        assert body_of(exchange(server, GET)) == b"in memory"


def test_a_file_with_an_end_that_goes_away(tmp_path: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=tmp_path) as file:
        file.write(b"short")
        file.flush()
        with serving(sends_file(Path(file.name), 0, 100)) as server:
            answer = answer_until_close(server, GET)
    assert answer.endswith(b"\r\n\r\nshort")


# The environ.


def environ_of(request: bytes, **settings: Any) -> Environ:
    seen: list[Environ] = []

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ)
        return hello(environ, start_response)

    with serving(application, **settings) as server:
        exchange(server, request)
    (environ,) = seen
    return environ


def test_the_environ() -> None:
    headers = b"X-A: one\r\nX-A: two\r\nCookie: a=1\r\nCookie: b=2\r\nContent-Type: text/plain\r\n"
    environ = environ_of(post(b"abc", headers, b"/caf%C3%A9/a?b=%20c"), environ={"mine": 1})
    assert environ["REQUEST_METHOD"] == "POST"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/café/a"
    assert environ["QUERY_STRING"] == "b=%20c"
    assert environ["RAW_URI"] == "/caf%C3%A9/a?b=%20c"
    assert environ["CONTENT_TYPE"] == "text/plain" and environ["CONTENT_LENGTH"] == "3"
    assert environ["HTTP_HOST"] == "a" and environ["HTTP_X_A"] == "one,two"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1" and environ["wsgi.url_scheme"] == "http"
    assert environ["SERVER_NAME"] == "127.0.0.1" and environ["SERVER_PORT"].isdecimal()
    assert environ["REMOTE_ADDR"] == "127.0.0.1" and environ["REMOTE_PORT"].isdecimal()
    assert environ["wsgi.multithread"] is True and environ["mine"] == 1


def test_headers_that_would_pass_for_others_are_left_out() -> None:
    environ = environ_of(b"GET / HTTP/1.1\r\nHost: a\r\nX_Real_IP: b\r\nProxy: c\r\n\r\n")
    assert not {key for key in environ if key.startswith("HTTP_")} - {"HTTP_HOST"}


def test_a_url_as_the_target() -> None:
    environ = environ_of(b"GET http://b:80/c?d HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (environ["HTTP_HOST"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("b:80", "/c", "d")
    assert environ_of(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")["PATH_INFO"] == ""


def test_an_offer_to_upgrade_is_passed_over() -> None:
    """Java's client makes it in its first request, also where that has a body."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\n" + offer + b"Transfer-Encoding: chunked\r\n\r\n"
    chunked += b"3\r\nabc\r\n0\r\n\r\n"
    with serving(echo) as server:
        answer = exchange(server, post(b"abc", offer) + chunked + post(b"abc"))
    assert answer.count(b"\r\n\r\nabc") == 3


def test_wsgiref_finds_no_fault() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(100)
        environ["wsgi.errors"].write("")
        environ["wsgi.errors"].flush()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"body: ", body]

    errors = io.StringIO()
    with serving(validator(application), error_log=errors) as server:  # type: ignore[arg-type]
        assert body_of(exchange(server, post(b"abc"))) == b"body: abc"
        assert body_of(exchange(server, post(b"abc"[:2] + b"c")[:-2], b"bc")) == b"body: abc"
        assert body_of(exchange(server, GET)) == b"body: "
    assert errors.getvalue() == ""


# Times.


def test_an_idle_connection_is_closed() -> None:
    with serving(hello, limits=Limits(idle_seconds=0.02)) as server:
        with socket.create_connection(server.address) as client:
            assert client.recv(1000) == b""
        assert answer_until_close(server, GET).endswith(b"hello")


def test_a_head_that_takes_too_long_gets_408() -> None:
    with serving(hello, limits=Limits(head_seconds=0.02)) as server:
        assert answer_until_close(server, GET[:-2]).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_body_that_takes_too_long_ends_the_connection() -> None:
    errors = io.StringIO()
    with serving(echo, limits=Limits(body_seconds=0.02), error_log=errors) as server:
        assert answer_until_close(server, post(b"abc")[:-1]) == b""
    assert errors.getvalue() == ""


def test_a_response_that_is_not_taken_ends_the_connection() -> None:
    ended = Event()

    def endless(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield bytes(100_000)
        finally:
            ended.set()

    with serving(endless, limits=Limits(send_seconds=0.05)) as server:
        with socket.create_connection(server.address) as client:
            client.sendall(GET)
            ended.wait()


def test_an_application_may_take_longer_than_any_limit() -> None:
    def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        greenpool.sleep(0.1)
        return hello(environ, start_response)

    limits = Limits(idle_seconds=0.03, head_seconds=0.03, body_seconds=0.03, send_seconds=0.03)
    with serving(slow, limits=limits) as server:
        assert exchange(server, GET).endswith(b"hello")


@pytest.mark.parametrize("limits", [{"headers": -1}, {"head": 1.5}, {"idle_seconds": -1}, {"body": "1"}])
def test_limits_are_checked(limits: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(limits))):
        Limits(**limits)


# The end.


def test_a_stop_closes_idle_connections_and_waits_for_the_others() -> None:
    inside, go_on = Event(), Event()

    def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        inside.set()
        go_on.wait()
        return hello(environ, start_response)

    with serving(slow) as server:
        with (
            socket.create_connection(server.address) as idle,
            socket.create_connection(server.address) as busy,
        ):
            busy.sendall(GET)
            inside.wait()
            stop = greenpool.spawn(server.stop, 10)
            assert idle.recv(1000) == b""
            assert not stop.ready()
            go_on.set()
            answer = busy.recv(1000)
            assert answer.endswith(b"hello") and b"Connection: close\r\n" in answer
            assert busy.recv(1000) == b""
            stop.get()


def test_a_stop_kills_what_takes_too_long() -> None:
    inside = Event()

    def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        inside.set()
        Event().wait()
        return hello(environ, start_response)

    with serving(slow) as server, socket.create_connection(server.address) as client:
        client.sendall(GET)
        inside.wait()
        server.stop(timeout=0.01)
        assert client.recv(1000) == b""


def test_another_thread_may_stop_the_server() -> None:
    with serving(hello) as server, socket.create_connection(server.address) as client:
        client.sendall(GET)
        assert client.recv(1000).endswith(b"hello")
        thread = threading.Thread(target=server.stop)
        thread.start()
        assert client.recv(1000) == b""
        thread.join()


def test_a_stop_while_requests_come_loses_none_that_was_begun() -> None:
    """The race of the end of idle connections with requests: each is answered as a whole, or not at all."""

    def client_of(server: WSGIServer) -> None:
        try:
            with socket.create_connection(address) as client:
                while True:
                    client.sendall(GET)
                    answer = client.recv(1000)
                    if not answer:
                        return
                    assert answer.endswith(b"hello")
        except (ConnectionError, BrokenPipeError):
            return

    def main() -> None:
        for _ in range(10):
            nonlocal address
            with serving(hello, hubs="all") as server:
                address = server.address
                clients = [runtime.spawn(client_of, server) for _ in range(6)]
                exchange(server, GET)
                server.stop(10)
                greenpool.joinall(clients, raise_error=True)

    address: Any = None
    with Runtime(pool_size=2) as runtime:
        runtime.block_on(main)


# Logs, settings, subclasses.


def test_the_access_log() -> None:
    log = io.StringIO()
    with serving(hello, log=log) as server:
        exchange(server, GET + b"BAD\r\n\r\n")
    good, bad = log.getvalue().splitlines()
    assert good.startswith("127.0.0.1 - - [") and '] "GET / HTTP/1.1" 200 5 0.' in good
    assert '" 400 ' in bad


def test_logs_may_be_loggers(caplog: pytest.LogCaptureFixture) -> None:
    def fails(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise ZeroDivisionError

    logger = logging.getLogger("test")
    with caplog.at_level(logging.INFO), serving(fails, log=logger, error_log=logger) as server:
        exchange(server, GET)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_logs_are_on_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(hello, log="default", error_log="default") as server:
        exchange(server, GET)
    assert '"GET / HTTP/1.1" 200' in capsys.readouterr().err


def test_a_handler_of_ones_own() -> None:
    class Handler(WSGIHandler):
        def get_environ(self) -> Environ:
            return super().get_environ() | {"PATH_INFO": "/other"}

    def path(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    with serving(path, handler_class=Handler) as server:
        assert body_of(exchange(server, GET)) == b"/other"


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="application must be callable"):
        WSGIServer(LOCAL, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a log must be"):
        WSGIServer(LOCAL, hello, log="stdout")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a log must be"):
        WSGIServer(LOCAL, hello, error_log=1)  # type: ignore[arg-type]


def test_a_limit_to_the_connections() -> None:
    with serving(hello, spawn=1) as server:
        clients = [greenpool.spawn(exchange, server, GET) for _ in range(5)]
        assert all(client.get().endswith(b"hello") for client in clients)


def test_tls(tmp_path: Path) -> None:
    from test_ssl import CERTIFICATE

    path = tmp_path / "localhost.pem"
    path.write_text(CERTIFICATE)
    file = tmp_path / "file"
    file.write_bytes(bytes(100_000))
    context = ssl.create_default_context(cafile=str(path))
    with serving(sends_file(file), certfile=str(path), limits=Limits(idle_seconds=0.05)) as server:
        with socket.create_connection(server.address) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(GET)
                # The time is over after the answer, and the connection ends.
                answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.endswith(bytes(100_000)) and b"Content-Length: 100000" in answer
