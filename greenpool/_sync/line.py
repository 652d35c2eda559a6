"""Line: the common part of Lock, RLock and Semaphore.

These three are one thing: *permits*, and a *line* of waiters, served first come, first served.  A released
permit goes to the head of the line together with the claim of its waiter (see _core/waiter.py).  So nobody
overtakes the line.  A waiter that a kill or a timeout has claimed is passed over and takes no permit.

*The fast path takes no lock.*  A permit is an element of a list or a set, or the absence of a key of a dict.
One method call takes it or puts it back.  Each of these calls is one step for all other threads.  With the
GIL that is so because the call is C code that never releases the GIL.  Without the GIL it is so because the
call holds the container's own mutex throughout.  Everything else, above all the line, is touched under
``_guard``.  The rules:

    acquire:  if the line is empty, take a permit.  If not, or if none is free, do this under the guard:
              get in line, *then* hand the free permits to the line
    release:  put the permit back, *then*, if the line is not empty, do this under the guard:
              hand the free permits to the line

*No wake-up is lost.*  Let W get in line while R releases.  Both do a step of the kind above: W when it
tries to take a permit for the line, R when it puts its permit back.  These two steps have an order.  If R's
comes first, W finds the permit.  If W's comes first, then everything that W did before it, getting in line
included, happens before R's step.  So R then looks at the line and finds it not empty.  This holds on
processors that reorder memory accesses, too: R's look needs no barrier of its own, because the mutex that W
released and R then took orders the two threads.  (It would be wrong if W only *looked* for a permit: on
such processors both looks may miss the other thread's write.)

*Nobody is overtaken.*  A caller that finds the line empty came before every waiter that gets in line after
that look.  A caller that finds a waiter in line gets in line behind it.

*The guard is reentrant*, because a signal handler or a finalizer may release a permit between any two steps
below, on the same thread.  Its whole call then comes between two steps, and each pair of steps is right then,
too.  No foreign code runs under the guard.
"""

from __future__ import annotations

from collections import OrderedDict

from .._core.native import RLock as Guard
from .._core.waiter import WOKEN, Claimable, Waiter


class Line:
    """The permits' common part: the line of waiters."""

    __slots__ = ("_guard", "_line", "__weakref__")

    def __init__(self) -> None:
        self._guard = Guard()
        # FIFO of waiters; each maps to the argument for ``_take``.  None means that the waiter takes no
        # permit, and only wants to know that one is free.  A dict once somebody has had to wait.
        self._line: OrderedDict[Claimable, object] | tuple[()] = ()

    # The permits.  Each method is a single step (see above).  ``_take`` is called under the guard only.

    def _take(self, taker: object) -> bool:
        raise NotImplementedError

    def _give_back(self) -> None:
        raise NotImplementedError

    def _handed_to(self, taker: object) -> None:
        """Give the permit that ``_take(None)`` took to *taker*."""

    # The line.

    def _serve(self) -> list[Claimable]:
        """Hand out permits.  The caller holds the guard, lets go of it, and resumes the waiters returned."""
        line = self._line
        woken: list[Claimable] = []
        while line and self._take(None):
            try:
                while True:
                    waiter, taker = line.popitem(last=False)
                    if waiter.claim(True):
                        woken.append(waiter)
                        if taker is not None:
                            self._handed_to(taker)
                            break
            except KeyError:
                # No waiter was left that wants it.
                self._give_back()
        return woken

    def _serve_and_resume(self) -> None:
        with self._guard:
            woken = self._serve()
        for waiter in woken:
            waiter.resume()

    def _get_in_line(self, waiter: Claimable, taker: object) -> None:
        """Append *waiter*; the caller holds the guard."""
        if not isinstance(self._line, OrderedDict):
            self._line = OrderedDict()
        self._line[waiter] = taker

    def _try_to_take(self, taker: object) -> bool:
        with self._guard:
            woken = self._serve()
            taken = not self._line and self._take(taker)
        for waiter in woken:
            waiter.resume()
        return taken

    def _wait_in_line(self, taker: object, timeout: float | None) -> bool:
        """Wait for a permit; False when *timeout* seconds passed before."""
        waiter = Waiter(self._guard)
        with self._guard:
            self._get_in_line(waiter, taker)
            woken = self._serve()
        for other in woken:
            other.resume()
        try:
            if waiter.park(timeout):
                return True
        except BaseException:
            self._leave(waiter, taker)
            raise
        self._leave(waiter, taker)
        return False

    def _leave(self, waiter: Waiter, taker: object) -> None:
        """Take *waiter* out of the line."""
        with self._guard:
            if self._line:
                self._line.pop(waiter, None)
            # KeyboardInterrupt can come after a permit was handed over and before its waiter has seen it.
            if waiter.state == WOKEN and taker is not None:
                self._give_back()
            woken = self._serve()
        for other in woken:
            other.resume()

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: the waiters, and the holder of the guard, exist only in the parent."""
        self._guard = Guard()
        self._line = ()

    def _described(self, locked: bool, details: str = "") -> str:
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{'locked' if locked else 'unlocked'} {kind} object{details} at {id(self):#x}>"
