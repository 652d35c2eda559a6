"""How the files of this folder declare their subjects, and all subjects by name."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from benchmarks.micro.subject import Kind, Run, Subject

Body = Callable[..., float]
"""Does its last argument's number of operations and returns the processor time that they took."""


def in_thread(body: Body) -> Run:
    """Run ``body(count)`` in a ``threading.Thread``, where a program's work is done mostly."""

    def run(count: int) -> float:
        from threading import Thread

        taken: list[float] = []
        thread = Thread(target=lambda: taken.append(body(count)))
        thread.start()
        thread.join()
        return taken[0]

    return run


def in_greenpool(body: Body) -> Run:
    def run(count: int) -> float:
        import greenpool

        return greenpool.spawn(body, count).get()

    return run


def in_gevent(body: Body) -> Run:
    def run(count: int) -> float:
        import gevent

        return float(gevent.spawn(body, count).get())

    return run


def everyday(title: str, count: int, unchanged: Run, native: Mapping[str, Run] | None = None) -> Subject:
    """Return the subject of a program that is the same for all peers, with its ``native`` rows."""
    peers: dict[str, Any] = dict.fromkeys(("greenpool", "gevent", "threads"), unchanged)
    peers |= native or {}
    return Subject(title, Kind.CPU_RATE, count, peers, free_threaded=tuple(peers))


def everyday_subjects() -> dict[str, Subject]:
    """Return the subjects of all files of this folder by their names."""
    found: dict[str, Subject] = {}
    for info in iter_modules([str(Path(__file__).parent)]):
        if info.name != "__main__":
            module = import_module(f"benchmarks.everyday.{info.name}")
            found |= getattr(module, "SUBJECTS", {})
    return found
