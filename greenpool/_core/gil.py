"""The offer of the GIL: how busy hubs share it.

A busy hub polls without releasing the GIL, so other hubs would get it only when CPython takes it away, after
5 ms.  On one core four busy hubs then wait up to 30 ms for a turn.  So each hub offers the GIL once in each
of its turns.
"""

from __future__ import annotations

import os
from time import monotonic

from .state import HubState

# Seconds for which a busy hub keeps the GIL before it offers it.  1, 2 and 3 ms are about as good for the
# throughput of two and four hubs.  With 1 ms a new connection at a busy server of four hubs on one core waits
# 1.4 times as long as with one hub, with 2 ms 1.6 times.
TURN = 0.001

NEVER = float("inf")

# The thread of the hub that was the last to keep the GIL, which guards this.
_keeper = 0


def offer_gil(hub: HubState) -> None:
    """Offer the GIL, if the turn of *hub* has lasted long enough; on its thread, with a GIL only.

    On one core another hub takes it here.  On several cores the other thread mostly wakes too late, and
    CPython begins to count its 5 ms anew.  Repeated offers would let one hub keep the GIL: two hubs had turns
    of a second.
    """
    global _keeper
    if _keeper != hub.thread_id:
        _keeper = hub.thread_id
        hub.turn_end = monotonic() + TURN
    elif monotonic() > hub.turn_end:
        hub.turn_end = NEVER
        os.sched_yield()
