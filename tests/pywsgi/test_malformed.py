"""Requests that are malformed, or that two servers may read in two ways: the answer is an error and a close.

Each request ends its connection although the client would go on, and no application ever sees it.
"""

from __future__ import annotations

import pytest

from greenpool.pywsgi import Limits

from .serving import Environ, StartResponse, answer_until_close, exchange, serving

pytestmark = pytest.mark.usefixtures("leak_check")


def post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n" + body


def get(headers: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n"


def line(request_line: bytes) -> bytes:
    return request_line + b"\r\nHost: a\r\n\r\n"


def chunks(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body)


# The table.  The request that smuggles would be in the body: "GET /admin".
MALFORMED = {
    # Two lengths, or none that can be read.
    "Content-Length and Transfer-Encoding": post(
        b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"
    ),
    "Transfer-Encoding and Content-Length": post(
        b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"0\r\n\r\n"
    ),
    "two Content-Lengths": post(b"Content-Length: 3\r\nContent-Length: 4", b"abcd"),
    "two equal Content-Lengths": post(b"Content-Length: 3\r\nContent-Length: 3", b"abc"),
    "a list of Content-Lengths": post(b"Content-Length: 3, 3", b"abc"),
    "Content-Length with a plus": post(b"Content-Length: +3", b"abc"),
    "negative Content-Length": post(b"Content-Length: -3", b"abc"),
    "hexadecimal Content-Length": post(b"Content-Length: 0x3", b"abc"),
    "Content-Length with an underscore": post(b"Content-Length: 1_0", b"0123456789"),
    "empty Content-Length": post(b"Content-Length:"),
    "two numbers in Content-Length": post(b"Content-Length: 3 4", b"abc"),
    "fractional Content-Length": post(b"Content-Length: 3.0", b"abc"),
    "Content-Length beyond 64 bits": post(b"Content-Length: 99999999999999999999999", b"abc"),
    "Content-Length in other digits": post("Content-Length: \u00b3".encode("latin-1"), b"abc"),
    # Transfer-Encoding.
    "empty Transfer-Encoding": post(b"Transfer-Encoding:", b"0\r\n\r\n"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked", b"0\r\n\r\n"),
    "two Transfer-Encodings": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    "chunked is not the last": post(b"Transfer-Encoding: chunked, gzip", b"0\r\n\r\n"),
    "not chunked at all": post(b"Transfer-Encoding: gzip", b"abc"),
    "nearly chunked": post(b"Transfer-Encoding: xchunked", b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity", b"abc"),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;q=1", b"0\r\n\r\n"),
    "chunked behind a vertical tab": post(b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n"),
    "Transfer-Encoding in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    # Chunks.
    "chunk size that is no number": chunks(b"zz\r\nabc\r\n0\r\n\r\n"),
    "chunk size with 0x": chunks(b"0x3\r\nabc\r\n0\r\n\r\n"),
    "negative chunk size": chunks(b"-3\r\nabc\r\n0\r\n\r\n"),
    "chunk size with a plus": chunks(b"+3\r\nabc\r\n0\r\n\r\n"),
    "chunk size with an underscore": chunks(b"0_3\r\nabc\r\n0\r\n\r\n"),
    "space before the chunk size": chunks(b" 3\r\nabc\r\n0\r\n\r\n"),
    "space behind the chunk size": chunks(b"3 \r\nabc\r\n0\r\n\r\n"),
    "empty chunk size": chunks(b"\r\nabc\r\n0\r\n\r\n"),
    "chunk size beyond 64 bits": chunks(b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    "chunk size with a bare LF": chunks(b"3\nabc\r\n0\r\n\r\n"),
    "chunk size with a bare CR": chunks(b"3\rabc\r\n0\r\n\r\n"),
    "chunk without an end": chunks(b"3\r\nabc0\r\n\r\n"),
    "chunk that ends with a bare LF": chunks(b"3\r\nabc\n0\r\n\r\n"),
    "chunk longer than its size": chunks(b"3\r\nabcd\r\n0\r\n\r\n"),
    "chunk extension with a bare LF": chunks(b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "chunk extension with NUL": chunks(b"3;a\0b\r\nabc\r\n0\r\n\r\n"),
    "endless chunk extension": chunks(b"3;" + b"a" * 10_000),
    "last chunk with a bare LF": chunks(b"0\n\n"),
    "trailer without a colon": chunks(b"0\r\nX y\r\n\r\n"),
    "trailer with a space before the colon": chunks(b"0\r\nX : y\r\n\r\n"),
    "Content-Length as a trailer": chunks(b"0\r\nContent-Length: 4\r\n\r\n"),
    # Lines and characters.
    "folded header": get(b"X: a\r\n b"),
    "folded header with a tab": get(b"X: a\r\n\tb"),
    "folded first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF behind the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF between headers": get(b"X: a\nY: b"),
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n" + b"X: y\r\n\r\n",
    "bare CR in a value": get(b"X: a\rb"),
    "bare CR between headers": get(b"X: a\rY: b"),
    "NUL in a value": get(b"X: a\0b"),
    "control character in a value": get(b"X: a\x01b"),
    "DEL in a value": get(b"X: a\x7fb"),
    "NUL in a name": get(b"X\0: a"),
    "space before the colon": get(b"X : a"),
    "tab before the colon": get(b"X\t: a"),
    "space in a name": get(b"X Y: a"),
    "header without a colon": get(b"X"),
    "header without a name": get(b": a"),
    "parenthesis in a name": get(b"X(Y): a"),
    "letter beyond ASCII in a name": get("X\u00e9: a".encode("latin-1")),
    # The request line.
    "two spaces before the target": line(b"GET  / HTTP/1.1"),
    "two spaces behind the target": line(b"GET /  HTTP/1.1"),
    "tab in the request line": line(b"GET\t/ HTTP/1.1"),
    "space behind the version": line(b"GET / HTTP/1.1 "),
    "space before the method": line(b" GET / HTTP/1.1"),
    "space in the target": line(b"GET /a b HTTP/1.1"),
    "no target": line(b"GET HTTP/1.1"),
    "no version": b"GET /\r\n\r\n",
    "version 2.0": line(b"GET / HTTP/2.0"),
    "version 1.2": line(b"GET / HTTP/1.2"),
    "version 0.9": line(b"GET / HTTP/0.9"),
    "version without a dot": line(b"GET / HTTP/11"),
    "version in small letters": line(b"GET / http/1.1"),
    "another protocol": line(b"GET / ICE/1.0"),
    "method with a special character": line(b"G@T / HTTP/1.1"),
    "method in small letters": line(b"get / HTTP/1.1"),
    "method that nobody knows": line(b"FETCH / HTTP/1.1"),
    "CONNECT": line(b"CONNECT a:80 HTTP/1.1"),
    "target without a slash": line(b"GET index HTTP/1.1"),
    "target with a fragment": line(b"GET /a#b HTTP/1.1"),
    "target with NUL": line(b"GET /\0 HTTP/1.1"),
    "target with an escaped NUL": line(b"GET /%00 HTTP/1.1"),
    "target with a control character": line(b"GET /\x01 HTTP/1.1"),
    "target beyond ASCII": line("GET /\u00e9 HTTP/1.1".encode("latin-1")),
    "star for another method": line(b"GET * HTTP/1.1"),
    "URL of another scheme": line(b"GET ftp://a/ HTTP/1.1"),
    # Host.
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": get(b"Host: b"),
    "two equal Hosts": get(b"Host: a"),
    "Host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "Host with a slash": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with an at sign": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "two Content-Types": post(b"Content-Type: text/plain\r\nContent-Type: text/html\r\nContent-Length: 0"),
    # Other protocols.
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a response": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "nothing but lines": b"\r\n" * 1_000,
    "WebSocket with data behind the head": get(b"Connection: Upgrade\r\nUpgrade: websocket") + b"data",
}

# These have a status of their own.
REFUSED = {
    "414 URI Too Long": b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "431 Request Header Fields Too Large": get(b"X: " + b"a" * 70_000),
    "413 Content Too Large": post(b"Content-Length: 1000001", b"a"),
    "417 Expectation Failed": post(b"Expect: a-miracle\r\nContent-Length: 3"),
    "501 Not Implemented": post(b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
}


def seen_by(requests: list[str]) -> object:
    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        requests.append(environ["REQUEST_METHOD"] + " " + environ["PATH_INFO"])
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"seen"]

    return application


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_gets_400_and_a_close(request_: bytes) -> None:
    seen: list[str] = []
    with serving(seen_by(seen)) as server:  # type: ignore[arg-type]
        answer = answer_until_close(server, request_)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1") == 1
    assert seen == []


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
def test_nothing_behind_a_malformed_request_is_served(request_: bytes) -> None:
    """Whatever the bytes are split into, they and a request behind them reach no application."""
    seen: list[str] = []
    behind = request_ + b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
    with serving(seen_by(seen)) as server:  # type: ignore[arg-type]
        for cut in (7, len(request_) - 3):
            answer = exchange(server, behind[:cut], behind[cut:])
            assert answer.startswith(b"HTTP/1.1 4")
            assert answer.count(b"HTTP/1.1") == 1
    assert [path for path in seen if path != "POST /"] == []


@pytest.mark.parametrize(("status", "request_"), REFUSED.items())
def test_a_request_that_asks_for_too_much_is_refused(status: str, request_: bytes) -> None:
    seen: list[str] = []
    with serving(seen_by(seen), limits=Limits(body=1_000_000)) as server:  # type: ignore[arg-type]
        answer = answer_until_close(server, request_)
    assert answer.startswith(f"HTTP/1.1 {status}\r\n".encode())
    assert seen == []


def test_the_number_of_headers_is_limited() -> None:
    seen: list[str] = []
    with serving(seen_by(seen)) as server:  # type: ignore[arg-type]
        answer = exchange(server, get(b"\r\n".join(b"X-%d: a" % number for number in range(99))))
        assert answer.startswith(b"HTTP/1.1 200 ")
        answer = exchange(server, get(b"\r\n".join(b"X-%d: a" % number for number in range(100))))
        assert answer.startswith(b"HTTP/1.1 431 ")
    assert seen == ["GET /"]


def test_the_number_of_trailers_is_limited() -> None:
    trailers = b"".join(b"X-%d: a\r\n" % number for number in range(101))
    with serving(seen_by([])) as server:  # type: ignore[arg-type]
        answer = exchange(server, chunks(b"0\r\n" + trailers + b"\r\n"))
        assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_chunked_body_is_limited() -> None:
    with serving(seen_by([]), limits=Limits(body=10)) as server:  # type: ignore[arg-type]
        assert exchange(server, chunks(b"a\r\n0123456789\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert exchange(server, chunks(b"b\r\n0123456789a\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_becomes_malformed_while_the_application_reads_it_gets_400() -> None:
    reading: list[str] = []
    first = chunks(b"3\r\nabc\r\n")
    with serving(seen_by(reading)) as server:  # type: ignore[arg-type]
        answer = exchange(server, first, b"zz\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_the_table_is_long_enough() -> None:
    assert len(MALFORMED) >= 100
