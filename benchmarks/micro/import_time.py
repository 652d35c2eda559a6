"""The time of ``import X`` in a fresh interpreter that has imported nothing before."""

import os
import subprocess
import sys
from functools import partial

from benchmarks.micro.subject import Kind, Subject

CODE = """
from time import perf_counter
started = perf_counter()
import {}
print(perf_counter() - started)
"""


def import_module(name: str, count: int) -> float:
    command = [sys.executable, "-W", "ignore", "-c", CODE.format(name)]
    # A user has compiled files, so use them. The first run, which is not counted, writes missing ones.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    outputs = [subprocess.check_output(command, text=True, env=environment) for _ in range(count)]
    return sum(map(float, outputs))


SUBJECT = Subject(
    title="Import time",
    kind=Kind.LATENCY,
    count=3,
    peers={
        name: partial(import_module, name)
        for name in ("greenpool", "gevent", "eventlet", "asyncio", "uvloop", "trio")
    },
)
