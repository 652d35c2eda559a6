"""The event bits, with the values of Linux's epoll; the other pollers translate into them."""

from __future__ import annotations

IN = 0x001
PRI = 0x002
OUT = 0x004
ERR = 0x008
HUP = 0x010
RDHUP = 0x2000

# An error or a hang-up ends every wait.
READ = IN | PRI | ERR | HUP | RDHUP
WRITE = OUT | ERR | HUP

# After one of these a short read proves nothing (see registration.py).
RARE = PRI | ERR | HUP | RDHUP
