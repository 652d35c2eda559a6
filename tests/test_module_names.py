"""Module names: each green module has every public name of the standard module that it replaces."""

from __future__ import annotations

import importlib
import types

import pytest

MODULES = ("os", "select", "selectors", "signal", "socket", "ssl", "subprocess", "time")


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_present(name: str) -> None:
    standard = importlib.import_module(name)
    green = importlib.import_module(f"greenpool.{name}")
    public = {each for each in vars(standard) if not each.startswith("_")}
    assert public - set(vars(green)) == set()
    exported = getattr(standard, "__all__", ())
    assert set(exported) - set(green.__all__) == set()


@pytest.mark.parametrize("name", MODULES)
def test_only_what_the_standard_module_has_is_exported(name: str) -> None:
    standard = importlib.import_module(name)
    green = importlib.import_module(f"greenpool.{name}")
    added = {"socket": {"wait_read", "wait_write"}}.get(name, set())
    assert set(green.__all__) - set(vars(standard)) == added
    assert all(hasattr(green, each) for each in green.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_what_does_not_wait_is_the_standard_thing_itself(name: str) -> None:
    standard = importlib.import_module(name)
    green = importlib.import_module(f"greenpool.{name}")
    for each, value in vars(standard).items():
        if isinstance(value, (int, str, types.ModuleType)) and not each.startswith("__"):
            assert vars(green)[each] == value
        elif isinstance(value, type) and issubclass(value, Exception):
            assert vars(green)[each] is value
