"""Metrics of the hubs: loads, counts and times, for Prometheus, OpenTelemetry or a program's own use.

::

    from prometheus_client import start_http_server
    from greenpool.metrics import PrometheusCollector

    PrometheusCollector().register()
    start_http_server(9000)

Nothing costs anything before the first collection.  From then on each hub looks at the clock twice in each
poll.

*Threads*: any thread may collect.  The numbers of one hub may be of slightly different moments.
"""

from __future__ import annotations

from collections.abc import Callable as _Callable
from collections.abc import Iterable as _Iterable
from collections.abc import Iterator as _Iterator
from importlib import import_module as _import_module
from itertools import accumulate as _accumulate
from typing import Any as _Any
from typing import NamedTuple as _NamedTuple

from ._core.current import open_hubs as _open_hubs
from ._core.turn_times import BOUNDS as _BOUNDS
from ._core.turn_times import Durations as _Durations
from ._core.turn_times import durations_of as _durations_of
from ._core.turn_times import measure_all as _measure_all

__all__ = ["Histogram", "HubMetrics", "PrometheusCollector", "collect", "instrument"]


class Histogram(_NamedTuple):
    """Durations in seconds."""

    buckets: tuple[tuple[float, int], ...]
    """Upper bounds, and how many durations are at most as long; the last bound is infinite."""
    total: float
    """The sum of all durations."""


class HubMetrics(_NamedTuple):
    """What is counted of one hub, or of all hubs of one name together."""

    hub: str
    live: int
    """Greenlets that have not ended."""
    ready: int
    """Greenlets that can go on or start."""
    parked: int
    """Greenlets that wait, as far as the numbers of one moment tell."""
    timers: int
    descriptors: int
    """Descriptors that its poller watches."""
    passes: int
    """Rounds of its loop, since it has begun; the next two are of the same time."""
    spawned: int
    """Greenlets that it has accepted."""
    remote_wakes: int
    """Greenlets that other threads have woken."""
    polls: Histogram
    """How long its polls last.  Both histograms begin with the first collection that has seen the hub."""
    turns: Histogram
    """How long it runs greenlets between two polls."""


# Numbers of a hub, each with the attributes that it has besides the hub's name.
_Values = _Callable[[HubMetrics], _Iterable[tuple[float, dict[str, str]]]]


def collect() -> list[HubMetrics]:
    """The metrics of all hubs that have not ended; any thread.

    The times of hubs that are new are measured from now on.
    """
    _measure_all()
    found: dict[str, HubMetrics] = {}
    for hub in _open_hubs():
        counts = hub.statistics()
        polls, turns = _durations_of(hub) or (_Durations(), _Durations())
        # The loop's mark stands in the ready queue of a hub that is awake.
        live, ready = counts["live"], max(0, counts["ready"] - hub.is_awake())
        metrics = HubMetrics(
            hub.name,
            live,
            ready,
            max(0, live - ready),
            counts["timers"],
            counts["descriptors"],
            counts["passes"],
            counts["spawned"],
            counts["remote_wakes"],
            _histogram(polls),
            _histogram(turns),
        )
        other = found.get(hub.name)
        found[hub.name] = metrics if other is None else _add(other, metrics)
    return list(found.values())


def _histogram(durations: _Durations) -> Histogram:
    bounds = (*_BOUNDS, float("inf"))
    return Histogram(tuple(zip(bounds, _accumulate(durations.counts), strict=True)), durations.total)


def _add(one: HubMetrics, other: HubMetrics) -> HubMetrics:
    """Two hubs of one name, such as the first ones of two pools: a label must be unique."""
    names = [name for name, _ in (*_GAUGES, *_COUNTERS)]
    numbers = {name: getattr(one, name) + getattr(other, name) for name in names}
    polls, turns = _add_up(one.polls, other.polls), _add_up(one.turns, other.turns)
    return one._replace(**numbers, polls=polls, turns=turns)


def _add_up(one: Histogram, other: Histogram) -> Histogram:
    buckets = tuple(
        (bound, count + more) for (bound, count), (_, more) in zip(one.buckets, other.buckets, strict=True)
    )
    return Histogram(buckets, one.total + other.total)


# Field, unit and text.
_GAUGES = (
    ("live", "Greenlets that have not ended"),
    ("ready", "Greenlets that can go on or start"),
    ("parked", "Greenlets that wait"),
    ("timers", "Timers that are pending"),
    ("descriptors", "Descriptors that the poller watches"),
)
_COUNTERS = (
    ("passes", "Rounds of the loop"),
    ("spawned", "Greenlets that the hub has accepted"),
    ("remote_wakes", "Greenlets that other threads have woken"),
)
_HISTOGRAMS = (
    ("polls", "greenpool_hub_poll_seconds", "How long a poll lasts"),
    ("turns", "greenpool_hub_turn_seconds", "How long a hub runs greenlets between two polls"),
)


class PrometheusCollector:
    """A collector for ``prometheus_client``, which the extra ``greenpool[metrics]`` brings.

    Its metrics are ``greenpool_hub_live``, ``_ready``, ``_parked``, ``_timers`` and ``_descriptors``, the
    counters ``_passes_total``, ``_spawned_total`` and ``_remote_wakes_total``, and the histograms
    ``_poll_seconds`` and ``_turn_seconds``, each with the label ``hub``.
    """

    def register(self, registry: _Any = None) -> None:
        """Register with *registry*, by default with that of ``prometheus_client``."""
        if registry is None:
            registry = _import_module("prometheus_client").REGISTRY
        registry.register(self)

    def collect(self) -> _Iterator[_Any]:
        """The families of metrics, as ``prometheus_client`` asks for them; any thread."""
        core: _Any = _import_module("prometheus_client.core")
        hubs = collect()
        for name, text in _GAUGES:
            gauge = core.GaugeMetricFamily(f"greenpool_hub_{name}", text, labels=["hub"])
            for hub in hubs:
                gauge.add_metric([hub.hub], getattr(hub, name))
            yield gauge
        for name, text in _COUNTERS:
            counter = core.CounterMetricFamily(f"greenpool_hub_{name}", text, labels=["hub"])
            for hub in hubs:
                counter.add_metric([hub.hub], getattr(hub, name))
            yield counter
        for name, full_name, text in _HISTOGRAMS:
            family = core.HistogramMetricFamily(full_name, text, labels=["hub"])
            for hub in hubs:
                found: Histogram = getattr(hub, name)
                buckets = [(_bound(bound), count) for bound, count in found.buckets]
                family.add_metric([hub.hub], buckets, found.total)
            yield family


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)


def instrument(meter: _Any = None) -> None:
    """Create OpenTelemetry's observable instruments on *meter*, by default on that of the global provider.

    The extra ``greenpool[metrics]`` brings ``opentelemetry-api``.  The instruments are
    ``greenpool.hub.live``, ``.ready``, ``.parked``, ``.timers``, ``.descriptors``, ``.passes``, ``.spawned``
    and ``.remote_wakes``, each with the attribute ``hub``.  OpenTelemetry has no observable histogram.  So
    ``greenpool.hub.poll.bucket`` and ``greenpool.hub.turn.bucket`` are counters with the attribute ``le``, as
    in Prometheus, and ``.poll.time`` and ``.turn.time`` are the sums in seconds.
    """
    api: _Any = _import_module("opentelemetry.metrics")
    if meter is None:
        meter = api.get_meter("greenpool")

    def observe(values: _Values) -> list[_Callable[[object], _Iterator[_Any]]]:
        def callback(_options: object) -> _Iterator[_Any]:
            for hub in collect():
                for value, attributes in values(hub):
                    yield api.Observation(value, {"hub": hub.hub} | attributes)

        return [callback]

    def field(name: str) -> _Values:
        return lambda hub: [(getattr(hub, name), {})]

    def buckets(name: str) -> _Values:
        return lambda hub: [(count, {"le": _bound(bound)}) for bound, count in getattr(hub, name).buckets]

    def total(name: str) -> _Values:
        return lambda hub: [(getattr(hub, name).total, {})]

    for name, text in _GAUGES:
        meter.create_observable_gauge(f"greenpool.hub.{name}", observe(field(name)), description=text)
    for name, text in _COUNTERS:
        meter.create_observable_counter(f"greenpool.hub.{name}", observe(field(name)), description=text)
    for name, _, text in _HISTOGRAMS:
        prefix = f"greenpool.hub.{name[:-1]}"
        meter.create_observable_counter(f"{prefix}.bucket", observe(buckets(name)), description=text)
        meter.create_observable_counter(f"{prefix}.time", observe(total(name)), unit="s", description=text)
