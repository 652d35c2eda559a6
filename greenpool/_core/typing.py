"""What a module needs of ``typing`` while it runs, without importing that.

``typing`` would take half of the time of ``import greenpool``.  So the modules that this imports take such
things from here.  They import all else of ``typing``, and make their type variables, under ``TYPE_CHECKING``.

A program that reads type hints sets ``typing.TYPE_CHECKING`` before it imports greenpool.  Then all of these
names are there.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = getattr(sys.modules.get("typing"), "TYPE_CHECKING", False)

if TYPE_CHECKING:
    from typing import Protocol as Protocol
    from typing import cast as cast
    from typing import final as final
    from typing import overload as overload
else:
    # A real one takes Python 0.4 ms to make, and the core has a dozen.
    Protocol = object

    def cast(kind, value):
        return value

    def final(definition):
        return definition

    def overload(function):
        return function
