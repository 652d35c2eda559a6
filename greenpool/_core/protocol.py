"""``Protocol`` for type checkers; at run time a plain class.

Python takes 0.4 ms to make a real one, and the core has a dozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol as Protocol
else:
    Protocol = object
