"""``greenpool.sys``: the frames of green threads, and callbacks of ``sys.monitoring``, in a patched
program."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

RunScript = Callable[[str], str]


def test_current_frames_know_each_thread_by_its_ident(run_script: RunScript) -> None:
    script = """
from greenpool import monkey
monkey.patch_all()
import sys, threading, time

def wait_here():
    time.sleep(30)

threads = [threading.Thread(target=wait_here, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
time.sleep(0.01)
frames = sys._current_frames()
for thread in threads:
    names = []
    frame = frames[thread.ident]
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    print("wait_here" in names, end=" ")
print(frames[threading.get_ident()] is sys._getframe())
"""
    assert run_script(script) == "True True True True\n"


def test_current_frames_name_the_greenlets_of_other_hubs(run_script: RunScript) -> None:
    script = """
from greenpool import monkey
monkey.patch_all()
import greenpool, sys, threading, time

def wait_here():
    time.sleep(30)

def main():
    threads = [threading.Thread(target=wait_here, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    frames = sys._current_frames()
    print(all(thread.ident in frames for thread in threading.enumerate()))

runtime = greenpool.Runtime(pool_size=2)
runtime.block_on(main)
runtime.shutdown()
"""
    assert run_script(script) == "True\n"


def test_main_program_that_waits_has_its_own_frame(run_script: RunScript) -> None:
    script = """
from greenpool import monkey
monkey.patch_all()
import sys, threading, time

def look():
    time.sleep(0.01)
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame.f_back is not None:
        frame = frame.f_back
    print(frame.f_code.co_name, sys._current_frames()[threading.get_ident()] is sys._getframe())

thread = threading.Thread(target=look)
thread.start()
thread.join()
"""
    assert run_script(script) == "<module> True\n"


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="the profiler of CPython 3.12 and newer is for all threads"
)
def test_two_profilers_do_not_mix(run_script: RunScript) -> None:
    script = """
from greenpool import monkey
monkey.patch_all()
import cProfile, pstats, threading, time

def first():
    time.sleep(0)

def second():
    time.sleep(0)

def work(function):
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(5):
        function()
    profile.disable()
    print(sorted(name for _, _, name in pstats.Stats(profile).stats if name in ("first", "second")))

def main():
    threads = [threading.Thread(target=work, args=(function,)) for function in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

thread = threading.Thread(target=main)
thread.start()
thread.join()
"""
    assert run_script(script) == "['first']\n['second']\n"


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="this Python has no sys.monitoring")
def test_callbacks_of_monitoring(run_script: RunScript) -> None:
    script = """
import os, sys
monitoring, events = sys.monitoring, sys.monitoring.events
files, lines = set(), []

def line(code, number):
    files.add(os.path.dirname(code.co_filename))
    if code.co_name == "work":
        lines.append(number)

monitoring.use_tool_id(3, "test")
monitoring.register_callback(3, events.LINE, line)
from greenpool import monkey
monkey.patch_all()
import threading, time
from greenpool._core.speedups import speedups

def work():
    time.sleep(0.001)
    return 1

monitoring.set_events(3, events.LINE)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
monitoring.set_events(3, 0)
package = os.path.dirname(monkey.__file__)
print(len(lines), speedups is None or not any(file.startswith(package) for file in files))
print(monitoring.register_callback(3, events.LINE, None) is line)
"""
    assert run_script(script) == "4 True\nTrue\n"
