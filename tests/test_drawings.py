"""The drawings of the documentation are what their sources make."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from documents import ROOT, run_program

DRAWINGS = ROOT / "docs" / "drawings"
SOURCES = sorted(path for path in DRAWINGS.glob("*.py") if path.name != "svg.py")


def test_there_is_a_source_for_each_drawing() -> None:
    assert [path.stem for path in SOURCES] == sorted(path.stem for path in DRAWINGS.glob("*.svg"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_it_is_what_its_source_makes(source: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.svg"
    assert run_program(source, made, cwd=tmp_path) == ("", "")
    assert source.with_suffix(".svg").read_bytes() == made.read_bytes()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_it_says_what_it_shows_and_its_text_is_text(source: Path) -> None:
    root = ElementTree.parse(source.with_suffix(".svg")).getroot()
    assert root.get("aria-label")
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts
    assert all(texts)
