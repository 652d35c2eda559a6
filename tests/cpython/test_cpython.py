"""The reduced run, as tests: every test of CPython's that passes unpatched passes patched.

pytest collects it only with GREENPOOL_CPYTHON_TESTS=1 in the environment, or if this file is named.
"""

import pytest

from . import count, watch
from .__main__ import PATCH

# This limit is for one module. A run that keeps every test takes far less, and some hangs of 20 s still fit.
pytestmark = [pytest.mark.cpython, pytest.mark.time_limit(600)]

PRESENT = [module for module in count.MODULES if count.is_present(module)]


@pytest.fixture(scope="module")
def counts() -> list[count.Count]:
    """The modules that were counted in this session."""
    return []


@pytest.mark.skipif(not PRESENT, reason="CPython's tests (package test) are not installed")
@pytest.mark.parametrize("module", count.MODULES)
def test_kept(module: str, counts: list[count.Count]) -> None:
    if module not in PRESENT:
        pytest.skip(f"{module} is not in this version of CPython")
    one = count.count(module, count.Selection(reduced=True), watch.Setting(PATCH))
    counts.append(one)
    faults = one.faults()
    assert not faults, "\n".join([*faults, one.details()])


def test_exceptions_are_few(counts: list[count.Count]) -> None:
    if not PRESENT or len(counts) < len(PRESENT):
        pytest.skip("the bound is on a part of all modules, and not all were counted")
    assert count.too_many_exceptions(counts) is None
