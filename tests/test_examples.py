"""Each example does what its head says, for a user who talks to it from outside.

``examples/echo.py`` is tested with the README, which runs it, and ``fleet.py`` in programs/test_fleet.py.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import greenpool
from documents import ROOT, run_program

SECONDS = 20
EXAMPLES = ROOT / "examples"
SERVERS = ["chat.py", "proxy.py", "threads.py", "nameserver.py", "bridge.py"]
PROGRAMS = ["echo.py", "crawler.py", "fleet.py", "fleet_tasks.py", "pages.py", "workers.py"]

pytestmark = pytest.mark.usefixtures("leak_check")


@contextmanager
def running(*arguments: str) -> Iterator[tuple[int, int]]:
    """Runs an example that serves; gives its process and the port that it prints, and ends it with Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-W", "error", *arguments],
        cwd=EXAMPLES,
        env=os.environ | {"PYTHONPATH": str(Path(greenpool.__file__).parent.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            match = re.search(r" port (\d+)$", process.stdout.readline())
            assert match, process.communicate(timeout=SECONDS)
            yield process.pid, int(match[1])
            process.send_signal(signal.SIGINT)
            printed, errors = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert (process.returncode, printed, errors) == (0, "", "")


class Client:
    """A user of a server that speaks in lines."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.lines = self.socket.makefile("r", encoding="utf-8")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.lines.close()
        self.socket.close()

    def send(self, line: str) -> None:
        self.socket.sendall(line.encode() + b"\n")

    def read(self) -> str:
        return self.lines.readline().removesuffix("\n")

    def ask(self, line: str) -> str:
        self.send(line)
        return self.read()


@contextmanager
def site(pages: dict[str, str]) -> Iterator[str]:
    """Serves *pages* by their paths over HTTP; gives the site's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            self.send_response(200 if page is not None else 404)
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_each_example_has_a_test_and_a_line_in_the_list() -> None:
    examples = {path.name for path in EXAMPLES.glob("*.py")}
    # test_hang_at_night.py has the last one.
    assert examples == {*SERVERS, *PROGRAMS, "hang_at_night.py"}
    listed = re.findall(r"^- \[`(.+)`\]\((.+)\): .+$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in listed} == examples
    assert all(name == link for name, link in listed)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_without_clients_ends_with_ctrl_c(name: str) -> None:
    with running(name):
        pass


def test_chat() -> None:
    with running("chat.py") as (_, port), ExitStack() as stack:
        ann, bob, eve = (stack.enter_context(Client(port)) for _ in range(3))
        assert ann.read() == bob.read() == eve.read() == "Your name?"
        assert ann.ask("Ann") == "* here: Ann"
        assert bob.ask("Ann") == "That name is taken. Another one?"
        assert bob.ask("Bob") == "* here: Ann, Bob"
        assert ann.read() == "* Bob is here"
        assert eve.ask("Eve") == "* here: Ann, Bob, Eve"
        assert ann.read() == bob.read() == "* Eve is here"
        ann.send("Hello, grün!")
        assert bob.read() == eve.read() == "Ann: Hello, grün!"
        bob.send("Hello, Ann!")
        assert ann.read() == eve.read() == "Bob: Hello, Ann!"
        bob.socket.shutdown(socket.SHUT_RDWR)
        assert ann.read() == eve.read() == "* Bob has left"
        ann.send("Bye")
        assert eve.read() == "Ann: Bye"


def test_proxy_forwards_a_request() -> None:
    with site({"/page?a=b": "forwarded"}) as url, running("proxy.py") as (_, port):
        proxy = urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{port}"})
        opener = urllib.request.build_opener(proxy)
        with opener.open(f"{url}/page?a=b", timeout=SECONDS) as response:
            assert response.read() == b"forwarded"
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            opener.open(f"{url}/missing", timeout=SECONDS)
        caught.value.close()


def test_proxy_makes_tunnels() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, running("proxy.py") as (_, port):
        server.settimeout(SECONDS)
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            # The tunnel's first bytes may come together with the request.
            client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\nfirst" % server.getsockname()[1])
            answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
            assert client.recv(len(answer), socket.MSG_WAITALL) == answer
            tunnel, _ = server.accept()
            with tunnel:
                tunnel.settimeout(SECONDS)
                assert tunnel.recv(5, socket.MSG_WAITALL) == b"first"
                # One direction may end before the other.
                client.shutdown(socket.SHUT_WR)
                assert tunnel.recv(1) == b""
                tunnel.sendall(b"last")
            assert client.recv(5, socket.MSG_WAITALL) == b"last"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("nonsense", 400),
        ("GET /no-proxy-request HTTP/1.1", 400),
        ("GET ftp://127.0.0.1/file HTTP/1.1", 400),
        ("GET http://127.0.0.1:nowhere/ HTTP/1.1", 400),
        ("GET http://127.0.0.1:{unused}/ HTTP/1.1", 502),
        ("CONNECT 127.0.0.1:{unused} HTTP/1.1", 502),
    ],
)
def test_proxy_says_what_it_cannot_do(request_line: str, status: int) -> None:
    with running("proxy.py") as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            client.sendall(request_line.format(unused=unused_port()).encode() + b"\r\n\r\n")
            response = http.client.HTTPResponse(client)
            response.begin()
            assert response.status == status
            response.close()


def test_crawler(tmp_path: Path) -> None:
    pages = {
        "/": '<a href="/one">1</a> <a href="two">2</a> <a name="here">no link</a>',
        "/one": '<a href="/">back</a> <a href="/one/deep#part">3</a> <a href="/missing">4</a>',
        "/two": '<a href="http://elsewhere.invalid/">another site</a> <a href="mailto:me">mail</a>',
        "/one/deep": '<a href="/one/deeper">5</a>',
        "/one/deeper": "too deep",
    }
    with site(pages) as url:
        printed, errors = run_program(EXAMPLES / "crawler.py", f"{url}/", "2", cwd=tmp_path)
    assert errors == ""
    assert sorted(printed.splitlines()) == [
        f"200     1 links  {url}/one/deep",
        f"200     2 links  {url}/",
        f"200     2 links  {url}/two",
        f"200     3 links  {url}/one",
        f"404     0 links  {url}/missing",
    ]


def test_crawler_says_what_it_could_not_fetch(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{unused_port()}/"
    printed, errors = run_program(EXAMPLES / "crawler.py", url, cwd=tmp_path)
    assert errors == ""
    assert "Connection refused" in printed
    assert printed.endswith(f" 0 links  {url}\n")


@pytest.mark.parametrize("how", [[], ["-m", "greenpool"]], ids=["plain", "green"])
def test_threads(how: list[str]) -> None:
    with running(*how, "threads.py") as (pid, port), ExitStack() as stack:
        first, *others = (stack.enter_context(Client(port)) for _ in range(50))
        assert first.ask("get colour") == "no such key"
        for client in others:
            client.send("wait colour")
            # The first answer comes only when the thread of this connection runs.
            client.send("nonsense")
        assert first.ask("set colour light green") == "done"
        for client in others:
            assert client.read() == "light green"
            assert client.read() == "set KEY VALUE, get KEY or wait KEY?"
        assert first.ask("get colour") == "light green"
        if sys.platform == "linux":
            threads = len(os.listdir(f"/proc/{pid}/task"))
            assert (threads >= 50) is not bool(how)


def query(port: int, name: str, kind: int = 1) -> tuple[int, bytes]:
    """Asks a name server; returns the response's code and what follows the question."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + struct.pack("!BHH", 0, kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.connect(("127.0.0.1", port))
        # What is no query has no answer, and does no harm.
        client.send(b"?")
        client.send(b"no query at all, without an end")
        client.send(struct.pack("!6H", 0xBEEF, 0x0100, 1, 0, 0, 0) + question)
        response = client.recv(4096)
    identifier, flags, questions, answers, *_ = struct.unpack_from("!6H", response)
    assert (identifier, flags & 0x8000, questions) == (0xBEEF, 0x8000, 1)
    assert response[12:].startswith(question)
    rest = response[12 + len(question) :]
    assert bool(rest) == bool(answers)
    return flags & 0xF, rest


def test_nameserver() -> None:
    with (
        running("nameserver.py", "there.test=192.0.2.2") as (_, upstream),
        running("nameserver.py", "here.test=192.0.2.1", f"127.0.0.1:{upstream}") as (_, port),
    ):
        code, record = query(port, "Here.test")
        assert (code, record[-4:]) == (0, bytes([192, 0, 2, 1]))
        code, record = query(port, "there.test")
        assert (code, record[-4:]) == (0, bytes([192, 0, 2, 2]))
        ipv6 = 28
        assert query(port, "here.test", ipv6) == (0, b"")
        failure = 2
        assert query(upstream, "nowhere.test") == (failure, b"")
        assert query(port, "nowhere.test") == (failure, b"")


def test_a_query_that_waits_delays_no_other() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(SECONDS)
        upstream = f"127.0.0.1:{silent.getsockname()[1]}"
        with running("nameserver.py", "here.test=192.0.2.1", upstream) as (_, port):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(("127.0.0.1", port))
                client.send(struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\4slow\0\0\1\0\1")
                silent.recv(4096)  # the query waits for its answer now
                assert query(port, "here.test")[0] == 0


def test_bridge() -> None:
    with running("bridge.py") as (_, port), Client(port) as one, Client(port) as other:
        one.send("1 2 3 4 5 6 7 8 9 10 11 12")
        assert other.ask("-7") == "49"
        assert one.read() == "1 4 9 16 25 36 49 64 81 100 121 144"
        assert other.ask("seven").startswith("invalid literal")
        assert other.ask("8") == "64"


def test_workers(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.txt" for number in range(10)]
    for file in files:
        file.write_text(file.name)
    expected = {f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}" for file in files}
    received = set()

    def collect() -> None:
        for _ in files:
            connection, _ = listener.accept()
            with connection, connection.makefile() as lines:
                received.add(lines.read().removesuffix("\n"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        collector = threading.Thread(target=collect)
        collector.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        printed, errors = run_program(EXAMPLES / "workers.py", address, *files, cwd=tmp_path)
        collector.join()
    assert errors == ""
    assert {line.removeprefix("sent ") for line in printed.splitlines()} == received == expected
