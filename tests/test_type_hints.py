"""Type hints at run time, for programs that set the flag of type checkers before the import."""

from __future__ import annotations

from pathlib import Path

import pytest

from documents import ROOT, check_block, python_blocks, run_program

# The names of the hints come from there, too.
pytest.importorskip("typing_extensions")

PROGRAM = """
import inspect
import typing

typing.TYPE_CHECKING = True
import greenpool

typing.TYPE_CHECKING = False

functions = [getattr(greenpool, name) for name in greenpool.__all__]
for cls in [each for each in functions if isinstance(each, type)]:
    functions += [each for each in vars(cls).values() if inspect.isfunction(each)]
found = 0
for function in functions:
    if function.__module__.startswith("greenpool"):
        found += bool(typing.get_type_hints(function))
assert found > 50, found

assert greenpool.run(lambda: greenpool.spawn(int, "3").get()) == 3
assert greenpool.Greenlet[int].__args__ == (int,)
"""


@pytest.mark.parametrize("pure", [False, True], ids=["as installed", "without the extension"])
def test_all_hints_of_the_bare_import_can_be_resolved(
    pure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pure:
        monkeypatch.setenv("GREENPOOL_PUREPYTHON", "1")
    program = tmp_path / "app.py"
    program.write_text(PROGRAM, encoding="utf-8")
    assert run_program(program, cwd=tmp_path) == ("", "")


def test_the_program_of_the_reference(tmp_path: Path) -> None:
    [block] = python_blocks(ROOT / "docs" / "api" / "index.md", files=True)
    assert block.output
    check_block(block, tmp_path)
