"""Builds the optional C extension; the metadata is in setup.cfg.

Without a C compiler, or with ``GREENPOOL_PUREPYTHON=1`` in the environment, greenpool installs
without the extension and does everything in Python.
"""

import os

from setuptools import Extension, setup

SOURCES = [
    "greenpool/_speedups.c",
    "greenpool/_speedups_connect.c",
    "greenpool/_speedups_exit.c",
    "greenpool/_speedups_paths.c",
    "greenpool/_speedups_queue.c",
    "greenpool/_speedups_sections.c",
    "greenpool/_speedups_spin.c",
    "greenpool/_speedups_task.c",
    "greenpool/_speedups_stack.c",
]
HEADERS = ["greenpool/_speedups.h", "greenpool/_speedups_slots.h"]

wanted = os.environ.get("GREENPOOL_PUREPYTHON", "") in ("", "0")
setup(
    ext_modules=[Extension("greenpool._speedups", SOURCES, depends=HEADERS, optional=True)]
    if wanted and all(map(os.path.exists, SOURCES))
    else []
)
