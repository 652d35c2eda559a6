"""The C programs of this folder, compiled into ``.build/`` when they are first needed."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / ".build"


class NoCompiler(Exception):
    """There is no C compiler, or it refused the source. The message says which."""


LIBRARIES = {"requests": ("-lssl", "-lcrypto")}
"""The libraries that a program needs, with their headers."""


@cache
def compiled(name: str) -> str:
    """Return the path of the program made from ``NAME.c``. Raises NoCompiler."""
    source, program = HERE / f"{name}.c", BUILD / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return str(program)
    candidates = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    compiler = next((path for path in map(shutil.which, filter(None, candidates)) if path), None)
    if compiler is None:
        raise NoCompiler(f"no C compiler (cc, gcc, clang or $CC) was found to build {source.name}")
    BUILD.mkdir(exist_ok=True)
    # Compile under another name first, so that of two benchmarks started at once neither runs half a program.
    unfinished = program.with_suffix(f".{os.getpid()}")
    command = [compiler, "-std=gnu11", "-O2", "-Wall", "-o", str(unfinished), str(source)]
    command += LIBRARIES.get(name, ())
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise NoCompiler(f"{' '.join(command)} failed:\n{result.stderr}")
    unfinished.replace(program)
    return str(program)
