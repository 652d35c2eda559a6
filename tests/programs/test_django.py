"""Django is the patched program: sync views, ORM and async views at once, under gunicorn and runserver."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .servers import free_port, running, wait_until_listening
from .web import AT_ONCE, check_at_once, get, python

pytest.importorskip("django")

pytestmark = pytest.mark.slow

SITE = f"""
import asyncio
import os
import threading
import time
from pathlib import Path

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

settings.configure(
    DEBUG=True,
    SECRET_KEY="test",
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DATABASES={{
        "default": {{
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path(__file__).with_name("database"),
            "OPTIONS": {{"timeout": 20}},
        }}
    }},
)
django.setup()

from django.contrib.auth.models import User

# Each of these views answers only when that many requests are in it at the same time.
sync_barrier, async_barrier = threading.Barrier({AT_ONCE}), threading.Barrier({AT_ONCE})


def sync(request, number):
    sync_barrier.wait(20)
    assert request.path == f"/sync/{{number}}"
    return HttpResponse(f"sync {{number}}")


def orm(request, number):
    User.objects.create(username=f"orm {{number}}")
    time.sleep(0.01)
    return HttpResponse(User.objects.get(username=f"orm {{number}}").username)


async def asynchronous(request, number):
    await asyncio.sleep(0.01)
    await sync_to_async(async_barrier.wait, thread_sensitive=False)(20)
    await User.objects.acreate(username=f"async {{number}}")
    user = await User.objects.aget(username=f"async {{number}}")
    return HttpResponse(user.username)


def state(request):
    from greenpool import monkey

    return JsonResponse({{
        "patched": monkey.is_module_patched("threading"), "process": os.getpid(), "version": "first"
    }})


urlpatterns = [
    path("sync/<int:number>", sync),
    path("orm/<int:number>", orm),
    path("async/<int:number>", asynchronous),
    path("state", state),
]
application = get_wsgi_application()
"""

MANAGE = """
import sys

import site_of_test
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""

# The gunicorn.conf.py of the documentation.
CONFIG = """
from greenpool import monkey

monkey.patch_all()
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site_of_test.py").write_text(SITE, encoding="utf-8")
    (tmp_path / "manage.py").write_text(MANAGE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command = list(map(str, python("manage.py", "migrate", "-v0")))
    subprocess.run(command, check=True, timeout=50)
    return tmp_path


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
