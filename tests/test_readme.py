"""The README: its code prints what the text says, and its two commands are right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from documents import ROOT, Block, check_block, python_blocks, run_program

README = ROOT / "README.md"


def commands() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("block", python_blocks(README), ids=str)
def test_code_runs(block: Block, tmp_path: Path) -> None:
    check_block(block, tmp_path)


def test_there_are_two_commands_of_one_line_each() -> None:
    assert [command.count("\n") for command in commands()] == [1, 1]


def test_the_first_command_installs_and_runs_the_main_job() -> None:
    words = shlex.split(commands()[0])
    assert ".venv/bin/pip install ." in " ".join(words)
    assert words[-1] == "examples/echo.py"


def test_the_second_command_installs_and_runs_all_tests() -> None:
    assert shlex.split(commands()[1])[-4:] == ["&&", ".venv/bin/python", "-m", "pytest"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"])
def test_links_lead_to_files(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8"))
    files = [target for target in targets if not target.startswith("https://")]
    assert [target for target in files if not (ROOT / page).parent.joinpath(target).exists()] == []


def test_the_main_job_says_which_hub_served_what(tmp_path: Path) -> None:
    printed, errors = run_program(ROOT / "examples" / "echo.py", "--seconds", "0.5", cwd=tmp_path)
    assert errors == ""
    lines = printed.splitlines()
    served = [
        (int(match[1]), int(match[2].replace(",", "")))
        for line in lines
        if (match := re.search(r"echo\d+ +(\d+) connections +([\d,]+) requests", line))
    ]
    assert len(served) >= 2
    assert all(connections and requests for connections, requests in served)
    total = re.search(r"([\d,]+) requests in", lines[-1])
    assert total
    assert int(total[1].replace(",", "")) == sum(requests for _, requests in served)
