"""Memory comes back: an idle hub gives back what a burst of greenlets has left.

The burst leaves free carriers, and memory that malloc keeps.  A hub *rests* when it has been idle for REST
seconds.  It then works in slices of SLICE seconds and sleeps for PAUSE seconds between them, so nothing that
wakes it has to wait for long.  An event that wakes it ends the rest.  Without the extension it gives back the
carriers only.

*Threads*: everything here runs on the hub's own thread.
"""

from __future__ import annotations

from time import monotonic

from .carrier import KEPT_FREE_CARRIERS, release_carriers
from .speedups import speedups
from .state import HubState

# Carriers that have to end before it is worth while to look for free memory.  Together they take some 4 MB.
BURST = 1000

# Seconds.
REST = 0.05
PAUSE = 0.001
SLICE = 0.0005

# The leftovers of a hub that rests and has not come to the memory yet.
RESTING = object()


def give_back_slice(hub: HubState) -> None:
    """Give back a part of what the last burst has left; called when *hub* has slept without an event."""
    more = True
    if len(hub.free_carriers) > KEPT_FREE_CARRIERS:
        if hub.leftovers is None:
            hub.leftovers = RESTING
        end = monotonic() + SLICE
        while len(hub.free_carriers) > KEPT_FREE_CARRIERS and monotonic() < end:
            release_carriers(hub.free_carriers)
        more = len(hub.free_carriers) > KEPT_FREE_CARRIERS or hub.ended_carriers >= BURST
    elif speedups is None:
        more = False
    else:
        if hub.leftovers is None or hub.leftovers is RESTING:
            hub.leftovers = speedups.find_free_memory()
        more = speedups.give_back(hub.leftovers, SLICE)
    if not more:
        hub.ended_carriers = 0
        hub.leftovers = None
