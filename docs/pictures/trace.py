"""Makes the picture of docs/trace.md: records a small service, and shows the page in a headless Chromium.

    python docs/pictures/trace.py

It needs selenium, Chromium and its driver, which ``.ci/programs`` installs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import greenpool.trace
from greenpool import Runtime, joinall, sleep, spawn
from greenpool.lock import Semaphore
from greenpool.queue import Queue

jobs: Queue[int | None] = Queue()
database = Semaphore(2)


def compute(milliseconds: float) -> None:
    end = time.perf_counter() + milliseconds / 1000
    while time.perf_counter() < end:
        hashlib.sha256(b"x" * 1000).digest()


def query(number: int) -> None:
    with database:
        sleep(0.004 + number % 3 * 0.003)
        compute(0.3)


def handle(number: int) -> None:
    compute(0.8)
    query(number)
    jobs.put(number)


def worker() -> None:
    while jobs.get() is not None:
        compute(1.2)


def report() -> None:
    sleep(0.03)
    compute(140)


def accept() -> None:
    for number in range(40):
        spawn(handle, number)
        sleep(0.004)


def serve() -> None:
    workers = [spawn(worker), spawn(worker)]
    joinall([spawn(accept), spawn(report), spawn(accept)])
    sleep(0.05)
    for _ in workers:
        jobs.put(None)
    joinall(workers)


def take_picture(page: Path, picture: Path) -> None:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for option in ("--headless=new", "--disable-gpu", "--hide-scrollbars", "--window-size=1180,830"):
        options.add_argument(option)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    chrome = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        chrome.get(page.as_uri())
        # The stall, in the middle of what was before and after it.
        chrome.execute_script("document.getElementById('next-stall').click()")
        chrome.execute_script("const {from, to} = trace.view; trace.setView(from, to - (to - from) / 3)")
        time.sleep(1)
        chrome.save_screenshot(str(picture))
    finally:
        chrome.quit()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "trace.html"
        with Runtime(pool_size=3) as runtime, greenpool.trace.record(page):
            runtime.block_on(serve)
        take_picture(page, Path(__file__).with_name("trace.png"))
