"""The live page: who gets in, and what is sent. tests/console/test_web_page.py looks at it in a browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import greenpool
from greenpool import console
from greenpool._core import native
from greenpool._core.native import HAS_GIL
from greenpool.console.command import main
from greenpool.inspect import snapshot

from .live_page import Site, Start, directory, shared, site, start

pytest.importorskip("httptools")

from greenpool.console.web import Watcher

__all__ = ["directory", "shared", "site", "start"]  # the fixtures

pytestmark = pytest.mark.usefixtures("directory")


# Nobody gets in without the token, under another name, or to change anything.


def test_the_page_comes_with_strict_headers(shared: Site) -> None:
    status, response, body = shared.ask(shared.path)
    assert status == 200
    assert b"<title>greenpool</title>" in body
    headers = response.headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert not any(name.lower().startswith("access-control") for name in headers)


def test_the_page_needs_nothing_from_elsewhere(shared: Site) -> None:
    for name in ("", "page.css", "page.js"):
        status, _, body = shared.ask(shared.path + name)
        assert status == 200
        addresses = {address.decode() for address in re.findall(rb"[\w:]*//\w[^'\" ]*", body)}
        # The name of the namespace of a drawing is not asked for.
        assert addresses <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize(
    "path", ["/", "/events", "/{wrong}/", "/{short}/", "/{token}", "/{token}/no", "/%ff/", "//"]
)
def test_without_the_token_there_is_nothing(shared: Site, path: str) -> None:
    names = {"wrong": shared.token[:-1] + "!", "short": shared.token[:-1], "token": shared.token}
    status, _, body = shared.ask(path.format(**names))
    assert (status, body) == (404, b"There is no such page.\n")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "0.0.0.0:{port}"]
)
def test_another_name_of_the_server_is_refused(shared: Site, host: str) -> None:
    status, _, body = shared.ask(shared.path, Host=host.format(port=shared.port))
    assert status == 403
    assert b"greenpool" not in body


def test_it_answers_to_localhost(shared: Site) -> None:
    assert shared.ask(shared.path, Host=f"localhost:{shared.port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(shared: Site, method: str) -> None:
    for name in ("", "events"):
        status, response, _ = shared.ask(shared.path + name, method)
        assert status == 405
        assert response.headers["Allow"] == "GET, HEAD"


def test_only_the_loopback_interface_has_it(shared: Site) -> None:
    """The kernel's table of listening sockets has this port at 127.0.0.1 only."""
    tables = [Path(f"/proc/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
    found = [
        line.split()[1] for table in tables for line in table.splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert [address for address in found if address.endswith(f":{shared.port:04X}")] == [
        f"0100007F:{shared.port:04X}"
    ]


def test_each_server_has_a_token_of_its_own(shared: Site, start: Start) -> None:
    other = start("-m", "greenpool.console.command", "web", str(shared.process.pid))
    token = urlsplit(Site.read_line(other).strip()).path.strip("/")
    assert len(token) == len(shared.token) == 32
    assert token != shared.token


# The command.


def test_a_process_without_a_console_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["web", str(os.getpid())]) == 1
    assert "has no console" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(shared: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["web", "--port", str(shared.port), str(shared.process.pid)]) == 1
    assert f"cannot listen to port {shared.port}" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_the_server(site: Site) -> None:
    stream = site.events()
    next(stream)
    site.server.send_signal(signal.SIGINT)
    assert site.server.wait(30) == 130


def test_a_browser_is_opened_only_if_asked_for(
    shared: Site, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """The address stands in a file of the user's own, and not in the list of processes."""
    from greenpool.console import web

    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    monkeypatch.setattr(web.WSGIServer, "serve_forever", web.WSGIServer.stop)
    registered: list[Callable[..., object]] = []
    monkeypatch.setattr(web.atexit, "register", lambda function, **_arguments: registered.append(function))
    assert main(["web", str(shared.process.pid)]) == 0
    assert opened == []
    assert main(["web", "--browser", str(shared.process.pid)]) == 0
    (pointer,) = directory.glob("*.html")
    assert opened == [pointer.as_uri()]
    assert pointer.stat().st_mode & 0o777 == 0o600
    assert "http://127.0.0.1:" in pointer.read_text(encoding="utf-8")
    (remove,) = registered
    remove()
    assert not pointer.exists()


# The stream.


def names_of(look: dict[str, Any]) -> set[str]:
    return {row[1] for row in look["greenlets"]}


def looks(site: Site) -> Iterator[dict[str, Any]]:
    return (data for name, data in site.events() if name == "look")


@pytest.mark.slow
def test_the_stream_begins_with_everything_and_goes_on_with_changes(site: Site) -> None:
    stream = looks(site)
    first = next(stream)
    assert first["all"]
    assert first["pid"] == site.process.pid
    assert any('"reader-7"' in name for name in names_of(first))
    assert {"name", "state", "counts", "busy", "longest"} <= first["hubs"][0].keys()
    site.tell("start late-comer")
    change = next(look for look in stream if any('"late-comer"' in name for name in names_of(look)))
    assert not change["all"]
    assert not any('"reader-' in name for name in names_of(change))
    site.tell("wake")
    gone = {ident for _, look in zip(range(3), stream, strict=False) for ident in look["gone"]}
    assert {row[0] for row in first["greenlets"] if '"reader-' in row[1]} <= gone


@pytest.mark.slow
def test_a_page_that_comes_later_gets_everything(shared: Site) -> None:
    first = looks(shared)
    next(first)
    next(first)
    second = next(looks(shared))
    assert second["all"]
    assert any('"reader-7"' in name for name in names_of(second))


def test_a_greenlet_names_what_it_waits_for(shared: Site) -> None:
    first = next(looks(shared))
    (wanter,) = (row for row in first["greenlets"] if '"wanter"' in row[1])
    (holder,) = (row for row in first["greenlets"] if '"holder"' in row[1])
    assert wanter[11] == [holder[1]]
    frames = first["stacks"][str(wanter[12])]
    assert frames[0][2] == "want"


@pytest.mark.slow
def test_a_stall_is_told_with_its_stack(site: Site) -> None:
    stream = looks(site)
    next(stream)
    site.tell("compute")
    look = next(look for look in stream if look["stalls"])
    stall = look["stalls"][-1]
    assert stall["seconds"] >= 0.1
    # Without a GIL a look at the stack would stop all threads.
    assert ("compute" in [frame[2] for frame in stall["stack"]]) is HAS_GIL
    look = next(look for look in stream if look["stalls"][-1]["over"])
    assert look["stalls"][-1]["began"] == stall["began"]


@pytest.mark.slow
def test_the_end_of_the_process_is_told(site: Site) -> None:
    stream = site.events()
    next(stream)
    site.process.kill()
    last = list(stream)[-1]
    assert last == ("ended", {"reason": f"Process {site.process.pid} has ended."})
    # The same for a page that is opened now.
    assert [name for name, _ in site.events()] == ["look", "ended"]


@pytest.mark.slow
def test_a_process_that_does_not_answer(site: Site) -> None:
    stream = site.events()
    next(stream)
    site.process.send_signal(signal.SIGSTOP)
    try:
        assert next(data["late"] for name, data in stream if name == "beat" and data["late"] > 0)
    finally:
        site.process.send_signal(signal.SIGCONT)
    assert next(name for name, _ in stream if name != "beat") == "look"


@pytest.mark.slow
def test_a_console_that_is_closed_is_told_and_asked_again(start: Start, directory: Path) -> None:
    script = """
import greenpool.console, sys
print("ready", flush=True)
for line in sys.stdin:
    getattr(greenpool.console, line.strip())()
    print("done", flush=True)
"""
    site = Site(start, directory, script)
    stream = site.events()
    next(stream)
    site.tell("close")
    # The socket is gone, or it goes just as it is connected to, or has been.
    reason = next(data["reason"] for name, data in stream if name == "lost")
    assert str(site.process.pid) in reason or reason.startswith("the process has closed the connection")
    site.tell("listen")
    assert next(name for name, _ in stream if name == "look") == "look"


def test_nobody_is_asked_while_no_page_is_open() -> None:
    def greenlets() -> set[int]:
        return {each.ident for each in snapshot(stacks=False).greenlets}

    path = console.listen()
    before = greenlets()
    watcher = Watcher(path)
    assert greenlets() == before
    stream = watcher.events()
    assert next(stream) == b": greenpool\n\n"
    assert next(stream).startswith(b"event: look\n")
    assert greenlets() > before
    stream.close()
    while greenlets() != before:
        greenpool.sleep(0.001)
    console.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    far.settimeout(10)
    yield near, far
    assert far.recv(1) == b""
    assert near.fileno() == -1
    far.close()


def test_a_look_that_is_killed_before_it_is_connected(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = native.SimpleQueue[None](), native.SimpleQueue[None]()

    def connect(target: str) -> socket.socket:
        begun.put(None)
        goes_on.get()
        return ends[0]

    monkeypatch.setattr("greenpool.console.web.connect", connect)
    looking = greenpool.spawn(Watcher("5").look)
    while begun.empty():
        greenpool.sleep(0.001)
    looking.kill()
    goes_on.put(None)


def test_a_look_that_is_killed_when_it_has_just_been_connected(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocking(call: Callable[[], object]) -> None:
        call()
        raise greenpool.GreenletExit

    monkeypatch.setattr("greenpool.console.web.connect", lambda target: ends[0])
    monkeypatch.setattr("greenpool.console.web.blocking", blocking)
    with pytest.raises(greenpool.GreenletExit):
        Watcher("5").look()
