"""greenpool.backdoor: a Python prompt over a socket."""

from __future__ import annotations

import pytest

from greenpool import socket
from greenpool.backdoor import BackdoorServer

pytestmark = pytest.mark.usefixtures("leak_check")


def test_each_connection_has_a_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    with BackdoorServer(("127.0.0.1", 0), locals={"answer": 42}, banner="welcome") as server:
        assert server.started
        assert server.server_port
        for _ in range(2):
            with socket.create_connection(server.address) as connection, connection.makefile("rw") as file:
                file.write("answer + 1\nanswer = 0\nprint('hi')\nexit()\n")
                file.flush()
                said = file.read()
            assert "welcome" in said
            assert "43" in said
            assert "hi\n" in said
    assert not server.started
    assert capsys.readouterr().out == ""


def test_a_socket_that_listens_already() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = BackdoorServer(listener)
    server.start()
    server.start()
    with socket.create_connection(listener.getsockname()) as connection:
        assert b">>> " in connection.recv(1000)
        server.stop()
        assert connection.recv(1000) == b""
    server.stop()
