"""A hub's inbox: the only way in from another thread.

Any thread posts; the hub's thread takes.  The lock makes three things one step: the question whether the
inbox is still open, the append, and the wake-up of a sleeping hub.  So nothing that was accepted is left
behind, and a write to the waker never goes to a descriptor that the hub has closed meanwhile.

The waker is written at most once per sleep: the hub says that it is asleep *before* it looks at the queue
for the last time, and whoever posts first after that takes the flag down.

The lock is reentrant because a Python signal handler may post (say, set an event) in the main thread
between any two bytecodes, also between those of a post.  Both orders of every pair of steps below are
right when a whole post happens in between.

*Spinning*: to lie down and be woken takes some 50 us, most of it the kernel's, and an answer from another hub
may be there before that.  So a hub whose last sleep was that short and ended with a post looks at its queue
for a moment before it lies down again: a value to another hub and back then takes a sixth of the time, or
half of it without the extension.  Where it looks in vain (on one core, always) it does so half as often the
next time.  While it looks it must not keep the GIL, or nobody could post.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from .native import RLock
from .spin import await_post
from .typing import TYPE_CHECKING, Protocol, final
from .wakers import Waker

if TYPE_CHECKING:
    from typing import TypeVarTuple

    Ts = TypeVarTuple("Ts")

# Seconds: how long a hub spins, and how long a sleep that a post has ended counts as short.
SPIN = 50e-6
SHORT_SLEEP = 100e-6

# Short sleeps after which a hub spins again, if it mostly did so in vain.
MAX_SPIN_AFTER = 256


class Turn(Protocol):
    """An entry of a ready queue: a greenlet to resume, a task to start, or the loop's mark."""

    def switch(self) -> object:
        """Go on with it; called by the greenlet that parks or ends."""


@final
class Call:
    """A request that the hub itself carries out: ``callback(*args)``, which must not wait."""

    __slots__ = ("callback", "args")

    def __init__(self, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        self.callback: Callable[..., object] = callback
        self.args: tuple[object, ...] = args


class Inbox:
    __slots__ = (
        "queue",
        "lock",
        "asleep",
        "closed",
        "accepting",
        "waker",
        "_lay_down",
        "_short_sleeps",
        "_spin_after",
    )

    def __init__(self, waker: Waker) -> None:
        self.queue: deque[Turn | Call] = deque()
        self.lock = RLock()
        self.asleep = False
        self.accepting = True
        self.closed = False
        self.waker = waker
        # When the hub last blocked in its poller; how many of its sleeps up to now were short, and how many
        # make it spin.
        self._lay_down = 0.0
        self._short_sleeps = 0
        self._spin_after = 1

    def post(self, item: Turn | Call) -> bool:
        """Hand *item* (a greenlet to resume, a task to start or a Call) to the hub; any thread.

        False where the hub is closed: then nobody on it waits for anything any more.
        """
        with self.lock:
            if self.closed:
                return False
            self.queue.append(item)
            if self.asleep:
                # In this order, because the hub may have woken and gone to sleep again meanwhile, so that the
                # flag is that of its next sleep.
                self.asleep = False
                try:
                    self.waker.wake()
                except BaseException:
                    # KeyboardInterrupt, before it was written.  Without the flag nobody else would do it.
                    self.waker.wake()
                    raise
            return True

    def take_back(self, item: Turn | Call) -> bool:
        """Undo the post of *item*; False where the hub has taken it in.  Any thread."""
        with self.lock:
            try:
                self.queue.remove(item)
            except ValueError:
                return False
            return True

    # The hub's own thread only.

    def posted(self) -> deque[Turn | Call]:
        """A copy of what waits to be taken in.

        Under the lock: without the GIL, copying a deque raises RuntimeError when another thread appends.
        """
        with self.lock:
            return self.queue.copy()

    def may_sleep(self) -> bool:
        """Say that the hub goes to sleep; False where something has come in meanwhile."""
        if self._short_sleeps >= self._spin_after and self._comes_soon():
            return False
        self.asleep = True
        # Without the lock.  This and a post's append are two steps on one deque, hence in order, without the
        # GIL too (see "No wake-up is lost" in lock.py): so either the item is seen here, or the poster sees
        # that the hub is asleep.
        self.queue.rotate(0)
        if self.queue:
            self.asleep = False
            return False
        self._lay_down = monotonic()
        return True

    def awake(self) -> None:
        # The poster that has woken the hub may still hold the lock, so this does not take it.  At worst a
        # post that comes at this moment writes to the waker in vain.
        self.asleep = False
        was_short = self.queue and monotonic() - self._lay_down < SHORT_SLEEP
        self._short_sleeps = self._short_sleeps + 1 if was_short else 0

    def _comes_soon(self) -> bool:
        if await_post(self.queue, SPIN):
            self._spin_after = 1
            return True
        self._short_sleeps = 0
        self._spin_after = min(self._spin_after * 2, MAX_SPIN_AFTER)
        return False

    def close_if_empty(self) -> bool:
        with self.lock:
            if self.queue:
                return False
            self.closed = True
            self.accepting = False
            return True

    def after_fork(self, waker: Waker) -> None:
        """In the child: the lock may be held by a thread that does not exist here."""
        self.lock = RLock()
        self.queue.clear()
        self.waker = waker
        if self.asleep:
            # A signal handler has forked inside the poll.  What that asks the kernel for is closed; but the
            # number may have been given out anew, for this.
            waker.wake()
        self.asleep = False
