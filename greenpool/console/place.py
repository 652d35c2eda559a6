"""Where the sockets of consoles are, and which user is at the other end of one."""

from __future__ import annotations

import _socket
import os
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

ROOT = 0


def own_directory() -> str:
    """The directory for the sockets of this user, made if need be.

    Raises PermissionError if it belongs to another user, or if others may enter it.
    """
    directory = next(_directories(os.geteuid()))
    # Only its last part is made here, and not with the umask.
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    check_directory(directory)
    return directory


def check_directory(directory: str) -> None:
    """Raise PermissionError unless *directory* belongs to this user, and no other may enter it."""
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{directory} is no directory")
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to another user")
    if found.st_mode & 0o077:
        raise PermissionError(f"{directory} is open to other users")


def socket_path(directory: str, pid: int) -> str:
    return os.path.join(directory, f"{pid}.sock")


def paths_of(pid: int) -> Iterator[str]:
    """The paths at which the socket of process *pid* may be."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        owner = os.geteuid()
    for directory in _directories(owner):
        yield socket_path(directory, pid)


def _directories(owner: int) -> Iterator[str]:
    """The directories for the sockets of user *owner*, the preferred one first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") if owner == os.geteuid() else f"/run/user/{owner}"
    if runtime and os.path.isdir(runtime):
        yield os.path.join(runtime, "greenpool")
    yield os.path.join(tempfile.gettempdir(), f"greenpool-{owner}")


def remove_stale(directory: str) -> None:
    """Remove the sockets of processes that do not exist any more."""
    for name in os.listdir(directory):
        pid, _, ending = name.partition(".")
        if ending == "sock" and pid.isdigit() and not exists(int(pid)):
            try:
                os.unlink(os.path.join(directory, name))
            except FileNotFoundError:
                continue  # another process has removed it


def exists(pid: int) -> bool:
    """Whether process *pid* runs; one that has ended and that its parent has not taken note of does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return True  # a system without /proc


def peer_user(connection: Any) -> int:
    """The user of the process at the other end of a Unix socket, as the kernel says."""
    if sys.platform == "linux":
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, struct.calcsize("3i"))
        _, user, _ = struct.unpack("iII", credentials)
    else:
        # The beginning of struct xucred: its version and the user.
        credentials = connection.getsockopt(0, getattr(_socket, "LOCAL_PEERCRED", 1), 76)
        _, user = struct.unpack_from("II", credentials)
    return int(user)


def may_enter(user: int) -> bool:
    """Whether a process of *user* may look into this one."""
    return user in (os.geteuid(), ROOT)
