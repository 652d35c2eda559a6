"""contextvars: what a greenlet sees of its spawner's context, and what it leaves behind there."""

from __future__ import annotations

import contextvars
import gc
import random
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

import greenpool
from greenpool._core.current import getcurrent
from greenpool.aio import run_coroutine
from greenpool.event import AsyncResult
from greenpool.threadpool import ThreadPool, ThreadPoolExecutor, blocking

variable: ContextVar[str] = ContextVar("variable", default="nothing")


@pytest.fixture(autouse=True)
def on_a_hub() -> None:
    greenpool.get_hub()


@pytest.fixture
def runtime() -> Iterator[greenpool.Runtime]:
    with greenpool.Runtime(pool_size=4) as runtime:
        yield runtime


def use() -> str:
    """Return the value in the caller's context, after changing it."""
    before = variable.get()
    variable.set("changed")
    greenpool.sleep(0)
    assert variable.get() == "changed"
    return before


def test_a_greenlet_has_a_copy_of_its_spawners_context() -> None:
    variable.set("spawner's")
    greenlets = [greenpool.spawn(use) for _ in range(3)]
    variable.set("spawner's, later")
    assert [one.get() for one in greenlets] == ["spawner's"] * 3
    assert variable.get() == "spawner's, later"


def test_across_hubs_and_generations(runtime: greenpool.Runtime) -> None:
    def generation(number: int) -> list[str]:
        seen = [variable.get()]
        if number:
            variable.set(f"{seen[0]}.{number}")
            seen += runtime.spawn(generation, number - 1).get()
            assert variable.get() == f"{seen[0]}.{number}"
        return seen

    variable.set("root")
    assert runtime.spawn(generation, 3).get() == ["root", "root.3", "root.3.2", "root.3.2.1"]


def test_when_it_is_spawned_counts_not_when_it_starts() -> None:
    variable.set("then")
    greenlet = greenpool.spawn_later(0.001, use)
    variable.set("now")
    assert greenlet.get() == "then"


def test_context_overrides(runtime: greenpool.Runtime) -> None:
    variable.set("spawner's")
    context = contextvars.Context()
    assert greenpool.spawn(use, context=context).get() == "nothing"
    assert context[variable] == "changed"
    assert greenpool.spawn(use, context=context).get() == "changed"
    assert runtime.spawn(use, context=contextvars.Context()).get() == "nothing"


@pytest.mark.parametrize("kind", ["blocking", "apply", "spawn", "submit", "coroutine"])
def test_through_other_threads(kind: str, runtime: greenpool.Runtime) -> None:
    pool, executor = ThreadPool(1), ThreadPoolExecutor(1)

    async def coroutine() -> str:
        return use()

    def call() -> str:
        if kind == "blocking":
            return blocking(use)
        if kind == "apply":
            return pool.apply(use)
        if kind == "spawn":
            return str(pool.spawn(use).get())
        if kind == "submit":
            return executor.submit(use).result()
        return run_coroutine(coroutine())

    def handler(number: int) -> bool:
        variable.set(f"handler {number}")
        seen = [call() for _ in range(3)]
        return seen == [variable.get()] * 3 == [f"handler {number}"] * 3

    greenlets = [runtime.spawn(handler, number) for number in range(10)]
    assert all(one.get() for one in greenlets)
    executor.shutdown()


def test_a_link_does_not_see_what_the_greenlet_set() -> None:
    seen: AsyncResult[str] = AsyncResult()

    def run() -> None:
        variable.set("greenlet's")

    greenlet = greenpool.spawn(run)
    greenlet.link(lambda _: seen.set(variable.get()))
    assert seen.get() != "greenlet's"


# One request after another on the same carrier.


def test_the_next_task_on_a_carrier_sees_nothing_of_the_one_before() -> None:
    empty = contextvars.Context()

    def leave_something() -> object:
        variable.set("left behind")
        return getcurrent()

    def look() -> tuple[object, str]:
        return getcurrent(), variable.get()

    carrier = greenpool.spawn(leave_something, context=contextvars.Context()).get()
    assert greenpool.spawn(look, context=empty).get() == (carrier, "nothing")


def test_what_a_task_left_in_its_context_dies_with_it() -> None:
    class Canary:
        """An object whose death the test can see."""

    canary: ContextVar[Canary] = ContextVar("canary")

    def leave_something() -> weakref.ref[Canary]:
        canary.set(Canary())
        return weakref.ref(canary.get())

    reference = greenpool.spawn(leave_something).get()
    gc.collect()
    assert reference() is None


# structlog does it this way: one variable for each key that was ever bound.

_bound: dict[str, ContextVar[Any]] = {}


def bind(**values: object) -> dict[str, contextvars.Token[Any]]:
    tokens = {}
    for key, value in values.items():
        bound = _bound.setdefault(key, ContextVar(f"log_{key}", default=...))
        tokens[key] = bound.set(value)
    return tokens


def unbind(*keys: str) -> None:
    for key in keys:
        _bound[key].set(...)


def merge(**event: object) -> dict[str, Any]:
    """Return what a log line would show."""
    context = {key: bound.get() for key, bound in list(_bound.items()) if bound.get() is not ...}
    return {**context, **event}


def test_values_bound_in_request_handlers(runtime: greenpool.Runtime) -> None:
    numbers = random.Random(0)
    bind(app="test")

    def query(number: int) -> dict[str, Any]:
        tokens = bind(query=number)
        greenpool.sleep(numbers.random() / 1000)
        line = merge()
        _bound["query"].reset(tokens["query"])
        return line

    def handle(request: int) -> list[dict[str, Any]]:
        lines = [merge()]
        bind(request=request)
        lines.append(query(1))
        lines.append(greenpool.spawn(query, 2).get())
        lines.append(blocking(merge))
        unbind("request")
        lines.append(merge())
        return lines

    greenlets = [runtime.spawn(handle, request) for request in range(100)]
    for request, greenlet in enumerate(greenlets):
        app = {"app": "test"}
        bound = {"app": "test", "request": request}
        assert greenlet.get() == [app, {**bound, "query": 1}, {**bound, "query": 2}, bound, app]
    assert merge() == {"app": "test"}
    unbind("app")


# OpenTelemetry does it this way: a token attaches and detaches the current span.


class Span:
    def __init__(self, name: str, parent: Span | None) -> None:
        self.name = name
        self.parent = parent

    def path(self) -> str:
        return self.name if self.parent is None else f"{self.parent.path()}/{self.name}"


_current: ContextVar[Span | None] = ContextVar("current_span", default=None)


@contextmanager
def span(name: str) -> Iterator[Span]:
    started = Span(name, _current.get())
    token = _current.set(started)
    try:
        yield started
    finally:
        # This raises ValueError in any context other than the one in which the token was made.
        _current.reset(token)


def test_spans_are_parents_across_spawns(runtime: greenpool.Runtime) -> None:
    def leaf(name: str) -> str:
        with span(name) as leaf_span:
            greenpool.sleep(0)
            return leaf_span.path()

    def serve(number: int) -> list[str]:
        with span(f"request {number}"):
            near = greenpool.spawn(leaf, "near")
            far = runtime.spawn(leaf, "far")
            with span("inside"):
                paths = [leaf("here"), blocking(leaf, "blocking")]
            paths += [near.get(), far.get()]
            current = _current.get()
            assert current is not None and current.path() == f"server/request {number}"
        return paths

    with span("server"):
        greenlets = [runtime.spawn(serve, number) for number in range(50)]
    assert _current.get() is None
    for number, greenlet in enumerate(greenlets):
        request = f"server/request {number}"
        assert greenlet.get() == [
            f"{request}/inside/here",
            f"{request}/inside/blocking",
            f"{request}/near",
            f"{request}/far",
        ]


def test_spans_end_when_their_greenlet_is_killed() -> None:
    ended: list[str] = []

    def run() -> None:
        try:
            with span("killed"):
                greenpool.sleep(600)
        finally:
            ended.append(str(_current.get()))

    with span("outer") as outer:
        greenlet = greenpool.spawn(run)
        greenpool.sleep(0)
        greenlet.kill()
        assert ended == [str(outer)]
