"""The programs of the documentation that need another library: eventlet and uvloop."""

from __future__ import annotations

import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT, Block, check_block, python_blocks

pytestmark = pytest.mark.slow

UVLOOP = ROOT / "docs" / "from-uvloop.md"
EVENTLET = ROOT / "docs" / "from-eventlet.md"


@pytest.mark.parametrize("block", python_blocks(UVLOOP, files=True), ids=str)
def test_beside_uvloop(block: Block, tmp_path: Path) -> None:
    pytest.importorskip("uvloop")
    assert block.output
    check_block(block, tmp_path)


def test_the_program_for_eventlet_prints_the_same(tmp_path: Path) -> None:
    [of_eventlet] = python_blocks(EVENTLET, files=True)
    [of_greenpool] = python_blocks(EVENTLET)
    # It says that it is deprecated when it is imported, so warnings are no errors here.
    command = [sys.executable, "-c", "import eventlet"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("eventlet is not installed, or not for this interpreter")
    program = tmp_path / "by_eventlet.py"
    program.write_text(of_eventlet.code)
    printed = subprocess.run(
        [sys.executable, program], stdout=subprocess.PIPE, text=True, check=True, timeout=40
    )
    assert printed.stdout == of_greenpool.output
    # The names of the table's left column are there, too.
    names = sorted(set(re.findall(r"`(eventlet\.[\w.]+)", EVENTLET.read_text(encoding="utf-8"))))
    assert len(names) > 20
    lines = ["import pydoc", *(f"assert pydoc.locate({name!r}) is not None, {name!r}" for name in names)]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=40)


def test_the_names_of_greenpool_are_there() -> None:
    names = set(re.findall(r"`(greenpool\.[\w.]+)", EVENTLET.read_text(encoding="utf-8")))
    assert len(names) > 20
    for name in names - {"greenpool.celery", "greenpool.gunicorn.Worker"}:
        assert pydoc.locate(name) is not None, name
