"""redis-py against a redis-server: blocking commands, pipelines, pub/sub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import servers
from .program import run_patched

pytest.importorskip("redis")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with servers.redis() as port:
        yield port


def test_fifty_blocking_commands(port: int, tmp_path: Path) -> None:
    program = """
        import redis

        with redis.Redis(port=int(sys.argv[1])) as client:
            assert fifty(lambda number: client.blpop(f"nothing:{number}", timeout=0.1)) == [None] * 50
    """
    run_patched(program, port, directory=tmp_path)


def test_fifty_over_ten_connections(port: int, tmp_path: Path) -> None:
    program = """
        import redis

        pool = redis.BlockingConnectionPool(port=int(sys.argv[1]), max_connections=10, timeout=20)
        with redis.Redis(connection_pool=pool) as client:
            assert fifty(lambda number: client.blpop("nothing", timeout=0.1)) == [None] * 50
            assert fifty(lambda number: client.set(f"key:{number}", number)) == [True] * 50
            values = client.mget(f"key:{number}" for number in range(50))
            assert values == [str(number).encode() for number in range(50)]
        pool.disconnect()
    """
    run_patched(program, port, directory=tmp_path)


def test_pipelines(port: int, tmp_path: Path) -> None:
    program = """
        import redis

        def count(number):
            with client.pipeline(transaction=number % 2 == 0) as pipeline:
                for _ in range(100):
                    pipeline.incr("counter")
                values = pipeline.execute()
            assert values == sorted(values)
            return len(values)

        def add_one(pipeline):
            value = int(pipeline.get("watched"))
            pipeline.multi()
            pipeline.set("watched", value + 1)

        def add_in_a_transaction():
            # This tries again while others change the value.
            client.transaction(add_one, "watched")

        with redis.Redis(port=int(sys.argv[1])) as client:
            client.delete("counter")
            assert fifty(count) == [100] * 50
            assert client.get("counter") == b"5000"

            client.set("watched", 0)
            threads = [threading.Thread(target=add_in_a_transaction) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert client.get("watched") == b"10"
    """
    run_patched(program, port, directory=tmp_path)


def test_pub_sub(port: int, tmp_path: Path) -> None:
    program = """
        import queue
        import redis

        def listen(number):
            with client.pubsub() as channel:
                channel.subscribe("news", f"only:{number}")
                subscribed.put(number)
                messages = (message for message in channel.listen() if message["type"] == "message")
                received[number] = [next(messages)["data"] for _ in range(2)]

        subscribed, received = queue.Queue(), {}
        with redis.Redis(port=int(sys.argv[1])) as client:
            threads = [threading.Thread(target=listen, args=(number,)) for number in range(20)]
            for thread in threads:
                thread.start()
            for _ in threads:
                subscribed.get(timeout=20)
            while client.publish("probe", b"") or client.pubsub_numsub("news")[0][1] < 20:
                pass
            assert client.publish("news", b"to all") == 20
            for number in range(20):
                assert client.publish(f"only:{number}", str(number)) == 1
            for thread in threads:
                thread.join()
            assert received == {number: [b"to all", str(number).encode()] for number in range(20)}

            # This is redis-py's own thread, which calls handlers.
            handled = queue.Queue()
            with client.pubsub() as channel:
                channel.subscribe(news=handled.put)
                worker = channel.run_in_thread(sleep_time=0.01)
                while not client.publish("news", b"handled"):
                    pass
                assert handled.get(timeout=20)["data"] == b"handled"
                worker.stop()
                worker.join()
    """
    run_patched(program, port, directory=tmp_path)


def test_blocking_pop_is_woken_by_a_push(port: int, tmp_path: Path) -> None:
    program = """
        import redis

        def worker(number):
            with redis.Redis(port=port) as own:
                while (job := own.blpop("jobs", timeout=0)[1]) != b"end":
                    done.append(int(job))

        port, done = int(sys.argv[1]), []
        threads = [threading.Thread(target=worker, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        with redis.Redis(port=port) as client:
            client.rpush("jobs", *range(100))
            client.rpush("jobs", *["end"] * 5)
        for thread in threads:
            thread.join()
        assert sorted(done) == list(range(100))
    """
    run_patched(program, port, directory=tmp_path)
