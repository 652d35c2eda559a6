"""Ctrl-C: it reaches the main function anywhere, the pool is shut down, and Python exits as usual."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

HEAD = """
import os, signal, threading, time
import greenpool
from greenpool import socket
from greenpool.event import Event

def say(*what):
    # Make one write, so that the lines of threads do not mix.
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())

# Another process sends Ctrl-C, so that the signal interrupts whatever this one does at that time. It sends it
# only when asked, so that the main function runs by then. At this fork the process has one thread only.
program = os.getpid()
asked, ask = os.pipe()
if os.fork() == 0:
    os.close(ask)
    if os.read(asked, 1):
        time.sleep(0.05)
        os.kill(program, signal.SIGINT)
    os._exit(0)

def press_ctrl_c_soon():
    os.write(ask, b"!")

def bystander():
    try:
        Event().wait()
    finally:
        say("bystander ended")
"""


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=50,
    )


def exit_status_of_python() -> int:
    """The exit status of an interpreter that KeyboardInterrupt has ended."""
    script = [sys.executable, "-c", "raise KeyboardInterrupt"]
    return subprocess.run(script, stderr=subprocess.DEVNULL).returncode


WAITS = {
    "sleep": "greenpool.sleep(60)",
    "sleep in turns": "[greenpool.sleep(0) for _ in iter(int, 1)]",
    "accept": "socket.create_server(('127.0.0.1', 0)).accept()",
    "join": "greenpool.spawn(Event().wait).join()",
    "get": "greenpool.spawn(Event().wait).get()",
    "wait": "greenpool.joinall([greenpool.spawn(Event().wait) for _ in range(3)], timeout=60)",
    "event": "Event().wait()",
    "user code": "time.sleep(60)",
    "loop": "[None for _ in iter(int, 1)]",
    "spawn_all": "greenpool.current_handle().spawn_all(greenpool.sleep(0.01) or int for _ in iter(int, 1))",
    "busy pool": "[greenpool.spawn(int).join() for _ in iter(int, 1)]",
}


@pytest.mark.parametrize("what", WAITS)
def test_main_function_gets_it_wherever_it_is(what: str) -> None:
    script = f"""
        def main():
            greenpool.spawn(bystander)
            greenpool.spawn(bystander)
            try:
                press_ctrl_c_soon()
                {WAITS[what]}
            except KeyboardInterrupt:
                say("main got it")
                raise
            finally:
                say("main ended")

        try:
            greenpool.run(main)
        except KeyboardInterrupt:
            say("run raised it,", threading.active_count(), "thread left")
            raise
    """
    ended = run_script(script)
    assert ended.stdout.splitlines() == [
        "main got it",
        "main ended",
        "bystander ended",
        "bystander ended",
        "run raised it, 1 thread left",
    ], ended.stderr
    assert ended.stderr.count("KeyboardInterrupt") >= 1
    assert "RuntimeWarning" not in ended.stderr
    assert ended.returncode == exit_status_of_python() == -signal.SIGINT


def test_while_run_waits_for_the_pool_to_become_idle() -> None:
    script = """
        def main():
            greenpool.spawn(bystander)
            press_ctrl_c_soon()

        try:
            greenpool.run(main)
        except KeyboardInterrupt:
            say("run raised it,", threading.active_count(), "thread left")
            raise
    """
    ended = run_script(script)
    assert ended.stdout.splitlines() == ["bystander ended", "run raised it, 1 thread left"], ended.stderr
    assert ended.returncode == -signal.SIGINT


def test_while_shutdown_on_idle_waits() -> None:
    script = """
        def press_when_somebody_waits():
            while not runtime._hubs._main_programs:
                greenpool.sleep(0.001)
            press_ctrl_c_soon()

        runtime = greenpool.Runtime(pool_size=2)
        runtime.spawn(bystander)
        runtime.spawn(press_when_somebody_waits)
        try:
            runtime.shutdown_on_idle()
        except KeyboardInterrupt:
            say("came out,", threading.active_count(), "thread left")
            raise
    """
    ended = run_script(script)
    assert ended.stdout.splitlines() == ["bystander ended", "came out, 1 thread left"], ended.stderr
    assert ended.returncode == -signal.SIGINT


def test_context_manager_shuts_down() -> None:
    script = """
        with greenpool.Runtime(pool_size=2) as runtime:
            runtime.spawn(bystander)
            press_ctrl_c_soon()
            greenpool.sleep(60)
    """
    ended = run_script(script)
    assert ended.stdout.splitlines() == ["bystander ended"]
    assert ended.returncode == -signal.SIGINT
    assert "ResourceWarning" not in ended.stderr


def test_main_function_may_handle_it_and_go_on() -> None:
    script = """
        def main():
            greenlet = greenpool.spawn(Event().wait)
            try:
                press_ctrl_c_soon()
                greenlet.join()
            except KeyboardInterrupt:
                greenlet.kill()
                say(greenpool.spawn(lambda: "the pool goes on").get())
            return "value"

        say(greenpool.run(main))
    """
    ended = run_script(script)
    assert (ended.stdout.splitlines(), ended.stderr) == (["the pool goes on", "value"], "")
    assert ended.returncode == 0


def test_without_a_pool() -> None:
    script = """
        def greenlet():
            press_ctrl_c_soon()
            try:
                greenpool.sleep(60)
            finally:
                say("greenlet ended")

        started = greenpool.spawn(greenlet)
        try:
            started.join()
        except KeyboardInterrupt:
            started.kill()
            say("main got it")
            raise
    """
    ended = run_script(script)
    assert ended.stdout.splitlines() == ["greenlet ended", "main got it"], ended.stderr
    assert ended.returncode == -signal.SIGINT


def test_handler_of_the_users_own_is_left_alone() -> None:
    script = """
        pressed = Event()
        signal.signal(signal.SIGINT, lambda *_: pressed.set())

        def main():
            press_ctrl_c_soon()
            greenpool.spawn(pressed.wait).join()
            return "handled"

        say(greenpool.run(main))
    """
    ended = run_script(script)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("handled\n", "", 0)


def test_sys_exit_in_a_greenlet_gives_the_exit_status() -> None:
    script = """
        def main():
            greenpool.spawn(bystander)
            greenpool.spawn(exit_soon)
            Event().wait()

        def exit_soon():
            raise SystemExit(7)

        greenpool.run(main)
    """
    ended = run_script(script)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("bystander ended\n", "", 7)
