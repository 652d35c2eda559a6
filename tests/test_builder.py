"""The settings of a pool, made with Builder or given as keywords to Runtime."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import greenpool
from greenpool import Builder, Runtime
from greenpool.event import Event

pytestmark = pytest.mark.usefixtures("leak_check")

Make = Callable[..., Runtime]


def by_builder(**settings: Any) -> Runtime:
    builder = Builder()
    for name, value in settings.items():
        assert getattr(builder, name)(value) is builder
    return builder.build()


@pytest.fixture(params=[by_builder, Runtime], ids=["Builder", "Runtime"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


def names_of(runtime: Runtime) -> list[str]:
    handle = runtime.handle()
    return [
        handle.spawn_on(index, lambda: threading.current_thread().name).get()
        for index in range(runtime.pool_size)
    ]


def test_defaults(make: Make) -> None:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with make() as runtime:
        assert runtime.pool_size == usable
        assert names_of(runtime)[0] == "greenpool-1"


def test_pool_size(make: Make) -> None:
    for pool_size in (1, 5):
        with make(pool_size=pool_size) as runtime:
            assert runtime.pool_size == runtime.handle().pool_size == pool_size
            idents = {
                runtime.handle().spawn_on(index, threading.get_ident).get() for index in range(pool_size)
            }
            assert len(idents) == pool_size
            assert threading.get_ident() not in idents


def test_threads_and_hubs_are_named(make: Make) -> None:
    with make(pool_size=3, name_prefix="s") as runtime:
        assert names_of(runtime) == ["s1", "s2", "s3"]
        assert runtime.handle().spawn_on(1, lambda: greenpool.get_hub().name).get() == "s2"


def test_hooks_run_on_every_hub_thread_first_and_last(make: Make) -> None:
    lock = threading.Lock()
    happened: dict[str, list[str]] = {}

    def note(what: str) -> None:
        # A hook is a greenlet and may wait.
        greenpool.sleep(0)
        with lock:
            happened.setdefault(threading.current_thread().name, []).append(what)

    with make(
        pool_size=3,
        name_prefix="hook-",
        after_start=lambda: note("after_start"),
        before_stop=lambda: note("before_stop"),
    ) as runtime:
        # build() returns only after all of them ran.
        assert happened == {f"hook-{number}": ["after_start"] for number in (1, 2, 3)}
        for _ in range(3):
            runtime.spawn(note, "work")
    assert happened == {f"hook-{number}": ["after_start", "work", "before_stop"] for number in (1, 2, 3)}


def test_before_stop_runs_after_the_finally_blocks_of_those_ended(make: Make) -> None:
    happened: list[str] = []

    def worker() -> None:
        parked.set()
        try:
            Event().wait()
        finally:
            greenpool.sleep(0.001)
            happened.append("finally")

    parked = threading.Event()
    runtime = make(pool_size=1, before_stop=lambda: happened.append("before_stop"))
    runtime.spawn(worker)
    parked.wait()
    runtime.shutdown()
    assert happened == ["finally", "before_stop"]


def test_after_start_does_not_use_up_turns(make: Make) -> None:
    with make(pool_size=3, after_start=lambda: None) as runtime:
        assert runtime.spawn(lambda: greenpool.get_hub().index).get() == 0


@pytest.mark.parametrize("kind", [LookupError, SystemExit, KeyboardInterrupt])
def test_exception_in_after_start_comes_out_with_every_thread_ended(
    make: Make, kind: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    def after_start() -> None:
        if threading.current_thread().name == "failing-3":
            raise kind("after_start of the third")

    with pytest.raises(kind, match="after_start of the third"):
        make(pool_size=4, name_prefix="failing-", after_start=after_start)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("failing-")]
    # make() raised it, so it is not reported as well.
    assert capfd.readouterr().err == ""


def test_exception_in_before_stop_is_reported_and_the_thread_ends(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def before_stop() -> None:
        raise LookupError("before_stop failed")

    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())
    make(pool_size=2, name_prefix="stopping-", before_stop=before_stop).shutdown()
    for name in ("stopping-1", "stopping-2"):
        assert name in stderr.getvalue()
    assert stderr.getvalue().count("LookupError: before_stop failed") == 2


def test_builder_builds_more_than_once() -> None:
    builder = Builder().pool_size(2).name_prefix("twice-")
    with builder.build() as one, builder.build() as two:
        assert one is not two
        assert one.pool_size == two.pool_size == 2
        assert one.spawn(int).get() == two.spawn(int).get() == 0
