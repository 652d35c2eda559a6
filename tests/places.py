"""The places where primitives are used: the same hub, another hub, a plain thread, a signal handler.

A test module makes the fixtures its own by assigning them: ``start = places.start``.
"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import greenpool
from greenpool import Runtime
from greenpool._core.inbox import Inbox
from greenpool._core.wakers import EventWaker, PipeWaker
from greenpool.event import AsyncResult

Start = Callable[..., "AsyncResult[Any]"]


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=4) as runtime:
        yield runtime


@pytest.fixture(params=["same hub", "other hub", "plain thread"])
def start(request: pytest.FixtureRequest, runtime: Runtime) -> Iterator[Start]:
    """Start a function beside the test, in one of the places where the primitives may be used."""
    threads = []

    def start(function: Callable[..., Any], *args: Any) -> AsyncResult[Any]:
        outcome: AsyncResult[Any] = AsyncResult()

        def run() -> None:
            try:
                outcome.set(function(*args))
            except BaseException as exception:
                outcome.set_exception(exception)

        if request.param == "same hub":
            greenpool.spawn(run)
        elif request.param == "other hub":
            runtime.handle().spawn_on(1, run)
        else:
            threads.append(threading.Thread(target=run))
            threads[-1].start()
        return outcome

    yield start
    for thread in threads:
        thread.join()


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record the posts to inboxes and the wakes by system calls, and deliver none of them."""
    posted: list[object] = []
    monkeypatch.setattr(Inbox, "post", lambda self, item: posted.append(item))
    for waker in (EventWaker, PipeWaker):
        monkeypatch.setattr(waker, "wake", posted.append)
    return posted


def until(condition: Callable[[], object]) -> None:
    while not condition():
        greenpool.sleep(0.0005)


@contextmanager
def alarms(handler: Callable[[], object]) -> Iterator[None]:
    """Call *handler* again and again, wherever the main thread then is, but never within itself."""
    over = False

    def handle(number: int, frame: object) -> None:
        handler()
        if not over:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def interrupt_everywhere(
    prepare: Callable[[], Any],
    operate: Callable[[Any], object],
    handle: Callable[[Any], object],
    check: Callable[[Any], object],
) -> None:
    """Run *operate* again and again, and call *handle* after a different call inside it each time.

    Python runs signal handlers at these points, too (and after jumps backwards).
    """
    for point in itertools.count():
        thing = prepare()
        passed = 0

        def hook(frame: object, event: str, argument: object, thing: Any = thing, point: int = point) -> None:
            nonlocal passed
            if event in ("call", "c_return"):
                passed += 1
                if passed == point + 1:
                    handle(thing)

        sys.setprofile(hook)
        try:
            operate(thing)
        finally:
            sys.setprofile(None)
        check(thing)
        if passed <= point:
            return
