"""pyzmq waits in C, and its contexts have threads of their own: ``native=("zmq",)``."""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import run_by_greenpool, run_patched

pytest.importorskip("zmq")

pytestmark = pytest.mark.slow

PROGRAM = """
    import sys
    import threading
    import time

    import greenpool
    import zmq

    context = zmq.Context()


    def serve(address, ready):
        with context.socket(zmq.REP) as server:
            server.bind(address)
            ready.set()
            while (request := server.recv()) != b"end":
                # Without a copy: the garbage collector of pyzmq, a thread, is told when the message is sent.
                server.send(b"answer to " + request, copy=False)
            server.send(b"")


    def ask(address, request):
        with context.socket(zmq.REQ) as client:
            client.connect(address)
            client.send(request)
            return client.recv()


    for address in sys.argv[1:]:
        ready = threading.Event()
        server = threading.Thread(target=greenpool.blocking, args=(serve, address, ready))
        server.start()
        assert ready.wait(20)
        asking = [greenpool.spawn(greenpool.blocking, ask, address, b"%d" % number) for number in range(50)]
        assert [each.get() for each in asking] == [b"answer to %d" % number for number in range(50)]
        greenpool.blocking(ask, address, b"end")
        server.join()

    # Green threads go on while a socket is waited for in a worker thread.
    with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        pull.bind("inproc://later")
        push.connect("inproc://later")
        waiting = greenpool.spawn(greenpool.blocking, pull.recv)
        time.sleep(0.01)
        assert not waiting.ready()
        push.send(b"x")
        assert waiting.get() == b"x"
    context.term()
"""


def addresses(tmp_path: Path) -> list[str]:
    return ["inproc://server", f"ipc://{tmp_path}/server"]


def test_request_and_reply(tmp_path: Path) -> None:
    run_patched(PROGRAM, *addresses(tmp_path), directory=tmp_path, native=["zmq"])


def test_request_and_reply_in_a_pool(tmp_path: Path) -> None:
    options = ["--pool-size", "2", "--native", "zmq"]
    run_by_greenpool(PROGRAM, *addresses(tmp_path), directory=tmp_path, options=options)


def test_over_tcp_by_native_threads(tmp_path: Path) -> None:
    """An unchanged server whose threads are the original ones."""
    program = """
    import zmq

    def serve():
        while (request := server.recv()) != b"end":
            server.send(request.upper())
        server.send(b"")
        server.close()

    context = zmq.Context()
    server = context.socket(zmq.REP)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    thread = monkey.get_original("threading", "Thread")(target=serve)
    thread.start()
    with context.socket(zmq.REQ) as client:
        client.connect(f"tcp://127.0.0.1:{port}")
        for request in (b"a", b"b"):
            client.send(request)
            assert greenpool.blocking(client.recv) == request.upper()
        client.send(b"end")
        assert greenpool.blocking(client.recv) == b""
    context.term()
    """
    run_patched(program, directory=tmp_path, native=["zmq"])


def test_its_modules_have_the_originals(tmp_path: Path) -> None:
    program = """
    import zmq.sugar.context, zmq.utils.garbage

    assert zmq.sugar.context.Lock is monkey.get_original("threading", "Lock")
    assert zmq.utils.garbage.Event is monkey.get_original("threading", "Event")
    assert issubclass(zmq.utils.garbage.GarbageCollectorThread, monkey.get_original("threading", "Thread"))
    """
    run_patched(program, directory=tmp_path, native=["zmq"])
