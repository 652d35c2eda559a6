"""Runs in a patched program.

Patching cannot be undone, so a process that is not patched does not become so for one test.  It forks, and
the child is patched and does the runs.  What they return or raise comes back pickled, and what they change
does not come back.

*Threads*: the main thread forks, because only that may be patched.  Other OS threads do not exist in the
child.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from .. import monkey
from .arguments import check_caller


def is_patched() -> bool:
    """Whether this process is patched, so that runs need no other one."""
    return monkey.is_module_patched("threading")


def run_patched(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call *function* in a child process that is patched; returns and raises what it does."""
    check_caller()
    reader, writer = os.pipe()
    child = fork_quietly()
    if not child:
        status = 1
        try:
            os.close(reader)
            _run_in_child(writer, function, args, kwargs)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise RuntimeError("the child process of a patched run has ended without an answer")
    value, error = pickle.loads(answer)
    if error is not None:
        raise error
    return value


def fork_quietly() -> int:
    """Fork, without the warning of the other threads: none of them takes part in the child."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def patch_here() -> None:
    """Patch this process, a child that was made for it."""
    with warnings.catch_warnings():
        # Modules of the parent have made locks and started threads before.
        warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
        monkey.patch_all()


def _run_in_child(
    writer: int, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    value, error = None, None
    try:
        patch_here()
        value = function(*args, **kwargs)
    except BaseException as caught:
        error = caught
    answer = _pickled(value, error)
    sys.stdout.flush()
    sys.stderr.flush()
    with open(writer, "wb") as pipe:
        pipe.write(answer)


def _pickled(value: object, error: BaseException | None) -> bytes:
    if error is not None:
        error.add_note("".join(traceback.format_exception(error)))
    try:
        answer = pickle.dumps((value, error))
        pickle.loads(answer)
    except Exception as failure:
        text = f"cannot be pickled ({failure}): {value!r}, {error!r}"
        notes = "" if error is None else "\n" + "\n".join(error.__notes__)
        return pickle.dumps((None, RuntimeError(f"{text}{notes}")))
    return answer
