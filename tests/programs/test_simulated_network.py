"""redis-py and requests, unchanged, against toy servers on a simulated network."""

from __future__ import annotations

import http.server
import socket
import socketserver
import time

import pytest

from greenpool import testing

pytestmark = pytest.mark.slow


class ToyRedis(socketserver.StreamRequestHandler):
    """Knows SET and GET; says OK to the rest."""

    values: dict[bytes, bytes] = {}

    def handle(self) -> None:
        while line := self.rfile.readline():
            parts = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                parts.append(self.rfile.read(size + 2)[:-2])
            self.wfile.write(self.answer(*parts))

    def answer(self, name: bytes, *args: bytes) -> bytes:
        if name == b"GET":
            value = self.values.get(args[0])
            return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        if name == b"HELLO":
            return b"-ERR unknown command\r\n"
        if name == b"SET":
            self.values[args[0]] = args[1]
        return b"+OK\r\n"


def serve_redis() -> None:
    with socketserver.ThreadingTCPServer(("", 6379), ToyRedis) as server:
        server.serve_forever()


def test_redis_over_a_partition_that_heals() -> None:
    redis = pytest.importorskip("redis")
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    def main() -> list[object]:
        with testing.network.simulated() as network:
            network.spawn("db", serve_redis)
            time.sleep(1)
            link = network.between("localhost", "db").delay(0.01)
            client = redis.Redis("db", socket_timeout=1, retry=Retry(ConstantBackoff(1), 20), protocol=2)
            client.set("name", "value")
            link.partition()
            begun = time.monotonic()
            with network.host("admin"):
                import threading

                threading.Timer(10, link.heal).start()
            value = client.get("name")
            waited = time.monotonic() - begun
            client.close()
            return [value, 10 < waited < 14]

    assert testing.run(main, seed=1, patch=True) == [b"value", True]


def test_redis_over_a_lossy_link_under_many_schedules() -> None:
    redis = pytest.importorskip("redis")

    def main() -> None:
        with testing.network.simulated() as network:
            network.spawn("db", serve_redis)
            time.sleep(1)
            network.between("localhost", "db").delay(0.01, jitter=0.01).drop(0.2)
            with redis.Redis("db", socket_timeout=60, protocol=2) as client:
                for number in range(5):
                    client.set("number", number)
                    assert int(client.get("number")) == number

    testing.explore(main, schedules=10, patch=True)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(socket.gethostname().encode())

    def log_message(self, *args: object) -> None:
        pass


def test_requests() -> None:
    requests = pytest.importorskip("requests")

    def serve() -> None:
        with http.server.ThreadingHTTPServer(("", 80), Page) as server:
            server.serve_forever()

    def main() -> list[object]:
        with testing.network.simulated() as network:
            network.spawn("web", serve)
            time.sleep(1)
            with requests.Session() as session:
                text = session.get("http://web/", timeout=5).text
                network.between("localhost", "web").partition()
                with pytest.raises(requests.ConnectTimeout):
                    session.get("http://web/", timeout=5)
            return [text, time.monotonic() > 5]

    assert testing.run(main, seed=1, patch=True) == ["web", True]
