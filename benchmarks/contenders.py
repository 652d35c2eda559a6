"""The contenders: the libraries, the ones that are installed, and the variants of greenpool."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.processes import ROOT

INSTALLABLE = ("greenpool", "gevent", "eventlet", "uvloop", "trio")
"""The libraries that may be missing. asyncio, threads, the epoll loop and C always take part."""

PROBE = """
import importlib.metadata, importlib.util, json, os, sys, sysconfig
found = {}
for name in sys.argv[1:]:
    if importlib.util.find_spec(name) is None:
        continue
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = "from the source tree"
os.environ.pop("GREENPOOL_PUREPYTHON", None)
try:
    import greenpool._speedups
    speedups = True
except ImportError:
    speedups = False
print(json.dumps({
    "version": sys.version.split()[0],
    "libraries": found,
    "speedups": speedups,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter, and the libraries that it can import."""

    path: str
    version: str
    libraries: Mapping[str, str]
    speedups: bool
    free_threaded: bool

    def has(self, library: str) -> bool:
        return library not in INSTALLABLE or library in self.libraries


def probe(path: str = sys.executable) -> Interpreter:
    """Ask the interpreter at ``path``. Raises ValueError if there is none."""
    command = [path, "-c", PROBE, *INSTALLABLE]
    try:
        output = subprocess.check_output(command, cwd=ROOT, text=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise ValueError(f"not a usable Python interpreter: {path!r} ({exc})") from exc
    return Interpreter(path=path, **json.loads(output))


@dataclass(frozen=True)
class Contender:
    """One row: a peer (or a variant of greenpool), and how it is started."""

    name: str
    library: str
    interpreter: Interpreter
    program: str
    """The server's module or the subject's peer; "" for the server in C."""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    over: str | None = None
    """The row that this one is compared with, if that is not greenpool's."""
    plain_name: str = ""
    """The name without the marks of a variant."""


@dataclass(frozen=True)
class Entry:
    """A row before the variants are known. Its name begins with the library's."""

    name: str
    program: str
    arguments: Sequence[str] = ()
    over: str | None = None
    free_threaded: bool = False

    @property
    def library(self) -> str:
        return self.name.partition(",")[0].partition(" ")[0]


@dataclass(frozen=True)
class Selection:
    """The interpreters, variants and peers that take part in this run."""

    ordinary: Interpreter
    free_threaded: Interpreter | None
    with_speedups: bool
    without_speedups: bool
    peers: frozenset[str] | None
    """Names of libraries, or None for all. greenpool always takes part."""

    def contenders(self, entries: Iterable[Entry]) -> list[Contender]:
        entries = list(entries)
        chosen = list(self._on(self.ordinary, entries))
        if self.free_threaded:
            chosen += self._on(self.free_threaded, [e for e in entries if e.free_threaded])
        # Put rows together that are compared with the same one.
        groups = list(dict.fromkeys(contender.over for contender in chosen))
        return sorted(chosen, key=lambda contender: groups.index(contender.over))

    def _on(self, interpreter: Interpreter, entries: Iterable[Entry]) -> Iterator[Contender]:
        for entry in entries:
            library = entry.library
            wanted = self.peers is None or library in self.peers or library == "greenpool"
            if not wanted or not interpreter.has(library):
                continue
            for marks, environment in self._variants(library, interpreter):
                yield Contender(
                    name=marked(entry.name, library, marks),
                    library=library,
                    interpreter=interpreter,
                    program=entry.program,
                    arguments=entry.arguments,
                    environment=environment,
                    over=entry.over and marked(entry.over, library, marks),
                    plain_name=entry.name,
                )

    def _variants(self, library: str, interpreter: Interpreter) -> Iterator[tuple[list[str], dict[str, str]]]:
        marks = ["free-threaded"] if interpreter.free_threaded else []
        if library == "greenpool":
            if self.with_speedups and interpreter.speedups:
                yield marks, {}
            if self.without_speedups or not interpreter.speedups:
                yield ["pure", *marks], {"GREENPOOL_PUREPYTHON": "1"}
        elif library == "gevent" and interpreter.free_threaded:
            yield marks, {"PYTHON_GIL": "0"}
        else:
            yield marks, {}


def marked(name: str, library: str, marks: Sequence[str]) -> str:
    """Add marks: ``"greenpool, 2 hubs"`` with the mark ``pure`` becomes ``"greenpool (pure), 2 hubs"``."""
    return name.replace(library, f"{library} ({', '.join(marks)})", 1) if marks else name
