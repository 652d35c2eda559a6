"""Build the optional C extension; the metadata is in setup.cfg.

Without a C compiler, or with ``GREENPOOL_PUREPYTHON=1`` in the environment, greenpool installs
without the extension and does everything in Python.
"""

import os
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildOptional(build_ext):
    """Says in one line why the extension is left out; setuptools then goes on without it."""

    def build_extension(self, extension: Extension) -> None:
        try:
            super().build_extension(extension)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            print(
                f"greenpool: the C extension was left out, so greenpool will run in pure Python ({reason})",
                file=sys.stderr,
            )
            raise


extension = Extension(
    "greenpool._speedups",
    sorted(glob("csrc/*.c")),
    depends=sorted(glob("csrc/*.h")),
    # The C files share short names such as `park`. No other library of the process may replace them.
    extra_compile_args=["-fvisibility=hidden"],
    optional=True,
)
wanted = os.environ.get("GREENPOOL_PUREPYTHON", "") in ("", "0")
setup(
    ext_modules=[extension] if wanted and extension.sources else [],
    cmdclass={"build_ext": BuildOptional},
)
