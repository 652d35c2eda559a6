"""Which implementations are in use; decided when greenpool is imported.

``python -m greenpool.config`` prints it.
"""

from __future__ import annotations

from ._core.pollers import make_poller
from ._core.speedups import speedups as _speedups

__all__ = ["poller", "speedups"]

#: True if the C extension is in use.  It is where it has been built, unless the environment has
#: ``GREENPOOL_PUREPYTHON=1``.
speedups: bool = _speedups is not None


def poller() -> str:
    """The kernel interface that the hubs wait with: "epoll", "kqueue" or "selector"."""
    made = make_poller()
    made.close()
    return type(made).__name__.removesuffix("Poller").lower()


if __name__ == "__main__":
    print(f"speedups: {'in use' if speedups else 'not in use'}\npoller: {poller()}")
