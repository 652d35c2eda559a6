"""The wakeup descriptor of signals, which the main thread's hub sets for as long as it sleeps.

Python calls signal handlers in the main thread, between two bytecodes.  A signal that comes after the last of
these and before the kernel waits does not end the wait, nor does one that the kernel delivers to another
thread: the handler, and whoever waits for what it does, would be as late as the hub's next event.  But Python
also writes a byte to the descriptor that ``signal.set_wakeup_fd`` names; here that is a pipe which the poller
watches.

The program may have set one of its own.  So the hub sets the pipe for its sleep only, and passes on what came
in.  (It cannot know whether the program's is to warn when it is full; afterwards it does not.)

*Threads*: the main one; in the child of a fork the one that has forked, which is the main thread there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from .native import read, signal, write
from .pollers.events import IN
from .typing import TYPE_CHECKING
from .wakers import PipeWaker

if TYPE_CHECKING:
    from .pollers import Poller

set_wakeup_fd: Callable[..., int] = signal.set_wakeup_fd

# Up to Python 3.12 the main thread learns that another one was given a signal when it next takes the GIL
# (bpo-40010).  If that was just before the pipe was set, nothing else says so; to write nothing lets go of
# the GIL.
NEEDS_GIL_TO_SEE_SIGNALS = sys.version_info < (3, 13)


class SignalWaker(PipeWaker):
    __slots__ = ("_listens", "_previous")

    def __init__(self) -> None:
        super().__init__()
        self._listens = False
        # The program's own descriptor, as the hub found it when it last blocked in its poller.
        self._previous = -1

    def poll(self, poller: Poller, timeout: float | None) -> list[tuple[int, int]]:
        """``poller.poll(timeout)``, which any signal ends."""
        events = None
        try:
            self._listen()
            events = poller.poll(timeout)
            return events
        finally:
            # It is closed if a handler has forked meanwhile and this is the child.
            if self.fd != -1:
                self._stop_listening()
                if events is None or self._previous != -1 or (self.fd, IN) in events:
                    self.drain()

    def drain(self) -> None:
        if self._previous == -1:
            super().drain()
        else:
            pass_on(self.fd, self._previous)

    def close(self) -> None:
        self._stop_listening()
        super().close()
        self.fd = -1

    def _listen(self) -> None:
        self._listens = True
        previous = set_wakeup_fd(self._write_fd)
        if previous != self._write_fd:
            self._previous = previous
        if NEEDS_GIL_TO_SEE_SIGNALS and self.fd != -1:
            write(self._write_fd, b"")

    def _stop_listening(self) -> None:
        if not self._listens:
            return  # what the program has set since the last sleep stays
        try:
            current = set_wakeup_fd(self._previous, warn_on_full_buffer=False)
        except (OSError, ValueError):
            # The program has closed it while the hub slept.
            current = set_wakeup_fd(-1)
        self._listens = False
        if current != self._write_fd:
            # A signal handler has set another meanwhile, or none.
            set_wakeup_fd(current)


def in_main_thread() -> bool:
    """Whether signal handlers run in the calling thread.

    Asked of signal itself: threading takes the thread that was the first to import it for the main one, and
    a copy of it need not know yet that the process has forked.
    """
    try:
        set_wakeup_fd(-2)
    except ValueError:
        return False
    except OSError:
        return True  # there is no such descriptor, so nothing was set
    raise AssertionError("set_wakeup_fd(-2) succeeded")


def pass_on(reading: int, wakeup_fd: int) -> None:
    """Write what came in at *reading*, which does not block, to the descriptor that was set before."""
    try:
        write(wakeup_fd, read(reading, 4096))
    except OSError:
        pass  # none came in, or the other end is full, and knows thereby
