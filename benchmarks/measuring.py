"""Takes the figure of one peer in one subject and prints it as JSON, in a process that does nothing else."""

import json
import statistics
import sys
import sysconfig
from time import perf_counter

from benchmarks.micro.subject import Kind, Run, Subject

WARM_UP_SHARE = 10
"""The first, uncounted run does this fraction of the operations."""


def measure(subject: Subject, run: Run, seconds: float) -> float:
    """Return the median of as many runs as fit into ``seconds``, but at least of one."""
    if subject.kind is Kind.SIZE:
        return run(subject.count)
    run(max(1, subject.count // WARM_UP_SHARE))
    taken: list[float] = []
    end = perf_counter() + seconds
    while not taken or perf_counter() < end:
        taken.append(run(subject.count))
    each = statistics.median(taken) / subject.count
    return each * 1e6 if subject.kind is Kind.LATENCY else 1 / each


def refuse_gil() -> None:
    """End the program if it runs on a free-threaded interpreter with a GIL."""
    is_gil_enabled = getattr(sys, "_is_gil_enabled", None)  # Python 3.13 and newer have it
    if sysconfig.get_config_var("Py_GIL_DISABLED") and is_gil_enabled and is_gil_enabled():
        sys.exit("the GIL came back: an imported module needs it")


def report(subject: Subject, peer: str, seconds: float) -> None:
    value = measure(subject, subject.peers[peer], seconds)
    refuse_gil()
    print(json.dumps({"value": value}))
