"""What a greenlet holds of C code's locks while it is parked, without the GIL.

C code that works on an object holds its lock then, as a *critical section*: a buffered file while it is read,
a ``functools.cache`` while its function runs.  CPython lets all of a thread's go when the thread waits.  A
greenlet that parks would keep its own, and the next one of its hub to touch the object would stop the hub,
for ever.  So whatever parks lets go of them, and takes them again when it goes on: C code must expect that
of any call that may run Python code.

Only C code can do this.  Without the extension nothing is done; see docs/speedups.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from .native import HAS_GIL
from .speedups import speedups
from .typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


def without_sections(wait: Callable[P, T]) -> Callable[P, T]:
    """Have *wait*, which parks the calling greenlet, run outside of the critical sections that it is in.

    The function itself where there is a GIL.
    """
    if HAS_GIL or speedups is None:
        return wait
    leave: Callable[[], int] = speedups.leave_sections
    return_to: Callable[[int], None] = speedups.return_to_sections

    @wraps(wait)
    def outside(*args: P.args, **kwargs: P.kwargs) -> T:
        # A call from Python to Python: it adds nothing to the C stack, which each parked greenlet has a
        # copy of.
        held = leave()
        if not held:
            return wait(*args, **kwargs)
        try:
            return wait(*args, **kwargs)
        finally:
            return_to(held)

    return outside
