"""A site of Django with sync views, views that use the ORM, and async views."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .web import AT_ONCE, python

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


def make_site(directory: Path, code: str = SITE) -> None:
    """Write the site into *directory*, the current one, and make its database."""
    (directory / "site_of_test.py").write_text(code, encoding="utf-8")
    (directory / "manage.py").write_text(MANAGE, encoding="utf-8")
    command = list(map(str, python("manage.py", "migrate", "-v0")))
    subprocess.run(command, check=True, timeout=50)
