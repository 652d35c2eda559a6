"""coverage counts each line that green threads and greenlets run, on all hubs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("coverage")

pytestmark = pytest.mark.slow

APP = """\
import threading
import time

import greenpool

lock = threading.Lock()
hubs = set()

def thread(number):
    with lock:
        time.sleep(0.001)
        hubs.add(greenpool.get_hub())
    time.sleep(0.001)
    return number

def greenlet(number):
    greenpool.sleep(0.001)
    for _ in range(3):
        greenpool.sleep(0)
        last = number
    return last

threads = [threading.Thread(target=thread, args=(number,)) for number in range(8)]
for each in threads:
    each.start()
greenlets = [greenpool.spawn(greenlet, number) for number in range(8)]
for each in threads:
    each.join()
greenpool.joinall(greenlets)
assert len(hubs) == 2
"""


def test_every_line_of_two_hubs_is_found(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / ".coveragerc").write_text("[run]\nconcurrency = thread, greenlet\n")
    coverage = [sys.executable, "-m", "coverage"]
    run = [*coverage, "run", "-m", "greenpool", "--pool-size", "2", "app.py"]
    subprocess.run(run, cwd=tmp_path, check=True, timeout=50)
    report = subprocess.run(
        [*coverage, "report", "-m", "--include=app.py"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
    ).stdout
    assert report.splitlines()[-1].split()[1:] == ["25", "0", "100%"]
