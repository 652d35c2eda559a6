"""The tasks of ``fleet.py`` for Celery, which finds its broker by the variable ``BROKER``."""

from __future__ import annotations

import os
from dataclasses import astuple

from celery import Celery
from pages import fetch

broker = os.environ.get("BROKER", "redis://localhost:6379/0")
app = Celery("fleet_tasks", broker=broker, backend=broker, broker_connection_retry_on_startup=True)


@app.task  # type: ignore[untyped-decorator]
def fetch_page(url: str) -> tuple[object, ...]:
    return astuple(fetch(url))
