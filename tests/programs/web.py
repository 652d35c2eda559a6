"""Asking a web server that is the patched program, many times at once."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import greenpool

AT_ONCE = 30


def python(*arguments: object) -> list[object]:
    """The command that runs python with the arguments and with this greenpool on its path, unbuffered."""
    path = os.pathsep.join([str(Path(greenpool.__file__).parent.parent), *sys.path])
    return ["env", f"PYTHONPATH={path}", "PYTHONUNBUFFERED=1", sys.executable, *arguments]


def get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        assert response.status == 200, f"{path}: {response.status} {body[:2000]}"
        return body
    finally:
        connection.close()


def check_at_once(port: int, kinds: Iterable[str]) -> None:
    """Ask for ``/kind/number`` of all kinds and numbers at once, which must answer ``kind number``."""
    paths = [f"/{kind}/{number}" for number in range(AT_ONCE) for kind in kinds]
    with ThreadPoolExecutor(len(paths)) as threads:
        answers = list(threads.map(lambda path: get(port, path), paths))
    assert answers == [path[1:].replace("/", " ") for path in paths]
