"""Runs of pytest within a test, without the options of the run that this test belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def without_options_of_this_run() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("PYTEST_"):
                patch.delenv(name)
        yield


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    with without_options_of_this_run():
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA", *options, timeout=80)
