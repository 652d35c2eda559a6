"""Runs the code in the README and in the documentation, and checks that it does what they show.

Every ```python block is a program of its own: it runs in a fresh interpreter with warnings as errors and must
end by itself with status 0. A ```text block right after it is the output that the program must print. A
```pytb block after that holds the report of an exception: its lines that are not indented must appear on
stderr. Without such a block the program must write nothing on stderr.

A block whose first line is a comment with the name of a file (``# app.py``) is that file. The commands of the
page use it, and it is not run by itself.

The lines of a ```bash, ```sh or ```console block are commands; in a ```console block those that begin with
``$``. tests/test_commands.py says what runs each of them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import greenpool

ROOT = Path(__file__).resolve().parent.parent

_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n"
    r"(?:\s*^```text\n(?P<output>.*?)^```\n)?"
    r"(?:\s*^```pytb\n(?P<report>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)

_FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.]+\.\w+|Dockerfile)\n")


@dataclass(frozen=True)
class Block:
    path: Path
    line: int
    code: str
    output: str | None
    report: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def python_blocks(path: Path, *, files: bool = False) -> list[Block]:
    """The programs of a page, or with *files* those that are files by their first line."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            path=path,
            line=text.count("\n", 0, match.start("code")) + 1,
            code=match["code"],
            output=match["output"],
            report=match["report"] or "",
        )
        for match in _BLOCK.finditer(text)
        if bool(_FILE.match(match["code"])) is files
    ]


def files_in(path: Path) -> dict[str, str]:
    """The files that a page shows, by their names."""
    blocks = [match["text"] for match in _FENCE.finditer(path.read_text(encoding="utf-8"))]
    return {name[1]: text for text in blocks if (name := _FILE.match(text))}


def commands_in(path: Path) -> list[str]:
    """The commands of a page, each as one line, without the comment behind it."""
    commands = []
    for match in _FENCE.finditer(path.read_text(encoding="utf-8")):
        text = re.sub(r" *\\\n *", " ", match["text"])
        lines = [re.sub(r" +# .*", "", line) for line in text.splitlines()]
        if match["kind"] in ("bash", "sh"):
            commands += [line for line in lines if line]
        elif match["kind"] == "console":
            commands += [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return commands


def run_program(*arguments: str | Path, cwd: Path) -> tuple[str, str]:
    """Run this interpreter with warnings as errors, and return its stdout and stderr."""
    package_root = str(Path(greenpool.__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-W", "error", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": package_root},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        # SIGABRT makes faulthandler dump the stacks of all threads.
        process.send_signal(signal.SIGABRT)
        stdout, stderr = process.communicate()
    assert process.returncode == 0, stdout + stderr
    return stdout, stderr


def check_block(block: Block, directory: Path) -> None:
    program = directory / block.path.with_suffix(".py").name
    # The empty lines make a traceback name the line of the document.
    program.write_text("\n" * (block.line - 1) + block.code, encoding="utf-8")
    stdout, stderr = run_program(program, cwd=directory)
    assert unindented(stderr) == unindented(block.report)
    if block.output is not None:
        assert stdout == block.output


def unindented(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() == line != ""]
