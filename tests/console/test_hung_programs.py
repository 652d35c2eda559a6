"""Every command, against programs that hang in different ways: it names the culprit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.conftest import Target
from console.hung_programs import HUNG_PROGRAMS, SPIN, SPIN_IN_C, HungProgram
from documents import ROOT
from greenpool._core.native import HAS_GIL
from greenpool.console import client


def run_command(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "greenpool.console.command", *arguments],
        cwd=ROOT,
        input=typed,
        capture_output=True,
        text=True,
        timeout=50,
    )


# How each command is given, and what is typed into it.
COMMANDS: dict[str, Callable[[str], subprocess.CompletedProcess[str]]] = {
    "ps": lambda pid: run_command("ps", pid),
    "stacks": lambda pid: run_command("stacks", pid),
    "top": lambda pid: run_command("top", pid, "--interval=0.2", "--count=1"),
    "repl": lambda pid: run_command("repl", pid, typed="print(snapshot())\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("program", HUNG_PROGRAMS.values(), ids=HUNG_PROGRAMS)
def test_command_names_the_culprit(program: HungProgram, command: str, target: Target) -> None:
    if program.keeps_gil and command == "repl" and not HAS_GIL:
        pytest.skip("the prompt answers until the garbage collection has to stop all threads")
    process = COMMANDS[command](str(target(program.script).pid))
    if program.keeps_gil and (HAS_GIL or process.returncode):
        assert process.returncode == 1
        assert "has run no Python code for 5 s" in process.stderr
        assert "py-spy dump --pid" in process.stderr
        return
    assert process.returncode == 0, process.stderr
    # A greenlet's reason to wait stands below its name.
    said = process.stdout.replace("\n ", " ")
    for name in program.names:
        assert re.search(name, said), said


@pytest.mark.slow
@pytest.mark.parametrize("program", HUNG_PROGRAMS.values(), ids=HUNG_PROGRAMS)
def test_live_page_is_told_of_each_greenlet(program: HungProgram, target: Target) -> None:
    pid = str(target(program.script).pid)
    try:
        answer = client.ask(pid, {"command": "page", "seconds": 0.2})
    except client.NoAnswer:
        assert program.keeps_gil
    else:
        assert answer["greenlets"] and answer["hubs"]


@pytest.mark.slow
@pytest.mark.parametrize("program", HUNG_PROGRAMS.values(), ids=HUNG_PROGRAMS)
def test_trace_is_written_or_says_why_not(program: HungProgram, target: Target, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    process = run_command("trace", str(target(program.script).pid), "--seconds=0.3", f"-o{path}")
    if program.keeps_gil and (HAS_GIL or process.returncode):
        assert process.returncode == 1
        assert "has run no Python code for 5 s" in process.stderr
    else:
        assert process.returncode == 0, process.stderr
        assert json.loads(path.read_text(encoding="utf-8"))["traceEvents"]


@pytest.mark.skipif(not HAS_GIL, reason="without a GIL the process mostly answers")
def test_threads_that_compute_are_named_where_nothing_answers(target: Target) -> None:
    process = target(SPIN_IN_C)
    with pytest.raises(client.NoAnswer) as raised:
        client.ask(str(process.pid), {"command": "snapshot"})
    # A thread that asks for the GIL at that moment computes, too.
    said = str(raised.value)
    assert re.search(r"\(thread .* computes\)", said)
    (thread,) = re.findall(r"(\d+) greenpool-\d", said)
    assert thread in os.listdir(f"/proc/{process.pid}/task")


def test_faulthandler_tells_the_line_that_nothing_else_can_tell(directory: Path) -> None:
    path = directory / "crunch.py"
    path.write_text(SPIN_IN_C, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "greenpool", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGUSR1)
            while "in crunch" not in (line := process.stderr.readline()):
                assert line
        finally:
            process.kill()


def test_process_that_was_stopped(target: Target) -> None:
    process = target(SPIN)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(client.NoAnswer, match="it is stopped, by a signal or by a debugger"):
        client.ask(str(process.pid), {"command": "snapshot"})
