"""The documentation: its code runs and prints what the text says."""

from __future__ import annotations

from pathlib import Path

import pytest

from documents import ROOT, Block, check_block, python_blocks

BLOCKS = [block for path in sorted((ROOT / "docs").rglob("*.md")) for block in python_blocks(path)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_code_runs(block: Block, tmp_path: Path) -> None:
    check_block(block, tmp_path)


def test_the_tutorial_has_code() -> None:
    assert any(block.path.name == "tutorial.md" for block in BLOCKS)
