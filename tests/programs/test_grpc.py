"""grpc waits in C, in threads of its own, so it keeps native threads and locks: ``native=("grpc",)``."""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import run_by_greenpool, run_patched

pytest.importorskip("grpc")

pytestmark = pytest.mark.slow

# A server and a client in one program. The executor is the ordinary one.
PROGRAM = """
    import os
    import threading
    import time
    from concurrent import futures

    # A connection that the server ends before it is closed is one of grpc's lines on stderr.
    os.environ["GRPC_VERBOSITY"] = "ERROR"
    import grpc


    def slow(request, context):
        time.sleep(0.1)
        return b"answer to " + request


    def parts(request, context):
        for part in range(5):
            time.sleep(0.01)
            yield request + b" %d" % part


    def echo(requests, context):
        for request in requests:
            yield request


    def total(requests, context):
        return b"%d" % sum(int(request) for request in requests)


    def wrong(request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")


    handlers = {
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Parts": grpc.unary_stream_rpc_method_handler(parts),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Wrong": grpc.unary_unary_rpc_method_handler(wrong),
    }
    server = grpc.server(futures.ThreadPoolExecutor(50))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Test", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    call_slow = channel.unary_unary("/Test/Slow")
    grpc.channel_ready_future(channel).result(timeout=20)
"""

EVERY_KIND = """
    assert call_slow(b"1", timeout=20) == b"answer to 1"
    parts = list(channel.unary_stream("/Test/Parts")(b"x", timeout=20))
    assert parts == [b"x %d" % part for part in range(5)]
    assert list(channel.stream_stream("/Test/Echo")(iter([b"a", b"b"]), timeout=20)) == [b"a", b"b"]
    assert channel.stream_unary("/Test/Total")(iter([b"1", b"2", b"3"]), timeout=20) == b"6"

    began = time.monotonic()
    pending = [call_slow.future(b"%d" % number, timeout=20) for number in range(50)]
    assert [each.result() for each in pending] == [b"answer to %d" % number for number in range(50)]
    assert time.monotonic() - began < 2.5
    called = threading.Event()
    call_slow.future(b"2", timeout=20).add_done_callback(lambda future: called.set())
    assert called.wait(20)

    try:
        channel.unary_unary("/Test/Wrong")(b"", timeout=20)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND and error.details() == "nothing here"
    else:
        raise AssertionError("no error")
    try:
        call_slow(b"", timeout=0.01)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    else:
        raise AssertionError("no error")
"""

STOP = """
    channel.close()
    server.stop(None).wait()
"""


def test_every_kind_of_call(tmp_path: Path) -> None:
    run_patched(PROGRAM + EVERY_KIND + STOP, directory=tmp_path, native=["grpc"])


@pytest.mark.parametrize("pool_size", [1, 2])
def test_every_kind_of_call_in_an_unchanged_program(pool_size: int, tmp_path: Path) -> None:
    options = ["--pool-size", str(pool_size), "--native", "grpc"]
    run_by_greenpool(PROGRAM + EVERY_KIND + STOP, directory=tmp_path, options=options)


def test_fifty_green_threads_call(tmp_path: Path) -> None:
    program = """
    texts = fifty(lambda number: greenpool.blocking(call_slow, b"%d" % number, timeout=20))
    assert texts == [b"answer to %d" % number for number in range(50)]
    """
    run_patched(PROGRAM + program + STOP, directory=tmp_path, native=["grpc"])


def test_a_handler_may_use_green_threads_and_sockets(tmp_path: Path) -> None:
    program = """
    import socket

    def slow(request, context):
        left, right = socket.socketpair()
        with left, right:
            thread = threading.Thread(target=lambda: (time.sleep(0.01), right.sendall(request)))
            thread.start()
            answer = left.recv(100)
            thread.join()
            return answer + lines.get(timeout=20)

    import queue
    lines = queue.Queue()
    handlers = {"Slow": grpc.unary_unary_rpc_method_handler(slow)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("More", handlers)])
    pending = [channel.unary_unary("/More/Slow").future(b"%d" % number, timeout=20) for number in range(9)]
    for _ in pending:
        lines.put(b"!")
    assert [each.result() for each in pending] == [b"%d!" % number for number in range(9)]
    """
    run_patched(PROGRAM + program + STOP, directory=tmp_path, native=["grpc"])


def test_the_program_ends_though_server_and_channel_are_open(tmp_path: Path) -> None:
    program = """
    assert call_slow(b"1", timeout=20) == b"answer to 1"
    """
    run_patched(PROGRAM + program, directory=tmp_path, native=["grpc"])


def test_its_modules_have_the_originals(tmp_path: Path) -> None:
    program = """
    import grpc._channel, grpc._server, grpc._cython.cygrpc

    for module in grpc._channel, grpc._server, grpc._cython.cygrpc:
        for name in ("Thread", "Lock", "RLock", "Condition", "Event"):
            assert getattr(module.threading, name) is monkey.get_original("threading", name), (module, name)
        assert module.time.sleep is monkey.get_original("time", "sleep")
    assert threading.Lock is not monkey.get_original("threading", "Lock")
    """
    run_patched(PROGRAM + program + STOP, directory=tmp_path, native=["grpc"])
