"""greenpool.metrics: the numbers of each hub, for Prometheus and OpenTelemetry."""

from __future__ import annotations

import math
import threading

import pytest

import greenpool
from greenpool import Runtime, socket
from greenpool.event import Event
from greenpool.metrics import Histogram, HubMetrics, PrometheusCollector, collect, instrument

pytestmark = pytest.mark.usefixtures("leak_check")


def metrics_of(name: str) -> HubMetrics:
    (found,) = (each for each in collect() if each.hub == name)
    return found


def own_metrics() -> HubMetrics:
    return metrics_of(greenpool.get_hub().name)


def count_of(histogram: Histogram) -> int:
    return histogram.buckets[-1][1]


def test_greenlets_are_counted() -> None:
    event = Event()
    before = own_metrics()
    greenlets = [greenpool.spawn(event.wait) for _ in range(5)]
    waiting = own_metrics()
    greenpool.sleep(0.001)
    parked = own_metrics()
    event.set()
    greenpool.joinall(greenlets)
    after = own_metrics()
    assert waiting.live - before.live == 5
    assert waiting.ready - before.ready == 5
    assert parked.parked - before.parked == 5
    assert (after.live, after.parked) == (before.live, before.parked)
    assert after.spawned - before.spawned == 5
    assert after.passes > before.passes


@pytest.mark.parametrize("keywords", [{}, {"base": 10}])
def test_each_spawn_counts_once(keywords: dict[str, int]) -> None:
    before = own_metrics()
    greenpool.spawn(int, "1", **keywords).join()
    greenpool.spawn_later(0.001, int).join()
    assert own_metrics().spawned - before.spawned == 2
    with Runtime(pool_size=1, name_prefix="counted-") as runtime:
        for greenlet in [runtime.spawn(int) for _ in range(3)]:
            greenlet.join()
        assert metrics_of("counted-1").spawned == 3


def test_wakes_by_other_threads_are_counted() -> None:
    event = Event()
    before = own_metrics()
    thread = threading.Thread(target=lambda: greenpool.sleep(0.05) or event.set())
    thread.start()
    event.wait()
    thread.join()
    assert own_metrics().remote_wakes - before.remote_wakes >= 1


def test_polls_and_turns_are_measured() -> None:
    collect()
    greenpool.sleep(0.001)
    before = own_metrics()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        greenpool.spawn_later(0.05, theirs.send, b"x")
        ours.recv(1)
    after = own_metrics()
    assert count_of(after.polls) > count_of(before.polls)
    assert count_of(after.turns) > count_of(before.turns)
    # It slept, and did little else.
    assert after.polls.total - before.polls.total > 0.04
    assert after.polls.total >= 0
    counts = [count for _, count in after.polls.buckets]
    assert counts == sorted(counts)
    assert after.polls.buckets[-1][0] == math.inf


def test_level_triggered_pollers_are_measured_too() -> None:
    from greenpool._core.pollers.selector import SelectorPoller

    with Runtime(pool_size=1, name_prefix="levels-", poller=SelectorPoller) as runtime:
        collect()
        runtime.spawn(greenpool.sleep, 0.01).join()

        def talk() -> bytes:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                greenpool.spawn_later(0.01, theirs.send, b"x")
                return ours.recv(1)

        assert runtime.spawn(talk).get() == b"x"
        assert count_of(metrics_of("levels-1").polls) > 0


def test_hubs_of_one_name_are_added_up() -> None:
    with Runtime(pool_size=1, name_prefix="twice-") as one, Runtime(pool_size=1, name_prefix="twice-") as two:
        event = Event()
        for runtime in (one, two):
            runtime.spawn(event.wait)
        while metrics_of("twice-1").live != 2:
            greenpool.sleep(0.001)
        event.set()


def test_prometheus() -> None:
    prometheus = pytest.importorskip("prometheus_client")
    registry = prometheus.CollectorRegistry()
    PrometheusCollector().register(registry)
    greenpool.spawn(int).join()
    text = prometheus.generate_latest(registry).decode()
    name = greenpool.get_hub().name
    value = registry.get_sample_value("greenpool_hub_spawned_total", {"hub": name})
    assert value == own_metrics().spawned
    assert registry.get_sample_value("greenpool_hub_live", {"hub": name}) is not None
    assert f'greenpool_hub_poll_seconds_bucket{{hub="{name}",le="+Inf"}}' in text
    assert f'greenpool_hub_turn_seconds_count{{hub="{name}"}}' in text


def test_opentelemetry() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider(metric_readers=[reader])
    instrument(provider.get_meter("test"))
    greenpool.spawn(int).join()
    found = {
        (metric.name, point.attributes["hub"], point.attributes.get("le")): point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    provider.shutdown()
    name = greenpool.get_hub().name
    assert found["greenpool.hub.spawned", name, None] == own_metrics().spawned
    assert found["greenpool.hub.poll.bucket", name, "+Inf"] >= 0
    assert found["greenpool.hub.turn.time", name, None] >= 0
