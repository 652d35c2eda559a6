"""The headless Chromium of the tests of pages: it shows a file, hears its errors, and reaches nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browser import browser, complaints, prefer_color_scheme

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["browser"]  # the fixture

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def show(browser: Chrome, path: Path, text: str) -> None:
    path.write_text(f"<!doctype html><meta charset=utf-8><link rel=icon href=data:,>{text}")
    browser.get(path.as_uri())


def test_a_page_from_a_file_runs_without_complaints(browser: Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path / "page.html", "<p id=p><script>p.textContent = innerWidth</script>")
    assert browser.find_element("id", "p").text == "1200"
    assert complaints(browser) == []


def test_an_error_of_a_script_is_a_complaint_once(browser: Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path / "page.html", "<script>missing()</script>")
    assert "missing is not defined" in "".join(complaints(browser))
    assert complaints(browser) == []


def test_a_page_that_loads_something_from_elsewhere_gets_nothing(browser: Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path / "page.html", "<script src=http://example.org/a.js></script>")
    assert "ERR_NAME_NOT_RESOLVED" in "".join(complaints(browser))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_preferred_color_scheme_is_what_the_test_says(
    browser: Chrome, tmp_path: Path, scheme: str
) -> None:
    prefer_color_scheme(browser, scheme)
    show(browser, tmp_path / "page.html", "")
    assert browser.execute_script(
        "return matchMedia(`(prefers-color-scheme: ${arguments[0]})`).matches", scheme
    )
