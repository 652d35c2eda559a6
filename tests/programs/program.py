"""Running a patched program in an interpreter of its own.

Every program begins with ``PATCH``. Every program can call ``fifty``, which makes 50 requests at once. Each
request takes the server 0.1 s, so one after another they would take 5 s. That they take less than half of
that is the property under test, and the one place in these tests where a time is asserted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest

import greenpool

LIMIT = 2.5
SECONDS_TO_END = 30

PATCH = f"""\
from greenpool import monkey
monkey.patch_all()

import sys, threading, time
import greenpool

def fifty(request):
    def call(number):
        hubs.add(greenpool.get_hub())
        results[number] = request(number)

    hubs, results = set(), {{}}
    threads = [threading.Thread(target=call, args=(number,)) for number in range(50)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    assert len(results) == 50, results
    assert hubs == {{greenpool.get_hub()}}, hubs
    assert seconds < {LIMIT}, seconds
    return [results[number] for number in range(50)]

"""


def run_patched(code: str, *arguments: object, directory: Path, native: Sequence[str] = ()) -> None:
    """Run *code* after ``PATCH``, with warnings as errors. It must exit with 0 and leave stderr empty.

    *native* names the modules that keep native threads and locks.
    """
    patch = PATCH.replace("patch_all()", f"patch_all(native={tuple(native)})") if native else PATCH
    _run(patch + dedent(code), [], arguments, directory)


def run_by_greenpool(
    code: str,
    *arguments: object,
    directory: Path,
    options: Sequence[str] = (),
    pool: Sequence[str] = ("--pool-size", "2"),
) -> None:
    """Run *code*, which says nothing of greenpool, by ``python -m greenpool`` with the options.

    *pool* are the ones that say how many hubs it has.
    """
    _run(dedent(code), ["-m", "greenpool", *pool, *options], arguments, directory)


def _run(code: str, options: Sequence[str], arguments: Sequence[object], directory: Path) -> None:
    program = directory / "app.py"
    program.write_text(code, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-W", "error", *options, program, *map(str, arguments)],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(Path(greenpool.__file__).parent.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # The program gets a process group of its own, so that no child outlives it if it fails.
        start_new_session=True,
    )
    try:
        _, stderr = process.communicate(timeout=SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        # SIGABRT makes faulthandler dump the stacks of all threads, in each process of the group.
        os.killpg(process.pid, signal.SIGABRT)
        _, stderr = process.communicate()
        pytest.fail(f"the program did not end:\n{stderr}")
    assert process.returncode == 0, stderr
    assert not stderr, stderr
