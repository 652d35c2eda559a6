"""A program ends while its daemon threads have greenlets: no crash, no hang, nothing printed."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from exit_programs import PROGRAMS, outcome, start
from greenpool import config
from greenpool._core.native import HAS_GIL

EXITS = 5

# Up to CPython 3.13 the greenlets of daemon threads have to be brought to rest.
needs_last_act = pytest.mark.skipif(sys.version_info >= (3, 14), reason="CPython does it itself")

# While other threads compute, free-threaded CPython takes many seconds to import ctypes. So without the
# extension the core imports it at the start.
needs_no_ctypes = pytest.mark.skipif(
    not config.speedups and not HAS_GIL, reason="without the extension and the GIL, ctypes is always loaded"
)

DAEMON_THREAD = """
import greenpool, sys, threading, time

def child():
    while True:
        greenpool.sleep(0.0003)

def work():
    greenpool.spawn(child)
    child()

threading.Thread(target=work, daemon=True).start()
time.sleep(0.03)
"""


def ends(program: str) -> list[str]:
    """How a program ends, each time of EXITS; an empty text for status 0 without output."""
    return [outcome(process) for process in [start(program) for _ in range(EXITS)]]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_ends_well(program: str) -> None:
    assert ends(program) == [""] * EXITS


@pytest.mark.slow
def test_exit_status_is_the_programs_own() -> None:
    assert ends(DAEMON_THREAD + "sys.exit(7)") == ["7"] * EXITS


@needs_no_ctypes
def test_program_without_other_hubs_is_not_made_to_load_ctypes(run_script: Callable[[str], str]) -> None:
    assert run_script(SHOW_CTYPES + "greenpool.run(greenpool.sleep, 0.01)") == "False\n"


@needs_no_ctypes
def test_hub_that_waits_in_its_loop_needs_no_ctypes(run_script: Callable[[str], str]) -> None:
    program = "threading.Thread(target=greenpool.sleep, args=(60,), daemon=True).start(); time.sleep(0.05)"
    assert run_script(SHOW_CTYPES + program) == "False\n"


# The finalizer of the module's last object runs after the last act.
SHOW_CTYPES = """
import greenpool, os, sys, threading, time
class Show:
    def __del__(self, modules=sys.modules, write=os.write):
        write(1, b"%s\\n" % str("ctypes" in modules).encode())
show = Show()
"""


@needs_last_act
def test_callbacks_of_atexit_come_before_whatever_the_order(run_script: Callable[[str], str]) -> None:
    # This one is registered first, so it is called last.
    script = """
import atexit
@atexit.register
def last():
    print(goes_on(), ready.wait(10))
def goes_on():
    # Whether the daemon thread still counts, at the latest after ten seconds.
    before, end = count[0], time.monotonic() + 10
    while count[0] == before and time.monotonic() < end:
        time.sleep(0.001)
    return count[0] > before
class Argument:
    def __del__(self):
        print(goes_on())
import greenpool, threading, time
from greenpool.event import Event
atexit.register(str, Argument())
count, ready = [0], Event()
def work():
    while True:
        greenpool.sleep(0.0003)
        count[0] += 1
        ready.set()
threading.Thread(target=work, daemon=True).start()
"""
    assert run_script(script) == "True True\nTrue\n"


@pytest.mark.parametrize("call", ["_clear", "_run_exitfuncs"])
def test_program_that_calls_back_what_atexit_has_goes_on(run_script: Callable[[str], str], call: str) -> None:
    script = f"""
import atexit, greenpool, os, threading, time
count = [0]
def work():
    while True:
        greenpool.sleep(0.0003)
        count[0] += 1
threading.Thread(target=work, daemon=True).start()
def goes_on():
    before, end = count[0], time.monotonic() + 10
    while count[0] == before and time.monotonic() < end:
        time.sleep(0.001)
    return count[0] > before
goes_on()
atexit.{call}()
print(goes_on(), flush=True)
os._exit(0)
"""
    assert run_script(script) == "True\n"


@pytest.mark.slow
@needs_last_act
@pytest.mark.parametrize("part", ["_find", "_post", "_strike"])
def test_signal_handler_that_raises_in_the_last_act_does_not_end_it(part: str) -> None:
    program = f"""
from greenpool._core.interpreter_exit import _LastAct
part, calls = _LastAct.{part}, []
def interrupted(self):
    calls.append(part)
    if len(calls) == 1:
        raise KeyboardInterrupt
    part(self)
_LastAct.{part} = interrupted
"""
    assert ends(DAEMON_THREAD + program) == [""] * EXITS


@pytest.mark.slow
@needs_last_act
def test_loops_come_to_rest_without_ctypes() -> None:
    program = "sys.modules['ctypes'] = None"
    assert ends(DAEMON_THREAD + program) == [""] * EXITS


@pytest.mark.slow
def test_greenlet_that_blocks_its_thread_delays_the_exit_for_a_moment_only() -> None:
    program = """
import greenpool, threading, time
def work():
    greenpool.spawn(time.sleep, 60)
    greenpool.sleep(0)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.03)
"""
    assert ends(program) == [""] * EXITS
