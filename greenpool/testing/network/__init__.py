"""A simulated network for runs of ``greenpool.testing``: sockets in memory, and faults that a test sets.

``simulated()`` turns it on, inside a run.  Sockets between the greenlets and threads of the run then need no
kernel, the run's clock times them, and its seed decides what is lost.
"""

from __future__ import annotations

from .link import Link
from .simulation import Network, simulated

__all__ = ["Link", "Network", "simulated"]
