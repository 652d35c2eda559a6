"""The console: look into this process from another one, also while its hubs are blocked.

``listen()`` opens a Unix socket in a directory of the user's own, and the commands ``greenpool ps PID``,
``stacks``, ``top``, ``trace`` and ``repl`` connect to it.  ``python -m greenpool app.py`` opens it, unless
``GREENPOOL_CONSOLE=0`` is in the environment.  In any other program ``GREENPOOL_CONSOLE=1`` opens it when
greenpool is imported.

*Who gets in*: processes of the same user, and root.  The directory has the mode 0700, the socket 0600, and
the kernel says of each peer which user it is.  Nothing listens to a network.

*Threads*: the socket is served by real threads, which no hub can block.
"""

from __future__ import annotations

from .server import close, listen

__all__ = ["close", "listen"]
