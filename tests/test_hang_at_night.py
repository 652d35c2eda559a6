"""The page "The hang at night": its output is what the commands print of the example."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from documents import ROOT
from greenpool.config import speedups

PAGE = ROOT / "docs" / "hang-at-night.md"
HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

_OUTPUT = re.compile(r"```sh\n([^\n]*)\n```\n\n```\n(.*?)```\n", re.DOTALL)


class Service(NamedTuple):
    pid: int
    log: Path


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The example, when a second has passed in which it hangs."""
    directory = Path(tempfile.mkdtemp(prefix="gp-"))  # short, for the path of a Unix socket
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(directory)
    log = directory / "log"
    try:
        with (
            log.open("w", encoding="utf-8") as stderr,
            subprocess.Popen(
                [sys.executable, "-m", "greenpool", "--pool-size=2", str(ROOT / "examples/hang_at_night.py")],
                cwd=ROOT,
                env=os.environ | {"GREENPOOL_STALL": "0.5"},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            assert process.stdout.readline() == f"service of process {process.pid}\n"
            while "in forecast" not in log.read_text(encoding="utf-8"):
                assert process.poll() is None
            yield Service(process.pid, log)
            process.kill()
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(directory)


def run(command: str, pid: int) -> str:
    program, *arguments = command.replace("4711", str(pid)).split()
    if program == "greenpool":
        line = [sys.executable, "-m", "greenpool.console.command", *arguments]
    else:
        line = [str(Path(sys.executable).parent / program), *arguments]
    process = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert process.returncode == 0, process.stderr
    return process.stdout


def shape(text: str) -> list[str]:
    """The lines, with one number for all, and without the widths of columns and the places of files."""
    text = re.sub(r"0x[0-9a-f]+", "0x0", text)
    text = re.sub(r"[\w./-]*/hang_at_night\.py", "hang_at_night.py", text)
    text = text.replace("hang_at_night.py:49", "hang_at_night.py:48")  # the loop has two lines
    text = re.sub(r"(?<=epoll\.py:)\d+", "0", text)
    text = re.sub(r"(?<![\w:-])\d+(\.\d+)?\b|(?<=Greenlet-)\d+|(?<=127\.0\.0\.1:)\d+", "0", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def blocks() -> list[tuple[str, str]]:
    found = _OUTPUT.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) == 4
    return found


@pytest.mark.skipif(not HAS_GIL, reason="a hub that computes does not answer for its other greenlets")
@pytest.mark.parametrize(("command", "page"), blocks(), ids=[command for command, _ in blocks()])
def test_output_has_the_shape_of_that_on_the_page(command: str, page: str, service: Service) -> None:
    if command.startswith("py-spy") and not (Path(sys.executable).parent / "py-spy").exists():
        pytest.skip("py-spy is not installed")
    printed = shape(run(command, service.pid))
    for line in shape(page):
        if not speedups and ("descriptor" in line or "fetch_prices" in line):
            continue  # the wait shows the socket itself
        assert line == "..." or line in printed, "\n".join(printed)


@pytest.mark.skipif(not HAS_GIL, reason="the report has the innermost line only")
def test_log_has_the_report_on_the_page(service: Service) -> None:
    (page,) = re.findall(r"```\n(<Hub .*?)```\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    printed = shape(service.log.read_text(encoding="utf-8"))
    *lines, last = shape(page)
    assert all(line == "..." or line in printed for line in lines), printed
    # The loop has two lines.
    assert last in printed or "day += 0" in printed


def test_each_culprit_is_named_on_every_build(service: Service) -> None:
    said = run("greenpool ps 4711", service.pid)
    assert re.search(r'greenpool-\d +running .*"forecast" for .* in forecast', said)
    assert re.search(r'"fetch_prices" .*127\.0\.0\.1', said)
    assert re.search(r'"transfer" .*<locked _thread.LockType object at', said)
    assert "close_the_day" in said
