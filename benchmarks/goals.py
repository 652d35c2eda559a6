"""The ratios that greenpool is to reach, and which of them a run met."""

from dataclasses import dataclass

from benchmarks.everyday.patching import NATIVE
from benchmarks.results import Results

PURE = "greenpool (pure)"
FAST = "greenpool"
PURE_FREE = "greenpool (pure, free-threaded)"
FAST_FREE = "greenpool (free-threaded)"
GEVENT_FREE = "gevent (free-threaded)"


@dataclass(frozen=True)
class Goal:
    """A bound for the median of ``of`` over the median of ``to``."""

    measurement: str
    metric: str
    of: str
    to: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def asked(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:g}x"
        return f"at most {self.at_most:g}x"

    def ratio(self, results: Results) -> float | None:
        return results.ratio(self.measurement, self.of, self.to, self.metric)

    def is_met(self, ratio: float) -> bool:
        if self.at_least is not None:
            return ratio >= self.at_least
        return self.at_most is not None and ratio <= self.at_most


def rate(measurement: str, of: str, to: str, at_least: float) -> Goal:
    return Goal(measurement, "rate", of, to, at_least=at_least)


def value(measurement: str, of: str, to: str, at_least: float) -> Goal:
    return Goal(measurement, "value", of, to, at_least=at_least)


def small(measurement: str, of: str, to: str, at_most: float) -> Goal:
    return Goal(measurement, "value", of, to, at_most=at_most)


def everyday(name: str, at_least: float, row: str = "") -> Goal:
    return value(f"everyday-{name}", FAST + row, f"gevent{row}", at_least)


def cpu(server: str, to: str, at_most: float) -> Goal:
    return Goal(f"everyday-server-{server}", "cpu_us", FAST, to, at_most=at_most)


def fair(hubs: int, kind: str = "greenpool", measurement: str = "everyday-hubs") -> tuple[Goal, Goal]:
    of, to = f"{kind}, {hubs} hubs", "greenpool, 1 hub"
    return (rate(measurement, of, to, 0.97), Goal(measurement, "new_p95_us", of, to, at_most=1.5))


PURE_PYTHON = (
    rate("echo-100-64B", PURE, "gevent", 1.5),
    rate("echo-100-64B", PURE, "epoll loop", 0.8),
    rate("echo-1000-64B", PURE, "gevent", 1.7),
    rate("echo-10000-64B", PURE, "gevent", 1.7),
    value("spawn-join", PURE, "gevent", 8),
    value("switch", PURE, "gevent", 1.5),
    small("parked-memory", PURE, "gevent", 0.65),
    value("hubs-ping-pong", f"{PURE_FREE}, 2 hubs", f"{PURE_FREE}, 1 hub", 1.85),
    value("queue-ping-pong", PURE, "gevent", 1.5),
    value("queue-ping-pong", PURE, "asyncio", 2),
    value("queue-no-wait", PURE, "gevent", 0.5),
    value("queue-no-wait", PURE, "asyncio", 2),
    value("semaphore", PURE, "gevent", 0.5),
    value("semaphore", PURE, "asyncio", 1.5),
    value("events", PURE, "gevent", 2),
    value("timers", PURE, "gevent", 2),
    value("remote-spawn", PURE, "gevent", 2),
    value("remote-spawn", PURE, "asyncio", 4),
    small("cross-hub", PURE, "threads", 1),
)

WITH_SPEEDUPS = (
    rate("echo-100-64B", FAST, "gevent", 1.9),
    rate("echo-100-64B", FAST, "uvloop, streams", 1.3),
    rate("echo-100-64B", FAST, "uvloop, Protocol", 0.95),
    rate("echo-100-64B", FAST, "epoll loop", 0.92),
    Goal("echo-1000-64B", "p99_us", FAST, "gevent", at_most=0.6),
    value("hubs-ping-pong", f"{FAST}, 2 hubs", f"{FAST}, 1 hub", 0.97),
    value("hubs-ping-pong", f"{FAST}, 4 hubs", f"{FAST}, 1 hub", 0.97),
    rate("echo-hubs", f"{FAST}, 2 hubs", f"{FAST}, 1 hub", 0.95),
    rate("echo-hubs", f"{FAST}, 4 hubs", f"{FAST}, 1 hub", 0.95),
    value("hubs-ping-pong", f"{FAST_FREE}, 2 hubs", f"{FAST_FREE}, 1 hub", 1.9),
    value("hubs-ping-pong", f"{FAST_FREE}, 2 hubs", f"{GEVENT_FREE}, 2 hubs", 1.5),
    value("spawn-join", FAST, "gevent", 12),
    value("spawn-join", FAST, "asyncio", 4),
    value("queue-no-wait", FAST, "gevent", 1),
    value("semaphore", FAST, "gevent", 1),
    small("parked-memory", FAST, "gevent", 0.6),
    small("idle-connection-memory", FAST, "gevent", 0.7),
    small("import-time", FAST, "gevent", 0.7),
)

EVERYDAY = (
    everyday("lock", 1.2),
    everyday("rlock", 1.2),
    everyday("rlock-nested", 1.2),
    everyday("semaphore", 1.5),
    everyday("condition", 1.2),
    everyday("event", 1),
    everyday("local", 1),
    everyday("get-ident", 1),
    everyday("current-thread", 1),
    everyday("queue-bounded", 1),
    everyday("queue-unbounded", 1),
    everyday("queue-no-wait", 1),
    everyday("logging", 1.1),
    everyday("simple-queue", 1.6),
    everyday("thread", 1.6),
    everyday("executor", 1.6),
    everyday("socketpair", 1.6),
    everyday("semaphore", 1.2, NATIVE),
    everyday("queue-bounded", 1, NATIVE),
    cpu("tls", "gevent", 0.4),
    cpu("tls", "uvloop, streams", 1.05),
    cpu("tls-handshake", "gevent", 0.97),
    cpu("connect", "gevent", 0.55),
    cpu("readline", "gevent", 0.6),
    cpu("http", "gevent", 0.7),
    *fair(2),
    *fair(4),
    *fair(2, "greenpool pinned"),
    *fair(4, "greenpool pinned"),
    *fair(2, measurement="everyday-hubs-one-core"),
    *fair(4, measurement="everyday-hubs-one-core"),
    value("hubs-ping-pong", "greenpool pinned, 2 hubs", "greenpool, 1 hub", 0.97),
    value("hubs-ping-pong", "greenpool pinned, 4 hubs", "greenpool, 1 hub", 0.97),
    small("burst-memory", FAST, PURE, 0.1),
    rate("echo-1000-64KiB", FAST, "epoll loop", 0.95),
)

GOALS = PURE_PYTHON + WITH_SPEEDUPS + EVERYDAY
