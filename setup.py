"""Build the optional C extension; the metadata is in setup.cfg.

Without a C compiler, or with ``GREENPOOL_PUREPYTHON=1`` in the environment, greenpool installs
without the extension and does everything in Python.
"""

import os
from glob import glob

from setuptools import Extension, setup

extension = Extension(
    "greenpool._speedups",
    sorted(glob("csrc/*.c")),
    depends=sorted(glob("csrc/*.h")),
    # The C files share short names such as `park`. No other library of the process may replace them.
    extra_compile_args=["-fvisibility=hidden"],
    optional=True,
)
wanted = os.environ.get("GREENPOOL_PUREPYTHON", "") in ("", "0")
setup(ext_modules=[extension] if wanted and extension.sources else [])
