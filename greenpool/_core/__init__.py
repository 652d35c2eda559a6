"""One hub on one thread: the loop, its tasks, waiters, timers and pollers.

It knows no pool, no patching and no public module.  The order of the files, lowest first: errors, timers,
inbox, current, waiter, timeout, task, carrier, descriptor, pollers, hub.
"""
