"""The commands of the page "Debug and profile", each with the real tool."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "profilers.md").read_text(encoding="utf-8")
HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
BIN = Path(sys.executable).parent

APP = """\
import threading, time
def compute(n):
    total = 0
    for i in range(n):
        total += i * i
    return total
def wait():
    time.sleep(0.1)
def heavy():
    for _ in range(3):
        compute(1_200_000); wait()
def light():
    for _ in range(3):
        compute(100_000); wait()
threads = [threading.Thread(target=heavy, name="heavy"), threading.Thread(target=light, name="light")]
for t in threads: t.start()
for t in threads: t.join()
"""


def run(directory: Path, *command: str, typed: str = "", patched: bool = True) -> str:
    """Run a tool of this interpreter's environment beside app.py; returns what it prints."""
    (directory / "app.py").write_text(APP, encoding="utf-8")
    process = subprocess.run(
        [sys.executable, *command] if patched else command,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "150"},
        input=typed,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def need_py_spy() -> str:
    path = BIN / "py-spy"
    if not path.exists():
        pytest.skip("py-spy is not installed")
    if not HAS_GIL:
        pytest.skip("py-spy knows no free-threaded Python")
    return str(path)


def test_py_spy_records_hubs_by_their_names(tmp_path: Path) -> None:
    py_spy = need_py_spy()
    options = "--format raw --threads --output profile.txt"
    assert f"py-spy record {options} -- python -m greenpool --pool-size 2 app.py" in PAGE
    run(
        tmp_path, py_spy, "record", *options.split(), "--",
        sys.executable, "-m", "greenpool", "--pool-size", "2", "app.py", patched=False,
    )  # fmt: skip
    lines = (tmp_path / "profile.txt").read_text(encoding="utf-8")
    assert re.search(
        r"^thread \(\d+\): greenpool-\d;.*;heavy \(app.py:11\);compute \(app.py:\d\) \d+$", lines, re.M
    )


YAPPI = """
import runpy
yappi.start()
runpy.run_path("app.py", run_name="__main__")
yappi.stop()
yappi.get_func_stats(filter_callback=lambda stats: stats.module == "app.py").print_all()
print(sum(stats.ttot > 0 for stats in yappi.get_greenlet_stats()) > 2)
"""


def test_yappi_tells_green_threads_apart(tmp_path: Path) -> None:
    need("yappi")
    setup = "".join(re.findall(r"^    (yappi\..*\n)", PAGE, re.M))
    (tmp_path / "profile.py").write_text(f"import threading\nimport yappi\n{setup}{YAPPI}", encoding="utf-8")
    said = run(tmp_path, "-m", "greenpool", "--pool-size=1", "profile.py")
    seconds = {
        name: float(total) for name, total in re.findall(r"app\.py:\d+ (\w+) +\d+ +[\d.]+ +([\d.]+)", said)
    }
    # The time of each does not contain that of the other, which has run while it was parked.
    assert seconds["light"] < seconds["heavy"] / 2
    assert seconds["heavy"] + seconds["light"] == pytest.approx(seconds["compute"] + seconds["wait"], rel=0.5)
    assert said.endswith("True\n")


def test_pyinstrument_shows_the_hub_with_all_its_green_threads(tmp_path: Path) -> None:
    need("pyinstrument")
    assert 'with Profiler(async_mode="disabled") as profiler:' in PAGE
    script = """
import runpy, threading
from pyinstrument import Profiler
def profiled():
    with Profiler(async_mode="disabled") as profiler:
        heavy()
    print(profiler.output_text())
def heavy():
    runpy.run_path("app.py", run_name="__main__")
thread = threading.Thread(target=profiled)
thread.start()
thread.join()
"""
    (tmp_path / "profile.py").write_text(script, encoding="utf-8")
    said = run(tmp_path, "-m", "greenpool", "--pool-size=1", "profile.py")
    assert re.search(r"Thread-1 \(profiled\)|heavy  <thread>", said)
    assert "compute  app.py:2" in said


def test_memray_counts_what_green_threads_allocate(tmp_path: Path) -> None:
    need("memray")
    assert "memray run --output profile.bin -m greenpool app.py" in PAGE
    run(tmp_path, "-m", "memray", "run", "--output", "profile.bin", "-m", "greenpool", "app.py")
    assert "Peak memory usage" in run(tmp_path, "-m", "memray", "stats", "profile.bin")


def test_coverage_counts_all_lines(tmp_path: Path) -> None:
    need("coverage")
    assert "coverage run --concurrency=thread,greenlet -m greenpool app.py" in PAGE
    run(tmp_path, "-m", "coverage", "run", "--concurrency=thread,greenlet", "-m", "greenpool", "app.py")
    assert "100%" in run(tmp_path, "-m", "coverage", "report", "--include=app.py")


CPROFILE = """
import cProfile, pstats, sys, time
sys.argv = ["app.py"]
code = compile(open("app.py").read().partition("threads = ")[0], "app.py", "exec")
exec(code)
def profiled(function):
    profile = cProfile.Profile(time.thread_time)
    profile.runcall(function)
    stats = pstats.Stats(profile).stats
    results[function] = next(entry for (_, _, name), entry in stats.items() if name == "compute")
results = {}
threads = [threading.Thread(target=profiled, args=(function,)) for function in (heavy, light)]
for each in threads: each.start()
for each in threads: each.join()
assert results[heavy][0] == results[light][0] == 3, results
print(results[light][2] < results[heavy][2] / 2)
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="one profile for all threads")
def test_cprofile_of_each_green_thread(tmp_path: Path) -> None:
    (tmp_path / "profiled.py").write_text(CPROFILE, encoding="utf-8")
    assert run(tmp_path, "-m", "greenpool", "--pool-size=1", "profiled.py") == "True\n"


BREAKPOINT = """\
import threading, time
def work(number):
    total = number * 2
    breakpoint()
    time.sleep(0.01)
    print("total", total)
thread = threading.Thread(target=work, args=(21,), name="worker")
thread.start()
thread.join()
"""


def test_breakpoint_in_a_green_thread(tmp_path: Path) -> None:
    (tmp_path / "stop.py").write_text(BREAKPOINT, encoding="utf-8")
    typed = "p total\nn\nw\np threading.current_thread().name\nc\n"
    said = run(tmp_path, "-m", "greenpool", "stop.py", typed=typed)
    assert "(Pdb) 42" in said
    assert "in work" in said or "work()" in said
    assert "(Pdb) 'worker'" in said
    assert said.endswith("total 42\n")


def test_pdb_follows_the_main_program(tmp_path: Path) -> None:
    (tmp_path / "stop.py").write_text(BREAKPOINT.replace("    breakpoint()\n", ""), encoding="utf-8")
    said = run(tmp_path, "-m", "greenpool", "-m", "pdb", "stop.py", typed="b 8\nc\np thread.name\nc\nq\n")
    assert "(Pdb) 'worker'" in said
    assert "total 42" in said
