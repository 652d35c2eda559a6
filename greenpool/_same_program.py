"""A program that ``python -m greenpool`` runs starts itself again: the child runs by greenpool as well.

The reloaders of Django, Tornado and others, and gunicorn's upgrade on SIGUSR2, start their own program once
more. They put the command together from ``sys.executable``, ``sys.argv`` and ``__main__``, which say
nothing of greenpool. So a command that names this interpreter and this script or module gets ``-m
greenpool`` and its options in front of the script, on its way through ``subprocess.Popen``, ``os.execv`` or
``os.execve`` (which all of the ``exec`` and ``spawn`` family call).  Any other command stays what it is.
Those who take ``sys.orig_argv`` (Werkzeug) have greenpool in it already.

The children of ``multiprocessing`` with the start method "spawn" (``uvicorn --reload``) execute a line of
code, which patches first.  They have no pool: their main thread is the hub of all their threads.

*Threads*: installed by the main thread before the program starts; the replaced functions run in any.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

__all__ = ["SameProgram"]

# Options of the interpreter that are followed by a value, if the value is not part of the same argument.
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")


class SameProgram:
    """What the running program is called by, and what a command that starts it again needs.

    *path* is its script, *module* what follows ``-m``, *options* are those of ``python -m greenpool``,
    *native* the modules that keep native threads, *as_gevent* whether greenpool has gevent's name.
    """

    def __init__(
        self,
        path: str | None,
        module: str | None,
        options: Iterable[str],
        native: Iterable[str],
        as_gevent: bool = False,
    ) -> None:
        self._path = None if path is None else os.path.realpath(path)
        self._modules = () if module is None else (module, f"{module}.__main__")
        self._inserted = ["-m", "greenpool", *options]
        self._native = tuple(native)
        self._as_gevent = as_gevent

    def command(self, arguments: Sequence[Any]) -> Sequence[Any]:
        """The command, by greenpool if it starts this program."""
        try:
            words = [os.fspath(word) for word in arguments]
        except TypeError:
            return arguments  # the call itself says what is wrong
        # Another path may name the interpreter of another environment, which need not have greenpool.
        if not words or words[0] != sys.executable:
            return arguments
        at = 1
        while at < len(words) and isinstance(words[at], str) and words[at].startswith("-"):
            if words[at] in ("-m", "-c", "-"):
                break
            at += 2 if words[at] in _WITH_VALUE else 1
        if not self._is_at(words[at : at + 2]):
            return arguments
        return [*words[:at], *self._inserted, *words[at:]]

    def _is_at(self, words: list[Any]) -> bool:
        if not words or not isinstance(words[0], str):
            return False
        if words[0] == "-m":
            return words[-1] in self._modules
        return not words[0].startswith("-") and os.path.realpath(words[0]) == self._path

    def install(self) -> None:
        """Look at every command from now on."""
        popen: Any = subprocess.Popen
        popen.__init__ = self._with_command(popen.__init__)
        os.execv = self._with_command(os.execv)
        os.execve = self._with_command(os.execve)
        # It is imported here, because it takes patched names.
        spawn: Any = importlib.import_module("multiprocessing.spawn")
        spawn.get_command_line = self._with_patch(spawn.get_command_line)

    def _with_command(self, standard: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(standard)
        def start(first: object, args: object = None, /, *rest: object, **keywords: object) -> Any:
            # The first is the path, or the new Popen.
            if "args" in keywords:
                args = keywords.pop("args")
            if isinstance(args, (list, tuple)):
                args = self.command(args)
            return standard(first, args, *rest, **keywords)

        return start

    def _patch(self) -> str:
        # The native modules must be found, and the child gets the path only later.
        path = f"import sys; sys.path[:] = {sys.path!r}; " if self._native else ""
        name = "import greenpool; greenpool.install_as_gevent(); " if self._as_gevent else ""
        return f"{path}{name}from greenpool import monkey; monkey.patch_all(native={self._native!r})"

    def _with_patch(self, standard: Callable[..., list[str]]) -> Callable[..., list[str]]:
        @wraps(standard)
        def get_command_line(**keywords: object) -> list[str]:
            line = standard(**keywords)
            if "-c" in line:
                code = line.index("-c") + 1
                line[code] = f"{self._patch()}; {line[code]}"
            return line

        return get_command_line
