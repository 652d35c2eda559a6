"""The names of the hubs' threads, where py-spy and the system look for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from documents import ROOT

SCRIPT = """
import os, sys, threading
import greenpool
from greenpool._core import native
if sys.argv[1] == "patched":
    from greenpool import monkey
    monkey.patch_all()

def names():
    return sorted(thread.name for thread in threading._active.values() if thread.name.startswith("greenpool"))

with greenpool.Runtime(pool_size=2) as runtime:
    print(names(), len(threading.enumerate()), threading.active_count())
    print(all(ident in native.current_frames() for ident in threading._active))
    number = runtime.spawn(threading.get_native_id).get()
    try:
        print(open(f"/proc/self/task/{number}/comm").read().strip().rstrip("12"))
    except OSError:
        print("greenpool-")
    pid = os.fork()
    if not pid:
        os._exit(len(names()))
    print(os.waitpid(pid, 0)[1])
print(names())
"""


@pytest.mark.parametrize(("patched", "threads"), [("patched", 1), ("plain", 3)])
def test_hubs_are_named_while_they_run(patched: str, threads: int) -> None:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, patched], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    hubs = "['greenpool-1', 'greenpool-2']"
    assert process.stdout == f"{hubs} {threads} {threads}\nTrue\ngreenpool-\n0\n[]\n", process.stderr
