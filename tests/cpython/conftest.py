"""CPython's own tests take minutes, so pytest collects them only with GREENPOOL_CPYTHON_TESTS=1."""

import os

import pytest

collect_ignore = ["uninstalled"]  # worker.py runs these
if not os.environ.get("GREENPOOL_CPYTHON_TESTS"):
    collect_ignore.append("test_cpython.py")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cpython: runs CPython's own tests under the patching")
