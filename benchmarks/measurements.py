"""All measurements, and how to take one figure of one contender."""

import importlib
import pkgutil
import re
import resource
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from subprocess import CalledProcessError

import benchmarks.micro
from benchmarks.compiler import NoCompiler, compiled
from benchmarks.contenders import Contender, Entry, Selection
from benchmarks.everyday.patching import NATIVE
from benchmarks.everyday.subjects import everyday_subjects
from benchmarks.memory import resident_bytes
from benchmarks.micro.subject import Kind, Subject
from benchmarks.processes import Cores, Failed, run_json, run_text, running
from benchmarks.servers.everyday.certificate import certificate

Sample = dict[str, float]
"""One figure for each metric of a measurement."""

HOST = "127.0.0.1"
SIZES = {"64B": 64, "64KiB": 65536}
CONNECTIONS = (1, 100, 1000, 10_000)
HUBS = (1, 2, 4)
HTTP_CONNECTIONS = 100
EVERYDAY_CONNECTIONS = 100
BUSY_CONNECTIONS = 50
IN_QUICK = ("echo-100-64B", "echo-1000-64B", "echo-100-64KiB")

ECHO = (
    Entry("greenpool", "greenpool_echo"),
    Entry("gevent", "gevent_echo"),
    Entry("eventlet", "eventlet_echo"),
    Entry("asyncio, streams", "asyncio_streams_echo"),
    Entry("asyncio, Protocol", "asyncio_protocol_echo"),
    Entry("uvloop, streams", "uvloop_streams_echo"),
    Entry("uvloop, Protocol", "uvloop_protocol_echo"),
    Entry("trio", "trio_echo"),
    Entry("threads", "threads_echo"),
    Entry("epoll loop", "epoll_loop_echo"),
    Entry("C", ""),
)
CALLBACKS = tuple(
    Entry(f"{loop}, {kind}", "everyday") for loop in ("asyncio", "uvloop") for kind in ("streams", "Protocol")
)
STREAMS = CALLBACKS[::2]
BLOCKING = tuple(
    Entry(name, "everyday", free_threaded=True)
    for name in ("greenpool", "greenpool, native", "gevent", "gevent, native", "threads")
)
UNCHANGED = tuple(entry for entry in BLOCKING if not entry.name.endswith(NATIVE))
HTTP = tuple(Entry(name, f"{name}_http") for name in ("greenpool", "gevent", "asyncio", "uvloop"))


def hubs_name(library: str, hubs: int) -> str:
    return f"{library}, {hubs} hub{'s' if hubs > 1 else ''}"


ECHO_HUBS = tuple(
    Entry(hubs_name("greenpool", n), "greenpool_echo", (str(n),), over=hubs_name("greenpool", 1))
    for n in HUBS
)


HUBS_OF_A_SERVER = tuple(
    Entry(hubs_name(kind, n), "everyday", over=hubs_name(kind, 1), free_threaded=True)
    for kind in ("greenpool", "greenpool pinned")
    for n in HUBS
)


@dataclass(frozen=True)
class Metric:
    key: str
    title: str
    unit: str
    more_is_better: bool = True
    compared: bool = True
    """Whether the metric has a column of ratios."""


@dataclass(frozen=True)
class Measurement:
    """One table. The plot shows its first metric."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    contenders: list[Contender]
    measure: Callable[[Contender], Sample]
    everyday: bool = False
    """Whether ``--everyday`` runs the measurement, and a run without it does not."""

    @property
    def reference(self) -> str | None:
        """The row that the others are compared with: greenpool's first."""
        return next((c.name for c in self.contenders if c.library == "greenpool"), None)

    @property
    def over_hubs(self) -> bool:
        return any(c.over for c in self.contenders)


@dataclass(frozen=True)
class Settings:
    """The cores, and how long each step takes."""

    quick: bool
    cores: Cores

    @property
    def seconds(self) -> float:
        return 0.3 if self.quick else 2.0

    @property
    def warm_up(self) -> float:
        return 0.1 if self.quick else 0.5

    @property
    def micro_seconds(self) -> float:
        return 0.1 if self.quick else 1.0

    @property
    def idle_connections(self) -> int:
        return 1000 if self.quick else 5000


RATE = Metric("rate", "requests/s", "requests/s")
P50 = Metric("p50_us", "p50", "us", more_is_better=False, compared=False)
P99 = Metric("p99_us", "p99", "us", more_is_better=False)
PER_CPU = Metric("rate_per_cpu", "requests per CPU s", "requests/s")
LOAD_CPU = Metric("load_cpu", "load CPU", "share", compared=False)
SERVER_CPU = Metric("server_cpu", "server CPU", "share", compared=False)
CPU_EACH = Metric("cpu_us", "CPU per request", "us", more_is_better=False)
USER_EACH = Metric("user_us", "user", "us", more_is_better=False, compared=False)
NEW_P50 = Metric("new_p50_us", "p50 of a new connection", "us", more_is_better=False, compared=False)
NEW_P95 = Metric("new_p95_us", "p95 of a new connection", "us", more_is_better=False)
SYSTEM_EACH = Metric("system_us", "system", "us", more_is_better=False, compared=False)

LINE = "x" * 63 + "\n"
GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET_AND_CLOSE = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Served:
    """A program of ``servers/everyday``, and the requests that it gets."""

    title: str
    entries: Sequence[Entry]
    kept: bool = True
    """Whether one connection has many requests, or one."""
    tls: bool = False
    request: str = LINE
    end: str = "\n"
    """The last byte of a response, which is nowhere else in it."""


SERVED = {
    "tls": Served("TLS echo, 64 bytes", BLOCKING + CALLBACKS, tls=True),
    "tls-handshake": Served("TLS, a handshake per request", BLOCKING + CALLBACKS, kept=False, tls=True),
    "connect": Served("TCP, a connection per request", BLOCKING + CALLBACKS, kept=False),
    "readline": Served('Lines by makefile("rb").readline()', BLOCKING + STREAMS),
    "http": Served("http.server.ThreadingHTTPServer, unchanged", UNCHANGED, request=GET, end="!"),
}


def _server(contender: Contender) -> list[str]:
    if not contender.program:
        return [compiled("epoll_server")]
    module = f"benchmarks.servers.{contender.program}"
    return [contender.interpreter.path, "-m", module, *contender.arguments]


def echo(settings: Settings, connections: int, size: int, contender: Contender) -> Sample:
    """Run the load generator against one echo server."""
    # Ten thousand connections need several turns of all of them before the figure is steady.
    longer = max(1.0, connections / 4000)
    command = [compiled("load"), "echo", HOST]
    times = [str(settings.warm_up * longer), str(settings.seconds * longer)]
    with running(_server(contender), settings.cores.server, contender.environment) as (pid, port):
        command += [port, str(connections), str(size), *times, str(pid)]
        sample = run_json(command, settings.cores.load)
    if sample["server_cpu"]:
        sample["rate_per_cpu"] = sample["rate"] / sample["server_cpu"]
    return sample


WRK_TIME = re.compile(r"([\d.]+)(us|ms|s)$")
MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}


def http(settings: Settings, contender: Contender) -> Sample:
    """Run wrk against one HTTP server. wrk counts in whole seconds."""
    seconds = max(1, round(settings.seconds))
    command = ["wrk", "-t1", f"-c{HTTP_CONNECTIONS}", f"-d{seconds}s", "--latency"]
    with running(_server(contender), settings.cores.server, contender.environment) as (_, port):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        output = run_text([*command, f"http://{HOST}:{port}/"], settings.cores.load)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    sample = {"load_cpu": (sum(after[:2]) - sum(before[:2])) / seconds, "errors": 0.0}
    for line in output.splitlines():
        match line.split():
            case ["Requests/sec:", rate]:
                sample["rate"] = float(rate)
            case [("50%" | "99%") as percent, time] if found := WRK_TIME.match(time):
                key = f"p{percent[:2]}_us"
                sample[key] = float(found[1]) * MICROSECONDS[found[2]]
            case ["Non-2xx", *counts] | ["Socket", "errors:", *counts]:
                numbers = (word.strip(",") for word in counts)
                sample["errors"] += sum(int(number) for number in numbers if number.isdecimal())
    if "rate" not in sample:
        raise Failed("wrk printed no result")
    return sample


def served(settings: Settings, name: str, contender: Contender) -> Sample:
    """Measure the user and system time that one server spends on a request."""
    program = SERVED[name]
    command = [compiled("requests"), HOST]
    kinds = ["kept" if program.kept else "each", "tls" if program.tls else "plain"]
    server = [*_server(contender), name, contender.plain_name]
    with running(server, settings.cores.server, contender.environment) as (pid, port):
        command += [port, str(EVERYDAY_CONNECTIONS), *kinds, program.request, program.end]
        command += [str(settings.warm_up), str(settings.seconds), str(pid)]
        return run_json(command, settings.cores.load)


def served_by_hubs(settings: Settings, core: int | None, contender: Contender) -> Sample:
    """Measure a pool that runs an unchanged server: busy connections, and new ones one after another."""
    command = [compiled("requests"), HOST]
    server = [*_server(contender), "http", contender.plain_name]
    with running(server, core, contender.environment) as (pid, port):
        command += [port, str(BUSY_CONNECTIONS), "kept", "plain", GET, "!"]
        command += [str(settings.warm_up), str(settings.seconds), str(pid), GET_AND_CLOSE]
        return run_json(command, settings.cores.load)


def idle_memory(settings: Settings, contender: Contender) -> Sample:
    """Measure how much the server's resident memory grows per connection that is open and silent."""
    hold = [compiled("load"), "hold", HOST]
    count = settings.idle_connections
    with running(_server(contender), settings.cores.server, contender.environment) as (pid, port):
        with running([*hold, port, "50"], settings.cores.load, {}):
            before = resident_bytes(pid)
            with running([*hold, port, str(count)], settings.cores.load, {}):
                return {"value": (resident_bytes(pid) - before) / count}


def micro(settings: Settings, folder: str, name: str, subject: Subject, contender: Contender) -> Sample:
    """Run one subject in a process of its own."""
    module = [contender.interpreter.path, "-W", "ignore", "-m", f"benchmarks.{folder}", name]
    core = settings.cores.server if subject.one_core else None
    command = [*module, contender.program, str(settings.micro_seconds)]
    return run_json(command, core, contender.environment)


def _micro_metric(kind: Kind) -> Metric:
    return Metric("value", kind.value, kind.value, more_is_better=kind in (Kind.RATE, Kind.CPU_RATE))


def _micro_entries(subject: Subject) -> Iterator[Entry]:
    for name in subject.peers:
        over = f"{name.rpartition(', ')[0]}, 1 hub" if subject.over_hubs else None
        yield Entry(name, name, over=over, free_threaded=name in subject.free_threaded)


def subjects() -> dict[str, Subject]:
    """Return the SUBJECT of each file of ``micro/`` that declares one, by the file's name."""
    found = {}
    for info in pkgutil.iter_modules(benchmarks.micro.__path__):
        if info.name != "__main__":
            module = importlib.import_module(f"benchmarks.micro.{info.name}")
            if hasattr(module, "SUBJECT"):
                found[info.name] = module.SUBJECT
    return found


def measurements(selection: Selection, settings: Settings) -> Iterator[Measurement]:
    """Yield all measurements, even if this machine lacks something that ``missing`` would name."""
    echo_metrics = (RATE, PER_CPU, P50, P99, LOAD_CPU, SERVER_CPU)
    for size_name, size in SIZES.items():
        for connections in CONNECTIONS:
            plural = "s" if connections > 1 else ""
            yield Measurement(
                name=f"echo-{connections}-{size_name}",
                title=f"TCP echo, {connections:,} connection{plural}, {size_name}",
                metrics=echo_metrics,
                contenders=selection.contenders(ECHO),
                measure=partial(echo, settings, connections, size),
            )
    yield Measurement(
        name="echo-hubs",
        title="TCP echo, 100 connections, 64B, over 1, 2 and 4 hubs on one core",
        metrics=echo_metrics,
        contenders=selection.contenders(ECHO_HUBS),
        measure=partial(echo, settings, 100, SIZES["64B"]),
    )
    yield Measurement(
        name="http",
        title=f"HTTP hello world, {HTTP_CONNECTIONS} kept-alive connections (wrk)",
        metrics=(RATE, P50, P99, LOAD_CPU),
        contenders=selection.contenders(HTTP),
        measure=partial(http, settings),
    )
    yield Measurement(
        name="idle-connection-memory",
        title="Memory of an idle echo connection in the server",
        metrics=(_micro_metric(Kind.SIZE),),
        contenders=selection.contenders(ECHO),
        measure=partial(idle_memory, settings),
    )
    for name, subject in subjects().items():
        yield Measurement(
            name=name.replace("_", "-"),
            title=subject.title,
            metrics=(_micro_metric(subject.kind),),
            contenders=selection.contenders(_micro_entries(subject)),
            measure=partial(micro, settings, "micro", name, subject),
        )
    yield from everyday(selection, settings)


def everyday(selection: Selection, settings: Settings) -> Iterator[Measurement]:
    """Yield what programs do all day with the standard library, and the servers that they are."""
    for name, subject in everyday_subjects().items():
        yield Measurement(
            name=f"everyday-{name}",
            title=subject.title,
            metrics=(_micro_metric(subject.kind),),
            contenders=selection.contenders(_micro_entries(subject)),
            measure=partial(micro, settings, "everyday", name, subject),
            everyday=True,
        )
    for name, program in SERVED.items():
        yield Measurement(
            name=f"everyday-server-{name}",
            title=program.title,
            metrics=(CPU_EACH, USER_EACH, SYSTEM_EACH, RATE, LOAD_CPU, SERVER_CPU),
            contenders=selection.contenders(program.entries),
            measure=partial(served, settings, name),
            everyday=True,
        )
    for name, where, core in (
        ("everyday-hubs", "all cores", None),
        ("everyday-hubs-one-core", "one core", settings.cores.server),
    ):
        yield Measurement(
            name=name,
            title=f"ThreadingHTTPServer, {BUSY_CONNECTIONS} connections, over 1, 2 and 4 hubs on {where}",
            metrics=(RATE, CPU_EACH, NEW_P50, NEW_P95, SERVER_CPU),
            contenders=selection.contenders(HUBS_OF_A_SERVER),
            measure=partial(served_by_hubs, settings, core),
            everyday=True,
        )


def missing(measurement: Measurement) -> str | None:
    """Return why this machine cannot do the measurement at all, or None if it can."""
    needs_requests = measurement.name.startswith(("everyday-server-", "everyday-hubs"))
    needs_load = needs_requests or measurement.name.startswith(("echo", "idle"))
    if sys.platform != "linux" and (needs_load or measurement.name == "parked-memory"):
        return "it needs Linux (epoll and /proc)"
    if measurement.name == "http" and shutil.which("wrk") is None:
        return "wrk is not installed"
    if needs_load:
        try:
            if needs_requests:
                compiled("requests")
                if measurement.name.startswith("everyday-server-tls"):
                    certificate()
            else:
                compiled("load")
                compiled("epoll_server")
        except (NoCompiler, OSError, CalledProcessError) as exc:
            return str(exc)
    return None
