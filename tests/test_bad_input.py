"""Bad input: a wrong argument raises at the call, and the message names the argument and the value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenpool
from greenpool import Builder, Greenlet, Runtime, Timeout, socket


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=2) as runtime:
        yield runtime


@pytest.fixture
def parked() -> Iterator[Greenlet]:
    greenlet = greenpool.spawn(greenpool.sleep, 3600)
    yield greenlet
    greenlet.kill()


def refused(
    kind: type[Exception], call: Callable[..., object], *args: Any, name: str, value: object, **kwargs: Any
) -> None:
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("make", [Builder().pool_size, Runtime], ids=["Builder", "Runtime"])
@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (0, ValueError),
        (-1, ValueError),
        (32_769, ValueError),
        (True, TypeError),
        ("4", TypeError),
        (2.0, TypeError),
    ],
)
def test_pool_size(make: Callable[[Any], object], size: object, kind: type[Exception]) -> None:
    refused(kind, make, size, name="pool_size", value=size)


def test_pool_size_at_its_limits() -> None:
    builder = Builder()
    assert builder.pool_size(1) is builder
    assert builder.pool_size(32_768) is builder


@pytest.mark.parametrize("value", [None, 5, b"s"], ids=repr)
def test_name_prefix(value: Any) -> None:
    refused(TypeError, Builder().name_prefix, value, name="name_prefix", value=value)
    refused(TypeError, Runtime, name_prefix=value, name="name_prefix", value=value)


@pytest.mark.parametrize("hook", ["after_start", "before_stop"])
@pytest.mark.parametrize("value", [5, "text"], ids=repr)
def test_hooks(hook: str, value: Any) -> None:
    refused(TypeError, getattr(Builder(), hook), value, name=hook, value=value)
    refused(TypeError, Runtime, **{hook: value}, name=hook, value=value)


@pytest.mark.parametrize("value", [None, 5, "text", ()], ids=repr)
def test_what_is_no_function(runtime: Runtime, value: Any) -> None:
    handle = runtime.handle()
    for call in (
        greenpool.run,
        greenpool.spawn,
        runtime.spawn,
        runtime.block_on,
        handle.spawn,
        handle.submit,
    ):
        refused(TypeError, call, value, name="function", value=value)
    refused(TypeError, greenpool.spawn_later, 1, value, name="function", value=value)
    refused(TypeError, greenpool.with_timeout, 1, value, name="function", value=value)
    refused(TypeError, handle.spawn_on, 0, value, name="function", value=value)


@pytest.mark.parametrize("value", [5, "text", ()], ids=repr)
def test_what_is_no_run_function(value: Any) -> None:
    refused(TypeError, Greenlet, value, name="run", value=value)
    refused(TypeError, Greenlet.spawn, value, name="run", value=value)
    refused(TypeError, Greenlet.spawn_later, 1, value, name="run", value=value)


def test_context() -> None:
    refused(TypeError, greenpool.spawn, int, context=5, name="context", value=5)
    refused(TypeError, Greenlet, int, context={}, name="context", value={})
    assert greenpool.spawn(int, context=None).get() == 0


@pytest.mark.parametrize("value", [None, 5, "text"], ids=repr)
@pytest.mark.parametrize("method", ["link", "link_value", "link_exception", "rawlink"])
def test_links(method: str, value: Any) -> None:
    refused(TypeError, getattr(Greenlet(), method), value, name="callback", value=value)


@pytest.mark.parametrize(
    ("index", "kind"),
    [(2, ValueError), (-1, ValueError), ("0", TypeError), (True, TypeError), (None, TypeError)],
)
def test_index_of_a_hub(runtime: Runtime, index: Any, kind: type[Exception]) -> None:
    refused(kind, runtime.handle().spawn_on, index, int, name="index", value=index)


@pytest.mark.parametrize("value", [5, None, int], ids=repr)
def test_spawn_all_of_what_cannot_be_iterated(runtime: Runtime, value: Any) -> None:
    refused(TypeError, runtime.spawn_all, value, name="iterable", value=value)
    refused(TypeError, runtime.handle().spawn_all, value, name="iterable", value=value)


BAD_SECONDS = [
    (-1, ValueError),
    (-0.001, ValueError),
    (-math.inf, ValueError),
    (math.nan, ValueError),
    ("1", TypeError),
    (True, TypeError),
    ([], TypeError),
]


@pytest.mark.parametrize(("value", "kind"), BAD_SECONDS, ids=repr)
def test_timeouts(parked: Greenlet, value: Any, kind: type[Exception]) -> None:
    ended = greenpool.spawn(int)
    ended.join()
    for greenlet in (parked, ended):
        refused(kind, greenlet.get, timeout=value, name="timeout", value=value)
        refused(kind, greenlet.join, timeout=value, name="timeout", value=value)
        refused(kind, greenlet.kill, timeout=value, name="timeout", value=value)
        refused(kind, greenpool.joinall, [greenlet], timeout=value, name="timeout", value=value)
        refused(kind, greenpool.killall, [greenlet], timeout=value, name="timeout", value=value)
        refused(kind, greenpool.wait, [greenlet], timeout=value, name="timeout", value=value)
        refused(kind, greenpool.iwait, [greenlet], timeout=value, name="timeout", value=value)
    refused(kind, greenpool.wait, timeout=value, name="timeout", value=value)
    # None of these calls has done anything.
    assert not parked.dead


@pytest.mark.parametrize(("value", "kind"), BAD_SECONDS, ids=repr)
def test_seconds(value: Any, kind: type[Exception]) -> None:
    refused(kind, Timeout, value, name="seconds", value=value)
    refused(kind, Timeout.start_new, value, name="seconds", value=value)
    refused(kind, greenpool.with_timeout, value, int, name="seconds", value=value)
    refused(kind, greenpool.sleep, value, name="seconds", value=value)
    refused(kind, greenpool.spawn_later, value, int, name="seconds", value=value)
    refused(kind, Greenlet.spawn_later, value, int, name="seconds", value=value)
    refused(kind, Greenlet(int).start_later, value, name="seconds", value=value)


def test_none_where_it_cannot_mean_for_ever() -> None:
    refused(TypeError, greenpool.sleep, None, name="seconds", value=None)
    refused(TypeError, greenpool.spawn_later, None, int, name="seconds", value=None)


@pytest.mark.parametrize("value", [5, int, object()], ids=["5", "int", "object"])
def test_exceptions(value: Any) -> None:
    refused(TypeError, Timeout, 1, value, name="exception", value=value)


@pytest.mark.parametrize(
    ("value", "kind"), [(-1, ValueError), ("1", TypeError), (True, TypeError), (1.0, TypeError)]
)
def test_counts(parked: Greenlet, value: Any, kind: type[Exception]) -> None:
    for call in (greenpool.iwait, greenpool.wait, greenpool.joinall):
        refused(kind, call, [parked], count=value, name="count", value=value)


@pytest.mark.parametrize("value", [None, 5, "text"], ids=repr)
def test_what_cannot_be_waited_for(value: Any) -> None:
    for call in (greenpool.iwait, greenpool.wait, greenpool.joinall):
        refused(TypeError, call, [value], name="objects", value=value)


def test_closed_socket() -> None:
    left, right = socket.socketpair()
    right.close()
    left.close()
    for call in (
        lambda: left.recv(1),
        lambda: left.recv_into(bytearray(1)),
        lambda: left.recvfrom(1),
        lambda: left.send(b"x"),
        lambda: left.sendall(b"x"),
        lambda: left.connect("/nowhere"),
        lambda: left.shutdown(socket.SHUT_WR),
        lambda: left.listen(),
        lambda: left.accept(),
    ):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()
    for wait in (socket.wait_read, socket.wait_write):
        with pytest.raises((OSError, ValueError)):
            wait(left)
