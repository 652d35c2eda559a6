"""``input``, ``sys.stdin`` and ``sys.stdout`` of a patched program, at a terminal, a pipe and a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("leak_check")

PATCH = "from greenpool import monkey; monkey.patch_all()\nimport io, sys\n"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The side of the user, and that of the program."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


def run(program: str, stdin: int, stdout: int = subprocess.PIPE) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PATCH + program],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout or ""


def test_input_at_a_terminal_writes_the_prompt_and_returns_the_line(terminal: tuple[int, int]) -> None:
    user, program = terminal
    os.write(user, b"first\n\x04")
    run(
        """
assert input("name? ") == "first"
try:
    input(3)
except EOFError:
    print("end")
""",
        program,
        program,
    )
    written = os.read(user, 1000).decode()
    assert "name? " in written
    assert written.endswith("3end\r\n")


def test_input_without_a_terminal_is_the_standard_one() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"first\nsecond\n")
    os.close(writing)
    out = run("print(repr(input('? ')), repr(sys.stdin.readline()), repr(sys.stdin.read()))", reading)
    os.close(reading)
    assert out == "? 'first' 'second\\n' ''\n"


def test_stdin_stays_the_object_that_it_is() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    program = """
assert sys.stdin is sys.__stdin__
print(sys.stdin.name, sys.stdin.mode, sys.stdin.fileno(), sys.stdin.buffer.raw.closefd)
sys.stdin.close()
"""
    assert run(program, reading) == "<stdin> r 0 False\n"
    os.close(reading)


def test_a_regular_file_as_stdin_is_the_standard_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("line\n")
    with open(tmp_path / "file") as file:
        program = (
            "assert type(sys.stdin.buffer.raw).__name__ == 'FileIO'\nprint(type(sys.stdin.buffer), input())"
        )
        assert run(program, file.fileno()) == "<class '_io.BufferedReader'> line\n"


def test_stdout_parks_where_the_program_asks_for_it() -> None:
    program = """
import os, threading
reading, writing = os.pipe()
os.dup2(writing, 1)
monkey.patch_all(sys=True)
writer = threading.Thread(target=lambda: print(1_000_000 * "x", flush=True))
writer.start()
left = 1_000_001
while left:
    left -= len(os.read(reading, 1 << 16))
writer.join()
"""
    assert run(program, subprocess.DEVNULL) == ""
