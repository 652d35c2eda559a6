"""``greenpool.fcntl``: a greenlet that waits for a lock of a file parks, and takes none once it is killed."""

from __future__ import annotations

import fcntl as standard
import os
from pathlib import Path

import pytest

import greenpool
from greenpool import fcntl
from greenpool import os as green_os

pytestmark = pytest.mark.usefixtures("leak_check")


def test_flock_parks_until_the_other_greenlet_lets_go(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as first, open(tmp_path / "file", "w") as second:
        fcntl.flock(first, standard.LOCK_EX)
        waiting = greenpool.spawn(fcntl.flock, second, standard.LOCK_EX)
        greenpool.sleep(0.02)
        assert not waiting.ready()
        fcntl.flock(first, standard.LOCK_UN)
        waiting.get()


def test_a_wait_that_is_killed_takes_no_lock(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as first, open(tmp_path / "file", "w") as second:
        fcntl.flock(first, standard.LOCK_EX)
        waiting = greenpool.spawn(fcntl.flock, second, standard.LOCK_EX)
        greenpool.sleep(0.02)
        waiting.kill()
        fcntl.flock(first, standard.LOCK_UN)
        greenpool.sleep(0.05)
        fcntl.flock(first, standard.LOCK_EX | standard.LOCK_NB)


def test_a_lock_that_is_not_waited_for_is_refused_at_once(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as first, open(tmp_path / "file", "w") as second:
        fcntl.flock(first, standard.LOCK_SH)
        fcntl.flock(second, standard.LOCK_SH)
        with pytest.raises(BlockingIOError):
            fcntl.flock(second, standard.LOCK_EX | standard.LOCK_NB)


def test_errors_are_the_standard_ones() -> None:
    greenpool.get_hub()
    with pytest.raises(OSError, match="Bad file descriptor"):
        fcntl.flock(1_000_000, standard.LOCK_EX)
    with pytest.raises(TypeError):
        fcntl.flock("file", standard.LOCK_EX)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unrecognized"):
        fcntl.lockf(1, 0)


def test_locks_that_nobody_has_are_taken_and_freed(tmp_path: Path) -> None:
    greenpool.get_hub()
    with open(tmp_path / "file", "w") as file:
        fcntl.lockf(file, standard.LOCK_EX, 10, 5, 0)
        fcntl.lockf(file, standard.LOCK_UN)
        green_os.lockf(file.fileno(), os.F_LOCK, 10)
        green_os.lockf(file.fileno(), os.F_ULOCK, 10)
        assert fcntl.fcntl(file, standard.F_GETFD) == standard.FD_CLOEXEC
