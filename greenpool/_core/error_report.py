"""The report of an exception that nobody has handled."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .state import HubState, HubTask


class Reports:
    """Takes reports in the place of stderr; set once, by the code that takes gevent's name."""

    # False: it does not take this one.
    handle: Callable[[HubState, object, BaseException], bool] | None = None


def report_error(hub: HubState, source: str | HubTask, exception: BaseException) -> None:
    """Report on stderr what ended *source* on *hub*; KeyboardInterrupt and SystemExit go to the main program.

    On the thread of the hub.
    """
    if Reports.handle is not None and Reports.handle(hub, source, exception):
        return
    if isinstance(exception, (KeyboardInterrupt, SystemExit)):
        hub.on_system_error(exception)
        return
    stderr = sys.stderr
    if stderr is None:
        return
    # Imported here, because it would take a tenth of the time of importing greenpool.  monkey.py imports it,
    # so it is loaded where the lock of an import is green.
    import traceback

    try:
        name = source if isinstance(source, str) else source.name
        lines = traceback.format_exception(exception)
        # One write, so that reports of several hubs do not mix.
        stderr.write(f"{''.join(lines)}Exception in {name} on hub {hub.name}\n\n")
        stderr.flush()
    except Exception:
        # Stderr is closed or its reader gone, so there is nowhere to say it; the hub goes on.
        return


def call_reported(hub: HubState, callback: Callable[..., object], args: tuple[object, ...]) -> None:
    """Carry out ``callback(*args)`` in the loop of *hub*, and report what it raises."""
    try:
        if args:
            callback(*args)
        else:
            # Most timers have none, and this call takes one C frame less.
            callback()
    except BaseException as exception:
        # KeyboardInterrupt and SystemExit are caught, too: let through, they would lose the rest of the
        # batch.
        report_error(hub, repr(callback), exception)


def raise_in_program(hub: HubState, exception: BaseException) -> None:
    """Have the main program of *hub*, or of its pool, raise *exception*; on the thread of the hub."""
    hub.on_system_error(exception)
