"""One hub on one thread: the loop, its tasks, waiters, timers and pollers.

It knows no pool, no patching and no public module.  The order of the files, lowest first: errors, timers,
inbox, current, waiter, timeout, task, carrier, descriptor, pollers, hub.
"""

from __future__ import annotations

import os

# The directory of greenpool: the code of a frame in it is not the program's.
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
