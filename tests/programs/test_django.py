"""Django is the patched program: sync views, ORM and async views at once, under gunicorn and runserver."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .django_site import SITE
from .servers import free_port, running, wait_until_listening
from .web import check_at_once, get, python

pytest.importorskip("django")

pytestmark = pytest.mark.slow

# The gunicorn.conf.py of the documentation.
CONFIG = """
from greenpool import monkey

monkey.patch_all()
"""


@pytest.mark.parametrize("by_greenpool", [True, False], ids=["python -m greenpool", "gunicorn.conf.py"])
def test_under_gunicorn(by_greenpool: bool, site: Path) -> None:
    pytest.importorskip("gunicorn")
    port = free_port()
    if by_greenpool:
        before = ["-m", "greenpool", "--pool-size", "1", "-m", "gunicorn"]
    else:
        (site / "gunicorn.conf.py").write_text(CONFIG, encoding="utf-8")
        before = ["-m", "gunicorn"]
    options = ["-k", "gthread", "--threads", "100", "-w", "1", "-b", f"127.0.0.1:{port}"]
    command = python(*before, *options, "site_of_test:application")
    with running(command, ready="Booting worker"):
        check_at_once(port, ["sync", "orm", "async"])
        assert json.loads(get(port, "/state"))["patched"] is True


@contextmanager
def runserver() -> Iterator[int]:
    port = free_port()
    command = python("-m", "greenpool", "--pool-size", "2", "manage.py", "runserver", f"127.0.0.1:{port}")
    with running(command, ready="Quit the server with"):
        wait_until_listening(port)
        yield port


def test_under_runserver(site: Path) -> None:
    with runserver() as port:
        check_at_once(port, ["sync", "orm", "async"])
        assert json.loads(get(port, "/state"))["patched"] is True


def test_runserver_is_patched_after_a_reload_too(site: Path) -> None:
    with runserver() as port:
        first = json.loads(get(port, "/state"))
        assert first["patched"] is True
        file = site / "site_of_test.py"
        file.write_text(SITE.replace('"first"', '"second"'), encoding="utf-8")
        second = wait_for_another(port, first["process"], file)
        assert (second["patched"], second["version"]) == (True, "second")


def wait_for_another(port: int, process: int, file: Path) -> dict[str, object]:
    """Ask until another process answers. Django looks at the files once a second, and is away meanwhile.

    It may look for the first time only after the file was written, so the file is touched again and again.
    """
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        file.touch()
        wait_until_listening(port)
        try:
            state: dict[str, object] = json.loads(get(port, "/state"))
        except OSError:
            continue  # it has ended between the two
        if state["process"] != process:
            return state
        time.sleep(0.05)
    pytest.fail("Django has not started another process")
