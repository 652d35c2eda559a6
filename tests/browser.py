"""A headless Chromium for the tests of pages. They skip where it, its driver or selenium cannot be had.

A test module imports the fixture and is marked, so that ``pytest -m browser`` runs it::

    from browser import browser, complaints
    __all__ = ["browser"]
    pytestmark = pytest.mark.browser
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# The browser must reach this machine only: a page that loads something from elsewhere shows an error.
_OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--window-size=1200,800",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A selenium driver of one Chromium, for all tests of a module. Its window has 1200 x 800 pixels."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or pytest.skip("Chromium is not installed")
    driver = shutil.which("chromedriver") or pytest.skip("Chromium's driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in _OPTIONS:
        options.add_argument(option)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which Chromium demands of root
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def complaints(browser: Chrome) -> list[str]:
    """Return the warnings and errors of the page's console since the last call."""
    return [
        entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")
    ]


def prefer_color_scheme(browser: Chrome, scheme: str) -> None:
    """Show pages as to a user who prefers a *scheme*: ``"light"`` or ``"dark"``."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
