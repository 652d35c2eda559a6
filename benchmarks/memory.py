"""The resident memory of a process, as Linux reports it."""

import os
from pathlib import Path


def resident_bytes(pid: int | str = "self") -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
